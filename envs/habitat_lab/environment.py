"""Any habitat-lab navigation configuration as a Gymnasium 1.x environment with point maps."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import habitat
import numpy as np
from habitat.core.spaces import EmptySpace

from envs.habitat_lab.configs import add_point_maps
from envs.habitat_lab.spaces import gymnasium_spaces
from envs.locomotion import action_of
from envs.spaces import PointMapSpace, ValiditySpace
from poma3d.errors import EpisodeError, SettingError
from poma3d.pointmap import Frame

Observation = dict[str, np.ndarray]


class HabitatLabEnv(gymnasium.Env[Any, Any]):
    """habitat-lab's own environment, task and simulator behind Gymnasium's interface.

    Observations are ``point_map`` (H, W, 3) float32 and ``valid`` (H, W) bool, then whatever the
    configuration observes, under habitat-lab's names. Actions are numbered as the configuration lists them
    (`action_names`; stop, move_forward, turn_left, turn_right in habitat-lab's own files). ``terminated`` means
    that the task has ended (STOP, or success where the configuration ends there), ``truncated`` that
    habitat-lab's step or time limit was reached. The reward is that of habitat-lab's ``RLTaskEnv``: slack,
    the reward measure, and a bonus on success; what habitat-lab leaves NaN or infinite counts as 0.
    ``info`` holds habitat-lab's measures with ``episode_id`` and ``scene_id``.

    ``reset(seed=...)`` starts habitat-lab's episode order again from its first episode and seeds its generators
    (those of ``random`` and NumPy are global: habitat-lab's doing). ``reset(options={"episode_id": ...})`` runs
    that episode and goes on in order.

    Args:
        config: a configuration, or a YAML file or name as ``habitat.get_config`` takes it.
        overrides: of a file, such as ``["habitat.environment.max_episode_steps=100"]``.
        frame: of the point map: world, scene, episode, agent or camera.
        size: (H, W) of the point map; None keeps the depth sensor's.
        dataset: episodes; None reads those of the configuration.
        render_mode: ``rgb_array`` or None.

    Raises:
        SettingError: a frame, size or sensor is wrong, or the actions are not discrete.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        config: Any,
        *,
        overrides: Sequence[str] = (),
        frame: str | Frame = Frame.AGENT,
        size: tuple[int, int] | None = None,
        dataset: Any = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise SettingError(f"render_mode must be None or 'rgb_array', found {render_mode!r}")
        self.render_mode = render_mode
        if isinstance(config, str | os.PathLike):
            config = habitat.get_config(os.fspath(config), overrides=list(overrides))
        elif overrides:
            raise SettingError("overrides go with a configuration file, not with a configuration")
        config = add_point_maps(config.copy(), frame=frame, size=size)
        inner = config.habitat if "habitat" in config else config
        self._task = inner.task
        self.habitat_env = habitat.Env(config, dataset)
        """habitat-lab's environment."""
        actions = self.habitat_env.task.actions
        for name, action in actions.items():
            if not isinstance(action.action_space, EmptySpace):
                self.habitat_env.close()
                raise SettingError(f"the action {name!r} has arguments; only discrete actions can be used")
        self.action_names: tuple[str, ...] = tuple(actions)
        """What each number does."""
        self.action_space = gymnasium.spaces.Discrete(len(actions))
        spaces = gymnasium_spaces(self.habitat_env.observation_space.spaces)
        height, width, _ = spaces["point_map"].shape or (0, 0, 0)
        bound = float(np.max(self.habitat_env.observation_space.spaces["point_map"].high))
        spaces["point_map"] = PointMapSpace(height, width, bound)
        spaces["valid"] = ValiditySpace(height, width)
        self.observation_space = gymnasium.spaces.Dict(spaces)
        self._seen: Observation = {}
        self._closed = False

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin the next episode, or the one that ``options["episode_id"]`` (and ``"scene_id"``) names.

        Raises:
            EpisodeError: there is no such episode.
        """
        super().reset(seed=seed)
        if seed is not None:
            self.habitat_env.seed(seed)
            self.habitat_env.episodes = self.habitat_env.episodes  # habitat-lab then starts its order again
        if options and "episode_id" in options:
            self.habitat_env.current_episode = self._episode(options)
        self._observe(self.habitat_env.reset())
        return dict(self._seen), self._info()

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Carry out the action of that number (`action_names`).

        Raises:
            SettingError: there is no such action.
        """
        self._observe(self.habitat_env.step(action_of(action, self.action_names)))
        info = self._info()
        success = bool(info.get(self._task.success_measure or "", 0))
        terminated = not self.habitat_env.task.is_episode_active or (
            bool(self._task.end_on_success) and success
        )
        truncated = bool(self.habitat_env.episode_over) and not terminated
        return dict(self._seen), self._reward(info, success), terminated, truncated, info

    def render(self) -> np.ndarray | None:
        """A picture (rows, columns, 3) uint8: what the colour camera sees, else the point map in colours."""
        if self.render_mode is None:
            return None
        if not self._seen:
            raise SettingError("there is nothing to draw yet: call reset() before render()")
        if "rgb" in self._seen:
            return np.ascontiguousarray(self._seen["rgb"][..., :3])
        from envs.pictures import first_person

        return first_person(self._seen["point_map"], self._seen["valid"])

    def close(self) -> None:
        """Close habitat-lab's environment. May be called twice."""
        if not self._closed:
            self._closed = True
            self.habitat_env.close()

    def _observe(self, observations: Mapping[str, Any]) -> None:
        """Keep the observations in new arrays: habitat-sim draws into the same ones again."""
        self._seen = {
            name: _array(observations[name], space.dtype, space.shape)
            for name, space in self.observation_space.spaces.items()  # type: ignore[attr-defined]
        }

    def _episode(self, options: Mapping[str, Any]) -> Any:
        wanted, scene = str(options["episode_id"]), options.get("scene_id")
        for episode in self.habitat_env.episodes:
            if str(episode.episode_id) == wanted and scene in (None, episode.scene_id):
                return episode
        where = "" if scene is None else f" in {scene}"
        raise EpisodeError(f"the data set has no episode {wanted!r}{where}")

    def _info(self) -> dict[str, Any]:
        episode = self.habitat_env.current_episode
        return {
            **copy.deepcopy(
                dict(self.habitat_env.get_metrics())
            ),  # measures hand out what they go on changing
            "episode_id": str(episode.episode_id),
            "scene_id": episode.scene_id,
        }

    def _reward(self, info: Mapping[str, Any], success: bool) -> float:
        """The reward of habitat-lab's ``RLTaskEnv``, with what it leaves undefined taken as 0."""
        measured = float(info.get(self._task.reward_measure or "", 0.0))
        bonus = float(self._task.success_reward) if success else 0.0
        return float(self._task.slack_reward) + (measured if math.isfinite(measured) else 0.0) + bonus


def _array(value: Any, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    """An observation as an own array; torch tensors come from habitat-sim's GPU transfer."""
    if hasattr(value, "cpu"):
        value = value.cpu().numpy()
    return np.array(value, dtype=dtype).reshape(shape)
