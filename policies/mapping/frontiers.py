"""Where to look next: borders between floor that was seen and cells of which nothing is known.

Source: B. Yamauchi, "A Frontier-Based Approach for Autonomous Exploration", CIRA 1997.
"""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 4
"""Cells along the edge of the blocks that are known or not; sparser views leave single cells unseen."""
_SMALLEST = 3
"""Frontiers of fewer blocks are gaps between pixels."""


def frontier_cells(seen: np.ndarray, obstacles: np.ndarray, done: np.ndarray) -> np.ndarray:
    """Cells (I, J) bool of floor that was seen beside blocks of which nothing is known.

    Args:
        seen: (I, J) bool, where floor was seen.
        obstacles: (I, J) bool, where obstacles were seen.
        done: (I, J) bool, where one has been and learned nothing more.
    """
    return _find(seen, obstacles, done)


@njit(cache=True, nogil=True, error_model="numpy")
def _find(seen, obstacles, done):
    rows, columns = seen.shape[0] // BLOCK, seen.shape[1] // BLOCK
    state = np.zeros((rows, columns), np.uint8)  # 0 unknown, 1 floor, 2 obstacle
    for i in range(rows):
        for j in range(columns):
            for a in range(i * BLOCK, i * BLOCK + BLOCK):
                for b in range(j * BLOCK, j * BLOCK + BLOCK):
                    if obstacles[a, b]:
                        state[i, j] = 2
                    elif seen[a, b] and state[i, j] == 0:
                        state[i, j] = 1
    edge = np.zeros((rows, columns), np.bool_)
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            if state[i, j] == 1 and not done[i * BLOCK + BLOCK // 2, j * BLOCK + BLOCK // 2]:
                edge[i, j] = (
                    state[i - 1, j] == 0
                    or state[i + 1, j] == 0
                    or state[i, j - 1] == 0
                    or state[i, j + 1] == 0
                )
    out = np.zeros(seen.shape, np.bool_)
    stack = np.empty((rows * columns, 2), np.int32)
    for i in range(rows):
        for j in range(columns):
            if not edge[i, j]:
                continue
            edge[i, j] = False
            stack[0] = (i, j)
            size, next_one = 1, 0
            while next_one < size:
                a, b = stack[next_one]
                next_one += 1
                for da in range(-1, 2):
                    for db in range(-1, 2):
                        c, d = a + da, b + db
                        if 0 <= c < rows and 0 <= d < columns and edge[c, d]:
                            edge[c, d] = False
                            stack[size] = (c, d)
                            size += 1
            if size < _SMALLEST:
                continue
            for n in range(size):
                a, b = stack[n, 0] * BLOCK, stack[n, 1] * BLOCK
                for c in range(a, a + BLOCK):
                    for d in range(b, b + BLOCK):
                        if seen[c, d] and not obstacles[c, d]:
                            out[c, d] = True
    return out
