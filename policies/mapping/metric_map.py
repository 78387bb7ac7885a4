"""A metric map that grows while the agent moves: floor heights, obstacles, what was seen, the cost of being there.

Cells of 5 cm, as Recast's. Every column of an image is a vertical plane before an upright agent; followed from
the bottom up it first meets the floor at the agent's feet, then each point is floor (no higher above the floor before
it than the agent climbs), an obstacle (in the way of its body) or out of its way. So ramps and stairs are floor and
tables are not, without one height for the whole scene.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from policies.mapping.places import fill_discs, in_view

CELL = 0.05
"""Edge of a cell, metres."""
REACH = 10.0
"""Points farther from the agent than this are not entered, metres."""
_MARGIN = 24
_COMFORT = 0.3
"""Nearer to an obstacle than this it costs more to walk, metres."""
GRAZING, _TIGHT, _NEAR = 12.0, 2.0, 0.4
"""Cost of a cell as close to an obstacle as the body is wide; one more cell off; and what is left beyond."""
_GUESSED = 100.0
"""Cost of a cell where something is only guessed to stand."""
_CLIMB_SLACK = 0.03
_STAIR = 0.15
"""The floor before a point is looked for at least this far back, metres."""
_CLOSER = 0.6
"""An obstacle that floor is seen through from less than this share of the distance was none."""
_VOTE, _FEWEST_VOTES = 0.02, 20
"""Steps of height (metres), and how many level points must agree that the agent rose."""
_STILL = 0.01
"""An agent that came less far (metres) has not risen."""
_FLOOR_ABOVE_BASE = 0.05
"""How far the floor may seem to lie above the agent's base, metres."""
_SAME_BARRIER, _MOST_DOUBLINGS = 0.6, 3
"""Nearer to each other than this (metres) two bumps are one barrier's; its width is doubled so often at most."""


