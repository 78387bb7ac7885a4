"""Batched questions of a surface: nearest point, walks that end at the border, distance to the border.

The semantics are habitat-sim 0.3.4's (``src/esp/nav/PathFinder.cpp``) on its fork of Detour
(github.com/erikwijmans/recastnavigation, ``Detour/Source/DetourNavMeshQuery.cpp``). Kernels take ``places``,
the tuple of arrays `envs.simulators.walkable.index.SurfaceIndex.places`. Nothing is shared between calls, so
threads may ask at once.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from envs.simulators.walkable.polygon_geometry import (
    closest_on_rim,
    closest_on_segment,
    contains,
    crossing,
    height_at,
)

_ZERO = np.float32(0)
_ONE = np.float32(1)
_HALF = np.float32(0.5)
_SEARCH_XZ = np.float32(2)
_SEARCH_Y = np.float32(4)
"""Half the box in which Habitat looks for the nearest polygon, metres (``polyPickExt``)."""
_FARTHEST = np.float32(1e6)
"""Coordinates from here on, and those that are not numbers, lie off every surface, metres."""
_SEARCH_MARGIN = np.float32(0.001)
_NUDGE = np.float32(1e-4)
_MOST_NODES = 64
"""Polygons that one walk may look at: Detour's pool of tiny nodes."""
_MOST_QUEUED = 48


@njit(cache=True, nogil=True, error_model="numpy")
def _overlaps(box, low_x, low_y, low_z, high_x, high_y, high_z):
    """Whether a polygon's box (6,) and the search box meet."""
    return (
        box[0] <= high_x
        and box[3] >= low_x
        and box[1] <= high_y
        and box[4] >= low_y
        and box[2] <= high_z
        and box[5] >= low_z
    )


@njit(cache=True, nogil=True, error_model="numpy")
def nearest(places, x, y, z):
    """The polygon nearest to a point within the search box, and the point on it: ``(polygon, x, y, z)``.

    A polygon that lies under or over the point is as near as the difference of heights beyond the climb says.
    Of equally near polygons the first in Detour's bounding-volume tree (``order``) is taken. The polygon is
    -1 where the box holds none.
    """
    (
        corners,
        counts,
        triangles,
        triangle_offsets,
        rim,
        rim_offsets,
        boxes,
        quanta,
        order,
        grid,
        cells,
        items,
    ) = places
    nan = np.float32(np.nan)
    if not (abs(x) < _FARTHEST and abs(y) < _FARTHEST and abs(z) < _FARTHEST):
        return -1, nan, nan, nan
    best, bx, by, bz = -1, nan, nan, nan
    best_distance = np.float32(np.inf)
    best_order = np.int32(0)
    scale, climb = quanta[3], quanta[4]
    # the search box, in the tree's quanta, widened to even and odd ones as Detour does
    low_x = math.floor((x - _SEARCH_XZ - quanta[0]) * scale) & ~1
    low_y = math.floor((y - _SEARCH_Y - quanta[1]) * scale) & ~1
    low_z = math.floor((z - _SEARCH_XZ - quanta[2]) * scale) & ~1
    high_x = math.floor((x + _SEARCH_XZ - quanta[0]) * scale + _ONE) | 1
    high_y = math.floor((y + _SEARCH_Y - quanta[1]) * scale + _ONE) | 1
    high_z = math.floor((z + _SEARCH_XZ - quanta[2]) * scale + _ONE) | 1
    cell, width, depth = grid[2], int(grid[3]), int(grid[4])
    column = math.floor((x - grid[0]) / cell)
    row = math.floor((z - grid[1]) / cell)
    if 0 <= column < width and 0 <= row < depth:
        index = row * width + column
        for k in range(cells[index], cells[index + 1]):
            p = items[k]
            if not (
                _overlaps(boxes[p], low_x, low_y, low_z, high_x, high_y, high_z)
                and contains(corners[p], counts[p], x, z)
            ):
                continue
            height = height_at(triangles, triangle_offsets[p], triangle_offsets[p + 1], x, z)
            distance = abs(y - height) - climb
            distance = distance * distance if distance > _ZERO else _ZERO
            if best < 0 or distance < best_distance or (distance == best_distance and order[p] < best_order):
                best, bx, by, bz = p, x, height, z
                best_distance, best_order = distance, order[p]
        if best_distance == _ZERO:
            return best, bx, by, bz
    # rings of cells around the point's own, until none can hold anything nearer
    inner = min(
        min(x - (grid[0] + column * cell), grid[0] + (column + 1) * cell - x),
        min(z - (grid[1] + row * cell), grid[1] + (row + 1) * cell - z),
    )
    reach = _SEARCH_XZ + np.float32(4) / scale
    ring = 0
    while True:
        gap = inner + (ring - 1) * cell if ring > 0 else 0.0
        if gap > reach or (best >= 0 and gap > 0 and gap * gap > best_distance):
            break
        for r in range(max(row - ring, 0), min(row + ring, depth - 1) + 1):
            step = 1 if (r == row - ring or r == row + ring or ring == 0) else 2 * ring
            for c in range(column - ring, column + ring + 1, step):
                if c < 0 or c >= width:
                    continue
                index = r * width + c
                for k in range(cells[index], cells[index + 1]):
                    p = items[k]
                    if (
                        p == best
                        or not _overlaps(boxes[p], low_x, low_y, low_z, high_x, high_y, high_z)
                        or contains(corners[p], counts[p], x, z)
                    ):
                        continue
                    px, py, pz = closest_on_rim(rim, rim_offsets[p], rim_offsets[p + 1], x, z)
                    dx, dy, dz = x - px, y - py, z - pz
                    distance = dx * dx + dy * dy + dz * dz
                    if (
                        best < 0
                        or distance < best_distance
                        or (distance == best_distance and order[p] < best_order)
                    ):
                        best, bx, by, bz = p, px, py, pz
                        best_distance, best_order = distance, order[p]
        ring += 1
    return best, bx, by, bz


