"""Map and plan: builds a metric map from the point maps while it moves, and walks the cheapest way on it.

The classical navigator that learned ones are measured against: as in "Benchmarking Classic and Learned Navigation in
Complex 3D Environments" (Mishkin, Dosovitskiy, Koltun 2019, arXiv 1901.10915) a map from depth, a planner for
which unknown is free, and a follower; for objects frontier exploration (`policies.mapping.object_search`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from envs.embodiment import AgentSpec
from policies.greedy_follower import STOP
from policies.mapping.follower import WayFollower
from policies.mapping.metric_map import CELL, MetricMap
from policies.mapping.object_search import ObjectSearch
from policies.mapping.poses import PointMapPlacer, Pose, agent_from_map, planar_pose
from policies.recognition.doubting_search import DoubtingSearch
from policies.recognition.eyes import Eyes
from poma3d.errors import SettingError
from poma3d.pointmap import Frame

_STOP_SHARE = 0.95
"""It stops nearer to a point goal than this share of the success distance."""

_KEPT_OFF = 2 * CELL
"""How much farther than its radius an agent that does not slide keeps from obstacles, metres."""


class Planner:
    """Maps, plans, walks, stops; not privileged. Implements `agent.policy.Policy`.

    It reads `point_map`, `valid`, `gps` and `compass`, for PointNav `pointgoal_with_gps_compass`, for ObjectNav
    `objectgoal` and, where the environment grants it, `semantic`. Without `semantic` it cannot tell what
    things are: it explores, and stops where nothing is left to see; with ``eyes`` it recognises them itself. Of the
    environment it takes what a robot's data sheet says: body, camera, steps, success distance (``env.agent``) and
    the frame of the point maps (``env.frame``), any frame there is; for its eyes also what the numbers of
    ``objectgoal`` are called (``env.category_ids``).

    Args:
        eyes: how it recognises objects where the environment does not tell.

    Raises:
        SettingError: an observation that it needs is missing, or point maps do not fit the camera.
    """

    name = "planner"
    privileged = False

    def __init__(self, eyes: Eyes | None = None) -> None:
        self._eyes = eyes
        if eyes is not None:
            self.name = f"planner+{eyes.name}"
            self.size = eyes.size
            """Rows and columns of the point maps it wants, pixels."""

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
        # Held back without sliding, it may be wedged in for good: it keeps off everything.
        room = agent.radius + (0.0 if agent.allow_sliding else _KEPT_OFF)
        self.map = MetricMap(room, agent.max_climb, agent.height)
        """What it has seen in this episode."""
        self.follower = WayFollower(self.map, agent, rng)
        """How it walks on it."""
        self._goal: tuple[float, float] | None = None
        self.search: ObjectSearch = ObjectSearch(self.map, self.follower, agent)
        """How it looks for objects, in ObjectNav."""
        if self._eyes is not None:
            self.search = DoubtingSearch(self.map, self.follower, agent)
            if not hasattr(env, "category_ids"):
                raise SettingError(
                    f"{self.name} looks for objects by what they are called, which {type(env).__name__} does not tell"
                    " (env.category_ids): it is for --task objectnav; elsewhere give --policy planner"
                )
            self._names = {number: name for name, number in env.category_ids.items()}

    def act(self, observation: Mapping[str, np.ndarray]) -> int:
        """The next action, from what was observed until now."""
        pose = planar_pose(observation)
        self.follower.notice(pose)
        self._see(observation, pose)
        if "pointgoal_with_gps_compass" in observation:
            action = self._towards_point(observation["pointgoal_with_gps_compass"], pose)
        elif "objectgoal" in observation:
            action = self.search.next_action(pose)
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
        base = self._placer.base_height(observation, pose, transform)
        agent, too_near = self._agent, None
        if not agent.allow_sliding:  # one that slides gets round what it runs into
            least = (self.map.drift if base is None else base) + agent.max_climb
            too_near = self._placer.too_near(observation, pose, transform, agent.depth_range[0], least)
        self.map.integrate(points, valid, transform, pose[:2], base=base, too_near=too_near)
        if "objectgoal" not in observation:
            return
        if isinstance(self.search, DoubtingSearch):
            self._recognise(self.search, observation, pose, transform, base)
        elif "semantic" in observation:
            found = valid & (observation["semantic"] == int(observation["objectgoal"][0]))
            seen = points[found].astype(np.float64) @ transform[:2, :3].T + transform[:2, 3]  # (K, 2)
            self.search.see(seen, pose)

    def _recognise(
        self,
        search: DoubtingSearch,
        observation: Mapping[str, np.ndarray],
        pose: Pose,
        transform: np.ndarray,
        base: float | None,
    ) -> None:
        """Enter how well the goal's word fits what is in view; arguments as in `MetricMap.integrate`."""
        assert self._eyes is not None
        if "semantic" in observation:
            raise SettingError(
                f"{self.name} recognises objects itself, and the environment tells them (semantic): leave --semantic"
                " out, or give --policy planner"
            )
        points, valid = observation["point_map"], observation["valid"]
        seen = points[valid].astype(np.float64) @ transform[:, :3].T + transform[:, 3]  # (N, 3)
        if base is None:
            base = self.map.drift
            seen[:, 2] += base
        if self._placer.frame is not Frame.AGENT:
            points = np.zeros_like(points)
            points[valid] = agent_from_map(seen, pose, base)
        category = self._names[int(observation["objectgoal"][0])]
        search.look(seen, self._eyes.fit(points, valid, category)[valid], pose, base)

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
