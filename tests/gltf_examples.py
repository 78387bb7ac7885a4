"""Small glTF files, written number by number so that the tests choose every byte of them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

COMPONENT = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
TYPE = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)


class GltfBuilder:
    """Collects arrays, meshes and nodes, and writes them as one ``.glb``."""

    def __init__(self) -> None:
        self.header: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": []}],
            "nodes": [],
            "meshes": [],
            "accessors": [],
            "bufferViews": [],
        }
        self.body = b""

    def view(self, data: bytes, **fields: Any) -> int:
        """Add bytes; returns the index of their buffer view."""
        self.body += b"\0" * (-len(self.body) % 4)
        entry = {"buffer": 0, "byteOffset": len(self.body), "byteLength": len(data), **fields}
        self.header["bufferViews"].append(entry)
        self.body += data
        return len(self.header["bufferViews"]) - 1

    def accessor(self, values: np.ndarray, **fields: Any) -> int:
        """Add an array (N,) or (N, width); returns the index of its accessor."""
        width = 1 if values.ndim == 1 else values.shape[1]
        entry = {
            "bufferView": self.view(values.tobytes()),
            "componentType": COMPONENT[values.dtype.name],
            "count": len(values),
            "type": TYPE[width],
            **fields,
        }
        self.header["accessors"].append(entry)
        return len(self.header["accessors"]) - 1

    def mesh(self, vertices: np.ndarray = TRIANGLE, triangles: Any = ((0, 1, 2),), **attributes: Any) -> int:
        """Add a mesh of one primitive; returns its index."""
        primitive = {
            "attributes": {
                "POSITION": self.accessor(np.asarray(vertices, np.float32)),
                **{name: self.accessor(values) for name, values in attributes.items()},
            },
            "indices": self.accessor(np.asarray(triangles, np.uint32).reshape(-1)),
        }
        self.header["meshes"].append({"primitives": [primitive]})
        return len(self.header["meshes"]) - 1

    def node(self, root: bool = True, **fields: Any) -> int:
        """Add a node; returns its index."""
        self.header["nodes"].append(fields)
        index = len(self.header["nodes"]) - 1
        if root:
            self.header["scenes"][0]["nodes"].append(index)
        return index

    def write(self, path: Path) -> Path:
        """Write the file."""
        body = self.body + b"\0" * (-len(self.body) % 4)
        header = {**self.header, "buffers": [{"byteLength": len(body)}]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
        chunks += struct.pack("<II", len(body), 0x004E4942) + body
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return path


def grid(width: float, depth: float, cells: int = 4, height: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A floor in glTF's axes that faces up: vertices (N, 3) and triangles (M, 3)."""
    x, z = np.meshgrid(np.linspace(0, width, cells + 1), np.linspace(0, depth, cells + 1), indexing="ij")
    vertices = np.stack([x, np.full_like(x, height), z], axis=-1).reshape(-1, 3)
    corner = np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)[None, :]
    a, b, c, d = (corner + o for o in (0, 1, cells + 1, cells + 2))
    triangles = np.stack([np.stack([a, b, c], -1), np.stack([c, b, d], -1)], 2).reshape(-1, 3)
    return vertices, triangles
