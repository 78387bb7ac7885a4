"""Which ``.navmesh`` file a scene is walked on: from what a person gives for all scenes to the file of one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from envs.scenes.scene import Scene
from envs.simulators.walkable.detour_file import read_navmesh
from envs.simulators.walkable.surface import NavmeshSurface
from poma3d.errors import FileError, SettingError

BESIDE = "beside"
"""Take the file that a scene's data set keeps for it, such as ``NAME.navmesh`` beside ``NAME.glb``."""
_MARGIN = 0.5
"""A navmesh may reach this much beyond its scene, metres."""
_LEAST_INSIDE = 0.9

NavmeshChoice = str | os.PathLike[str]
"""A file, a folder that holds ``NAME.navmesh`` for each scene, or ``beside``."""


def navmesh_file(choice: NavmeshChoice, scene: str | os.PathLike[str]) -> Path:
    """The file of one scene.

    Args:
        choice: a file, a folder, or ``beside``.
        scene: the file of the scene.

    Raises:
        FileError: there is none; the message says where it was looked for.
        SettingError: ``beside`` what is no file.
    """
    from envs.scenes.datasets.navmesh import navmesh_of
    from envs.scenes.datasets.stage import plain_name

    path = Path(scene)
    if os.fspath(choice) == BESIDE:
        if not path.is_file():
            raise SettingError(
                f"no navmesh lies beside {os.fspath(scene)!r}, which is no file; name one instead"
            )
        found = navmesh_of(path)
        if found is None:
            raise FileError(
                path,
                f"has no navmesh beside it: {path.stem}.navmesh was expected; without it, leave navmesh out",
            )
        return found
    chosen = Path(choice)
    if not chosen.is_dir():
        return chosen
    names = [f"{stem}.navmesh" for stem in dict.fromkeys((path.stem, plain_name(path)))]
    for name in names:
        if (chosen / name).is_file():
            return chosen / name
    raise FileError(chosen, f"holds no navmesh of {path.name}: {' or '.join(names)} was expected")


def chosen_surface(choice: NavmeshChoice, scene: Scene) -> NavmeshSurface:
    """The surface of Habitat's navmesh of a scene.

    Raises:
        FileError: there is none, it is damaged, or it is that of another scene.
        SettingError: ``beside`` what is no file.
    """
    file = navmesh_file(choice, scene.metadata.get("source", scene.scene_id))
    navmesh = read_navmesh(file)
    low, high = scene.bounds
    inside = ((navmesh.vertices > low - _MARGIN) & (navmesh.vertices < high + _MARGIN)).all(axis=1)
    if np.mean(inside) < _LEAST_INSIDE:
        own = navmesh.vertices.min(axis=0), navmesh.vertices.max(axis=0)
        boxes = [f"{np.round(a, 1).tolist()} to {np.round(b, 1).tolist()}" for a, b in (own, (low, high))]
        raise FileError(
            file,
            f"is not the navmesh of {scene.scene_id}, or that is loaded with other axes: it reaches from"
            f" {boxes[0]} m, the scene from {boxes[1]} m",
        )
    return NavmeshSurface(navmesh)