@njit(cache=True, nogil=True, error_model="numpy")
def snap(places, points):
    """`nearest` of each point (B, 3): polygons (B,) and points (B, 3)."""
    polygons = np.empty(len(points), np.int32)
    snapped = np.empty((len(points), 3), np.float32)
    for b in range(len(points)):
        polygons[b], x, y, z = nearest(places, points[b, 0], points[b, 1], points[b, 2])
        snapped[b, 0], snapped[b, 1], snapped[b, 2] = x, y, z
    return polygons, snapped


@njit(cache=True, nogil=True, error_model="numpy")
def _walk(corners, counts, links, first, sx, sy, sz, ex, ey, ez, sliding):
    """Detour's ``moveAlongSurface``: where a straight walk from a point of polygon ``first`` comes to.

    Polygons are searched breadth first around the walk; the walk ends in the one that holds its end, else at
    the nearest point of the borders seen. Without sliding it ends instead where it crosses a border of the
    polygons that lead there, at the crossing nearest to its end (inferred from recordings: the fork's
    published source differs in 7 of 3000 recorded steps).

    Returns the polygon it ends in (-1 where the walk is not possible at all) and the point.
    """
    polygons = np.empty(_MOST_NODES, np.int32)
    parents = np.empty(_MOST_NODES, np.int32)
    visited = np.empty(_MOST_NODES, np.bool_)
    queue = np.empty(_MOST_NODES, np.int32)
    polygons[0], parents[0], visited[0], queue[0] = first, -1, True, 0
    known, head, tail = 1, 0, 1
    best = -1
    best_distance = np.float32(np.inf)
    bx, by, bz = sx, sy, sz
    mx, mz = sx + (ex - sx) * _HALF, sz + (ez - sz) * _HALF
    dx, dy, dz = ex - sx, ey - sy, ez - sz
    radius = math.sqrt(dx * dx + dy * dy + dz * dz) / np.float32(2) + _SEARCH_MARGIN
    radius = radius * radius
    while head < tail:
        current = queue[head]
        p = polygons[current]
        head += 1
        count = counts[p]
        if contains(corners[p], count, ex, ez):
            best, bx, by, bz = current, ex, ey, ez
            break
        j = count - 1
        for i in range(count):
            xj, zj = corners[p, j, 0], corners[p, j, 2]
            xi, zi = corners[p, i, 0], corners[p, i, 2]
            neighbour = links[p, j]
            if neighbour < 0:
                distance, t = closest_on_segment(ex, ez, xj, zj, xi, zi)
                if distance < best_distance:
                    best, best_distance = current, distance
                    yj = corners[p, j, 1]
                    bx, by, bz = xj + (xi - xj) * t, yj + (corners[p, i, 1] - yj) * t, zj + (zi - zj) * t
            else:
                node = -1
                for n in range(known):
                    if polygons[n] == neighbour:
                        node = n
                        break
                if node < 0 and known < _MOST_NODES:
                    node = known
                    polygons[node], visited[node] = neighbour, False
                    known += 1
                if node >= 0 and not visited[node]:
                    distance, t = closest_on_segment(mx, mz, xj, zj, xi, zi)
                    if distance <= radius and tail - head < _MOST_QUEUED:
                        visited[node] = True
                        parents[node] = current
                        queue[tail] = node
                        tail += 1
            j = i
    if best < 0:
        return -1, bx, by, bz
    last = polygons[best]
    if not sliding:
        best_distance = np.float32(np.inf)
        while best >= 0:
            p = polygons[best]
            j = counts[p] - 1
            for i in range(counts[p]):
                if links[p, j] < 0:
                    xj, zj = corners[p, j, 0], corners[p, j, 2]
                    xi, zi = corners[p, i, 0], corners[p, i, 2]
                    hit, t = crossing(xj, zj, xi, zi, sx, sz, ex, ez)
                    cx, cz = xj + (xi - xj) * t, zj + (zi - zj) * t
                    distance = (cx - ex) * (cx - ex) + (cz - ez) * (cz - ez)
                    if hit and distance < best_distance:
                        last, best_distance = p, distance
                        yj = corners[p, j, 1]
                        bx, by, bz = cx, yj + (corners[p, i, 1] - yj) * t, cz
                j = i
            best = parents[best]
    return last, bx, by, bz


