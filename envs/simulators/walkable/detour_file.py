"""Habitat's ``.navmesh`` files: Detour tiles behind a small header, read into a `Navmesh` and written from
one.

Layout from habitat-sim 0.3.4 (``src/esp/nav/PathFinder.cpp``: ``loadNavMesh``, ``saveNavMesh``) and Detour
(``Detour/Include/DetourNavMesh.h``: ``dtMeshHeader``, ``dtPoly``, ``dtPolyDetail``, ``dtLink``,
``dtBVNode``). Everything is little-endian; the bounding-volume tree and the links of a tile are not needed
and not read.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from envs.embodiment import NavmeshSettings
from envs.simulators.walkable.index import boundary_edges
from envs.simulators.walkable.navmesh import BORDER, MAX_CORNERS, Navmesh
from envs.simulators.walkable.tiles import Tile, join_tiles
from poma3d.errors import FileError, SettingError
from poma3d.files import write_bytes

_SET_MAGIC = int.from_bytes(b"MSET", "big")
_TILE_MAGIC = int.from_bytes(b"DNAV", "big")
_SET_VERSIONS = (1, 2)
_TILE_VERSION = 7
_WALK_FLAG = 0x01
_EXTERNAL_EDGE = 0x8000
_GROUND = 0

_SET_HEADER = np.dtype(
    [
        ("magic", "<i4"),
        ("version", "<i4"),
        ("tile_count", "<i4"),
        ("origin", "<f4", 3),
        ("tile_size", "<f4", 2),
        ("max_tiles", "<i4"),
        ("max_polygons", "<i4"),
    ]
)
_SETTING_NAMES = (
    "cell_size",
    "cell_height",
    "agent_height",
    "agent_radius",
    "max_climb",
    "max_slope",
    "region_min_size",
    "region_merge_size",
    "edge_max_len",
    "edge_max_error",
    "verts_per_poly",
    "detail_sample_dist",
    "detail_sample_max_error",
)
_SETTINGS = np.dtype([(name, "<f4") for name in _SETTING_NAMES] + [("filters", "u1", 4)])
_TILE_PREFIX = np.dtype([("reference", "<u4"), ("size", "<i4")])
_COUNTS = (
    "polygon_count",
    "vertex_count",
    "max_link_count",
    "detail_mesh_count",
    "detail_vertex_count",
    "detail_triangle_count",
    "tree_node_count",
    "off_mesh_count",
)
_TILE_HEADER = np.dtype(
    [("magic", "<i4"), ("version", "<i4"), ("x", "<i4"), ("y", "<i4"), ("layer", "<i4"), ("user_id", "<u4")]
    + [(name, "<i4") for name in _COUNTS]
    + [("off_mesh_base", "<i4"), ("walkable_height", "<f4"), ("walkable_radius", "<f4")]
    + [("walkable_climb", "<f4"), ("lowest", "<f4", 3), ("highest", "<f4", 3), ("quantisation", "<f4")]
)
_POLYGON = np.dtype(
    [
        ("first_link", "<u4"),
        ("vertices", "<u2", MAX_CORNERS),
        ("neighbours", "<u2", MAX_CORNERS),
        ("flags", "<u2"),
        ("corner_count", "u1"),
        ("area_and_type", "u1"),
    ]
)
_LINK_BYTES = 12
_DETAIL_MESH = np.dtype(
    [
        ("vertex_base", "<u4"),
        ("triangle_base", "<u4"),
        ("vertex_count", "u1"),
        ("triangle_count", "u1"),
        ("padding", "<u2"),
    ]
)
_TREE_NODE_BYTES = 16
_OFF_MESH_BYTES = 36
_FARTHEST = 1e6
"""Coordinates from here on are taken for damage, metres."""
_BOUNDARY_BITS = np.array([1, 4, 16])
"""How the flags of a detail triangle mark its three edges as lying on the edges of the polygon."""


class _Cursor:
    """A position in the bytes of a file; reading past the end is a `FileError` that says where."""

    def __init__(self, path: str | os.PathLike[str], data: bytes) -> None:
        self.path, self.data, self.offset = path, data, 0

    def take(self, dtype: np.dtype | str, count: int, what: str) -> np.ndarray:
        """The next ``count`` records."""
        dtype = np.dtype(dtype)
        size = dtype.itemsize * count
        if count < 0 or self.offset + size > len(self.data):
            raise FileError(
                self.path,
                f"ends inside its {what}: {count} records of {dtype.itemsize} bytes expected at byte "
                f"{self.offset}, {len(self.data)} bytes found; it is truncated or damaged, save it again",
            )
        records = np.frombuffer(self.data, dtype, count, self.offset)
        self.offset += size
        return records


def read_navmesh(path: str | os.PathLike[str]) -> Navmesh:
    """Read a Habitat ``.navmesh`` file of one or many tiles.

    Polygons that Habitat has marked as not walkable are left out, as are off-mesh connections. Tiles are
    joined where their borders meet.

    Raises:
        FileError: there is no such file, or it is truncated, damaged or of another format or version.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    cursor = _Cursor(path, data)
    header = cursor.take(_SET_HEADER, 1, "header")[0]
    if header["magic"] != _SET_MAGIC:
        raise FileError(path, f"is not a Habitat navmesh: it begins with {data[:4]!r}, not with b'TESM'")
    if header["version"] not in _SET_VERSIONS:
        raise FileError(
            path, f"has navmesh version {header['version']}; versions {_SET_VERSIONS} can be read"
        )
    settings = NavmeshSettings()
    if header["version"] >= 2:
        settings = _settings(cursor)
    tiles = []
    for _ in range(header["tile_count"]):
        prefix = cursor.take(_TILE_PREFIX, 1, "tile prefix")[0]
        if prefix["reference"] == 0 or prefix["size"] == 0:
            break
        end = cursor.offset + int(prefix["size"])
        tiles.append(_tile(cursor, end))
    if not tiles:
        raise FileError(path, "holds no tile; it is the navmesh of a scene without floor, build it again")
    navmesh = join_tiles(tiles, settings)
    if len(navmesh.polygons) == 0:
        raise FileError(path, "holds no walkable polygon; it is the navmesh of a scene without floor")
    return navmesh


