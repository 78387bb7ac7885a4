"""Exact distances over the polygons to the nearest of many goals: which goal is nearest, asked at every step.

Straight lines spread from the goals through the edges of the polygons, as light does, and turn round the
corners of the border; each edge remembers by which windows it was reached (the "continuous Dijkstra" of
Mitchell, Mount and Papadimitriou, 1987, on a surface that is flat but for heights, with the expansion of
Polyanya: Cui, Harabor, Grastien, IJCAI 2017, and windows dropped as Xin and Wang, ACM ToG 28(4), 2009, drop
them). Directions are those of the xz plane, lengths those of space. A goal set costs a fraction of a
millisecond, a query the windows of one polygon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from envs.simulators.walkable.index import SurfaceIndex
from envs.simulators.walkable.navmesh import MAX_CORNERS

_END = 1e-7
"""A window this near to the end of its edge, as a share of the edge, reaches it."""
_WORSE = 1e-6
"""A way must be longer by this, metres, to be dropped for another."""
_IN_LINE = 5e-6
"""Rounding of a corner's place, metres, within which it counts as in line with two others."""
_MOST_WINDOWS = 1000
"""Windows a polygon and goal at which a search ends: ordinary surfaces have two, self-crossing ones no end."""
_SMALLEST_TURN = 1e-4
"""Angle, radians, by which the ground around a corner must exceed half a circle for a path to turn there."""


@dataclass(frozen=True, eq=False)
class Topology:
    """How the polygons' edges and corners meet: P polygons, F corner points.

    Polygons that touch in a corner but not, step by step, in edges do not share the corner's point: no path
    leads through it.
    """

    corners: np.ndarray
    """(P, 6, 3) float64."""
    opposite: np.ndarray
    """(P, 6) int32 the neighbour's number of the edge it shares; -1 for a border."""
    points: np.ndarray
    """(P, 6) int32 the corner point of each corner; -1 where unused."""
    turning: np.ndarray
    """(F,) bool: the shortest path may turn here."""
    winding: float
    """1 where the polygons' corners go round from x to z, -1 where they go the other way."""


@dataclass(frozen=True, eq=False)
class Wavefront:
    """By which windows the polygons were reached: W windows, P polygons, F corner points."""

    windows: np.ndarray
    """(W, 6) float64: part of the edge (from, to; 0..1), point last turned at, distance to the goal there."""
    sources: np.ndarray
    """(W, 2) int32: the edge entered by (-1: the goal lies in the polygon) and the goal."""
    offsets: np.ndarray
    """(P + 1,) int32 where each polygon's windows begin."""
    corner_distances: np.ndarray
    """(F,) metres."""
    corner_goals: np.ndarray
    """(F,) int32."""


def find_topology(index: SurfaceIndex) -> Topology:
    """Work out which corners and edges meet."""
    corners, counts, links = index.corners, index.counts, index.links
    slots = np.arange(MAX_CORNERS)
    used = slots < counts[:, None]
    following = np.where(slots + 1 < counts[:, None], slots + 1, 0)
    previous = np.where(slots > 0, slots - 1, counts[:, None] - 1)
    ends = np.take_along_axis(corners, following[..., None], axis=1)
    opposite = np.full(links.shape, -1, np.int32)
    polygon, edge = np.nonzero(links >= 0)
    across = links[polygon, edge]
    for m in range(MAX_CORNERS):
        meets = (
            (m < counts[across])
            & (links[across, m] == polygon)
            & (corners[across, m] == ends[polygon, edge]).all(axis=-1)
            & (ends[across, m] == corners[polygon, edge]).all(axis=-1)
        )
        opposite[polygon[meets], edge[meets]] = m
    polygon, edge = np.nonzero(opposite >= 0)
    across, other = links[polygon, edge], opposite[polygon, edge]
    pairs = np.concatenate(
        [
            np.stack([polygon * MAX_CORNERS + edge, across * MAX_CORNERS + following[across, other]]),
            np.stack([polygon * MAX_CORNERS + following[polygon, edge], across * MAX_CORNERS + other]),
        ],
        axis=1,
    )
    graph = coo_matrix((np.ones(pairs.shape[1], bool), pairs), shape=(links.size, links.size))
    labels = connected_components(graph, directed=False)[1].reshape(links.shape)
    _, numbered = np.unique(labels[used], return_inverse=True)
    points = np.full(links.shape, -1, np.int32)
    points[used] = numbered
    plane = corners[..., [0, 2]].astype(np.float64)
    onward = np.take_along_axis(plane, following[..., None], axis=1) - plane
    backward = np.take_along_axis(plane, previous[..., None], axis=1) - plane
    turns = onward[..., 0] * backward[..., 1] - onward[..., 1] * backward[..., 0]
    angles = np.abs(np.arctan2(turns, (onward * backward).sum(axis=-1)))
    around = np.bincount(points[used], angles[used])
    at_border = np.zeros(len(around), bool)
    polygon, edge = np.nonzero(used & (opposite < 0))
    at_border[points[polygon, edge]] = True
    at_border[points[polygon, following[polygon, edge]]] = True
    return Topology(
        corners=corners.astype(np.float64),
        opposite=opposite,
        points=points,
        turning=at_border & (around > math.pi + _SMALLEST_TURN),
        winding=1.0 if turns[used].sum() > 0 else -1.0,
    )