class MetricMap:
    """What an agent has seen, from above. Cell (i, j) covers x and y from ``CELL * (origin + (i, j))``.

    Args:
        radius: of the body, metres.
        climb: highest step it takes, metres.
        height: of the body, metres.
    """

    def __init__(self, radius: float, climb: float, height: float) -> None:
        self._radius, self._climb, self._height = radius, climb, height
        self.origin = np.zeros(2, np.int64)
        self._costs = _costs_by_distance(radius)
        self._guessed_costs = self._costs.copy()
        self._guessed_costs[0, 0] = _GUESSED  # what was not seen closes no way for good
        self._make(np.zeros(2, np.int64), (0, 0))
        self._bumps: list[tuple[float, float]] = []
        self._before: tuple[float, float] | None = None
        self.drift = 0.0
        """Height of the agent's base above its start, as the floors it saw tell, metres."""
        self.floor_here = 0.0
        """Height of the floor at the agent, metres."""

    @property
    def shape(self) -> tuple[int, int]:
        """Cells along x and y."""
        return self.cost.shape

    def cell_of(self, x: float, y: float) -> tuple[int, int]:
        """The cell that a point lies in; the map is widened to hold it."""
        i, j = math.floor(x / CELL), math.floor(y / CELL)
        self._hold(i, j, i, j)
        return i - int(self.origin[0]), j - int(self.origin[1])

    def centre_of(self, i: float, j: float) -> tuple[float, float]:
        """Centre of a cell, metres."""
        return (self.origin[0] + i + 0.5) * CELL, (self.origin[1] + j + 0.5) * CELL

    def integrate(
        self,
        points: np.ndarray,
        valid: np.ndarray,
        map_from_points: np.ndarray,
        position: tuple[float, float],
        *,
        base: float | None,
        too_near: np.ndarray | None = None,
    ) -> None:
        """Enter one view.

        Args:
            points: (H, W, 3) float32 metres, in the frame that ``map_from_points`` starts from.
            valid: (H, W) bool.
            map_from_points: transform (3, 4) to the map.
            position: the agent's, metres.
            base: height of the agent's base in the map, metres; None where the points' heights count from it, so that
                they must be fitted to the floor seen before.
            too_near: (K, 2) x and y, metres, where something stands that is too near to be measured; it counts as an
                obstacle until floor is seen there, though a way through it stays open as one through a gap too
                narrow does.
        """
        reach = math.ceil(REACH / CELL) + 1
        i, j = math.floor(position[0] / CELL), math.floor(position[1] / CELL)
        transform = np.ascontiguousarray(map_from_points, dtype=np.float64)
        low, high = _extent(points, valid, transform, i, j, reach)
        self._hold(*(min(low[0], i), min(low[1], j), max(high[0], i), max(high[1], j)))
        if base is None:
            transform = transform.copy()
            transform[2, 3] += self.drift
            if self._before is not None and math.dist(self._before, position) > _STILL:
                most = round(self._climb / _VOTE)
                seen_from = self.floor_seen_from
                step = _elected(
                    _height_votes(points, valid, transform, self.origin, self.floor, seen_from, most)
                )
                transform[2, 3] += step
                self.drift += step
            self._before = position
            base = self.drift
        i, j = i - int(self.origin[0]), j - int(self.origin[1])
        self.floor_here = _floor_around(self.floor, i, j, self.floor_here)
        # A chair beside the agent is not what it stands on.
        self.floor_here = min(max(self.floor_here, base - self._climb), base + _FLOOR_ABOVE_BASE)
        fill_discs(self.seen, np.array([[i, j]]), self._radius / CELL)  # the agent stands there
        fresh, cleared = _enter(
            points,
            valid,
            transform,
            self.origin,
            np.array(position, dtype=np.float64),
            self.floor_here,
            self._climb + _CLIMB_SLACK,
            self._height,
            self.floor,
            self.floor_seen_from,
            self.obstacle_seen_from,
            self.seen,
        )
        if len(cleared):
            _recost(cleared, self.obstacle_seen_from, self.bumped, self.cost, self._costs)
        if too_near is not None and len(too_near):
            cells = np.unique(np.floor(too_near / CELL).astype(np.int64) - self.origin, axis=0)
            unknown = np.isinf(self.floor_seen_from[tuple(cells.T)]) & np.isinf(
                self.obstacle_seen_from[tuple(cells.T)]
            )
            cells = cells[unknown].astype(np.int32)
            self.obstacle_seen_from[tuple(cells.T)] = REACH
            _stamp(cells, self.cost, self._guessed_costs)
        if len(fresh):
            _stamp(fresh, self.cost, self._costs)

    def bump(self, x: float, y: float, yaw: float) -> None:
        """Remember that the agent at (x, y) could not go on in that direction: a bar across it is closed, and
        what lies near an obstacle there. What it is held back by again and again it does not see (a ledge, say):
        that bar is twice as wide with every bump close by, so that its end is found in few."""
        i, j = self.cell_of(x, y)
        again = sum(math.dist(bump, (x, y)) < _SAME_BARRIER for bump in self._bumps)
        self._bumps.append((x, y))
        half = 1.5 * 2 ** min(again, _MOST_DOUBLINGS)
        for ahead in (1.0, 1.5, 2.0, 2.5, 3.0, 3.5):
            for side in np.arange(-half - 1.0, half + 1.01, 0.5):
                bx = x + CELL * (ahead * math.cos(yaw) - side * math.sin(yaw))
                by = y + CELL * (ahead * math.sin(yaw) + side * math.cos(yaw))
                a, b = self.cell_of(bx, by)
                bar = ahead <= 2.0 and abs(side) <= half
                if (a, b) != (i, j) and (bar or self.cost[a, b] >= _TIGHT):
                    self.bumped[a, b] = True
                    self.cost[a, b] = np.inf

    def forget_bumps(self) -> bool:
        """Open what was closed where the agent was held back; whether there was anything."""
        cells = np.argwhere(self.bumped).astype(np.int32)
        if not len(cells):
            return False
        self.bumped[:] = False
        self._bumps.clear()
        _recost(cells, self.obstacle_seen_from, self.bumped, self.cost, self._costs)
        return True

    def obstacles(self) -> np.ndarray:
        """Whether something that stands in the body's way was seen in each cell (I, J)."""
        return np.isfinite(self.obstacle_seen_from)

    def around(self, cells: np.ndarray, radius: float) -> np.ndarray:
        """Places (I, J) bool with room for the body, within a radius (metres) of cells (K, 2).

        Args:
            cells: counted from the start, as ``floor(x / CELL)``; the map must hold them.
            radius: metres.
        """
        near = np.zeros(self.shape, np.bool_)
        fill_discs(near, cells - self.origin, radius / CELL)
        return near & (self.cost < _TIGHT)

    def discs(self, places: list[tuple[float, float]], radius: float) -> np.ndarray:
        """Cells (I, J) bool within a radius of places, metres."""
        cells = np.array([self.cell_of(x, y) for x, y in places], dtype=np.int64).reshape(-1, 2)
        near = np.zeros(self.shape, np.bool_)
        fill_discs(near, cells, radius / CELL)
        return near

    def in_view(self, places: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Which of the places (I, J) bool nothing stands between and the nearest of the cells (K, 2): (I, J) bool.

        Args:
            places: within the map.
            cells: counted from the start; what stands just before them belongs to them.
        """
        return in_view(places, cells - self.origin, self.obstacles())

    def _hold(self, i0: int, j0: int, i1: int, j1: int) -> None:
        """Widen the map so that it holds these cells (counted from the start) with a margin."""
        rows, columns = self.cost.shape
        oi, oj = (int(value) for value in self.origin)
        if rows and i0 >= oi + 2 and j0 >= oj + 2 and i1 < oi + rows - 2 and j1 < oj + columns - 2:
            return
        if rows:
            i0, j0, i1, j1 = min(i0, oi), min(j0, oj), max(i1, oi + rows - 1), max(j1, oj + columns - 1)
        self._make(
            np.array([i0 - _MARGIN, j0 - _MARGIN]), (i1 - i0 + 1 + 2 * _MARGIN, j1 - j0 + 1 + 2 * _MARGIN)
        )

    def _make(self, origin: np.ndarray, shape: tuple[int, int]) -> None:
        """New grids; what the old ones hold is kept."""
        layers = {
            "floor": (np.float32, np.nan),
            "floor_seen_from": (np.float32, np.inf),
            "obstacle_seen_from": (np.float32, np.inf),
            "cost": (np.float32, 1.0),
            "seen": (np.bool_, False),
            "bumped": (np.bool_, False),
        }
        for name, (dtype, empty) in layers.items():
            grid = np.full(shape, empty, dtype)
            old = getattr(self, name, None)
            if old is not None and old.size:
                i, j = self.origin - origin
                grid[i : i + old.shape[0], j : j + old.shape[1]] = old
            setattr(self, name, grid)
        self.origin = origin.astype(np.int64)

    floor: np.ndarray
    """(I, J) float32 height of the floor, NaN where none was seen."""
    floor_seen_from: np.ndarray
    """(I, J) float32 distance that it was last seen from, metres."""
    obstacle_seen_from: np.ndarray
    """(I, J) float32 shortest distance that an obstacle was seen from, infinite where there is none."""
    cost: np.ndarray
    """(I, J) float32 cost of walking a metre here, from 1; infinite where one cannot be. Unknown is free."""
    seen: np.ndarray
    """(I, J) bool: floor was seen here, or on either side of here without a gap."""
    bumped: np.ndarray
    """(I, J) bool: the agent was held back here."""


def _costs_by_distance(radius: float) -> np.ndarray:
    """Cost (K, K) of a cell that lies so many cells along each axis from an obstacle."""
    reach = math.ceil((radius + _COMFORT) / CELL) + 1
    along = np.arange(reach)
    distance = CELL * np.hypot(along[:, None], along[None, :])
    ease = np.clip((radius + _COMFORT - distance) / _COMFORT, 0.0, 1.0)
    costs = 1.0 + _NEAR * ease**2
    costs[distance < radius + CELL - 1e-6] = _TIGHT
    costs[distance < radius - 1e-6] = GRAZING
    costs[0, 0] = np.inf
    return costs.astype(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _extent(points, valid, t, i, j, reach):
    """Lowest and highest cell, counted from the start, that points within reach of cell (i, j) fall in."""
    low, high = np.array([i, j]), np.array([i, j])
    for v in range(points.shape[0]):
        for u in range(points.shape[1]):
            if valid[v, u]:
                a, b, c = points[v, u, 0], points[v, u, 1], points[v, u, 2]
                pi = math.floor((t[0, 0] * a + t[0, 1] * b + t[0, 2] * c + t[0, 3]) / CELL)
                pj = math.floor((t[1, 0] * a + t[1, 1] * b + t[1, 2] * c + t[1, 3]) / CELL)
                if abs(pi - i) <= reach and abs(pj - j) <= reach:
                    low[0], low[1] = min(low[0], pi), min(low[1], pj)
                    high[0], high[1] = max(high[0], pi), max(high[1], pj)
    return low, high


@njit(cache=True, nogil=True, error_model="numpy")
def _height_votes(points, valid, t, origin, floor, seen_from, most):
    """How many level points lie so far below the floor known, in steps of `_VOTE`, ``most`` to either side."""
    rows, columns = floor.shape
    votes = np.zeros(2 * most + 1, np.int64)
    for v in range(points.shape[0] // 2, points.shape[0] - 1, 2):
        for u in range(0, points.shape[1], 2):
            if not (valid[v, u] and valid[v + 1, u]):
                continue
            a, b, c = points[v, u, 0], points[v, u, 1], points[v, u, 2]
            x = t[0, 0] * a + t[0, 1] * b + t[0, 2] * c + t[0, 3]
            y = t[1, 0] * a + t[1, 1] * b + t[1, 2] * c + t[1, 3]
            z = t[2, 0] * a + t[2, 1] * b + t[2, 2] * c + t[2, 3]
            i, j = math.floor(x / CELL) - origin[0], math.floor(y / CELL) - origin[1]
            if i < 0 or j < 0 or i >= rows or j >= columns or not seen_from[i, j] < 4.0:
                continue
            a, b, c = points[v + 1, u, 0], points[v + 1, u, 1], points[v + 1, u, 2]
            x -= t[0, 0] * a + t[0, 1] * b + t[0, 2] * c + t[0, 3]
            y -= t[1, 0] * a + t[1, 1] * b + t[1, 2] * c + t[1, 3]
            rise = z - (t[2, 0] * a + t[2, 1] * b + t[2, 2] * c + t[2, 3])
            vote = round((floor[i, j] - z) / _VOTE)
            if abs(vote) <= most and rise * rise < 0.04 * (x * x + y * y):
                votes[vote + most] += 1
    return votes


def _elected(votes: np.ndarray) -> float:
    """The height difference that most level points agree on, 0 where that is hardly better, metres."""
    smooth = np.convolve(votes, (0.5, 1.0, 0.5), mode="same")
    best, level = int(smooth.argmax()), len(votes) // 2
    if smooth[best] < _FEWEST_VOTES or smooth[best] < 2.0 * smooth[level]:
        return 0.0
    return (best - level) * _VOTE


@njit(cache=True, nogil=True, error_model="numpy")
def _floor_around(floor, i, j, otherwise):
    """Median height of the floor within 0.3 m."""
    heights = np.empty(169, np.float32)
    count = 0
    for a in range(max(0, i - 6), min(floor.shape[0], i + 7)):
        for b in range(max(0, j - 6), min(floor.shape[1], j + 7)):
            if (a - i) ** 2 + (b - j) ** 2 <= 36 and not math.isnan(floor[a, b]):
                heights[count] = floor[a, b]
                count += 1
    return np.median(heights[:count]) if count else otherwise


@njit(cache=True, nogil=True, error_model="numpy")
def _enter(
    points, valid, t, origin, position, floor_here, climb, height, floor, floor_seen_from, obstacle, seen
):
    """Follow every image column along the floor; new obstacles (K, 2) and former ones (L, 2)."""
    image_rows, image_columns = points.shape[0], points.shape[1]
    rows, columns = floor.shape
    total = image_rows * image_columns
    fresh = np.empty((total, 2), np.int32)
    floors = np.empty((total, 2), np.int32)
    floor_from = np.empty(total, np.float32)
    fresh_count = floor_count = 0
    for u in range(image_columns):
        anchor_r, anchor_z = 0.0, floor_here  # floor a stair's depth before the point
        last_r, last_z = 0.0, floor_here
        last_x, last_y = position[0], position[1]
        open_way = True
        for v in range(image_rows - 1, -1, -1):
            if not valid[v, u]:
                continue
            a, b, c = points[v, u, 0], points[v, u, 1], points[v, u, 2]
            x = t[0, 0] * a + t[0, 1] * b + t[0, 2] * c + t[0, 3]
            y = t[1, 0] * a + t[1, 1] * b + t[1, 2] * c + t[1, 3]
            z = t[2, 0] * a + t[2, 1] * b + t[2, 2] * c + t[2, 3]
            r = math.hypot(x - position[0], y - position[1])
            if r > REACH:
                continue
            i, j = math.floor(x / CELL) - origin[0], math.floor(y / CELL) - origin[1]
            if i < 0 or j < 0 or i >= rows or j >= columns:
                continue
            above = z - anchor_z
            if -climb <= above <= climb:
                if last_r - anchor_r >= _STAIR or (r > last_r and r - anchor_r >= 2 * _STAIR):
                    anchor_r, anchor_z = last_r, last_z
                if z - anchor_z <= climb:
                    floors[floor_count, 0], floors[floor_count, 1] = i, j
                    floor_from[floor_count] = r
                    floor_count += 1
                    level = abs(z - last_z) <= abs(r - last_r)
                    if level and r <= floor_seen_from[i, j]:
                        floor[i, j], floor_seen_from[i, j] = z, r
                    if open_way and r > last_r:
                        steps = int((r - last_r) / CELL) + 1
                        for k in range(steps + 1):
                            share = k / steps
                            si = math.floor((last_x + share * (x - last_x)) / CELL) - origin[0]
                            sj = math.floor((last_y + share * (y - last_y)) / CELL) - origin[1]
                            seen[si, sj] = True
                    else:
                        seen[i, j] = True
                    if r > last_r:
                        last_r, last_z, last_x, last_y = r, z, x, y
                        open_way = True
            elif climb < above < height:
                if not obstacle[i, j] < REACH:  # none, or one that was only guessed
                    fresh[fresh_count, 0], fresh[fresh_count, 1] = i, j
                    fresh_count += 1
                if r < obstacle[i, j]:
                    obstacle[i, j] = r
                open_way = False
            elif above < -climb:
                open_way = False
    cleared = np.empty((floor_count, 2), np.int32)
    cleared_count = 0
    for k in range(floor_count):
        i, j = floors[k, 0], floors[k, 1]
        if obstacle[i, j] < math.inf and floor_from[k] < _CLOSER * obstacle[i, j]:
            obstacle[i, j] = math.inf
            cleared[cleared_count, 0], cleared[cleared_count, 1] = i, j
            cleared_count += 1
    return fresh[:fresh_count], cleared[:cleared_count]


@njit(cache=True, nogil=True, error_model="numpy")
def _stamp(cells, cost, costs):
    """Raise the costs around new obstacles (K, 2)."""
    reach = costs.shape[0] - 1
    for k in range(len(cells)):
        i, j = cells[k, 0], cells[k, 1]
        for a in range(max(0, i - reach), min(cost.shape[0], i + reach + 1)):
            for b in range(max(0, j - reach), min(cost.shape[1], j + reach + 1)):
                value = costs[abs(a - i), abs(b - j)]
                if value > cost[a, b]:
                    cost[a, b] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _recost(cells, obstacle, bumped, cost, costs):
    """Work the costs out anew around former obstacles (K, 2)."""
    reach = costs.shape[0] - 1
    low_i, low_j = cells[:, 0].min() - reach, cells[:, 1].min() - reach
    high_i, high_j = cells[:, 0].max() + reach, cells[:, 1].max() + reach
    low_i, low_j = max(0, low_i), max(0, low_j)
    high_i, high_j = min(cost.shape[0] - 1, high_i), min(cost.shape[1] - 1, high_j)
    cost[low_i : high_i + 1, low_j : high_j + 1] = 1.0
    for i in range(max(0, low_i - reach), min(cost.shape[0], high_i + reach + 1)):
        for j in range(max(0, low_j - reach), min(cost.shape[1], high_j + reach + 1)):
            if not obstacle[i, j] < math.inf:
                continue
            for a in range(max(low_i, i - reach), min(high_i, i + reach) + 1):
                for b in range(max(low_j, j - reach), min(high_j, j + reach) + 1):
                    value = costs[abs(a - i), abs(b - j)]
                    if not obstacle[i, j] < REACH:
                        value = min(value, _GUESSED)
                    if value > cost[a, b]:
                        cost[a, b] = value
    for i in range(low_i, high_i + 1):
        for j in range(low_j, high_j + 1):
            if bumped[i, j]:
                cost[i, j] = math.inf
