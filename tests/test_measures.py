"""Measures, sensors and steps: closed forms, guards, and what habitat-lab and habitat-sim recorded."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from flat_room import FlatSurface
from hypothesis import given
from hypothesis import strategies as st

from envs import sensors
from envs.embodiment import AgentSpec
from envs.episodes import read_episodes
from envs.locomotion import Action, Walker, upright_heading
from envs.measures import (
    SLACK_REWARD,
    SUCCESS_REWARD,
    NavigationMeasures,
    is_collision,
    path_efficiency,
    soft_success,
)
from poma3d.errors import EpisodeError
from poma3d.pointmap import rotation_from_heading

lengths = st.one_of(st.floats(0, 1e6), st.just(math.inf))


def test_a_straight_walk_scores_by_hand() -> None:
    measures = NavigationMeasures(0.2)
    measures.reset(1.0)
    for distance in (0.75, 0.5, 0.25, 0.1):
        measures.step(0.25, distance)
        assert measures.reward == pytest.approx(SLACK_REWARD + measures.progress)
    measures.step(0.0, 0.1, stop=True)
    assert measures.as_dict() == {
        "distance_to_goal": 0.1,
        "success": 1.0,
        "spl": 1.0,
        "soft_spl": pytest.approx(0.9),
        "collisions": {"count": 0, "is_collision": False},
        "num_steps": 5,
        "path_length": 1.0,
        "distance_to_goal_reward": 0.0,
    }
    assert measures.reward == pytest.approx(SLACK_REWARD + SUCCESS_REWARD)


def test_a_detour_and_collisions_cost() -> None:
    measures = NavigationMeasures(0.2)
    measures.reset(2.0)
    measures.step(0.5, 2.5, collided=True)
    measures.step(3.5, 0.1)
    measures.step(0.0, 0.1, stop=True)
    assert measures.spl == pytest.approx(2 / 4)
    assert measures.soft_spl == pytest.approx(0.95 * 0.5)
    assert measures.as_dict()["collisions"] == {"count": 1, "is_collision": False}


@pytest.mark.parametrize(("distance", "success"), [(0.2, 0.0), (0.19999, 1.0), (math.inf, 0.0)])
def test_success_is_strictly_within_the_distance_and_needs_stop(distance: float, success: float) -> None:
    measures = NavigationMeasures(0.2)
    measures.reset(1.0)
    measures.step(0.0, distance)
    assert measures.success == 0.0
    measures.step(0.0, distance, stop=True)
    assert measures.success == success


def test_an_episode_that_starts_on_its_goal_is_no_nan() -> None:
    measures = NavigationMeasures(0.2)
    measures.reset(0.0)
    measures.step(0.0, 0.0, stop=True)
    assert (measures.success, measures.spl, measures.soft_spl) == (1.0, 1.0, 1.0)
    measures.reset(0.0)
    measures.step(0.25, 0.25)
    measures.step(0.0, 0.1, stop=True)
    assert (measures.success, measures.spl, measures.soft_spl) == (1.0, 0.0, 0.0)


def test_an_unreachable_goal_scores_nothing_and_rewards_slack_alone() -> None:
    measures = NavigationMeasures(0.2)
    measures.reset(math.inf)
    measures.step(0.25, math.inf)
    assert measures.reward == SLACK_REWARD
    measures.step(0.0, math.inf, stop=True)
    assert (measures.success, measures.spl, measures.soft_spl) == (0.0, 0.0, 0.0)


@given(lengths, lengths, lengths)
def test_scores_stay_between_0_and_1(shortest: float, walked: float, distance: float) -> None:
    assert 0.0 <= path_efficiency(shortest, walked) <= 1.0
    assert 0.0 <= soft_success(distance, shortest) <= 1.0


@given(st.lists(st.tuples(st.floats(0, 1), lengths, st.booleans()), min_size=1, max_size=20), lengths)
def test_no_walk_gives_nan(steps: list[tuple[float, float, bool]], start: float) -> None:
    measures = NavigationMeasures(0.2)
    measures.reset(start)
    for moved, distance, stop in steps:
        measures.step(moved, distance, stop=stop)
        assert math.isfinite(measures.reward)
        assert math.isfinite(measures.spl)
        assert math.isfinite(measures.soft_spl)
        assert measures.spl <= measures.success


def test_sensors_by_hand() -> None:
    origin, west = np.zeros(3), math.pi / 2
    np.testing.assert_allclose(
        sensors.pointgoal_with_gps_compass(origin, 0.0, np.array([0.0, 5.0, -2.0])), [2, 0], atol=1e-6
    )
    # facing west (-x), a goal to the north (-z) is to the right
    rho, phi = sensors.pointgoal_with_gps_compass(origin, west, np.array([0.0, 0.0, -3.0]))
    assert (rho, phi) == (pytest.approx(3), pytest.approx(-math.pi / 2))
    np.testing.assert_allclose(sensors.gps(np.array([-1.0, 9.0, -2.0]), origin, west), [1, 2], atol=1e-6)
    assert sensors.compass(0.5 + 2 * math.pi, 0.0)[0] == pytest.approx(0.5, abs=1e-6)
    assert sensors.compass(-3.0, 3.0)[0] == pytest.approx(2 * math.pi - 6, abs=1e-6)
    assert sensors.objectgoal(4).dtype == np.int64


@given(st.floats(-20, 20), st.floats(-5, 5), st.floats(-5, 5))
def test_the_goal_is_where_rho_and_phi_say(heading: float, x: float, z: float) -> None:
    goal = np.array([x, 0.0, z])
    rho, phi = sensors.pointgoal_with_gps_compass(np.zeros(3), heading, goal).astype(float)
    there = rho * np.array([-math.sin(heading + phi), 0.0, -math.cos(heading + phi)])
    np.testing.assert_allclose(there, goal, atol=1e-5)


def test_upright_heading_reads_back_and_refuses_to_lean() -> None:
    for angle in np.linspace(-3.1, 3.1, 9):
        assert upright_heading(rotation_from_heading(angle)) == pytest.approx(angle)
    with pytest.raises(EpisodeError, match="leans by 90"):
        upright_heading(np.array([math.sqrt(0.5), 0, 0, math.sqrt(0.5)]))


def test_the_walker_walks_turns_and_is_held_back() -> None:
    walker = Walker(FlatSurface(), AgentSpec(turn_angle=90.0, forward_step=1.0))
    walker.place(np.array([2.0, 0.0, 0.0]), 0.0)
    walker.act(Action.MOVE_FORWARD)
    np.testing.assert_allclose(walker.position, [2, 0, -1])
    assert not walker.collided
    walker.act(Action.TURN_LEFT)
    for _ in range(3):
        walker.act(Action.MOVE_FORWARD)
    np.testing.assert_allclose(walker.position, [0.1, 0, -1], atol=1e-3)
    assert walker.collided
    before = walker.position
    walker.act(Action.STOP)
    assert not walker.collided
    assert walker.position is before


@pytest.mark.golden
def test_measures_and_sensors_replay_habitat_lab(golden_dir: Path, real_scene: str) -> None:
    lab = np.load(golden_dir / f"{real_scene}.lab.npz")
    for number, episode in enumerate(read_episodes(golden_dir / f"{real_scene}.pointnav.json.gz")):
        rows = lab["episode"] == number
        start = position = np.array(episode.start_position)
        goal = np.array(episode.goals[0].position)
        start_heading = heading = upright_heading(np.array(episode.start_rotation))
        measures = NavigationMeasures(0.2)
        measures.reset(episode.geodesic_distance or math.nan)
        answers = {
            name: [] for name in ("pointgoal", "gps", "compass", "collisions", "success", "spl", "soft_spl")
        }
        recorded = zip(
            lab["actions"][rows], lab["position"][rows], lab["distance_to_goal"][rows], strict=True
        )
        for action, reached, distance in recorded:
            heading += {Action.TURN_LEFT: 1, Action.TURN_RIGHT: -1}.get(Action(action), 0) * math.radians(10)
            asked = position + 0.25 * np.array([-math.sin(heading), 0.0, -math.cos(heading)])
            hit = action == Action.MOVE_FORWARD and is_collision(position, asked, reached.astype(float))
            moved = float(np.linalg.norm(reached - position))
            position = reached.astype(float)
            measures.step(moved, float(distance), collided=hit, stop=action == Action.STOP)
            answers["pointgoal"].append(sensors.pointgoal_with_gps_compass(position, heading, goal))
            answers["gps"].append(sensors.gps(position, start, start_heading))
            answers["compass"].append(sensors.compass(heading, start_heading)[0])
            answers["collisions"].append(measures.collision_count)
            for name in ("success", "spl", "soft_spl"):
                answers[name].append(getattr(measures, name))
        for name in ("gps", "pointgoal"):
            np.testing.assert_allclose(np.array(answers[name]), lab[name][rows], atol=1e-4)
        turned = np.array(answers["compass"]) - lab["compass"][rows]
        assert np.abs(np.sin(turned / 2)).max() < 1e-4
        np.testing.assert_array_equal(answers["collisions"], lab["collisions"][rows])
        np.testing.assert_array_equal(answers["success"], lab["success"][rows])
        np.testing.assert_allclose(answers["spl"], lab["spl"][rows], atol=1e-4)
        np.testing.assert_allclose(answers["soft_spl"], lab["soft_spl"][rows], atol=1e-4)


@pytest.mark.golden
def test_collisions_are_habitats(golden_dir: Path, real_scene: str) -> None:
    recorded = np.load(golden_dir / f"{real_scene}.npz")
    for kind in ("slide", "stop"):
        rotations = recorded["rollout_slide_rotation"]
        headings = 2 * np.arctan2(rotations[..., 1], rotations[..., 3])
        positions = np.concatenate(
            [recorded["rollout_start"][:, None], recorded[f"rollout_{kind}_position"]], axis=1
        ).astype(float)
        for walk, step in zip(*np.nonzero(recorded["rollout_actions"] == Action.MOVE_FORWARD), strict=True):
            angle = float(headings[walk, step])
            start = positions[walk, step]
            asked = start + 0.25 * np.array([-math.sin(angle), 0.0, -math.cos(angle)])
            found = is_collision(start, asked, positions[walk, step + 1])
            assert found == recorded[f"rollout_{kind}_collided"][walk, step]


@pytest.mark.golden
def test_rollouts_end_where_habitats_do(golden_dir: Path, real_scene: str) -> None:
    """On Habitat's own navmesh, so that only the steps are compared."""
    from envs.simulators.walkable.detour_file import read_navmesh
    from envs.simulators.walkable.surface import NavmeshSurface

    recorded = np.load(golden_dir / f"{real_scene}.npz")
    surface = NavmeshSurface(read_navmesh(golden_dir / f"{real_scene}.navmesh"))
    for kind, sliding in (("slide", True), ("stop", False)):
        apart = []
        for walk, actions in enumerate(recorded["rollout_actions"]):
            walker = Walker(surface, AgentSpec(allow_sliding=sliding))
            walker.place(
                recorded["rollout_start"][walk], upright_heading(recorded["rollout_start_rotation"][walk])
            )
            for action in actions:
                walker.act(int(action))
            apart.append(np.linalg.norm(walker.position - recorded[f"rollout_{kind}_position"][walk, -1]))
        assert np.mean(np.array(apart) < 0.25) >= 0.9, f"{kind}: {np.round(apart, 2)}"
