"""Heights on the polygons: each is cut into triangles that follow the voxels where they rise or fall.

After ``RecastMeshDetail.cpp`` of Recast (Mikko Mononen, zlib licence): heights are read from the polygon's
own region, sampled along its edges and on a grid inside, and samples are added while the surface strays too
far from them. All coordinates are relative to the lowest corner of the scene, in metres and 32 bit floats.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit

from envs.simulators.walkable.detail_triangles import cover_hull, cover_points
from envs.simulators.walkable.heights import height_at, read_heights
from envs.simulators.walkable.polygons import GridPolygons
from envs.simulators.walkable.voxels import OpenSpans

_MAX_POINTS = 127
_MAX_EDGE_POINTS = 32
_MAX_TRIANGLES = 255
_FAR = np.float32(3.4028235e38)
_ON_TRIANGLE = np.float32(1e-4)
_JITTER = np.float32(0.1)


@njit(cache=True, nogil=True)
def _squared_distance(px, py, pz, ax, ay, az, bx, by, bz):
    """Squared distance of a point from a segment; in the plane where all heights are 0."""
    dx = bx - ax
    dy = by - ay
    dz = bz - az
    length = dx * dx + dy * dy + dz * dz
    share = dx * (px - ax) + dy * (py - ay) + dz * (pz - az)
    if length > 0:
        share /= length
    share = min(max(share, np.float32(0)), np.float32(1))
    dx = ax + share * dx - px
    dy = ay + share * dy - py
    dz = az + share * dz - pz
    return dx * dx + dy * dy + dz * dz


@njit(cache=True, nogil=True)
def _smallest_extent(corners):
    """Width of a polygon at its narrowest."""
    smallest = _FAR
    flat = np.float32(0)
    count = len(corners)
    for i in range(count):
        j = (i + 1) % count
        farthest = np.float32(0)
        for k in range(count):
            if k not in (i, j):
                off = _squared_distance(
                    corners[k, 0],
                    flat,
                    corners[k, 2],
                    corners[i, 0],
                    flat,
                    corners[i, 2],
                    corners[j, 0],
                    flat,
                    corners[j, 2],
                )
                farthest = max(farthest, off)
        smallest = min(smallest, farthest)
    return np.sqrt(smallest)


@njit(cache=True, nogil=True)
def _depth_inside(corners, x, z):
    """Squared distance of a point to the nearest edge, below zero inside the polygon."""
    inside = False
    nearest = _FAR
    flat = np.float32(0)
    before = len(corners) - 1
    for i in range(len(corners)):
        ax = corners[i, 0]
        az = corners[i, 2]
        bx = corners[before, 0]
        bz = corners[before, 2]
        if (az > z) != (bz > z) and x < (bx - ax) * (z - az) / (bz - az) + ax:
            inside = not inside
        nearest = min(nearest, _squared_distance(x, flat, z, bx, flat, bz, ax, flat, az))
        before = i
    return -nearest if inside else nearest


@njit(cache=True, nogil=True, error_model="numpy")
def _worst(samples, added, points, triangles):
    """The sample farthest from the triangles and not ``added`` yet (-1: none), and how far it is."""
    worst = np.float32(0)
    chosen = -1
    for n in range(len(samples)):
        if added[n]:
            continue
        nearest = _FAR
        for t in range(len(triangles)):
            a = triangles[t, 0]
            b = triangles[t, 1]
            c = triangles[t, 2]
            cx = points[c, 0] - points[a, 0]
            cz = points[c, 2] - points[a, 2]
            bx = points[b, 0] - points[a, 0]
            bz = points[b, 2] - points[a, 2]
            px = samples[n, 0] - points[a, 0]
            pz = samples[n, 2] - points[a, 2]
            cc = cx * cx + cz * cz
            cb = cx * bx + cz * bz
            cp = cx * px + cz * pz
            bb = bx * bx + bz * bz
            bp = bx * px + bz * pz
            scale = np.float32(1) / (cc * bb - cb * cb)
            u = (bb * cp - cb * bp) * scale
            v = (cc * bp - cb * cp) * scale
            if u >= -_ON_TRIANGLE and v >= -_ON_TRIANGLE and u + v <= np.float32(1) + _ON_TRIANGLE:
                y = points[a, 1] + (points[c, 1] - points[a, 1]) * u + (points[b, 1] - points[a, 1]) * v
                nearest = min(nearest, abs(y - samples[n, 1]))
        if nearest < _FAR and nearest > worst:
            worst = nearest
            chosen = n
    return chosen, worst


@njit(cache=True, nogil=True)
def _split_edge(
    ax, ay, az, bx, by, bz, pieces, max_error, cell, cell_height, radius, patch, x_min, z_min, edge, kept
):  # fmt: skip
    """Heights along an edge: fills ``edge`` (pieces + 1, 3), and ``kept`` with those it needs; counts."""
    dx = bx - ax
    dy = by - ay
    dz = bz - az
    for k in range(pieces + 1):
        share = np.float32(k) / np.float32(pieces)
        x = ax + dx * share
        z = az + dz * share
        edge[k, 0] = x
        edge[k, 1] = (
            np.float32(height_at(x, ay + dy * share, z, cell, cell_height, radius, patch, x_min, z_min))
            * cell_height
        )
        edge[k, 2] = z
    kept[0] = 0
    kept[1] = pieces
    count = 2
    k = 0
    while k < count - 1:
        a = kept[k]
        b = kept[k + 1]
        farthest = np.float32(0)
        split = -1
        for m in range(a + 1, b):
            off = _squared_distance(
                edge[m, 0], edge[m, 1], edge[m, 2],
                edge[a, 0], edge[a, 1], edge[a, 2], edge[b, 0], edge[b, 1], edge[b, 2],
            )  # fmt: skip
            if off > farthest:
                farthest = off
                split = m
        if split >= 0 and farthest > max_error * max_error:
            for m in range(count, k + 1, -1):
                kept[m] = kept[m - 1]
            kept[k + 1] = split
            count += 1
        else:
            k += 1
    return count


@njit(cache=True, nogil=True)
def _inner_samples(
    corners, middle, first_x, last_x, first_z, last_z, spacing, cell, cell_height, radius, patch, x_min,
    z_min, samples,
):  # fmt: skip
    """Heights on a grid, not too near to the edges: fills ``samples`` (N, 3), returns how many."""
    found = 0
    for gz in range(first_z, last_z):
        for gx in range(first_x, last_x):
            x = np.float32(gx) * spacing
            z = np.float32(gz) * spacing
            if _depth_inside(corners, x, z) > -spacing / np.float32(2):
                continue
            height = height_at(x, middle, z, cell, cell_height, radius, patch, x_min, z_min)
            # shifted a little, for points on a perfect grid make bad triangles
            shift_x = np.float32((found * 0xB343) & 0xFFFF) / np.float32(65535) * np.float32(2) - np.float32(
                1
            )
            shift_z = np.float32((found * 0x3841) & 0xFFFF) / np.float32(65535) * np.float32(2) - np.float32(
                1
            )
            samples[found, 0] = x + shift_x * cell * _JITTER
            samples[found, 1] = np.float32(height) * cell_height
            samples[found, 2] = z + shift_z * cell * _JITTER
            found += 1
    return found


@dataclass(frozen=True)
class _Sampling:
    """What stays the same for all polygons: resolution, accuracy, and scratch for one edge."""

    cell: np.float32
    cell_height: np.float32
    spacing: np.float32
    max_error: np.float32
    radius: int
    edge: np.ndarray = field(default_factory=lambda: np.empty((_MAX_EDGE_POINTS, 3), np.float32))
    kept: np.ndarray = field(default_factory=lambda: np.empty(_MAX_EDGE_POINTS + 1, np.int64))


def _cover(
    corners: np.ndarray, patch: np.ndarray, x_min: int, z_min: int, sampling: _Sampling
) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) of one polygon (corners, edge samples, inner samples) and its triangles (T, 3)."""
    points = np.empty((_MAX_POINTS + 1, 3), np.float32)
    count = len(corners)
    points[:count] = corners
    resolution = (sampling.cell, sampling.cell_height, sampling.radius, patch, x_min, z_min)
    hull = []
    for before, (a, b) in enumerate(zip(np.roll(corners, 1, axis=0), corners, strict=True), start=-1):
        hull.append(before % len(corners))
        # always walked from the same end, so that the two polygons that share the edge agree
        swapped = a[2] > b[2] if abs(a[0] - b[0]) < 1e-6 else a[0] > b[0]
        if swapped:
            a, b = b, a
        along = b - a
        pieces = 1 + int(np.sqrt(along[0] * along[0] + along[2] * along[2]) / sampling.spacing)
        pieces = min(pieces, _MAX_EDGE_POINTS - 1, _MAX_POINTS - 1 - count)
        if pieces < 2:
            continue
        used = _split_edge(*a, *b, pieces, sampling.max_error, *resolution, sampling.edge, sampling.kept)
        inner = sampling.kept[1 : used - 1]
        points[count : count + len(inner)] = sampling.edge[inner[::-1] if swapped else inner]
        hull += range(count, count + len(inner))
        count += len(inner)
    ring = np.array(hull)
    triangles = np.empty((len(ring) - 2, 3), np.int64)
    cover_hull(points, ring, len(corners), triangles)
    if _smallest_extent(corners) < sampling.spacing * np.float32(2):
        return points[:count], triangles
    low, high = corners.min(axis=0), corners.max(axis=0)
    first = np.floor(low / sampling.spacing).astype(int)
    last = np.ceil(high / sampling.spacing).astype(int)
    middle = (high[1] + low[1]) * np.float32(0.5)
    samples = np.empty(((last[0] - first[0]) * (last[2] - first[2]), 3), np.float32)
    samples = samples[
        : _inner_samples(
            corners, middle, first[0], last[0], first[2], last[2], sampling.spacing, *resolution, samples
        )
    ]
    added = np.zeros(len(samples), bool)
    while count < _MAX_POINTS:
        chosen, error = _worst(samples, added, points, triangles)
        if chosen < 0 or error <= sampling.max_error:
            break
        added[chosen] = True
        points[count] = samples[chosen]
        count += 1
        edges = np.empty((10 * count, 4), np.int64)
        triangles = np.full((3 * count, 3), -1, np.int64)
        triangles = triangles[: cover_points(points, count, ring, edges, triangles)]
    return points[:count], triangles[:_MAX_TRIANGLES]


