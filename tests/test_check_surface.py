"""`check_simulator` on walkable surfaces: each way in which one can be wrong fails its line."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from two_rooms import failing, two_room_simulator, with_surface


@pytest.fixture
def simulator():
    with two_room_simulator() as simulator:
        yield simulator


def drifting_snap(good, points):
    return good.snap_point(points) + np.array([0.01, 0, 0])


def half_symmetric(good, start, goals):
    return good.geodesic_distance(start, goals) * (1 + 0.5 * (start[:, 0] > goals[0, 0]))


def too_short(good, start, goals):
    return good.geodesic_distance(start, goals) * 0.9


def across_islands(good, start, goals):
    return np.linalg.norm(start[:, None] - goals[None], axis=2).min(axis=1)


def clockwork(good, rng, *, island=None):
    return good.random_navigable_point(np.random.default_rng(), island=island)


def global_random(good, rng, *, island=None):
    np.random.uniform()  # noqa: NPY002
    return good.random_navigable_point(rng, island=island)


def any_island(good, rng, *, island=None):
    return good.random_navigable_point(rng)


def off_the_edge(good, start, end, *, sliding=True):
    return np.asarray(end, float)


def slides_always(good, start, end, *, sliding=True):
    return good.try_step(start, end, sliding=True)


def never_slides(good, start, end, *, sliding=True):
    return good.try_step(start, end, sliding=False) if not sliding else np.asarray(start, float)


def restless(good, start, end, *, sliding=True):
    still = (start == end).all(axis=1)[:, None]
    return np.where(
        still, np.asarray(start) + np.array([0.02, 0, 0]), good.try_step(start, end, sliding=sliding)
    )


def crooked_path(good, start, goals):
    path = good.shortest_path(start, goals)
    return dataclasses.replace(path, length=path.length + 0.5)


def half_path(good, start, goals):
    path = good.shortest_path(start, goals)
    if not len(path.points):
        return path
    middle = path.points.mean(axis=0)
    return dataclasses.replace(path, points=np.stack([path.points[0], middle, path.points[0]]))


def hopeful_path(good, start, goals):
    path = good.shortest_path(start, goals)
    return dataclasses.replace(path, goal_index=0) if not len(path.points) else path


def first_goal_only(good, goals):
    return good.distance_field(goals[:1])


def too_clear(good, points, max_radius=2.0):
    return np.where(good.is_navigable(points), max_radius, 0.0)


def too_far(good, points, max_radius=2.0):
    return good.distance_to_closest_obstacle(points, 10.0)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"is_navigable": lambda good, points, d=0.5: np.ones(len(points), bool)}, "surface: navigable"),
        (
            {"is_navigable": lambda good, points, d=0.5: good.is_navigable(points).astype(int)},
            "surface: navigable",
        ),
        ({"is_navigable": lambda good, points, d=0.5: points[:, 0] < 3}, "surface: navigable"),
        ({"snap_point": drifting_snap}, "surface: snapping twice"),
        ({"snap_point": lambda good, points: points}, "surface: snapping twice"),
        (
            {"snap_point": lambda good, points: np.nan_to_num(good.snap_point(points))},
            "surface: snapping twice",
        ),
        ({"random_navigable_point": clockwork}, "surface: randomness"),
        ({"random_navigable_point": global_random}, "surface: randomness"),
        ({"random_navigable_point": any_island}, "surface: randomness"),
        (
            {"random_navigable_point": lambda good, rng, *, island=None: np.array([1, 0.1, 1])},
            "surface: randomness",
        ),
        ({"island_areas": np.array([9.0, 24.0])}, "surface: islands"),
        ({"island": lambda good, points: good.island(points) + 1}, "surface: islands"),
        ({"island_radius": lambda good, points: np.zeros(len(points))}, "surface: islands"),
        ({"geodesic_distance": half_symmetric}, "surface: distance there and back"),
        ({"geodesic_distance": too_short}, "surface: distance there and back"),
        ({"geodesic_distance": across_islands}, "surface: distance there and back"),
        ({"geodesic_distance": too_short}, "surface: path length"),
        ({"distance_field": first_goal_only}, "surface: distance to several goals"),
        ({"shortest_path": crooked_path}, "surface: path length"),
        ({"shortest_path": half_path}, "surface: path length"),
        ({"shortest_path": hopeful_path}, "surface: path length"),
        ({"try_step": off_the_edge}, "surface: steps"),
        ({"try_step": slides_always}, "surface: steps"),
        ({"try_step": never_slides}, "surface: steps"),
        ({"try_step": restless}, "surface: steps"),
        ({"distance_to_closest_obstacle": too_clear}, "surface: clearance"),
        ({"distance_to_closest_obstacle": too_far}, "surface: clearance"),
        ({"topdown_map": lambda good, *a, **k: good.topdown_map(*a, **k).T}, "surface: top-down map"),
        ({"topdown_map": lambda good, *a, **k: ~good.topdown_map(*a, **k)}, "surface: top-down map"),
    ],
)
def test_a_wrong_surface_fails_its_line(simulator, changes, line):
    assert line in failing(with_surface(simulator, **changes))
