"""Heights of the floor in a patch of columns around one polygon, of the storey that it is on.

After ``getHeightData`` and ``getHeight`` in ``RecastMeshDetail.cpp`` of Recast (Mikko Mononen, zlib licence):
the heights of the polygon's own region, then those of floors linked to it, nearest first.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.simulators.walkable.voxels import OpenSpans

UNSET = 65535
"""Height of the columns of a patch that nothing is known of."""
_FAR = np.float32(3.4028235e38)
_NUDGE = np.float32(0.01)
_RING = ((0, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0))


@njit(cache=True, nogil=True)
def _own_heights(name, region, starts, floor, links, width, patch, x_min, z_min, queue):
    """Fill a patch with the heights of one region and ``queue`` with its floors beside others: how many, -1: none."""
    empty = True
    count = 0
    for pz in range(patch.shape[0]):
        for px in range(patch.shape[1]):
            column = px + x_min + (pz + z_min) * width
            for i in range(starts[column], starts[column + 1]):
                if region[i] != name:
                    continue
                patch[pz, px] = floor[i]
                empty = False
                for d in range(4):
                    j = links[i, d]
                    if j >= 0 and region[j] != name:
                        queue[count] = i
                        count += 1
                        break
                break
    return -1 if empty else count


@njit(cache=True, nogil=True)
def _spread(count, columns, floor, links, width, patch, x_min, z_min, queue):
    """Fill what is unset with the heights of floors linked to those in the queue, nearest first."""
    head = 0
    while head < count:
        i = queue[head]
        head += 1
        for d in range(4):
            j = links[i, d]
            if j < 0:
                continue
            px = columns[j] % width - x_min
            pz = columns[j] // width - z_min
            if 0 <= px < patch.shape[1] and 0 <= pz < patch.shape[0] and patch[pz, px] == UNSET:
                patch[pz, px] = floor[j]
                queue[count] = j
                count += 1


def _seed(corners: np.ndarray, spans: OpenSpans, patch: np.ndarray, x_min: int, z_min: int) -> int:
    """A floor in the middle of a polygon, or as far as one comes from that nearest to its corners (N, 3); -1: none."""
    depth, wide = patch.shape
    seed, nearest = -1, UNSET
    for x, y, z in corners.tolist():
        for dx, dz in _RING:
            if 0 <= x + dx - x_min < wide and 0 <= z + dz - z_min < depth:
                column = x + dx + (z + dz) * spans.width
                for i in range(spans.starts[column], spans.starts[column + 1]):
                    if abs(y - int(spans.floor[i])) < nearest:
                        seed, nearest = i, abs(y - int(spans.floor[i]))
    if seed < 0:
        return -1
    middle_x, _, middle_z = (corners.sum(axis=0) // len(corners)).tolist()
    visited = np.zeros(patch.shape, bool)
    stack = [seed]
    while stack:
        seed = stack.pop()
        z, x = divmod(int(spans.columns[seed]), spans.width)
        if (x, z) == (middle_x, middle_z):
            break
        if x == middle_x:
            straight = 1 if middle_z > z else 3
        else:
            straight = 2 if middle_x > x else 0
        # the direction towards the middle goes on the stack last and so comes off it first
        order = [0, 1, 2, 3]
        order[straight], order[3] = 3, straight
        for d in order:
            i = int(spans.links[seed, d])
            if i < 0:
                continue
            pz, px = divmod(int(spans.columns[i]), spans.width)
            px, pz = px - x_min, pz - z_min
            if 0 <= px < wide and 0 <= pz < depth and not visited[pz, px]:
                visited[pz, px] = True
                stack.append(i)
    return seed


def read_heights(
    corners: np.ndarray,
    name: int,
    spans: OpenSpans,
    region: np.ndarray,
    x_range: tuple[int, int],
    z_range: tuple[int, int],
) -> np.ndarray:
    """Heights (Z, X) int32 in the columns of the ranges, `UNSET` where unknown.

    Args:
        corners: (N, 3) int32 of the polygon: x and z in cells, y in cell heights.
        name: its region.
        spans: the floors.
        region: (S,) int32 region of each floor.
        x_range: first and one past the last column along x.
        z_range: the same along z.
    """
    (x_min, x_max), (z_min, z_max) = x_range, z_range
    patch = np.full((z_max - z_min, x_max - x_min), UNSET, np.int32)
    queue = np.empty(patch.size + 1, np.int32)
    count = _own_heights(
        name, region, spans.starts, spans.floor, spans.links, spans.width, patch, x_min, z_min, queue
    )
    if count < 0:
        # no floor of its own, which simplified outlines can bring about
        seed = _seed(corners, spans, patch, x_min, z_min)
        if seed < 0:
            return patch
        z, x = divmod(int(spans.columns[seed]), spans.width)
        patch[z - z_min, x - x_min] = spans.floor[seed]
        queue[0] = seed
        count = 1
    _spread(count, spans.columns, spans.floor, spans.links, spans.width, patch, x_min, z_min, queue)
    return patch


@njit(cache=True, nogil=True)
def height_at(x, y, z, cell, cell_height, radius, patch, x_min, z_min):
    """Height in cell heights at a point; where unknown the one most like y on the nearest known ring."""
    depth = patch.shape[0]
    wide = patch.shape[1]
    per_cell = np.float32(1) / cell
    px = min(max(int(np.floor(x * per_cell + _NUDGE)) - x_min, 0), wide - 1)
    pz = min(max(int(np.floor(z * per_cell + _NUDGE)) - z_min, 0), depth - 1)
    found = patch[pz, px]
    if found != UNSET:
        return found
    # a spiral over the rings around the cell; the search ends with the first ring that knows a height
    nearest = _FAR
    dx = 1
    dz = 0
    step_x = 1
    step_z = 0
    ring = 1
    for n in range((2 * radius + 1) ** 2 - 1):
        if 0 <= px + dx < wide and 0 <= pz + dz < depth and patch[pz + dz, px + dx] != UNSET:
            off = abs(np.float32(patch[pz + dz, px + dx]) * cell_height - y)
            if off < nearest:
                nearest = off
                found = patch[pz + dz, px + dx]
        if n + 2 == (2 * ring + 1) ** 2:
            if found != UNSET:
                return found
            ring += 1
        if dx == dz or (dx < 0 and dx == -dz) or (dx > 0 and dx == 1 - dz):
            step_x, step_z = -step_z, step_x
        dx += step_x
        dz += step_z
    return int(np.floor(y / cell_height + np.float32(0.5)))
