"""Paths as Habitat finds them: A* over polygons by the middles of their edges, then the string pulled tight.

Such a path is the shortest within its corridor of polygons, not always the shortest of all (up to a fifth
longer on the scenes of the tests, equal on most pairs); Habitat's measures are made of these lengths, so
these they must be. After habitat-sim 0.3.4 (``PathFinder::findPath``) and its Detour (``findPath``,
``findStraightPath``, ``dtNodeQueue``); unlike there, corridors may have any number of polygons. Everything is
float32 but the length.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from envs.simulators.walkable.polygon_geometry import closest_on_segment, contains

_ZERO = np.float32(0)
_HALF = np.float32(0.5)
_HEURISTIC_SCALE = np.float32(0.999)
_SAME_POINT = np.float32((1 / 16384) ** 2)
"""Squared distance, square metres, below which two corners of a path are one."""
_AT_PORTAL = np.float32(0.001 * 0.001)
_NEW, _OPEN, _CLOSED = 0, 1, 2


@njit(cache=True, nogil=True, inline="always")
def _distance(ax, ay, az, bx, by, bz):
    """Distance of two points."""
    dx, dy, dz = bx - ax, by - ay, bz - az
    return np.float32(math.sqrt(dx * dx + dy * dy + dz * dz))


@njit(cache=True, nogil=True)
def _rise(heap, places, totals, i, node):
    """Move ``node`` up from slot ``i`` of the heap."""
    while i > 0:
        parent = (i - 1) >> 1
        if totals[heap[parent]] <= totals[node]:
            break
        heap[i] = heap[parent]
        places[heap[i]] = i
        i = parent
    heap[i] = node
    places[node] = i


@njit(cache=True, nogil=True)
def find_corridor(corners, counts, links, first, last, start, end, corridor):
    """Polygons from ``first`` to ``last``: written to ``corridor``, their number returned (0 where there is
    no way)."""
    if first == last:
        corridor[0] = first
        return 1
    count = len(counts)
    places = np.empty((count, 3), np.float32)
    costs = np.empty(count, np.float32)
    totals = np.empty(count, np.float32)
    parents = np.empty(count, np.int32)
    states = np.zeros(count, np.int8)
    slots = np.empty(count, np.int32)
    heap = np.empty(count, np.int32)
    ex, ey, ez = end[0], end[1], end[2]
    places[first, 0], places[first, 1], places[first, 2] = start[0], start[1], start[2]
    costs[first] = _ZERO
    totals[first] = _distance(start[0], start[1], start[2], ex, ey, ez) * _HEURISTIC_SCALE
    parents[first] = -1
    states[first] = _OPEN
    heap[0] = first
    slots[first] = 0
    size = 1
    while size > 0:
        current = heap[0]
        size -= 1
        i, child = 0, 1
        while child < size:
            if child + 1 < size and totals[heap[child]] > totals[heap[child + 1]]:
                child += 1
            heap[i] = heap[child]
            slots[heap[i]] = i
            i = child
            child = 2 * i + 1
        if size > 0:
            _rise(heap, slots, totals, i, heap[size])
        states[current] = _CLOSED
        if current == last:
            break
        cx, cy, cz = places[current, 0], places[current, 1], places[current, 2]
        for k in range(counts[current]):
            neighbour = links[current, k]
            if neighbour < 0 or neighbour == parents[current]:
                continue
            if states[neighbour] == _NEW:
                edge = k
                for m in range(k):  # two polygons may share several edges: the first counts
                    if links[current, m] == neighbour:
                        edge = m
                        break
                following = edge + 1 if edge + 1 < counts[current] else 0
                for c in range(3):
                    places[neighbour, c] = (
                        corners[current, edge, c] + corners[current, following, c]
                    ) * _HALF
            nx, ny, nz = places[neighbour, 0], places[neighbour, 1], places[neighbour, 2]
            onwards = _distance(nx, ny, nz, ex, ey, ez)
            cost = costs[current] + _distance(cx, cy, cz, nx, ny, nz)
            if neighbour == last:
                cost += onwards
                total = cost
            else:
                total = cost + onwards * _HEURISTIC_SCALE
            if states[neighbour] != _NEW and total >= totals[neighbour]:
                continue
            parents[neighbour], costs[neighbour], totals[neighbour] = current, cost, total
            if states[neighbour] == _OPEN:
                _rise(heap, slots, totals, slots[neighbour], neighbour)
            else:
                states[neighbour] = _OPEN
                _rise(heap, slots, totals, size, neighbour)
                size += 1
    if states[last] != _CLOSED:
        return 0
    length = 0
    current = last
    while current >= 0:
        corridor[length] = current
        length += 1
        current = parents[current]
    for i in range(length // 2):
        corridor[i], corridor[length - 1 - i] = corridor[length - 1 - i], corridor[i]
    return length


@njit(cache=True, nogil=True)
def _on_polygon(corners, count, point):
    """The point itself where it lies over the polygon, else the nearest point of the polygon's edges."""
    result = point.copy()
    if contains(corners, count, point[0], point[2]):
        return result
    nearest = np.float32(np.inf)
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        distance, t = closest_on_segment(
            point[0], point[2], corners[i, 0], corners[i, 2], corners[j, 0], corners[j, 2]
        )
        if distance < nearest:
            nearest = distance
            for c in range(3):
                result[c] = corners[i, c] + (corners[j, c] - corners[i, c]) * t
    return result


