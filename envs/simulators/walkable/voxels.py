"""From triangles to open voxel columns: where there is floor, with room above it, and where it leads.

The steps, their order and their rounding (32 bit floats) are those of Recast (Mikko Mononen, zlib licence):
``RecastRasterization.cpp``, ``RecastFilter.cpp``, ``rcBuildCompactHeightfield`` and ``rcErodeWalkableArea``,
as habitat-sim calls them. A column is one cell of the horizontal grid; a span is a solid piece of a column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

NO_LINK = -1
"""Link of a span that has no neighbour in that direction."""
FAR = 65535
"""Distance of spans that nothing has reached yet."""
SKY = 65535
"""Height, in cell heights, of the ceiling where nothing is above."""
MAX_HEIGHT = 8191
"""Highest span, in cell heights (Recast keeps 13 bits)."""
_MAX_CLEARANCE = 255
_LOW, _HIGH, _AREA, _NEXT = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class OpenSpans:
    """The floors of all columns, bottom to top in each column, and which floors an agent can step between.

    S floors in width x depth columns; column (x, z) has index ``x + z * width``. Directions are Recast's:
    0 = -x, 1 = +z, 2 = +x, 3 = -z.
    """

    width: int
    """Columns along x."""
    depth: int
    """Columns along z."""
    starts: np.ndarray
    """(width * depth + 1,) int32: the floors of column c are ``starts[c]:starts[c + 1]``."""
    columns: np.ndarray
    """(S,) int32: the column of each floor."""
    floor: np.ndarray
    """(S,) int32: height of each floor in cell heights above the lowest point of the scene."""
    links: np.ndarray
    """(S, 4) int32: the floor reached in each direction, `NO_LINK` where none."""
    walkable: np.ndarray
    """(S,) bool: the agent's centre may be here."""


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


@njit(cache=True, nogil=True)
def _filter(starts, low, high, walkable, width, depth, height, climb):
    """Keep floor to stand on: low obstacles are stepped over; ledges and low ceilings are out."""
    for column in range(width * depth):
        below_walkable = False
        for i in range(starts[column], starts[column + 1]):
            itself = walkable[i]
            if not itself and below_walkable and abs(high[i] - high[i - 1]) <= climb:
                walkable[i] = True
            below_walkable = itself
    for z in range(depth):
        for x in range(width):
            end = starts[x + z * width + 1]
            for i in range(starts[x + z * width], end):
                if not walkable[i]:
                    continue
                bottom = high[i]
                top = low[i + 1] if i + 1 < end else SKY
                deepest = SKY
                lowest_step = bottom
                highest_step = bottom
                for direction in range(4):
                    nx = x + (direction == 2) - (direction == 0)
                    nz = z + (direction == 1) - (direction == 3)
                    if nx < 0 or nz < 0 or nx >= width or nz >= depth:
                        deepest = min(deepest, -climb - bottom)
                        continue
                    start = starts[nx + nz * width]
                    stop = starts[nx + nz * width + 1]
                    # the gap below the first span counts as a pit
                    ceiling = low[start] if start < stop else SKY
                    if min(top, ceiling) - max(bottom, -climb) > height:
                        deepest = min(deepest, -climb - bottom)
                    for j in range(start, stop):
                        ceiling = low[j + 1] if j + 1 < stop else SKY
                        if min(top, ceiling) - max(bottom, high[j]) > height:
                            deepest = min(deepest, high[j] - bottom)
                            if abs(high[j] - bottom) <= climb:
                                lowest_step = min(lowest_step, high[j])
                                highest_step = max(highest_step, high[j])
                if deepest < -climb or highest_step - lowest_step > climb:
                    walkable[i] = False
    for column in range(width * depth):
        end = starts[column + 1]
        for i in range(starts[column], end):
            top = low[i + 1] if i + 1 < end else SKY
            if top - high[i] < height:
                walkable[i] = False


