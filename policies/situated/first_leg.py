"""Which way to set out for every place of a floor: any-angle paths on a plan drawn from a scene's point maps.

A plan is a grid of cells that were seen to be floor, seen to be blocked at the height of a body, or not seen at all.
From the agent's cell one wave runs over the plan (Dijkstra in the form of Lazy Theta*, Nash, Koenig and Tovey, AAAI
2010): each cell's way leads straight to the farthest corner it can see, so ways bend only where something stands in
between, as shortest paths do. Nothing but point maps goes in: no navmesh, no semantics. Coordinates are the scene's
(z up); shapes: N points, M places, R x C cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.ndimage import binary_dilation, distance_transform_edt

from policies.mapping.heap import pop, push

CELL = 0.1
"""Side of a cell, metres."""
BODY = (0.2, 1.4)
"""Heights above the floor between which points block the way, metres."""
RADIUS = 0.18
"""Distance that a body keeps from what blocks, metres."""
_FLOOR = 0.12
"""How far from the floor's height its own points may lie, metres."""
_MARGIN = 6
"""Cells added around what was seen."""
_UNSEEN_COST = 2.0
"""What a metre over cells that nobody saw counts, against 1 over floor."""
_FREE, _UNSEEN, _BLOCKED = 0, 1, 2


@dataclass(frozen=True)
class Plan:
    """What the point maps of a scene say of one floor."""

    origin: np.ndarray
    """(2,) x and y of the corner of cell (0, 0), metres."""
    cells: np.ndarray
    """(R, C) uint8, rows along x and columns along y: 0 floor, 1 not seen, 2 blocked."""


@dataclass(frozen=True)
class Ways:
    """How to reach places from one start."""

    bearing: np.ndarray
    """(M,) float32 radians about z from the scene's x axis: where the first straight leg points."""
    distance: np.ndarray
    """(M,) float32 metres along the way; infinite where none was found."""


def draw_plan(points: np.ndarray, floor: float) -> Plan:
    """The plan of one floor.

    Args:
        points: (N, 3) of all views, metres, z up.
        floor: height of the floor, metres.
    """
    near = points[(points[:, 2] > floor - 0.5) & (points[:, 2] < floor + BODY[1])]
    if not len(near):
        return Plan(np.zeros(2, np.float32), np.full((1, 1), _UNSEEN, np.uint8))
    low = np.floor(near[:, :2].min(0) / CELL) * CELL - _MARGIN * CELL
    index = ((near[:, :2] - low) / CELL).astype(np.int64)  # (N, 2)
    shape = tuple(index.max(0) + _MARGIN + 1)
    height = near[:, 2] - floor
    cells = np.full(shape, _UNSEEN, np.uint8)
    seen_floor = np.zeros(shape, bool)
    seen_floor[tuple(index[np.abs(height) < _FLOOR].T)] = True
    # A cell between floor cells is floor that fell between two pixels.
    cells[binary_dilation(seen_floor)] = _FREE
    solid = np.zeros(shape, bool)
    solid[tuple(index[height > BODY[0]].T)] = True
    reach = math.ceil(RADIUS / CELL)
    gap = np.asarray(distance_transform_edt(~np.pad(solid, reach)))[reach:-reach, reach:-reach]
    cells[gap <= RADIUS / CELL] = _BLOCKED
    return Plan(low.astype(np.float32), cells)


