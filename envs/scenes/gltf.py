"""Geometry of glTF 2.0 files, `.glb` and `.gltf`, in the order of their scene tree; no materials, no pictures.

Written after the glTF 2.0 specification (Khronos, sections 3.5 to 3.7 and 4.4) with ``KHR_mesh_quantization``,
``KHR_draco_mesh_compression`` and ``EXT_meshopt_compression``. Meshes come depth-first, as habitat-sim joins
them (``ResourceManager.cpp``: a node's mesh, then its children in the order of the file): voxelisation merges
spans in the order of the triangles, so that the walkable surface depends on it.
"""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from envs.scenes.compressed import decode_draco, decode_meshopt
from poma3d.errors import FileError

_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_DRACO = "KHR_draco_mesh_compression"
_MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
_JSON_CHUNK = 0x4E4F534A
_INSTANCING = "EXT_mesh_gpu_instancing"
_UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, MemoryError)
"""What damaged descriptions make Python stumble over."""


@dataclass(frozen=True)
class Part:
    """The triangles of one primitive, in the frame of its node."""

    node: str
    """Name of the node, each once in a file."""
    matrix: np.ndarray
    """(4, 4) float64: from the node to the file's scene."""
    vertices: np.ndarray
    """(N, 3) float64."""
    triangles: np.ndarray
    """(M, 3) int64."""
    primitive: Mapping[str, Any]
    """Its entry in the file, for `GltfFile.attribute`."""


