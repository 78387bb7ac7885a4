"""From a point map in any frame to the policy's map: its own frame, x along the start heading, y left, z up.

In the agent's and the camera's frame the pose comes from `gps` and `compass`; in the episode's it is not needed; in
the world's and the scene's the map's place is found once, from what the camera sees (`resect`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from poma3d.errors import SettingError
from poma3d.pointmap import Camera, Frame

Pose = tuple[float, float, float]
"""x, y (metres) and yaw (radians) in the map."""

_AGENT_FROM_OPENCV = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
_SCENE_FROM_WORLD = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_FEWEST_PIXELS = 12
_MOST_PIXELS = 2000
_HEIGHT_PIXELS = 200
_NEAR_SHARE = 0.8
"""What is nearer than the camera measures is taken to reach to this share of that depth."""
_AT_FEET = 0.3
"""So near nothing stands, for there the agent is, metres."""
_LARGEST_MISFIT = 0.05
"""Share by which the fitted axes may miss unit length."""


def planar_pose(observation: Mapping[str, np.ndarray]) -> Pose:
    """(x, y, yaw) of the agent in the map frame from `gps` (forward, right) and `compass`; metres, radians.

    Raises:
        SettingError: one of the sensors is missing.
    """
    missing = [name for name in ("gps", "compass") if name not in observation]
    if missing:
        raise SettingError(
            f"the planner needs the observation {missing[0]!r}; found {', '.join(sorted(observation))}"
        )
    forward, right = (float(value) for value in observation["gps"])
    return forward, -right, float(observation["compass"][0])


def _map_from_agent(x: float, y: float, yaw: float) -> np.ndarray:
    """The pose (3, 4) of the agent's base, at height 0."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0.0, x], [s, c, 0.0, y], [0.0, 0.0, 1.0, 0.0]])


def agent_from_map(points: np.ndarray, pose: Pose, base: float) -> np.ndarray:
    """Points (N, 3) of the map in the agent's frame, metres.

    Args:
        points: in the map.
        pose: (x, y, yaw) of the agent in the map.
        base: height of its base in the map.
    """
    c, s = math.cos(pose[2]), math.sin(pose[2])
    turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    return (points - (*pose[:2], base)) @ turn.T


def resect(points: np.ndarray, valid: np.ndarray, camera: Camera) -> np.ndarray | None:
    """The rigid transform (3, 4) from a z-up frame to a level camera (x forward, y left, z up), from one view.

    Each point must lie on the ray of its pixel: two equations a pixel, linear in cosine and sine of the yaw and in
    the place, solved by least squares. It is camera resection by the direct linear transform (Hartley and
    Zisserman, "Multiple View Geometry", section 7.1) with the vertical known.

    Args:
        points: (H, W, 3) in the z-up frame, metres.
        valid: (H, W) bool.
        camera: pixels and field of view.

    Returns:
        The transform; None where too few pixels are valid.

    Raises:
        SettingError: the points are not what a level camera sees.
    """
    chosen = np.flatnonzero(valid)
    if len(chosen) < _FEWEST_PIXELS:
        return None
    chosen = chosen[:: math.ceil(len(chosen) / _MOST_PIXELS)]
    seen = points.reshape(-1, 3)[chosen].astype(np.float64)  # (H, W, 3) -> (K, 3)
    middle = seen.mean(axis=0)
    X, Y, Z = (seen - middle).T
    rays = camera.rays().reshape(-1, 3)[chosen]  # (H, W, 3) -> (K, 3)
    left, up = -rays[:, 0], -rays[:, 1]
    one, none = np.ones_like(X), np.zeros_like(X)
    # Unknown: cosine, sine, forward, left and up of the middle as the camera sees it.
    sideways = np.stack([Y - left * X, -X - left * Y, -left, one, none], axis=1)
    upwards = np.stack([up * X, up * Y, up, none, -one], axis=1)
    system, answer = np.concatenate([sideways, upwards]), np.concatenate([none, Z])
    (c, s, *place), _, rank, _ = np.linalg.lstsq(system, answer, rcond=None)
    if rank < 5:
        return None
    if abs(math.hypot(c, s) - 1.0) > _LARGEST_MISFIT:
        raise SettingError(
            "the point map does not fit the camera: its points lie on the rays of no level camera of"
            f" {camera.height} x {camera.width} pixels with hfov {camera.hfov:g}"
        )
    yaw = math.atan2(s, c)
    c, s = math.cos(yaw), math.sin(yaw)
    turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    return np.concatenate([turn, (np.array(place) - turn @ middle)[:, None]], axis=1)


