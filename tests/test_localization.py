"""Localization-v0: what is seen and what is refused, declarations by hand, the memory, the same from the same seed."""

from __future__ import annotations

import math
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from flat_room import HALF, room_episode, room_simulator
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_for_sb3

from envs.localization import LocalizationEnv, declare, move
from envs.localization_picture import SIDE
from envs.registration import register_environments
from envs.scene_memory import remember_scene, scene_pose
from poma3d.errors import SettingError
from poma3d.pointmap import Camera, Frame, invert, transform_points

FORWARD, LEFT = 1, 2


def room(*episodes: Any, **settings: Any) -> LocalizationEnv:
    given: dict[str, Any] = {"episodes": list(episodes) or 4, "size": (16, 24), "memory_views": 4}
    return LocalizationEnv(simulator=room_simulator(), **{**given, **settings})


@pytest.mark.filterwarnings("ignore:.*symmetric and normalized.*")
def test_both_checkers_pass_and_a_rescaled_action_leaves_no_warning() -> None:
    register_environments()
    check_env(gymnasium.make("pomagym/Localization-v0", simulator=room_simulator(), size=16).unwrapped)
    check_for_sb3(room())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*precision lowered.*")  # the wrapper's own, about its bounds
        check_for_sb3(gymnasium.wrappers.RescaleAction(room(), -1.0, 1.0))


@pytest.mark.parametrize("frame", ["world", "scene", Frame.WORLD])
def test_frames_that_give_the_pose_away_are_refused(frame: str) -> None:
    with pytest.raises(SettingError, match=r"give away the pose.*agent, camera and episode"):
        room(frame=frame)


@pytest.mark.parametrize("frame", ["agent", "camera", "episode"])
def test_the_other_frames_do_not_tell_where_in_the_world_it_is(frame: str) -> None:
    # Two places with the same walls ahead and beside: by the room's symmetry they must look the same.
    left = room(room_episode((-4.0, 0.0, 4.2), heading=math.pi), frame=frame, hfov=20.0)
    right = room(room_episode((-2.0, 0.0, 4.2), heading=math.pi), frame=frame, hfov=20.0)
    seen, other = left.reset()[0], right.reset()[0]
    np.testing.assert_allclose(seen["point_map"], other["point_map"], atol=1e-5)
    assert set(seen) == {"point_map", "valid"}, "no gps, no compass, no goal"


def test_a_pose_is_in_the_scene_frame() -> None:
    np.testing.assert_allclose(scene_pose(np.array([2.0, 0.5, -3.0]), 0.0), [2, 3, math.pi / 2])
    np.testing.assert_allclose(scene_pose(np.zeros(3), -math.pi / 2), [0, 0, 0], atol=1e-12)
    env = room(room_episode((2.0, 0.0, 1.0), heading=0.3))
    env.reset()
    before = env.pose
    env.step(move(FORWARD))
    ahead = before[:2] + 0.25 * np.array([math.cos(before[2]), math.sin(before[2])])
    np.testing.assert_allclose(env.pose[:2], ahead, atol=1e-5)
    env.step(move(LEFT))
    assert env.pose[2] == pytest.approx(before[2] + math.radians(10))


@pytest.mark.parametrize(
    ("off", "turned", "success", "coarse"),
    [(0.0, 0.0, 1, 1), (0.24, 9.9, 1, 1), (0.26, 0, 0, 1), (0.0, 10.5, 0, 1), (0.49, 14.9, 0, 1), (0.51, 0, 0, 0),
     (0.0, 15.5, 0, 0), (0.0, 180.0, 0, 0)],
)  # fmt: skip
def test_declarations_by_hand(off: float, turned: float, success: int, coarse: int) -> None:
    env = room(room_episode((2.0, 0.0, 0.0), heading=math.pi / 2))  # yaw pi: the seam of angles
    info = env.reset()[1]
    assert info["position_error"] == info["heading_error"] == math.inf
    x, y, yaw = env.pose
    _, reward, terminated, truncated, info = env.step(declare(x + off, y, yaw + math.radians(turned)))
    assert (terminated, truncated) == (True, False)
    assert info["position_error"] == pytest.approx(off, abs=1e-5)
    assert info["heading_error"] == pytest.approx(turned, abs=1e-3)
    assert (info["success"], info["success_coarse"], info["num_steps"]) == (success, coarse, 1)
    assert reward == pytest.approx(-0.01 + 2.5 * success)