class GltfFile:
    """A glTF file, opened.

    Args:
        path: ends in ``.glb`` or ``.gltf``.

    Raises:
        FileError: it is missing, truncated, no glTF 2, or its description is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise FileError(path, f"cannot be read ({error.strerror})") from error
        binary = self.path.suffix.lower() == ".glb"
        self._body: memoryview | None = None
        text = self._chunks(memoryview(data)) if binary else data
        try:
            self.header: dict[str, Any] = json.loads(bytes(text))
        except ValueError as error:
            raise FileError(
                path, f"its description of the scene is not JSON ({error}); it is damaged"
            ) from None
        if not isinstance(self.header, dict):
            raise FileError(path, "its description of the scene is no JSON object; it is damaged")
        self._buffers: dict[int, memoryview] = {}
        self._views: dict[int, np.ndarray] = {}

    def _chunks(self, data: memoryview) -> memoryview:
        """The JSON chunk of a binary file; keeps the other one."""
        size = len(data)
        if size == 0:
            raise FileError(self.path, "the file is empty")
        if bytes(data[:4]) != b"glTF":
            pointer = b"git-lfs" in bytes(data[:220])
            hint = " (a Git LFS pointer: fetch it with git lfs pull)" if pointer else ""
            raise FileError(self.path, f"does not begin as a .glb does; it is another kind of file{hint}")
        if size < 20:
            raise FileError(self.path, f"is truncated: only {size} bytes")
        _, version, length, json_length, kind = struct.unpack("<5I", data[:20])
        if version != 2:
            raise FileError(self.path, f"is glTF {version}; glTF 2 was expected: export it again as glTF 2.0")
        if size < length:
            raise FileError(self.path, f"is truncated: {size} of {length} bytes; fetch it again")
        end = 20 + json_length
        if kind != _JSON_CHUNK or end > size:
            raise FileError(self.path, "its description of the scene is not where it belongs; it is damaged")
        if end + 8 <= size:
            body_length = struct.unpack("<I", data[end : end + 4])[0]
            self._body = data[end + 8 : end + 8 + body_length]
        return data[20:end]

    def parts(self) -> Iterator[Part]:
        """Every primitive that has triangles, depth-first through the scene; points and lines are left out.

        Raises:
            FileError: damaged, incomplete, or compressed by something that cannot be read here.
        """
        try:
            yield from self._parts()
        except _UNREADABLE as error:
            raise self._damage(error) from error

    def attribute(self, part: Part, name: str) -> np.ndarray | None:
        """A vertex attribute (N, width) of a part, such as ``COLOR_0``; None where it has none.

        Raises:
            FileError: as `parts`.
        """
        try:
            if name not in part.primitive["attributes"]:
                return None
            return self._attributes(part.primitive, name)
        except _UNREADABLE as error:
            raise self._damage(error) from error

    def picture(self, part: Part) -> tuple[bytes, int] | None:
        """The packed picture of a part's base colour and the set of texture coordinates that it uses.

        None where there is none, or where it is Basis-compressed alone.

        Raises:
            FileError: as `parts`.
        """
        try:
            material = self.header["materials"][part.primitive["material"]]
            chosen = material.get("pbrMetallicRoughness", {}).get("baseColorTexture")
            if chosen is None:
                return None
            source = self.header["textures"][chosen["index"]].get("source")
            if source is None:
                return None
            image = self.header["images"][source]
            if "uri" in image:
                return bytes(self._file(image["uri"])), chosen.get("texCoord", 0)
            return self._view(image["bufferView"]).tobytes(), chosen.get("texCoord", 0)
        except KeyError:
            return None
        except _UNREADABLE as error:
            raise self._damage(error) from error

    @property
    def point_count(self) -> int:
        """How many vertices the file announces, for messages about files without triangles."""
        positions = {
            primitive.get("attributes", {}).get("POSITION")
            for mesh in self.header.get("meshes", ())
            for primitive in mesh.get("primitives", ())
        }
        accessors = self.header.get("accessors", ())
        return sum(accessors[i]["count"] for i in positions if isinstance(i, int) and i < len(accessors))

    def _damage(self, error: BaseException) -> FileError:
        kind = self.path.suffix.lower()
        return FileError(
            self.path,
            f"cannot be read as {kind}; it is damaged or incomplete ({type(error).__name__}: {error})",
        )

    def _parts(self) -> Iterator[Part]:
        if _INSTANCING in self.header.get("extensionsRequired", ()):
            raise FileError(
                self.path,
                f"its nodes are multiplied by {_INSTANCING}, which is not read; export it without",
            )
        nodes = self.header.get("nodes", [])
        names = self._names(nodes)
        stack = [(index, np.eye(4), frozenset[int]()) for index in reversed(self._roots(nodes))]
        while stack:
            index, parent, above = stack.pop()
            if index in above:
                raise ValueError(f"node {index} is its own ancestor")
            node = nodes[index]
            matrix = parent @ _node_matrix(node)
            if "mesh" in node:
                for primitive in self.header["meshes"][node["mesh"]]["primitives"]:
                    part = self._part(names[index], matrix, primitive)
                    if part is not None:
                        yield part
            inner = above | {index}
            stack.extend((child, matrix, inner) for child in reversed(node.get("children", ())))

    def _names(self, nodes: list[dict[str, Any]]) -> list[str]:
        """A name for every node: its own, its mesh's or its number, with a number behind a repeated one."""
        names: list[str] = []
        taken: dict[str, int] = {}
        used = {node.get("name") for node in nodes}
        for index, node in enumerate(nodes):
            name = node.get("name") or ""
            if not name and "mesh" in node:
                name = self.header["meshes"][node["mesh"]].get("name") or ""
            name = str(name) or f"node_{index}"
            count = taken.get(name, 0)
            unique = name if count == 0 else f"{name}_{count}"
            while count and unique in used:
                count += 1
                unique = f"{name}_{count}"
            taken[name] = count + 1
            used.add(unique)
            names.append(unique)
        return names

    def _roots(self, nodes: list[dict[str, Any]]) -> list[int]:
        scenes = self.header.get("scenes", ())
        if scenes:
            return list(scenes[self.header.get("scene", 0)].get("nodes", ()))
        inner = {child for node in nodes for child in node.get("children", ())}
        return [index for index in range(len(nodes)) if index not in inner]

    def _part(self, name: str, matrix: np.ndarray, primitive: Mapping[str, Any]) -> Part | None:
        mode = primitive.get("mode", _TRIANGLES)
        if mode not in (_TRIANGLES, _STRIP, _FAN) or "POSITION" not in primitive["attributes"]:
            return None
        vertices = self._attributes(primitive, "POSITION").astype(np.float64)
        draco = primitive.get("extensions", {}).get(_DRACO)
        if draco is not None:
            triangles = decode_draco(self.path, self._view(draco["bufferView"]).tobytes()).triangles
        else:
            corners = np.arange(len(vertices))
            if "indices" in primitive:
                corners = self._accessor(primitive["indices"])[:, 0].astype(np.int64)
            triangles = _triangles(corners, mode)
        if len(triangles) and not 0 <= triangles.min() <= triangles.max() < len(vertices):
            raise FileError(self.path, f"{name!r} names vertices that it does not have; the file is damaged")
        return Part(name, matrix, vertices, triangles, primitive) if len(triangles) else None

    def _attributes(self, primitive: Mapping[str, Any], name: str) -> np.ndarray:
        draco = primitive.get("extensions", {}).get(_DRACO)
        if draco is not None and name in draco["attributes"]:
            decoded = decode_draco(self.path, self._view(draco["bufferView"]).tobytes())
            return decoded.attribute(draco["attributes"][name])
        return self._accessor(primitive["attributes"][name])

    def _accessor(self, index: int) -> np.ndarray:
        """The values (count, width); integers that stand for fractions are turned into these."""
        accessor = self.header["accessors"][index]
        dtype = np.dtype(_COMPONENTS[accessor["componentType"]])
        width, count = _WIDTHS[accessor["type"]], accessor["count"]
        if "bufferView" in accessor:
            view = self._view(accessor["bufferView"])
            stride = self.header["bufferViews"][accessor["bufferView"]].get("byteStride", 0)
            values = _strided(view, dtype, accessor.get("byteOffset", 0), count, width, stride)
        else:
            values = np.zeros((count, width), dtype)
        if "sparse" in accessor:
            values = values.copy()
            sparse = accessor["sparse"]
            where, what = sparse["indices"], sparse["values"]
            rows = _strided(
                self._view(where["bufferView"]),
                np.dtype(_COMPONENTS[where["componentType"]]),
                where.get("byteOffset", 0),
                sparse["count"],
                1,
                0,
            )[:, 0]
            values[rows] = _strided(
                self._view(what["bufferView"]), dtype, what.get("byteOffset", 0), sparse["count"], width, 0
            )
        if accessor.get("normalized") and dtype.kind in "iu":
            return np.maximum(values / np.iinfo(dtype).max, -1.0)
        return values

    def _view(self, index: int) -> np.ndarray:
        """The bytes of a buffer view, unpacked where they are compressed."""
        if index not in self._views:
            view = self.header["bufferViews"][index]
            extensions = view.get("extensions", {})
            packed = next((extensions[name] for name in _MESHOPT if name in extensions), None)
            source = packed or view
            start, length = source.get("byteOffset", 0), source["byteLength"]
            data = np.frombuffer(self._buffer(source["buffer"]), np.uint8)[start : start + length]
            if len(data) < length:
                raise ValueError(f"buffer view {index} ends after {len(data)} of {length} bytes")
            if packed is not None:
                data = decode_meshopt(self.path, data.tobytes(), packed)
            self._views[index] = data
        return self._views[index]

    def _buffer(self, index: int) -> memoryview:
        if index not in self._buffers:
            buffer = self.header["buffers"][index]
            if "uri" in buffer:
                data = self._file(buffer["uri"])
            elif index == 0 and self._body is not None:
                data = self._body
            else:
                raise ValueError(f"buffer {index} is not in the file")
            self._buffers[index] = data
        return self._buffers[index]

    def _file(self, uri: str) -> memoryview:
        """The bytes that a URI of the file holds or names."""
        if uri.startswith("data:"):
            return memoryview(base64.b64decode(uri.split(",", 1)[1]))
        beside = self.path.parent / unquote(uri)
        try:
            return memoryview(beside.read_bytes())
        except OSError as error:
            raise FileError(
                self.path, f"is damaged or incomplete: its part {beside} cannot be read ({error.strerror})"
            ) from error


