"""From triangles to solid voxel spans: each column of the grid is filled where triangles pass through it.

The steps and their rounding (32 bit floats) are those of ``RecastRasterization.cpp`` in Recast (Mikko
Mononen, zlib licence), with triangles marked as walkable as in ``rcMarkWalkableTriangles``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

MAX_HEIGHT = 8191
"""Highest span, in cell heights (Recast keeps 13 bits)."""
_LOW, _HIGH, _AREA, _NEXT = 0, 1, 2, 3


def walkable_triangles(vertices: np.ndarray, triangles: np.ndarray, max_slope: float) -> np.ndarray:
    """Which triangles (M, 3) face up and are less steep than ``max_slope`` degrees: (M,) bool.

    Triangles without area have no direction and are not walkable.
    """
    corners = vertices[triangles]  # (M, 3, 3)
    edge = corners[:, 1] - corners[:, 0]
    other = corners[:, 2] - corners[:, 0]
    normal = np.stack(
        [
            edge[:, 1] * other[:, 2] - edge[:, 2] * other[:, 1],
            edge[:, 2] * other[:, 0] - edge[:, 0] * other[:, 2],
            edge[:, 0] * other[:, 1] - edge[:, 1] * other[:, 0],
        ],
        axis=1,
    )
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        upward = normal[:, 1] * (np.float32(1) / np.sqrt((normal * normal).sum(axis=1)))
        return upward > np.cos(np.float32(max_slope) / np.float32(180) * np.float32(np.pi))


@njit(cache=True, nogil=True)
def _split(polygon, count, below, above, value, axis):
    """Cut a convex polygon at a coordinate, points on the cut in both parts, and count their corners."""
    kept = 0
    rest = 0
    before = count - 1
    for i in range(count):
        distance = value - polygon[i, axis]
        distance_before = value - polygon[before, axis]
        if (distance_before >= 0) != (distance >= 0):
            share = distance_before / (distance_before - distance)
            for k in range(3):
                crossing = polygon[before, k] + (polygon[i, k] - polygon[before, k]) * share
                below[kept, k] = crossing
                above[rest, k] = crossing
            kept += 1
            rest += 1
            keep = distance > 0
            pass_on = distance < 0
        else:
            keep = distance >= 0
            pass_on = distance <= 0
        if keep:
            for k in range(3):
                below[kept, k] = polygon[i, k]
            kept += 1
        if pass_on:
            for k in range(3):
                above[rest, k] = polygon[i, k]
            rest += 1
        before = i
    return kept, rest


@njit(cache=True, nogil=True)
def _insert(first, spans, column, low, high, area, merge_within, slot, free):
    """Put a solid span into a column, swallowing those it touches. Returns the head of the unused slots."""
    previous = -1
    current = first[column]
    while current >= 0 and spans[current, _LOW] <= high:
        following = spans[current, _NEXT]
        if spans[current, _HIGH] < low:
            previous = current
        else:
            low = min(low, spans[current, _LOW])
            high = max(high, spans[current, _HIGH])
            if abs(high - spans[current, _HIGH]) <= merge_within:
                area = max(area, spans[current, _AREA])
            if previous < 0:
                first[column] = following
            else:
                spans[previous, _NEXT] = following
            spans[current, _NEXT] = free
            free = current
        current = following
    spans[slot, _LOW] = low
    spans[slot, _HIGH] = high
    spans[slot, _AREA] = area
    if previous < 0:
        spans[slot, _NEXT] = first[column]
        first[column] = slot
    else:
        spans[slot, _NEXT] = spans[previous, _NEXT]
        spans[previous, _NEXT] = slot
    return free


@njit(cache=True, nogil=True)
def doubled(rows):
    """A copy of an array (N, K) int32 with room for twice as many rows. Loops compile faster than slices."""
    larger = np.empty((2 * len(rows), rows.shape[1]), np.int32)
    for i in range(len(rows)):
        for k in range(rows.shape[1]):
            larger[i, k] = rows[i, k]
    return larger


@njit(cache=True, nogil=True)
def _rasterise(
    vertices, triangles, walkable, lowest, highest, cell, cell_height, width, depth, merge_within, most,
    first, spans, rest, row, part, spare,
):  # fmt: skip
    """Fill the columns that each triangle passes through, from its lowest to its highest point in the column.

    Lists of spans (low, high, walkable, next) are built in ``spans``, their heads in ``first`` (-1 = empty);
    the last four arrays are scratch. Returns the spans and how many slots are used; more than ``most`` where
    it gave up.
    """
    per_cell = np.float32(1) / cell
    per_height = np.float32(1) / cell_height
    tallest = highest[1] - lowest[1]
    along_x = np.int64(0)
    along_z = np.int64(2)
    used = 0
    free = -1
    for t in range(len(triangles)):
        for corner in range(3):
            for k in range(3):
                rest[corner, k] = vertices[triangles[t, corner], k]
        z_min = min(rest[0, 2], min(rest[1, 2], rest[2, 2]))
        z_max = max(rest[0, 2], max(rest[1, 2], rest[2, 2]))
        first_z = min(max(int((z_min - lowest[2]) * per_cell), 0), depth - 1)
        last_z = min(max(int((z_max - lowest[2]) * per_cell), 0), depth - 1)
        rest_count = np.int64(3)
        for z in range(first_z, last_z + 1):
            edge = lowest[2] + np.float32(z) * cell + cell
            row_count, rest_count = _split(rest, rest_count, row, spare, edge, along_z)
            rest, spare = spare, rest
            if row_count < 3:
                continue
            x_min = row[0, 0]
            x_max = row[0, 0]
            for i in range(1, row_count):
                x_min = min(x_min, row[i, 0])
                x_max = max(x_max, row[i, 0])
            first_x = min(max(int((x_min - lowest[0]) * per_cell), 0), width - 1)
            last_x = min(max(int((x_max - lowest[0]) * per_cell), 0), width - 1)
            for x in range(first_x, last_x + 1):
                edge = lowest[0] + np.float32(x) * cell + cell
                part_count, row_count = _split(row, row_count, part, spare, edge, along_x)
                row, spare = spare, row
                if part_count < 3:
                    continue
                bottom = part[0, 1]
                top = part[0, 1]
                for i in range(1, part_count):
                    bottom = min(bottom, part[i, 1])
                    top = max(top, part[i, 1])
                bottom -= lowest[1]
                top -= lowest[1]
                if top < 0 or bottom > tallest:
                    continue
                bottom = max(bottom, np.float32(0))
                top = min(top, tallest)
                low = min(max(int(np.floor(bottom * per_height)), 0), MAX_HEIGHT)
                high = min(max(int(np.ceil(top * per_height)), low + 1), MAX_HEIGHT)
                slot = free
                if slot >= 0:
                    free = spans[slot, _NEXT]
                else:
                    slot = used
                    used += 1
                    if used > most:
                        return spans, used
                    if used > len(spans):
                        spans = doubled(spans)
                area = 1 if walkable[t] else 0
                free = _insert(first, spans, x + z * width, low, high, area, merge_within, slot, free)
    return spans, used


@njit(cache=True, nogil=True)
def _in_column_order(first, spans):
    """The same spans, column by column, bottom to top: starts (C + 1,), low, high and walkable (N,)."""
    starts = np.zeros(len(first) + 1, np.int32)
    for column in range(len(first)):
        count = 0
        s = first[column]
        while s >= 0:
            count += 1
            s = spans[s, _NEXT]
        starts[column + 1] = starts[column] + count
    total = starts[-1]
    low = np.empty(total, np.int32)
    high = np.empty(total, np.int32)
    walkable = np.empty(total, np.bool_)
    for column in range(len(first)):
        i = starts[column]
        s = first[column]
        while s >= 0:
            low[i] = spans[s, _LOW]
            high[i] = spans[s, _HIGH]
            walkable[i] = spans[s, _AREA] != 0
            i += 1
            s = spans[s, _NEXT]
    return starts, low, high, walkable


def solid_spans(
    vertices: np.ndarray,
    triangles: np.ndarray,
    walkable: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    cell: np.float32,
    cell_height: np.float32,
    size: tuple[int, int],
    merge_within: int,
    max_spans: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Voxelise triangles.

    Args:
        vertices: (N, 3) float32 metres, y up.
        triangles: (M, 3) int32.
        walkable: (M,) bool, see `walkable_triangles`.
        bounds: lowest and highest corner of the grid, (3,) float32 each.
        cell: edge of a column, metres.
        cell_height: height of a voxel, metres.
        size: columns along x and z.
        merge_within: where spans merge, tops so near to each other share what is walkable, cell heights.
        max_spans: most spans before giving up.

    Returns:
        Spans (S,) column by column, bottom to top: where each of the C columns starts (C + 1,), and low
        end, high end and whether the top is walkable (S,); None where there would be more than ``max_spans``.
    """
    lowest, highest = bounds
    width, depth = size
    first = np.full(width * depth, -1, np.int32)
    scratch = [np.empty((12, 3), np.float32) for _ in range(4)]
    spans, used = _rasterise(
        vertices, triangles, walkable, lowest, highest, cell, cell_height, width, depth, merge_within, max_spans,
        first, np.empty((max(1024, width * depth), 4), np.int32), *scratch,
    )  # fmt: skip
    return None if used > max_spans else _in_column_order(first, spans)
