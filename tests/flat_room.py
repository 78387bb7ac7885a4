"""A room small enough to know every answer: 10 x 10 m, a wall with a gap, a sofa; shared by several tests."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from envs.embodiment import AgentSpec
from envs.episodes import Episode, Goal
from envs.pointnav import PointNavEnv
from envs.scenes.scene import NO_INSTANCE, Instance, Scene
from envs.simulators.protocol import Path
from envs.simulators.raycast import RaycastSimulator

HALF = 5.0
WALL = 0.1
"""Half the thickness of the wall at x = 0 from z = -5 to the gap."""
GAP = 2.0
"""The wall ends here; one walks around its end."""
SOFA = np.array([[-4.0, 0.0, -4.0], [-3.0, 0.8, -3.0]])


def box(low, high, *, inward: bool = False) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array(list(itertools.product(*zip(low, high, strict=True))), np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    return corners, triangles[:, ::-1] if inward else triangles


def room_scene(scene_id: str = "flat_room") -> Scene:
    parts = [
        (*box((-HALF, 0, -HALF), (HALF, 3, HALF), inward=True), NO_INSTANCE),
        (*box((-WALL, 0, -HALF), (WALL, 3, GAP)), NO_INSTANCE),
        (*box(*SOFA), 0),
        (*box((3.5, 0, 3.5), (4.0, 0.5, 4.0)), 1),
    ]
    vertices, triangles, ids, offset = [], [], [], 0
    for corners, faces, instance in parts:
        vertices.append(corners)
        triangles.append(faces + offset)
        ids.append(np.full(len(faces), instance, np.int32))
        offset += len(corners)
    return Scene(
        scene_id,
        np.concatenate(vertices),
        np.concatenate(triangles),
        np.concatenate(ids),
        (Instance("sofa.00", "sofa", "living_room.00"), Instance("chair.00", "chair")),
    )


class FlatField:
    """Exact distances around the end of the wall."""

    def __init__(self, goals: np.ndarray) -> None:
        self.goals = np.asarray(goals, float)

    def distance(self, points: np.ndarray) -> np.ndarray:
        return np.array([self.path(point).length for point in np.asarray(points, float)])

    def path(self, point: np.ndarray) -> Path:
        best = Path(np.zeros((0, 3)), math.inf, -1)
        for index, goal in enumerate(self.goals):
            for way in _ways(np.asarray(point, float), goal):
                length = float(np.linalg.norm(np.diff(way, axis=0), axis=1).sum())
                if length < best.length:
                    best = Path(way, length, index)
        return best


def _ways(a: np.ndarray, b: np.ndarray):
    if not (_free(a) and _free(b)):
        return
    corners = [np.array([-WALL, 0.0, GAP]), np.array([WALL, 0.0, GAP])]
    if a[0] > b[0]:
        corners = corners[::-1]
    for via in ([], [corners[0]], [corners[1]], corners):
        points = [a, *via, b]
        if not any(_blocked(p, q) for p, q in itertools.pairwise(points)):
            yield np.array(points)


def _free(p: np.ndarray) -> bool:
    inside = abs(p[0]) <= HALF and abs(p[2]) <= HALF
    return bool(inside and not (abs(p[0]) < WALL - 1e-9 and p[2] < GAP - 1e-9))


def _through_wall(p: np.ndarray, q: np.ndarray) -> float:
    """Share of the segment after which it is inside the wall; infinite where it never is."""
    if abs(q[0] - p[0]) < 1e-12:
        enter, leave = (0.0, 1.0) if abs(p[0]) < WALL - 1e-9 else (2.0, -1.0)
    else:
        ends = sorted(((side - p[0]) / (q[0] - p[0])) for side in (-WALL + 1e-9, WALL - 1e-9))
        enter, leave = max(0.0, ends[0]), min(1.0, ends[1])
    if enter >= leave:
        return math.inf
    at_enter, at_leave = (p[2] + (q[2] - p[2]) * t for t in (enter, leave))
    if at_enter < GAP - 1e-9:
        return enter
    if at_leave < GAP - 1e-9:
        return enter + (leave - enter) * (at_enter - GAP) / (at_enter - at_leave)
    return math.inf


def _blocked(p: np.ndarray, q: np.ndarray) -> bool:
    return _through_wall(p, q) < 1


class FlatSurface:
    """The floor without the wall; the sofa may be walked through, which keeps the answers simple."""

    bounds = np.array([[-HALF, 0.0, -HALF], [HALF, 0.0, HALF]])
    island_areas = np.array([100.0 - 2 * WALL * (HALF + GAP)])

    def is_navigable(self, points, max_y_delta=0.5):
        return np.array([_free(p) and abs(p[1]) <= max_y_delta for p in np.asarray(points, float)])

    def snap_point(self, points):
        points = np.array(points, float)
        out = np.clip(points, -HALF, HALF) * (1.0, 0.0, 1.0)
        inside = (np.abs(out[:, 0]) < WALL) & (out[:, 2] < GAP)
        out[inside, 0] = np.where(out[inside, 0] < 0, -WALL, WALL)
        out[np.linalg.norm(out - points, axis=1) > 2.0] = np.nan
        return out

    def try_step(self, start, end, *, sliding=True):
        reached = np.array(end, float)
        for row, (a, b) in enumerate(zip(np.asarray(start, float), np.asarray(end, float), strict=True)):
            outside = [
                (side * HALF - a[axis]) / (b[axis] - a[axis])
                for axis in (0, 2)
                for side in (-1, 1)
                if side * b[axis] > HALF
            ]
            stop = min([_through_wall(a, b), *outside, 1.0])
            last = a + (b - a) * max(0.0, stop - (1e-6 if stop < 1 else 0.0))
            for axis in (0, 2) if sliding else ():
                slid = last.copy()
                slid[axis] = np.clip(b[axis], -HALF, HALF)
                if _free(slid) and not _blocked(last, slid):
                    last = slid
            reached[row] = last
        return reached

    def distance_field(self, goals):
        return FlatField(goals)

    def geodesic_distance(self, start, goals):
        return FlatField(goals).distance(start)

    def shortest_path(self, start, goals):
        return FlatField(goals).path(start)

    def random_navigable_point(self, rng, *, island=None):
        while True:
            x, z = rng.uniform(-HALF, HALF, 2)
            point = np.array([x, 0.0, z])
            if _free(point):
                return point

    def distance_to_closest_obstacle(self, points, max_radius=2.0):
        return np.minimum(max_radius, HALF - np.abs(np.asarray(points))[:, [0, 2]].max(axis=1))

    def island(self, points):
        return np.where(self.is_navigable(points), 0, -1)

    def island_radius(self, points):
        return np.where(self.is_navigable(points), 7.0, 0.0)

    def topdown_map(self, height, cell=0.05, max_y_delta=0.5):
        edge = np.arange(-HALF + cell / 2, HALF, cell)
        return ~((np.abs(edge)[None, :] < WALL) & (edge[:, None] < GAP))


class RoomSimulator(RaycastSimulator):
    """Shared by environments that are made from one another's settings."""

    def __deepcopy__(self, memo: dict) -> RoomSimulator:
        return self


def room_simulator(agent: AgentSpec | None = None, scene_id: str = "flat_room") -> RoomSimulator:
    return RoomSimulator(room_scene(scene_id), agent or AgentSpec(), surface=FlatSurface(), threads=1)


def room_episode(
    start: tuple = (2.0, 0.0, 0.0), goal: tuple = (2.0, 0.0, -2.0), heading: float = 0.0
) -> Episode:
    rotation = (0.0, math.sin(heading / 2), 0.0, math.cos(heading / 2))
    return Episode("e", "flat_room", start, rotation, (Goal(goal),))


def room_env(*episodes: Episode, **settings: Any) -> PointNavEnv:
    given = {"episodes": list(episodes)} if episodes else {"episodes": 3}
    return PointNavEnv(**{"simulator": room_simulator(), "size": (16, 24), **given, **settings})
