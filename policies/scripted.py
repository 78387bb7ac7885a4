"""Policies that follow rules: the oracle, a control that knows the way; random and forward, two that do not.

Sources: the oracle plans as habitat-sim's `GreedyGeodesicFollower` (`src/esp/nav/GreedyFollower.cpp`), the
others act as habitat-lab's simple agents and the random agent of the Habitat challenge.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from agent.policy import Policy
from envs.locomotion import Action
from envs.simulators.protocol import DistanceField, Surface
from poma3d.errors import SettingError

STOP, FORWARD, LEFT, RIGHT = (int(action) for action in Action)

COLLISION_COST = 0.25
"""Taken from the reward of a walk that is held back by an obstacle."""
OBSTACLE_COST, OBSTACLE_DISTANCE = 0.05, 0.2
"""Taken where a walk ends nearer than this to an obstacle, metres."""
TURN_COST = 0.0125
"""Taken for each turn before the step."""
GOOD_ENOUGH = 0.99
"""A reward (1 = the whole step shortens the way) above which no other turn is looked at."""
THRASHING = 16
"""Turns left and right in alternation after which a plan is carried out whole."""
STALL = 40
"""Actions without getting nearer after which places already tried count against a plan."""
GIVE_UP = 240
"""Actions without getting nearer after which the follower stops."""


class GreedyFollower:
    """Plans turns to one side, up to 180 degrees, and one step forward: those that most shorten the way.

    Differences from Habitat's: all turns are tried in one batch, and a follower that gets no nearer for
    `STALL` actions carries plans out whole and avoids where it has been, instead of giving up at once; after
    `GIVE_UP` such actions it stops, so that it never goes on for ever.

    Args:
        surface: what the agent walks on.
        field: distances to the goals of the episode.
        forward_step: length of a step, metres.
        turn_angle: angle of a turn, degrees.
        goal_radius: stop nearer than this, metres (geodesic).
        sliding: whether the agent slides along obstacles.
    """

    def __init__(
        self,
        surface: Surface,
        field: DistanceField,
        *,
        forward_step: float,
        turn_angle: float,
        goal_radius: float,
        sliding: bool,
    ) -> None:
        self._surface, self._field = surface, field
        self._step, self._goal_radius, self._sliding = forward_step, goal_radius, sliding
        most = math.floor(180.0 / turn_angle + 1e-6)
        count = np.repeat(np.arange(most + 1), 2)[1:]  # 0, 1, 1, 2, 2, ...: straight on, then left and right
        side = np.where(np.arange(len(count)) % 2 == 1, 1, -1)
        self._turns = count * side
        self._angles = self._turns * math.radians(turn_angle)
        self._plan: list[int] = []
        self._recent: list[int] = []
        self._best = math.inf
        self._stalled = 0
        self._tried: Counter[tuple[int, int, int]] = Counter()

    def next_action(self, position: np.ndarray, angle: float) -> int:
        """The next action from a position (3,) in the world with a heading of ``angle`` radians."""
        distance = float(self._field.distance(position[None])[0])
        if not math.isfinite(distance) or distance < self._goal_radius:
            return STOP
        if distance < self._best - 0.01:
            self._best, self._stalled = distance, 0
            self._tried.clear()
        else:
            self._stalled += 1
            if self._stalled > GIVE_UP:
                return STOP
        if not self._plan:
            plan = self._best_plan(position, angle, distance)
            whole = self._thrashing() or self._stalled > STALL
            self._plan = plan if whole else plan[:1]
        action = self._plan.pop(0)
        self._recent = [*self._recent[1 - THRASHING :], action]
        return action

    def _best_plan(self, position: np.ndarray, angle: float, distance: float) -> list[int]:
        """Turns and one step; the first of the best, fewest turns first."""
        if self._stalled <= STALL:  # the way on is straight most of the time: try that alone first
            reward, _ = self._rewards(position, angle, distance, slice(0, 1))
            if reward[0] > GOOD_ENOUGH:
                return [FORWARD]
        reward, arrival = self._rewards(position, angle, distance, slice(None))
        if self._stalled > STALL:
            reward -= [0.1 * self._tried[_cell(point)] for point in arrival]
            best = int(np.argmax(reward))
            self._tried[_cell(arrival[best])] += 1
        else:
            good = np.flatnonzero(reward > GOOD_ENOUGH)
            looked_at = abs(self._turns) <= abs(self._turns[good[0]]) if len(good) else slice(None)
            best = int(np.argmax(reward[looked_at]))
        turns = int(self._turns[best])
        return [LEFT if turns > 0 else RIGHT] * abs(turns) + [FORWARD]

    def _rewards(
        self, position: np.ndarray, angle: float, distance: float, which: slice
    ) -> tuple[np.ndarray, np.ndarray]:
        """How good each plan (K,) is, in steps of way saved, and where it ends (K, 3)."""
        angles = angle + self._angles[which]
        ahead = np.stack([-np.sin(angles), np.zeros_like(angles), -np.cos(angles)], -1)  # (K, 3)
        start = np.broadcast_to(position, ahead.shape)
        arrival = self._surface.try_step(start, start + self._step * ahead, sliding=self._sliding)
        walked = ((arrival - start) ** 2).sum(-1)  # (K,) square metres, as `envs.measures.is_collision`
        after = np.asarray(self._field.distance(arrival), dtype=np.float64)
        clearance = self._surface.distance_to_closest_obstacle(arrival, 1.1 * OBSTACLE_DISTANCE)
        reward = (
            (distance - after) / self._step
            - TURN_COST * abs(self._turns[which])
            - COLLISION_COST * (walked + 1e-5 < self._step**2)
            - OBSTACLE_COST * (clearance < OBSTACLE_DISTANCE)
        )
        return np.where(np.isfinite(reward), reward, -np.inf), arrival

    def _thrashing(self) -> bool:
        """Whether the last actions were turns left and right in alternation."""
        if len(self._recent) < THRASHING:
            return False
        even, odd = set(self._recent[::2]), set(self._recent[1::2])
        return len(even) == len(odd) == 1 and even | odd == {LEFT, RIGHT}


class OraclePolicy:
    """Follows the shortest path to the nearest goal or view point, and stops within the success distance.

    Privileged: it reads the environment's surface and distances. It shows what an episode allows at best.
    """

    name = "oracle"
    privileged = True

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Begin an episode of ``env``, a navigation environment that was just reset."""
        self._env = env
        self._follower = GreedyFollower(
            env.surface,
            env.distance_field,
            forward_step=env.agent.forward_step,
            turn_angle=env.agent.turn_angle,
            goal_radius=env.success_distance,
            sliding=env.agent.allow_sliding,
        )

    def act(self, observation: Mapping[str, np.ndarray]) -> int:
        """The next action along the shortest path from where the agent is."""
        return self._follower.next_action(self._env.position, self._env.heading)


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


POLICIES = {"oracle": OraclePolicy, "random": RandomPolicy, "forward": ForwardPolicy}
"""The scripted policies by name."""


def make_policy(name: str) -> Policy:
    """The scripted policy of that name.

    Raises:
        SettingError: there is none; the message lists those there are.
    """
    if name not in POLICIES:
        raise SettingError(f"unknown policy {name!r}; the policies are {', '.join(POLICIES)}")
    return POLICIES[name]()


def _cell(point: np.ndarray) -> tuple[int, int, int]:
    """The cube of a quarter of a metre that a point (3,) lies in."""
    x, y, z = np.floor(np.asarray(point) / 0.25).astype(int)
    return int(x), int(y), int(z)
