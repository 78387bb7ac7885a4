"""Compressed geometry of glTF files: Draco and meshopt, decoded where a decoder is installed.

Neither decoder is a dependency: few scenes need one. `DracoPy` (``pip install DracoPy``) reads
``KHR_draco_mesh_compression``, `meshoptimizer` (``pip install meshoptimizer``) reads
``EXT_meshopt_compression``.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from poma3d.errors import FileError

_BLENDER = (
    'blender --background --python-expr "import bpy; bpy.ops.wm.read_factory_settings(use_empty=True);'
    " bpy.ops.import_scene.gltf(filepath='{path}'); bpy.ops.export_scene.gltf(filepath='{plain}')\""
)
_CONVERSIONS = {"DracoPy": _BLENDER, "meshoptimizer": "gltfpack -noq -i {path} -o {plain}"}
_COMPRESSIONS = {"DracoPy": "Draco", "meshoptimizer": "meshopt"}
_FILTERS = ("NONE", "OCTAHEDRAL", "QUATERNION", "EXPONENTIAL")


@dataclass(frozen=True)
class DracoMesh:
    """What one Draco buffer holds."""

    triangles: np.ndarray
    """(M, 3) int64."""
    positions: np.ndarray
    """(N, 3)."""
    attributes: Mapping[int, np.ndarray]
    """Values (N, width) by Draco's unique id."""

    def attribute(self, unique_id: int) -> np.ndarray:
        """The values (N, width) of the attribute with that unique id.

        Raises:
            ValueError: there is none.
        """
        if unique_id not in self.attributes:
            raise ValueError(f"its Draco buffer has no attribute {unique_id}")
        return self.attributes[unique_id]


def _decoder(path: Path, package: str) -> Any:
    """The decoder's module.

    Raises:
        FileError: it is not installed; the message holds the commands that install it or convert the file.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        plain = path.with_name(f"{path.stem}.plain.glb")
        command = _CONVERSIONS[package].format(path=path, plain=plain)
        raise FileError(
            path,
            f"its geometry is compressed with {_COMPRESSIONS[package]}, for which no decoder is installed:"
            f" pip install {package}, or convert the file: {command}",
        ) from None


@functools.lru_cache(maxsize=1)
def decode_draco(path: Path, data: bytes) -> DracoMesh:
    """Unpack a Draco buffer of the file ``path``; the last one stays, since every attribute asks for it.

    Raises:
        FileError: no decoder is installed, or the buffer is damaged.
    """
    module = _decoder(path, "DracoPy")
    try:
        mesh = module.decode(data)
        positions = np.asarray(mesh.points).reshape(-1, 3)
        attributes = {}
        for attribute in mesh.attributes:
            values = np.asarray(attribute["data"])
            attributes[int(attribute["unique_id"])] = values.reshape(len(positions), -1)
        triangles = np.asarray(mesh.faces, np.int64).reshape(-1, 3)
    except Exception as error:  # the decoder has no exceptions of its own
        raise FileError(path, f"its Draco buffer is damaged ({type(error).__name__}: {error})") from error
    return DracoMesh(triangles, positions, attributes)


def decode_meshopt(path: Path, data: bytes, view: Mapping[str, Any]) -> np.ndarray:
    """Unpack a meshopt buffer view of the file ``path`` to its bytes (count * stride,) uint8.

    Args:
        path: for messages.
        data: the packed bytes.
        view: the extension's entry: ``count``, ``byteStride``, ``mode`` and ``filter``.

    Raises:
        FileError: no decoder is installed, an unknown mode or filter, or the buffer is damaged.
    """
    module = _decoder(path, "meshoptimizer")
    count, stride = int(view["count"]), int(view["byteStride"])
    mode, kind = view.get("mode"), view.get("filter", "NONE")
    if mode not in ("ATTRIBUTES", "TRIANGLES", "INDICES") or kind not in _FILTERS:
        raise FileError(path, f"its meshopt buffer has the mode {mode!r} and the filter {kind!r}: unknown")
    try:
        if mode == "ATTRIBUTES":
            values = module.decode_vertex_buffer(count, stride, data)
        elif mode == "TRIANGLES":
            values = module.decode_index_buffer(count, stride, data)
        else:
            values = module.decode_index_sequence(count, stride, data)
        unpacked = np.frombuffer(np.asarray(values).tobytes(), np.uint8)[: count * stride]
    except Exception as error:  # the decoder raises whatever its checks stumble over
        raise FileError(path, f"its meshopt buffer is damaged ({type(error).__name__}: {error})") from error
    return _exponential(unpacked) if kind == "EXPONENTIAL" else unpacked


def _exponential(packed: np.ndarray) -> np.ndarray:
    """Bytes of floats from integers of a signed exponent (8 bits) above a signed mantissa (24 bits).

    The other filters pack normals and rotations, which nothing here reads.
    """
    words = packed.view("<i4")
    values = (words << 8 >> 8).astype(np.float64) * np.exp2((words >> 24).astype(np.float64))
    return np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