def _settings(cursor: _Cursor) -> NavmeshSettings:
    """The settings block of version 2."""
    block = cursor.take(_SETTINGS, 1, "settings")[0]
    values = {name: float(str(block[name])) for name in _SETTING_NAMES}  # 0.2, not 0.200000003
    values["verts_per_poly"] = int(values["verts_per_poly"])
    if not np.isfinite(list(values.values())).all():
        raise FileError(cursor.path, f"has settings that are not numbers ({values}); it is damaged")
    try:
        return NavmeshSettings(**values)
    except SettingError as error:
        raise FileError(cursor.path, f"has impossible settings ({error}); it is damaged") from error


def _tile(cursor: _Cursor, end: int) -> Tile:
    """One Detour tile that ends at byte ``end``."""
    path = cursor.path
    if not cursor.offset <= end <= len(cursor.data):
        raise FileError(
            path, f"ends inside a tile: {end} bytes announced, {len(cursor.data)} found; it is truncated"
        )
    header = cursor.take(_TILE_HEADER, 1, "tile header")[0]
    if header["magic"] != _TILE_MAGIC:
        raise FileError(path, f"a tile begins with {header['magic'].tobytes()!r}, not b'VAND'; it is damaged")
    if header["version"] != _TILE_VERSION:
        raise FileError(path, f"has Detour tiles of version {header['version']}; version 7 can be read")
    count = {name: int(header[name]) for name in _COUNTS}
    vertices = cursor.take("<f4", 3 * count["vertex_count"], "vertices").reshape(-1, 3)
    polygons = cursor.take(_POLYGON, count["polygon_count"], "polygons")
    cursor.take("u1", _LINK_BYTES * count["max_link_count"], "links")
    details = cursor.take(_DETAIL_MESH, count["detail_mesh_count"], "detail meshes")
    detail_vertices = cursor.take("<f4", 3 * count["detail_vertex_count"], "detail vertices").reshape(-1, 3)
    triangles = cursor.take("u1", 4 * count["detail_triangle_count"], "detail triangles").reshape(-1, 4)
    cursor.take("u1", _TREE_NODE_BYTES * count["tree_node_count"], "bounding volumes")
    cursor.take("u1", _OFF_MESH_BYTES * count["off_mesh_count"], "off-mesh connections")
    if cursor.offset != end:
        raise FileError(
            path,
            f"a tile ends at byte {cursor.offset} where {end} was announced; it is damaged, or Detour was "
            "built with 64-bit references",
        )
    walkable = (polygons["flags"] & _WALK_FLAG != 0) & (polygons["area_and_type"] >> 6 == _GROUND)
    _check_tile(path, vertices, polygons, walkable, details, detail_vertices, triangles)
    used = np.arange(MAX_CORNERS) < polygons["corner_count"][:, None]
    across = polygons["neighbours"].astype(np.int32)
    external = used & (across & _EXTERNAL_EDGE != 0)
    number = np.full(len(polygons) + 1, BORDER, np.int32)  # entry 0 takes "no neighbour"
    number[1:][walkable] = np.arange(walkable.sum())
    own_vertices, own_triangles = [], []
    for polygon, detail in zip(polygons[walkable], details[: len(polygons)][walkable], strict=True):
        corners = polygon["vertices"][: polygon["corner_count"]]
        base, size = int(detail["vertex_base"]), int(detail["vertex_count"])
        own_vertices.append(np.concatenate([vertices[corners], detail_vertices[base : base + size]]))
        base, size = int(detail["triangle_base"]), int(detail["triangle_count"])
        own_triangles.append(triangles[base : base + size, :3].astype(np.int32))
    return Tile(
        vertices=vertices,
        polygons=np.where(used, polygons["vertices"].astype(np.int32), -1)[walkable],
        neighbours=number[np.where(used & ~external, across, 0)][walkable],
        sides=np.where(external, across & 0xFF, -1)[walkable],
        detail_vertices=tuple(own_vertices),
        detail_triangles=tuple(own_triangles),
        bounds=np.stack([header["lowest"], header["highest"]]),
    )


