"""Polygons of Stanford ``.ply`` files with what stands at vertices and faces, such as MP3D's ``object_id``.

The format: "PLY - Polygon File Format" (Greg Turk, Stanford), ASCII or binary of either byte order.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poma3d.errors import FileError

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
_INDICES = ("vertex_indices", "vertex_index")
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}


@dataclass(frozen=True)
class PlyMesh:
    """What a ``.ply`` file holds; polygons are cut into fans of triangles."""

    vertices: np.ndarray
    """(N, 3) float64."""
    triangles: np.ndarray
    """(M, 3) int64."""
    face_of: np.ndarray
    """(M,) the face of the file that each triangle comes from."""
    vertex_values: dict[str, np.ndarray]
    """(N,) numbers of every vertex property, by name."""
    face_values: dict[str, np.ndarray]
    """(F,) numbers of every face property that is no list, by name."""


@dataclass(frozen=True)
class _Property:
    name: str
    dtype: str
    count: str | None = None
    """Type of the length in front of a list, None for a single number."""


@dataclass
class _Element:
    name: str
    count: int
    properties: list[_Property]


def read_ply(path: str | os.PathLike[str]) -> PlyMesh:
    """Read a ``.ply`` file.

    Raises:
        FileError: it is missing, truncated, damaged or no ``.ply``.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    try:
        order, elements, start = _header(path, data)
        return _mesh(_read(data, start, order, elements))
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError, UnicodeDecodeError) as error:
        raise FileError(
            path,
            f"cannot be read as .ply; it is damaged or incomplete ({type(error).__name__}: {error})",
        ) from error


def _header(path: str | os.PathLike[str], data: bytes) -> tuple[str, list[_Element], int]:
    """Byte order, elements, and where the data begin."""
    if data[:3] != b"ply":
        raise FileError(path, "does not begin as a .ply does; it is another kind of file")
    mark = data.index(b"end_header")
    start = data.index(b"\n", mark) + 1
    order, elements = "", []
    for line in data[:mark].decode("ascii", "replace").splitlines()[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format":
            order = _ORDERS[words[1]]
        elif words[0] == "element":
            elements.append(_Element(words[1], int(words[2]), []))
        elif words[0] == "property" and words[1] == "list":
            elements[-1].properties.append(_Property(words[4], _TYPES[words[3]], _TYPES[words[2]]))
        elif words[0] == "property":
            elements[-1].properties.append(_Property(words[2], _TYPES[words[1]]))
    return order, elements, start


def _read(data: bytes, start: int, order: str, elements: list[_Element]) -> dict[str, dict]:
    """The columns of every element: arrays (count,), or for a list (lengths, all values)."""
    words = data[start:].split() if not order else []
    found, at = {}, 0 if not order else start
    for element in elements:
        if element.count < 0:
            raise ValueError(f"{element.count} {element.name} are announced")
        read = _ascii if not order else _binary
        found[element.name], at = read(words if not order else data, at, order, element)
    return found


def _binary(data: bytes, at: int, order: str, element: _Element) -> tuple[dict, int]:
    """Columns of a binary element, at once where all its lists are of one length, else row by row."""
    fields: list[tuple] = []
    row = at
    for number, field in enumerate(element.properties):
        if field.count is None:
            fields.append((f"{number}", order + field.dtype))
            row += np.dtype(field.dtype).itemsize
            continue
        if not element.count:
            break
        length = int(np.frombuffer(data, order + field.count, 1, row)[0])
        fields += [(f"{number}n", order + field.count), (f"{number}", order + field.dtype, (length,))]
        row += np.dtype(field.count).itemsize + length * np.dtype(field.dtype).itemsize
    dtype = np.dtype(fields)
    if at + dtype.itemsize * element.count <= len(data) or not any(f.count for f in element.properties):
        rows = np.frombuffer(data, dtype, element.count, at)
        columns: dict = {}
        for number, field in enumerate(element.properties):
            if field.count is None:
                columns[field.name] = rows[f"{number}"]
            elif element.count:
                lengths = rows[f"{number}n"]
                if (lengths != _field_length(dtype, f"{number}")).any():
                    return _ragged(data, at, order, element)
                columns[field.name] = (lengths.astype(np.int64), rows[f"{number}"].reshape(-1))
        return columns, at + dtype.itemsize * element.count
    return _ragged(data, at, order, element)


def _field_length(dtype: np.dtype, name: str) -> int:
    """How many numbers the field ``name`` of a record holds."""
    return int(np.prod(dtype[name].shape, dtype=np.int64))


def _ragged(data: bytes, at: int, order: str, element: _Element) -> tuple[dict, int]:
    columns: dict = {field.name: ([], []) if field.count else [] for field in element.properties}
    types = [(f, np.dtype(order + f.dtype), np.dtype(order + (f.count or "u1"))) for f in element.properties]
    for _ in range(element.count):
        for field, dtype, counter in types:
            if field.count is None:
                columns[field.name].append(np.frombuffer(data, dtype, 1, at)[0])
                at += dtype.itemsize
                continue
            length = int(np.frombuffer(data, counter, 1, at)[0])
            at += counter.itemsize
            if length < 0:
                raise ValueError(f"a list of {length} entries")
            columns[field.name][0].append(length)
            columns[field.name][1].append(np.frombuffer(data, dtype, length, at))
            at += length * dtype.itemsize
    return _joined(columns), at


def _ascii(words: list[bytes], at: int, order: str, element: _Element) -> tuple[dict, int]:
    columns: dict = {field.name: ([], []) if field.count else [] for field in element.properties}
    for _ in range(element.count):
        for field in element.properties:
            if field.count is None:
                columns[field.name].append(float(words[at]))
                at += 1
                continue
            length = int(words[at])
            if length < 0 or at + 1 + length > len(words):
                raise ValueError(f"a list of {length} entries")
            columns[field.name][0].append(length)
            columns[field.name][1].append(np.array([float(w) for w in words[at + 1 : at + 1 + length]]))
            at += 1 + length
    return _joined(columns), at


def _joined(columns: dict) -> dict:
    return {
        name: (
            (np.array(column[0], np.int64), np.concatenate([*column[1], np.zeros(0)]))
            if isinstance(column, tuple)
            else np.array(column)
        )
        for name, column in columns.items()
    }


def _mesh(found: dict[str, dict]) -> PlyMesh:
    vertex = found["vertex"]
    vertices = np.stack([np.asarray(vertex[axis], np.float64) for axis in "xyz"], axis=1)
    face = found.get("face", {})
    lists = next((face[name] for name in _INDICES if name in face), None)
    single = {name: np.asarray(values) for name, values in face.items() if not isinstance(values, tuple)}
    if lists is None:
        empty = np.zeros(0, np.int64)
        return PlyMesh(vertices, empty.reshape(0, 3), empty, dict(vertex), single)
    lengths, corners = lists
    fans = np.maximum(lengths - 2, 0)
    face_of = np.repeat(np.arange(len(lengths)), fans)
    first = (np.cumsum(lengths) - lengths)[face_of]
    step = np.arange(len(face_of)) - (np.cumsum(fans) - fans)[face_of]
    triangles = np.stack([corners[first], corners[first + step + 1], corners[first + step + 2]], axis=1)
    if not np.isfinite(triangles).all():
        raise ValueError("corners that are no numbers")
    triangles = triangles.astype(np.int64)
    if len(triangles) and not 0 <= triangles.min() <= triangles.max() < len(vertices):
        raise ValueError(f"corners outside its {len(vertices)} vertices")
    return PlyMesh(vertices, triangles, face_of, dict(vertex), single)
