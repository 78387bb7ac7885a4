"""Which way is up in a mesh file about which no configuration says anything.

Habitat takes every bare ``.glb`` for z-up, since Matterport's scans are; the glTF specification says y-up.
Here a bare file is y-up unless it belongs to a published data set of scans (by the names of its folders or by
what lies beside it), or the ``.navmesh`` beside it, which always is y-up, only fits when it is turned.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from envs.scenes.stage_config import STAGE_SUFFIX
from poma3d.errors import FileError, SceneWarning

Z_UP: dict[str, Any] = {"up": [0, 0, 1], "front": [0, 1, 0]}
"""Stage attributes of Matterport's and Gibson's scans."""
_SCAN_FOLDERS = {
    "hm3d",
    "hm3d_v0.2",
    "mp3d",
    "matterport3d",
    "gibson",
    "gibson_semantic",
    "habitat-test-scenes",
}
_SCAN_FOLDERS |= {"habitat_test_scenes", "mp3d_example", "gibson_train_val", "replica", "replica_dataset"}
_SCAN_FILES = (".house", ".scn", ".ids")
_MARGIN = 0.5
"""A navmesh may reach this much farther than its mesh, metres."""
_TALL = 6.0
"""Few indoor scenes are higher, metres: two storeys with their roof."""


def belongs_to_scans(mesh: Path) -> bool:
    """Whether the names around a mesh are those of HM3D, Matterport3D, Gibson, Replica or Habitat's tests."""
    folders = {part.lower() for part in mesh.resolve().parts[:-1][-5:]}
    beside = any(mesh.with_name(mesh.stem + ending).is_file() for ending in _SCAN_FILES)
    return (
        mesh.name.endswith((".basis.glb", ".semantic.glb", "mesh_semantic.ply"))
        or beside
        or bool(folders & _SCAN_FOLDERS)
    )


def frame_by_convention(mesh: Path, navmesh: Path | None, bounds: np.ndarray) -> dict[str, Any]:
    """Stage attributes for a bare mesh file.

    Args:
        mesh: the mesh file.
        navmesh: Habitat's navmesh of it, where there is one.
        bounds: (2, 3) lowest and highest corner of the mesh in the file's axes.
    """
    scans = belongs_to_scans(mesh)
    if navmesh is not None:
        low, high = bounds
        turned = np.array([[low[0], low[2], -high[1]], [high[0], high[2], -low[1]]])  # (x, z, -y)
        fits_up, fits_turned = (fits(navmesh, box) for box in (bounds, turned))
        if fits_up != fits_turned:
            scans = fits_turned
    return dict(Z_UP) if scans else {}


def fits(navmesh: Path, bounds: np.ndarray) -> bool:
    """Whether a navmesh lies within a box (2, 3); False too where its file cannot be read."""
    from envs.simulators.walkable.detour_file import read_navmesh

    try:
        own = read_navmesh(navmesh).vertices
    except FileError:
        return False
    return bool((own >= bounds[0] - _MARGIN).all() and (own <= bounds[1] + _MARGIN).all())


def warn_if_on_its_side(bounds: np.ndarray, mesh: Path) -> None:
    """Ask about the axes of a mesh that stands higher than houses do, and higher than it is wide or deep.

    A mesh whose z points up, taken for y-up, is walked on its walls, and all seems well.

    Args:
        bounds: (2, 3) lowest and highest corner in the world, y up, metres.
        mesh: its file, about whose axes nothing says anything.

    Warns:
        SceneWarning: the question, and how to answer it.
    """
    width, height, depth = bounds[1] - bounds[0]
    if height > _TALL and height > min(width, depth):
        config = mesh.with_suffix("").name + STAGE_SUFFIX
        warnings.warn(
            f"{mesh} is {height:.1f} m tall and {width:.1f} m by {depth:.1f} m wide; is its up axis y, and its"
            f" unit metres? A file {config} beside it says which, such as {json.dumps(Z_UP)} for z",
            SceneWarning,
            stacklevel=4,
        )
