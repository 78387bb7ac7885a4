"""Habitat's ``.navmesh`` files: Detour tiles behind a small header, read into a `Navmesh` and written from one.

Layout from habitat-sim 0.3.4 (``src/esp/nav/PathFinder.cpp``: ``loadNavMesh``, ``saveNavMesh``) and Detour
(``Detour/Include/DetourNavMesh.h``: ``dtMeshHeader``, ``dtPoly``, ``dtPolyDetail``, ``dtLink``, ``dtBVNode``).
Everything is little-endian; the bounding-volume tree and the links of a tile are not needed and not read.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from envs.embodiment import NavmeshSettings
from envs.simulators.walkable.navmesh import BORDER, MAX_CORNERS, Navmesh
from poma3d.errors import FileError, SettingError
from poma3d.files import write_bytes

_SET_MAGIC = int.from_bytes(b"MSET", "big")
_TILE_MAGIC = int.from_bytes(b"DNAV", "big")
_SET_VERSIONS = (1, 2)
_TILE_VERSION = 7
_WALK_FLAG, _DISABLED_FLAG = 0x01, 0x04
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
                f"the file ends inside its {what}: {count} records of {dtype.itemsize} bytes expected at byte "
                f"{self.offset}, {len(self.data)} bytes found; it is truncated or damaged, save it again",
            )
        records = np.frombuffer(self.data, dtype, count, self.offset)
        self.offset += size
        return records


def read_navmesh(path: str | os.PathLike[str]) -> Navmesh:
    """Read a Habitat ``.navmesh`` file of one or many tiles.

    Polygons that Habitat has marked as not walkable and off-mesh connections are left out. Tiles are joined where
    their border edges meet within the climb; an edge that meets several takes the one it shares most with.

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
        raise FileError(path, f"has navmesh version {header['version']}; versions {_SET_VERSIONS} can be read")
    settings = NavmeshSettings()
    if header["version"] >= 2:
        settings = _settings(cursor)
    tiles = []
    for _ in range(header["tile_count"]):
        prefix = cursor.take(_TILE_PREFIX, 1, "tile prefix")[0]
        if prefix["reference"] == 0 or prefix["size"] == 0:
            break
        end = cursor.offset + int(prefix["size"])
        tiles.append(_Tile(cursor, end))
        cursor.offset = end
    if not tiles:
        raise FileError(path, "holds no tile; it is the navmesh of a scene without floor, build it again")
    navmesh = _join(tiles, settings)
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


class _Tile:
    """One Detour tile: its arrays, checked."""

    def __init__(self, cursor: _Cursor, end: int) -> None:
        path = cursor.path
        if end > len(cursor.data) or end < cursor.offset:
            raise FileError(
                path,
                f"the file ends inside a tile: {end} bytes expected, {len(cursor.data)} found; it is truncated",
            )
        self.header = header = cursor.take(_TILE_HEADER, 1, "tile header")[0]
        if header["magic"] != _TILE_MAGIC:
            raise FileError(path, f"a tile begins with {header['magic'].tobytes()!r}, not with b'VAND'; it is damaged")
        if header["version"] != _TILE_VERSION:
            raise FileError(path, f"has Detour tiles of version {header['version']}; version 7 can be read")
        if any(header[name] < 0 for name in _COUNTS):
            raise FileError(path, "a tile has negative counts; it is damaged")
        self.vertices = cursor.take("<f4", 3 * int(header["vertex_count"]), "vertices").reshape(-1, 3)
        self.polygons = cursor.take(_POLYGON, int(header["polygon_count"]), "polygons")
        cursor.take("u1", _LINK_BYTES * int(header["max_link_count"]), "links")
        self.details = cursor.take(_DETAIL_MESH, int(header["detail_mesh_count"]), "detail meshes")
        self.detail_vertices = cursor.take(
            "<f4", 3 * int(header["detail_vertex_count"]), "detail vertices"
        ).reshape(-1, 3)
        self.detail_triangles = cursor.take(
            "u1", 4 * int(header["detail_triangle_count"]), "detail triangles"
        ).reshape(-1, 4)
        cursor.take("u1", _TREE_NODE_BYTES * int(header["tree_node_count"]), "bounding volumes")
        cursor.take("u1", _OFF_MESH_BYTES * int(header["off_mesh_count"]), "off-mesh connections")
        if cursor.offset != end:
            raise FileError(
                path,
                f"a tile's arrays take {cursor.offset} bytes where {end} were announced; it is damaged, or Detour "
                "was built with 64-bit references",
            )
        self._check(path)

    def _check(self, path: str | os.PathLike[str]) -> None:
        """Every index is in range and every number is finite."""
        polygons, details = self.polygons, self.details
        counts = polygons["corner_count"]
        ground = polygons["area_and_type"] >> 6 == _GROUND
        used = np.arange(MAX_CORNERS) < counts[:, None]
        neighbours = polygons["neighbours"]
        inner = used & (neighbours != 0) & (neighbours & _EXTERNAL_EDGE == 0)
        problems = {
            "vertices that are not finite": not np.isfinite(self.vertices).all(),
            "detail vertices that are not finite": not np.isfinite(self.detail_vertices).all(),
            "polygons without corners": bool((counts[ground] < 3).any() or (counts > MAX_CORNERS).any()),
            "polygons that name vertices it has not": bool(
                (polygons["vertices"][used] >= len(self.vertices)).any()
            ),
            "polygons that name neighbours it has not": bool((neighbours[inner] > len(polygons)).any()),
            "polygons without height detail": len(details) < int(ground.sum()),
            "detail triangles outside its list": bool(
                (details["triangle_base"].astype(np.int64) + details["triangle_count"]).max(initial=0)
                > len(self.detail_triangles)
            ),
            "detail vertices outside its list": bool(
                (details["vertex_base"].astype(np.int64) + details["vertex_count"]).max(initial=0)
                > len(self.detail_vertices)
            ),
        }
        for problem, found in problems.items():
            if found:
                raise FileError(path, f"a tile has {problem}; it is damaged, save it again")
        for index in np.flatnonzero(ground):
            detail = details[index]
            triangles = self.triangles(int(index))
            if triangles.max(initial=0) >= counts[index] + detail["vertex_count"]:
                raise FileError(path, f"detail triangles of polygon {index} name vertices it has not; it is damaged")

    def triangles(self, polygon: int) -> np.ndarray:
        """Detail triangles (N, 3) of one polygon: its corners first, then its own detail vertices."""
        detail = self.details[polygon]
        base = int(detail["triangle_base"])
        return self.detail_triangles[base : base + int(detail["triangle_count"]), :3].astype(np.int32)


