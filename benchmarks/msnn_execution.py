"""Executing a direction: the agent turns that way and walks, and the way left to the goal says what it was worth.

A class that is wrong by one can still lead nearer, and one that is right can end at a wall: accuracy knows neither.
The agent walks straight for one metre, sliding along what it meets, as the simulator moves every body; progress is
what that took off the geodesic distance to the goal. Needs the scene and the goal, so files of others, which name
object ids of scans that are not here, are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from envs.embodiment import AgentSpec
from envs.msnn import MsnnSample
from envs.msnn.goals import goal_of
from envs.msnn.names import Names
from envs.msnn.settings import MsnnSettings
from envs.scenepoint_export.sightings import Boxes
from envs.simulators.open import open_scene
from envs.simulators.raycast import RaycastSimulator
from envs.simulators.walkable.build import build_navmesh
from envs.simulators.walkable.surface import NavmeshSurface
from poma3d.errors import SettingError, UserError

WALK = 1.0
"""How far the agent walks, metres."""
_STEP = 0.25
NEARER = 0.05
"""Progress from which a walk counts as leading nearer, metres."""


@dataclass(frozen=True)
class Executed:
    """The walks of one sample in each of eight directions, and in each of four."""

    progress: Mapping[int, np.ndarray]
    """By the number of directions, (directions,) metres taken off the way to the goal; NaN where it is not known."""
    geodesic: float
    """Way to the goal from where the agent stands, metres."""


def executable(samples: Sequence[MsnnSample]) -> list[int]:
    """Places of the samples whose scene and goal the file tells."""
    return [
        k
        for k, sample in enumerate(samples)
        if isinstance(sample.meta_data.get("scene_id"), str)
        and isinstance((sample.meta_data.get("goal") or {}).get("instance"), int)
    ]


def execute_directions(
    samples: Sequence[MsnnSample],
    *,
    scenes_dir: str | None = None,
    on_scene: Callable[[str], None] = lambda scan: None,
) -> tuple[dict[int, Executed], dict[str, str]]:
    """Walk in all directions of the samples that can be executed, each scene opened once.

    Returns:
        By the place of each sample what came of it, and the scenes that could not be opened, with why.
    """
    by_scene: dict[str, list[int]] = {}
    for k in executable(samples):
        by_scene.setdefault(samples[k].meta_data["scene_id"], []).append(k)
    found: dict[int, Executed] = {}
    problems: dict[str, str] = {}
    for scene_id in sorted(by_scene):
        try:
            found |= _execute_scene(scene_id, {k: samples[k] for k in by_scene[scene_id]}, scenes_dir)
        except UserError as error:
            problems[scene_id] = str(error)
        on_scene(scene_id)
    return found, problems


def _execute_scene(
    scene_id: str, samples: Mapping[int, MsnnSample], scenes_dir: str | None
) -> dict[int, Executed]:
    scene, agent, settings = open_scene(scene_id, scenes_dir), AgentSpec(), MsnnSettings()
    navmesh = build_navmesh(scene.vertices, scene.triangles, agent.navmesh_settings)
    with RaycastSimulator(scene, agent, surface=NavmeshSurface(navmesh), threads=1) as simulator:
        names, boxes, surface = Names(scene), Boxes(scene), simulator.surface
        goals = {}
        found = {}
        for k, sample in samples.items():
            instance = sample.meta_data["goal"]["instance"]
            if instance not in goals:
                name = names.of(instance) if 0 <= instance < len(scene.instances) else None
                if name is None:
                    raise SettingError(
                        f"{scene_id}: sample {sample.sample_id} has the goal {instance}, which is none"
                    )
                goals[instance] = goal_of(simulator, instance, name, boxes, settings)
            goal = goals[instance]
            if goal is None:
                continue
            start = np.asarray(sample.world_position, np.float64)
            before = float(goal.field.distance(start[None])[0])
            ends = _walk(surface, start, sample.yaw)
            after = np.asarray(goal.field.distance(ends), np.float64)  # (8,)
            progress = np.where(np.isfinite(after), before - after, np.nan)
            found[k] = Executed({8: progress, 4: progress[::2]}, before)
        return found


def _walk(surface, start: np.ndarray, yaw: float) -> np.ndarray:
    """Where walks (8, 3) in the eight directions end, world frame."""
    angles = yaw + np.arange(8) * (math.pi / 4)
    step = (
        np.stack([np.cos(angles), np.zeros(8), -np.sin(angles)], -1) * _STEP
    )  # scene's (x, y) is world's (x, -z)
    at = np.tile(start, (8, 1))
    for _ in range(round(WALK / _STEP)):
        at = np.asarray(surface.try_step(at, at + step))
    return at
