"""Policies that follow rules: the oracle, a control that knows the way; random and forward, two that do not.

Sources: the oracle is habitat-sim's greedy follower (`policies.greedy_follower`), the others act as habitat-lab's
simple agents and the random agent of the Habitat challenge. `POLICIES` also knows the planner (`policies.planner`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from agent.policy import Policy
from policies.greedy_follower import FORWARD, LEFT, RIGHT, STOP, GreedyFollower
from policies.planner import Planner
from poma3d.errors import SettingError


class OraclePolicy:
    """Follows the shortest path to the nearest goal or view point, and stops within the success distance.

    Privileged: it reads the environment's surface and distances. It shows what an episode allows at best.
    """

    name = "oracle"
    privileged = True

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Begin an episode of ``env``, a navigation environment that was just reset."""
        self._env = env
        self._begin()

    def act(self, observation: Mapping[str, np.ndarray]) -> int:
        """The next action along the shortest path from where the agent is."""
        if self._env.times_restored != self._times_restored:
            self._begin()  # its plan led on from elsewhere
        return self._follower.next_action(self._env.position, self._env.heading)

    def _begin(self) -> None:
        env = self._env
        self._times_restored = env.times_restored
        self._follower = GreedyFollower(
            env.surface,
            env.distance_field,
            forward_step=env.agent.forward_step,
            turn_angle=env.agent.turn_angle,
            goal_radius=env.success_distance,
            sliding=env.agent.allow_sliding,
        )


class RandomPolicy:
    """Acts by chance, as habitat-lab's random agent: step or turn, each as likely, and STOP near the goal.

    Where no goal distance is observed (ObjectNav) all four actions are as likely, STOP included, as in the
    random agent of the Habitat challenge.
    """

    name = "random"
    privileged = False

    def __init__(self, success_distance: float = 0.2) -> None:
        self._success_distance = success_distance

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Begin an episode with a generator of its own."""
        self._rng = rng

    def act(self, observation: Mapping[str, np.ndarray]) -> int:
        """A random action; STOP where the goal is observed within the success distance."""
        if "pointgoal_with_gps_compass" not in observation:
            return int(self._rng.integers(4))
        if observation["pointgoal_with_gps_compass"][0] <= self._success_distance:
            return STOP
        return int(self._rng.integers(FORWARD, RIGHT + 1))


class ForwardPolicy:
    """Walks straight on until it is held back, then turns by a random angle; STOP near an observed goal.

    It notices from `gps` that it is held back: it moved less than half of its longest step. Without `gps` it
    turns at random once in ten steps. It covers more ground than the random policy, and is as blind.
    """

    name = "forward"
    privileged = False

    def __init__(self, success_distance: float = 0.2) -> None:
        self._success_distance = success_distance

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Begin an episode with a generator of its own."""
        self._rng = rng
        self._turns: list[int] = []
        self._place: np.ndarray | None = None
        self._longest_step = 0.0
        self._stepped = False

    def act(self, observation: Mapping[str, np.ndarray]) -> int:
        """Forward, or one of the turns of a random angle after it was held back."""
        goal = observation.get("pointgoal_with_gps_compass")
        if goal is not None and goal[0] <= self._success_distance:
            return STOP
        if self._stepped and self._held_back(observation):
            side = LEFT if self._rng.random() < 0.5 else RIGHT
            self._turns = [side] * int(self._rng.integers(1, 10))
        place = observation.get("gps")
        self._place = None if place is None else np.array(place)
        self._stepped = not self._turns
        return self._turns.pop() if self._turns else FORWARD

    def _held_back(self, observation: Mapping[str, np.ndarray]) -> bool:
        place = observation.get("gps")
        if place is None or self._place is None:
            return bool(self._rng.random() < 0.1)
        moved = float(np.linalg.norm(place - self._place))
        self._longest_step = max(self._longest_step, moved)
        return moved < 0.5 * self._longest_step or moved < 0.02


POLICIES = {"oracle": OraclePolicy, "random": RandomPolicy, "forward": ForwardPolicy, "planner": Planner}
"""The policies that are not learned, by name."""


def make_policy(name: str) -> Policy:
    """The scripted policy of that name.

    Raises:
        SettingError: there is none; the message lists those there are.
    """
    if name not in POLICIES:
        raise SettingError(f"unknown policy {name!r}; the policies are {', '.join(POLICIES)}")
    return POLICIES[name]()