def test_the_step_limit_ends_it_without_a_declaration() -> None:
    env = room(max_steps=2)
    env.reset()
    assert env.step(move(LEFT))[2:4] == (False, False)
    _, _, terminated, truncated, info = env.step(move(FORWARD))
    assert (terminated, truncated, info["success"]) == (False, True, 0.0)
    with pytest.raises(SettingError, match="call reset"):
        env.step(move(LEFT))


@pytest.mark.parametrize("action", [0, [1.0, 2.0], [0, 0, 0, math.nan], [7, 0, 0, 0], {"move": 1}, "left"])
def test_actions_of_the_wrong_kind_are_named(action: Any) -> None:
    env = room()
    env.reset()
    with pytest.raises(SettingError, match="action"):
        env.step(action)


def test_the_memory_is_where_it_says() -> None:
    env = room()
    with pytest.raises(SettingError, match="call reset"):
        _ = env.memory
    env.reset()
    memory = env.memory
    assert memory.point_map.shape == (4, 16, 24, 3)
    points = memory.scene_points()[memory.valid]
    assert abs(points[:, :2]).max() < HALF + 1e-3
    on_a_wall = (abs(abs(points[:, :2]) - HALF) < 1e-3).any(axis=1)
    assert on_a_wall.mean() > 0.1
    looks = np.stack([np.cos(memory.poses[:, 2]), np.sin(memory.poses[:, 2])], -1)
    np.testing.assert_allclose(memory.scene_from_agent[:, :2, 0], looks, atol=1e-9)
    back = transform_points(invert(memory.scene_from_agent), memory.scene_points(), memory.valid)
    np.testing.assert_allclose(back, memory.point_map, atol=1e-4)
    with pytest.raises(ValueError, match="read-only"):
        memory.point_map[0] = 0


def test_seed_and_episode_decide_everything() -> None:
    first, second = room(seed=3), room(seed=3)
    one = first.reset(options={"episode_id": "2"})[0]
    second.reset(options={"episode_id": "0"})
    second.step(move(LEFT))
    two = second.reset(options={"episode_id": "2"})[0]
    np.testing.assert_array_equal(one["point_map"], two["point_map"])
    np.testing.assert_array_equal(first.memory.point_map, second.memory.point_map)
    assert first.pose.tolist() == second.pose.tolist()
    other = room(seed=4)
    other.reset(options={"episode_id": "2"})
    assert other.pose.tolist() != first.pose.tolist()
    same_memory = remember_scene(room_simulator(), "flat_room", Camera(16, 24), 4, 3)
    np.testing.assert_array_equal(same_memory.point_map, first.memory.point_map)


def test_the_memory_does_not_depend_on_the_folder_of_the_scene() -> None:
    here, there, other = (
        remember_scene(room_simulator(), scene_id, Camera(8, 8), 3).point_map
        for scene_id in ("/data/room.glb", "C:\\scenes\\room.glb", "/data/other.glb")
    )
    np.testing.assert_array_equal(here, there)
    assert not np.array_equal(here, other)


def test_what_needs_an_episode_says_so() -> None:
    env = room()
    for name in ("position", "heading", "pose", "trajectory", "world_from_camera", "simulator", "episode"):
        with pytest.raises(SettingError, match="call reset"):
            getattr(env, name)
    assert env.errors() == (math.inf, math.inf)


def test_recorded_episodes_of_other_tasks_serve() -> None:
    env = room(room_episode((2.0, 0.0, 0.0), heading=0.4))
    env.reset()
    np.testing.assert_allclose(env.pose, [2, 0, 0.4 + math.pi / 2])


def test_a_picture_shows_the_declaration() -> None:
    env = room(render_mode="rgb_array")
    env.reset()
    before = env.render()
    env.step(declare(0.5, 0.5, 0.0))
    after = env.render()
    assert before is not None
    assert after is not None
    assert before.shape == after.shape
    assert before.shape[1] == SIDE
    assert (before != after).any()


@pytest.mark.parametrize(
    "setting",
    [{"memory_views": 0}, {"memory_views": 2.5}, {"max_steps": 0}, {"memory_seed": -1}, {"seed": "x"}, {"frame": "odd"},
     {"render_mode": "human"}, {"success_reward": math.nan}],
    ids=str,
)  # fmt: skip
def test_bad_settings_are_named(setting: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(setting))):
        room(**setting)
