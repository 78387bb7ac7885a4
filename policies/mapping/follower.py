"""Follows the cheapest way on the map with turns and steps, looks for another when the map changes, gets unstuck."""

from __future__ import annotations

import math

import numpy as np

from envs.embodiment import AgentSpec
from policies.greedy_follower import FORWARD, LEFT, RIGHT
from policies.mapping.metric_map import CELL, MetricMap
from policies.mapping.path import best_turn, find_nearest, find_way, way_costs, waypoint
from policies.mapping.poses import Pose
from policies.mapping.step_plan import StepPlan

_TURN_COST = 0.004
"""What a turn costs beside the way, metres."""
_HELD_BACK, _STOPPED_SHORT = 0.35, 0.95
"""A step that comes less far than this share of its length along the heading ran into something: while sliding, and
where the agent stops at what it meets."""
_SAME_PLACE = 0.02
"""An agent that came less far has not left its place, metres."""
_STALE = 20
"""A way is looked for anew after so many actions at the latest."""
_DEARER = 0.5
"""A way that has become dearer by this many cells is looked for anew."""
_CAREFUL = 60
"""So many actions are planned step by step once the agent was stuck."""
_OFF_WAY = 0.3
"""A way that the agent is farther from than this is looked for anew, metres."""
_CIRCLE, _PATIENCE = 0.3, 45
"""An agent that has not left a circle of this radius (metres) for so many actions is stuck."""


