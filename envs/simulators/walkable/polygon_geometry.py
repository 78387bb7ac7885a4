"""Questions of one polygon: is a point over it, how high is it there, where is its nearest point.

Detour's arithmetic in Detour's precision (``Detour/Source/DetourCommon.cpp``, ``DetourNavMesh.cpp``), because
where a point within a rounding error of an edge belongs decides whether a walk gets round a corner.
Everything is float32; ``corners`` are (6, 3), of which the first ``count`` are used.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_ZERO = np.float32(0)
_ONE = np.float32(1)
_DEGENERATE = np.float32(1e-6)
"""Twice the area, square metres, below which a triangle or a pair of directions has no inside."""


@njit(cache=True, nogil=True, error_model="numpy")
def closest_on_segment(x, z, ax, az, bx, bz):
    """Squared distance in the xz plane of a point and a segment, and how far along (0..1) it is nearest."""
    ux, uz = bx - ax, bz - az
    dx, dz = x - ax, z - az
    length = ux * ux + uz * uz
    t = ux * dx + uz * dz
    if length > _ZERO:
        t /= length
    if t < _ZERO:
        t = _ZERO
    elif t > _ONE:
        t = _ONE
    dx, dz = ax + t * ux - x, az + t * uz - z
    return dx * dx + dz * dz, t


@njit(cache=True, nogil=True, error_model="numpy")
def contains(corners, count, x, z):
    """Whether a point lies over a polygon: the crossing-number test, edges half open."""
    inside = False
    j = count - 1
    for i in range(count):
        xi, zi = corners[i, 0], corners[i, 2]
        xj, zj = corners[j, 0], corners[j, 2]
        if (zi > z) != (zj > z) and x < (xj - xi) * (z - zi) / (zj - zi) + xi:
            inside = not inside
        j = i
    return inside


@njit(cache=True, nogil=True, error_model="numpy")
def height_at(triangles, first, last, x, z):
    """Height of triangles ``first:last`` (T, 3, 3) at a point; beside them all, that of the nearest edge."""
    for t in range(first, last):
        ax, ay, az = triangles[t, 0, 0], triangles[t, 0, 1], triangles[t, 0, 2]
        bx, bz = triangles[t, 1, 0] - ax, triangles[t, 1, 2] - az
        cx, cz = triangles[t, 2, 0] - ax, triangles[t, 2, 2] - az
        px, pz = x - ax, z - az
        area = cx * bz - cz * bx
        if abs(area) < _DEGENERATE:
            continue
        u = bz * px - bx * pz
        v = cx * pz - cz * px
        if area < _ZERO:
            area, u, v = -area, -u, -v
        if u >= _ZERO and v >= _ZERO and (u + v) <= area:
            return ay + ((triangles[t, 2, 1] - ay) * u + (triangles[t, 1, 1] - ay) * v) / area
    nearest = np.float32(np.inf)
    height = np.float32(np.nan)
    for t in range(first, last):
        j = 2
        for k in range(3):
            distance, along = closest_on_segment(
                x, z, triangles[t, j, 0], triangles[t, j, 2], triangles[t, k, 0], triangles[t, k, 2]
            )
            if distance < nearest:
                nearest = distance
                height = triangles[t, j, 1] + (triangles[t, k, 1] - triangles[t, j, 1]) * along
            j = k
    return height


@njit(cache=True, nogil=True, error_model="numpy")
def closest_on_rim(rim, first, last, x, z):
    """The point (x, y, z) nearest in the xz plane on the segments ``first:last`` of ``rim`` (S, 2, 3)."""
    nearest = np.float32(np.inf)
    best, along = first, _ZERO
    for s in range(first, last):
        distance, t = closest_on_segment(x, z, rim[s, 0, 0], rim[s, 0, 2], rim[s, 1, 0], rim[s, 1, 2])
        if distance < nearest:
            nearest, best, along = distance, s, t
    ax, ay, az = rim[best, 0, 0], rim[best, 0, 1], rim[best, 0, 2]
    return (
        ax + (rim[best, 1, 0] - ax) * along,
        ay + (rim[best, 1, 1] - ay) * along,
        az + (rim[best, 1, 2] - az) * along,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def crossing(ax, az, bx, bz, px, pz, qx, qz):
    """Whether segment ab meets segment pq in the xz plane, and how far along ab (0..1)."""
    ux, uz = bx - ax, bz - az
    vx, vz = qx - px, qz - pz
    wx, wz = ax - px, az - pz
    area = ux * vz - uz * vx
    if abs(area) < _DEGENERATE:
        return False, _ZERO
    s = (vx * wz - vz * wx) / area
    t = (ux * wz - uz * wx) / area
    return (t >= _ZERO and t <= _ONE and s >= _ZERO and s <= _ONE), s
