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
    names: set[str] = set()
    for number, entry in enumerate(_entries(data, "instances", path)):
        name, category = _texts(entry, f"instances[{number}]", path)
        if name in names:
            raise FileError(path, f"two instances are called {name!r}; each name was expected once")
        names.add(name)
        for node in _listed(entry, "nodes", f"instances[{number}]", path):
            if not isinstance(node, str) or node not in index_of:
                raise FileError(path, f"instance {name!r} names the node {node!r}, which the mesh has not")
            ids[node_of == index_of[node]] = number
        for span in _listed(entry, "faces", f"instances[{number}]", path):
            if not isinstance(span, list) or [type(end) for end in span] != [int, int]:
                raise _malformed(path, f"instances[{number}]: 'faces' holds {span!r}")
            start, stop = span
            if not 0 <= start <= stop <= len(ids):
                raise FileError(
                    path, f"instance {name!r} names triangles {start}..{stop} of a mesh of {len(ids)}"
                )
            ids[start:stop] = number
        room = entry.get("room")
        if room is not None and not isinstance(room, str):
            raise _malformed(path, f"instances[{number}]: 'room' is {room!r}")
        instances.append(Instance(name, category, room))
    listed = _entries(data, "rooms", path, needed=False)
    rooms = tuple(_room(entry, f"rooms[{number}]", path) for number, entry in enumerate(listed))
    return tuple(instances), rooms, ids


def _malformed(path: Path, found: str) -> FileError:
    """The refusal of something of another form, with the form in a sentence."""
    return FileError(
        path,
        f'{found}; expected is {{"instances": [...], "rooms": [...]}}, where an instance has a name, a'
        " category and perhaps room (a name), nodes (names) and faces ([first, end] of triangles), and a room a"
        " name, a category, an outline of [x, z] corners and perhaps a floor_height",
    )


def _entries(data: Any, key: str, path: Path, *, needed: bool = True) -> list[dict[str, Any]]:
    """The objects listed under ``key``."""
    if not isinstance(data, dict):
        raise _malformed(path, f"the file holds no JSON object but a {type(data).__name__}")
    if key not in data and needed:
        raise _malformed(path, f"the list {key!r} is missing")
    entries = data.get(key, [])
    if not isinstance(entries, list):
        raise _malformed(path, f"{key!r} is no list but a {type(entries).__name__}")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise _malformed(path, f"{key}[{number}] is no object but {entry!r}")
    return entries


def _texts(entry: dict[str, Any], where: str, path: Path) -> tuple[str, str]:
    """The name and the category in lower case of an instance or a room."""
    for key in ("name", "category"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            found = f"{key!r} is {entry[key]!r}" if key in entry else f"{key!r} is missing"
            raise _malformed(path, f"{where}: {found}")
    return entry["name"], entry["category"].lower()


def _listed(entry: dict[str, Any], key: str, where: str, path: Path) -> list[Any]:
    """An optional list of an entry."""
    value = entry.get(key, [])
    if not isinstance(value, list):
        raise _malformed(path, f"{where}: {key!r} is {value!r}")
    return value


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


def _room(entry: dict[str, Any], where: str, path: Path) -> Room:
    name, category = _texts(entry, where, path)
    height = entry.get("floor_height", 0.0)
    try:
        outline, floor = np.asarray(entry.get("outline"), dtype=np.float64), float(height)
    except (TypeError, ValueError):
        raise _malformed(path, f"{where}: its outline or its floor_height holds what is no number") from None
    if outline.ndim != 2 or outline.shape[1] != 2 or len(outline) < 3 or not np.isfinite(outline).all():
        raise FileError(path, f"room {name!r}: 3 or more finite (x, z) corners were expected")
    if not np.isfinite(floor):
        raise _malformed(path, f"{where}: 'floor_height' is {height!r}")
    return Room(name, category, outline, floor)
