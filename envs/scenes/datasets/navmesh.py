"""Habitat's ``.navmesh`` file of a scene: where data sets keep it."""

from __future__ import annotations

from pathlib import Path

from envs.scenes.datasets.stage import plain_name, stage_of
from envs.scenes.mesh import SCENE_INSTANCE_SUFFIX
from envs.scenes.stage_config import STAGE_SUFFIX, read_json_object


def navmesh_of(scene: Path) -> Path | None:
    """The navmesh that belongs to a scene's file, or None where there is none.

    For a mesh that is the ``nav_asset`` of its configuration, else ``NAME.navmesh`` beside it
    (``NAME.basis.navmesh`` in HM3D); for a composed scene its ``navmesh_instance``, else ``NAME.navmesh``
    beside it or in its data set's folder ``navmeshes``.

    Raises:
        FileError: a configuration is damaged.
    """
    if scene.name.endswith(SCENE_INSTANCE_SUFFIX):
        return _of_composed(scene)
    if scene.name.endswith(STAGE_SUFFIX):
        asset = read_json_object(scene).get("render_asset")
        return stage_of(scene.parent / str(asset), scene).navmesh
    return stage_of(scene).navmesh


def _of_composed(scene: Path) -> Path | None:
    from envs.scenes.datasets.scene_instance import data_set_of

    data_set = data_set_of(scene)
    handle = read_json_object(scene).get("navmesh_instance")
    listed = data_set.config.get("navmesh_instances", {})
    named = listed.get(handle) if isinstance(listed, dict) and isinstance(handle, str) else None
    candidates = [data_set.folder / named] if isinstance(named, str) else []
    name = plain_name(scene)
    candidates += [scene.with_name(f"{name}.navmesh"), scene.with_suffix(".navmesh")]
    candidates.append(data_set.folder / "navmeshes" / f"{name}.navmesh")
    return next((candidate for candidate in candidates if candidate.is_file()), None)
