"""The environments as others see them: the checkers of Gymnasium and SB3, spaces, vector environments."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from flat_room import room_env, room_simulator
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from envs.embodiment import PRESETS
from envs.episodes import Episode
from envs.episodes.objectnav_generator import generate_objectnav
from envs.locomotion import Action
from envs.registration import register_environments
from envs.spaces import PointMapSpace, ValiditySpace
from poma3d.errors import SettingError
from poma3d.pointmap import Frame

FORWARD, LEFT, RIGHT, STOP = Action.MOVE_FORWARD, Action.TURN_LEFT, Action.TURN_RIGHT, Action.STOP


@pytest.fixture(autouse=True)
def _registered() -> None:
    register_environments()


@pytest.fixture(scope="module")
def simulators() -> dict[str, Any]:
    return {name: room_simulator(agent) for name, agent in PRESETS.items()}


@pytest.fixture(scope="module")
def chairs(simulators: dict[str, Any]) -> list[Episode]:
    """ObjectNav episodes with few view points, which the room's surface measures one by one."""
    found = generate_objectnav(simulators["objectnav-hm3d"], 2, categories=["chair"])
    few = tuple(replace(goal, view_points=(goal.view_points or ())[::50]) for goal in found[0].goals)
    return [replace(made, goals=few) for made in found]


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("frame", list(Frame))
@pytest.mark.parametrize("name", ["pomagym/PointNav-v0", "pomagym/ObjectNav-v0"])
def test_both_checkers_are_silent(
    name: str, frame: Frame, preset: str, simulators: dict[str, Any], chairs: list[Episode]
) -> None:
    from stable_baselines3.common.env_checker import check_env as stable_baselines_check_env

    settings = {
        "simulator": simulators[preset],
        "agent": preset,
        "frame": frame,
        "size": (12, 16),
        "episodes": 4,
    }
    if "ObjectNav" in name:
        settings.update(episodes=chairs, categories=["chair"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check_env(gymnasium.make(name, render_mode="rgb_array", **settings).unwrapped)
        stable_baselines_check_env(gymnasium.make(name, **settings))


def test_observations_stay_within_the_bounds_of_every_frame(simulators: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    for frame in Frame:
        env = room_env(simulator=simulators["pointnav-gibson"], frame=frame, episodes=2)
        env.reset()
        for action in rng.integers(1, 4, 40):
            assert env.step(int(action))[0] in env.observation_space


def test_spaces_hold_floats_and_masks() -> None:
    space = PointMapSpace(4, 6, 3.0, seed=1)
    assert space.sample() in space
    assert space.sample().dtype == np.float32
    assert np.full((4, 6, 3), 3.1, np.float32) not in space
    assert np.full((4, 6, 3), np.nan, np.float32) not in space
    assert np.zeros((6, 4, 3), np.float32) not in space
    assert (space.low.min(), space.high.max(), space.low.shape) == (-3.0, 3.0, (4, 6, 3))
    assert space == PointMapSpace(4, 6, 3.0)
    assert space != PointMapSpace(4, 6, 4.0)
    batched = gymnasium.vector.utils.batch_space(space, 2)
    assert (batched.shape, batched.dtype, float(batched.high.max())) == ((2, 4, 6, 3), np.float32, 3.0)
    flat = gymnasium.spaces.flatten_space(space)
    assert (flat.shape, float(flat.low.min())) == ((72,), -3.0)
    mask = ValiditySpace(4, 6, seed=1).sample()
    assert (mask.dtype, mask.shape) == (np.bool_, (4, 6))
    assert mask in ValiditySpace(4, 6)


# Vector environments.


class Room:
    """Makes an environment of the room, also in another process."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def __call__(self) -> gymnasium.Env:
        register_environments()
        settings = {
            "simulator": room_simulator(),
            "size": (12, 16),
            "episodes": 3,
            "max_steps": 4,
            **self.settings,
        }
        return gymnasium.make("pomagym/PointNav-v0", disable_env_checker=True, **settings)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_vector_environments_run_and_reset(kind: Any, mode: AutoresetMode) -> None:
    envs = kind([Room(), Room()], autoreset_mode=mode)
    try:
        observation, info = envs.reset(seed=1)
        assert observation["point_map"].shape == (2, 12, 16, 3)
        assert observation["valid"].dtype == np.bool_
        assert observation in envs.observation_space
        seen = list(info["episode_id"])
        for _ in range(11):
            observation, _, _, _, info = envs.step(np.array([FORWARD, LEFT]))
            assert observation in envs.observation_space
            seen.extend(info["episode_id"])
        assert set(seen) == {"0", "1", "2"}
    finally:
        envs.close()


def test_vector_environments_may_see_to_different_depths() -> None:
    near, far = (replace(PRESETS["pointnav-gibson"], depth_range=(0.0, far)) for far in (2.0, 10.0))
    rooms = [Room(simulator=room_simulator(agent), agent=agent) for agent in (near, far)]
    envs = SyncVectorEnv(rooms, observation_mode="different")
    space = envs.observation_space["point_map"]
    single = [env.observation_space["point_map"] for env in envs.envs]
    assert single[0].reach < single[1].reach
    for row, own in enumerate(single):
        assert (space.high[row] == own.reach).all()
        assert (space.low[row] == -own.reach).all()
    assert envs.observation_space["valid"].shape == (2, 12, 16)
    observation, _ = envs.reset(seed=0)
    assert observation in envs.observation_space
    envs.close()
    with pytest.raises(SettingError, match="views of one size, found 12 x 16, 24 x 16"):
        SyncVectorEnv([Room(), Room(size=(24, 16))], observation_mode="different")


def test_vector_environments_run_different_episodes() -> None:
    envs = SyncVectorEnv([Room(episodes=30, max_steps=1) for _ in range(4)])
    seen = [envs.reset(seed=3)[1]["episode_id"].tolist()]
    for _ in range(10):
        seen.append(envs.step(np.full(4, LEFT))[4]["episode_id"].tolist())
    envs.close()
    orders = list(zip(*seen, strict=True))
    assert len(set(orders)) == 4
    assert np.mean([len(set(row)) for row in seen]) > 3


@pytest.mark.parametrize("kind", ["DummyVecEnv", "SubprocVecEnv"])
def test_stable_baselines_vector_environments_run(kind: str) -> None:
    from stable_baselines3.common import vec_env

    settings = {"start_method": "spawn"} if kind == "SubprocVecEnv" else {}
    envs = getattr(vec_env, kind)([Room(), Room()], **settings)
    try:
        observation = envs.reset()
        for _ in range(4):
            observation, rewards, done, infos = envs.step(np.array([FORWARD, LEFT]))
        assert done.all()
        assert observation["point_map"].shape == (2, 12, 16, 3)
        assert infos[0]["TimeLimit.truncated"]
        assert infos[0]["terminal_observation"]["valid"].dtype == np.bool_
        assert np.isfinite(rewards).all()
    finally:
        envs.close()


def test_stable_baselines_learns_on_the_bare_environment() -> None:
    from stable_baselines3 import PPO

    model = PPO("MultiInputPolicy", Room(max_steps=16)(), n_steps=16, batch_size=16, n_epochs=1, device="cpu")
    model.learn(16)
    assert model.num_timesteps == 16
