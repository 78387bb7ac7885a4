"""From a scene's triangles to its walkable surface: the whole of Recast, as habitat-sim calls it.

The units, the order of the steps and what is dropped at the end are those of ``PathFinder::build`` in
habitat-sim 0.3.4 (``src/esp/nav/PathFinder.cpp``, MIT): one mesh without tiles, watershed regions, polygons
without area left out. Where spans of one column merge, Recast's result depends on the order of the triangles:
give them in the file's order.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from envs.embodiment import NavmeshSettings
from envs.simulators.walkable.contours import trace_contours
from envs.simulators.walkable.detail import build_detail
from envs.simulators.walkable.navmesh import BORDER, MAX_CORNERS, Navmesh
from envs.simulators.walkable.polygons import build_polygons
from envs.simulators.walkable.rasterise import MAX_HEIGHT, walkable_triangles
from envs.simulators.walkable.regions import partition
from envs.simulators.walkable.voxels import open_spans
from poma3d.errors import SceneError, SettingError

MAX_BYTES = 2 << 30
"""Most memory that the columns of the grid, and again the voxels in them, may take during a build."""
_COLUMN_BYTES = 12
_SPAN_BYTES = 64
_NO_AREA = 1e-5


def _grid(
    vertices: np.ndarray, triangles: np.ndarray, cell: np.float32, cell_height: np.float32
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Lowest and highest corner of the grid around the vertices, and its columns along x and z."""
    if vertices.ndim != 2 or vertices.shape[1:] != (3,) or triangles.ndim != 2 or triangles.shape[1:] != (3,):
        raise SceneError(
            f"vertices (N, 3) and triangles (M, 3) are needed, found {vertices.shape} and {triangles.shape}"
        )
    if len(triangles) == 0:
        raise SceneError("no floor to stand on: the scene has no triangles")
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        raise SceneError(f"triangles name vertices outside 0..{len(vertices) - 1}")
    if not np.isfinite(vertices).all():
        raise SceneError("some vertices are not finite numbers; export the mesh again")
    lowest, highest = vertices.min(axis=0), vertices.max(axis=0)
    extent = highest.astype(np.float64) - lowest
    size = "{:.4g} x {:.4g} x {:.4g} m".format(*extent)
    columns = (extent[0] / cell + 1) * (extent[2] / cell + 1)
    if columns * _COLUMN_BYTES > MAX_BYTES:
        raise SceneError(
            f"the scene measures {size}: at cell_size {cell:.3g} m its walkable surface would need more than "
            f"{columns * _COLUMN_BYTES / 2**30:.1f} GiB. Is the unit metres? "
            "Else cut the scene or enlarge cell_size"
        )
    if extent[1] / cell_height > MAX_HEIGHT:
        raise SceneError(
            f"the scene measures {size}: at cell_height {cell_height:.3g} m only "
            f"{MAX_HEIGHT * cell_height:.0f} m of height can be walked. Is the unit metres? "
            "Else enlarge cell_height"
        )
    farthest = np.float32(max(abs(lowest).max(), abs(highest).max()))
    if np.spacing(farthest) > cell / 2:
        raise SceneError(
            f"the scene lies {farthest:.4g} m from the origin, where neighbouring coordinates are"
            f" {np.spacing(farthest):.2g} m apart (single precision) and no floor of cells of {cell:.3g} m can be"
            " told: move the scene to the origin"
        )
    width = int((highest[0] - lowest[0]) / cell + np.float32(0.5))
    depth = int((highest[2] - lowest[2]) / cell + np.float32(0.5))
    if width == 0 or depth == 0:
        raise SceneError(f"no floor to stand on: the scene measures {size}, less than a cell of {cell:.3g} m")
    return lowest, highest, (width, depth)


def _without_empty_polygons(mesh: Navmesh) -> Navmesh:
    """The same surface less the polygons whose triangles have no area, which Habitat disables."""
    corners = mesh.detail_vertices[mesh.detail_triangles]  # (T, 3, 3)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1])
    area = np.zeros(len(mesh.polygons))
    owner = np.repeat(np.arange(len(mesh.polygons)), np.diff(mesh.detail_offsets))
    np.add.at(area, owner, 0.5 * np.linalg.norm(normal, axis=1))
    kept = area >= _NO_AREA
    if kept.all():
        return mesh
    renamed = np.append(np.where(kept, np.cumsum(kept) - 1, BORDER), BORDER).astype(np.int32)
    return Navmesh(
        vertices=mesh.vertices,
        polygons=mesh.polygons[kept],
        neighbours=renamed[mesh.neighbours[kept]],
        detail_vertices=mesh.detail_vertices,
        detail_triangles=mesh.detail_triangles[kept[owner]],
        detail_offsets=np.append(0, np.cumsum(np.diff(mesh.detail_offsets)[kept])).astype(np.int32),
        settings=mesh.settings,
        bounds=mesh.bounds,
    )