@njit(cache=True, nogil=True, inline="always")
def _side(a, b, c):
    """Which side of the line ab the point c lies on in the xz plane, as twice the area of the triangle."""
    return (c[0] - a[0]) * (b[2] - a[2]) - (b[0] - a[0]) * (c[2] - a[2])


@njit(cache=True, nogil=True, inline="always")
def _same(a, b):
    """Whether two points are the same to Detour."""
    dx, dy, dz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    return dx * dx + dy * dy + dz * dz < _SAME_POINT


@njit(cache=True, nogil=True)
def pull_string(corners, counts, links, corridor, length, start, end, points):
    """Corners of the shortest line through a corridor: written to ``points`` (N, 3), their number returned.

    The "simple stupid funnel" (M. Mononen) with Detour's tie-breaking.
    """
    origin = _on_polygon(corners[corridor[0]], counts[corridor[0]], start)
    goal = _on_polygon(corners[corridor[length - 1]], counts[corridor[length - 1]], end)
    points[0] = origin
    number = 1
    apex, left, right = origin.copy(), origin.copy(), origin.copy()
    left_index = right_index = 0
    i = 0
    while i < length and length > 1:
        if i + 1 < length:
            p = corridor[i]
            edge = 0
            while links[p, edge] != corridor[i + 1]:
                edge += 1
            new_left, new_right = corners[p, edge], corners[p, edge + 1 if edge + 1 < counts[p] else 0]
            if i == 0:
                distance, _ = closest_on_segment(
                    apex[0], apex[2], new_left[0], new_left[2], new_right[0], new_right[2]
                )
                if distance < _AT_PORTAL:
                    i += 1
                    continue
        else:
            new_left, new_right = goal, goal
        turned = False
        if _side(apex, right, new_right) <= _ZERO:
            if _same(apex, right) or _side(apex, left, new_right) > _ZERO:
                right[:] = new_right
                right_index = i
            else:
                apex[:] = left
                i = right_index = left_index
                turned = True
        if not turned and _side(apex, left, new_left) >= _ZERO:
            if _same(apex, left) or _side(apex, right, new_left) < _ZERO:
                left[:] = new_left
                left_index = i
            else:
                apex[:] = right
                i = left_index = right_index
                turned = True
        if turned:
            left[:] = apex
            right[:] = apex
            if not _same(points[number - 1], apex):
                points[number] = apex
                number += 1
        i += 1
    if not _same(points[number - 1], goal):
        points[number] = goal
        number += 1
    return number


@njit(cache=True, nogil=True)
def path_between(corners, counts, links, first, last, start, end, on_start, on_end, corridor, points):
    """One path: its corners are written to ``points``; their number and the path's length are returned.

    ``on_start`` and ``on_end`` are ``start`` and ``end`` snapped to their polygons ``first`` and ``last``.
    """
    if on_start[0] == on_end[0] and on_start[1] == on_end[1] and on_start[2] == on_end[2]:
        points[0] = on_start
        points[1] = on_end
        return 2, 0.0
    length = find_corridor(corners, counts, links, first, last, on_start, on_end, corridor)
    if length == 0:
        return 0, np.inf
    number = pull_string(corners, counts, links, corridor, length, start, end, points)
    total = 0.0
    for i in range(1, number):
        dx = np.float64(points[i, 0]) - points[i - 1, 0]
        dy = np.float64(points[i, 1]) - points[i - 1, 1]
        dz = np.float64(points[i, 2]) - points[i - 1, 2]
        total += math.sqrt(dx * dx + dy * dy + dz * dz)
    return number, total


@njit(cache=True, nogil=True)
def path_lengths(
    corners, counts, links, islands, polygons, points, snapped, chosen, goal_polygons, goals, snapped_goals
):
    """Length (B,) of the path from each of ``points`` to the goal ``chosen`` (B,) for it; infinite where
    there is none."""
    lengths = np.full(len(points), np.inf)
    corridor = np.empty(len(counts), np.int32)
    bends = np.empty((len(counts) + 2, 3), np.float32)
    for b in range(len(points)):
        p, g = polygons[b], chosen[b]
        if p >= 0 and g >= 0 and islands[p] == islands[goal_polygons[g]]:
            _, lengths[b] = path_between(
                corners,
                counts,
                links,
                p,
                goal_polygons[g],
                points[b],
                goals[g],
                snapped[b],
                snapped_goals[g],
                corridor,
                bends,
            )
    return lengths
