"""What the queries need beside the navmesh itself: polygons by place, borders, islands, unusable polygons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from envs.simulators.walkable.navmesh import BORDER, MAX_CORNERS, Navmesh

_SMALLEST_AREA = 1e-5
"""Polygons of less, square metres, are not walked on (habitat-sim's ``removeZeroAreaPolys``)."""
_ON_EDGE = 0.001
"""A detail edge this near to an edge of its polygon, metres, is part of it (Recast's ``getEdgeFlags``)."""
_CELL = 1.0
"""Edge of the grid's cells, metres; larger where there would be more than `_MOST_CELLS`."""
_MOST_CELLS = 1 << 20


@dataclass(frozen=True, eq=False)
class SurfaceIndex:
    """Arrays for the kernels: P polygons, T detail triangles, S rim segments, I islands, C grid cells."""

    corners: np.ndarray
    """(P, 6, 3) float32."""
    counts: np.ndarray
    """(P,) int32 corners in use."""
    triangles: np.ndarray
    """(T, 3, 3) float32 corners of the detail triangles, polygon by polygon."""
    triangle_offsets: np.ndarray
    """(P + 1,) int32."""
    rim: np.ndarray
    """(S, 2, 3) float32 detail edges that lie on the edges of their polygon, polygon by polygon."""
    rim_offsets: np.ndarray
    """(P + 1,) int32."""
    boxes: np.ndarray
    """(P, 6) int32 lowest and highest corner of each polygon in the quanta of Detour's tree."""
    quanta: np.ndarray
    """(5,) float32: origin of the quanta, quanta a metre, climb."""
    order: np.ndarray
    """(P,) int32 rank of each polygon in Detour's tree, which settles ties."""
    grid: np.ndarray
    """(5,) float32: lowest x and z, edge of a cell, columns, rows."""
    cells: np.ndarray
    """(C + 1,) int32 where each cell's polygons begin in `items`."""
    items: np.ndarray
    """int32 usable polygons, cell by cell."""
    links: np.ndarray
    """(P, 6) int32 usable polygon across each edge, -1 for a border."""
    islands: np.ndarray
    """(P,) int32 island of each polygon, largest first."""
    island_areas: np.ndarray
    """(I,) square metres."""
    island_radii: np.ndarray
    """(I,) metres."""
    usable: np.ndarray
    """(P,) bool."""

    @property
    def places(self) -> tuple[np.ndarray, ...]:
        """The arrays that `envs.simulators.walkable.queries.nearest` takes, in its order."""
        return (
            self.corners,
            self.counts,
            self.triangles,
            self.triangle_offsets,
            self.rim,
            self.rim_offsets,
            self.boxes,
            self.quanta,
            self.order,
            self.grid,
            self.cells,
            self.items,
        )


def index_navmesh(navmesh: Navmesh) -> SurfaceIndex:
    """Prepare a navmesh for queries."""
    counts = navmesh.corner_counts
    used = np.arange(MAX_CORNERS) < counts[:, None]
    corners = np.ascontiguousarray(
        np.where(used[..., None], navmesh.vertices[navmesh.polygons], 0), np.float32
    )
    triangles = np.ascontiguousarray(navmesh.detail_vertices[navmesh.detail_triangles], np.float32)
    owners = np.repeat(np.arange(len(counts)), np.diff(navmesh.detail_offsets))
    areas = np.bincount(owners, _areas(triangles), minlength=len(counts))
    usable = areas >= _SMALLEST_AREA
    links = np.where(used & usable[navmesh.neighbours], navmesh.neighbours, BORDER).astype(np.int32)
    islands, island_areas, island_radii = _islands(navmesh, corners, used, areas, usable)
    rim, rim_offsets = _rim(corners, counts, triangles, owners)
    origin = navmesh.bounds[0] if navmesh.bounds is not None else navmesh.vertices.min(axis=0)
    quanta = np.array([*origin, 1.0 / navmesh.settings.cell_size, navmesh.settings.max_climb], np.float32)
    boxes = _boxes(corners, used, triangles, owners, quanta)
    grid, cells, items = _grid(corners, used, usable)
    return SurfaceIndex(
        corners=corners,
        counts=counts,
        triangles=triangles,
        triangle_offsets=navmesh.detail_offsets.astype(np.int32),
        rim=rim,
        rim_offsets=rim_offsets,
        boxes=boxes,
        quanta=quanta,
        order=_tree_order(boxes),
        grid=grid,
        cells=cells,
        items=items,
        links=links,
        islands=islands,
        island_areas=island_areas,
        island_radii=island_radii,
        usable=usable,
    )


def _areas(triangles: np.ndarray) -> np.ndarray:
    """Areas (T,) of triangles (T, 3, 3)."""
    edges = np.diff(triangles.astype(np.float64), axis=1)
    return 0.5 * np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=-1)


