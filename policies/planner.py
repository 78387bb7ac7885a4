"""Map and plan: builds a metric map from the point maps while it moves, and walks the cheapest way on it.

The classical navigator that learned ones are measured against: as in "Benchmarking Classic and Learned Navigation in
Complex 3D Environments" (Mishkin, Dosovitskiy, Koltun 2019, arXiv 1901.10915) a map from depth, a planner for
which unknown is free, and a follower; for objects frontier exploration (Yamauchi 1997).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from envs.embodiment import AgentSpec
from policies.greedy_follower import LEFT, RIGHT, STOP
from policies.mapping.follower import Pose, WayFollower
from policies.mapping.frontiers import frontier_cells
from policies.mapping.metric_map import CELL, MetricMap
from policies.mapping.poses import PointMapPlacer, planar_pose
from poma3d.errors import SettingError
from poma3d.pointmap import Frame

_STOP_SHARE = 0.95
"""It stops nearer to a point goal than this share of the success distance."""
_FRONTIER_REACHED = 0.45
"""A frontier that it came this near to and that is still one shows no more, metres."""
_OBJECT_REACH = 0.75
"""How near it walks to the points of an object, metres."""
_OBJECT_STOP = 0.85
"""It stops where it sees the object this near, metres."""


class Planner:
    """Maps, plans, walks, stops; not privileged. Implements `agent.policy.Policy`.

    It reads `point_map`, `valid`, `gps` and `compass`, for PointNav `pointgoal_with_gps_compass`, for ObjectNav
    `objectgoal` and, where the environment grants it, `semantic`. Without `semantic` it cannot tell what
    things are: it explores, and stops where nothing is left to see. Of the environment it takes what a robot's
    data sheet says: body, camera, steps, success distance (``env.agent``) and the frame of the point maps
    (``env.frame``), any frame there is.

    Raises:
        SettingError: an observation that it needs is missing, or point maps do not fit the camera.
    """

    name = "planner"
    privileged = False

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Begin an episode with an empty map; what ``env`` tells is its settings ``agent`` and ``frame``."""
        agent, frame = getattr(env, "agent", None), getattr(env, "frame", None)
        if not isinstance(agent, AgentSpec) or frame is None:
            raise SettingError(
                "the planner needs an environment that tells its body and the frame of its point maps (env.agent,"
                f" env.frame), as pomagym's navigation environments do; found {type(env).__name__}"
            )
        self._agent = agent
        self._placer = PointMapPlacer(Frame.parse(frame), agent.camera, agent.camera_height)
        # Held back without sliding, it may be wedged in for good: it keeps a cell more from everything.
        room = agent.radius + (0.0 if agent.allow_sliding else CELL)
        self.map = MetricMap(room, agent.max_climb, agent.height)
        """What it has seen in this episode."""
        self.follower = WayFollower(self.map, agent, rng)
        """How it walks on it."""
        self._goal: tuple[float, float] | None = None
        self._explored: list[tuple[float, float]] = []
        self._object_points: set[tuple[int, int]] = set()
        self._object_in_sight = math.inf
        self._turned = 0

    def act(self, observation: Mapping[str, np.ndarray]) -> int:
        """The next action, from what was observed until now."""
        pose = planar_pose(observation)
        self.follower.notice(pose)
        self._see(observation, pose)
        if "pointgoal_with_gps_compass" in observation:
            action = self._towards_point(observation["pointgoal_with_gps_compass"], pose)
        elif "objectgoal" in observation:
            action = self._towards_object(pose)
        else:
            raise SettingError(
                "the planner needs the observation 'pointgoal_with_gps_compass' or 'objectgoal'; found "
                + ", ".join(sorted(observation))
            )
        self.follower.acted(pose, action)
        return action

    def _see(self, observation: Mapping[str, np.ndarray], pose: Pose) -> None:
        """Enter the point map into the map, and note points of the goal object."""
        transform = self._placer.place(observation, pose)
        if transform is None:
            return
        points, valid = observation["point_map"], observation["valid"]
        self.map.integrate(points, valid, transform, pose[:2], align=not self._placer.knows_height)
        if "semantic" in observation and "objectgoal" in observation:
            found = valid & (observation["semantic"] == int(observation["objectgoal"][0]))
            seen = points[found].astype(np.float64) @ transform[:2, :3].T + transform[:2, 3]  # (K, 2)
            self._object_in_sight = math.inf
            if len(seen):
                self._object_in_sight = float(np.hypot(*(seen - pose[:2]).T).min())
                self._object_points.update(map(tuple, np.unique((seen // CELL).astype(int), axis=0).tolist()))

    def _towards_point(self, goal: np.ndarray, pose: Pose) -> int:
        """On to the point at distance and angle ``goal`` (2,); STOP within the success distance."""
        distance, angle = float(goal[0]), float(goal[1])
        if distance <= _STOP_SHARE * self._agent.success_distance:
            return STOP
        x = pose[0] + distance * math.cos(pose[2] + angle)
        y = pose[1] + distance * math.sin(pose[2] + angle)
        if (
            self._goal is None or math.dist(self._goal, (x, y)) > 0.5 * CELL
        ):  # the last digits of the sensors vary
            self._goal = x, y
        return self.follower.towards(pose, *self._goal)

    def _towards_object(self, pose: Pose) -> int:
        """Look round once, then on to the goal object where it was seen, else to the nearest frontier."""
        if self._object_in_sight <= _OBJECT_STOP:
            return STOP
        if self._object_points:
            action = self._approach(pose)
            if action is not None:
                return action
        if self._turned * math.radians(self._agent.turn_angle) < 2 * math.pi - 1e-6:
            self._turned += 1
            return LEFT
        return self._explore(pose)

    def _approach(self, pose: Pose) -> int | None:
        """On to where the object is in reach, there turn to it; None where no such place can be reached."""
        places = self.map.around(np.array(sorted(self._object_points)), _OBJECT_REACH)
        i, j = self.map.cell_of(*pose[:2])
        if not places[i, j]:
            return self.follower.towards_any(pose, "object", places)
        offsets = (np.array(sorted(self._object_points)) + 0.5) * CELL - pose[:2]
        nearest = offsets[np.hypot(*offsets.T).argmin()]
        angle = math.atan2(nearest[1], nearest[0]) - pose[2]
        angle = math.atan2(math.sin(angle), math.cos(angle))
        if abs(angle) > 0.51 * math.radians(self._agent.turn_angle):
            return LEFT if angle > 0 else RIGHT
        return STOP  # it faces where it saw the object, which may lie below what it sees from here

    def _explore(self, pose: Pose) -> int:
        """On to the nearest frontier; STOP where none is left."""
        end = self.follower.way[-1] if self.follower.key == "frontier" and len(self.follower.way) else None
        if end is not None and math.dist(end, pose[:2]) < _FRONTIER_REACHED:
            self._explored.append((float(end[0]), float(end[1])))
        done = np.zeros(self.map.shape, np.bool_)
        self._mark(done, self._explored, _FRONTIER_REACHED)
        frontiers = frontier_cells(self.map.seen, self.map.obstacles(), done)
        action = self.follower.towards_any(pose, "frontier", frontiers)
        return STOP if action is None else action

    def _mark(self, cells: np.ndarray, places: list[tuple[float, float]], radius: float) -> None:
        """Set the cells within a radius of places, metres."""
        reach = math.ceil(radius / CELL)
        along = np.arange(-reach, reach + 1)
        disc = np.hypot(along[:, None], along[None, :]) * CELL <= radius
        for x, y in places:
            i, j = self.map.cell_of(x, y)
            i0, j0 = max(0, i - reach), max(0, j - reach)
            window = cells[i0 : i + reach + 1, j0 : j + reach + 1]
            window |= disc[i0 - i + reach :, j0 - j + reach :][: window.shape[0], : window.shape[1]]
