"""What the oracle would do in any state, for the goal of an episode and for others.

The views of an episode do not depend on its goal; what to do in them does. So each recorded episode is labelled
for further goals, at the price of a few searches and of no rendering or encoding: its features serve several
times. (Hindsight relabelling, Andrychowicz et al., arXiv 1707.01495, with an oracle in place of a reward.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from envs.embodiment import AgentSpec
from envs.locomotion import Action
from envs.sensors import pointgoal_with_gps_compass
from envs.simulators.protocol import Surface
from policies.greedy_follower import GreedyFollower

_TRIES = 8


class Teacher:
    """The oracle's advice for one goal in one scene.

    Args:
        surface: what the agent walks on.
        goal: (3,) world frame.
        body: the agent.
    """

    def __init__(self, surface: Surface, goal: np.ndarray, body: AgentSpec) -> None:
        self._goal = np.asarray(goal, np.float64)
        self._turn = math.radians(body.turn_angle)
        self._follower = GreedyFollower(
            surface,
            surface.distance_field(self._goal[None]),
            forward_step=body.forward_step,
            turn_angle=body.turn_angle,
            goal_radius=body.success_distance,
            sliding=body.allow_sliding,
        )

    def advise(self, position: np.ndarray, heading: float) -> tuple[int, float]:
        """The action to take, and the angle to turn by until the next step, radians, positive to the left."""
        plan = self._follower.plan(position, heading)
        if not plan:
            return int(Action.STOP), 0.0
        turns = 0
        for action in plan:
            if action == Action.MOVE_FORWARD:
                break
            turns += 1 if action == Action.TURN_LEFT else -1
        return int(plan[0]), turns * self._turn

    def pointgoal(self, position: np.ndarray, heading: float) -> np.ndarray:
        """(2,) what the goal sensor would read."""
        return pointgoal_with_gps_compass(position, heading, self._goal)


def other_goals(
    surface: Surface, positions: Sequence[np.ndarray], count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Goals (3,) that an episode through ``positions`` is labelled for as well.

    Every second one is a place of its own second half, where it is right to stop; the others lie anywhere that
    can be reached.
    """
    goals = []
    for number in range(count):
        goal = None
        if number % 2:
            for _ in range(_TRIES):
                point = surface.random_navigable_point(rng)
                if math.isfinite(surface.geodesic_distance(positions[0][None], point[None])[0]):
                    goal = point
                    break
        if goal is None:
            goal = positions[int(rng.integers(len(positions) // 2, len(positions)))]
        goals.append(np.asarray(goal))
    return goals
