"""From outlines to convex polygons: ears cut off, triangles merged while they stay convex, neighbours found.

After ``RecastMesh.cpp`` of Recast (Mikko Mononen, zlib licence). Tiles and their borders are left out: the mesh is one
piece, as habitat-sim builds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from envs.simulators.walkable.contours import Contours
from envs.simulators.walkable.predicates import in_cone, segments_meet, turn

_HASH_BUCKETS = 1 << 12
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
def _is_diagonal(i, j, count, ring, points, touching):
    """Whether a segment between two corners of the ring runs inside it; ``touching`` forgives shared lines."""
    p = ring[i - 1 if i > 0 else count - 1]
    n = ring[i + 1 if i + 1 < count else 0]
    x = points[ring[i], 0]
    z = points[ring[i], 2]
    tx = points[ring[j], 0]
    tz = points[ring[j], 2]
    if not in_cone(points[p, 0], points[p, 2], x, z, points[n, 0], points[n, 2], tx, tz, touching):
        return False
    for k in range(count):
        m = k + 1 if k + 1 < count else 0
        if k == i or m == i or k == j or m == j:
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
        if segments_meet(x, z, tx, tz, ax, az, bx, bz, not touching):
            return False
    return True


@njit(cache=True, nogil=True)
def _triangulate(points):
    """Cut ears off an outline, the shortest cut first: triangles (T, 3). Fewer where the outline crosses itself."""
    count = len(points)
    ring = np.arange(count)
    ear = np.zeros(count, np.bool_)
    triangles = np.empty((count, 3), np.int64)
    cut = 0
    for i in range(count):
        ear[(i + 1) % count] = _is_diagonal(i, (i + 2) % count, count, ring, points, False)
    while count > 3:
        best = -1
        shortest = np.int64(0)
        for strict in range(2):
            for i in range(count):
                b = (i + 1) % count
                c = (i + 2) % count
                if strict == 0:
                    if not ear[b]:
                        continue
                    end = c
                else:
                    if not _is_diagonal(i, c, count, ring, points, True):
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
            return triangles[:cut]
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
        ear[a] = _is_diagonal(a - 1 if a > 0 else count - 1, b, count, ring, points, False)
        ear[b] = _is_diagonal(a, b + 1 if b + 1 < count else 0, count, ring, points, False)
    for k in range(3):
        triangles[cut, k] = ring[k]
    return triangles[: cut + 1]


@njit(cache=True, nogil=True)
def _corner_count(polygon):
    """Corners of a padded polygon."""
    count = 0
    while count < len(polygon) and polygon[count] >= 0:
        count += 1
    return count


@njit(cache=True, nogil=True)
def _merge_value(one, other, vertices):
    """Squared length of the edge two polygons share where they can become one: value and both edges; else -1."""
    n_one = _corner_count(one)
    n_other = _corner_count(other)
    if n_one + n_other - 2 > len(one):
        return -1, -1, -1
    edge = -1
    other_edge = -1
    for i in range(n_one):
        a = one[i]
        b = one[(i + 1) % n_one]
        for j in range(n_other):
            c = other[j]
            d = other[(j + 1) % n_other]
            if (a == c and b == d) or (a == d and b == c):
                edge = i
                other_edge = j
                break
    if edge < 0:
        return -1, -1, -1
    for side in range(2):
        if side == 0:
            a = one[(edge + n_one - 1) % n_one]
            b = one[edge]
            c = other[(other_edge + 2) % n_other]
        else:
            a = other[(other_edge + n_other - 1) % n_other]
            b = other[other_edge]
            c = one[(edge + 2) % n_one]
        if (
            turn(
                vertices[a, 0], vertices[a, 2], vertices[b, 0], vertices[b, 2], vertices[c, 0], vertices[c, 2]
            )
            >= 0
        ):
            return -1, -1, -1
    a = one[edge]
    b = one[(edge + 1) % n_one]
    dx = np.int64(vertices[a, 0] - vertices[b, 0])
    dz = np.int64(vertices[a, 2] - vertices[b, 2])
    return dx * dx + dz * dz, edge, other_edge


@njit(cache=True, nogil=True)
def _best_partner(j, count, polygons, vertices):
    """The first later polygon that polygon j merges best with, and the value; 0 where with none."""
    value = np.int64(0)
    partner = -1
    for k in range(j + 1, count):
        v, _, _ = _merge_value(polygons[j], polygons[k], vertices)
        if v > value:
            value = v
            partner = k
    return value, partner


@njit(cache=True, nogil=True)
def _merge_polygons(polygons, count, vertices):
    """Merge polygons across their longest shared edges while they stay convex, in place. Returns how many are left."""
    values = np.zeros(count, np.int64)
    partners = np.full(count, -1, np.int64)
    for j in range(count):
        values[j], partners[j] = _best_partner(j, count, polygons, vertices)
    merged = np.empty(polygons.shape[1], np.int32)
    while count > 1:
        j = 0
        for n in range(1, count):
            if values[n] > values[j]:
                j = n
        if values[j] <= 0:
            break
        k = partners[j]
        _, edge, other_edge = _merge_value(polygons[j], polygons[k], vertices)
        n_one = _corner_count(polygons[j])
        n_other = _corner_count(polygons[k])
        merged[:] = -1
        for n in range(n_one - 1):
            merged[n] = polygons[j, (edge + 1 + n) % n_one]
        for n in range(n_other - 1):
            merged[n_one - 1 + n] = polygons[k, (other_edge + 1 + n) % n_other]
        last = count - 1
        polygons[j] = merged
        polygons[k] = polygons[last]
        count -= 1
        # only pairs with the merged, the absorbed and the moved polygon have changed
        for n in range(count):
            if n == j or n == k or partners[n] == j or partners[n] == k or partners[n] == last:
                values[n], partners[n] = _best_partner(n, count, polygons, vertices)
            else:
                for m in (min(j, k), max(j, k)):
                    if n < m < count:
                        v, _, _ = _merge_value(polygons[n], polygons[m], vertices)
                        if v > values[n] or (v == values[n] and v > 0 and m < partners[n]):
                            values[n] = v
                            partners[n] = m
    return count


@njit(cache=True, nogil=True)
def _build(points, starts, outline_regions, corners):
    """All polygons of all outlines: vertices (V, 3), polygons (P, corners) and their regions (P,)."""
    vertices = np.empty((max(len(points), 1), 3), np.int32)
    following = np.empty(max(len(points), 1), np.int64)
    buckets = np.full(_HASH_BUCKETS, -1, np.int64)
    polygons = np.full((max(len(points), 1), corners), -1, np.int32)
    regions = np.empty(max(len(points), 1), np.int32)
    vertex_count = 0
    total = 0
    for o in range(len(outline_regions)):
        outline = points[starts[o] : starts[o + 1]]
        if len(outline) < 3:
            continue
        triangles = _triangulate(outline)
        indices = np.empty(len(outline), np.int32)
        for n in range(len(outline)):
            x = outline[n, 0]
            y = outline[n, 1]
            z = outline[n, 2]
            bucket = (np.int64(x) * 73856093 ^ np.int64(z) * 19349663) % _HASH_BUCKETS
            v = buckets[bucket]
            while v >= 0 and not (
                vertices[v, 0] == x and vertices[v, 2] == z and abs(vertices[v, 1] - y) <= _SAME_HEIGHT
            ):
                v = following[v]
            if v < 0:
                v = vertex_count
                vertex_count += 1
                vertices[v, 0] = x
                vertices[v, 1] = y
                vertices[v, 2] = z
                following[v] = buckets[bucket]
                buckets[bucket] = v
            indices[n] = v
        pieces = np.full((len(triangles), corners), -1, np.int32)
        count = 0
        for t in range(len(triangles)):
            if (
                triangles[t, 0] != triangles[t, 1]
                and triangles[t, 0] != triangles[t, 2]
                and triangles[t, 1] != triangles[t, 2]
            ):
                for k in range(3):
                    pieces[count, k] = indices[triangles[t, k]]
                count += 1
        if corners > 3:
            count = _merge_polygons(pieces, count, vertices)
        polygons[total : total + count] = pieces[:count]
        regions[total : total + count] = outline_regions[o]
        total += count
    return vertices[:vertex_count].copy(), polygons[:total].copy(), regions[:total].copy()


@njit(cache=True, nogil=True)
def _adjacency(polygons, vertex_count):
    """The polygon across every edge (P, corners): the first other one that walks the edge the other way, else -1."""
    corners = polygons.shape[1]
    neighbours = np.full(polygons.shape, -1, np.int32)
    first = np.full(max(vertex_count, 1), -1, np.int64)
    following = np.full(len(polygons) * corners, -1, np.int64)
    for climbing in range(2):
        for p in range(len(polygons)):
            count = _corner_count(polygons[p])
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
                        if polygons[q, (m + 1) % _corner_count(polygons[q])] == a and neighbours[q, m] < 0:
                            if q != p:
                                neighbours[q, m] = p
                                neighbours[p, k] = q
                            break
                        e = following[e]
    return neighbours


def build_polygons(contours: Contours, corners: int) -> GridPolygons:
    """Convex polygons of at most so many ``corners`` that fill the outlines."""
    vertices, polygons, regions = _build(contours.points, contours.starts, contours.regions, corners)
    return GridPolygons(vertices, polygons, _adjacency(polygons, len(vertices)), regions)
