"""The navigation environments: what is seen, in which order episodes run, and Habitat's recordings repeated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flat_room import SOFA, RoomSimulator, room_env, room_episode, room_scene, room_simulator

from envs.embodiment import agent_preset
from envs.episodes import read_episodes, write_episodes
from envs.episodes.objectnav_generator import category_tables, generate_objectnav
from envs.episodes.pointnav_generator import generate_pointnav
from envs.locomotion import Action
from envs.navigation import NavigationEnv
from envs.objectnav import ObjectNavEnv
from envs.pointnav import PointNavEnv
from envs.registration import register_environments
from envs.simulators.protocol import Views
from poma3d.errors import SettingError
from poma3d.pointmap import Frame, frame_from_world, transform_points

FORWARD, LEFT, RIGHT, STOP = Action.MOVE_FORWARD, Action.TURN_LEFT, Action.TURN_RIGHT, Action.STOP


@pytest.fixture(autouse=True)
def _registered() -> None:
    register_environments()


# What is seen.


def test_an_episode_by_hand() -> None:
    env = room_env(room_episode())
    observation, info = env.reset()
    np.testing.assert_allclose(observation["pointgoal_with_gps_compass"], [2, 0], atol=1e-6)
    assert (info["episode_id"], info["scene_id"], info["distance_to_goal"]) == ("e", "flat_room", 2.0)
    for step in range(1, 9):
        observation, reward, terminated, truncated, info = env.step(FORWARD)
        assert reward == pytest.approx(0.25 - 0.01, abs=1e-6)
        assert (terminated, truncated) == (False, False)
        assert info["num_steps"] == step
    np.testing.assert_allclose(observation["gps"], [2, 0], atol=1e-6)
    env.step(LEFT)
    observation, reward, terminated, truncated, info = env.step(STOP)
    assert observation["compass"][0] == pytest.approx(math.radians(10))
    assert (terminated, truncated, reward) == (True, False, pytest.approx(2.5 - 0.01))
    assert (info["success"], info["spl"], info["num_steps"]) == (1.0, pytest.approx(1.0), 10)
    np.testing.assert_allclose(env.trajectory[-1], [2, 0, -2], atol=1e-6)


@pytest.mark.parametrize("frame", list(Frame))
def test_point_maps_are_where_the_frame_says(frame: Frame) -> None:
    env = room_env(room_episode(heading=0.4), frame=frame, size=(15, 21), depth_range=(0.0, 30.0))
    env.reset()
    env.step(LEFT)
    observation = env.step(FORWARD)[0]
    world = env.simulator.render(env.world_from_camera[None], env.camera)
    start = room_episode(heading=0.4)
    assert world.valid.all(), "a closed room"
    first = room_env(start)
    first.reset()
    into = frame_from_world(
        frame,
        world_from_start=first.world_from_agent,
        world_from_agent=env.world_from_agent,
        world_from_camera=env.world_from_camera,
    )
    np.testing.assert_array_equal(observation["valid"], world.valid[0])
    np.testing.assert_allclose(
        observation["point_map"], transform_points(into, world.point_map[0]), atol=1e-4
    )


def test_the_middle_of_the_view_is_the_wall_ahead() -> None:
    env = room_env(room_episode(), size=(15, 21))
    point_map = env.reset()[0]["point_map"]
    np.testing.assert_allclose(point_map[7, 10], [5, 0, 1.25], atol=1e-4)
    env = room_env(room_episode(), size=(15, 21), frame="world")
    np.testing.assert_allclose(env.reset()[0]["point_map"][7, 10], [2, 1.25, -5], atol=1e-4)


def test_what_is_out_of_range_is_not_valid() -> None:
    env = room_env(room_episode(), size=(15, 21), depth_range=(0.0, 4.0))
    observation = env.reset()[0]
    assert not observation["valid"][7, 10]
    assert observation["valid"].any()
    assert (observation["point_map"][~observation["valid"]] == 0).all()


def test_objectnav_ends_at_a_view_point() -> None:
    simulator = room_simulator(agent_preset("objectnav-hm3d"))
    env = ObjectNavEnv(episodes=4, simulator=simulator, size=16, categories=["chair", "sofa"])
    observation = env.reset()[0]
    assert observation["objectgoal"].tolist() == [env.category_ids[env.episode.object_category or ""]]
    assert env.goal_positions.shape[0] > 100
    view = env.episode.goals[0].view_points[7].agent_state  # type: ignore[index]
    at_goal = replace(env.episode, start_position=view.position, start_rotation=view.rotation)
    env = ObjectNavEnv(episodes=[at_goal], simulator=simulator, size=16, categories=["chair", "sofa"])
    assert env.reset()[1]["distance_to_goal"] == pytest.approx(0, abs=1e-6)
    assert env.step(STOP)[4]["spl"] == 1.0


CHAIR = np.array([[3.5, 0.0, 3.5], [4.0, 0.5, 4.0]])


def test_the_semantic_sensor_names_what_the_pixels_show() -> None:
    """Told by geometry: a pixel reads the category of the box that its point lies on."""
    simulator = room_simulator(agent_preset("objectnav-hm3d"))
    names = ["chair", "bed", "sofa"]
    env = ObjectNavEnv(
        episodes=8, simulator=simulator, size=48, categories=names, semantic=True, frame="world"
    )
    shown = set()
    for _ in range(8):
        env.reset()
        for _ in range(12):
            seen = env.step(LEFT)[0]
            assert env.observation_space.contains(seen)
            points = seen["point_map"]
            expected = np.full(points.shape[:2], -1)
            for low, high, category in ((*SOFA, 2), (*CHAIR, 0)):
                on_top = low + np.array((0, 0.01, 0))  # its foot is also the floor
                expected[((points > on_top - 1e-3) & (points < high + 1e-3)).all(-1) & seen["valid"]] = (
                    category
                )
            assert (expected == seen["semantic"]).mean() > 0.98
            shown |= set(np.unique(seen["semantic"]).tolist())
    assert shown == {-1, 0, 2}


def test_a_renderer_without_instances_has_no_semantic_sensor() -> None:
    class Blind(RoomSimulator):
        def render(self, *given: Any, instances: bool = False, **settings: Any) -> Views:
            return super().render(*given, **settings)

    simulator = room_simulator()
    chair = generate_objectnav(simulator, 1, categories=["chair"])
    blind = Blind(room_scene(), simulator.agent, surface=simulator.surface, threads=1)
    env = ObjectNavEnv(episodes=chair, simulator=blind, size=8, semantic=True)
    with pytest.raises(SettingError, match="Blind renders no instance ids"):
        env.reset()


def test_pictures_are_drawn_on_request_alone() -> None:
    env = room_env(room_episode(), render_mode="rgb_array")
    env.reset()
    before = env.render()
    env.step(FORWARD)
    picture = env.render()
    assert picture is not None
    assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)
    assert picture.shape == before.shape  # type: ignore[union-attr]
    assert (picture != before).any()
    assert room_env(room_episode()).render() is None


# Order and randomness.


def play(env: NavigationEnv, **options: Any) -> list[Any]:
    """An episode with fixed actions: everything that was answered."""
    observation, info = env.reset(options=options or None)
    answers: list[Any] = [observation["point_map"].tobytes(), info]
    for action in [FORWARD, LEFT, FORWARD, RIGHT, FORWARD, FORWARD, STOP]:
        observation, reward, _, _, info = env.step(action)
        answers += [{name: value.tobytes() for name, value in observation.items()}, reward, info]
    return answers


def test_the_order_of_episodes_changes_nothing() -> None:
    env = room_env(size=(12, 16), episodes=6, shuffle=False)
    in_order = [play(env) for _ in range(6)]
    backwards = [play(env, episode_id=str(n)) for n in reversed(range(6))]
    assert backwards[::-1] == in_order
    shuffled = room_env(size=(12, 16), episodes=6)
    shuffled.reset(seed=5)
    for answers in [play(shuffled) for _ in range(5)]:
        assert answers == in_order[int(answers[1]["episode_id"])]


def ids(env: NavigationEnv, count: int, seed: int | None = None) -> list[str]:
    return [env.reset(seed=seed if n == 0 else None)[1]["episode_id"] for n in range(count)]


def test_episodes_come_in_order_and_again() -> None:
    env = room_env(episodes=3, shuffle=False)
    assert ids(env, 5) == ["0", "1", "2", "0", "1"]
    assert ids(env, 2, seed=9) == ["0", "1"]
    assert env.reset(options={"episode_id": "1"})[1]["episode_id"] == "1"
    assert ids(env, 2) == ["2", "0"]
    assert env.episode_keys() == [("flat_room", "0"), ("flat_room", "1"), ("flat_room", "2")]


def test_shuffling_follows_the_seed() -> None:
    env = room_env(episodes=8)
    assert ids(env, 8) == ids(env, 8, seed=0) == ids(room_env(episodes=8), 8)
    first = ids(env, 24, seed=1)
    assert first == ids(env, 24, seed=1)
    assert first != ids(env, 24, seed=2)
    for start in (0, 8, 16):
        assert sorted(first[start : start + 8]) == [str(n) for n in range(8)]
    assert first[:8] != first[8:16], "each round has an order of its own"


def test_generated_and_recorded_episodes_run_alike(tmp_path: Path) -> None:
    simulator = room_simulator()
    generated = room_env(simulator=simulator, episodes=3, seed=7)
    write_episodes(tmp_path / "val.json.gz", generate_pointnav(simulator, 3, seed=7))
    recorded = room_env(simulator=simulator, episodes=tmp_path / "val.json.gz")
    assert [play(generated) for _ in range(3)] == [play(recorded) for _ in range(3)]


def test_an_objectnav_file_brings_its_own_ids(tmp_path: Path) -> None:
    simulator = room_simulator(agent_preset("objectnav-hm3d"))
    tables = category_tables(["bed", "sofa"])
    found = generate_objectnav(simulator, 2, categories=["sofa"])
    write_episodes(tmp_path / "val.json.gz", found, categories=tables, by_scene=True)
    env = ObjectNavEnv(episodes=tmp_path / "val.json.gz", simulator=simulator, size=12)
    assert env.category_ids == {"bed": 0, "sofa": 1}
    assert env.reset()[0]["objectgoal"].tolist() == [1]


# Limits and failures.


def test_the_step_limit_truncates_and_stop_terminates() -> None:
    env = room_env(room_episode(), max_steps=3)
    env.reset()
    assert [env.step(LEFT)[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    with pytest.raises(SettingError, match=r"call reset\(\) before step"):
        env.step(LEFT)
    env.reset()
    env.step(LEFT)
    env.step(LEFT)
    assert env.step(STOP)[2:4] == (True, False)


# Real scenes.


@pytest.fixture
def golden_env(golden_dir: Path, scenes_dir: Path, real_scene: str) -> Iterator[PointNavEnv]:
    env = PointNavEnv(
        scenes_dir / f"{real_scene}.glb",
        golden_dir / f"{real_scene}.pointnav.json.gz",
        navmesh=golden_dir / f"{real_scene}.navmesh",
        size=8,
    )
    yield env
    env.close()


@pytest.mark.golden
def test_recorded_actions_score_as_in_habitat(
    golden_env: PointNavEnv, golden_dir: Path, real_scene: str
) -> None:
    """On Habitat's own navmesh the whole environment repeats what habitat-lab answered."""
    lab = np.load(golden_dir / f"{real_scene}.lab.npz")
    close = []
    for number in range(30):
        rows = np.flatnonzero(lab["episode"] == number)
        info = golden_env.reset(options={"episode_id": str(number)})[1]
        recorded = golden_env.episode.geodesic_distance
        assert recorded is not None
        assert info["distance_to_goal"] == pytest.approx(recorded, abs=max(0.02, 0.01 * recorded))
        for row in rows:
            observation, _, terminated, _, info = golden_env.step(int(lab["actions"][row]))
        assert terminated
        last = rows[-1]
        close.append(
            info["success"] == lab["success"][last]
            and abs(info["spl"] - lab["spl"][last]) < 0.01
            and abs(info["soft_spl"] - lab["soft_spl"][last]) < 0.01
            and info["collisions"]["count"] == lab["collisions"][last]
            and np.abs(observation["gps"] - lab["gps"][last]).max() < 0.01
        )
    assert np.mean(close) >= 0.95, np.flatnonzero(~np.array(close))


@pytest.mark.golden
def test_the_own_surface_gives_the_recorded_distances(
    golden_dir: Path, scenes_dir: Path, real_scene: str
) -> None:
    file = golden_dir / f"{real_scene}.pointnav.json.gz"
    env = PointNavEnv(scenes_dir / f"{real_scene}.glb", file, size=8, shuffle=False)
    for recorded in read_episodes(golden_dir / f"{real_scene}.pointnav.json.gz"):
        distance = env.reset()[1]["distance_to_goal"]
        assert distance == pytest.approx(recorded.geodesic_distance, abs=max(0.1, 0.02 * distance))
    env.close()


@pytest.mark.golden
def test_objects_of_a_real_house_are_found(scenes_dir: Path) -> None:
    env = ObjectNavEnv(scenes_dir / "small_house.glb", episodes=3, categories=["sofa", "tv_monitor"], size=16)
    for _ in range(3):
        info = env.reset()[1]
        assert 1.0 <= info["distance_to_goal"] <= 30.0
        names = {goal.object_name for goal in env.episode.goals}
        assert names in ({"sofa.00"}, {"tv.00", "tv.01"}), names
    env.close()
