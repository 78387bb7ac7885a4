"""From triangles to open voxel columns: where there is floor, with room above it, and where it leads.

The steps and their order are those of Recast (Mikko Mononen, zlib licence): ``RecastFilter.cpp``,
``rcBuildCompactHeightfield`` and ``rcErodeWalkableArea``, in the version that habitat-sim 0.3.4 builds with
(room above a floor counts where it is at least the agent's height). A column is one cell of the horizontal
grid; a span is a solid piece of a column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from envs.simulators.walkable.rasterise import solid_spans

NO_LINK = -1
"""Link of a span that has no neighbour in that direction."""
FAR = 65535
"""Distance of spans that nothing has reached yet."""
SKY = 65535
"""Height, in cell heights, of the ceiling where nothing is above."""
_MAX_CLEARANCE = 255


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
    solid = solid_spans(
        vertices,
        triangles,
        walkable,
        bounds,
        cell,
        cell_height,
        size,
        merge_within=climb,
        max_spans=max_spans,
    )
    if solid is None:
        return None
    starts, low, high, area = solid
    width, depth = size
    _filter(starts, low, high, area, width, depth, height, climb)
    starts, columns, floor, links = _open(starts, low, high, area, width, depth, height, climb)
    inside = border_distance(links, np.ones(len(links), np.bool_)) >= 2 * radius
    return OpenSpans(width, depth, starts, columns, floor, links, inside)
