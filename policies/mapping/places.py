"""Which cells of a grid lie near others, and from which of them those are in view."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_BEFORE_OBJECT = 1
"""Obstacles so many cells before an object are taken for a part of it; a wall behind it is no farther off."""


@njit(cache=True, nogil=True, error_model="numpy")
def in_view(places, cells, obstacles):
    """Which of the places (I, J) bool no obstacle (I, J) lies between and the nearest of the cells (K, 2)."""
    out = np.zeros(places.shape, np.bool_)
    for i in range(places.shape[0]):
        for j in range(places.shape[1]):
            if not places[i, j]:
                continue
            nearest, least = 0, np.int64(1) << 40
            for k in range(len(cells)):
                square = (cells[k, 0] - i) ** 2 + (cells[k, 1] - j) ** 2
                if square < least:
                    nearest, least = k, square
            length = math.sqrt(least)
            free = True
            for n in range(1, int(length) - _BEFORE_OBJECT):
                share = n / length
                a = round(i + share * (cells[nearest, 0] - i))
                b = round(j + share * (cells[nearest, 1] - j))
                if obstacles[a, b]:
                    free = False
                    break
            out[i, j] = free
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def fill_discs(grid, cells, radius):
    """Set the cells of a grid (I, J) bool within a radius (in cells) of cells (K, 2)."""
    reach = int(radius)
    for k in range(len(cells)):
        i, j = cells[k, 0], cells[k, 1]
        for a in range(max(0, i - reach), min(grid.shape[0], i + reach + 1)):
            for b in range(max(0, j - reach), min(grid.shape[1], j + reach + 1)):
                if (a - i) ** 2 + (b - j) ** 2 <= radius * radius:
                    grid[a, b] = True
