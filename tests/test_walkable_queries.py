from __future__ import annotations

import itertools
import math
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import dijkstra
from walkable_examples import cells, l_shape, navmesh_of, rectangle, square, two_islands

from envs.embodiment import AgentSpec
from envs.simulators.protocol import DistanceField, Surface
from envs.simulators.surface_agreement import Row, surface_agreement
from envs.simulators.walkable.detour_file import read_navmesh
from envs.simulators.walkable.index import index_navmesh
from envs.simulators.walkable.surface import NavmeshSurface
from envs.simulators.walkable.wavefront import find_topology, nearest_goals, spread_from
from poma3d.errors import SceneError, SettingError


def points(*rows: tuple[float, float, float]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 3)


# ---------------------------------------------------------------- known answers


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


# ---------------------------------------------------------------- properties

grids = st.integers(0, 2**25 - 1).map(
    lambda bits: (
        np.array([bits >> i & 1 for i in range(25)], bool).reshape(5, 5) | (np.arange(25) == 12).reshape(5, 5)
    )
)


def without_pinches(free: np.ndarray) -> np.ndarray:
    """The same with cells added until none touch in a corner alone, through which brute force would slip."""
    free = free.copy()
    for _ in range(25):
        for r, c in itertools.product(range(4), range(4)):
            block = free[r : r + 2, c : c + 2]
            if block.trace() != block[::-1].trace() and block.sum() == 2:
                block[:] = True
    return free