def build_navmesh(vertices: np.ndarray, triangles: np.ndarray, settings: NavmeshSettings) -> Navmesh:
    """Build the walkable surface of a scene for one kind of agent.

    Args:
        vertices: (N, 3) metres, y up; all of them span the grid, used or not.
        triangles: (M, 3) indices of vertices, counter-clockwise seen from outside, in the scene file's order.
        settings: the agent's size and the resolution.

    Raises:
        SceneError: there is no floor to stand on, or the scene is too large for its cells.
        SettingError: a setting is not finite, or ``verts_per_poly`` not one of 3 to `MAX_CORNERS`.
    """
    for name, value in asdict(settings).items():
        if not np.isfinite(value):
            raise SettingError(f"{name} must be a finite number, found {value!r}")
    max_corners = int(settings.verts_per_poly)
    if not 3 <= max_corners <= MAX_CORNERS:
        raise SettingError(
            f"verts_per_poly must lie between 3 and {MAX_CORNERS}, found {settings.verts_per_poly!r}"
        )
    vertices = np.ascontiguousarray(vertices, dtype=np.float32)
    triangles = np.ascontiguousarray(triangles, dtype=np.int32)
    cell, cell_height = np.float32(settings.cell_size), np.float32(settings.cell_height)
    lowest, highest, size = _grid(vertices, triangles, cell, cell_height)
    flat = walkable_triangles(vertices, triangles, settings.max_slope)
    problem = (
        f"no floor to stand on: of {len(triangles)} triangles {int(flat.sum())} face up at "
        f"{settings.max_slope:g} degrees or less, and none leaves {settings.agent_height:g} m of height and "
        f"{settings.agent_radius:g} m around the agent; is the up axis y, and the unit metres?"
    )
    if not flat.any():
        raise SceneError(problem)
    spans = open_spans(
        vertices,
        triangles,
        flat,
        (lowest, highest),
        cell,
        cell_height,
        size,
        height=int(np.ceil(np.float32(settings.agent_height) / cell_height)),
        climb=int(np.floor(np.float32(settings.max_climb) / cell_height)),
        radius=int(np.ceil(np.float32(settings.agent_radius) / cell)),
        max_spans=MAX_BYTES // _SPAN_BYTES,
    )
    if spans is None:
        raise SceneError(
            f"the walkable surface of {len(triangles)} triangles on {size[0]} x {size[1]} cells would need "
            f"more than {MAX_BYTES / 2**30:.0f} GiB. Is the unit metres? Else cut the scene or enlarge "
            "cell_size"
        )
    region, count = partition(spans, int(settings.region_min_size**2), int(settings.region_merge_size**2))
    if count == 0:
        raise SceneError(problem)
    contours = trace_contours(
        spans, region, settings.edge_max_error, int(np.float32(settings.edge_max_len) / cell)
    )
    grid_polygons = build_polygons(contours, max_corners)
    if len(grid_polygons.polygons) == 0:
        raise SceneError(problem)
    spacing = 0.0 if settings.detail_sample_dist < 0.9 else cell * np.float32(settings.detail_sample_dist)
    points, detail, point_starts, triangle_starts = build_detail(
        grid_polygons,
        spans,
        region,
        cell,
        cell_height,
        spacing,
        cell_height * np.float32(settings.detail_sample_max_error),
        max(1, int(np.ceil(settings.edge_max_error))),
    )
    corner_counts = (grid_polygons.polygons >= 0).sum(axis=1)
    ranks = np.arange(len(points)) - np.repeat(point_starts[:-1], np.diff(point_starts))
    sampled = ranks >= np.repeat(corner_counts, np.diff(point_starts))
    # Recast lifts all points by one cell height, but Detour takes the corners from the polygons, as they are
    points[:, 1] += np.where(sampled, lowest[1] + cell_height, lowest[1])
    points[:, [0, 2]] += lowest[[0, 2]]
    padding = ((0, 0), (0, MAX_CORNERS - max_corners))
    return _without_empty_polygons(
        Navmesh(
            vertices=lowest + grid_polygons.vertices.astype(np.float32) * np.array([cell, cell_height, cell]),
            polygons=np.pad(grid_polygons.polygons, padding, constant_values=-1),
            neighbours=np.pad(grid_polygons.neighbours, padding, constant_values=BORDER),
            detail_vertices=points,
            detail_triangles=detail,
            detail_offsets=triangle_starts.astype(np.int32),
            settings=settings,
            bounds=np.stack([lowest, highest]),
        )
    )
