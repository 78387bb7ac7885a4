"""From regions to simple outlines: borders traced around the cells, straightened, holes joined to them.

After ``RecastContour.cpp`` of Recast (Mikko Mononen, zlib licence). Points are (x, y, z, region across the
edge that starts here) in cells and cell heights, int32; an edge shared by two regions keeps the same corners
on both sides.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.simulators.walkable.predicates import in_cone, segments_meet
from envs.simulators.walkable.voxels import OpenSpans

_MAX_STEPS = 39999
_HOLE_AREA = -2
"""Twice the signed area below which a border is a hole, for it runs the other way round; Recast rounds so."""


@njit(cache=True, nogil=True)
def _corner_height(i, direction, floor, links):
    """Highest of the floors that meet at the corner between a direction and the next one."""
    turned = (direction + 1) & 3
    height = floor[i]
    for first, second in ((direction, turned), (turned, direction)):
        j = links[i, first]
        if j >= 0:
            height = max(height, floor[j])
            k = links[j, second]
            if k >= 0:
                height = max(height, floor[k])
    return height


@njit(cache=True, nogil=True)
def _open_edges(links, region):
    """For each floor the directions, one bit each, in which its region ends."""
    edges = np.zeros(len(links), np.uint8)
    for i in range(len(links)):
        if region[i] != 0:
            for direction in range(4):
                j = links[i, direction]
                if j < 0 or region[j] != region[i]:
                    edges[i] |= 1 << direction
    return edges


@njit(cache=True, nogil=True)
def _trace(start, edges, columns, floor, links, region, width, raw):
    """Walk around a border and mark its edges as done: fills ``raw``, a point a cell edge, and counts."""
    direction = 0
    while not edges[start] & (1 << direction):
        direction += 1
    first_direction = direction
    i = np.int64(start)
    count = 0
    for _ in range(_MAX_STEPS):
        j = links[i, direction]
        if edges[i] & (1 << direction):
            raw[count, 0] = columns[i] % width + (direction == 1 or direction == 2)
            raw[count, 1] = _corner_height(i, direction, floor, links)
            raw[count, 2] = columns[i] // width + (direction == 0 or direction == 1)
            raw[count, 3] = region[j] if j >= 0 else 0
            count += 1
            edges[i] &= ~(1 << direction)
            direction = (direction + 1) & 3
        else:
            if j < 0:
                break
            i = np.int64(j)
            direction = (direction + 3) & 3
        if i == start and direction == first_direction:
            break
    return count


@njit(cache=True, nogil=True)
def _squared_distance(x, z, px, pz, qx, qz):
    """Squared distance of a point from a segment, in 32 bit floats."""
    along_x = np.float32(qx - px)
    along_z = np.float32(qz - pz)
    dx = np.float32(x - px)
    dz = np.float32(z - pz)
    length = along_x * along_x + along_z * along_z
    share = along_x * dx + along_z * dz
    if length > 0:
        share /= length
    share = min(max(share, np.float32(0)), np.float32(1))
    dx = np.float32(px) + share * along_x - np.float32(x)
    dz = np.float32(pz) + share * along_z - np.float32(z)
    return dx * dx + dz * dz


@njit(cache=True, nogil=True)
def _simplify(raw, count, max_error, max_length, kept):
    """Fill ``kept`` with the raw points that stay: ends of shared edges, then where the outline strays.

    Returns how many they are.
    """
    used = 0
    for i in range(count):
        if raw[i, 3] != raw[(i + 1) % count, 3]:
            kept[used] = i
            used += 1
    if used == 0:
        lower_left = 0
        upper_right = 0
        for i in range(count):
            if raw[i, 0] < raw[lower_left, 0] or (
                raw[i, 0] == raw[lower_left, 0] and raw[i, 2] < raw[lower_left, 2]
            ):
                lower_left = i
            if raw[i, 0] > raw[upper_right, 0] or (
                raw[i, 0] == raw[upper_right, 0] and raw[i, 2] > raw[upper_right, 2]
            ):
                upper_right = i
        kept[0] = lower_left
        kept[1] = upper_right
        used = 2
    for splitting in range(2):
        i = 0
        while i < used:
            a = kept[i]
            b = kept[(i + 1) % used]
            ax = raw[a, 0]
            az = raw[a, 2]
            bx = raw[b, 0]
            bz = raw[b, 2]
            forward = bx > ax or (bx == ax and bz > az)
            split = -1
            if splitting == 0:
                # both sides of a shared border walk it the same way, so that they keep the same points
                step = 1 if forward else count - 1
                n = (a + step) % count if forward else (b + step) % count
                end = b if forward else a
                if not forward:
                    ax, bx = bx, ax
                    az, bz = bz, az
                farthest = np.float32(0)
                if raw[n, 3] == 0:
                    while n != end:
                        distance = _squared_distance(raw[n, 0], raw[n, 2], ax, az, bx, bz)
                        if distance > farthest:
                            farthest = distance
                            split = n
                        n = (n + step) % count
                if farthest <= max_error * max_error:
                    split = -1
            elif max_length > 0 and raw[(a + 1) % count, 3] == 0:
                between = b - a if b >= a else b + count - a
                if between > 1 and (bx - ax) ** 2 + (bz - az) ** 2 > max_length * max_length:
                    split = (a + (between if forward else between + 1) // 2) % count
            if split < 0:
                i += 1
                continue
            for n in range(used, i + 1, -1):
                kept[n] = kept[n - 1]
            kept[i + 1] = split
            used += 1
    return used


def _without_stacked(points: np.ndarray) -> np.ndarray:
    """The outline less the points above or below the next one: they would confuse the triangulation."""
    n = 0
    while n < len(points):
        following = (n + 1) % len(points)
        if points[n, 0] == points[following, 0] and points[n, 2] == points[following, 2]:
            points = np.delete(points, n, axis=0)
        n += 1
    return points


def _borders(
    spans: OpenSpans, region: np.ndarray, max_error: float, max_length: int
) -> tuple[list[np.ndarray], list[int]]:
    """All borders of all regions, simplified, (N, 4) each, and the region of each."""
    edges = _open_edges(spans.links, region)
    raw = np.empty((_MAX_STEPS, 4), np.int32)
    kept = np.empty(_MAX_STEPS + 2, np.int64)
    borders = []
    regions = []
    for start in np.flatnonzero(edges).tolist():
        if edges[start] == 0 or edges[start] == 15:
            edges[start] = 0
            continue
        count = _trace(start, edges, spans.columns, spans.floor, spans.links, region, spans.width, raw)
        used = _simplify(raw, count, np.float32(max_error), max_length, kept)
        points = raw[kept[:used]]
        points[:, 3] = raw[(kept[:used] + 1) % count, 3]
        points = _without_stacked(points)
        if len(points) >= 3:
            borders.append(points)
            regions.append(int(region[start]))
    return borders, regions


@njit(cache=True, nogil=True)
def _blocked(px, pz, qx, qz, skip, outline):
    """Whether the segment pq meets an edge of an outline; edges that share an end with it do not count."""
    count = len(outline)
    for k in range(count):
        n = k + 1 if k + 1 < count else 0
        if skip in (k, n):
            continue
        ax = outline[k, 0]
        az = outline[k, 2]
        bx = outline[n, 0]
        bz = outline[n, 2]
        if (
            (px == ax and pz == az)
            or (qx == ax and qz == az)
            or (px == bx and pz == bz)
            or (qx == bx and qz == bz)
        ):
            continue
        if segments_meet(px, pz, qx, qz, ax, az, bx, bz):
            return True
    return False


@njit(cache=True, nogil=True)
def _bridge(outline, holes, starts, hole, leftmost, candidates):
    """Corners of the outline and of a hole that a shortest free diagonal joins, or (-1, -1).

    ``candidates`` keeps the corners tried, as Recast keeps them from hole to hole.
    """
    count = len(outline)
    corners = starts[hole + 1] - starts[hole]
    distances = np.empty(count, np.int64)
    nothing = np.int64(-1)
    exact = np.int64(0)
    for turn_ in range(corners):
        corner = (leftmost + turn_) % corners
        qx = holes[starts[hole] + corner, 0]
        qz = holes[starts[hole] + corner, 2]
        found = 0
        for j in range(count):
            p = j - 1 if j > 0 else count - 1
            n = j + 1 if j + 1 < count else 0
            x = outline[j, 0]
            z = outline[j, 2]
            if in_cone(outline[p, 0], outline[p, 2], x, z, outline[n, 0], outline[n, 2], qx, qz, exact):
                # kept sorted by distance, earlier corners first
                distance = np.int64(x - qx) ** 2 + np.int64(z - qz) ** 2
                m = found
                while m > 0 and distances[m - 1] > distance:
                    distances[m] = distances[m - 1]
                    candidates[m] = candidates[m - 1]
                    m -= 1
                distances[m] = distance
                candidates[m] = j
                found += 1
        for m in range(found):
            x = outline[candidates[m], 0]
            z = outline[candidates[m], 2]
            blocked = _blocked(x, z, qx, qz, candidates[hole], outline)
            for other in range(hole, len(starts) - 1):
                if blocked:
                    break
                blocked = _blocked(x, z, qx, qz, nothing, holes[starts[other] : starts[other + 1]])
            if not blocked:
                return candidates[m], corner
    return nothing, nothing


def _join_holes(outline: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """One outline (N, 4) that runs around its holes too, each joined by a diagonal walked both ways."""
    leftmost = [int(np.lexsort((hole[:, 2], hole[:, 0]))[0]) for hole in holes]
    order = sorted(range(len(holes)), key=lambda h: (holes[h][leftmost[h], 0], holes[h][leftmost[h], 2]))
    starts = np.cumsum([0] + [len(holes[h]) for h in order])
    joined = np.concatenate([holes[h] for h in order])
    candidates = np.full(len(outline) + len(joined) + 2 * len(holes), -1, np.int64)
    for rank, h in enumerate(order):
        at_outline, at_hole = _bridge(outline, joined, starts, rank, leftmost[h], candidates)
        if at_outline >= 0:
            outline = np.concatenate(
                [
                    np.roll(outline, -at_outline, axis=0),
                    outline[at_outline : at_outline + 1],
                    np.roll(holes[h], -at_hole, axis=0),
                    holes[h][at_hole : at_hole + 1],
                ]
            )
    return np.ascontiguousarray(outline)


def trace_contours(
    spans: OpenSpans, region: np.ndarray, max_error: float, max_length: int
) -> list[tuple[int, np.ndarray]]:
    """Outlines of all regions.

    Args:
        spans: the floors.
        region: (S,) int32 region of each floor, 0 for none.
        max_error: how far a straightened border may stray from the cells, cells.
        max_length: longest edge along a border, cells; 0 for any length.

    Returns:
        For each outline its region and its points (N, 4) int32.
    """
    borders, regions = _borders(spans, region, max_error, max_length)
    areas = []
    for border in borders:
        x, z = border[:, 0].astype(np.int64), border[:, 2].astype(np.int64)
        areas.append(int((x * np.roll(z, 1) - np.roll(x, 1) * z).sum()))
    outline_of: dict[int, int] = {}
    holes_of: dict[int, list[int]] = {}
    for k, area in enumerate(areas):
        if area < _HOLE_AREA:
            holes_of.setdefault(regions[k], []).append(k)
        else:
            outline_of[regions[k]] = k
    for name, holes in holes_of.items():
        if name in outline_of:
            k = outline_of[name]
            borders[k] = _join_holes(borders[k], [borders[h] for h in holes])
    return [(regions[k], borders[k]) for k, area in enumerate(areas) if area >= _HOLE_AREA]
