"""Tiles of polygons joined into one navmesh: border edges are cut where neighbours begin and end, then
linked.

Detour keeps several links for one border edge (``dtNavMesh::connectExtLinks``); a `Navmesh` has one neighbour
an edge, so here the edge is cut instead, and a polygon that gets too many corners by it is cut into several.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from envs.embodiment import NavmeshSettings
from envs.simulators.walkable.navmesh import BORDER, MAX_CORNERS, Navmesh

_TOUCH = 0.01
"""Borders this near, metres, are on one line; they must share twice as much to be joined."""


@dataclass(frozen=True, eq=False)
class Tile:
    """The walkable polygons of one tile: V vertices, P polygons."""

    vertices: np.ndarray
    """(V, 3) float32."""
    polygons: np.ndarray
    """(P, 6) int32, padded with -1."""
    neighbours: np.ndarray
    """(P, 6) int32 within the tile; -1 for a border."""
    sides: np.ndarray
    """(P, 6) int32 the side of the tile that an edge lies on, where other tiles may go on; -1 elsewhere."""
    detail_vertices: tuple[np.ndarray, ...]
    """(N, 3) float32 of each polygon: its corners, then its inner samples."""
    detail_triangles: tuple[np.ndarray, ...]
    """(M, 3) int32 of each polygon, indices into its own detail vertices."""
    bounds: np.ndarray
    """(2, 3) float32."""


def join_tiles(tiles: list[Tile], settings: NavmeshSettings) -> Navmesh:
    """One navmesh of all tiles."""
    polygons, neighbours, sides, vertices = [], [], [], []
    vertex_base = polygon_base = 0
    for tile in tiles:
        polygons.append(np.where(tile.polygons >= 0, tile.polygons + vertex_base, -1))
        neighbours.append(np.where(tile.neighbours >= 0, tile.neighbours + polygon_base, BORDER))
        sides.append(tile.sides)
        vertices.append(tile.vertices)
        vertex_base += len(tile.vertices)
        polygon_base += len(tile.polygons)
    navmesh = _assemble(
        np.concatenate(vertices),
        np.concatenate(polygons),
        np.concatenate(neighbours),
        [part for tile in tiles for part in tile.detail_vertices],
        [part for tile in tiles for part in tile.detail_triangles],
        settings,
        np.stack(
            [np.min([t.bounds[0] for t in tiles], axis=0), np.max([t.bounds[1] for t in tiles], axis=0)]
        ),
    )
    return _join_borders(navmesh, np.concatenate(sides)) if len(tiles) > 1 else navmesh


def _assemble(vertices, polygons, neighbours, detail_vertices, detail_triangles, settings, bounds) -> Navmesh:
    """A navmesh of arrays and of each polygon's own detail."""
    first = np.cumsum([0] + [len(part) for part in detail_vertices])[:-1]
    moved = [part + base for part, base in zip(detail_triangles, first, strict=True)]
    return Navmesh(
        vertices=vertices.astype(np.float32),
        polygons=polygons.astype(np.int32),
        neighbours=neighbours.astype(np.int32),
        detail_vertices=np.concatenate([np.empty((0, 3)), *detail_vertices]).astype(np.float32),
        detail_triangles=np.concatenate([np.empty((0, 3)), *moved]).astype(np.int32),
        detail_offsets=np.cumsum([0] + [len(part) for part in detail_triangles]).astype(np.int32),
        settings=settings,
        bounds=bounds.astype(np.float32),
    )


def _join_borders(navmesh: Navmesh, sides: np.ndarray) -> Navmesh:
    """Cut and link the edges whose ``sides`` (P, 6) say that they lie on the border of their tile.

    Every edge becomes one or more pieces, each with a name; pieces that are the same piece of ground for two
    polygons are `twins`.
    """
    shared = _shared_intervals(navmesh, sides)
    twins: dict[tuple, tuple] = {}
    parts, owners = [], []
    for p, count in enumerate(navmesh.corner_counts):
        outline = []  # (corner, name of the edge that begins there)
        for k in range(count):
            start, end = navmesh.vertices[navmesh.polygons[p, [k, (k + 1) % count]]]
            neighbour = int(navmesh.neighbours[p, k])
            if neighbour >= 0:
                twins[p, k, BORDER] = (neighbour, _edge_towards(navmesh, neighbour, p), BORDER)
            at = 0.0
            for low, high, other, edge in sorted(shared.get((p, k), [])):
                if low > at:
                    outline.append((start + (end - start) * at, (p, k, BORDER)))
                outline.append((start + (end - start) * low, (p, k, other)))
                twins[p, k, other] = (other, edge, p)
                at = high
            if at < 1:
                outline.append((start + (end - start) * at, (p, k, BORDER)))
        cut = _cut(p, outline, twins)
        parts += cut
        owners += [p] * len(cut)
    holder = {name: number for number, part in enumerate(parts) for _, name in part}
    polygons = np.full((len(parts), MAX_CORNERS), -1)
    neighbours = np.full((len(parts), MAX_CORNERS), BORDER)
    vertices = []
    for number, part in enumerate(parts):
        polygons[number, : len(part)] = len(vertices) + np.arange(len(part))
        neighbours[number, : len(part)] = [holder.get(twins.get(name), BORDER) for _, name in part]
        vertices += [corner for corner, _ in part]
    details = []
    for p in owners:
        low, high = navmesh.detail_offsets[p : p + 2]
        used, local = np.unique(navmesh.detail_triangles[low:high], return_inverse=True)
        details.append((navmesh.detail_vertices[used], local.reshape(-1, 3)))
    return _assemble(
        np.array(vertices),
        polygons,
        neighbours,
        [points for points, _ in details],
        [triangles for _, triangles in details],
        navmesh.settings,
        navmesh.bounds,
    )


