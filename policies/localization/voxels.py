"""Compiled loops over voxels: rays through a grid, and the worth of many poses at once."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def carve(starts, ends, origin, cell, short, free):
    """Mark in ``free`` (X, Y, Z) bool what rays pass through, up to ``short`` metres before they end.

    ``starts`` and ``ends`` are (N, 3) metres, ``origin`` (3,) is the grid's lowest corner, ``cell`` its edge.
    """
    size = free.shape
    for n in range(len(ends)):
        dx = ends[n, 0] - starts[n, 0]
        dy = ends[n, 1] - starts[n, 1]
        dz = ends[n, 2] - starts[n, 2]
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        if length <= short:
            continue
        steps = int((length - short) / (0.7 * cell)) + 1
        for k in range(steps):
            t = k * 0.7 * cell / length
            i = math.floor((starts[n, 0] + t * dx - origin[0]) / cell)
            j = math.floor((starts[n, 1] + t * dy - origin[1]) / cell)
            m = math.floor((starts[n, 2] + t * dz - origin[2]) / cell)
            if 0 <= i < size[0] and 0 <= j < size[1] and 0 <= m < size[2]:
                free[i, j, m] = True


@njit(cache=True, nogil=True)
def worth_of_places(worth, origin, cell, points, places, yaws):
    """Sum of ``worth`` (X, Y, Z) int8 under points (P, 3) seen from places (N, 3) with yaws (K,): (N, K) int32.

    What falls outside of the grid counts 0.
    """
    total = np.zeros((len(places), len(yaws)), np.int32)
    size_x, size_y, size_z = worth.shape
    turned = np.empty_like(points)
    for k in range(len(yaws)):
        c, s = math.cos(yaws[k]), math.sin(yaws[k])
        for p in range(len(points)):
            turned[p, 0] = (c * points[p, 0] - s * points[p, 1] - origin[0]) / cell
            turned[p, 1] = (s * points[p, 0] + c * points[p, 1] - origin[1]) / cell
            turned[p, 2] = (points[p, 2] - origin[2]) / cell
        for n in range(len(places)):
            x, y, z = places[n, 0] / cell, places[n, 1] / cell, places[n, 2] / cell
            add = 0
            for p in range(len(points)):
                i = math.floor(turned[p, 0] + x)
                j = math.floor(turned[p, 1] + y)
                m = math.floor(turned[p, 2] + z)
                if 0 <= i < size_x and 0 <= j < size_y and 0 <= m < size_z:
                    add += worth[i, j, m]
            total[n, k] = add
    return total


@njit(cache=True, nogil=True)
def worth_of_poses(worth, origin, cell, points, poses, floors):
    """The same sum for each of the poses (N, 3) (x, y, yaw) on floors of heights (N,): (N,) int32."""
    total = np.zeros(len(poses), np.int32)
    size_x, size_y, size_z = worth.shape
    for n in range(len(poses)):
        c, s = math.cos(poses[n, 2]), math.sin(poses[n, 2])
        x, y, z = poses[n, 0] - origin[0], poses[n, 1] - origin[1], floors[n] - origin[2]
        add = 0
        for p in range(len(points)):
            i = math.floor((c * points[p, 0] - s * points[p, 1] + x) / cell)
            j = math.floor((s * points[p, 0] + c * points[p, 1] + y) / cell)
            m = math.floor((points[p, 2] + z) / cell)
            if 0 <= i < size_x and 0 <= j < size_y and 0 <= m < size_z:
                add += worth[i, j, m]
        total[n] = add
    return total


@njit(cache=True, nogil=True)
def obstructed(solid, origin, cell, starts, ends, short):
    """Which rays (N,) pass through matter: two samples or more in ``solid`` (X, Y, Z), ``short`` metres off the end."""
    size = solid.shape
    result = np.zeros(len(ends), np.bool_)
    for n in range(len(ends)):
        dx = ends[n, 0] - starts[n, 0]
        dy = ends[n, 1] - starts[n, 1]
        dz = ends[n, 2] - starts[n, 2]
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        hits = 0
        for k in range(int((length - short) / cell)):
            t = k * cell / length
            i = math.floor((starts[n, 0] + t * dx - origin[0]) / cell)
            j = math.floor((starts[n, 1] + t * dy - origin[1]) / cell)
            m = math.floor((starts[n, 2] + t * dz - origin[2]) / cell)
            if 0 <= i < size[0] and 0 <= j < size[1] and 0 <= m < size[2] and solid[i, j, m]:
                hits += 1
        result[n] = hits >= 2
    return result
