"""What the objects and rooms of a scan are: the files that habitat-sim calls semantic scene descriptors.

Their kind is told by their content, as habitat-sim does (``SemanticScene.cpp``, MIT): HM3D and Matterport3D
by their first line, the JSON ones by having ``classes`` (Replica) or only ``objects`` (Gibson).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from envs.scenes.scene import Instance, Room
from poma3d.errors import FileError

NO_CATEGORY = frozenset({"", "unknown", "unlabeled", "unlabelled", "undefined", "unannotated", "void"})
"""Names under which annotators put what is no object."""


@dataclass(frozen=True)
class Annotations:
    """The objects and rooms that a descriptor names."""

    instances: dict[int, Instance]
    """By the id that the semantic mesh uses; what is no object is left out."""
    colours: dict[int, int] | None = None
    """Ids by colour (0xRRGGBB), where the semantic mesh is painted (HM3D)."""
    boxes: tuple[RoomBox, ...] = ()
    """The rooms, where the descriptor knows their extent, in the axes of the data set's files."""


@dataclass(frozen=True)
class RoomBox:
    """A room as an upright box in the axes of a data set's files, metres."""

    name: str
    category: str
    corners: np.ndarray = field(repr=False)
    """(2, 3): lowest and highest corner."""

    def room(self, world_from_file: np.ndarray) -> Room:
        """The room in the world: a rectangle at the height of the box's bottom."""
        low, high = self.corners
        both = np.stack([low, high]) @ world_from_file[:3, :3].T + world_from_file[:3, 3]
        (x0, y, z0), (x1, _, z1) = both.min(axis=0), both.max(axis=0)
        outline = np.array([[x0, z0], [x0, z1], [x1, z1], [x1, z0]])
        return Room(self.name, self.category, outline, float(y))


def instance(category: str, identifier: int, room: str | None = None) -> Instance | None:
    """An object named as HM3D's episodes name it, ``chair_12``; None for what is no object."""
    category = category.strip().lower()
    if category in NO_CATEGORY:
        return None
    return Instance(f"{category}_{identifier}", category, room)


def read_annotations(path: Path) -> Annotations:
    """Read a descriptor of any of the four kinds.

    Raises:
        FileError: it is missing, of another kind, or damaged; the message says in which line or entry.
    """
    from envs.scenes.datasets import gibson, hm3d, mp3d, replica

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise FileError(path, f"is no text ({error}); a semantic description was expected") from None
    first = text.split("\n", 1)[0].strip()
    if hm3d.HEADER in first:
        return hm3d.parse(path, text)
    if first == mp3d.HEADER:
        return mp3d.parse(path, text)
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if isinstance(content, dict) and isinstance(content.get("classes"), list):
        return replica.parse(path, content)
    if isinstance(content, dict) and isinstance(content.get("objects"), list):
        return gibson.parse(path, content)
    raise FileError(
        path,
        f"is no semantic description that is known: it begins with {first[:40]!r}, expected were"
        f" {hm3d.HEADER!r} (HM3D), {mp3d.HEADER!r} (Matterport3D), or JSON with 'classes' (Replica) or"
        " 'objects' (Gibson)",
    )
