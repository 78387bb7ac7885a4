"""Habitat's recordings, run and replayed here on both surfaces: the one built from the mesh, and its navmesh."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import pomagym  # noqa: F401  (registers the environments)
from agent.rollout import run_episode
from envs.embodiment import agent_preset
from envs.episodes import read_episodes
from envs.locomotion import Action
from envs.measures import NavigationMeasures
from envs.simulators.open import open_simulator
from envs.simulators.protocol import Surface
from policies.scripted import make_policy
from pomagym.main import main

BOTH = pytest.mark.parametrize("kind", ["built", "navmesh"])


@functools.cache
def surface_of(scene: Path, navmesh: Path | None) -> Surface:
    return open_simulator(scene, navmesh=navmesh).surface


@pytest.mark.golden
@BOTH
def test_the_oracle_walks_habitats_episodes_end_to_end(golden_dir, scenes_dir, real_scene, kind):
    """The folder of recordings holds ``NAME.navmesh`` for each scene, the episodes name the scene."""
    env = gymnasium.make(
        "pomagym/PointNav-v0",
        episodes=golden_dir / f"{real_scene}.pointnav.json.gz",
        scenes_dir=scenes_dir,
        navmesh=golden_dir if kind == "navmesh" else None,
        size=(12, 16),
    )
    records = [run_episode(env, make_policy("oracle")) for _ in range(30)]
    env.close()
    assert len({record["episode_id"] for record in records}) == 30
    assert all(record["success"] == 1.0 for record in records)
    theirs = json.loads((golden_dir / f"{real_scene}.json").read_text())["oracle_episodes"]
    assert np.mean([r["spl"] for r in records]) >= np.mean([e["spl"] for e in theirs]) - 0.005


@pytest.mark.golden
@BOTH
def test_measures_replayed_on_our_distances_are_habitat_labs(golden_dir, scenes_dir, real_scene, kind):
    """Only the positions are recorded: every distance is measured here."""
    navmesh = golden_dir / f"{real_scene}.navmesh" if kind == "navmesh" else None
    surface = surface_of(scenes_dir / f"{real_scene}.glb", navmesh)
    lab = np.load(golden_dir / f"{real_scene}.lab.npz")
    ours, theirs = [], []
    measures = NavigationMeasures(agent_preset("pointnav-gibson").success_distance)
    scores: dict[str, list[float]] = {"success": [], "spl": [], "soft_spl": []}
    for number, episode in enumerate(read_episodes(golden_dir / f"{real_scene}.pointnav.json.gz")):
        rows = lab["episode"] == number
        position = np.array(episode.start_position)
        goals = episode.goal_positions()
        measures.reset(float(surface.geodesic_distance(position[None], goals)[0]))
        distances = surface.distance_field(goals).distance(lab["position"][rows].astype(float))
        ours.append(distances)
        theirs.append(lab["distance_to_goal"][rows])
        for action, reached, distance in zip(
            lab["actions"][rows], lab["position"][rows], distances, strict=True
        ):
            moved = float(np.linalg.norm(reached - position))
            position = reached.astype(float)
            measures.step(moved, float(distance), stop=action == Action.STOP)
            for name, values in scores.items():
                values.append(getattr(measures, name))
    found, expected = np.concatenate(ours), np.concatenate(theirs)
    assert np.isfinite(found).all()
    apart = np.abs(found - expected)
    if kind == "navmesh":
        assert np.mean(apart <= 0.01 * np.maximum(expected, 0.1)) >= 0.99
    else:
        assert np.mean(apart <= np.maximum(0.10, 0.02 * expected)) >= 0.98
    np.testing.assert_array_equal(scores["success"], lab["success"])
    for name in ("spl", "soft_spl"):
        assert np.mean(np.abs(np.array(scores[name]) - lab[name]) <= 0.01) >= 0.99, name


@pytest.mark.golden
def test_habitats_episodes_are_sound_on_both_surfaces(golden_dir, scenes_dir, capsys):
    file = golden_dir / "small_house.pointnav.json.gz"
    flags = ["--scenes-dir", str(scenes_dir), "--navmesh", str(golden_dir), "--json"]
    assert main(["episodes", "check", str(file), *flags]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["surfaces"] == {"built": 30, "navmesh": 30}
    exact = [
        abs(row["measured_distance"] - row["recorded_distance"])
        for row in found["findings"]
        if row["surface"] == "navmesh"
    ]
    assert max(exact) < 1e-3
