"""Queries of a walkable surface whose answers are known: steps, paths, distances, islands, maps; wrong arguments."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from walkable_examples import l_shape, navmesh_of, points, rectangle, square, two_islands

from envs.simulators.protocol import DistanceField, Surface
from envs.simulators.walkable.surface import NavmeshSurface
from poma3d.errors import SceneError, SettingError


def test_square_navigable_and_snap():
    surface = NavmeshSurface(square())
    query = points(
        (5, 0, 5), (5, 0.4, 5), (5, 0.6, 5), (10.005, 0, 5), (10.02, 0, 5), (11, 0, 5), (13, 0, 5), (5, 5, 5)
    )
    assert surface.is_navigable(query).tolist() == [True, True, False, True, False, False, False, False]
    assert surface.is_navigable(query, max_y_delta=1.0)[2]
    snapped = surface.snap_point(query)
    np.testing.assert_allclose(snapped[5], (10, 0, 5))
    np.testing.assert_allclose(snapped[2], (5, 0, 5))
    assert np.isnan(snapped[6]).all()  # 3 m away, Habitat looks 2 m around
    assert np.isnan(snapped[7]).all()  # 5 m above, Habitat looks 4 m up and down


def test_square_distance_to_the_border():
    surface = NavmeshSurface(square())
    query = points((5, 0, 5), (1, 0, 5), (0, 0, 5), (10, 0, 10), (30, 0, 30))
    np.testing.assert_allclose(surface.distance_to_closest_obstacle(query), (2, 1, 0, 0, 0), atol=1e-6)
    assert surface.distance_to_closest_obstacle(query, max_radius=10)[0] == pytest.approx(5)


def test_steps_slide_along_the_border_or_stop_there():
    surface = NavmeshSurface(square())
    start, end = points((9.9, 0, 5)), points((10.3, 0, 5.4))
    np.testing.assert_allclose(surface.try_step(start, end), points((10, 0, 5.4)), atol=1e-6)
    np.testing.assert_allclose(surface.try_step(start, end, sliding=False), points((10, 0, 5.1)), atol=1e-6)
    inside = points((5, 0, 5.25))
    for sliding in (True, False):
        np.testing.assert_allclose(surface.try_step(points((5, 0, 5)), inside, sliding=sliding), inside)


def test_a_step_from_off_the_surface_stays():
    surface = NavmeshSurface(square())
    far = points((50, 0, 50))
    np.testing.assert_allclose(surface.try_step(far, far + 0.25), far)
    np.testing.assert_allclose(surface.try_step(points((5, 0, 5)), far), points((5, 0, 5)))


def test_l_shape_turns_at_its_inner_corner():
    surface = NavmeshSurface(l_shape())
    path = surface.shortest_path(np.array((1, 0, 5)), points((5, 0, 1)))
    np.testing.assert_allclose(path.points, points((1, 0, 5), (2, 0, 2), (5, 0, 1)))
    assert path.length == pytest.approx(2 * math.sqrt(10))
    assert path.goal_index == 0
    assert surface.geodesic_distance(points((1, 0, 5)), points((5, 0, 1)))[0] == pytest.approx(path.length)


def test_corridor_round_two_walls():
    """Three rooms of 2 m x 6 m behind each other, joined at alternate ends: an S."""
    surface = NavmeshSurface(
        navmesh_of(
            [
                rectangle(0, 0, 6, 2),
                rectangle(6, 0, 8, 2),
                [(6, 2), (8, 2), (8, 4), (6, 4)],
                rectangle(0, 4, 6, 6),
                rectangle(6, 4, 8, 6),
            ]
        )
    )
    expected = 2 * math.hypot(5, 1) + 2
    assert surface.geodesic_distance(points((1, 0, 1)), points((1, 0, 5)))[0] == pytest.approx(expected)


def test_a_ramp_is_as_long_as_its_slope():
    surface = NavmeshSurface(navmesh_of([[(0, 0, 0), (4, 3, 0), (4, 3, 2), (0, 0, 2)]]))
    distance = surface.geodesic_distance(points((0.4, 0.3, 1)), points((3.6, 2.7, 1)))[0]
    assert distance == pytest.approx(4.0, rel=1e-5)
    assert surface.try_step(points((2, 1.5, 1)), points((2.4, 1.5, 1)))[0, 1] == pytest.approx(1.8, abs=1e-5)


def test_two_islands():
    surface = NavmeshSurface(two_islands())
    near, far = points((3.9, 0, 2)), points((4.1, 0, 2))
    assert surface.geodesic_distance(near, far)[0] == math.inf
    path = surface.shortest_path(near[0], far)
    assert path.points.shape == (0, 3)
    assert path.length == math.inf
    assert path.goal_index == -1
    assert surface.island(np.concatenate([near, far, far + 100])).tolist() == [0, 1, -1]
    np.testing.assert_allclose(surface.island_areas, (16, 8))
    expected = (4 / math.sqrt(2), math.hypot(1, 2), 0)
    np.testing.assert_allclose(surface.island_radius(np.concatenate([near, far, far + 100])), expected)
    np.testing.assert_allclose(surface.try_step(near, far), near, atol=1e-6)


def test_a_slide_along_a_thin_wall_stays_on_its_island():
    surface = NavmeshSurface(two_islands())
    position = points((3.9, 0, 1))
    for _ in range(5):
        position = surface.try_step(position, position + np.array((0.2, 0, 0.3))).astype(float)
        assert surface.island(position)[0] == 0


def test_upper_floors_are_kept_apart():
    """A floor of 3 m x 3 m above another, 3 m higher."""
    lower = rectangle(0, 0, 3, 3)
    upper = [(x, 3.0, z) for x, z in lower]
    surface = NavmeshSurface(navmesh_of([lower, upper]))
    query = points((1, 0.2, 1), (1, 3.2, 1), (1, 1.2, 1), (1, 1.8, 1))
    np.testing.assert_allclose(surface.snap_point(query)[:, 1], (0, 3, 0, 3))
    assert len(set(surface.island(query[:2]).tolist())) == 2


def test_the_nearest_of_many_goals():
    surface = NavmeshSurface(l_shape())
    goals = points((5, 0, 1), (50, 0, 50), (1, 0, 5.5), (5.5, 0, 1.5))
    field = surface.distance_field(goals)
    start = points((1, 0, 4), (4, 0, 1), (1.9, 0, 1.9), (50, 0, 50))
    singles = np.stack([surface.geodesic_distance(start, goal[None]) for goal in goals])
    np.testing.assert_allclose(field.distance(start), singles.min(axis=0))
    assert [field.path(p).goal_index for p in start] == [2, 0, 0, -1]
    assert field.distance(start[3:])[0] == math.inf


def test_no_goals_and_goals_off_the_surface_are_infinitely_far():
    surface = NavmeshSurface(square())
    start = points((5, 0, 5))
    for goals in (
        np.empty((0, 3)),
        points((50, 0, 50)),
        points((50, 0, 50), (60, 0, 60)),
        points((np.nan, 0, 0)),
    ):
        assert surface.geodesic_distance(start, goals)[0] == math.inf
        assert surface.shortest_path(start[0], goals).goal_index == -1


def test_topdown_map():
    navmesh = replace(l_shape(), bounds=np.array([[-1, 0, -1], [7, 2, 7]], np.float32))
    found = NavmeshSurface(navmesh).topdown_map(0.0, cell=0.5)
    assert found.shape == (16, 16)
    x, z = np.meshgrid(np.arange(16) * 0.5 - 1, np.arange(16) * 0.5 - 1)
    expected = ((x >= 0) & (x <= 6) & (z >= 0) & (z <= 2)) | ((x >= 0) & (x <= 2) & (z >= 0) & (z <= 6))
    assert (found == expected).all()


def test_random_points_are_uniform_by_area():
    surface = NavmeshSurface(l_shape())
    rng = np.random.default_rng(0)
    drawn = np.array([surface.random_navigable_point(rng) for _ in range(2000)])
    assert surface.is_navigable(drawn).all()
    in_arm = np.mean(drawn[:, 0] > 2)  # 8 of 20 square metres
    assert in_arm == pytest.approx(0.4, abs=4 * math.sqrt(0.4 * 0.6 / 2000))
    quarter = np.mean(drawn[drawn[:, 0] > 2, 0] > 5)
    assert quarter == pytest.approx(0.25, abs=0.07)


def test_random_points_of_an_island_and_from_a_seed():
    surface = NavmeshSurface(two_islands())
    for island in (0, 1):
        drawn = np.array(
            [surface.random_navigable_point(np.random.default_rng(s), island=island) for s in range(50)]
        )
        assert (surface.island(drawn) == island).all()
    again = [surface.random_navigable_point(np.random.default_rng(7)) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    with pytest.raises(SettingError, match="no island 2"):
        surface.random_navigable_point(np.random.default_rng(0), island=2)


def test_it_is_a_surface():
    surface: Surface = NavmeshSurface(square())
    field: DistanceField = surface.distance_field(points((1, 0, 1)))
    assert surface.bounds.shape == (2, 3)
    assert field.distance(points((1, 0, 3)))[0] == pytest.approx(2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: s.snap_point(np.zeros((2, 2))),
        lambda s: s.snap_point("here"),
        lambda s: s.snap_point(np.zeros((1, 2, 3))),
        lambda s: s.try_step(np.zeros((2, 3)), np.zeros((1, 3))),
        lambda s: s.try_step(np.full((1, 3), np.nan), np.zeros((1, 3))),
        lambda s: s.try_step(np.zeros((1, 3)), np.full((1, 3), np.inf)),
        lambda s: s.distance_to_closest_obstacle(np.zeros((1, 3)), -1.0),
        lambda s: s.distance_to_closest_obstacle(np.zeros((1, 3)), math.nan),
        lambda s: s.topdown_map(0.0, cell=0.0),
        lambda s: s.topdown_map(0.0, cell=1e-9),
        lambda s: s.distance_field(np.zeros((3, 4))),
    ],
)
def test_wrong_arguments_are_named(wrong):
    with pytest.raises(SettingError):
        wrong(NavmeshSurface(square()))


def test_points_that_are_no_numbers_lie_off_the_surface():
    surface = NavmeshSurface(square())
    query = points((np.nan, 0, 0), (0, np.inf, 0), (1e30, 0, 0), (0, 0, -1e9))
    assert not surface.is_navigable(query).any()
    assert np.isnan(surface.snap_point(query)).all()
    assert (surface.geodesic_distance(query, points((5, 0, 5))) == math.inf).all()
    assert (surface.island(query) == -1).all()
    assert surface.snap_point(np.empty((0, 3))).shape == (0, 3)


def test_a_navmesh_without_floor_is_refused():
    navmesh = square()
    empty = replace(navmesh, polygons=navmesh.polygons[:0], neighbours=navmesh.neighbours[:0])
    with pytest.raises(SceneError, match="no floor"):
        NavmeshSurface(empty)
    flat = replace(navmesh, detail_vertices=np.zeros_like(navmesh.detail_vertices))
    with pytest.raises(SceneError, match="no floor"):
        NavmeshSurface(flat)
