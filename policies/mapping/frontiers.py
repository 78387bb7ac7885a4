"""Where to look next: borders between floor that was seen and cells of which nothing is known, and how much is there.

Sources: B. Yamauchi, "A Frontier-Based Approach for Autonomous Exploration", CIRA 1997; gain against cost of travel as
in González-Baños and Latombe, "Navigation Strategies for Exploring Indoor Environments", IJRR 2002.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from policies.mapping.metric_map import CELL

BLOCK = 4
"""Cells along the edge of the blocks that are known or not; sparser views leave single cells unseen."""
_SMALLEST = 3
"""Frontiers of fewer blocks are gaps between pixels."""
_VIEW = 2.0
"""The unknown that hangs together with a frontier counts as far as this from it, metres."""
_UNKNOWN, _FLOOR, _OBSTACLE = 0, 1, 2


def frontier_gains(seen: np.ndarray, obstacles: np.ndarray, done: np.ndarray) -> np.ndarray:
    """How much unknown ground (square metres) each cell (I, J) float32 borders on: 0 off the frontiers.

    A cell is of a frontier where it is floor that was seen, in a block of `BLOCK` cells beside one of which nothing is
    known. All cells of one frontier gain the same: the unknown blocks that can be reached from it through unknown
    ones, within 2 m. So a pocket behind a sofa gains little and a room behind a door much.

    Args:
        seen: (I, J) bool, where floor was seen.
        obstacles: (I, J) bool, where obstacles were seen.
        done: (I, J) bool, where one has been and learned nothing more.
    """
    return _find(seen, obstacles, done, round(_VIEW / (BLOCK * CELL)), (BLOCK * CELL) ** 2)


@njit(cache=True, nogil=True, error_model="numpy")
def _find(seen, obstacles, done, view, area):
    rows, columns = seen.shape[0] // BLOCK, seen.shape[1] // BLOCK
    state = np.zeros((rows, columns), np.uint8)
    for i in range(rows * BLOCK):
        for j in range(columns * BLOCK):
            if obstacles[i, j]:
                state[i // BLOCK, j // BLOCK] = _OBSTACLE
            elif seen[i, j] and state[i // BLOCK, j // BLOCK] == _UNKNOWN:
                state[i // BLOCK, j // BLOCK] = _FLOOR
    edge = np.zeros((rows, columns), np.bool_)
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            if state[i, j] == _FLOOR and not done[i * BLOCK + BLOCK // 2, j * BLOCK + BLOCK // 2]:
                edge[i, j] = (
                    state[i - 1, j] == _UNKNOWN
                    or state[i + 1, j] == _UNKNOWN
                    or state[i, j - 1] == _UNKNOWN
                    or state[i, j + 1] == _UNKNOWN
                )
    out = np.zeros(seen.shape, np.float32)
    stack = np.empty((rows * columns, 2), np.int32)
    beyond = np.empty((rows * columns, 2), np.int32)
    counted = np.full((rows, columns), -1, np.int32)  # by which frontier
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
                for c in range(max(0, a - 1), min(rows, a + 2)):
                    for d in range(max(0, b - 1), min(columns, b + 2)):
                        if edge[c, d]:
                            edge[c, d] = False
                            stack[size] = (c, d)
                            size += 1
            if size < _SMALLEST:
                continue
            gain = area * _flood(state, stack[:size], beyond, counted, i * columns + j, view)
            for n in range(size):
                a, b = stack[n, 0] * BLOCK, stack[n, 1] * BLOCK
                for c in range(a, a + BLOCK):
                    for d in range(b, b + BLOCK):
                        if seen[c, d] and not obstacles[c, d]:
                            out[c, d] = gain
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _flood(state, seeds, beyond, counted, mark, view):
    """How many unknown blocks can be reached from blocks (K, 2), in at most so many moves through unknown ones."""
    rows, columns = state.shape
    size = 0
    first, last = 0, 0
    for depth in range(view):
        ring = len(seeds) if depth == 0 else last - first
        for n in range(ring):
            if depth == 0:
                i, j = seeds[n, 0], seeds[n, 1]
            else:
                i, j = beyond[first + n, 0], beyond[first + n, 1]
            for k in range(4):
                a = i + (1 if k == 0 else -1 if k == 1 else 0)
                b = j + (1 if k == 2 else -1 if k == 3 else 0)
                if a < 0 or b < 0 or a >= rows or b >= columns:
                    continue
                if state[a, b] == _UNKNOWN and counted[a, b] != mark:
                    counted[a, b] = mark
                    beyond[size] = (a, b)
                    size += 1
        first, last = last, size
    return size