def find_ways(plan: Plan, start: np.ndarray, places: np.ndarray, *, farthest: float = 15.0) -> Ways:
    """The first leg and the length of the way from ``start`` to each place.

    Args:
        plan: the floor.
        start: (2,) x and y, metres.
        places: (M, 2) x and y, metres; one that is blocked is reached at the nearest cell that is not.
        farthest: no way is sought beyond, metres; such places get their straight bearing.
    """
    place = (np.asarray(start, np.float64) - plan.origin) / CELL  # (2,) in cells
    straight = places - np.asarray(start)  # (M, 2)
    bearing = np.arctan2(straight[:, 1], straight[:, 0]).astype(np.float32)
    distance = np.full(len(places), np.inf, np.float32)
    row, column = math.floor(place[0]), math.floor(place[1])
    rows, columns = plan.cells.shape
    if not (0 <= row < rows and 0 <= column < columns):
        return Ways(bearing, distance)
    cells = plan.cells.copy()
    span = slice(max(row - 2, 0), row + 3), slice(max(column - 2, 0), column + 3)
    cells[span][cells[span] == _BLOCKED] = _UNSEEN  # the agent stands there, whatever a point map says
    cost, first = _wave(cells, row, column, farthest / CELL)
    reached = np.isfinite(cost)
    nearest = np.asarray(
        distance_transform_edt(~reached, return_distances=False, return_indices=True)
    )  # (2, R, C)
    at = np.floor((places - plan.origin) / CELL).astype(np.int64)  # (M, 2)
    inside = ((at >= 0) & (at < (rows, columns))).all(1)
    at = np.clip(at, 0, (rows - 1, columns - 1))
    there = nearest[:, at[:, 0], at[:, 1]]  # (2, M)
    gap = np.hypot(*(there - at.T))
    found = inside & (gap * CELL <= 1.0)
    corner = first[there[0], there[1]]  # (M,) flat index of the first corner
    leg = np.stack([corner // columns, corner % columns], -1) + 0.5 - place  # (M, 2) cells
    # Within sight the way is the straight one, to the place itself and not to the middle of its cell.
    direct = corner == there[0] * columns + there[1]
    leg = np.where(direct[:, None], straight, leg)
    long_enough = np.abs(leg).sum(1) > 1e-6
    use = found & long_enough
    bearing[use] = np.arctan2(leg[use, 1], leg[use, 0])
    distance[found] = ((cost[there[0], there[1]] + gap) * CELL)[found]
    return Ways(bearing, distance)


@njit(cache=True)
def _sees(cells: np.ndarray, r0: int, c0: int, r1: int, c1: int) -> float:
    """Cost in cells of the straight line between two cells' middles; -1 where something blocks it."""
    steps = max(abs(r1 - r0), abs(c1 - c0)) * 2
    total = 0.0
    length = math.hypot(r1 - r0, c1 - c0)
    for k in range(1, steps + 1):
        r = math.floor(r0 + (r1 - r0) * k / steps + 0.5)
        c = math.floor(c0 + (c1 - c0) * k / steps + 0.5)
        kind = cells[r, c]
        if kind == _BLOCKED:
            return -1.0
        total += 1.0 if kind == _FREE else _UNSEEN_COST
    return total / steps * length if steps else 0.0


@njit(cache=True)
def _wave(cells: np.ndarray, row: int, column: int, farthest: float) -> tuple[np.ndarray, np.ndarray]:
    """Cost (R, C) in cells from the start to every cell and the flat index of its way's first corner (R, C)."""
    rows, columns = cells.shape
    cost = np.full((rows, columns), np.inf)
    done = np.zeros((rows, columns), np.bool_)
    parent = np.full((rows, columns), -1, np.int64)
    first = np.full((rows, columns), -1, np.int64)
    start = row * columns + column
    cost[row, column] = 0.0
    parent[row, column] = start
    # Stale entries of the queue are passed over.
    keys, queue, size = push(np.zeros(256), np.zeros(256, np.int64), 0, 0.0, start)
    while size:
        _, at, size = pop(keys, queue, size)
        r, c = at // columns, at % columns
        if done[r, c]:
            continue
        # Lazy: the line from the parent is looked at only now; where it is blocked, a neighbour takes its place.
        p = parent[r, c]
        if p != start or at != start:
            pr, pc = p // columns, p % columns
            line = _sees(cells, pr, pc, r, c)
            if line >= 0.0:
                cost[r, c] = cost[pr, pc] + line
            else:
                cost[r, c] = np.inf
                for dr in range(-1, 2):
                    for dc in range(-1, 2):
                        nr, nc = r + dr, c + dc
                        if (dr or dc) and 0 <= nr < rows and 0 <= nc < columns and done[nr, nc]:
                            step = _sees(cells, nr, nc, r, c)
                            if step >= 0.0 and cost[nr, nc] + step < cost[r, c]:
                                cost[r, c] = cost[nr, nc] + step
                                parent[r, c] = nr * columns + nc
                if not math.isfinite(cost[r, c]):
                    continue
        done[r, c] = True
        p = parent[r, c]
        if p == start:
            first[r, c] = at
        else:
            first[r, c] = first[p // columns, p % columns]
        if cost[r, c] > farthest:
            continue
        for dr in range(-1, 2):
            for dc in range(-1, 2):
                nr, nc = r + dr, c + dc
                if not (dr or dc) or not (0 <= nr < rows and 0 <= nc < columns):
                    continue
                if cells[nr, nc] == _BLOCKED or done[nr, nc]:
                    continue
                pr, pc = p // columns, p % columns
                guess = cost[pr, pc] + math.hypot(nr - pr, nc - pc) * (1.0 if cells[nr, nc] == _FREE else 1.5)
                if guess < cost[nr, nc]:
                    cost[nr, nc] = guess
                    parent[nr, nc] = p
                    keys, queue, size = push(keys, queue, size, guess, nr * columns + nc)
    for r in range(rows):
        for c in range(columns):
            if not done[r, c]:
                cost[r, c] = np.inf
    return cost, first