def _check_tile(path, vertices, polygons, walkable, details, detail_vertices, triangles) -> None:
    """Every index of a tile is in range and every number finite.

    Raises:
        FileError: what is wrong.
    """
    counts = polygons["corner_count"].astype(np.int64)
    used = (np.arange(MAX_CORNERS) < counts[:, None]) & walkable[:, None]
    across = polygons["neighbours"]
    inner = used & (across & _EXTERNAL_EDGE == 0)
    if len(details) < len(polygons) and walkable[len(details) :].any():
        raise FileError(path, "a tile has polygons without height detail; it is damaged, save it again")
    details, counts = details[: len(polygons)][walkable[: len(details)]], counts[walkable]
    vertex_ends = details["vertex_base"].astype(np.int64) + details["vertex_count"]
    triangle_ends = details["triangle_base"].astype(np.int64) + details["triangle_count"]
    problems = {
        "vertices that are not finite or too far away": not (np.abs(vertices) < _FARTHEST).all(),
        "detail vertices that are not finite or too far away": not (
            np.abs(detail_vertices) < _FARTHEST
        ).all(),
        "polygons of less than 3 or more than 6 corners": bool(((counts < 3) | (counts > MAX_CORNERS)).any()),
        "polygons that name vertices it has not": bool((polygons["vertices"][used] >= len(vertices)).any()),
        "polygons that name neighbours it has not": bool((across[inner] > len(polygons)).any()),
        "detail vertices outside its list": bool((vertex_ends > len(detail_vertices)).any()),
        "detail triangles outside its list": bool((triangle_ends > len(triangles)).any()),
    }
    for problem, found in problems.items():
        if found:
            raise FileError(path, f"a tile has {problem}; it is damaged, save it again")
    for detail, corners, end in zip(details, counts, triangle_ends, strict=True):
        own = triangles[detail["triangle_base"] : end, :3]
        if own.max(initial=0) >= corners + detail["vertex_count"]:
            raise FileError(path, "a tile has detail triangles that name vertices it has not; it is damaged")


