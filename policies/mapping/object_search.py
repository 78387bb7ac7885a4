"""Searching an object: look round, go where much is unseen for little way, approach the object once it was seen."""

from __future__ import annotations

import math

import numpy as np

from envs.embodiment import AgentSpec
from policies.greedy_follower import LEFT, RIGHT, STOP
from policies.mapping.follower import WayFollower
from policies.mapping.frontiers import BLOCK, frontier_gains
from policies.mapping.metric_map import CELL, MetricMap
from policies.mapping.poses import Pose

_REACH = 0.75
"""How near it walks to the points of an object, metres; the Habitat Challenge asks for 1."""
_IN_REACH = 0.9
"""It stops where it sees the object this near, metres."""
_REACHED = 0.45
"""A frontier that it came this near to and that is still one after a look round shows no more, metres."""
_LEAST_GAIN = 0.3
"""Frontiers that less unknown ground lies behind are left for last, square metres."""
_FULL_GAIN = 4.0
"""Unknown ground behind a frontier beyond which more is no better, square metres."""
_DETOUR = 4.0
"""How much farther away a frontier of full gain may be than one of none, to be preferred, metres."""


class ObjectSearch:
    """Looks for one kind of object in one episode.

    Args:
        world: the map that grows meanwhile.
        follower: walks on it.
        agent: its turns.
    """

    def __init__(self, world: MetricMap, follower: WayFollower, agent: AgentSpec) -> None:
        self._map, self._follower = world, follower
        self._turn = math.radians(agent.turn_angle)
        self._round = math.ceil(2 * math.pi / self._turn - 1e-6)
        self._turns_left = self._round
        self._looked_at: list[tuple[float, float]] = []
        self._explored: list[tuple[float, float]] = []
        self._cells: set[tuple[int, int]] = set()
        self._in_sight = math.inf

    @property
    def cells(self) -> np.ndarray:
        """Where objects of the kind were seen (K, 2), counted from the start as ``floor(x / CELL)``."""
        return np.array(sorted(self._cells), dtype=np.int64).reshape(-1, 2)

    def see(self, points: np.ndarray, pose: Pose) -> None:
        """Remember points (K, 2) of the objects that are in view now, x and y in the map, metres."""
        self._in_sight = math.inf
        if len(points):
            self._in_sight = float(np.hypot(*(points - pose[:2]).T).min())
            self._cells.update(
                map(tuple, np.unique(np.floor(points / CELL).astype(np.int64), axis=0).tolist())
            )

    def next_action(self, pose: Pose) -> int:
        """The next action; STOP at the object, and where nothing is left to see."""
        if self._in_sight <= _IN_REACH:
            return STOP
        if self._cells:
            action = self._approach(pose, clear=True)
            if action is not None:
                return action
        action = self._look_further(pose)
        if action is None and self._cells:
            action = self._approach(pose, clear=False)
        return STOP if action is None else action

    def _look_further(self, pose: Pose) -> int | None:
        """Round, or on to where much is unseen; None where nothing is left to see."""
        if self._turns_left > 0:
            self._turns_left -= 1
            return LEFT
        action = self._explore(pose, _LEAST_GAIN)
        return self._explore(pose, 0.0) if action is None else action

    def _approach(self, pose: Pose, *, clear: bool) -> int | None:
        """On to where the object is in reach, there turn to it; None where no such place can be reached.

        With ``clear`` only to places that nothing lies between and the object: it may stand behind a wall.
        """
        cells = self.cells
        here = self._map.cell_of(*pose[:2])
        places = self._map.around(cells, _REACH)
        places[here] |= bool(np.hypot(*((cells + 0.5) * CELL - pose[:2]).T).min() <= _REACH)
        if clear:
            places = self._map.in_view(places, cells)
        if not places[here]:
            return self._follower.towards_any(pose, ("object", clear), places)
        offsets = (cells + 0.5) * CELL - pose[:2]
        nearest = offsets[np.hypot(*offsets.T).argmin()]
        angle = math.atan2(nearest[1], nearest[0]) - pose[2]
        angle = math.atan2(math.sin(angle), math.cos(angle))
        if abs(angle) > 0.51 * self._turn:
            return LEFT if angle > 0 else RIGHT
        return STOP  # it faces where it saw the object, which may lie below what it sees from here

    def _explore(self, pose: Pose, least: float) -> int | None:
        """On to the best frontier that at least so much (square metres) lies behind; None where none is left."""
        key = "frontier", least
        end = self._follower.way[-1] if self._follower.key == key and len(self._follower.way) else None
        if end is not None and math.dist(end, pose[:2]) < _REACHED:
            place = float(end[0]), float(end[1])
            if all(math.dist(place, other) > _REACHED for other in self._looked_at):
                self._looked_at.append(place)
                self._turns_left = self._round - 1
                return LEFT
            self._explored.append(place)
        done = self._map.discs(self._explored, _REACHED)
        i, j = -self._map.origin % BLOCK  # blocks lie where they lay when the map is widened
        gains = np.zeros(self._map.shape, np.float32)
        gains[i:, j:] = frontier_gains(self._map.seen[i:, j:], self._map.obstacles()[i:, j:], done[i:, j:])
        losses = _DETOUR / CELL * (1.0 - np.minimum(gains, _FULL_GAIN) / _FULL_GAIN)
        losses[gains <= least] = np.inf
        return self._follower.towards_any(pose, key, losses)