def _strided(
    data: np.ndarray, dtype: np.dtype, start: int, count: int, width: int, stride: int
) -> np.ndarray:
    """Rows (count, width) of ``dtype`` that begin every ``stride`` bytes (0: one behind the other)."""
    row = dtype.itemsize * width
    stride = stride or row
    end = start + stride * (count - 1) + row if count else start
    if count < 0 or start < 0 or stride < 0 or end > len(data):
        raise ValueError(f"an accessor ends at byte {end} of {len(data)}")
    if stride == row:
        return np.frombuffer(data, dtype, count * width, start).reshape(count, width)
    rows = np.lib.stride_tricks.as_strided(data[start:], (count, row), (stride, 1), writeable=False)
    return np.ascontiguousarray(rows).view(dtype).reshape(count, width)


def _triangles(corners: np.ndarray, mode: int) -> np.ndarray:
    """Triangles (M, 3) from the indices of a primitive."""
    if mode == _TRIANGLES:
        return corners[: len(corners) // 3 * 3].reshape(-1, 3)  # (3M,) -> (M, 3)
    if len(corners) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == _FAN:
        return np.stack([corners[1:-1], corners[2:], np.full(len(corners) - 2, corners[0])], axis=1)
    strip = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
    strip[1::2] = strip[1::2, [0, 2, 1]]  # every other triangle of a strip runs the other way round
    return strip


def _node_matrix(node: Mapping[str, Any]) -> np.ndarray:
    """From a node to its parent (4, 4)."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T  # columns first in the file
    matrix = np.eye(4)
    if "rotation" in node:
        x, y, z, w = np.array(node["rotation"], np.float64) / np.linalg.norm(node["rotation"])
        matrix[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix
