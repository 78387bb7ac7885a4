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


@njit(cache=True, nogil=True, error_model="numpy")
def _distance(ax, ay, az, bx, by, bz):
    """Distance of two points."""
    dx, dy, dz = bx - ax, by - ay, bz - az
    return np.float32(math.sqrt(dx * dx + dy * dy + dz * dz))


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def find_corridor(corners, counts, links, first, last, start, end, corridor):
    """Polygons from ``first`` to ``last``: written to ``corridor``, their number returned (0: no way)."""
    if first == last:
        corridor[0] = first
        return 1
    count = len(counts)
    places = np.empty((count, 3), np.float32)
    costs = np.empty(count, np.float32)
    totals = np.empty(count, np.float32)
    parents = np.empty(count, np.int32)
    states = np.empty(count, np.int8)
    slots = np.empty(count, np.int32)
    heap = np.empty(count, np.int32)
    for p in range(count):
        states[p] = _NEW
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


@njit(cache=True, nogil=True, error_model="numpy")
def _onto_polygon(corners, count, x, y, z):
    """The point itself where it lies over the polygon, else the nearest point of the polygon's edges."""
    if contains(corners, count, x, z):
        return x, y, z
    nearest = np.float32(np.inf)
    best, share = 0, _ZERO
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        distance, t = closest_on_segment(x, z, corners[i, 0], corners[i, 2], corners[j, 0], corners[j, 2])
        if distance < nearest:
            nearest, best, share = distance, i, t
    j = best + 1 if best + 1 < count else 0
    ax, ay, az = corners[best, 0], corners[best, 1], corners[best, 2]
    return (
        ax + (corners[j, 0] - ax) * share,
        ay + (corners[j, 1] - ay) * share,
        az + (corners[j, 2] - az) * share,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _side(ax, az, bx, bz, cx, cz):
    """Which side of the line ab the point c lies on in the xz plane, as twice the area of the triangle."""
    return (cx - ax) * (bz - az) - (bx - ax) * (cz - az)


@njit(cache=True, nogil=True, error_model="numpy")
def _same(ax, ay, az, bx, by, bz):
    """Whether two points are the same to Detour."""
    dx, dy, dz = ax - bx, ay - by, az - bz
    return dx * dx + dy * dy + dz * dz < _SAME_POINT


@njit(cache=True, nogil=True, error_model="numpy")
def _append(points, number, x, y, z):
    """Write a corner of a path behind the ``number`` there are, if it is a new one; how many there are then."""
    if number > 0 and _same(points[number - 1, 0], points[number - 1, 1], points[number - 1, 2], x, y, z):
        return number
    points[number, 0], points[number, 1], points[number, 2] = x, y, z
    return number + 1


@njit(cache=True, nogil=True, error_model="numpy")
def pull_string(corners, counts, links, corridor, length, start, end, points):
    """Corners of the shortest line through a corridor: written to ``points`` (N, 3), their number returned.

    The "simple stupid funnel" (M. Mononen) with Detour's tie-breaking: a = apex, l and r = left and right end of
    the funnel, n and m = left and right end of the next portal.
    """
    first, last = corridor[0], corridor[length - 1]
    ax, ay, az = _onto_polygon(corners[first], counts[first], start[0], start[1], start[2])
    gx, gy, gz = _onto_polygon(corners[last], counts[last], end[0], end[1], end[2])
    number = _append(points, 0, ax, ay, az)
    lx, ly, lz = rx, ry, rz = ax, ay, az
    left_index = right_index = 0
    i = 0
    while i < length and length > 1:
        nx, ny, nz = mx, my, mz = gx, gy, gz
        if i + 1 < length:
            p = corridor[i]
            k = 0
            while links[p, k] != corridor[i + 1]:
                k += 1
            j = k + 1 if k + 1 < counts[p] else 0
            nx, ny, nz = corners[p, k, 0], corners[p, k, 1], corners[p, k, 2]
            mx, my, mz = corners[p, j, 0], corners[p, j, 1], corners[p, j, 2]
            if i == 0:
                distance, _ = closest_on_segment(ax, az, nx, nz, mx, mz)
                if distance < _AT_PORTAL:
                    i += 1
                    continue
        turned = False
        if _side(ax, az, rx, rz, mx, mz) <= _ZERO:
            if _same(ax, ay, az, rx, ry, rz) or _side(ax, az, lx, lz, mx, mz) > _ZERO:
                rx, ry, rz = mx, my, mz
                right_index = i
            else:
                ax, ay, az = lx, ly, lz
                i = right_index = left_index
                turned = True
        if not turned and _side(ax, az, lx, lz, nx, nz) >= _ZERO:
            if _same(ax, ay, az, lx, ly, lz) or _side(ax, az, rx, rz, nx, nz) < _ZERO:
                lx, ly, lz = nx, ny, nz
                left_index = i
            else:
                ax, ay, az = rx, ry, rz
                i = left_index = right_index
                turned = True
        if turned:
            lx, ly, lz = rx, ry, rz = ax, ay, az
            number = _append(points, number, ax, ay, az)
        i += 1
    return _append(points, number, gx, gy, gz)


@njit(cache=True, nogil=True, error_model="numpy")
def path_between(corners, counts, links, first, last, start, end, on_start, on_end, corridor, points):
    """One path: its corners are written to ``points``; their number and the path's length are returned.

    ``on_start`` and ``on_end`` are ``start`` and ``end`` snapped to their polygons ``first`` and ``last``.
    """
    if on_start[0] == on_end[0] and on_start[1] == on_end[1] and on_start[2] == on_end[2]:
        for c in range(3):
            points[0, c] = points[1, c] = on_start[c]
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


@njit(cache=True, nogil=True, error_model="numpy")
def path_lengths(
    corners, counts, links, islands, polygons, points, snapped, chosen, goal_polygons, goals, snapped_goals
):
    """Length (B,) of the path from each of ``points`` to its ``chosen`` (B,) goal; infinite: none."""
    lengths = np.empty(len(points))
    corridor = np.empty(len(counts), np.int32)
    bends = np.empty((len(counts) + 2, 3), np.float32)
    for b in range(len(points)):
        p, g = polygons[b], chosen[b]
        lengths[b] = np.inf
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