def write_navmesh(path: str | os.PathLike[str], navmesh: Navmesh) -> None:
    """Write a navmesh as a Habitat ``.navmesh`` file of version 2 with one tile, whole or not at all.

    The tile has no bounding-volume tree; Detour then looks at every polygon.

    Raises:
        FileError: the file cannot be written.
        SettingError: the navmesh is too large for Detour's 16-bit indices.
    """
    counts = navmesh.corner_counts
    if max(len(navmesh.vertices), len(counts)) >= _EXTERNAL_EDGE:
        raise SettingError(
            f"a Detour tile holds less than {_EXTERNAL_EDGE} vertices and polygons, found "
            f"{len(navmesh.vertices)} and {len(counts)}; enlarge cell_size"
        )
    used = navmesh.polygons >= 0
    polygons = np.zeros(len(counts), _POLYGON)
    polygons["first_link"] = 0xFFFFFFFF
    polygons["vertices"] = np.where(used, navmesh.polygons, 0)
    polygons["neighbours"] = np.where(used, navmesh.neighbours + 1, 0)
    polygons["flags"] = _WALK_FLAG
    polygons["corner_count"] = counts
    details = np.zeros(len(counts), _DETAIL_MESH)
    own_vertices, own_triangles = [np.empty((0, 3), "<f4")], [np.empty((0, 4), "u1")]
    vertex_base = 0
    for p, count in enumerate(counts):
        triangles = navmesh.detail_triangles[navmesh.detail_offsets[p] : navmesh.detail_offsets[p + 1]]
        first = triangles.min(initial=len(navmesh.detail_vertices))
        inner = navmesh.detail_vertices[first + count : triangles.max(initial=-1) + 1]
        rows = np.zeros((len(triangles), 4), "u1")
        rows[:, :3] = triangles - first
        details[p] = (vertex_base, navmesh.detail_offsets[p], len(inner), len(triangles), 0)
        own_vertices.append(inner)
        own_triangles.append(rows)
        vertex_base += len(inner)
    detail_vertices, detail_triangles = np.concatenate(own_vertices), np.concatenate(own_triangles)
    on_boundary = boundary_edges(
        navmesh.vertices[navmesh.polygons],
        counts,
        navmesh.detail_vertices[navmesh.detail_triangles],
        np.repeat(np.arange(len(counts)), np.diff(navmesh.detail_offsets)),
    )
    detail_triangles[:, 3] = on_boundary @ _BOUNDARY_BITS
    bounds = navmesh.bounds
    if bounds is None:
        bounds = np.stack([navmesh.vertices.min(axis=0), navmesh.vertices.max(axis=0)])
    settings = navmesh.settings
    header = np.zeros(1, _TILE_HEADER)
    header["magic"], header["version"] = _TILE_MAGIC, _TILE_VERSION
    header["polygon_count"] = header["detail_mesh_count"] = header["off_mesh_base"] = len(counts)
    header["vertex_count"], header["max_link_count"] = len(navmesh.vertices), counts.sum()
    header["detail_vertex_count"], header["detail_triangle_count"] = (
        len(detail_vertices),
        len(detail_triangles),
    )
    header["walkable_height"], header["walkable_radius"] = settings.agent_height, settings.agent_radius
    header["walkable_climb"], header["quantisation"] = settings.max_climb, 1 / settings.cell_size
    header["lowest"], header["highest"] = bounds
    links = np.zeros(_LINK_BYTES * int(counts.sum()), "u1")
    arrays = (header, navmesh.vertices.astype("<f4"), polygons, links, details)
    arrays += (detail_vertices.astype("<f4"), detail_triangles)
    tile = b"".join(array.tobytes() for array in arrays)
    top = np.zeros(1, _SET_HEADER)
    top["magic"], top["version"], top["tile_count"] = _SET_MAGIC, max(_SET_VERSIONS), 1
    top["origin"], top["tile_size"] = bounds[0], (bounds[1] - bounds[0])[[0, 2]]
    top["max_tiles"], top["max_polygons"] = 1, len(counts)
    block = np.zeros(1, _SETTINGS)
    for name in _SETTING_NAMES:
        block[name] = getattr(settings, name)
    block["filters"] = [1, 1, 1, 0]
    prefix = np.zeros(1, _TILE_PREFIX)
    prefix["reference"], prefix["size"] = 1 << (len(counts) - 1).bit_length(), len(tile)
    write_bytes(path, top.tobytes() + block.tobytes() + prefix.tobytes() + tile)
