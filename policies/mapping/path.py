"""The cheapest way over the map, and the actions that follow it.

The way is found by A* (Hart, Nilsson, Raphael 1968) from cell to cell, over unknown cells as over free ones, and
straightened where a straight line costs no more; so it bends only where something is in the way.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from policies.mapping.heap import pop, push
from policies.mapping.metric_map import CELL, GRAZING

DIAGONAL = math.sqrt(2.0)
LEEWAY = 6
"""So many cells about start and goal may lie closer to obstacles than the body is wide."""
FORBIDDEN = 60.0
"""What a metre through an obstacle costs once there is no other way left."""
ASIDE = 1e-3
"""A line along the border of two rows of cells lies this far in one of them, cells: steps of 5 cells from a corner of a
cell lead along borders, and the last digit of an angle would choose the row, now this one and now that."""


def find_way(
    cost: np.ndarray, start: tuple[int, int], goal: tuple[int, int], *, through: bool = False
) -> np.ndarray:
    """The cells (N, 2) from start to goal along the cheapest way; empty (0, 2) where there is none.

    Args:
        cost: (I, J) float32 cost of a cell, from 1; infinite: closed. Start and goal are never closed.
        start: cell.
        goal: cell.
        through: go through closed cells too, at a high cost.
    """
    return _search(
        cost,
        start[0],
        start[1],
        goal[0],
        goal[1],
        np.zeros((0, 0), np.float32),
        FORBIDDEN if through else np.inf,
        LEEWAY,
    )


def find_nearest(
    cost: np.ndarray, start: tuple[int, int], goals: np.ndarray, *, narrow: bool = False
) -> np.ndarray:
    """The cells (N, 2) of the cheapest way to any of the goals; empty (0, 2) for none.

    Args:
        cost: as for `find_way`.
        start: cell.
        goals: (I, J) bool; or float32, what it costs to end there, in cells: infinite where it is no goal.
        narrow: through gaps that look narrower than the body as well.
    """
    if goals.dtype == np.bool_:
        goals = np.where(goals, np.float32(0.0), np.float32(np.inf))
    return _search(cost, start[0], start[1], 0, 0, goals, np.inf, max(cost.shape) if narrow else LEEWAY)


def way_costs(cost: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Cost (N,) from the start of a way (N, 2) to each of its cells, in cells; closed ones cost `FORBIDDEN`."""
    return _way_costs(cost, way)


def waypoint(cost: np.ndarray, way: np.ndarray, i: float, j: float) -> int:
    """The farthest cell of a way (N, 2) that a straight line leads to at no higher cost than the way does.

    Args:
        cost: (I, J) float32 cost of a cell.
        way: cells; the agent is at its start.
        i: the agent's place, in cells and parts of them.
        j: likewise.

    Returns:
        Its index; a cell close by where no straight line is as cheap.
    """
    return int(_straighten(cost, way, i, j))


def best_turn(
    cost: np.ndarray,
    place: tuple[float, float],
    yaw: float,
    target: tuple[float, float],
    *,
    step: float,
    turn: float,
    turn_cost: float,
) -> int:
    """After how many turns (to the left positive) a step brings the agent on best.

    Args:
        cost: (I, J) float32 cost of a cell.
        place: the agent's, in cells and parts of them.
        yaw: radians.
        target: what it walks to, in cells and parts of them.
        step: length of a step, metres.
        turn: angle of a turn, radians.
        turn_cost: what a turn costs, metres.
    """
    half = math.floor(math.pi / turn + 1e-6)
    return int(
        _choose_turn(
            cost, place[0], place[1], yaw, target[0], target[1], step / CELL, turn, half, turn_cost / CELL
        )
    )