class WayFollower:
    """Walks on one map, in one episode.

    Args:
        world: the map that is walked on; what holds the agent back is entered there.
        agent: steps and turns.
        rng: for the ways out of a trap.
    """

    def __init__(self, world: MetricMap, agent: AgentSpec, rng: np.random.Generator) -> None:
        self._map, self._rng = world, rng
        self._step, self._turn = agent.forward_step, math.radians(agent.turn_angle)
        self._held_back = self._step * (_HELD_BACK if agent.allow_sliding else _STOPPED_SHORT)
        self._way = np.zeros((0, 2), np.int64)
        self.key: object = None
        """Where the way leads to, as the caller named it."""
        self._age = 0
        self._costs = np.zeros(0)
        self._narrow = self._through = False
        self._plan = StepPlan(world, agent, _TURN_COST)
        self._careful = 0
        self._before: Pose | None = None
        self._stepped = False
        self._slides = agent.allow_sliding
        self._vain: list[float] = []
        self._escape: list[int] = []
        self._centre = (0.0, 0.0)
        self._stayed = 0

    @property
    def way(self) -> np.ndarray:
        """The way that is followed, (N, 2) x and y in the map, metres."""
        return (self._way + 0.5) * CELL

    def notice(self, pose: Pose) -> None:
        """Compare where the last action led with where it should have: enter what held the agent back."""
        if self._before is not None and self._stepped:
            x, y, yaw = self._before
            along = (pose[0] - x) * math.cos(yaw) + (pose[1] - y) * math.sin(yaw)
            if math.dist((x, y), pose[:2]) > _SAME_PLACE:
                self._vain.clear()
            if along < self._held_back:
                self._map.bump(pose[0], pose[1], yaw)
                self._vain.append(yaw)
                self.key = None
                if not self._slides:
                    self._escape = self._untried(pose[2]) if len(self._vain) > 1 else []
        if math.dist(pose[:2], self._centre) > _CIRCLE:
            self._centre, self._stayed = (pose[0], pose[1]), 0
        self._stayed += 1
        if self._stayed > _PATIENCE:
            self._stayed = 0
            self._back_off(pose)
            self.key = None

    def _back_off(self, pose: Pose) -> None:
        """One that slides turns by a random angle and walks a few steps.

        One that does not could be wedged in by that: it plans step by step for a while, and where it already did, takes
        one step where there is room.
        """
        if not self._slides:
            if self._careful > 0:
                turns = int(self._rng.choice(self._plan.roomiest(pose)))
                self._escape = [LEFT if turns > 0 else RIGHT] * abs(turns) + [FORWARD]
            self._careful = _CAREFUL
            self._plan.forget()
            return
        turns = int(self._rng.integers(1, max(2, round(math.pi / self._turn))))
        side = LEFT if self._rng.random() < 0.5 else RIGHT
        self._escape = [side] * turns + [FORWARD] * int(self._rng.integers(2, 5))

    def acted(self, pose: Pose, action: int) -> None:
        """Remember what was done, for `notice`."""
        self._before, self._stepped = pose, action == FORWARD
        self._careful = max(0, self._careful - 1)

    def towards(self, pose: Pose, x: float, y: float) -> int:
        """The next action towards a point, through closed cells where nothing else is left."""
        if self._escape:
            return self._escape.pop(0)
        start, goal = self._map.cell_of(*pose[:2]), self._map.cell_of(x, y)
        start = self._map.cell_of(*pose[:2])  # holding the goal may have moved the cells
        if self._is_stale((x, y), start):
            way = find_way(self._map.cost, start, goal)
            self._narrow, self._through = False, not len(way)
            if not len(way):
                way = find_way(self._map.cost, start, goal, through=True)
            self._take((x, y), way)
        return self._follow(pose, (x, y))

    def towards_any(self, pose: Pose, key: object, goals: np.ndarray) -> int | None:
        """The next action towards the nearest of the goals; None where none can be reached.

        Args:
            pose: the agent's.
            key: the way is kept as long as this is the same and nothing comes into it.
            goals: where to, as `find_nearest` takes them.
        """
        if self._escape:
            return self._escape.pop(0)
        start = self._map.cell_of(*pose[:2])
        if self._is_stale(key, start) or not _is_goal(goals, self._way[-1] - self._map.origin):
            way = find_nearest(self._map.cost, start, goals)
            if not len(way) and self._map.forget_bumps():  # it may have walled itself in
                way = find_nearest(self._map.cost, start, goals)
                self._back_off(pose)
            self._narrow, self._through = not len(way), False
            if not len(way):
                way = find_nearest(self._map.cost, start, goals, narrow=True)
            self._take(key, way)
        return self._follow(pose, None) if len(self._way) else None

    def _is_stale(self, key: object, start: tuple[int, int]) -> bool:
        self._age += 1
        if key != self.key or self._age > _STALE or len(self._way) == 0:
            return True
        way = self._way - self._map.origin
        off = np.hypot(*(way - start).T)
        nearest = int(off.argmin())
        if off[nearest] * CELL > _OFF_WAY:
            return True
        # Only the part that is left counts, and it may have become dearer.
        self._way = self._way[nearest:]
        now = float(way_costs(self._map.cost, way[nearest:])[-1])
        self._costs = self._costs[nearest:] - self._costs[nearest]
        return now > self._costs[-1] + _DEARER

    def _take(self, key: object, way: np.ndarray) -> None:
        self.key, self._age = key, 0
        self._way = way.astype(np.int64) + self._map.origin
        self._costs = way_costs(self._map.cost, way)
        self._plan.forget()

    def _follow(self, pose: Pose, end: tuple[float, float] | None) -> int:
        """The turn or step along the way; at its last cell towards ``end``, metres."""
        origin = self._map.origin
        place = pose[0] / CELL - origin[0], pose[1] / CELL - origin[1]
        way = (self._way - origin).astype(np.int32)
        n = waypoint(self._map.cost, way, *place)
        target = (float(way[n, 0]) + 0.5, float(way[n, 1]) + 0.5)
        if n == len(way) - 1 and end is not None:
            target = end[0] / CELL - origin[0], end[1] / CELL - origin[1]
        turns = (
            self._plan.turns(pose, way, narrow=self._narrow, through=self._through)
            if self._careful > 0
            else None
        )
        if turns is None:
            turns = best_turn(
                self._map.cost, place, pose[2], target, step=self._step, turn=self._turn, turn_cost=_TURN_COST
            )
        if turns == 0 and not self._slides and self._is_vain(pose[2]):
            self._escape = self._untried(pose[2])
            return self._escape.pop(0)
        return FORWARD if turns == 0 else LEFT if turns > 0 else RIGHT

    def _is_vain(self, yaw: float) -> bool:
        """Whether a step that way failed from here."""
        return any(abs(math.remainder(yaw - other, 2 * math.pi)) < 0.5 * self._turn for other in self._vain)

    def _untried(self, yaw: float) -> list[int]:
        """The turns to the next direction that was not tried from here, and a step.

        An agent that stops at the border of where it can be may be wedged in there: few directions lead out.
        """
        for turns in range(1, math.floor(math.pi / self._turn + 1e-6) + 1):
            for side, action in ((1, LEFT), (-1, RIGHT)):
                if not self._is_vain(yaw + side * turns * self._turn):
                    return [action] * turns + [FORWARD]
        self._vain.clear()
        return [FORWARD]


def _is_goal(goals: np.ndarray, cell: np.ndarray) -> bool:
    """Whether a way that leads to that cell (2,) leads to one of the goals of `find_nearest`."""
    value = goals[tuple(cell)]
    return bool(value) if goals.dtype == np.bool_ else bool(np.isfinite(value))
