"""From outlines to convex polygons: ears cut off, triangles merged while they stay convex, neighbours found.

After ``RecastMesh.cpp`` of Recast (Mikko Mononen, zlib licence). Tiles and their borders are left out: the
mesh is one piece, as habitat-sim builds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from envs.simulators.walkable.predicates import in_cone, segments_cross, segments_meet, turn

_SAME_HEIGHT = 2
"""Corners at one place are the same corner where their heights differ by no more, cell heights."""


@dataclass(frozen=True, eq=False)
class GridPolygons:
    """Convex polygons on the grid of cells: V vertices, P polygons of at most C corners."""

    vertices: np.ndarray
    """(V, 3) int32: x and z in cells, y in cell heights."""
    polygons: np.ndarray
    """(P, C) int32 indices of vertices, padded with -1."""
    neighbours: np.ndarray
    """(P, C) int32 polygon across each edge, -1 where there is none."""
    regions: np.ndarray
    """(P,) int32: the region each polygon is a part of."""


@njit(cache=True, nogil=True)
def _is_diagonal(i, j, count, ring, points, loose):
    """Whether the segment between two corners runs inside the ring; a ``loose`` of 1 allows shared lines."""
    p = ring[i - 1 if i > 0 else count - 1]
    n = ring[i + 1 if i + 1 < count else 0]
    x = points[ring[i], 0]
    z = points[ring[i], 2]
    tx = points[ring[j], 0]
    tz = points[ring[j], 2]
    if not in_cone(points[p, 0], points[p, 2], x, z, points[n, 0], points[n, 2], tx, tz, loose):
        return False
    for k in range(count):
        m = k + 1 if k + 1 < count else 0
        if k in (i, j) or m in (i, j):
            continue
        ax = points[ring[k], 0]
        az = points[ring[k], 2]
        bx = points[ring[m], 0]
        bz = points[ring[m], 2]
        if (
            (x == ax and z == az)
            or (tx == ax and tz == az)
            or (x == bx and z == bz)
            or (tx == bx and tz == bz)
        ):
            continue
        if segments_cross(x, z, tx, tz, ax, az, bx, bz):
            return False
        if loose == 0 and segments_meet(x, z, tx, tz, ax, az, bx, bz):
            return False
    return True


@njit(cache=True, nogil=True)
def _triangulate(points, ring, ear, triangles):
    """Cut ears off an outline, the shortest cut first: fills ``triangles``, returns how many they are.

    Fewer than the corners less two where the outline crosses itself. ``ring`` starts as 0..N-1.
    """
    count = len(points)
    cut = 0
    exact = np.int64(0)
    for i in range(count):
        ear[(i + 1) % count] = _is_diagonal(i, (i + 2) % count, count, ring, points, exact)
    while count > 3:
        best = -1
        shortest = np.int64(0)
        for loose in range(2):
            for i in range(count):
                b = (i + 1) % count
                c = (i + 2) % count
                if loose == 0:
                    if not ear[b]:
                        continue
                    end = c
                else:
                    if not _is_diagonal(i, c, count, ring, points, loose):
                        continue
                    end = (i + 3) % count
                dx = np.int64(points[ring[end], 0] - points[ring[i], 0])
                dz = np.int64(points[ring[end], 2] - points[ring[i], 2])
                if best < 0 or dx * dx + dz * dz < shortest:
                    shortest = dx * dx + dz * dz
                    best = i
            if best >= 0:
                break
        if best < 0:
            return cut
        b = (best + 1) % count
        triangles[cut, 0] = ring[best]
        triangles[cut, 1] = ring[b]
        triangles[cut, 2] = ring[(best + 2) % count]
        cut += 1
        count -= 1
        for k in range(b, count):
            ring[k] = ring[k + 1]
            ear[k] = ear[k + 1]
        if b >= count:
            b = 0
        a = b - 1 if b > 0 else count - 1
        ear[a] = _is_diagonal(a - 1 if a > 0 else count - 1, b, count, ring, points, exact)
        ear[b] = _is_diagonal(a, b + 1 if b + 1 < count else 0, count, ring, points, exact)
    for k in range(3):
        triangles[cut, k] = ring[k]
    return cut + 1


@njit(cache=True, nogil=True)
def _corner_count(polygons, p):
    """Corners of a padded polygon."""
    count = 0
    while count < polygons.shape[1] and polygons[p, count] >= 0:
        count += 1
    return count


@njit(cache=True, nogil=True)
def _merge_value(polygons, p, q, vertices):
    """Squared length of the edge over which two polygons can become one, and its two indices; else -1."""
    nothing = np.int64(-1)
    n_one = _corner_count(polygons, p)
    n_other = _corner_count(polygons, q)
    if n_one + n_other - 2 > polygons.shape[1]:
        return nothing, nothing, nothing
    edge = -1
    other_edge = -1
    for i in range(n_one):
        a = polygons[p, i]
        b = polygons[p, (i + 1) % n_one]
        for j in range(n_other):
            c = polygons[q, j]
            d = polygons[q, (j + 1) % n_other]
            if (a == c and b == d) or (a == d and b == c):
                edge = i
                other_edge = j
                break
    if edge < 0:
        return nothing, nothing, nothing
    for side in range(2):
        if side == 0:
            a = polygons[p, (edge + n_one - 1) % n_one]
            b = polygons[p, edge]
            c = polygons[q, (other_edge + 2) % n_other]
        else:
            a = polygons[q, (other_edge + n_other - 1) % n_other]
            b = polygons[q, other_edge]
            c = polygons[p, (edge + 2) % n_one]
        if (
            turn(
                vertices[a, 0], vertices[a, 2], vertices[b, 0], vertices[b, 2], vertices[c, 0], vertices[c, 2]
            )
            >= 0
        ):
            return nothing, nothing, nothing
    a = polygons[p, edge]
    b = polygons[p, (edge + 1) % n_one]
    dx = np.int64(vertices[a, 0] - vertices[b, 0])
    dz = np.int64(vertices[a, 2] - vertices[b, 2])
    return dx * dx + dz * dz, edge, other_edge


@njit(cache=True, nogil=True)
def _best_partner(j, count, polygons, vertices):
    """The first later polygon that polygon j merges best with, and the value; 0 where with none."""
    value = np.int64(0)
    partner = -1
    for k in range(j + 1, count):
        v, _, _ = _merge_value(polygons, j, k, vertices)
        if v > value:
            value = v
            partner = k
    return value, partner


@njit(cache=True, nogil=True)
def _merge_polygons(polygons, vertices, values, partners, merged):
    """Merge polygons across their longest shared edges while they stay convex, in place, and count the rest.

    The best value and partner of each polygon are kept in ``values`` and ``partners``; ``merged`` is scratch.
    """
    count = len(polygons)
    corners = polygons.shape[1]
    for j in range(count):
        values[j], partners[j] = _best_partner(j, count, polygons, vertices)
    while count > 1:
        j = np.int64(0)
        for n in range(1, count):
            if values[n] > values[j]:
                j = n
        if values[j] <= 0:
            break
        k = partners[j]
        _, edge, other_edge = _merge_value(polygons, j, k, vertices)
        n_one = _corner_count(polygons, j)
        n_other = _corner_count(polygons, k)
        for n in range(corners):
            merged[n] = -1
        for n in range(n_one - 1):
            merged[n] = polygons[j, (edge + 1 + n) % n_one]
        for n in range(n_other - 1):
            merged[n_one - 1 + n] = polygons[k, (other_edge + 1 + n) % n_other]
        last = count - 1
        for n in range(corners):
            polygons[j, n] = merged[n]
            polygons[k, n] = polygons[last, n]
        count -= 1
        # only pairs with the merged, the absorbed and the moved polygon have changed
        for n in range(count):
            if n in (j, k) or partners[n] in (j, k, last):
                values[n], partners[n] = _best_partner(n, count, polygons, vertices)
            else:
                for side in range(2):
                    m = min(j, k) if side == 0 else max(j, k)
                    if n < m < count:
                        v, _, _ = _merge_value(polygons, n, m, vertices)
                        if v > values[n] or (v == values[n] and v > 0 and m < partners[n]):
                            values[n] = v
                            partners[n] = m
    return count


@njit(cache=True, nogil=True)
def _link(polygons, neighbours, first, following):
    """Fill ``neighbours`` (P, C): across every edge the first other polygon that walks it the other way.

    ``first`` (V,) and ``following`` (P * C,) hold lists of the edges of each vertex; all start as -1.
    """
    corners = polygons.shape[1]
    for climbing in range(2):
        for p in range(len(polygons)):
            count = _corner_count(polygons, p)
            for k in range(count):
                a = polygons[p, k]
                b = polygons[p, (k + 1) % count]
                edge = p * corners + k
                if climbing == 0 and a < b:
                    following[edge] = first[a]
                    first[a] = edge
                if climbing == 1 and a > b:
                    e = first[b]
                    while e >= 0:
                        q = e // corners
                        m = e % corners
                        if polygons[q, (m + 1) % _corner_count(polygons, q)] == a and neighbours[q, m] < 0:
                            if q != p:
                                neighbours[q, m] = p
                                neighbours[p, k] = q
                            break
                        e = following[e]


def _pieces(outline: np.ndarray, indices: np.ndarray, corners: int, vertices: np.ndarray) -> np.ndarray:
    """Convex polygons (P, corners) in an outline (N, 4) whose points are the vertices ``indices`` (N,)."""
    count = len(outline)
    triangles = np.empty((count, 3), np.int64)
    cut = _triangulate(outline, np.arange(count), np.zeros(count, bool), triangles)
    pieces = np.full((cut, corners), -1, np.int32)
    pieces[:, :3] = indices[triangles[:cut]]
    if corners > 3:
        values, partners = np.empty((2, cut), np.int64)
        pieces = pieces[: _merge_polygons(pieces, vertices, values, partners, np.empty(corners, np.int32))]
    return pieces


def build_polygons(outlines: list[tuple[int, np.ndarray]], corners: int) -> GridPolygons:
    """Convex polygons of at most so many ``corners`` that fill the outlines of `trace_contours`."""
    vertices = np.empty((sum(len(points) for _, points in outlines), 3), np.int32)
    used = 0
    at: dict[tuple[int, int], list[tuple[int, int]]] = {}
    polygons = [np.empty((0, corners), np.int32)]
    regions = [np.empty(0, np.int32)]
    for region, points in outlines:
        indices = np.empty(len(points), np.int32)
        for n, (x, y, z, _) in enumerate(points.tolist()):
            here = at.setdefault((x, z), [])
            # of several corners at one place the latest counts first
            found = next((v for v, height in reversed(here) if abs(height - y) <= _SAME_HEIGHT), -1)
            if found < 0:
                found = used
                vertices[found] = x, y, z
                here.append((found, y))
                used += 1
            indices[n] = found
        pieces = _pieces(points, indices, corners, vertices)
        polygons.append(pieces)
        regions.append(np.full(len(pieces), region, np.int32))
    vertices = vertices[:used].copy()
    joined = np.concatenate(polygons)
    neighbours = np.full(joined.shape, -1, np.int32)
    _link(joined, neighbours, np.full(used, -1, np.int64), np.full(joined.size, -1, np.int64))
    return GridPolygons(vertices, joined, neighbours, np.concatenate(regions))
