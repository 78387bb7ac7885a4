"""Replica's ``info_semantic.json``: ``{"classes": [{"id", "name"}], "objects": [{"id", "class_id"}]}``.

Read as habitat-sim's ``ReplicaSemanticScene.cpp`` (MIT) does; ReplicaCAD's has classes alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envs.scenes.datasets.annotations import Annotations, instance
from poma3d.errors import FileError


def parse(path: Path, content: Mapping[str, Any]) -> Annotations:
    """Read the content of the file ``path``.

    Raises:
        FileError: a class or an object without its fields.
    """
    try:
        names = {int(entry["id"]): str(entry["name"]) for entry in content["classes"]}
        instances = {}
        for entry in content.get("objects", ()):
            found = instance(names.get(int(entry["class_id"]), "").replace("-", " "), int(entry["id"]))
            if found is not None:
                instances[int(entry["id"])] = found
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(
            path, f"classes with id and name, objects with id and class_id were expected, found {error!r}"
        ) from None
    return Annotations(instances)
