"""Heights on the polygons: each is cut into triangles whose corners follow the voxels where they rise or fall.

After ``RecastMeshDetail.cpp`` of Recast (Mikko Mononen, zlib licence): heights are read from the polygon's own region,
sampled along its edges and on a grid inside, and samples are added while the surface strays too far from them. All
coordinates are relative to the lowest corner of the scene, in metres and 32 bit floats.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.simulators.walkable.detail_triangles import cover_hull, cover_points
from envs.simulators.walkable.polygons import GridPolygons
from envs.simulators.walkable.voxels import OpenSpans

_UNSET = 65535
_MAX_POINTS = 127
_MAX_EDGE_POINTS = 32
_MAX_TRIANGLES = 255
_FAR = np.float32(3.4028235e38)
_NUDGE = np.float32(0.01)
_ON_TRIANGLE = np.float32(1e-4)
_JITTER = np.float32(0.1)
_RING_X = np.array([0, -1, 0, 1, 1, 1, 0, -1, -1])
_RING_Z = np.array([0, -1, -1, -1, 0, 1, 1, 1, 0])


@njit(cache=True, nogil=True)
def _seed_from_corners(corners, vertices, starts, columns, floor, links, width, patch, x_min, z_min):
    """A floor at or near the middle of a polygon, reached from the floor nearest to one of its corners; -1: none."""
    depth, wide = patch.shape
    seed = -1
    nearest = _UNSET
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
    visited = np.zeros(patch.shape, np.bool_)
    stack = np.empty(patch.size + 2, np.int64)
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
            if px < 0 or pz < 0 or px >= wide or pz >= depth or visited[pz, px]:
                continue
            visited[pz, px] = True
            stack[count] = i
            count += 1
        order[straight], order[3] = order[3], order[straight]
    return seed


@njit(cache=True, nogil=True)
def _read_heights(
    corners, vertices, name, region, starts, columns, floor, links, width, patch, queue, x_min, z_min
):
    """Fill a patch of heights (Z, X) around a polygon: its own region, then what is linked to it, nearest first."""
    depth, wide = patch.shape
    patch[:] = _UNSET
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
            corners, vertices, starts, columns, floor, links, width, patch, x_min, z_min
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
            if px < 0 or pz < 0 or px >= wide or pz >= depth or patch[pz, px] != _UNSET:
                continue
            patch[pz, px] = floor[j]
            queue[count] = j
            count += 1


@njit(cache=True, nogil=True)
def _height(x, y, z, cell, cell_height, radius, patch, x_min, z_min):
    """Height in cell heights of the patch at a point; where unknown the one most like y on the nearest known ring."""
    depth, wide = patch.shape
    per_cell = np.float32(1) / cell
    px = min(max(int(np.floor(x * per_cell + _NUDGE)) - x_min, 0), wide - 1)
    pz = min(max(int(np.floor(z * per_cell + _NUDGE)) - z_min, 0), depth - 1)
    found = patch[pz, px]
    if found != _UNSET:
        return found
    # a spiral over the rings around the cell; the search ends with the first ring that knows a height
    nearest = _FAR
    dx = 1
    dz = 0
    step_x = 1
    step_z = 0
    ring = 1
    for n in range((2 * radius + 1) ** 2 - 1):
        if 0 <= px + dx < wide and 0 <= pz + dz < depth and patch[pz + dz, px + dx] != _UNSET:
            off = abs(np.float32(patch[pz + dz, px + dx]) * cell_height - y)
            if off < nearest:
                nearest = off
                found = patch[pz + dz, px + dx]
        if n + 2 == (2 * ring + 1) ** 2:
            if found != _UNSET:
                return found
            ring += 1
        if dx == dz or (dx < 0 and dx == -dz) or (dx > 0 and dx == 1 - dz):
            step_x, step_z = -step_z, step_x
        dx += step_x
        dz += step_z
    return int(np.floor(y / cell_height + np.float32(0.5)))


@njit(cache=True, nogil=True, error_model="numpy")
def _squared_distance(p, a, b, dimensions):
    """Squared distance of a point from a segment, in the plane (2 dimensions: x and z) or in space (3)."""
    along = np.float32(0)
    length = np.float32(0)
    for k in range(3):
        if k == 1 and dimensions == 2:
            continue
        length += (b[k] - a[k]) * (b[k] - a[k])
        along += (b[k] - a[k]) * (p[k] - a[k])
    if length > 0:
        along /= length
    along = min(max(along, np.float32(0)), np.float32(1))
    total = np.float32(0)
    for k in range(3):
        if k == 1 and dimensions == 2:
            continue
        off = a[k] + along * (b[k] - a[k]) - p[k]
        total += off * off
    return total


@njit(cache=True, nogil=True)
def _smallest_extent(corners):
    """Width of a polygon at its narrowest."""
    smallest = _FAR
    count = len(corners)
    for i in range(count):
        j = (i + 1) % count
        farthest = np.float32(0)
        for k in range(count):
            if k != i and k != j:
                farthest = max(farthest, _squared_distance(corners[k], corners[i], corners[j], 2))
        smallest = min(smallest, farthest)
    return np.sqrt(smallest)


@njit(cache=True, nogil=True, error_model="numpy")
def _depth_inside(corners, p):
    """Squared distance of a point to the nearest edge, below zero inside the polygon."""
    inside = False
    nearest = _FAR
    before = len(corners) - 1
    for i in range(len(corners)):
        a = corners[i]
        b = corners[before]
        if (a[2] > p[2]) != (b[2] > p[2]) and p[0] < (b[0] - a[0]) * (p[2] - a[2]) / (b[2] - a[2]) + a[0]:
            inside = not inside
        nearest = min(nearest, _squared_distance(p, b, a, 2))
        before = i
    return -nearest if inside else nearest


@njit(cache=True, nogil=True, error_model="numpy")
def _error(p, points, triangles, count):
    """How far a point is above or below the triangles; -1 where it is beside them all."""
    nearest = _FAR
    for t in range(count):
        a = points[triangles[t, 0]]
        b = points[triangles[t, 1]]
        c = points[triangles[t, 2]]
        cx = c[0] - a[0]
        cz = c[2] - a[2]
        bx = b[0] - a[0]
        bz = b[2] - a[2]
        px = p[0] - a[0]
        pz = p[2] - a[2]
        cc = cx * cx + cz * cz
        cb = cx * bx + cz * bz
        cp = cx * px + cz * pz
        bb = bx * bx + bz * bz
        bp = bx * px + bz * pz
        scale = np.float32(1) / (cc * bb - cb * cb)
        u = (bb * cp - cb * bp) * scale
        v = (cc * bp - cb * cp) * scale
        if u >= -_ON_TRIANGLE and v >= -_ON_TRIANGLE and u + v <= np.float32(1) + _ON_TRIANGLE:
            nearest = min(nearest, abs(a[1] + (c[1] - a[1]) * u + (b[1] - a[1]) * v - p[1]))
    return np.float32(-1) if nearest == _FAR else nearest


@njit(cache=True, nogil=True)
def _split_edge(a, b, spacing, max_error, cell, cell_height, radius, patch, x_min, z_min, room, edge):
    """Samples along an edge that the height needs: ``edge`` (33, 3) is filled, the indices of the kept are returned.

    The edge is always walked from the same end, so that the two polygons that share it agree.
    """
    dx = b[0] - a[0]
    dy = b[1] - a[1]
    dz = b[2] - a[2]
    pieces = 1 + int(np.floor(np.sqrt(dx * dx + dz * dz) / spacing))
    pieces = max(1, min(pieces, _MAX_EDGE_POINTS - 1, room))
    for k in range(pieces + 1):
        share = np.float32(k) / np.float32(pieces)
        edge[k, 0] = a[0] + dx * share
        edge[k, 2] = a[2] + dz * share
        height = _height(
            edge[k, 0], a[1] + dy * share, edge[k, 2], cell, cell_height, radius, patch, x_min, z_min
        )
        edge[k, 1] = np.float32(height) * cell_height
    kept = np.zeros(_MAX_EDGE_POINTS, np.int64)
    kept[1] = pieces
    count = 2
    k = 0
    while k < count - 1:
        farthest = np.float32(0)
        split = -1
        for m in range(kept[k] + 1, kept[k + 1]):
            off = _squared_distance(edge[m], edge[kept[k]], edge[kept[k + 1]], 3)
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
    return kept[:count]


@njit(cache=True, nogil=True)
def _cover(corners, spacing, max_error, cell, cell_height, radius, patch, x_min, z_min, points):
    """Triangles over one polygon: how many ``points`` were filled (corners, edge samples, inner samples), and (T, 3)."""
    count = len(corners)
    points[:count] = corners
    hull = np.empty(_MAX_POINTS + 1, np.int64)
    on_hull = 0
    edge = np.empty((_MAX_EDGE_POINTS + 1, 3), np.float32)
    before = len(corners) - 1
    for i in range(len(corners)):
        a = corners[before]
        b = corners[i]
        hull[on_hull] = before
        on_hull += 1
        if spacing > 0:
            if abs(a[0] - b[0]) < np.float32(1e-6):
                swapped = a[2] > b[2]
            else:
                swapped = a[0] > b[0]
            if swapped:
                a, b = b, a
            room = _MAX_POINTS - 1 - count
            kept = _split_edge(
                a, b, spacing, max_error, cell, cell_height, radius, patch, x_min, z_min, room, edge
            )
            for n in range(1, len(kept) - 1):
                k = kept[len(kept) - 1 - n] if swapped else kept[n]
                points[count] = edge[k]
                hull[on_hull] = count
                on_hull += 1
                count += 1
        before = i
    triangles = cover_hull(points, hull[:on_hull], len(corners))
    if spacing <= 0 or _smallest_extent(corners) < spacing * np.float32(2):
        return count, triangles
    x_low = corners[0, 0]
    x_high = corners[0, 0]
    y_low = corners[0, 1]
    y_high = corners[0, 1]
    z_low = corners[0, 2]
    z_high = corners[0, 2]
    for n in range(1, len(corners)):
        x_low = min(x_low, corners[n, 0])
        x_high = max(x_high, corners[n, 0])
        y_low = min(y_low, corners[n, 1])
        y_high = max(y_high, corners[n, 1])
        z_low = min(z_low, corners[n, 2])
        z_high = max(z_high, corners[n, 2])
    first_x = int(np.floor(x_low / spacing))
    last_x = int(np.ceil(x_high / spacing))
    first_z = int(np.floor(z_low / spacing))
    last_z = int(np.ceil(z_high / spacing))
    samples = np.empty((max(0, (last_x - first_x) * (last_z - first_z)), 3), np.float32)
    found = 0
    point = np.empty(3, np.float32)
    for z in range(first_z, last_z):
        for x in range(first_x, last_x):
            point[0] = np.float32(x) * spacing
            point[1] = (y_high + y_low) * np.float32(0.5)
            point[2] = np.float32(z) * spacing
            if _depth_inside(corners, point) > -spacing / np.float32(2):
                continue
            height = _height(point[0], point[1], point[2], cell, cell_height, radius, patch, x_min, z_min)
            # shifted a little, for points on a perfect grid make bad triangles
            shift_x = np.float32((found * 0xB343) & 0xFFFF) / np.float32(65535) * np.float32(2) - np.float32(
                1
            )
            shift_z = np.float32((found * 0x3841) & 0xFFFF) / np.float32(65535) * np.float32(2) - np.float32(
                1
            )
            samples[found, 0] = point[0] + shift_x * cell * _JITTER
            samples[found, 1] = np.float32(height) * cell_height
            samples[found, 2] = point[2] + shift_z * cell * _JITTER
            found += 1
    added = np.zeros(found, np.bool_)
    while count < _MAX_POINTS:
        worst = np.float32(0)
        chosen = -1
        for n in range(found):
            if not added[n]:
                off = _error(samples[n], points, triangles, len(triangles))
                if off > worst:
                    worst = off
                    chosen = n
        if chosen < 0 or worst <= max_error:
            break
        added[chosen] = True
        points[count] = samples[chosen]
        count += 1
        triangles = cover_points(points, count, hull[:on_hull])
    return count, triangles


@njit(cache=True, nogil=True)
def _build(
    vertices, polygons, names, region, starts, columns, floor, links, width, depth, cell, cell_height, spacing,
    max_error, radius,
):  # fmt: skip
    """All polygons: points (D, 3) relative to the lowest corner, triangles (T, 3), and the first of each polygon."""
    total = len(polygons)
    point_starts = np.zeros(total + 1, np.int64)
    triangle_starts = np.zeros(total + 1, np.int64)
    all_points = np.empty((max(8 * total, 256), 3), np.float32)
    all_triangles = np.empty((max(8 * total, 256), 3), np.int32)
    points = np.empty((_MAX_POINTS + 1, 3), np.float32)
    queue = np.empty(1024, np.int32)
    patch = np.empty((1, 1), np.int32)
    for p in range(total):
        count = 0
        while count < polygons.shape[1] and polygons[p, count] >= 0:
            count += 1
        indices = polygons[p, :count]
        corners = np.empty((count, 3), np.float32)
        x_min = width
        x_max = 0
        z_min = depth
        z_max = 0
        for n in range(count):
            x = vertices[indices[n], 0]
            z = vertices[indices[n], 2]
            corners[n, 0] = np.float32(x) * cell
            corners[n, 1] = np.float32(vertices[indices[n], 1]) * cell_height
            corners[n, 2] = np.float32(z) * cell
            x_min = min(x_min, x)
            x_max = max(x_max, x)
            z_min = min(z_min, z)
            z_max = max(z_max, z)
        x_min = max(0, x_min - 1)
        x_max = min(width, x_max + 1)
        z_min = max(0, z_min - 1)
        z_max = min(depth, z_max + 1)
        if spacing > 0:
            patch = np.empty((z_max - z_min, x_max - x_min), np.int32)
            if patch.size + 1 > len(queue):
                queue = np.empty(2 * patch.size + 1, np.int32)
            _read_heights(
                indices,
                vertices,
                names[p],
                region,
                starts,
                columns,
                floor,
                links,
                width,
                patch,
                queue,
                x_min,
                z_min,
            )
        used, triangles = _cover(
            corners, spacing, max_error, cell, cell_height, radius, patch, x_min, z_min, points
        )
        first = point_starts[p]
        if first + used > len(all_points):
            more_points = np.empty((2 * (first + used), 3), np.float32)
            more_points[:first] = all_points[:first]
            all_points = more_points
        all_points[first : first + used] = points[:used]
        point_starts[p + 1] = first + used
        first_triangle = triangle_starts[p]
        kept = min(len(triangles), _MAX_TRIANGLES)
        if first_triangle + kept > len(all_triangles):
            more_triangles = np.empty((2 * (first_triangle + kept), 3), np.int32)
            more_triangles[:first_triangle] = all_triangles[:first_triangle]
            all_triangles = more_triangles
        for t in range(kept):
            for k in range(3):
                all_triangles[first_triangle + t, k] = first + triangles[t, k]
        triangle_starts[p + 1] = first_triangle + kept
    return (
        all_points[: point_starts[total]],
        all_triangles[: triangle_starts[total]],
        point_starts,
        triangle_starts,
    )


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
        Points (D, 3) float32 metres above the lowest corner of the scene: for each polygon its corners, then samples
        along its edges, then inner ones. Triangles (T, 3) int32, indices of points, and where the points and the
        triangles of each polygon start, (P + 1,) each.
    """
    return _build(
        polygons.vertices, polygons.polygons, polygons.regions, region, spans.starts, spans.columns, spans.floor,
        spans.links, spans.width, spans.depth, cell, cell_height, np.float32(spacing), np.float32(max_error),
        search_radius,
    )  # fmt: skip
