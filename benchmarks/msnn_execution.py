"""What directions are worth when they are walked: each sample's scene is opened, and the agent walks in all eight.

A class that is wrong by one can still lead nearer, and one that is right can end at a wall: accuracy knows neither. The
walk and the way that is left are `envs.msnn.execute`'s. Samples of files that do not say what their goal is, as the
authors' do not in a way that a mesh could answer, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from envs.embodiment import AgentSpec
from envs.msnn import DIRECTIONS, MsnnSample, label_angle
from envs.msnn.execute import SampleExecutor
from envs.msnn.scans import scene_of_scan
from envs.simulators.open import SceneSpec, open_scene
from envs.simulators.raycast import RaycastSimulator
from envs.simulators.walkable.build import build_navmesh
from envs.simulators.walkable.surface import NavmeshSurface
from poma3d.errors import EpisodeError, UserError


@dataclass(frozen=True)
class Executed:
    """The walks of one sample in every direction."""

    progress: Mapping[int, np.ndarray]
    """By the number of directions, (directions,) metres nearer to the goal."""
    nearer: Mapping[int, np.ndarray]
    """(directions,) bool: at least 5 cm nearer."""


def execute_directions(
    samples: Sequence[MsnnSample],
    scenes: Sequence[SceneSpec] = (),
    *,
    scenes_dir: str | None = None,
    on_scene: Callable[[str], None] = lambda scan: None,
) -> tuple[dict[int, Executed], dict[str, str]]:
    """Walk in all directions of the samples that can be carried out, each scene opened once.

    Args:
        samples: of any scenes.
        scenes: mesh files, ids or scenes in which samples' scenes are looked for first.
        scenes_dir: where relative paths are looked for.
        on_scene: told of each scene that is done.

    Returns:
        By the place of each sample what came of it; and by scene, or scene and sample, why there is nothing.
    """
    groups: dict[str, list[int]] = {}
    for k, sample in enumerate(samples):
        groups.setdefault(sample.scan_id, []).append(k)
    found: dict[int, Executed] = {}
    problems: dict[str, str] = {}
    for scan in sorted(groups):
        if all("goal" not in samples[k].meta_data for k in groups[scan]):
            problems[scan] = "its samples do not say what their goal is"
        else:
            try:
                spec = scene_of_scan(samples[groups[scan][0]], scenes)
                found |= _execute_scene(spec, {k: samples[k] for k in groups[scan]}, scenes_dir, problems)
            except UserError as error:
                problems[scan] = str(error)
        on_scene(scan)
    return found, problems


def _execute_scene(
    spec: SceneSpec, samples: Mapping[int, MsnnSample], scenes_dir: str | None, problems: dict[str, str]
) -> dict[int, Executed]:
    """The walks of the samples of one scene."""
    scene, agent = open_scene(spec, scenes_dir), AgentSpec()
    # not through the disk cache: hundreds of houses are seen once each
    navmesh = build_navmesh(scene.vertices, scene.triangles, agent.navmesh_settings)
    found = {}
    with RaycastSimulator(scene, agent, surface=NavmeshSurface(navmesh), threads=1) as simulator:
        executor = SampleExecutor(simulator)
        for k, sample in samples.items():
            try:
                walks = [executor.execute(sample, label_angle(label, 8)) for label in range(8)]
            except EpisodeError as error:
                problems[f"{sample.scan_id}/{sample.sample_id}"] = str(error)
                continue
            progress = np.array([walk.progress for walk in walks])
            nearer = np.array([walk.nearer for walk in walks])
            if np.isfinite(progress).all():
                steps = {n: slice(None, None, 8 // n) for n in DIRECTIONS}
                found[k] = Executed(
                    {n: progress[step] for n, step in steps.items()},
                    {n: nearer[step] for n, step in steps.items()},
                )
    return found
