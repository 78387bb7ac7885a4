"""From the names of scans to scenes that can be opened."""

from __future__ import annotations

import re
from collections.abc import Sequence

from envs.episodes.locate import PROCEDURAL_PREFIX
from envs.msnn.sample import MsnnSample
from envs.scene_choice import scene_id_of
from envs.scenepoint_export.export import scan_id_of
from envs.simulators.open import SceneSpec
from poma3d.errors import EpisodeError

_PROCEDURAL = re.compile(r"procedural_(train|val|test)_(0\d+)")


def scene_of_scan(sample: MsnnSample, scenes: Sequence[SceneSpec] = ()) -> SceneSpec:
    """The scene of a sample: one of those given that has its name, a procedural house, or what its meta_data says.

    Args:
        sample: whose scene is wanted.
        scenes: mesh files, ids or scenes to look among first.

    Raises:
        EpisodeError: there is none.
    """
    for scene in scenes:
        if scan_id_of(scene_id_of(scene)) == sample.scan_id:
            return scene
    match = _PROCEDURAL.fullmatch(sample.scan_id)
    if match is not None:
        return f"{PROCEDURAL_PREFIX}{match[1]}:{match[2]}"
    if isinstance(scene := sample.meta_data.get("scene_id"), str):
        return scene
    raise EpisodeError(
        f"sample {sample.sample_id!r}: its scene {sample.scan_id!r} is none of those given; name the mesh file"
        f" {sample.scan_id}.glb (scene, --scene)"
    )
