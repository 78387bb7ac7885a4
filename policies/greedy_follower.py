"""The greedy geodesic follower: which action shortens the way most, as habitat-sim's `GreedyGeodesicFollower`.

Source of the plans, rewards and thrashing guard: habitat-sim, ``src/esp/nav/GreedyFollower.cpp`` (MIT).
"""

from __future__ import annotations

import heapq
import math

import numpy as np

from envs.locomotion import Action
from envs.simulators.protocol import DistanceField, Surface

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
MOST_EXPANSIONS = 5000
"""Places looked at for a detour before giving up."""
CELLS = (0.05, 0.002)
"""Places of a detour that are nearer together than this count as one, metres; the finer for an agent that is all
but wedged in, where only tiny moves lead out."""


class GreedyFollower:
    """Plans turns to one side, up to 180 degrees, and one step forward: those that most shorten the way.

    Differences from Habitat's: all turns are tried in one batch, and three times it looks for a detour of
    several steps. Where no plan helps, Habitat's stops at once; where none brings it nearer for longer than a
    turn round and back, Habitat's goes on for ever; where it does not slide, a step into an obstacle can wedge
    it in. It stops where there is no detour; each one leads nearer than ever before, so it comes to an end.

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
        self._turn = math.radians(turn_angle)
        half = math.floor(180.0 / turn_angle + 1e-6)
        count = np.repeat(np.arange(half + 1), 2)[1:]  # 0, 1, 1, 2, 2, ...: straight on, then left and right
        self._turns = count * np.where(np.arange(len(count)) % 2 == 1, 1, -1)
        self._patience = 2 * half + 4
        self._plan: list[int] = []
        self._recent: list[int] = []
        self._nearest = math.inf
        self._stalled = 0

    def next_action(self, position: np.ndarray, angle: float) -> int:
        """The next action from a position (3,) in the world with a heading of ``angle`` radians."""
        distance = float(self._field.distance(position[None])[0])
        if not math.isfinite(distance) or distance < self._goal_radius:
            return STOP
        self._stalled += 1
        if distance < self._nearest - 0.01:
            self._nearest, self._stalled = distance, 0
        if not self._plan:
            plan = None if self._stalled > self._patience else self._best_plan(position, angle, distance)
            if plan is None:
                detours = (self._detour(position, angle, cell) for cell in CELLS)
                self._plan = next(filter(None, detours), [])
                self._stalled = 0
            else:
                whole = self._thrashing() or plan.count(FORWARD) > 1
                self._plan = plan if whole else plan[:1]
        action = self._plan.pop(0) if self._plan else STOP
        self._recent = [*self._recent[1 - THRASHING :], action]
        return action

    def plan(self, position: np.ndarray, angle: float) -> list[int]:
        """All turns and the step of the best plan from any pose, whatever was done before; empty for STOP."""
        distance = float(self._field.distance(position[None])[0])
        if not math.isfinite(distance) or distance < self._goal_radius:
            return []
        self._nearest = distance
        plan = self._best_plan(position, angle, distance)
        if plan is None:
            plan = next(filter(None, (self._detour(position, angle, cell) for cell in CELLS)), [])
        return plan

    def _best_plan(self, position: np.ndarray, angle: float, distance: float) -> list[int] | None:
        """Turns and one step, fewest turns first among equals; None where every one only runs into obstacles."""
        if self._rewards(position, angle, distance, self._turns[:1])[0][0] > GOOD_ENOUGH:
            return [FORWARD]  # most of the time the way is straight on
        reward, held_back = self._rewards(position, angle, distance, self._turns)
        good = np.flatnonzero(reward > GOOD_ENOUGH)
        if len(good):
            reward[abs(self._turns) > abs(self._turns[good[0]])] = -np.inf
        best = int(np.argmax(reward))
        if held_back[best] and not self._sliding:  # at an obstacle it may be wedged in: better walk round
            detour = self._detour(position, angle, CELLS[0], free=True)
            if detour:
                return detour
        if not reward[best] > -COLLISION_COST:
            return None
        return [*self._turning(int(self._turns[best])), FORWARD]

    def _rewards(
        self, position: np.ndarray, angle: float, distance: float, turns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """How good it is (K,) to make so many turns (K,) and a step, in steps of way saved; who is held back."""
        arrival, held_back = self._walk(position, angle + turns * self._turn)
        after = np.asarray(self._field.distance(arrival), dtype=np.float64)
        clearance = self._surface.distance_to_closest_obstacle(arrival, 1.1 * OBSTACLE_DISTANCE)
        reward = (
            (distance - after) / self._step
            - TURN_COST * abs(turns)
            - COLLISION_COST * held_back
            - OBSTACLE_COST * (clearance < OBSTACLE_DISTANCE)
        )
        return np.where(np.isfinite(reward), reward, -np.inf), held_back

    def _walk(self, position: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where one step in each direction (K,) leads from a position (3,): (K, 3); whether it is held back."""
        ahead = np.stack([-np.sin(angles), np.zeros_like(angles), -np.cos(angles)], -1)
        start = np.repeat(position[None], len(angles), axis=0)
        arrival = np.asarray(self._surface.try_step(start, start + self._step * ahead, sliding=self._sliding))
        walked = ((arrival - position) ** 2).sum(-1)  # square metres, as `envs.measures.is_collision`
        return arrival, walked + 1e-5 < self._step**2

    def _detour(self, position: np.ndarray, angle: float, edge: float, *, free: bool = False) -> list[int]:
        """Actions that lead half a step nearer to the goal than the agent has ever been; none where none do.

        A* over places (cubes of that edge in metres) and headings, by the number of actions so far and the steps
        of way that are left; with ``free`` only over steps that no obstacle holds back.
        """
        wanted = max(self._nearest - 0.5 * self._step, self._goal_radius)
        headings = np.sort(np.unique(self._turns))
        whole = round(2 * math.pi / self._turn)
        circle = whole if abs(whole * self._turn - 2 * math.pi) < 1e-6 else 0
        seen = {_cell(position, edge)}
        queue: list[tuple[float, int, int, np.ndarray, int, tuple[int, ...]]] = [(0.0, 0, 0, position, 0, ())]
        pushed = 0
        for _ in range(MOST_EXPANSIONS):
            if not queue:
                break
            _, _, taken, place, heading, turned = heapq.heappop(queue)
            arrival, held_back = self._walk(place, angle + headings * self._turn)
            after = np.asarray(self._field.distance(arrival), dtype=np.float64)
            if free:
                after[held_back] = np.inf
            for k in np.argsort(after, kind="stable"):
                cell = _cell(arrival[k], edge)
                if cell in seen or not math.isfinite(after[k]):
                    continue
                seen.add(cell)
                turns = int(headings[k]) - heading
                if circle:
                    turns = (turns + circle // 2) % circle - circle // 2
                way = (*turned, turns)
                if after[k] < wanted:
                    return [action for n in way for action in (*self._turning(n), FORWARD)]
                pushed += 1
                cost = taken + abs(turns) + 1
                guess = cost + after[k] / self._step
                heapq.heappush(queue, (guess, pushed, cost, arrival[k], int(headings[k]), way))
        return []

    def _turning(self, turns: int) -> list[int]:
        """So many turns to the left, or to the right where negative."""
        return [LEFT if turns > 0 else RIGHT] * abs(turns)

    def _thrashing(self) -> bool:
        """Whether the last actions were turns left and right in alternation."""
        if len(self._recent) < THRASHING:
            return False
        even, odd = set(self._recent[::2]), set(self._recent[1::2])
        return len(even) == len(odd) == 1 and even | odd == {LEFT, RIGHT}


def _cell(point: np.ndarray, edge: float) -> tuple[int, int, int]:
    """The little cube that a point (3,) lies in."""
    return math.floor(point[0] / edge), math.floor(point[1] / edge), math.floor(point[2] / edge)
