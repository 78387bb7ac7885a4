"""Directions carried out: the oracle's answer from the geometry, and how much nearer a predicted direction leads."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.episodes.view_points import scene_of
from envs.msnn.goals import Goal, goal_of, way_to
from envs.msnn.names import Name, Names
from envs.msnn.sample import MsnnSample
from envs.msnn.settings import MsnnSettings
from envs.scenepoint_export.sightings import Boxes
from envs.simulators.protocol import Simulator
from poma3d.errors import EpisodeError

STEPS = 4
"""Steps walked in a predicted direction: one metre with the default body."""


@dataclass(frozen=True)
class Progress:
    """What a walk in one direction brings."""

    before: float
    """Geodesic distance to the goal at the sample's place, metres."""
    after: float
    """The same at the end of the walk, metres."""
    moved: float
    """How far the end of the walk is from its start, metres; less than it was long where walls held it back."""

    @property
    def progress(self) -> float:
        """Metres nearer; negative where it leads away."""
        return self.before - self.after

    @property
    def nearer(self) -> bool:
        """Whether the end is at least 5 cm nearer to the goal."""
        return self.progress >= 0.05


class SampleExecutor:
    """Carries out directions in one scene.

    Args:
        simulator: the scene, with its objects; samples must be of it.
        settings: those that the samples were generated with, for the places at which goals are reached.

    Raises:
        SettingError: the simulator keeps no scene, or one without objects.
    """

    def __init__(self, simulator: Simulator, settings: MsnnSettings | None = None) -> None:
        self._simulator = simulator
        self._settings = settings or MsnnSettings()
        scene = scene_of(simulator)
        self._boxes, self._names = Boxes(scene), Names(scene)
        self._goals: dict[int, Goal] = {}

    def goal(self, sample: MsnnSample) -> Goal:
        """The goal of a sample.

        The object is found by the name that the sample's goal has in its sentence, so an ambiguous name is refused.

        Raises:
            EpisodeError: the sample does not say what its goal is, or the scene has no one such object within reach.
        """
        where = f"sample {sample.sample_id!r} of {sample.scan_id!r}"
        told = sample.meta_data.get("goal")
        if not isinstance(told, dict) or not {"category", "name"} <= set(told):
            raise EpisodeError(
                f"{where}: its meta_data names no goal object, so nothing can be walked to; only generated samples can"
                " be carried out"
            )
        category, _, room = str(told["name"]).removeprefix("the ").partition(" in the ")
        name = Name(str(told["category"]), room or None)
        bearers = self._names.bearers(name)
        if len(bearers) != 1:
            raise EpisodeError(
                f"{where}: {self._simulator.scene_id} has {len(bearers)} objects called {category!r}"
            )
        if bearers[0] not in self._goals:
            goal = goal_of(self._simulator, bearers[0], name, self._boxes, self._settings)
            if goal is None:
                raise EpisodeError(f"{where}: its goal, {told['name']}, cannot be reached")
            self._goals[bearers[0]] = goal
        return self._goals[bearers[0]]

    def oracle_angle(self, sample: MsnnSample) -> float:
        """The answer from the geometry, degrees in [0, 360): what the sample's angle must be.

        Raises:
            EpisodeError: as `goal`, or there is no way.
        """
        straight = sample.meta_data.get("path") == "straight"
        way = way_to(self.goal(sample), sample.world_position, straight=straight)
        if not math.isfinite(way.length):
            raise EpisodeError(
                f"sample {sample.sample_id!r} of {sample.scan_id!r}: there is no way to its goal"
            )
        return math.degrees(way.angle - sample.yaw) % 360.0

    def execute(self, sample: MsnnSample, angle: float, steps: int = STEPS) -> Progress:
        """Walk from the sample's place in a direction, sliding along walls as Habitat's agent does.

        Args:
            sample: where the walk begins and which goal counts.
            angle: degrees against the sample's heading, positive to the left (`envs.msnn.sample.label_angle`).
            steps: of the body's step length.

        Raises:
            EpisodeError: as `goal`.
        """
        field, surface = self.goal(sample).field, self._simulator.surface
        yaw = sample.yaw + math.radians(angle)
        step = self._simulator.agent.forward_step * np.array([math.cos(yaw), 0.0, -math.sin(yaw)])
        start = at = sample.world_position[None]
        for _ in range(steps):
            at = np.asarray(surface.try_step(at, at + step), dtype=np.float64)
        before, after = np.asarray(field.distance(np.concatenate([start, at]))).tolist()
        return Progress(before, after, float(np.linalg.norm(at - start)))
