"""Habitat's stage configuration: which way is up in a mesh file, which way is front, and how long a unit is.

Read as habitat-sim reads ``NAME.stage_config.json`` and the ``stages.default_attributes`` of a
``*.scene_dataset_config.json`` ("Using JSON files to configure attributes" in its documentation, MIT).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from poma3d.errors import FileError

STAGE_SUFFIX = ".stage_config.json"
DATASET_SUFFIX = ".scene_dataset_config.json"


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        FileError: the file is missing or holds no JSON object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise FileError(path, f"a JSON object was expected, but it is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise FileError(path, f"a JSON object was expected, found {type(content).__name__}")
    return content


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The stage's attributes in a ``.stage_config.json``, or the default ones in a
    ``.scene_dataset_config.json``.

    Raises:
        FileError: the file is missing or holds no JSON object.
    """
    config = read_json_object(path)
    if str(path).endswith(DATASET_SUFFIX):
        stages = config.get("stages", {})
        config = stages.get("default_attributes", {}) if isinstance(stages, dict) else None
    if not isinstance(config, dict):
        raise FileError(path, "a JSON object of stage attributes was expected")
    return config


def world_from_file(config: Mapping[str, Any], origin: str | os.PathLike[str]) -> np.ndarray:
    """The transform (4, 4) float64 from a file's axes and units to Habitat's world (y up, front -z, metres).

    Args:
        config: attributes ``up`` (default +y), ``front`` (-z), ``units_to_meters`` (1) and ``scale`` (1, or
            one factor for each world axis).
        origin: what errors name as the place of the attributes.

    Raises:
        FileError: a vector is none, up and front are not perpendicular, or a factor is not above 0.
    """
    up = _vector(config, "up", [0, 1, 0], origin)
    front = _vector(config, "front", [0, 0, -1], origin)
    for name, vector in (("up", up), ("front", front)):
        length = np.linalg.norm(vector)
        if not length > 0:
            raise FileError(origin, f"{name!r} is a vector of length 0; a direction was expected")
        vector /= length
    if abs(up @ front) > 1e-3:
        raise FileError(
            origin, f"'up' {up.tolist()} and 'front' {front.tolist()} were expected to be perpendicular"
        )
    units = _vector(config, "units_to_meters", 1.0, origin)
    factors = _vector(config, "scale", 1.0, origin) * units
    if not (factors > 0).all():
        raise FileError(
            origin, f"'scale' times 'units_to_meters' is {factors.tolist()}; above 0 was expected"
        )
    transform = np.eye(4)
    transform[:3, :3] = factors[:, None] * np.stack([np.cross(front, up), up, -front])
    return transform


def _vector(config: Mapping[str, Any], name: str, default: Any, origin: str | os.PathLike[str]) -> np.ndarray:
    """Attribute ``name`` as (3,) float64; a single number stands for all three."""
    value = config.get(name, default)
    try:
        vector = np.array(value, dtype=np.float64)
        if vector.shape not in ((), (3,)) or not np.isfinite(vector).all():
            raise ValueError(name)
    except (TypeError, ValueError):
        raise FileError(origin, f"{name!r} is {value!r}; finite numbers were expected") from None
    if vector.shape == () and name in ("up", "front"):
        raise FileError(origin, f"{name!r} is {value!r}; a vector of 3 numbers was expected")
    return np.array(np.broadcast_to(vector, (3,)))