class PointMapPlacer:
    """Says, for every observation, how its point map lies in the map.

    Args:
        frame: of the point maps.
        camera: their pixels and field of view.
        camera_height: of the camera above the agent's base, metres.
    """

    def __init__(self, frame: str | Frame, camera: Camera, camera_height: float) -> None:
        self.frame = Frame.parse(frame)
        self._camera, self._camera_height = camera, camera_height
        self._found: np.ndarray | None = None

    def base_height(
        self, observation: Mapping[str, np.ndarray], pose: Pose, transform: np.ndarray
    ) -> float | None:
        """Height of the agent's base in the map, metres; None in the agent's and the camera's frame, where heights
        count from the base, wherever it stands now.

        The camera is where the rays of all pixels meet: each says how high, and the median is taken.

        Args:
            observation: with `point_map` and `valid`.
            pose: (x, y, yaw) of the agent in the map (`planar_pose`).
            transform: what `place` found.
        """
        if self.frame in (Frame.AGENT, Frame.CAMERA):
            return None
        chosen = np.flatnonzero(observation["valid"])
        if not len(chosen):
            return None
        chosen = chosen[:: math.ceil(len(chosen) / _HEIGHT_PIXELS)]
        points = observation["point_map"].reshape(-1, 3)[chosen].astype(np.float64)  # (H, W, 3) -> (K, 3)
        points = points @ transform[:, :3].T + transform[:, 3]
        forward = (points[:, :2] - pose[:2]) @ (math.cos(pose[2]), math.sin(pose[2]))
        falls = self._camera.rays().reshape(-1, 3)[chosen, 1]  # metres down for each metre forward
        return float(np.median(points[:, 2] + falls * forward)) - self._camera_height

    def place(self, observation: Mapping[str, np.ndarray], pose: Pose) -> np.ndarray | None:
        """The transform (3, 4) from the point map's frame to the map's; None where it cannot be told yet.

        Args:
            observation: with `point_map` and `valid`.
            pose: (x, y, yaw) of the agent in the map (`planar_pose`).

        Raises:
            SettingError: the point map does not fit the camera.
        """
        if self.frame is Frame.AGENT:
            return _map_from_agent(*pose)
        if self.frame is Frame.CAMERA:
            lifted = np.array([[0.0], [0.0], [self._camera_height]])
            return _compose(_map_from_agent(*pose), np.concatenate([_AGENT_FROM_OPENCV, lifted], axis=1))
        if self.frame is Frame.EPISODE:
            return np.eye(3, 4)
        if self._found is None:
            to_scene = _SCENE_FROM_WORLD if self.frame is Frame.WORLD else np.eye(3)
            seen = resect(observation["point_map"] @ to_scene.T, observation["valid"], self._camera)
            if seen is None:
                return None
            seen[2, 3] += self._camera_height
            upright = np.concatenate([to_scene, np.zeros((3, 1))], axis=1)
            self._found = _compose(_map_from_agent(*pose), _compose(seen, upright))
        return self._found

    def too_near(
        self,
        observation: Mapping[str, np.ndarray],
        pose: Pose,
        transform: np.ndarray,
        near: float,
        least: float,
    ) -> np.ndarray:
        """Where (K, 2), x and y in the map, something must stand before the agent's feet that the camera does not show.

        The lowest pixels look at the floor well beyond its feet. A column in which they are not valid is covered
        by what is nearer than the camera measures; and where they show the top of something (a bed), that reaches
        farther towards the agent than is seen.

        Args:
            observation: with `point_map` and `valid`.
            pose: (x, y, yaw) of the agent in the map.
            transform: what `place` found.
            near: least z-depth that is measured, metres.
            least: height in the map above which a top is in the way, metres.
        """
        valid = observation["valid"][-2:]  # (2, W)
        if not observation["valid"].any():
            return np.zeros((0, 2))
        points = observation["point_map"][-2:].astype(np.float64) @ transform[:, :3].T + transform[:, 3]
        c, s = math.cos(pose[2]), math.sin(pose[2])
        offsets = points[..., :2] - pose[:2]  # (2, W, 2)
        forward = offsets @ (c, s)
        lower, upper = points[1, :, 2], points[0, :, 2]
        level = np.abs(upper - lower) < 0.5 * (forward[0] - forward[1])
        top = valid.all(axis=0) & level & (lower > least)
        rays = -self._camera.rays()[0, :, 0]  # metres to the left for each metre forward
        ends = np.where(~valid.any(axis=0), _NEAR_SHARE * near, np.where(top, forward[1], 0.0))
        ahead = np.arange(_AT_FEET, float(ends.max()) + 1e-9, _AT_FEET / 6)[:, None]  # (R, 1)
        hidden = ahead <= ends
        ahead, left = np.broadcast_to(ahead, hidden.shape)[hidden], (ahead * rays)[hidden]
        return np.stack([pose[0] + c * ahead - s * left, pose[1] + s * ahead + c * left], axis=1)


def _compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """``outer`` after ``inner``, both (3, 4)."""
    return np.concatenate([outer[:, :3] @ inner[:, :3], outer[:, :3] @ inner[:, 3:] + outer[:, 3:]], axis=1)
