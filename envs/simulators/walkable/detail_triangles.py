"""Triangles over a polygon's hull, and over points inside it: the two triangulations of Recast.

After ``triangulateHull`` and ``delaunayHull`` in ``RecastMeshDetail.cpp`` (Mikko Mononen, zlib licence).
Points are (x, y, z) float32; only x and z count.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_OPEN = -1
_HULL = -2
_SLIVER = np.float32(1e-5)
_NO_CIRCLE = np.float32(1e-6)
_WITHIN = np.float32(1) - np.float32(0.001)
_BEYOND = np.float32(1) + np.float32(0.001)
_FAR = np.float32(3.4028235e38)


@njit(cache=True, nogil=True)
def _distance(points, a, b):
    """Distance between two points in the plane."""
    dx = points[b, 0] - points[a, 0]
    dz = points[b, 2] - points[a, 2]
    return np.sqrt(dx * dx + dz * dz)


@njit(cache=True, nogil=True)
def _cross(points, a, b, c):
    """Twice the signed area of a triangle in the plane."""
    return (points[b, 0] - points[a, 0]) * (points[c, 2] - points[a, 2]) - (points[b, 2] - points[a, 2]) * (
        points[c, 0] - points[a, 0]
    )


@njit(cache=True, nogil=True)
def cover_hull(points, hull, corners, triangles):
    """Triangles over a convex hull (H,), from the shortest ear on, always taking the shorter next edge.

    Fills ``triangles`` (H - 2, 3). Only the polygon's own ``corners``, the first points, can be the tip of
    the ear: the others lie on its edges.
    """
    count = len(hull)
    start = 0
    left = 1
    right = count - 1
    shortest = _FAR
    for i in range(count):
        if hull[i] >= corners:
            continue
        p = i - 1 if i > 0 else count - 1
        n = i + 1 if i + 1 < count else 0
        length = (
            _distance(points, hull[p], hull[i])
            + _distance(points, hull[i], hull[n])
            + _distance(points, hull[n], hull[p])
        )
        if length < shortest:
            start = i
            left = n
            right = p
            shortest = length
    triangles[0, 0] = hull[start]
    triangles[0, 1] = hull[left]
    triangles[0, 2] = hull[right]
    done = 1
    while (left + 1) % count != right:
        after = (left + 1) % count
        before = right - 1 if right > 0 else count - 1
        by_left = _distance(points, hull[left], hull[after]) + _distance(points, hull[after], hull[right])
        by_right = _distance(points, hull[right], hull[before]) + _distance(points, hull[left], hull[before])
        triangles[done, 0] = hull[left]
        triangles[done, 2] = hull[right]
        if by_left < by_right:
            triangles[done, 1] = hull[after]
            left = after
        else:
            triangles[done, 1] = hull[before]
            right = before
        done += 1


@njit(cache=True, nogil=True)
def _circle(points, a, b, c):
    """Centre (x, z) and radius of the circle through three points; radius 0 where they are in line."""
    bx = points[b, 0] - points[a, 0]
    bz = points[b, 2] - points[a, 2]
    cx = points[c, 0] - points[a, 0]
    cz = points[c, 2] - points[a, 2]
    area = bx * cz - bz * cx
    if abs(area) <= _NO_CIRCLE:
        return points[a, 0], points[a, 2], np.float32(0)
    b_squared = bx * bx + bz * bz
    c_squared = cx * cx + cz * cz
    x = (b_squared * cz + c_squared * -bz) / (np.float32(2) * area)
    z = (b_squared * -cx + c_squared * bx) / (np.float32(2) * area)
    return x + points[a, 0], z + points[a, 2], np.sqrt(x * x + z * z)


@njit(cache=True, nogil=True)
def _find_edge(edges, count, a, b):
    """Index of the edge between two points, -1 where there is none."""
    for e in range(count):
        if (edges[e, 0] == a and edges[e, 1] == b) or (edges[e, 0] == b and edges[e, 1] == a):
            return e
    return -1


@njit(cache=True, nogil=True)
def _crosses_any(points, edges, count, a, b):
    """Whether the segment ab properly crosses an edge that it shares no end with."""
    for e in range(count):
        c = edges[e, 0]
        d = edges[e, 1]
        if c in (a, b) or d in (a, b):
            continue
        first = _cross(points, c, d, b)
        second = _cross(points, c, d, a)
        if first * second < 0:
            third = _cross(points, a, b, c)
            if third * (third + second - first) < 0:
                return True
    return False


@njit(cache=True, nogil=True)
def _set_face(edges, e, a, b, face):
    """Note the face on the side of an edge that is left when walking from a to b, where it is still open."""
    if edges[e, 0] == a and edges[e, 1] == b and edges[e, 2] == _OPEN:
        edges[e, 2] = face
    elif edges[e, 1] == a and edges[e, 0] == b and edges[e, 3] == _OPEN:
        edges[e, 3] = face


@njit(cache=True, nogil=True)
def _complete(points, point_count, edges, edge_count, faces, e):
    """Find the third point of the triangle on an open side of an edge: new numbers of edges and faces."""
    if edges[e, 2] == _OPEN:
        a = edges[e, 0]
        b = edges[e, 1]
    elif edges[e, 3] == _OPEN:
        a = edges[e, 1]
        b = edges[e, 0]
    else:
        return edge_count, faces
    best = -1
    x = np.float32(0)
    z = np.float32(0)
    radius = np.float32(-1)
    for u in range(point_count):
        if u in (a, b) or _cross(points, a, b, u) <= _SLIVER:
            continue
        if radius >= 0:
            dx = points[u, 0] - x
            dz = points[u, 2] - z
            off = np.sqrt(dx * dx + dz * dz)
            if off > radius * _BEYOND:
                continue
            # four points on one circle: take the newer one only where its edges are free
            if off >= radius * _WITHIN and (
                _crosses_any(points, edges, edge_count, a, u) or _crosses_any(points, edges, edge_count, b, u)
            ):
                continue
        best = u
        x, z, radius = _circle(points, a, b, u)
    if best < 0:
        _set_face(edges, e, a, b, np.int64(_HULL))
        return edge_count, faces
    _set_face(edges, e, a, b, faces)
    for side in range(2):
        first = best if side == 0 else b
        second = a if side == 0 else best
        other = _find_edge(edges, edge_count, first, second)
        if other >= 0:
            _set_face(edges, other, first, second, faces)
        elif edge_count < len(edges):
            edges[edge_count, 0] = first
            edges[edge_count, 1] = second
            edges[edge_count, 2] = faces
            edges[edge_count, 3] = _OPEN
            edge_count += 1
    return edge_count, faces + 1


@njit(cache=True, nogil=True)
def cover_points(points, count, hull, edges, triangles):
    """Delaunay triangles of the first ``count`` points inside a hull (H,) that is kept as it is.

    Fills ``triangles`` (at least 2 * count, 3), all -1 before, and returns how many; ``edges`` (10 * count,
    4) is scratch.
    """
    edge_count = np.int64(0)
    before = len(hull) - 1
    for i in range(len(hull)):
        edges[edge_count, 0] = hull[before]
        edges[edge_count, 1] = hull[i]
        edges[edge_count, 2] = _HULL
        edges[edge_count, 3] = _OPEN
        edge_count += 1
        before = i
    faces = np.int64(0)
    e = np.int64(0)
    while e < edge_count:
        for side in range(2, 4):
            if edges[e, side] == _OPEN:
                edge_count, faces = _complete(points, count, edges, edge_count, faces, e)
        e += 1
    for e in range(edge_count):
        for side in range(3, 1, -1):
            face = edges[e, side]
            if face < 0:
                continue
            a = edges[e, 0] if side == 3 else edges[e, 1]
            b = edges[e, 1] if side == 3 else edges[e, 0]
            if triangles[face, 0] == -1:
                triangles[face, 0] = a
                triangles[face, 1] = b
            elif triangles[face, 0] == b:
                triangles[face, 2] = a
            elif triangles[face, 1] == a:
                triangles[face, 2] = b
    kept = faces
    i = 0
    while i < kept:
        if triangles[i, 0] < 0 or triangles[i, 1] < 0 or triangles[i, 2] < 0:
            kept -= 1
            for k in range(3):
                triangles[i, k] = triangles[kept, k]
        else:
            i += 1
    return kept
