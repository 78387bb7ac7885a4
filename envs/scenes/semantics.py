"""Which triangle belongs to which object: from the names of a mesh file's nodes, or from a JSON file beside
it.

``NAME.semantics.json`` beside ``NAME.glb``::

    {"instances": [{"name": "sofa.00", "category": "sofa", "room": "living_room.00", "nodes": ["sofa.00"]},
                   {"name": "bed.00", "category": "bed", "faces": [[0, 1200]]}],
     "rooms": [{"name": "living_room.00", "category": "living_room", "floor_height": 0.0,
                "outline": [[0, 0], [0, 3], [4, 3], [4, 0]]}]}

An instance owns the triangles of its ``nodes``, of its ``faces`` (ranges, first included, last not, of the
loaded triangles), or of both. ``outline`` holds (x, z) corners in the world frame, metres, counter-clockwise
seen from above.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from envs.scenes.scene import NO_INSTANCE, Instance, Room, Scene
from poma3d.errors import FileError
from poma3d.files import write_text

SUFFIX = ".semantics.json"
_INDEXED = re.compile(r"(?P<category>.*[^\W\d_].*?)[._](?P<index>\d+)")
_NO_CATEGORY = {
    "default",
    "geometry",
    "group",
    "material",
    "mesh",
    "node",
    "object",
    "polygon",
    "primitive",
    "root",
}
_NO_CATEGORY |= {"scene", "world"}


def category_of(node: str) -> str | None:
    """The category in a node's name: ``sofa`` of ``sofa.00`` or ``Sofa_1``; None: no index or meaning."""
    match = _INDEXED.fullmatch(node.strip())
    category = match["category"].strip().lower() if match else None
    return None if category in _NO_CATEGORY else category


def instances_from_names(nodes: list[str], node_of: np.ndarray) -> tuple[tuple[Instance, ...], np.ndarray]:
    """Instances told by the names of nodes, a node each.

    A name without an index counts where another node has the same name with one: exporters leave the first
    unnumbered.

    Args:
        nodes: names, each once.
        node_of: (M,) index of every triangle's node.

    Returns:
        The instances in the order of the nodes, and the instance (M,) int32 of every triangle.
    """
    categories = [category_of(node) for node in nodes]
    known = {category for category in categories if category}
    instances: list[Instance] = []
    instance_of_node = np.full(len(nodes), NO_INSTANCE, np.int32)
    for index, (node, category) in enumerate(zip(nodes, categories, strict=True)):
        if category is None and node.strip().lower() in known:
            category = node.strip().lower()
        if category is not None:
            instance_of_node[index] = len(instances)
            instances.append(Instance(node, category))
    return tuple(instances), instance_of_node[node_of]


def read_semantics(
    path: Path, nodes: list[str], node_of: np.ndarray
) -> tuple[tuple[Instance, ...], tuple[Room, ...], np.ndarray]:
    """Instances and rooms of a ``.semantics.json``, and the instance (M,) int32 of every triangle.

    Args:
        path: the file.
        nodes: names of the mesh's nodes.
        node_of: (M,) index of every triangle's node.

    Raises:
        FileError: not JSON, a field is missing or of another type, a node or a triangle that the mesh does
            not have.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise FileError(path, f"a JSON object was expected, but it is not JSON ({error})") from error
    index_of = {node: index for index, node in enumerate(nodes)}
    ids = np.full(len(node_of), NO_INSTANCE, np.int32)
    instances: list[Instance] = []
    try:
        for entry in data["instances"]:
            name = str(entry["name"])
            if any(name == other.name for other in instances):
                raise FileError(path, f"two instances are called {name!r}; each name was expected once")
            for node in entry.get("nodes", ()):
                if node not in index_of:
                    raise FileError(
                        path, f"instance {name!r} names the node {node!r}, which the mesh has not"
                    )
                ids[node_of == index_of[node]] = len(instances)
            for start, stop in entry.get("faces", ()):
                if not 0 <= start <= stop <= len(ids):
                    raise FileError(
                        path, f"instance {name!r} names triangles {start}..{stop} of a mesh of {len(ids)}"
                    )
                ids[start:stop] = len(instances)
            instances.append(Instance(name, str(entry["category"]).lower(), entry.get("room")))
        rooms = tuple(_room(entry, path) for entry in data.get("rooms", ()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(path, f"instances and rooms were expected as documented, found {error!r}") from error
    return tuple(instances), rooms, ids


def write_semantics(scene: Scene, nodes: dict[int, str], path: Path) -> None:
    """Write the instances and rooms of a scene; instance ``i`` is the node ``nodes[i]`` of its mesh file."""
    data: dict[str, Any] = {
        "instances": [
            {
                "name": instance.name,
                "category": instance.category,
                "room": instance.room,
                "nodes": [nodes[index]] if index in nodes else [],
            }
            for index, instance in enumerate(scene.instances)
        ],
        "rooms": [
            {
                "name": room.name,
                "category": room.category,
                "outline": np.asarray(room.outline, dtype=np.float64).tolist(),
                "floor_height": float(room.floor_height),
            }
            for room in scene.rooms
        ],
    }
    write_text(path, json.dumps(data, indent=1) + "\n")


def _room(entry: dict[str, Any], path: Path) -> Room:
    outline = np.asarray(entry["outline"], dtype=np.float64)
    if outline.ndim != 2 or outline.shape[1] != 2 or len(outline) < 3 or not np.isfinite(outline).all():
        raise FileError(path, f"room {entry['name']!r}: 3 or more finite (x, z) corners were expected")
    return Room(
        str(entry["name"]), str(entry["category"]).lower(), outline, float(entry.get("floor_height", 0.0))
    )