@njit(cache=True, nogil=True, error_model="numpy")
def try_steps(places, links, islands, starts, ends, sliding):
    """Habitat's ``try_step`` (sliding) and ``try_step_no_sliding`` for each pair of points (B, 3)."""
    corners, counts, triangles, triangle_offsets = places[0], places[1], places[2], places[3]
    results = starts.copy()
    for b in range(len(starts)):
        ex, ey, ez = ends[b, 0], ends[b, 1], ends[b, 2]
        first, px, py, pz = nearest(places, starts[b, 0], starts[b, 1], starts[b, 2])
        goal, _, _, _ = nearest(places, ex, ey, ez)
        if first < 0 or goal < 0 or islands[first] != islands[goal]:
            continue
        last, x, y, z = _walk(corners, counts, links, first, px, py, pz, ex, ey, ez, sliding)
        if last < 0:
            continue
        if contains(corners[last], counts[last], x, z):
            y = height_at(triangles, triangle_offsets[last], triangle_offsets[last + 1], x, z)
        there, _, _, _ = nearest(places, x, y, z)
        if there < 0 or islands[there] != islands[first]:
            # on an edge of two islands, as at a thin wall: Habitat moves a little into the right polygon
            cx, cy, cz = _ZERO, _ZERO, _ZERO
            for i in range(counts[last]):
                cx += corners[last, i, 0]
                cy += corners[last, i, 1]
                cz += corners[last, i, 2]
            n = np.float32(counts[last])
            cx, cy, cz = cx / n - x, cy / n - y, cz / n - z
            length = math.sqrt(cx * cx + cy * cy + cz * cz)
            if length > _ZERO:
                x, y, z = x + _NUDGE * (cx / length), y + _NUDGE * (cy / length), z + _NUDGE * (cz / length)
        results[b, 0], results[b, 1], results[b, 2] = x, y, z
    return results


@njit(cache=True, nogil=True, error_model="numpy")
def border_distances(corners, counts, links, polygons, points, max_radius):
    """Distance (B,) in the xz plane from points (B, 3) on ``polygons`` to the border, at most ``max_radius``.

    The border is followed as Detour's ``findDistanceToWall`` does: through edges that the circle so far
    touches.
    """
    results = np.empty(len(points), np.float32)
    seen = np.empty(len(counts), np.int32)
    queue = np.empty(len(counts), np.int32)
    for p in range(len(counts)):
        seen[p] = -1
    for b in range(len(points)):
        if polygons[b] < 0:
            results[b] = _ZERO
            continue
        x, z = points[b, 0], points[b, 2]
        nearest_square = max_radius * max_radius
        queue[0], head, tail = polygons[b], 0, 1
        seen[polygons[b]] = b
        while head < tail:
            p = queue[head]
            head += 1
            j = counts[p] - 1
            for i in range(counts[p]):
                distance, _ = closest_on_segment(
                    x, z, corners[p, j, 0], corners[p, j, 2], corners[p, i, 0], corners[p, i, 2]
                )
                neighbour = links[p, j]
                if distance <= nearest_square:
                    if neighbour < 0:
                        nearest_square = distance
                    elif seen[neighbour] != b:
                        seen[neighbour] = b
                        queue[tail] = neighbour
                        tail += 1
                j = i
        results[b] = math.sqrt(nearest_square)
    return results


@njit(cache=True, nogil=True, error_model="numpy")
def height_on(places, polygon, x, z):
    """Height of one polygon at a point over it; NaN where the point is not over it."""
    corners, counts, triangles, triangle_offsets = places[0], places[1], places[2], places[3]
    if not contains(corners[polygon], counts[polygon], x, z):
        return np.float32(np.nan)
    return height_at(triangles, triangle_offsets[polygon], triangle_offsets[polygon + 1], x, z)
