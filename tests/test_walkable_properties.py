"""What holds on every walkable surface: exact distances, whole paths, walks that stay on it; brute force agrees."""

from __future__ import annotations

import itertools
import math
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import dijkstra
from walkable_examples import cells

from envs.simulators.walkable.index import index_navmesh
from envs.simulators.walkable.surface import NavmeshSurface
from envs.simulators.walkable.wavefront import find_topology, nearest_goals, spread_from

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
