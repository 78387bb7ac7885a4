"""A simulator of two rooms with a closed form for every question, and ways to make it answer one of them wrongly."""

from __future__ import annotations

import numpy as np

from envs.scenes.scene import Instance, Scene
from envs.simulators.check import check_simulator
from envs.simulators.protocol import Path
from envs.simulators.raycast import RaycastSimulator

ROOMS = np.array([[[0.0, 0.0], [6.0, 4.0]], [[8.0, 0.0], [11.0, 3.0]]])
"""Two islands: (x, z) of low and high corner."""
FLOOR = 0.1


class Rooms:
    """Two rectangles with a closed form for every question; paths are straight."""

    bounds = np.array([[0.0, FLOOR, 0.0], [11.0, FLOOR, 4.0]])
    island_areas = np.array([24.0, 9.0])

    def island(self, points):
        inside = [
            ((points[:, [0, 2]] >= low) & (points[:, [0, 2]] <= high)).all(1)
            for low, high in ROOMS - [[[1e-6], [-1e-6]]]
        ]
        level = np.abs(points[:, 1] - FLOOR) <= 0.5
        return np.where(level & inside[0], 0, np.where(level & inside[1], 1, -1))

    def is_navigable(self, points, max_y_delta=0.5):
        level = np.abs(points[:, 1] - FLOOR) <= max_y_delta
        flat = points * [1, 0, 1] + [0, FLOOR, 0]
        return level & (self.island(flat) >= 0)

    def _clamp(self, points, room):
        low, high = ROOMS[room].transpose(1, 0, 2) if np.ndim(room) else ROOMS[room]
        flat = np.clip(points[:, [0, 2]], low, high)
        return np.stack([flat[:, 0], np.full(len(points), FLOOR), flat[:, 1]], axis=1)

    def snap_point(self, points):
        candidates = np.stack([self._clamp(points, 0), self._clamp(points, 1)])
        distance = np.linalg.norm(candidates - points, axis=2)
        nearest = candidates[distance.argmin(0), np.arange(len(points))]
        return np.where((distance.min(0) <= 4)[:, None], nearest, np.nan)

    def try_step(self, start, end, *, sliding=True):
        held = self._clamp(end, self.island(start))
        if sliding:
            return held
        step = end - start
        room = ROOMS[self.island(start)]
        with np.errstate(divide="ignore", invalid="ignore"):
            limit = np.where(step[:, [0, 2]] > 0, room[:, 1], room[:, 0]) - start[:, [0, 2]]
            share = np.where(step[:, [0, 2]] == 0, 1.0, limit / step[:, [0, 2]]).min(axis=1)
        return start + step * np.clip(share, 0, 1)[:, None] * [1, 0, 1]

    def distance_field(self, goals):
        return Field(self, goals)

    def geodesic_distance(self, start, goals):
        return self.distance_field(goals).distance(start)

    def shortest_path(self, start, goals):
        return self.distance_field(goals).path(start)

    def random_navigable_point(self, rng, *, island=None):
        room = rng.choice(2, p=[24 / 33, 9 / 33]) if island is None else island
        x, z = rng.uniform(*ROOMS[room])
        return np.array([x, FLOOR, z])

    def distance_to_closest_obstacle(self, points, max_radius=2.0):
        island = self.island(points)
        room = ROOMS[island]
        flat = points[:, [0, 2]]
        distance = np.minimum(flat - room[:, 0], room[:, 1] - flat).min(axis=1)
        return np.where(island >= 0, np.clip(distance, 0, max_radius), 0.0)

    def island_radius(self, points):
        return np.where(self.island(points) >= 0, 2.0, 0.0)

    def topdown_map(self, height, cell=0.05, max_y_delta=0.5):
        x, z = np.meshgrid(np.arange(0, 11, cell), np.arange(0, 4, cell))
        points = np.stack([x, np.full_like(x, height), z], -1).reshape(-1, 3)
        return self.is_navigable(points, max_y_delta).reshape(x.shape)


class Field:
    def __init__(self, surface, goals):
        self.surface, self.goals = surface, goals

    def _table(self, points):
        table = np.linalg.norm(points[:, None] - self.goals[None], axis=2)
        here, there = self.surface.island(points)[:, None], self.surface.island(self.goals)[None]
        return np.where((here == there) & (here >= 0), table, np.inf)

    def distance(self, points):
        return self._table(points).min(axis=1)

    def path(self, point):
        table = self._table(point[None])[0]
        goal = int(table.argmin())
        if np.isinf(table[goal]):
            return Path(np.empty((0, 3)), np.inf, -1)
        return Path(np.stack([point, self.goals[goal]]), float(table[goal]), goal)


def box(low, high):
    """Vertices and inward triangles of a box."""
    corners = np.array(
        [[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    )
    faces = "013 032 467 475 045 051 237 276 026 064 157 173"
    triangles = np.array([[int(corner) for corner in face] for face in faces.split()])
    a, b, c = corners[triangles].transpose(1, 0, 2)
    inwards = (np.cross(b - a, c - a) * (corners.mean(0) - a)).sum(1) > 0
    return corners, np.where(inwards[:, None], triangles, triangles[:, ::-1])


def two_rooms() -> Scene:
    """Two rooms around the two islands; the second lacks its ceiling, so that some rays hit nothing."""
    first, faces = box((-0.2, 0.1, -0.2), (6.2, 3, 4.2))
    second, more = box((7.8, 0.1, -0.2), (11.2, 3, 3.2))
    more = more[:-6] if len(more) == 12 else more
    return Scene(
        "rooms",
        np.concatenate([first, second]).astype(np.float32),
        np.concatenate([faces, more + 8]).astype(np.int32),
        np.concatenate([np.zeros(12), np.ones(len(more))]).astype(np.int32),
        (Instance("hall.00", "hall"), Instance("shed.00", "shed")),
    )


def two_room_simulator() -> RaycastSimulator:
    """The built-in simulator of the two rooms, walked on by their closed form."""
    return RaycastSimulator(two_rooms(), surface=Rooms())


class Broken:
    """A simulator with some of its methods replaced."""

    def __init__(self, simulator, **changes):
        self._simulator = simulator
        self._changes = changes

    def __getattr__(self, name):
        if name in self._changes:
            return self._changes[name]
        return getattr(self._simulator, name)


def with_surface(simulator, **changes):
    """A simulator whose surface has some methods replaced; each is called with the good surface first."""
    surface = Rooms()
    for name, change in changes.items():
        value = (lambda *a, _f=change, **k: _f(Rooms(), *a, **k)) if callable(change) else change
        setattr(surface, name, value)
    return Broken(simulator, surface=surface)


def with_views(simulator, change):
    """A simulator whose answers are changed: ``change(views, number_of_the_call)``."""
    calls = []

    def render(world_from_camera, camera, **options):
        calls.append(camera)
        return change(simulator.render(world_from_camera, camera, **options), len(calls))

    return Broken(simulator, render=render)


def failing(simulator) -> set[str]:
    """The failing lines of the report, each of which must say what to do."""
    report = check_simulator(simulator)
    assert all(row.advice for row in report.failures)
    return {row.what for row in report.failures}


def dirty_zeros(views, _):
    """Pixels that hit nothing are no longer zero."""
    views.point_map[~views.valid] = 1e-6
    return views