def _islands(navmesh, corners, used, areas, usable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Connected parts, largest area first: of each polygon (P,), areas (I,) and radii (I,).

    As in habitat-sim's ``IslandSystem``, the radius is the largest distance of a corner from the mean of all
    corners, where a corner counts once for each polygon it belongs to.
    """
    polygon, edge = np.nonzero(navmesh.neighbours >= 0)
    across = navmesh.neighbours[polygon, edge]
    graph = coo_matrix((np.ones(len(polygon), bool), (polygon, across)), shape=(len(areas), len(areas)))
    count, labels = connected_components(graph, directed=False)
    island_areas = np.bincount(labels, np.where(usable, areas, 0), minlength=count)
    rank = np.argsort(-island_areas, kind="stable")
    labels = np.argsort(rank)[labels].astype(np.int32)
    owners = np.broadcast_to(labels[:, None], used.shape)[used]
    points = corners[used].astype(np.float64)
    weights = np.bincount(owners, minlength=count)
    centres = np.stack([np.bincount(owners, points[:, k], minlength=count) for k in range(3)], axis=-1)
    centres /= weights[:, None]
    radii = np.zeros(count)
    np.maximum.at(radii, owners, np.linalg.norm(points - centres[owners], axis=-1))
    return labels, island_areas[rank], radii


def _rim(corners, counts, triangles, owners) -> tuple[np.ndarray, np.ndarray]:
    """Detail edges (S, 2, 3) on the edges of their polygon, and where each polygon's begin (P + 1,)."""
    order = [2, 0, 1]  # Detour's order of a triangle's edges
    edges = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2)[:, order]  # (T, 3, 2, 3)
    triangle, side = np.nonzero(boundary_edges(corners, counts, triangles, owners)[:, order])
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owners[triangle], minlength=len(counts)))])
    return np.ascontiguousarray(edges[triangle, side]), offsets.astype(np.int32)


def boundary_edges(
    corners: np.ndarray, counts: np.ndarray, triangles: np.ndarray, owners: np.ndarray
) -> np.ndarray:
    """Which edges (T, 3) of detail triangles (T, 3, 3) lie on an edge of their polygon, ``owners`` (T,).

    Edge k leads from corner k of a triangle to the next; of ``corners`` (P, 6, 3), ``counts`` (P,) are used.
    """
    slots = np.arange(MAX_CORNERS)
    following = np.where(slots + 1 < counts[:, None], slots + 1, 0)
    starts = corners[..., [0, 2]]
    ends = np.take_along_axis(starts, following[..., None], axis=1)
    points = triangles[..., [0, 2]]
    distance = _distance_to_segments(points[:, :, None], starts[owners][:, None], ends[owners][:, None])
    near = (distance < _ON_EDGE) & (slots < counts[:, None])[owners][:, None]  # (T, 3 corners, 6 edges)
    return np.any(near & np.roll(near, -1, axis=1), axis=2)


def _distance_to_segments(points, starts, ends) -> np.ndarray:
    """Distances between points and segments of the plane, broadcast over the leading axes."""
    points, starts, ends = (a.astype(np.float64) for a in (points, starts, ends))
    along = ends - starts
    square = (along**2).sum(axis=-1)
    t = ((points - starts) * along).sum(axis=-1) / np.where(square > 0, square, 1)
    nearest = starts + np.clip(t, 0, 1)[..., None] * along
    return np.linalg.norm(points - nearest, axis=-1)


def _boxes(corners, used, triangles, owners, quanta) -> np.ndarray:
    """(P, 6) quantised bounding boxes, as ``createBVTree`` makes them of the height detail."""
    low = np.where(used[..., None], corners, np.inf).min(axis=1)
    high = np.where(used[..., None], corners, -np.inf).max(axis=1)
    np.minimum.at(low, owners, triangles.min(axis=1))
    np.maximum.at(high, owners, triangles.max(axis=1))
    box = np.concatenate([low, high], axis=1)
    return ((box - np.tile(quanta[:3], 2)) * quanta[3]).astype(np.int32)


def _tree_order(boxes: np.ndarray) -> np.ndarray:
    """(P,) rank of each polygon among the leaves of the tree that Detour's ``createBVTree`` builds."""
    order = np.arange(len(boxes))
    stack = [(0, len(boxes))]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        part = boxes[order[first:last]]
        extent = part[:, 3:].max(axis=0) - part[:, :3].min(axis=0)
        axis = int(np.argmax(extent))
        order[first:last] = order[first:last][np.argsort(part[:, axis], kind="stable")]
        middle = first + (last - first) // 2
        stack += [(first, middle), (middle, last)]
    return np.argsort(order).astype(np.int32)


def _grid(corners, used, usable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grid over the xz plane: its numbers, where each cell's polygons begin, usable polygons by cell."""
    plane = corners[..., [0, 2]].astype(np.float64)
    low = np.where(used[..., None], plane, np.inf).min(axis=1)
    high = np.where(used[..., None], plane, -np.inf).max(axis=1)
    origin, extent = low.min(axis=0), high.max(axis=0) - low.min(axis=0)
    cell = max(_CELL, float(np.sqrt(extent.prod() / _MOST_CELLS)))
    width, depth = (np.floor(extent / cell).astype(int) + 1).tolist()
    margin = 1e-4 * cell  # a point within rounding of a cell's edge may be looked up beyond it
    first = np.clip(np.floor((low - origin - margin) / cell).astype(int), 0, [width - 1, depth - 1])
    last = np.clip(np.floor((high - origin + margin) / cell).astype(int), 0, [width - 1, depth - 1])
    owner, cell_index = [], []
    for p in np.flatnonzero(usable):
        columns = np.arange(first[p, 0], last[p, 0] + 1)
        rows = np.arange(first[p, 1], last[p, 1] + 1)
        touched = (rows[:, None] * width + columns).ravel()
        owner.append(np.full(len(touched), p))
        cell_index.append(touched)
    owners = np.concatenate([np.empty(0, int), *owner])
    touched = np.concatenate([np.empty(0, int), *cell_index])
    by_cell = np.argsort(touched, kind="stable")
    cells = np.concatenate([[0], np.cumsum(np.bincount(touched, minlength=width * depth))])
    grid = np.array([*origin, cell, width, depth], np.float32)
    return grid, cells.astype(np.int32), owners[by_cell].astype(np.int32)
