"""The encoded vector environment: the right features at the right place, with any number of environments."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from flat_room import room_env, room_episode, room_simulator
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor
from tiny_backbone import TINY

from agent.backbone import FrozenBackbone
from agent.encoded_vec_env import EncodedVecEnv, encoded_space
from agent.feature_cache import FeatureCache
from poma3d.encoder import PointMapEncoder
from poma3d.errors import SettingError

FORWARD, LEFT, STOP = 1, 2, 0
SENSORS = ("pointgoal_with_gps_compass", "gps", "compass")


@pytest.fixture(scope="module")
def backbone() -> FrozenBackbone:
    return FrozenBackbone(PointMapEncoder(TINY), output="both", device="cpu")


def one_room(heading: float = 0.0, **settings: Any) -> gymnasium.Env:
    return room_env(room_episode(heading=heading), **{"size": 32, **settings})


def rooms(headings: list[float], **settings: Any) -> DummyVecEnv:
    simulator = room_simulator()
    return DummyVecEnv([partial(one_room, heading, simulator=simulator, **settings) for heading in headings])


def test_features_stand_for_views_and_all_else_stays(backbone: FrozenBackbone) -> None:
    plain, encoded = rooms([0.0, 1.0], max_steps=3), EncodedVecEnv(rooms([0.0, 1.0], max_steps=3), backbone)
    assert encoded.observation_space == encoded_space(plain.observation_space, backbone)
    before, after = plain.reset(), encoded.reset()
    ended = 0
    for number in range(8):
        assert isinstance(before, dict)
        assert encoded.observation_space.contains({name: rows[0] for name, rows in after.items()})
        expected = backbone.encode(before["point_map"], before["valid"])
        for name in expected:
            np.testing.assert_array_equal(after[name], expected[name])
        for name in SENSORS:
            np.testing.assert_array_equal(after[name], before[name])
        actions = np.array([FORWARD, STOP if number == 4 else LEFT])
        before, rewards, dones, infos = plain.step(actions)
        after, our_rewards, our_dones, our_infos = encoded.step(actions)
        np.testing.assert_array_equal(our_rewards, rewards)
        np.testing.assert_array_equal(our_dones, dones)
        for which, (info, ours) in enumerate(zip(infos, our_infos, strict=True)):
            assert info.keys() == ours.keys()
            if "terminal_observation" not in info:
                continue
            ended += 1
            last, our_last = info["terminal_observation"], ours["terminal_observation"]
            assert encoded.observation_space.contains(our_last)
            expected = backbone.encode(last["point_map"][None], last["valid"][None])
            for name in expected:
                np.testing.assert_array_equal(our_last[name], expected[name][0])
            assert not np.array_equal(our_last["cls"], after["cls"][which]), "the next episode's first view"
            assert info["TimeLimit.truncated"] == ours["TimeLimit.truncated"]
    assert ended == 5


@pytest.mark.parametrize("cached", [False, True])
def test_numbers_do_not_depend_on_how_many_there_are(
    backbone: FrozenBackbone, cached: bool, tmp_path: Path
) -> None:
    headings = [0.0, 0.7, 1.4, 2.1]
    actions = np.random.default_rng(0).choice([FORWARD, LEFT], (7, 4))

    def run(columns: list[int], cache: FeatureCache | None) -> np.ndarray:
        env = EncodedVecEnv(rooms([headings[one] for one in columns], max_steps=4), backbone, cache)
        seen = [env.reset()["cls"]]
        for row in actions[:, columns]:
            observation, _, _, infos = env.step(row)
            seen.append(observation["cls"])
            if "terminal_observation" in infos[0]:
                seen.append(np.stack([info["terminal_observation"]["cls"] for info in infos]))
        return np.stack(seen)

    together = run([0, 1, 2, 3], None)
    caches = [FeatureCache(tmp_path)] if cached else [None]
    for cache in caches * 2:
        np.testing.assert_array_equal(run([0, 1], cache), together[:, :2])
        np.testing.assert_array_equal(run([2], cache), together[:, 2:3])
    if caches[0] is not None:
        assert caches[0].statistics.misses <= 3 * len(together)
        assert caches[0].statistics.hits >= caches[0].statistics.misses
        caches[0].close()


def test_a_known_view_is_not_encoded_again(backbone: FrozenBackbone, tmp_path: Path, monkeypatch) -> None:
    encoded = []
    honest = backbone.encode
    monkeypatch.setattr(
        backbone, "encode", lambda points, valid: (encoded.append(len(points)), honest(points, valid))[1]
    )
    with FeatureCache(tmp_path) as cache:
        env = EncodedVecEnv(rooms([0.5, 0.5, 0.5], max_steps=2), backbone, cache)
        env.reset()
        assert encoded == [1], "three environments see the same"
        env.step(np.array([LEFT] * 3))
        observation, _, dones, infos = env.step(np.array([LEFT] * 3))
        assert dones.all()
        assert encoded == [1, 1, 1], "the last view is new, the first of the next episode is not"
        assert not np.array_equal(infos[0]["terminal_observation"]["cls"], observation["cls"][0])
        observation["cls"][:] = 0
        np.testing.assert_array_equal(env.reset()["cls"][0] != 0, True)
        assert sum(encoded) == 3
        env.close()
        env = EncodedVecEnv(rooms([0.5]), FrozenBackbone(PointMapEncoder(TINY, seed=5), output="both"), cache)
        before = cache.statistics.misses
        env.reset()
        assert cache.statistics.misses == before + 1, "another backbone's features are others"


def test_it_works_across_processes_and_under_wrappers(backbone: FrozenBackbone) -> None:
    alone = EncodedVecEnv(rooms([0.3, 0.6], max_steps=3), backbone)
    env = EncodedVecEnv(
        VecMonitor(
            SubprocVecEnv([partial(one_room, heading, max_steps=3) for heading in (0.3, 0.6)], "spawn")
        ),
        backbone,
    )
    try:
        np.testing.assert_array_equal(env.reset()["cls"], alone.reset()["cls"])
        for _ in range(4):
            ours, theirs = env.step(np.array([FORWARD, LEFT])), alone.step(np.array([FORWARD, LEFT]))
            np.testing.assert_array_equal(ours[0]["patch_tokens"], theirs[0]["patch_tokens"])
            for info, other in zip(ours[3], theirs[3], strict=True):
                assert ("episode" in info) == ("terminal_observation" in other)
    finally:
        env.close()


def test_ppo_learns_on_it(backbone: FrozenBackbone) -> None:
    env = EncodedVecEnv(rooms([0.0, 1.0], max_steps=10), backbone)
    model = PPO("MultiInputPolicy", env, n_steps=8, batch_size=8, n_epochs=2, device="cpu", seed=0)
    model.learn(32)
    assert isinstance(model.rollout_buffer.observations, dict)
    assert set(model.rollout_buffer.observations) == {*SENSORS, "cls", "patch_tokens"}
    action, _ = model.predict(env.reset())
    assert action.shape == (2,)


class _Unbatched(gymnasium.Env):
    """One environment of the encoded vector environment, as Gymnasium and SB3 check environments."""

    def __init__(self, env: EncodedVecEnv) -> None:
        self._env = env
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self._env.seed(seed)
        return {name: rows[0] for name, rows in self._env.reset().items()}, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        observation, rewards, dones, infos = self._env.step(np.array([action]))
        shown = infos[0].pop("terminal_observation", {name: rows[0] for name, rows in observation.items()})
        truncated = infos[0]["TimeLimit.truncated"]
        return shown, float(rewards[0]), bool(dones[0]) and not truncated, truncated, infos[0]


@pytest.mark.filterwarnings("error")
def test_checkers_pass(backbone: FrozenBackbone) -> None:
    cls = FrozenBackbone(PointMapEncoder(TINY), device="cpu")
    check_env(_Unbatched(EncodedVecEnv(rooms([0.0], max_steps=4), cls)), skip_render_check=True)
    with pytest.warns(UserWarning, match="patch_tokens has an unconventional shape"):  # (P, C) is no vector
        check_env(_Unbatched(EncodedVecEnv(rooms([0.0], max_steps=4), backbone)), skip_render_check=True)


def test_what_does_not_fit_is_named(backbone: FrozenBackbone) -> None:
    with pytest.raises(SettingError, match="make the environment with size=32"):
        EncodedVecEnv(rooms([0.0], size=48), backbone)
    with pytest.raises(SettingError, match="point_map and valid"):
        EncodedVecEnv(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]), backbone)
