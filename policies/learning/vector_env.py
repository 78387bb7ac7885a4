"""Environments side by side for PPO: each view encoded once, outside the policy, into a flat row of features."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecMonitor

from agent.encoded_vec_env import EncodedVecEnv
from policies.learning.features import BackboneFeatures, ViewFeatures, flat_rows
from policies.learning.houses import TrainingScenes
from policies.learning.sensors import SENSORS, OwnSensors, goal_sensors


class SensorEnv(gymnasium.Wrapper):
    """PointNav whose sensors are the (S,) numbers that learned policies read; the view stays as it is."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        assert isinstance(env.observation_space, spaces.Dict)
        view = {name: env.observation_space[name] for name in ("point_map", "valid")}
        numbers = spaces.Box(-np.inf, np.inf, (SENSORS,), np.float32)
        self.observation_space = spaces.Dict({**view, "sensors": numbers})
        self._sensors = OwnSensors()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, np.ndarray], Any]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._sensors.restart()
        return self._read(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Any]:
        """Act, and remember it."""
        self._sensors.acted(int(action))
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._read(observation), reward, terminated, truncated, info

    def _read(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        goal = goal_sensors(observation["pointgoal_with_gps_compass"])
        return {
            "point_map": observation["point_map"],
            "valid": observation["valid"],
            "sensors": np.concatenate([goal, self._sensors.read(observation)]),
        }


class RowsVecEnv(VecEnvWrapper):
    """A vector environment that shows ``rows`` (F,) and ``sensors`` (S,), terminal observations included.

    Args:
        venv: of `SensorEnv`s, encoded or not.
        features: what rows are made with, where the views are not encoded yet.
    """

    def __init__(self, venv: VecEnv, features: ViewFeatures) -> None:
        self._features = features
        super().__init__(venv, observation_space=row_space(features.layout.size))

    def reset(self) -> dict[str, np.ndarray]:
        """The first observations of all environments."""
        return self._rows(self.venv.reset())

    def step_wait(self) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Finish the step."""
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                last = self._rows({name: value[None] for name, value in info["terminal_observation"].items()})
                info["terminal_observation"] = {name: value[0] for name, value in last.items()}
        return self._rows(observations), rewards, dones, infos

    def _rows(self, observations: Any) -> dict[str, np.ndarray]:
        if "point_map" in observations:
            rows = self._features.rows(observations["point_map"], observations["valid"].astype(bool))
        else:
            rows = flat_rows(observations)
        seen = {"rows": rows.astype(np.float32)} if rows.shape[1] else {}
        return {**seen, "sensors": observations["sensors"]}


def row_space(width: int) -> spaces.Dict:
    """The observations of a policy: ``rows`` (F,) and ``sensors`` (S,).

    Of a blind one the ``sensors`` alone: SB3 cannot batch what has no columns.
    """
    sizes = {"rows": width, "sensors": SENSORS} if width else {"sensors": SENSORS}
    return spaces.Dict(
        {name: spaces.Box(-np.inf, np.inf, (size,), np.float32) for name, size in sizes.items()}
    )


def make_training_env(scenes: TrainingScenes, features: ViewFeatures, count: int) -> VecEnv:
    """``count`` environments over the scenes to train in, encoded, with the returns of episodes in their infos.

    Each has scenes of its own where there are enough, so that together they hold few at a time.
    """

    def make(which: int) -> gymnasium.Env:
        mine = scenes.training[which::count] if len(scenes.training) >= count else scenes.training
        return SensorEnv(scenes.environment(mine))

    venv: VecEnv = VecMonitor(DummyVecEnv([lambda which=which: make(which) for which in range(count)]))
    if isinstance(features, BackboneFeatures):
        venv = EncodedVecEnv(venv, features.frozen)
    return RowsVecEnv(venv, features)
