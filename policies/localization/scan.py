"""What the agent has seen since it woke up: points and eyes in the frame of waking, and where it is in it."""

from __future__ import annotations

import math

import numpy as np

from envs.embodiment import AgentSpec
from envs.locomotion import Action
from policies.localization.planar import compose, from_matrix, inverse, place_points, to_matrix

_CELL = 0.12
"""Points nearer together than this count once, metres."""
_TRACKED = 400
"""Points of a view that a step is measured by."""
_FEW = 50
"""Fewer points cannot be registered."""


class Scan:
    """Views joined in one frame: the origin is where the agent woke, x its first heading, z up.

    Turns are exact; how far a step led is measured by registering what is seen after it.

    Args:
        agent: step length, turn angle, camera height.
    """

    def __init__(self, agent: AgentSpec) -> None:
        self._step, self._turn = agent.forward_step, math.radians(agent.turn_angle)
        self._height = agent.camera_height
        self.pose = np.zeros(3)
        """Where the agent is now (3,): x, y, metres, and yaw, radians, in the frame of waking."""
        self.points = np.zeros((0, 3))
        """(N, 3) all that was seen, thinned, in the frame of waking."""
        self.eyes = np.zeros((0, 3))
        """(N, 3) from where each point was seen."""

    def moved(self, action: int, point_map: np.ndarray, valid: np.ndarray) -> None:
        """The agent has turned, or tried a step; what it sees now, in `Frame.AGENT`, says how far it came."""
        if action == Action.TURN_LEFT:
            self.pose = compose(self.pose, np.array([0.0, 0.0, self._turn]))
        elif action == Action.TURN_RIGHT:
            self.pose = compose(self.pose, np.array([0.0, 0.0, -self._turn]))
        elif action == Action.MOVE_FORWARD:
            seen = point_map[valid].astype(np.float64)
            self.pose = self._tracked(seen[:: max(1, len(seen) // _TRACKED)])

    def _tracked(self, seen: np.ndarray) -> np.ndarray:
        """Where a step led: the full length, or less where an obstacle held it back, as the views fit best."""
        import small_gicp

        free = compose(self.pose, np.array([self._step, 0.0, 0.0]))
        if (
            len(seen) < _FEW or len(self.points) < _FEW
        ):  # all but nose to nose with something: it stood in the way
            return free if len(seen) and np.median(seen[:, 0]) > self._step else self.pose
        target = small_gicp.PointCloud(self.points)
        tree = small_gicp.KdTree(target)
        small_gicp.estimate_normals_covariances(target, tree, num_neighbors=10, num_threads=1)
        source = small_gicp.PointCloud(seen)
        best, least = free, math.inf
        for share in (1.0, 0.5, 0.0):  # the first that fits best wins, so that blank walls change nothing
            start = compose(self.pose, np.array([share * self._step, 0.0, 0.0]))
            result = small_gicp.align(
                target,
                source,
                tree,
                init_T_target_source=to_matrix(start, 0.0),
                registration_type="PLANE_ICP",
                max_correspondence_distance=0.3,
                num_threads=1,
                max_iterations=10,
            )
            found, _ = from_matrix(result.T_target_source)
            error = result.error / max(result.num_inliers, 1)
            off = math.hypot(*(found[:2] - start[:2]))
            if result.num_inliers > 30 and off < 0.3 and error < 0.9 * least:
                best, least = np.array([found[0], found[1], self.pose[2]]), error
        return best

    def open_way(self, longest: float, half_width: float) -> tuple[float, float]:
        """In which direction, radians to the left, the way is open for longest, and for how long, metres.

        What stands between knee and head within ``half_width`` metres of the way blocks it. Ways that were never
        looked at count as closed.
        """
        points, _ = self.now()
        body = points[(points[:, 2] > 0.25) & (points[:, 2] < 1.6)]
        ground = points[points[:, 2] <= 0.25]
        best = (0.0, 0.0)
        for direction in np.arange(36) * math.radians(10.0) - math.pi:
            ahead = np.array([math.cos(direction), math.sin(direction)])
            aside = np.array([-ahead[1], ahead[0]])
            along = body[:, :2] @ ahead
            blocks = along[(abs(body[:, :2] @ aside) < half_width) & (along > 0)]
            floor = ground[:, :2] @ ahead
            seen = floor[abs(ground[:, :2] @ aside) < half_width]
            way = min(longest, blocks.min(initial=math.inf), seen.max(initial=0.0))
            if way > best[1] + 1e-9:
                best = (float(direction), float(way))
        return best

    def see(self, point_map: np.ndarray, valid: np.ndarray) -> None:
        """Add a point map (H, W, 3) in `Frame.AGENT`, seen from where the agent is now."""
        new = place_points(self.pose, thinned(point_map[valid].astype(np.float64)))
        eye = np.array([self.pose[0], self.pose[1], self._height])
        points = np.concatenate([self.points, new])
        eyes = np.concatenate([self.eyes, np.broadcast_to(eye, new.shape)])
        keep = _first_in_cell(points)
        self.points, self.eyes = points[keep], eyes[keep]

    def now(self) -> tuple[np.ndarray, np.ndarray]:
        """Points and eyes (N, 3) in the agent's frame as it stands now."""
        back = inverse(self.pose)
        return place_points(back, self.points), place_points(back, self.eyes)


def thinned(points: np.ndarray) -> np.ndarray:
    """The points (N, 3) of which none is in the same small cell as one before it."""
    return points[_first_in_cell(points)]


def _first_in_cell(points: np.ndarray) -> np.ndarray:
    """Indices (M,), ascending, of the first point of (N, 3) in each cell."""
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    cells = np.floor(points / _CELL).astype(np.int64)
    cells -= cells.min(axis=0)
    _, extent_y, extent_z = cells.max(axis=0) + 1
    codes = (cells[:, 0] * extent_y + cells[:, 1]) * extent_z + cells[:, 2]
    return np.sort(np.unique(codes, return_index=True)[1])