def step_cost(cost: np.ndarray, place: tuple[float, float], yaw: float, step: float) -> float:
    """What a step in a direction costs, in cells; arguments as for `best_turn`."""
    length = step / CELL
    return float(
        line_cost(cost, *place, place[0] + length * math.cos(yaw), place[1] + length * math.sin(yaw))
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _search(cost, si, sj, gi, gj, goals, forbidden, leeway):
    rows, columns = cost.shape
    many = goals.size > 0
    size = rows * columns
    reached = np.full(size, np.float32(np.inf))
    came = np.full(size, np.int8(-1))
    closed = np.zeros(size, np.bool_)
    keys, cells = np.empty(4096, np.float32), np.empty(4096, np.int32)
    start, goal = si * columns + sj, gi * columns + gj
    reached[start] = 0.0
    keys[0], cells[0] = 0.0, start
    count = 1
    found, best = -1, np.float32(np.inf)
    while count > 0:
        _, cell, count = pop(keys, cells, count)
        if closed[cell]:
            continue
        closed[cell] = True
        i, j = cell // columns, cell % columns
        if many:
            if reached[cell] >= best:
                break
            if reached[cell] + goals[i, j] < best:
                found, best = cell, reached[cell] + goals[i, j]
        elif cell == goal:
            found = cell
            break
        here = min(cost[i, j], forbidden)
        if cell == start and not here < np.inf:
            here = np.float32(FORBIDDEN)
        for k in range(8):
            di, dj = NEIGHBOURS[k, 0], NEIGHBOURS[k, 1]
            a, b = i + di, j + dj
            if a < 0 or b < 0 or a >= rows or b >= columns:
                continue
            other = a * columns + b
            if closed[other]:
                continue
            there = min(cost[a, b], forbidden)
            if not there < np.inf and not many and other == goal:
                there = np.float32(FORBIDDEN)
            if not there < np.inf:
                continue
            away = max(abs(a - si), abs(b - sj))
            if not many:
                away = min(away, max(abs(a - gi), abs(b - gj)))
            if there >= GRAZING and away > leeway and not forbidden < np.inf:
                continue
            length = DIAGONAL if di != 0 and dj != 0 else 1.0
            value = np.float32(reached[cell] + 0.5 * length * (here + there))
            if value < reached[other]:
                reached[other] = value
                came[other] = k
                guess = 0.0
                if not many:
                    p, q = abs(a - gi), abs(b - gj)
                    guess = max(p, q) + (DIAGONAL - 1.0) * min(p, q)
                keys, cells, count = push(keys, cells, count, value + guess, other)
    if found < 0:
        return np.empty((0, 2), np.int32)
    length = 1
    cell = found
    while cell != start:
        k = came[cell]
        cell -= NEIGHBOURS[k, 0] * columns + NEIGHBOURS[k, 1]
        length += 1
    way = np.empty((length, 2), np.int32)
    cell = found
    for n in range(length - 1, -1, -1):
        way[n, 0], way[n, 1] = cell // columns, cell % columns
        if n:
            k = came[cell]
            cell -= NEIGHBOURS[k, 0] * columns + NEIGHBOURS[k, 1]
    return way


NEIGHBOURS = np.array([(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)], dtype=np.int64)


@njit(cache=True, nogil=True, error_model="numpy")
def _way_costs(cost, way):
    """Cost (N,) from the first cell to each."""
    out = np.zeros(len(way), np.float64)
    for n in range(1, len(way)):
        length = math.hypot(way[n, 0] - way[n - 1, 0], way[n, 1] - way[n - 1, 1])
        before = min(cost[way[n - 1, 0], way[n - 1, 1]], FORBIDDEN)
        here = min(cost[way[n, 0], way[n, 1]], FORBIDDEN)
        out[n] = out[n - 1] + 0.5 * length * (before + here)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def line_cost(cost, ai, aj, bi, bj):
    """Cost of a straight line between two places, in cells; its ends may be closed."""
    length = math.hypot(bi - ai, bj - aj)
    steps = max(1, math.ceil(2.0 * length))
    total = 0.0
    for k in range(steps + 1):
        share = k / steps
        i = math.floor(ai + share * (bi - ai) + ASIDE)
        j = math.floor(aj + share * (bj - aj) + ASIDE)
        if i < 0 or j < 0 or i >= cost.shape[0] or j >= cost.shape[1]:
            value = 1.0
        else:
            value = float(cost[i, j])
        if not value < np.inf:
            if share * length < 1.0 or (1.0 - share) * length < 1.0:
                value = FORBIDDEN
            else:
                return np.inf
        total += value if 0 < k < steps else 0.5 * value
    return total * length / steps


@njit(cache=True, nogil=True, error_model="numpy")
def _straighten(cost, way, i, j):
    along = _way_costs(cost, way)
    # The way starts at a cell's centre, the agent is beside it.
    slack = 1.0
    for n in range(len(way) - 1, 0, -1):
        if n > 24 and n % 4 != 0 and n != len(way) - 1:
            continue
        straight = line_cost(cost, i, j, way[n, 0] + 0.5, way[n, 1] + 0.5)
        if straight <= along[n] + slack:
            return n
    return min(len(way) - 1, 3)


@njit(cache=True, nogil=True, error_model="numpy")
def _choose_turn(cost, i, j, yaw, ti, tj, step, turn, half, turn_cost):
    best, chosen = np.inf, 0
    for n in range(2 * half + 1):
        k = (n + 1) // 2 if n % 2 == 1 else -(n // 2)
        angle = yaw + k * turn
        ei, ej = i + step * math.cos(angle), j + step * math.sin(angle)
        value = line_cost(cost, i, j, ei, ej) + turn_cost * abs(k)
        if value < best:
            value += line_cost(cost, ei, ej, ti, tj)
        if value < best:
            best, chosen = value, k
    if not best < np.inf:
        off = math.atan2(tj - j, ti - i) - yaw
        off = math.atan2(math.sin(off), math.cos(off))
        chosen = round(off / turn)
    return chosen
