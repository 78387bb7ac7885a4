"""A learned policy at work: views and sensors of one episode in, actions out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import torch

from agent.one_thread import one_thread
from policies.learning.acting import Acting
from policies.learning.ceiling import put_in_ceiling
from policies.learning.features import ViewFeatures
from policies.learning.houses import training_body
from policies.learning.networks import PolicyNetwork
from policies.learning.sensors import OwnSensors, goal_sensors
from policies.learning.trained_body import refuse_other_body
from poma3d.errors import SettingError

NEEDED = ("point_map", "valid", "pointgoal_with_gps_compass", "gps", "compass")
"""Observations that learned policies look at."""


class Brain(Protocol):
    """What decides, one step after another: `DaggerBrain`, or one of Stable-Baselines3's networks."""

    def restart(self) -> None:
        """Forget everything: an episode begins."""
        ...

    def logits(self, rows: np.ndarray, sensors: np.ndarray) -> np.ndarray:
        """(4,) for one step's feature row (F,) and sensors (S,)."""
        ...


class DaggerBrain:
    """A `PolicyNetwork` with its memory."""

    def __init__(self, network: PolicyNetwork) -> None:
        self._network = network.eval()
        self._state: torch.Tensor | None = None

    def restart(self) -> None:
        """Forget everything."""
        self._state = None

    def logits(self, rows: np.ndarray, sensors: np.ndarray) -> np.ndarray:
        """(4,) for one step."""
        with torch.inference_mode():
            logits, _, self._state = self._network(
                torch.from_numpy(rows)[None, None], torch.from_numpy(sensors)[None, None], self._state
            )
        return logits[0, 0].numpy()


class LearnedPolicy:
    """Acts as a network says. Implements `agent.policy.Policy`.

    One view is encoded at a time and on one thread, so that what it does depends neither on what runs beside it
    nor on the number of cores.

    Args:
        brain: decides.
        features: what a view is turned into.
        name: what results call it.
        acting: how an action is chosen from its scores.
        ceiling: views are shown to it under a ceiling of this height (`put_in_ceiling`), metres; 0 = as they are.
    """

    privileged = False

    def __init__(
        self,
        brain: Brain,
        features: ViewFeatures,
        acting: Acting,
        *,
        ceiling: float = 0.0,
        name: str = "learned",
    ) -> None:
        self.name = name
        self.size = features.size
        """Rows and columns of the point maps it wants, pixels; others are brought to that size."""
        self._brain, self._features, self._acting = brain, features, acting
        self._ceiling, self._body = ceiling, training_body(features.size)
        self._sensors = OwnSensors()
        self._rng = np.random.default_rng(0)

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Begin an episode.

        Raises:
            SettingError: the environment is not PointNav in the agent's frame, or its body or camera is not the
                one that policies are trained with.
        """
        frame = getattr(getattr(env, "frame", None), "value", "agent")
        if frame != "agent":
            raise SettingError(
                f"the policy {self.name} was trained on point maps in the agent's frame, found the frame {frame}:"
                " leave --frame at agent"
            )
        self._refuse_other_task(getattr(getattr(env, "observation_space", None), "spaces", NEEDED))
        if (body := getattr(env, "agent", None)) is not None:
            refuse_other_body(self.name, self._features, body)
        self._rng = rng
        self._sensors.restart()
        self._brain.restart()

    def act(self, observation: Mapping[str, np.ndarray]) -> int:
        """The next action.

        Raises:
            SettingError: a sensor that it was trained with is missing, as in ObjectNav.
        """
        self._refuse_other_task(observation)
        with one_thread():
            point_map, valid = observation["point_map"], observation["valid"]
            if self._ceiling and self._features.layout.size:
                point_map, valid = put_in_ceiling(point_map, valid, self._ceiling, self._body)
            rows = self._features.rows(point_map[None], valid[None])[0]
            goal = goal_sensors(observation["pointgoal_with_gps_compass"])
            sensors = np.concatenate([goal, self._sensors.read(observation)])
            logits = self._brain.logits(rows, sensors)
        if not np.isfinite(logits).all():
            raise SettingError(f"the policy {self.name} gave a score that is not finite; train it anew")
        action = self._acting.choose(logits, self._sensors.last_action, self._rng)
        self._sensors.acted(action)
        return action

    def _refuse_other_task(self, observed: Iterable[str]) -> None:
        names = list(observed)
        missing = [name for name in NEEDED if name not in names]
        if missing:
            raise SettingError(
                f"the policy {self.name} acts in PointNav and needs the observation {missing[0]!r}, found"
                f" {', '.join(names)}"
            )
