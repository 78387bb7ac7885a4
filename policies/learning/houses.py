"""The scenes of a training: which are trained in, which are held out, and the episodes of each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from envs.embodiment import AgentSpec, agent_preset
from envs.episodes.dataset import EpisodeFile, encode
from envs.episodes.episode import Episode
from envs.episodes.locate import locate_scene
from envs.episodes.pointnav_generator import pointnav_episode
from envs.pointnav import PointNavEnv
from envs.scene_choice import scene_id_of
from envs.scene_digests import scene_digests
from envs.simulators.open import open_simulator
from envs.simulators.protocol import Simulator
from envs.task_source import body_of, list_scenes, open_source
from policies.learning.run_state import EPISODES
from policies.learning.settings import TrainSettings
from poma3d.errors import SettingError

_EPISODES_PER_SCENE = 1000
"""Generated for environments where none are asked for: more than a training sees of a scene."""


def training_body(size: int, max_steps: int | None = None) -> AgentSpec:
    """The body that policies are trained with: PointNav's, with a camera of ``size`` pixels."""
    return body_of(agent_preset("pointnav-gibson"), size=size, max_steps=max_steps)


class TrainingScenes:
    """Scenes and episodes; episodes are generated from (seed, index) or read from a file.

    Args:
        settings: which scenes, episodes and how many are held out.
        body: the agent.

    Raises:
        UserError: scenes or episodes that are none or not there, or fewer scenes than are to be held out.
    """

    def __init__(self, settings: TrainSettings, body: AgentSpec) -> None:
        self.body = body
        self._seed = settings.seed
        self._recorded: dict[str, list[Episode]] = {}
        self._limit: int | None = None
        if isinstance(settings.episodes, str):
            data, locate = open_source(
                settings.scene, settings.episodes, "raycast", settings.scenes_dir, _none
            )
            for episode in data:
                self._recorded.setdefault(episode.scene_id, []).append(episode)
            scenes = list(self._recorded)
        else:
            specs = {scene_id_of(spec): spec for spec in list_scenes(settings.scene)}
            for (
                name
            ) in specs:  # a file that is not there is told before what the number of scenes is too small for
                locate_scene(name, scenes_dir=settings.scenes_dir)
            locate, scenes = specs.__getitem__, list(specs)
            if settings.episodes is not None:
                self._limit = max(1, settings.episodes // len(scenes))
        self._locate, self._scenes_dir = locate, settings.scenes_dir
        if settings.held_out and len(scenes) <= settings.held_out:
            raise SettingError(
                f"{settings.held_out} scenes are to be held out for evaluation, and one or more trained in, but"
                f" --scene names {len(scenes)}: name more, or a smaller --held-out"
            )
        count = len(scenes) - settings.held_out
        self.training: Sequence[str] = tuple(scenes[:count])
        """Scene ids to train in."""
        self.held_out: Sequence[str] = tuple(scenes[count:]) or self.training
        """Scene ids to evaluate in; the same as ``training`` where none is held out."""

    def open(self, scene_id: str) -> Simulator:
        """The simulator of a scene; whoever opens it closes it."""
        return open_simulator(self._locate(scene_id), self.body, scenes_dir=self._scenes_dir)

    def episode(self, simulator: Simulator, scene_id: str, index: int) -> Episode:
        """The episode of that index in a scene; behind the last one they begin again."""
        if self._recorded:
            episodes = self._recorded[scene_id]
            return episodes[index % len(episodes)]
        if self._limit is not None:
            index %= self._limit
        return pointnav_episode(simulator, index, self._seed, scene_id=scene_id)

    def digests(self) -> dict[str, str | None]:
        """What is in the scenes (`envs.scene_digests`) and in the file of episodes, for a later run to compare with."""
        found = scene_digests([*self.training, *self.held_out], self._find)
        if self._recorded:
            episodes = tuple(one for listed in self._recorded.values() for one in listed)
            found[EPISODES] = hashlib.sha256(encode(EpisodeFile(episodes))).hexdigest()[:16]
        return found

    def _find(self, scene_id: str) -> str:
        return locate_scene(str(self._locate(scene_id)), scenes_dir=self._scenes_dir)

    def environment(self, scene_ids: Sequence[str]) -> PointNavEnv:
        """The episodes of some of the scenes as an environment."""
        episodes: list[Episode] | int = [one for name in scene_ids for one in self._recorded.get(name, ())]
        if not self._recorded:
            episodes = (self._limit or _EPISODES_PER_SCENE) * len(scene_ids)
        return PointNavEnv(
            [self._locate(name) for name in scene_ids],
            episodes,
            agent=self.body,
            scenes_dir=self._scenes_dir,
            seed=self._seed,
        )


def _none(scene_id: str, index: int) -> Any:
    raise AssertionError("episodes of a file are not generated")
