"""Gibson's ``NAME.scn``: JSON with the objects of 3DSceneGraph, ``{"objects": [{"class_": ..., "id": ...}]}``.

Written by habitat-sim's ``tools/npz2scn.py`` and read as its ``GibsonSemanticScene.cpp`` (MIT) does.
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
        FileError: an object without ``id`` or ``class_``.
    """
    instances = {}
    for number, entry in enumerate(content["objects"]):
        if not isinstance(entry, dict) or type(entry.get("id")) is not int or "class_" not in entry:
            raise FileError(path, f"object {number}: 'id' and 'class_' were expected, found {entry!r:.80}")
        found = instance(str(entry["class_"]), entry["id"])
        if found is not None:
            instances[entry["id"]] = found
    return Annotations(instances)