def _join(tiles: list[_Tile], settings: NavmeshSettings) -> Navmesh:
    """One navmesh of all tiles' walkable polygons."""
    vertices, polygons, neighbours, detail_vertices, detail_triangles, detail_counts = [], [], [], [], [], []
    vertex_base = polygon_base = detail_base = 0
    portals = []
    for tile in tiles:
        records = tile.polygons
        walkable = (records["flags"] & _WALK_FLAG != 0) & (records["area_and_type"] >> 6 == _GROUND)
        number = np.full(len(records) + 1, BORDER)  # the extra entry takes "no neighbour"
        number[:-1][walkable] = polygon_base + np.arange(walkable.sum())
        used = np.arange(MAX_CORNERS) < records["corner_count"][:, None]
        across = records["neighbours"].astype(np.int64)
        external = used & (across & _EXTERNAL_EDGE != 0)
        inner = used & ~external & (across != 0)
        polygons.append(np.where(used, records["vertices"].astype(np.int32) + vertex_base, -1)[walkable])
        neighbours.append(number[np.where(inner, across - 1, -1)][walkable])
        for polygon, edge in zip(*np.nonzero(external & walkable[:, None]), strict=True):
            ends = records[polygon]["vertices"][[edge, (edge + 1) % records[polygon]["corner_count"]]]
            portals.append((number[polygon], edge, int(across[polygon, edge] & 0xFF), tile.vertices[ends]))
        for index in np.flatnonzero(walkable):
            record, detail = records[index], tile.details[index]
            corners = tile.vertices[record["vertices"][: record["corner_count"]]]
            base = int(detail["vertex_base"])
            own = tile.detail_vertices[base : base + int(detail["vertex_count"])]
            detail_vertices.append(np.concatenate([corners, own]))
            detail_triangles.append(tile.triangles(int(index)) + detail_base)
            detail_counts.append(len(detail_triangles[-1]))
            detail_base += len(corners) + len(own)
        vertices.append(tile.vertices)
        vertex_base += len(tile.vertices)
        polygon_base += int(walkable.sum())
    joined = np.concatenate(neighbours).astype(np.int32)
    _link_portals(joined, portals, settings.max_climb)
    return Navmesh(
        vertices=np.concatenate(vertices).astype(np.float32),
        polygons=np.concatenate(polygons).astype(np.int32),
        neighbours=joined,
        detail_vertices=np.concatenate([np.empty((0, 3)), *detail_vertices]).astype(np.float32),
        detail_triangles=np.concatenate([np.empty((0, 3)), *detail_triangles]).astype(np.int32),
        detail_offsets=np.concatenate([[0], np.cumsum(detail_counts)]).astype(np.int32),
        settings=settings,
        bounds=np.stack(
            [
                np.min([tile.header["lowest"] for tile in tiles], axis=0),
                np.max([tile.header["highest"] for tile in tiles], axis=0),
            ]
        ).astype(np.float32),
    )


def _link_portals(neighbours: np.ndarray, portals: list, climb: float) -> None:
    pass