def spread_from(
    index: SurfaceIndex, topology: Topology, polygons: np.ndarray, goals: np.ndarray
) -> Wavefront:
    """Spread from ``goals`` (G, 3) float64 on ``polygons`` (G,); goals of polygon -1 are left out."""
    windows, sources, number, distances, corner_goals = _spread(
        topology.corners,
        index.counts,
        index.links,
        topology.opposite,
        topology.points,
        topology.turning,
        topology.winding,
        polygons,
        goals,
    )
    kept = np.flatnonzero(sources[:number, 4])
    order = kept[np.argsort(sources[kept, 2], kind="stable")]
    offsets = np.searchsorted(sources[order, 2], np.arange(len(index.counts) + 1))
    return Wavefront(
        windows[order],
        np.ascontiguousarray(sources[order, :2]),
        offsets.astype(np.int32),
        distances,
        corner_goals,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _space(ax, ay, az, bx, by, bz):
    """Distance of two points."""
    dx, dy, dz = bx - ax, by - ay, bz - az
    return math.sqrt(dx * dx + dy * dy + dz * dz)


@njit(cache=True, nogil=True, error_model="numpy")
def _turn(ox, oz, ax, az, bx, bz):
    """Positive where b lies, seen from o, beyond a in the sense from x to z; 0 where they are in line but for
    rounding.

    Corners are float32, so that corners on one wall are only nearly in line.
    """
    ux, uz, vx, vz = ax - ox, az - oz, bx - ox, bz - oz
    turn = ux * vz - uz * vx
    return turn if abs(turn) > _IN_LINE * (abs(ux) + abs(uz) + abs(vx) + abs(vz)) else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _where_positive(a, b):
    """The part (from, to) of 0..1 on which a line from value ``a`` to value ``b`` is not negative."""
    low, high = 0.0, 1.0
    if a < 0 and b < 0:
        low, high = 1.0, 0.0
    elif a < 0:
        low = a / (a - b)
    elif b < 0:
        high = a / (a - b)
    return low, high


@njit(cache=True, nogil=True, error_model="numpy")
def _push(keys, items, size, key, item):
    """Add to a binary heap (N, 1) of ``size`` entries."""
    i = size
    while i > 0:
        parent = (i - 1) >> 1
        if keys[parent, 0] <= key:
            break
        keys[i, 0], items[i, 0] = keys[parent, 0], items[parent, 0]
        i = parent
    keys[i, 0], items[i, 0] = key, item


@njit(cache=True, nogil=True, error_model="numpy")
def _pop(keys, items, size):
    """Take the item of the smallest key off a binary heap (N, 1) of ``size`` entries."""
    item = items[0, 0]
    key, last = keys[size - 1, 0], items[size - 1, 0]
    i, child = 0, 1
    while child < size - 1:
        if child + 1 < size - 1 and keys[child + 1, 0] < keys[child, 0]:
            child += 1
        if key <= keys[child, 0]:
            break
        keys[i, 0], items[i, 0] = keys[child, 0], items[child, 0]
        i = child
        child = 2 * i + 1
    keys[i, 0], items[i, 0] = key, last
    return item


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(corners, counts, links, opposite, points, turning, winding, goal_polygons, goals):
    """The search of `spread_from`: windows, sources, their number, corner points' distances and goals."""
    capacity = 4 * len(counts) + 2 * len(goals) + 64
    windows = np.empty((capacity, 6))
    sources = np.empty(
        (capacity, 5), np.int32
    )  # edge entered by, goal, polygon, corner point turned at, kept
    keys = np.empty((capacity, 1))
    heap = np.empty((capacity, 1), np.int32)
    distances = np.empty(len(turning))
    corner_goals = np.empty(len(turning), np.int32)
    for f in range(len(turning)):
        distances[f], corner_goals[f] = np.inf, -1
    number = size = 0
    for g in range(len(goals)):
        if goal_polygons[g] >= 0:
            _set_window(windows, number, 0.0, 1.0, goals[g, 0], goals[g, 1], goals[g, 2], 0.0)
            _set_source(sources, number, -1, g, goal_polygons[g], -1)
            _push(keys, heap, size, 0.0, number)
            number += 1
            size += 1
    most = _MOST_WINDOWS * (len(counts) + len(goals))
    while size > 0 and number < most:
        current = _pop(keys, heap, size)
        size -= 1
        p, root = sources[current, 2], sources[current, 3]
        entry, goal = sources[current, 0], sources[current, 1]
        start, stop, base = windows[current, 0], windows[current, 1], windows[current, 5]
        rx, ry, rz = windows[current, 2], windows[current, 3], windows[current, 4]
        count = counts[p]
        if root >= 0 and base > distances[root] + _WORSE:
            continue
        low_corner = high_corner = -1
        lx = ly = lz = hx = hy = hz = low_base = high_base = 0.0
        if entry >= 0:
            onward = entry + 1 if entry + 1 < count else 0
            low_corner, high_corner = points[p, entry], points[p, onward]
            ax, ay, az = corners[p, entry, 0], corners[p, entry, 1], corners[p, entry, 2]
            bx, by, bz = corners[p, onward, 0], corners[p, onward, 1], corners[p, onward, 2]
            lx, ly, lz = ax + (bx - ax) * start, ay + (by - ay) * start, az + (bz - az) * start
            hx, hy, hz = ax + (bx - ax) * stop, ay + (by - ay) * stop, az + (bz - az) * stop
            low_base = base + _space(rx, ry, rz, lx, ly, lz)
            high_base = base + _space(rx, ry, rz, hx, hy, hz)
            edge_length = _space(ax, ay, az, bx, by, bz)
            if (
                distances[low_corner] + stop * edge_length < high_base - _WORSE
                or distances[high_corner] + (1 - start) * edge_length < low_base - _WORSE
            ):
                continue
        sources[current, 4] = 1
        for k in range(count):
            if k == entry:
                continue
            onward = k + 1 if k + 1 < count else 0
            ax, ay, az = corners[p, k, 0], corners[p, k, 1], corners[p, k, 2]
            bx, by, bz = corners[p, onward, 0], corners[p, onward, 1], corners[p, onward, 2]
            edge_length = _space(ax, ay, az, bx, by, bz)
            neighbour = links[p, k] if opposite[p, k] >= 0 else -1
            # seen from the root (0), or behind the window's low (1) or high end (2) when the path turns there
            for view in range(3):
                vx, vy, vz, reached, turned = rx, ry, rz, base, root
                if view == 0:
                    low, high = 0.0, 1.0
                    if entry >= 0:
                        low, high = _where_positive(
                            -winding * _turn(rx, rz, lx, lz, ax, az), -winding * _turn(rx, rz, lx, lz, bx, bz)
                        )
                        other_low, other_high = _where_positive(
                            winding * _turn(rx, rz, hx, hz, ax, az), winding * _turn(rx, rz, hx, hz, bx, bz)
                        )
                        low, high = max(low, other_low), min(high, other_high)
                else:
                    if entry < 0:
                        break
                    if view == 1:
                        vx, vy, vz, reached, turned, at_end = lx, ly, lz, low_base, low_corner, start == 0.0
                        sign = winding
                    else:
                        vx, vy, vz, reached, turned, at_end = hx, hy, hz, high_base, high_corner, stop == 1.0
                        sign = -winding
                    if (
                        not at_end
                        or turned == root
                        or not turning[turned]
                        or reached > distances[turned] + _WORSE
                    ):
                        continue
                    at_a = sign * _turn(rx, rz, vx, vz, ax, az)
                    at_b = sign * _turn(rx, rz, vx, vz, bx, bz)
                    if at_a <= 0 and at_b <= 0:
                        continue
                    low, high = _where_positive(at_a, at_b)
                if low < _END:
                    low = 0.0
                if high > 1 - _END:
                    high = 1.0
                if low > high:
                    continue
                if low == 0.0:
                    distance = reached + _space(vx, vy, vz, ax, ay, az)
                    if distance < distances[points[p, k]]:
                        distances[points[p, k]], corner_goals[points[p, k]] = distance, goal
                if high == 1.0:
                    distance = reached + _space(vx, vy, vz, bx, by, bz)
                    if distance < distances[points[p, onward]]:
                        distances[points[p, onward]], corner_goals[points[p, onward]] = distance, goal
                if neighbour < 0 or high - low < _END:
                    continue
                ux, uy, uz = ax + (bx - ax) * low, ay + (by - ay) * low, az + (bz - az) * low
                wx, wy, wz = ax + (bx - ax) * high, ay + (by - ay) * high, az + (bz - az) * high
                if (
                    distances[points[p, k]] + high * edge_length
                    < reached + _space(vx, vy, vz, wx, wy, wz) - _WORSE
                    or distances[points[p, onward]] + (1 - low) * edge_length
                    < reached + _space(vx, vy, vz, ux, uy, uz) - _WORSE
                ):
                    continue
                if number == capacity:
                    capacity *= 2
                    windows, sources = _longer(windows, capacity), _longer(sources, capacity)
                    keys, heap = _longer(keys, capacity), _longer(heap, capacity)
                along = (vx - ux) * (wx - ux) + (vz - uz) * (wz - uz)
                square = (wx - ux) * (wx - ux) + (wz - uz) * (wz - uz)
                along = min(max(along / square, 0.0), 1.0) if square > 0 else 0.0
                nx, nz = ux + (wx - ux) * along - vx, uz + (wz - uz) * along - vz
                _set_window(windows, number, 1 - high, 1 - low, vx, vy, vz, reached)
                _set_source(sources, number, opposite[p, k], goal, neighbour, turned)
                _push(keys, heap, size, reached + math.sqrt(nx * nx + nz * nz), number)
                number += 1
                size += 1
    return windows, sources, number, distances, corner_goals


@njit(cache=True, nogil=True, error_model="numpy")
def _set_window(windows, i, start, stop, x, y, z, distance):
    """Write one row of `Wavefront.windows`."""
    windows[i, 0], windows[i, 1], windows[i, 5] = start, stop, distance
    windows[i, 2], windows[i, 3], windows[i, 4] = x, y, z


@njit(cache=True, nogil=True, error_model="numpy")
def _set_source(sources, i, edge, goal, polygon, turned):
    """Write one row of the search's list of where windows come from and lead to."""
    sources[i, 0], sources[i, 1], sources[i, 2], sources[i, 3], sources[i, 4] = edge, goal, polygon, turned, 0


@njit(cache=True, nogil=True, error_model="numpy")
def _longer(array, length):
    """A copy (length, C) of an array (N, C) with room at its end."""
    result = np.empty((length, array.shape[1]), array.dtype)
    for i in range(array.shape[0]):
        for j in range(array.shape[1]):
            result[i, j] = array[i, j]
    return result


@njit(cache=True, nogil=True, error_model="numpy")
def nearest_goals(
    corners, counts, points, windows, sources, offsets, corner_distances, corner_goals, polygons, positions
):
    """Exact distances and nearest goals (B,) of ``positions`` (B, 3) on ``polygons`` (B,); inf, -1: none."""
    distances = np.empty(len(positions))
    goals = np.empty(len(positions), np.int32)
    for b in range(len(positions)):
        p = polygons[b]
        distances[b], goals[b] = np.inf, -1
        if p < 0:
            continue
        x, y, z = np.float64(positions[b, 0]), np.float64(positions[b, 1]), np.float64(positions[b, 2])
        best, goal = np.inf, -1
        for i in range(offsets[p], offsets[p + 1]):
            start, stop, base = windows[i, 0], windows[i, 1], windows[i, 5]
            rx, ry, rz = windows[i, 2], windows[i, 3], windows[i, 4]
            k = sources[i, 0]
            if base >= best:
                continue
            if k < 0:
                distance = base + _space(rx, ry, rz, x, y, z)
            else:
                onward = k + 1 if k + 1 < counts[p] else 0
                ax, ay, az = corners[p, k, 0], corners[p, k, 1], corners[p, k, 2]
                bx, by, bz = corners[p, onward, 0], corners[p, onward, 1], corners[p, onward, 2]
                # where the straight line from the root crosses the edge
                across = (bx - ax) * (z - rz) - (bz - az) * (x - rx)
                t = ((rx - ax) * (z - rz) - (rz - az) * (x - rx)) / across if across != 0 else start
                if start <= t <= stop:
                    distance = base + _space(rx, ry, rz, x, y, z)
                else:
                    t = min(max(t, start), stop)
                    mx, my, mz = ax + (bx - ax) * t, ay + (by - ay) * t, az + (bz - az) * t
                    distance = base + _space(rx, ry, rz, mx, my, mz) + _space(mx, my, mz, x, y, z)
            if distance < best:
                best, goal = distance, sources[i, 1]
        for k in range(counts[p]):
            distance = corner_distances[points[p, k]] + _space(
                corners[p, k, 0], corners[p, k, 1], corners[p, k, 2], x, y, z
            )
            if distance < best:
                best, goal = distance, corner_goals[points[p, k]]
        distances[b], goals[b] = best, goal
    return distances, goals
