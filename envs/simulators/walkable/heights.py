"""Heights of the floor in a patch of columns around one polygon, of the storey that it is on.

After ``getHeightData`` and ``getHeight`` in ``RecastMeshDetail.cpp`` of Recast (Mikko Mononen, zlib licence):
the heights of the polygon's own region, then those of floors linked to it, nearest first.
"""

from __future__ import annotations

import numpy as np
from numba import njit

UNSET = 65535
"""Height of the columns of a patch that nothing is known of."""
_FAR = np.float32(3.4028235e38)
_NUDGE = np.float32(0.01)
_RING_X = np.array([0, -1, 0, 1, 1, 1, 0, -1, -1])
_RING_Z = np.array([0, -1, -1, -1, 0, 1, 1, 1, 0])


@njit(cache=True, nogil=True)
def _seed_from_corners(corners, vertices, starts, columns, floor, links, width, patch, x_min, z_min, stack):
    """A floor near the middle of a polygon, reached from the one nearest to one of its corners; -1: none."""
    depth = patch.shape[0]
    wide = patch.shape[1]
    seed = -1
    nearest = UNSET
    middle_x = 0
    middle_z = 0
    for n in range(len(corners)):
        x = vertices[corners[n], 0]
        y = vertices[corners[n], 1]
        z = vertices[corners[n], 2]
        middle_x += x
        middle_z += z
        for k in range(9):
            px = x + _RING_X[k] - x_min
            pz = z + _RING_Z[k] - z_min
            if px < 0 or pz < 0 or px >= wide or pz >= depth:
                continue
            column = px + x_min + (pz + z_min) * width
            for i in range(starts[column], starts[column + 1]):
                if abs(y - floor[i]) < nearest:
                    nearest = abs(y - floor[i])
                    seed = i
    if seed < 0:
        return -1
    middle_x //= len(corners)
    middle_z //= len(corners)
    stack[0] = seed
    count = 1
    order = np.array([0, 1, 2, 3])
    while count > 0:
        count -= 1
        seed = stack[count]
        x = columns[seed] % width
        z = columns[seed] // width
        if x == middle_x and z == middle_z:
            break
        if x == middle_x:
            straight = 1 if middle_z > z else 3
        else:
            straight = 2 if middle_x > x else 0
        # the direction towards the middle goes on the stack last and so comes off it first
        order[straight], order[3] = order[3], order[straight]
        for d in order:
            i = links[seed, d]
            if i < 0:
                continue
            px = columns[i] % width - x_min
            pz = columns[i] // width - z_min
            if px < 0 or pz < 0 or px >= wide or pz >= depth or patch[pz, px] != UNSET:
                continue
            patch[pz, px] = 0
            stack[count] = i
            count += 1
        order[straight], order[3] = order[3], order[straight]
    for pz in range(depth):
        for px in range(wide):
            patch[pz, px] = UNSET
    return seed


@njit(cache=True, nogil=True)
def read_heights(
    corners, vertices, name, region, starts, columns, floor, links, width, patch, queue, x_min, z_min
):
    """Fill an unset patch (Z, X) with heights: the polygon's own region, then what is linked to it.

    ``queue`` is scratch for two entries more than the patch has.
    """
    depth = patch.shape[0]
    wide = patch.shape[1]
    empty = True
    count = 0
    for pz in range(depth):
        for px in range(wide):
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
    if empty:
        seed = _seed_from_corners(
            corners, vertices, starts, columns, floor, links, width, patch, x_min, z_min, queue
        )
        if seed < 0:
            return
        px = columns[seed] % width - x_min
        pz = columns[seed] // width - z_min
        if px < 0 or pz < 0 or px >= wide or pz >= depth:
            return
        patch[pz, px] = floor[seed]
        queue[0] = seed
        count = 1
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
            if px < 0 or pz < 0 or px >= wide or pz >= depth or patch[pz, px] != UNSET:
                continue
            patch[pz, px] = floor[j]
            queue[count] = j
            count += 1


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