def draw(surface: NavmeshSurface, seed: int, number: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array([surface.random_navigable_point(rng) for _ in range(number)])


def exact_distance(surface: NavmeshSurface, start: np.ndarray, goals: np.ndarray) -> np.ndarray:
    index = index_navmesh(surface.navmesh)
    topology = find_topology(index)
    snapped = surface.snap_point(goals)
    polygons = np.array([polygon_of(surface, p) for p in goals], np.int32)
    wave = spread_from(index, topology, polygons, snapped.astype(np.float64))
    return nearest_goals(
        topology.corners,
        index.counts,
        topology.points,
        wave.windows,
        wave.sources,
        wave.offsets,
        wave.corner_distances,
        wave.corner_goals,
        np.array([polygon_of(surface, p) for p in start], np.int32),
        surface.snap_point(start),
    )[0]


def polygon_of(surface: NavmeshSurface, point: np.ndarray) -> int:
    """The cell that holds a point, by its corners alone."""
    corners = surface.navmesh.vertices[surface.navmesh.polygons[:, :4]]
    low, high = corners.min(axis=1)[:, [0, 2]], corners.max(axis=1)[:, [0, 2]]
    return int(np.argmax(((low <= point[[0, 2]]) & (point[[0, 2]] <= high)).all(axis=1)))


def sees(free: np.ndarray, a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the segment ab (x, z) stays in free cells without slipping through a corner where only two touch."""
    direction = b - a
    stops = [0.0, 1.0]
    for axis in (0, 1):
        if abs(direction[axis]) > 1e-9:
            stops += [t for t in (np.arange(6) - a[axis]) / direction[axis] if 0 < t < 1]
    stops = np.unique(np.round(stops, 9))
    reached: set[tuple[int, int]] | None = None
    for low, high in itertools.pairwise(stops):
        x, z = a + direction * (low + high) / 2
        columns = {int(np.floor(x - 1e-6)), int(np.floor(x + 1e-6))}
        rows = {int(np.floor(z - 1e-6)), int(np.floor(z + 1e-6))}
        touched = {(r, c) for r in rows for c in columns if 0 <= r < 5 and 0 <= c < 5 and free[r, c]}
        if reached is not None:
            corner_cells = {
                (r, c)
                for r, c in itertools.product(range(5), range(5))
                if free[r, c] and np.abs(np.array([c, r]) + 0.5 - (a + direction * low)).max() < 0.5 + 1e-6
            }
            grown = set(reached)
            for _ in range(3):
                grown |= {
                    cell
                    for cell in corner_cells
                    if any(abs(cell[0] - r) + abs(cell[1] - c) == 1 for r, c in grown & corner_cells)
                }
            touched &= grown
        if not touched:
            return False
        reached = touched
    return True


def by_visibility(free: np.ndarray, start: np.ndarray, goals: np.ndarray) -> float:
    """Length of the shortest path over all corners of cells, found by brute force."""
    grid = np.array([(x, z) for x in range(6) for z in range(6)], float)
    nodes = np.concatenate([start[None, [0, 2]], goals[:, [0, 2]], grid]).astype(float)
    weights = np.zeros((len(nodes), len(nodes)))
    for i, j in itertools.combinations(range(len(nodes)), 2):
        if sees(free, nodes[i], nodes[j]):
            weights[i, j] = weights[j, i] = max(np.linalg.norm(nodes[i] - nodes[j]), 1e-12)
    return float(dijkstra(weights, indices=0)[1 : len(goals) + 1].min())


@settings(max_examples=12, deadline=None)
@given(free=grids, seed=st.integers(0, 1000))
def test_the_wave_is_exact(free, seed):
    free = without_pinches(free)
    surface = NavmeshSurface(cells(free))
    start, *goals = draw(surface, seed, 3)
    expected = by_visibility(free, start, np.array(goals))
    found = exact_distance(surface, start[None], np.array(goals))[0]
    assert found == pytest.approx(expected, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(free=grids, seed=st.integers(0, 1000))
def test_exact_distances_are_a_metric(free, seed):
    surface = NavmeshSurface(cells(free))
    a, b, c = draw(surface, seed, 3)
    ab, ba, bc, ac = (
        exact_distance(surface, p[None], q[None])[0] for p, q in ((a, b), (b, a), (b, c), (a, c))
    )
    assert ab == pytest.approx(ba, abs=1e-4)
    assert math.isinf(ab) or math.isinf(bc) or ac <= ab + bc + 1e-4
    assert exact_distance(surface, a[None], a[None])[0] == pytest.approx(0, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(free=grids, seed=st.integers(0, 1000))
def test_paths_are_whole_and_bounded(free, seed):
    surface = NavmeshSurface(cells(free))
    start, *goals = draw(surface, seed, 4)
    goals = np.array(goals)
    field = surface.distance_field(goals)
    path, distance = field.path(start), field.distance(start[None])[0]
    exact = exact_distance(surface, start[None], goals)[0]
    assert path.length == distance
    assert math.isinf(distance) == math.isinf(exact)
    if math.isinf(distance):
        assert (surface.island(goals) != surface.island(start[None])[0]).all()
        return
    np.testing.assert_array_equal(path.points[0], start)
    np.testing.assert_array_equal(path.points[-1], goals[path.goal_index])
    segments = np.linalg.norm(np.diff(path.points.astype(float), axis=0), axis=1)
    assert path.length == pytest.approx(segments.sum(), abs=1e-5)
    assert path.length >= np.linalg.norm(start - goals[path.goal_index]) - 1e-5
    assert path.length >= exact - 1e-4
    for a, b in itertools.pairwise(path.points[:, [0, 2]].astype(float)):
        assert sees(free, a, b)
    np.testing.assert_allclose(surface.geodesic_distance(start[None], goals), distance)


@settings(max_examples=60, deadline=None)
@given(free=grids, seed=st.integers(0, 1000), sliding=st.booleans())
def test_walks_never_leave_the_surface(free, seed, sliding):
    surface = NavmeshSurface(cells(free))
    position = draw(surface, seed, 8)
    rng = np.random.default_rng(seed)
    island = surface.island(position)
    np.testing.assert_allclose(surface.try_step(position, position, sliding=sliding), position, atol=1e-6)
    for _ in range(20):
        heading = rng.uniform(0, 2 * np.pi, len(position))
        move = 0.4 * np.stack([np.cos(heading), np.zeros_like(heading), np.sin(heading)], axis=1)
        following = surface.try_step(position, position + move, sliding=sliding)
        assert surface.is_navigable(following).all()
        assert (surface.island(following) == island).all()
        # a slide ends at the border nearest to its aim, which the start is at most as far from
        assert (np.linalg.norm(following - position, axis=1) <= 0.8 + 1e-3).all()
        position = following


@settings(max_examples=60, deadline=None)
@given(free=grids, seed=st.integers(0, 1000))
def test_the_nearest_point_is_nearest(free, seed):
    """Against every polygon's own nearest point, which for cells is a clamp."""
    surface = NavmeshSurface(cells(free))
    query = np.random.default_rng(seed).uniform((-1.9, -1, -1.9), (6.9, 1, 6.9), (20, 3)).astype(np.float32)
    corners = surface.navmesh.vertices[surface.navmesh.polygons[:, :4]]
    low, high = corners.min(axis=1), corners.max(axis=1)
    nearest = np.clip(query[:, None], low, high)
    expected = np.linalg.norm((query[:, None] - nearest)[..., [0, 2]], axis=-1).min(axis=1)
    snapped = surface.snap_point(query)
    found = np.linalg.norm((query - snapped)[:, [0, 2]], axis=-1)
    near = expected < 1.9  # Habitat looks in a box of 2 m around
    np.testing.assert_allclose(found[near], expected[near], atol=1e-5)
    assert (np.isnan(found) | (found >= expected - 1e-5)).all()


def test_threads_share_a_surface():
    surface = NavmeshSurface(cells(np.ones((5, 5), bool) ^ np.eye(5, dtype=bool)[::-1]))
    start, goals = draw(surface, 0, 200), draw(surface, 1, 8)
    field = surface.distance_field(goals)

    def ask(_):
        answers = (
            field.distance(start),
            surface.try_step(start, start[::-1]),
            surface.snap_point(start + 0.3),
        )
        return zlib.crc32(b"".join(a.tobytes() for a in answers))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(40)))) == 1


