"""A binary heap in two arrays, for the searches that run in numba: it orders equal keys the same on every platform."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def push(keys, cells, count, key, cell):
    """Put a cell into a binary heap of ``count`` cells, the least key first; the heap's arrays and its new count."""
    if count == len(keys):
        keys = np.concatenate((keys, np.empty_like(keys)))
        cells = np.concatenate((cells, np.empty_like(cells)))
    keys[count], cells[count] = key, cell
    n = count
    while n > 0:
        parent = (n - 1) >> 1
        if keys[parent] <= keys[n]:
            break
        keys[parent], keys[n] = keys[n], keys[parent]
        cells[parent], cells[n] = cells[n], cells[parent]
        n = parent
    return keys, cells, count + 1


@njit(cache=True, nogil=True, error_model="numpy")
def pop(keys, cells, count):
    """Take the cell of the least key out of a heap: the key, the cell and the new count."""
    key, cell = keys[0], cells[0]
    count -= 1
    keys[0], cells[0] = keys[count], cells[count]
    n = 0
    while True:
        child = 2 * n + 1
        if child >= count:
            break
        if child + 1 < count and keys[child + 1] < keys[child]:
            child += 1
        if keys[n] <= keys[child]:
            break
        keys[child], keys[n] = keys[n], keys[child]
        cells[child], cells[n] = cells[n], cells[child]
        n = child
    return key, cell, count
