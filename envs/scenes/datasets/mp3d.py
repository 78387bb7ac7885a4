"""Matterport3D's ``NAME.house``: categories, regions and objects in lines of words.

``ASCII 1.1``, then lines that begin with their kind (Matterport3D's ``data_organization.md``; read as
habitat-sim's ``Mp3dSemanticScene.cpp``, MIT, does): ``C`` a category, ``R`` a region with its box, ``O`` an
object with its region and category, ``E`` a segment with its object. Categories are those of mpcat40.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from envs.scenes.datasets.annotations import Annotations, RoomBox, instance
from envs.scenes.scene import Instance
from poma3d.errors import FileError

HEADER = "ASCII 1.1"
"""How the file begins."""

REGIONS = {
    "a": "bathroom", "b": "bedroom", "c": "closet", "d": "dining room", "e": "entryway", "f": "family room",
    "g": "garage", "h": "hallway", "i": "library", "j": "laundry room", "k": "kitchen", "l": "living room",
    "m": "meeting room", "n": "lounge", "o": "office", "p": "porch", "r": "recreation room", "s": "stairs",
    "t": "toilet", "u": "utility room", "v": "tv room", "w": "gym", "x": "outdoor", "y": "balcony",
    "z": "other room", "B": "bar", "C": "classroom", "D": "dining booth", "S": "spa", "Z": "junk",
}  # fmt: skip
"""The kinds of rooms by Matterport's letters."""


def parse(path: Path, text: str) -> Annotations:
    """Read the text of the file ``path``.

    Raises:
        FileError: a line of another form, or an object of a category or region that is not there.
    """
    categories: dict[int, str] = {}
    regions: dict[int, RoomBox] = {}
    objects: list[tuple[int, int, int]] = []
    for number, line in enumerate(text.splitlines()[1:], start=2):
        words = line.split()
        try:
            if line.startswith("C"):
                categories[int(words[1])] = words[5].replace("#", " ").replace("_", " ")
            elif line.startswith("R"):
                index = int(words[1])
                kind = REGIONS.get(words[5], "other room")
                corners = np.array([float(word) for word in words[9:15]]).reshape(2, 3)
                if not np.isfinite(corners).all():
                    raise ValueError(line)
                regions[index] = RoomBox(f"{kind}_{index}", kind, np.sort(corners, axis=0))
            elif line.startswith("O"):
                objects.append((int(words[1]), int(words[2]), int(words[3])))
        except (ValueError, IndexError):
            raise FileError(
                path, f"line {number} is not what a line {line[:1]!r} of a .house holds: {line[:60]!r}"
            ) from None
    instances: dict[int, Instance] = {}
    for identifier, region, category in objects:
        if (category >= 0 and category not in categories) or (region >= 0 and region not in regions):
            raise FileError(
                path, f"object {identifier} has category {category} and region {region}: one is not there"
            )
        room = regions[region].name if region >= 0 else None
        found = instance(categories.get(category, ""), identifier, room)
        if found is not None:
            instances[identifier] = found
    return Annotations(instances, boxes=tuple(regions.values()))
