"""Walkable surfaces over Habitat's own navmeshes answer as real Habitat did, and a disagreement is noticed."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from walkable_examples import points, square

from envs.embodiment import AgentSpec
from envs.simulators.surface_agreement import Row, surface_agreement
from envs.simulators.walkable.detour_file import read_navmesh
from envs.simulators.walkable.surface import NavmeshSurface


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