def build_detail(
    polygons: GridPolygons,
    spans: OpenSpans,
    region: np.ndarray,
    cell: np.float32,
    cell_height: np.float32,
    spacing: float,
    max_error: float,
    search_radius: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cover every polygon with triangles that follow the floor.

    Args:
        polygons: the polygons.
        spans: the floors they were made from.
        region: (S,) int32 region of each floor.
        cell: edge of a column, metres.
        cell_height: height of a voxel, metres.
        spacing: distance of the height samples, metres; 0 for none.
        max_error: how far the triangles may stray from the samples, metres.
        search_radius: how far a height is looked for where the floor is not known, cells.

    Returns:
        Points (D, 3) float32 metres above the lowest corner of the scene: for each polygon its corners,
        then samples along its edges, then inner ones. Triangles (T, 3) int32, indices of points, and where
        the points and the triangles of each polygon start, (P + 1,) each.
    """
    # without samples an edge of any length is one piece and every polygon too narrow for inner points
    far = np.float32(spacing) if spacing > 0 else np.float32(1e9)
    sampling = _Sampling(cell, cell_height, far, np.float32(max_error), search_radius)
    scale = np.array([cell, cell_height, cell])
    counts = (polygons.polygons >= 0).sum(axis=1).tolist()
    points: list[np.ndarray] = []
    triangles: list[np.ndarray] = []
    nothing = np.empty((1, 1), np.int32)
    first = 0
    for p, count in enumerate(counts):
        grid = polygons.vertices[polygons.polygons[p, :count]]
        (x_min, _, z_min), (x_max, _, z_max) = grid.min(axis=0).tolist(), grid.max(axis=0).tolist()
        x_range = max(0, x_min - 1), min(spans.width, x_max + 1)
        z_range = max(0, z_min - 1), min(spans.depth, z_max + 1)
        patch = nothing
        if spacing > 0:
            patch = read_heights(grid, int(polygons.regions[p]), spans, region, x_range, z_range)
        covered, cover = _cover(grid.astype(np.float32) * scale, patch, x_range[0], z_range[0], sampling)
        points.append(covered)
        triangles.append(cover.astype(np.int32) + np.int32(first))
        first += len(covered)
    return (
        np.concatenate(points),
        np.concatenate(triangles),
        np.cumsum([0] + [len(covered) for covered in points]),
        np.cumsum([0] + [len(cover) for cover in triangles]),
    )
