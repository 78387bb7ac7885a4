"""Gymnasium's vector environments encoded: the backbone's own numbers in every autoreset mode, and its checks pass."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from flat_room import room_env, room_episode, room_simulator
from gymnasium.spaces import Box, Dict, flatdim
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers.vector import FlattenObservation, RecordEpisodeStatistics
from stable_baselines3.common.vec_env import DummyVecEnv
from tiny_backbone import TINY

from agent.backbone import FrozenBackbone
from agent.encoded_vec_env import EncodedVecEnv
from agent.encoded_vector import EncodedObservation, EncodedVector
from agent.feature_cache import FeatureCache
from poma3d.encoder import PointMapEncoder
from poma3d.errors import SettingError

FORWARD, LEFT, STOP = 1, 2, 0
SENSORS = ("pointgoal_with_gps_compass", "gps", "compass")
HEADINGS = (0.0, 1.0)


@pytest.fixture(scope="module")
def backbone() -> FrozenBackbone:
    return FrozenBackbone(PointMapEncoder(TINY), output="both", device="cpu")


def one_room(heading: float = 0.0, **settings: Any) -> gymnasium.Env:
    return room_env(room_episode(heading=heading), **{"size": 32, "max_steps": 3, **settings})


def makers(**settings: Any) -> list[partial]:
    return [partial(one_room, heading, **settings) for heading in HEADINGS]


def vector(
    mode: AutoresetMode = AutoresetMode.NEXT_STEP, kind: Any = SyncVectorEnv, **settings: Any
) -> VectorEnv:
    return kind(makers(**settings), autoreset_mode=mode)


def assert_encoded(ours: dict, plain: dict, backbone: FrozenBackbone) -> None:
    """Features in place of the views of n observations, bit for bit, and all else as it was."""
    expected = backbone.encode(plain["point_map"], plain["valid"])
    assert set(ours) == {*SENSORS, *expected}
    for name, values in {**expected, **{name: plain[name] for name in SENSORS}}.items():
        assert ours[name].dtype == values.dtype
        np.testing.assert_array_equal(ours[name], values)


def single(observation: dict) -> dict:
    return {name: value[None] for name, value in observation.items()}


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_features_stand_for_views_in_every_autoreset_mode(
    mode: AutoresetMode, kind: Any, backbone: FrozenBackbone
) -> None:
    plain, encoded = vector(mode), EncodedVector(vector(mode, kind), backbone)
    try:
        assert encoded.metadata["autoreset_mode"] is mode
        before, after = plain.reset(seed=3)[0], encoded.reset(seed=3)[0]
        assert_encoded(after, before, backbone)
        finals = resets = 0
        for number in range(8):
            actions = np.array([FORWARD, STOP if number == 1 else LEFT])
            before, *others, infos = plain.step(actions)
            after, *our_others, our_infos = encoded.step(actions)
            assert_encoded(after, before, backbone)
            assert after in encoded.observation_space
            for theirs, ours in zip(others, our_others, strict=True):
                np.testing.assert_array_equal(ours, theirs)
            assert our_infos.keys() == infos.keys()
            np.testing.assert_array_equal(our_infos["num_steps"], infos["num_steps"])
            over = others[1] | others[2]
            if "final_obs" in infos:
                np.testing.assert_array_equal(our_infos["_final_obs"], over)
                for which, final in enumerate(our_infos["final_obs"]):
                    assert (final is not None) == over[which]
                    if final is not None:
                        finals += 1
                        assert_encoded(single(final), single(infos["final_obs"][which]), backbone)
                        assert final in encoded.single_observation_space
                        assert not np.array_equal(final["cls"], after["cls"][which]), (
                            "the next episode's first view"
                        )
            if mode is AutoresetMode.DISABLED and over.any():
                resets += 1
                before = plain.reset(options={"reset_mask": over.copy()})[0]
                after = encoded.reset(options={"reset_mask": over.copy()})[0]
                assert_encoded(after, before, backbone)
        assert finals == (5 if mode is AutoresetMode.SAME_STEP else 0)
        assert resets == (5 if mode is AutoresetMode.DISABLED else 0)
    finally:
        encoded.close()


def test_it_gives_what_the_wrapper_for_stable_baselines_gives(backbone: FrozenBackbone) -> None:
    theirs = EncodedVecEnv(DummyVecEnv(makers()), backbone)
    ours = EncodedVector(vector(AutoresetMode.SAME_STEP), backbone)
    assert ours.single_observation_space == theirs.observation_space
    before, after = theirs.reset(), ours.reset()[0]
    ended = 0
    for _ in range(7):
        assert isinstance(before, dict)
        assert before.keys() == after.keys()
        for name, values in before.items():
            np.testing.assert_array_equal(after[name], values)
        actions = np.array([FORWARD, LEFT])
        before, _, dones, infos = theirs.step(actions)
        after, _, _, _, our_infos = ours.step(actions)
        for which in np.flatnonzero(dones):
            ended += 1
            for name, value in infos[which]["terminal_observation"].items():
                np.testing.assert_array_equal(our_infos["final_obs"][which][name], value)
    assert ended == 4


@pytest.mark.filterwarnings("error")
def test_spaces_are_as_gymnasium_asks(backbone: FrozenBackbone) -> None:
    env = EncodedVector(vector(), backbone)
    assert isinstance(env.single_observation_space, Dict)
    assert env.single_observation_space["cls"].shape == (40,)
    assert env.single_observation_space["patch_tokens"].shape == (16, 48)
    assert env.observation_space == batch_space(env.single_observation_space, 2)
    assert env.action_space == batch_space(env.single_action_space, 2)
    assert env.num_envs == 2
    assert env.observation_space.sample() in env.observation_space
    flat = FlattenObservation(env)  # warns where space and batched single space are not the same
    assert flat.reset()[0].shape == (2, flatdim(env.single_observation_space))


def test_gymnasiums_wrappers_go_around_it_and_inside(backbone: FrozenBackbone) -> None:
    inside = RecordEpisodeStatistics(vector(), stats_key="inside")
    env = RecordEpisodeStatistics(EncodedVector(inside, backbone))
    assert env.reset()[0] in env.observation_space
    for _ in range(3):
        observation, *_, infos = env.step(np.array([FORWARD, LEFT]))
    assert observation in env.observation_space
    assert infos["episode"]["l"].tolist() == infos["inside"]["l"].tolist() == [3, 3]
    env.close()
    assert env.closed


def test_sensors_keep_the_bounds_that_the_vector_environment_gives_them(backbone: FrozenBackbone) -> None:
    single_space = one_room().observation_space
    batched = batch_space(single_space, 2)
    assert isinstance(batched, Dict)
    far = np.array([[5, 5], [9, 9]], np.float32)
    batched["gps"] = Box(-far, far)
    encoded = EncodedVector(SyncVectorEnv(makers(), observation_mode=(batched, single_space)), backbone)
    assert isinstance(encoded.observation_space, Dict)
    assert encoded.observation_space["gps"] == batched["gps"]
    assert encoded.reset()[0] in encoded.observation_space


def test_rows_that_a_masked_reset_left_alone_are_not_encoded_again(
    backbone: FrozenBackbone, tmp_path: Path
) -> None:
    with FeatureCache(tmp_path) as cache:
        env = EncodedVector(vector(AutoresetMode.DISABLED), backbone, cache)
        env.reset()
        env.step(np.array([LEFT, STOP]))
        known = cache.statistics.misses
        assert known == 3  # two first views, and what the first saw behind its turn: the second stood still
        env.reset(options={"reset_mask": np.array([False, True])})
        assert cache.statistics.misses == known
        env.close()
        env = EncodedVector(vector(), backbone, cache)
        assert_encoded(env.reset()[0], vector().reset()[0], backbone)
        assert cache.statistics.misses == known


@pytest.mark.filterwarnings(
    "ignore:.*(different from the unwrapped|probably too)"
)  # wrapped; features have no bounds
def test_one_environment_alone(backbone: FrozenBackbone) -> None:
    plain, encoded = one_room(), EncodedObservation(one_room(), backbone)
    before, after = plain.reset()[0], encoded.reset()[0]
    for action in (FORWARD, LEFT):
        assert_encoded(single(after), single(before), backbone)
        assert after in encoded.observation_space
        before, after = plain.step(action)[0], encoded.step(action)[0]
    assert_encoded(single(after), single(before), backbone)
    check_env(EncodedObservation(one_room(simulator=room_simulator()), backbone), skip_render_check=True)


def encode_in_forked_environments() -> None:
    """Run by the next test in a process of its own, since it leaves threads behind."""
    torch.set_num_threads(2)
    backbone = FrozenBackbone(PointMapEncoder(TINY), output="both", device="cpu")
    many = np.zeros((64, 32, 32, 3), np.float32)
    backbone.encode(many, np.ones(many.shape[:-1], bool))  # starts OpenMP's threads
    torch.ones(1 << 20).exp()

    def encoded(heading: float) -> gymnasium.Env:
        return EncodedObservation(one_room(heading), backbone)

    envs = AsyncVectorEnv([partial(encoded, heading) for heading in HEADINGS])
    observation, _ = envs.reset(seed=3)
    assert_encoded(observation, vector().reset(seed=3)[0], backbone)
    assert torch.get_num_threads() == 2
    envs.close()
    print("the same")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
def test_forked_environments_encode_though_torch_ran_on_many_threads_before() -> None:
    program = "import test_encoded_vector; test_encoded_vector.encode_in_forked_environments()"
    settings = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    settings["PYTHONPATH"] = str(Path(__file__).parent)
    line = [sys.executable, "-W", "ignore", "-c", program]
    with subprocess.Popen(
        line, env=settings, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.communicate(timeout=120)[0] == "the same\n"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # its environments too


def test_what_does_not_fit_is_named(backbone: FrozenBackbone) -> None:
    with pytest.raises(SettingError, match="make the environment with size=32"):
        EncodedVector(vector(size=48), backbone)
    with pytest.raises(SettingError, match="point_map and valid"):
        EncodedVector(gymnasium.make_vec("CartPole-v1", 2), backbone)
    with pytest.raises(
        SettingError, match="found PointNavEnv; for a single environment there is EncodedObservation"
    ):
        EncodedVector(one_room(), backbone)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="found DummyVecEnv"):
        EncodedVector(DummyVecEnv(makers()), backbone)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="make the environment with size=32"):
        EncodedObservation(one_room(size=48), backbone)


def test_the_example_of_a_torch_loop_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, one_thread: None
) -> None:
    path = Path(__file__).parents[1] / "examples" / "torch_loop.py"
    monkeypatch.setattr(sys, "argv", [str(path), "--steps", "12", "--scene", "procedural:train:2"])
    made = runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.startswith("24 steps, ")
    weights = [value for value in made["policy"].parameters()]
    assert all(value.grad is not None and value.isfinite().all() for value in weights)
    assert any(value.grad.abs().max() > 0 for value in weights)