@njit(cache=True, nogil=True)
def _open(starts, low, high, walkable, width, depth, height, climb):
    """The walkable floors alone, with their neighbours: starts, columns, floor and links of `OpenSpans`."""
    total = 0
    for i in range(len(walkable)):
        total += walkable[i]
    open_starts = np.zeros(len(starts), np.int32)
    columns = np.empty(total, np.int32)
    floor = np.empty(total, np.int32)
    clearance = np.empty(total, np.int32)
    links = np.full((total, 4), NO_LINK, np.int32)
    count = 0
    for column in range(width * depth):
        end = starts[column + 1]
        for i in range(starts[column], end):
            if walkable[i]:
                top = low[i + 1] if i + 1 < end else SKY
                columns[count] = column
                floor[count] = high[i]
                clearance[count] = min(max(top - high[i], 0), _MAX_CLEARANCE)
                count += 1
        open_starts[column + 1] = count
    for i in range(total):
        x = columns[i] % width
        z = columns[i] // width
        for direction in range(4):
            nx = x + (direction == 2) - (direction == 0)
            nz = z + (direction == 1) - (direction == 3)
            if nx < 0 or nz < 0 or nx >= width or nz >= depth:
                continue
            for j in range(open_starts[nx + nz * width], open_starts[nx + nz * width + 1]):
                bottom = max(floor[i], floor[j])
                top = min(floor[i] + clearance[i], floor[j] + clearance[j])
                if top - bottom >= height and abs(floor[j] - floor[i]) <= climb:
                    links[i, direction] = j
                    break
    return open_starts, columns, floor, links


@njit(cache=True, nogil=True)
def border_distance(links, same):
    """Distance (S,) int32 of every floor to the nearest border: 2 a straight step, 3 a diagonal one.

    A floor is on the border where it lacks a link or where a linked floor differs in ``same`` (S,); with two
    sweeps over the floors, as in Recast.
    """
    total = len(links)
    distance = np.empty(total, np.int32)
    for i in range(total):
        distance[i] = FAR
        for direction in range(4):
            j = links[i, direction]
            if j < 0 or same[j] != same[i]:
                distance[i] = 0
    for sweep in range(2):
        for n in range(total):
            i = n if sweep == 0 else total - 1 - n
            for step in range(2):
                straight = (0 if step == 0 else 3) if sweep == 0 else (2 if step == 0 else 1)
                j = links[i, straight]
                if j < 0:
                    continue
                distance[i] = min(distance[i], distance[j] + 2)
                k = links[j, (straight + 3) & 3]
                if k >= 0:
                    distance[i] = min(distance[i], distance[k] + 3)
    return distance


def open_spans(
    vertices: np.ndarray,
    triangles: np.ndarray,
    walkable: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    cell: np.float32,
    cell_height: np.float32,
    size: tuple[int, int],
    height: int,
    climb: int,
    radius: int,
    max_spans: int,
) -> OpenSpans | None:
    """Voxelise triangles and keep what an agent can stand on.

    Args:
        vertices: (N, 3) float32 metres, y up.
        triangles: (M, 3) int32.
        walkable: (M,) bool, see `walkable_triangles`.
        bounds: lowest and highest corner of the grid, (3,) float32 each.
        cell: edge of a column, metres.
        cell_height: height of a voxel, metres.
        size: columns along x and z.
        height: room an agent needs, cell heights.
        climb: highest step, cell heights.
        radius: distance the agent's centre keeps from borders, cells.
        max_spans: most solid spans before giving up.

    Returns:
        The floors, or None where the scene has more than ``max_spans`` solid spans.
    """
    lowest, highest = bounds
    width, depth = size
    first = np.full(width * depth, -1, np.int32)
    scratch = [np.empty((12, 3), np.float32) for _ in range(4)]
    spans, used = _rasterise(
        vertices, triangles, walkable, lowest, highest, cell, cell_height, width, depth, climb, max_spans,
        first, np.empty((max(1024, width * depth), 4), np.int32), *scratch,
    )  # fmt: skip
    if used > max_spans:
        return None
    starts, low, high, area = _in_column_order(first, spans)
    del first, spans
    _filter(starts, low, high, area, width, depth, height, climb)
    starts, columns, floor, links = _open(starts, low, high, area, width, depth, height, climb)
    inside = border_distance(links, np.ones(len(links), np.bool_)) >= 2 * radius
    return OpenSpans(width, depth, starts, columns, floor, links, inside)
