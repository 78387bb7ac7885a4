"""Steps and turns planned one by one, for an agent whose steps and turns are coarse and that had better touch nothing.

A line along a way of cells says little to an agent that walks 0.25 m at a time in one of twelve directions: before a
narrow door each next step may lead a little aside of it, and it walks to and fro. Here A* (Hart, Nilsson, Raphael 1968)
runs over the places and directions that its own actions lead to; what a way costs on the map from there on is its
guess.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from envs.embodiment import AgentSpec
from policies.mapping.heap import pop, push
from policies.mapping.metric_map import CELL, GRAZING, MetricMap
from policies.mapping.path import (
    ASIDE,
    DIAGONAL,
    FORBIDDEN,
    LEEWAY,
    NEIGHBOURS,
    line_cost,
    step_cost,
)
from policies.mapping.poses import Pose

_DEARER = 2.0
"""Steps that have become dearer by this many cells are looked for anew."""
_ARRIVED = 0.02
"""A step that ends nearer than this to where it should have is done, metres."""
_SIDEWAYS = 200.0
"""How much more than from the start it may cost from where the cost to go is still worked out, cells."""
_MOST_PLACES = 40_000
"""Places that are tried at most to find steps."""
_NEAR_END = 0.6
"""Steps end where what is left costs no more than so many steps on open floor."""


class StepPlan:
    """Steps that lead along one way; they are kept until something comes between.

    Args:
        world: the map that is walked on.
        agent: steps and turns.
        turn_cost: what a turn costs beside the way, metres.
    """

    def __init__(self, world: MetricMap, agent: AgentSpec, turn_cost: float) -> None:
        self._map, self._turn_cost = world, turn_cost
        self._step, self._turn = agent.forward_step, math.radians(agent.turn_angle)
        self.forget()

    def forget(self) -> None:
        """Begin anew: the way is another."""
        self._to_go: np.ndarray | None = None
        self._yaws: list[float] = []
        self._begun: tuple[float, float] | None = None
        self._next = (0.0, 0.0)
        self._costs: list[float] = []

    def turns(
        self, pose: Pose, way: np.ndarray, *, narrow: bool = False, through: bool = False
    ) -> int | None:
        """How many turns (to the left positive) to the direction of the next step; None where no step leads on.

        Args:
            pose: the agent's.
            way: cells (N, 2) that are to be followed.
            narrow: through gaps that look narrower than the body as well.
            through: through closed cells as well, at a high cost.
        """
        if self._yaws and pose[:2] != self._begun:  # it has walked
            arrived = math.dist(pose[:2], self._next) < _ARRIVED
            self._yaws, self._costs = (self._yaws[1:], self._costs[1:]) if arrived else ([], [])
        if sum(self._costs_now(pose)) > sum(self._costs) + _DEARER:
            self._yaws = []
        if not self._yaws:
            self._yaws = self._find(pose, way, narrow, through)
        if not self._yaws:
            return None
        x, y, yaw = pose
        self._begun, self._costs = (x, y), self._costs_now(pose)
        self._next = x + self._step * math.cos(self._yaws[0]), y + self._step * math.sin(self._yaws[0])
        return round(math.remainder(self._yaws[0] - yaw, 2 * math.pi) / self._turn)

    def roomiest(self, pose: Pose) -> np.ndarray:
        """How many turns to the directions (N,) in which a step costs least, or hardly more."""
        half = math.floor(math.pi / self._turn + 1e-6)
        turns = np.arange(1 - half, half + 1)  # each direction once
        place = self._place(pose)
        costs = [step_cost(self._map.cost, place, pose[2] + k * self._turn, self._step) for k in turns]
        return turns[np.array(costs) <= 1.1 * min(costs)]

    def _place(self, pose: Pose) -> tuple[float, float]:
        """In cells and parts of them."""
        return pose[0] / CELL - int(self._map.origin[0]), pose[1] / CELL - int(self._map.origin[1])

    def _costs_now(self, pose: Pose) -> list[float]:
        """What each of the planned steps costs now, in cells."""
        i, j = self._place(pose)
        costs = []
        for yaw in self._yaws:
            costs.append(step_cost(self._map.cost, (i, j), yaw, self._step))
            i, j = i + self._step / CELL * math.cos(yaw), j + self._step / CELL * math.sin(yaw)
        return costs

    def _find(self, pose: Pose, way: np.ndarray, narrow: bool, through: bool) -> list[float]:
        """The directions of the steps, radians; none where no step leads on."""
        if len(way) < 2:
            return []
        cost = self._map.cost
        if self._to_go is None or self._to_go.shape != cost.shape:
            leeway = max(cost.shape) if narrow or through else LEEWAY
            self._to_go = _spread(cost, *way[0], *way[-1], leeway, through)
        directions = round(2 * math.pi / self._turn)
        step, turn_cost = self._step / CELL, self._turn_cost / CELL
        numbers = _search_steps(
            cost, self._to_go, *self._place(pose), pose[2], step, self._turn, directions, turn_cost
        )
        return [pose[2] + self._turn * number for number in numbers.tolist()]


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(cost, si, sj, gi, gj, leeway, through):
    """Dijkstra from the goal, until the start is reached and what costs `_SIDEWAYS` more."""
    rows, columns = cost.shape
    reached = np.full((rows, columns), np.float32(np.inf))
    closed = np.zeros((rows, columns), np.bool_)
    keys, cells = np.empty(4096, np.float32), np.empty(4096, np.int32)
    reached[gi, gj] = 0.0
    keys[0], cells[0] = 0.0, gi * columns + gj
    count, most = 1, np.float32(np.inf)
    while count > 0:
        key, cell, count = pop(keys, cells, count)
        i, j = cell // columns, cell % columns
        if closed[i, j]:
            continue
        if key > most:
            break
        closed[i, j] = True
        if i == si and j == sj:
            most = key + _SIDEWAYS
        here = cost[i, j]
        if not here < np.inf:
            here = np.float32(FORBIDDEN)
        for k in range(8):
            di, dj = NEIGHBOURS[k, 0], NEIGHBOURS[k, 1]
            a, b = i + di, j + dj
            if a < 0 or b < 0 or a >= rows or b >= columns or closed[a, b]:
                continue
            there = cost[a, b]
            if not there < np.inf and (through or (a == si and b == sj)):
                there = np.float32(FORBIDDEN)
            if not there < np.inf:
                continue
            away = min(max(abs(a - si), abs(b - sj)), max(abs(a - gi), abs(b - gj)))
            if there >= GRAZING and away > leeway:
                continue
            length = DIAGONAL if di != 0 and dj != 0 else 1.0
            value = np.float32(reached[i, j] + 0.5 * length * (here + there))
            if value < reached[a, b]:
                reached[a, b] = value
                keys, cells, count = push(keys, cells, count, value, a * columns + b)
    return reached


@njit(cache=True, nogil=True, error_model="numpy")
def _search_steps(cost, to_go, i, j, yaw, step, turn, directions, turn_cost):
    """Numbers (N,) of the directions of the steps, counted from ``yaw``."""
    rows, columns = cost.shape
    xs, ys = np.empty(_MOST_PLACES), np.empty(_MOST_PLACES)
    paid = np.empty(_MOST_PLACES, np.float32)
    heading, parent = np.empty(_MOST_PLACES, np.int32), np.empty(_MOST_PLACES, np.int32)
    keys, nodes = np.empty(_MOST_PLACES, np.float32), np.empty(_MOST_PLACES, np.int32)
    best_paid = np.full((rows, columns, directions), np.float32(np.inf))
    xs[0], ys[0], paid[0], heading[0], parent[0] = i, j, 0.0, 0, -1
    keys[0], nodes[0] = 0.0, 0
    known, count = 1, 1
    found, least = 0, to_go[math.floor(i + ASIDE), math.floor(j + ASIDE)]
    while count > 0 and known + directions < _MOST_PLACES:
        _, node, count = pop(keys, nodes, count)
        x, y, h = xs[node], ys[node], heading[node]
        if node > 0:
            a, b = math.floor(x + ASIDE), math.floor(y + ASIDE)
            if paid[node] > best_paid[a, b, h]:
                continue
            if to_go[a, b] < least:
                found, least = node, to_go[a, b]
            if found > 0 and least <= _NEAR_END * step:
                break
        for n in range(directions):
            angle = yaw + n * turn
            ex, ey = x + step * math.cos(angle), y + step * math.sin(angle)
            a, b = math.floor(ex + ASIDE), math.floor(ey + ASIDE)
            if a < 0 or b < 0 or a >= rows or b >= columns or not to_go[a, b] < np.inf:
                continue
            turns = abs(n - h)
            turns = min(turns, directions - turns)
            value = np.float32(paid[node] + turns * turn_cost + line_cost(cost, x, y, ex, ey))
            if not value < best_paid[a, b, n]:
                continue
            best_paid[a, b, n] = value
            xs[known], ys[known], paid[known], heading[known], parent[known] = ex, ey, value, n, node
            keys, nodes, count = push(keys, nodes, count, value + to_go[a, b], known)
            known += 1
    length, node = 0, found
    while node > 0:
        length += 1
        node = parent[node]
    steps = np.empty(length, np.int64)
    node = found
    for n in range(length - 1, -1, -1):
        steps[n] = heading[node]
        node = parent[node]
    return steps
