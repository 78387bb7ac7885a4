"""Habitat's navigation measures by Habitat's names, with its unguarded cases guarded.

Definitions follow habitat-lab's ``habitat/tasks/nav/nav.py`` (``DistanceToGoal``, ``Success``, ``SPL``,
``SoftSPL``, ``Collisions``, ``DistanceToGoalReward``) and the reward of its ``RLTaskEnv`` with the defaults
of ``TaskConfig``: slack -0.01 a step and 2.5 on success. SPL is that of Anderson et al., "On Evaluation of
Embodied Navigation Agents", arXiv 1807.06757.

Habitat divides without looking: an episode that starts on its goal (d0 = 0) or whose goal cannot be reached
(d0 infinite) gives NaN there. Here an agent that is on its goal and has not walked has taken the shortest
path, and an unreachable goal scores 0 and changes no reward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

SLACK_REWARD = -0.01
"""Reward of every step (habitat-lab ``TaskConfig.slack_reward``)."""
SUCCESS_REWARD = 2.5
"""Reward of success (habitat-lab ``TaskConfig.success_reward``)."""

_COLLISION_MARGIN = 1e-5


def is_collision(start: np.ndarray, asked: np.ndarray, reached: np.ndarray) -> bool:
    """Whether a step from ``start`` (3,) towards ``asked`` (3,) that came to ``reached`` (3,) hit something.

    Habitat's rule (habitat-sim ``object_controls.py``): the squared way gone is shorter than the squared way
    asked by more than 1e-5 square metres. Climbing a stair therefore is no collision.
    """
    wanted, moved = asked - start, reached - start
    return float(moved @ moved) + _COLLISION_MARGIN < float(wanted @ wanted)


def path_efficiency(shortest: float, walked: float) -> float:
    """The factor ``shortest / max(shortest, walked)`` of SPL in [0, 1]; 1 for 0 / 0, 0 where unreachable."""
    if not math.isfinite(shortest):
        return 0.0
    longest = max(shortest, walked)
    return shortest / longest if longest > 0 else 1.0


def soft_success(distance: float, shortest: float) -> float:
    """Share of the way that is done, in [0, 1]: ``1 - distance / shortest``; guarded as this module says."""
    if not math.isfinite(shortest) or not math.isfinite(distance):
        return 0.0
    if shortest <= 0:
        return 1.0 if distance <= 0 else 0.0
    return max(0.0, 1.0 - distance / shortest)


@dataclass(frozen=True)
class MeasuresState:
    """What `NavigationMeasures` has noted of an episode so far; its attributes have the same names and units."""

    start_distance: float
    distance_to_goal: float
    path_length: float
    num_steps: int
    collision_count: int
    collided: bool
    success: float
    progress: float


class NavigationMeasures:
    """The measures of one episode, told of every step.

    Args:
        success_distance: STOP nearer to the goal than this is a success, metres.
        slack_reward: reward of every step.
        success_reward: reward of success.
    """

    def __init__(
        self,
        success_distance: float,
        *,
        slack_reward: float = SLACK_REWARD,
        success_reward: float = SUCCESS_REWARD,
    ) -> None:
        self.success_distance = success_distance
        self.slack_reward = slack_reward
        self.success_reward = success_reward
        self.reset(math.inf)

    def reset(self, distance: float) -> None:
        """Begin an episode at ``distance`` metres (geodesic) from the goal."""
        self.start_distance = distance
        """Geodesic distance at the start, d0, metres."""
        self.distance_to_goal = distance
        """Geodesic distance to the goal, or to the nearest of them, metres."""
        self.path_length = 0.0
        """Way walked so far, metres."""
        self.num_steps = 0
        """Actions taken, STOP included."""
        self.collision_count = 0
        """Steps that hit something."""
        self.collided = False
        """Whether the last step hit something."""
        self.success = 0.0
        """1 once STOP was called near enough to the goal."""
        self.progress = 0.0
        """Decrease of the distance by the last step, metres."""

    def step(self, moved: float, distance: float, *, collided: bool = False, stop: bool = False) -> None:
        """Note one action.

        Args:
            moved: straight distance between the positions before and after it, metres.
            distance: geodesic distance to the goal after it, metres.
            collided: whether it hit something.
            stop: whether it was STOP.
        """
        change = self.distance_to_goal - distance
        self.progress = change if math.isfinite(change) else 0.0
        self.distance_to_goal = distance
        self.path_length += moved
        self.num_steps += 1
        self.collided = collided
        self.collision_count += collided
        self.success = 1.0 if stop and distance < self.success_distance else 0.0

    def state(self) -> MeasuresState:
        """What was noted so far, for `restore`."""
        return MeasuresState(**{field.name: getattr(self, field.name) for field in fields(MeasuresState)})

    def restore(self, state: MeasuresState) -> None:
        """Forget what was noted since ``state`` was taken."""
        for field in fields(MeasuresState):
            setattr(self, field.name, getattr(state, field.name))

    @property
    def spl(self) -> float:
        """Success weighted by path length, in [0, 1]."""
        return self.success * path_efficiency(self.start_distance, self.path_length)

    @property
    def soft_spl(self) -> float:
        """Share of the way done, weighted by path length, in [0, 1]."""
        return soft_success(self.distance_to_goal, self.start_distance) * path_efficiency(
            self.start_distance, self.path_length
        )

    @property
    def reward(self) -> float:
        """Reward of the last step: slack + decrease of the distance + bonus on success."""
        return self.slack_reward + self.progress + self.success_reward * self.success

    def as_dict(self) -> dict[str, Any]:
        """The measures by Habitat's names, in plain Python numbers; a new dictionary each time."""
        return {
            "distance_to_goal": self.distance_to_goal,
            "success": self.success,
            "spl": self.spl,
            "soft_spl": self.soft_spl,
            "collisions": {"count": self.collision_count, "is_collision": self.collided},
            "num_steps": self.num_steps,
            "path_length": self.path_length,
            "distance_to_goal_reward": self.progress,
        }