# ---------------------------------------------------------------- real Habitat


@pytest.mark.golden
def test_agreement_with_habitat(golden_dir, real_scene):
    surface = NavmeshSurface(read_navmesh(golden_dir / f"{real_scene}.navmesh"))
    recording = dict(np.load(golden_dir / f"{real_scene}.npz"))
    for strict in (False, True):
        rows = surface_agreement(surface, recording, AgentSpec(), same_navmesh=strict)
        assert [row for row in rows if not row.passed] == []


@pytest.mark.golden
def test_paths_are_habitats_corner_for_corner(golden_dir, real_scene):
    surface = NavmeshSurface(read_navmesh(golden_dir / f"{real_scene}.navmesh"))
    recording = np.load(golden_dir / f"{real_scene}.npz")
    starts, ends, corners = recording["path_start"], recording["path_end"], recording["path_points"]
    bounds = itertools.pairwise(recording["path_offsets"])
    same = [
        np.array_equal(surface.shortest_path(start, end[None]).points, corners[low:high])
        for start, end, (low, high) in zip(starts, ends, bounds, strict=True)
    ]
    assert np.mean(same) >= 0.99


@pytest.mark.golden
def test_many_goals_agree_with_the_nearest_of_single_ones(golden_dir, real_scene):
    surface = NavmeshSurface(read_navmesh(golden_dir / f"{real_scene}.navmesh"))
    rng = np.random.default_rng(0)
    goals = np.array([surface.random_navigable_point(rng, island=0) for _ in range(25)])
    start = np.array([surface.random_navigable_point(rng, island=0) for _ in range(100)])
    singles = np.min([surface.geodesic_distance(start, goal[None]) for goal in goals], axis=0)
    found = surface.geodesic_distance(start, goals)
    assert (found >= singles - 1e-6).all()
    assert np.mean(found <= singles * 1.01 + 1e-6) >= 0.99


@pytest.mark.golden
def test_islands_are_habitats(golden_dir, real_scene):
    import json

    surface = NavmeshSurface(read_navmesh(golden_dir / f"{real_scene}.navmesh"))
    facts = json.loads((golden_dir / f"{real_scene}.json").read_text())
    assert len(surface.island_areas) == facts["islands"]
    assert (np.diff(surface.island_areas) <= 0).all()


def test_a_disagreeing_recording_is_noticed():
    surface = NavmeshSurface(square())
    here, there = points((5, 0, 5)).astype(np.float32), points((6, 0, 5)).astype(np.float32)
    recording = {
        "path_start": here,
        "path_end": there,
        "path_geodesic": np.array([2.0]),
        "query": here,
        "query_navigable": np.array([False]),
        "query_snap": there,
        "step_start": here,
        "step_end": there,
        "step_slide": here,
        "step_stop": here,
        "rollout_start": here,
        "rollout_slide_rotation": np.tile(np.array([0, 0, 0, 1], np.float32), (1, 2, 1)),
        "rollout_actions": np.ones((1, 2), np.int8),
        "rollout_slide_position": np.tile(there, (1, 2, 1)),
        "rollout_stop_position": np.tile(here + np.float32([0, 0, -0.5]), (1, 2, 1)),
    }
    rows = {row.what: row for row in surface_agreement(surface, recording, AgentSpec())}
    assert all(isinstance(row, Row) for row in rows.values())
    passed = {what for what, row in rows.items() if row.passed}
    assert passed == {"reachability", "rollouts, stopping"}


def test_goals_on_corners_of_polygons_spread_as_few_windows_as_others(golden_dir):
    """From a corner, but for rounding, windows once multiplied until the memory was full."""
    surface = NavmeshSurface(read_navmesh(golden_dir / "small_house.navmesh"))
    corners = surface.navmesh.vertices[:100] + np.float32([3e-6, 0.0, -2e-6])
    wave = surface.distance_field(corners)._wave
    assert len(wave.windows) < 10 * (len(surface.navmesh.polygons) + len(corners))