def _shared_intervals(navmesh: Navmesh, sides: np.ndarray) -> dict[tuple[int, int], list[tuple]]:
    """What border edges share: of (polygon, edge), the (from, to; 0..1, other polygon, its edge)."""
    following = np.where(
        np.arange(MAX_CORNERS) + 1 < navmesh.corner_counts[:, None], np.arange(MAX_CORNERS) + 1, 0
    )
    shared: dict[tuple[int, int], list[tuple]] = {}
    for side in (0, 2):  # towards +x and +z; across from them lie 4 and 6
        fixed, running = (0, 2) if side == 0 else (2, 0)
        here, there = (np.argwhere(sides == s) for s in (side, side + 4))
        starts, ends = (
            [
                navmesh.vertices[navmesh.polygons[e[:, 0], corner[e[:, 0], e[:, 1]]]].astype(np.float64)
                for e in (here, there)
            ]
            for corner in (np.broadcast_to(np.arange(MAX_CORNERS), following.shape), following)
        )
        low, high = (
            [f(a[:, running], b[:, running]) for a, b in zip(starts, ends, strict=True)]
            for f in (np.minimum, np.maximum)
        )
        on_one_line = np.abs(starts[0][:, None, fixed] - starts[1][None, :, fixed]) <= _TOUCH
        overlap = np.minimum(high[0][:, None], high[1]) - np.maximum(low[0][:, None], low[1]) >= 2 * _TOUCH
        for i, j in np.argwhere(on_one_line & overlap):
            span = np.array([max(low[0][i], low[1][j]), min(high[0][i], high[1][j])])
            shares, heights = [], []
            for edges, index in ((0, i), (1, j)):
                start, end = starts[edges][index], ends[edges][index]
                share = (span - start[running]) / (end[running] - start[running])
                heights.append(start[1] + share * (end[1] - start[1]))
                margin = _TOUCH / abs(end[running] - start[running])
                share = np.sort(share)
                shares.append(
                    (0.0 if share[0] < margin else share[0], 1.0 if share[1] > 1 - margin else share[1])
                )
            rise = heights[1] - heights[0]
            if rise.prod() >= 0 and np.abs(rise).min() > 2 * navmesh.settings.max_climb:
                continue
            (p, k), (q, m) = here[i].tolist(), there[j].tolist()
            shared.setdefault((p, k), []).append((*shares[0], q, m))
            shared.setdefault((q, m), []).append((*shares[1], p, k))
    return shared


def _edge_towards(navmesh: Navmesh, polygon: int, neighbour: int) -> int:
    """The edge of ``polygon`` that leads to ``neighbour``."""
    return int(np.argmax(navmesh.neighbours[polygon] == neighbour))


def _cut(polygon: int, outline: list[tuple], twins: dict[tuple, tuple]) -> list[list[tuple]]:
    """Convex parts of at most `MAX_CORNERS` corners; the cuts between them are named and entered in
    ``twins``.

    All parts meet in one corner: that from which the smallest part is largest, as cut edges hold corners in
    line.
    """
    if len(outline) <= MAX_CORNERS:
        return [outline]
    best: list[list[tuple]] = []
    best_area = -1.0
    for turn in range(len(outline)):
        turned = outline[turn:] + outline[:turn]
        stops = [*range(1, len(turned) - 1, MAX_CORNERS - 2), len(turned) - 1]
        parts = []
        for number, (first, last) in enumerate(pairwise(stops)):
            apex_name = turned[0][1] if number == 0 else (polygon, "cut back", number - 1)
            last_name = turned[last][1] if last == len(turned) - 1 else (polygon, "cut", number)
            part = [(turned[0][0], apex_name), *turned[first:last], (turned[last][0], last_name)]
            parts.append(part)
        area = min(_area(np.array([corner for corner, _ in part])) for part in parts)
        if area > best_area:
            best, best_area = parts, area
    for number in range(len(best) - 1):
        twins[polygon, "cut", number] = (polygon, "cut back", number)
        twins[polygon, "cut back", number] = (polygon, "cut", number)
    return best


def _area(corners: np.ndarray) -> float:
    """Area of a polygon (N, 3) in the xz plane."""
    x, z = corners[:, 0], corners[:, 2]
    return float(abs(x @ np.roll(z, -1) - z @ np.roll(x, -1)) / 2)
