"""One episode: the record, what decides chance, what observers are told."""

from __future__ import annotations

import json

import gymnasium
import numpy as np
import pytest
from flat_room import room_simulator

from agent.observer import Observer
from agent.rollout import episode_generator, run_episode
from envs.embodiment import agent_preset
from envs.episodes import Episode, Goal
from envs.locomotion import Action
from envs.registration import register_environments
from poma3d.errors import SettingError
from poma3d.pointmap import Camera

AGENT = agent_preset("pointnav-gibson", camera=Camera(12, 16, 90.0), max_steps=40)
EPISODES = [
    Episode("0", "flat_room", (3.0, 0.0, 3.0), (0.0, 0.0, 0.0, 1.0), (Goal((3.0, 0.0, 0.0)),)),
    Episode("7", "flat_room", (2.0, 0.0, 3.0), (0.0, 0.0, 0.0, 1.0), (Goal((2.0, 0.0, 1.0)),)),
]


class Scripted:
    """Plays a list of actions, or what its generator says."""

    name = "scripted"
    privileged = False

    def __init__(self, actions=None):
        self.actions = actions
        self.draws = []

    def reset(self, env, rng):
        self.step, self.rng = 0, rng
        self.draws.append(rng.integers(1 << 62))

    def act(self, observation):
        self.step += 1
        if self.actions is None:
            return int(self.rng.integers(1, 4))
        return self.actions[self.step - 1]


class Witness:
    def __init__(self):
        self.told = []

    def begin(self, env, observation, info):
        assert env is env.unwrapped
        self.told.append(("begin", info["episode_id"]))

    def step(self, action, observation, reward, info):
        self.told.append(("step", action))

    def end(self, measures):
        self.told.append(("end", measures["success"]))

    def close(self):
        pass


@pytest.fixture
def env():
    register_environments()
    simulator = room_simulator(AGENT)
    made = gymnasium.make(
        "pomagym/PointNav-v0", simulator=simulator, episodes=EPISODES, agent=AGENT, disable_env_checker=True
    )
    yield made
    made.close()
    simulator.close()


def test_the_record_of_a_walk_straight_to_the_goal_is_known(env):
    record = run_episode(env, Scripted([1] * 12 + [0]), episode_id="0", seed=4)
    timeless = {key: value for key, value in record.items() if not key.startswith("time_")}
    assert timeless == {
        "episode_id": "0",
        "scene_id": "flat_room",
        "policy": "scripted",
        "seed": 4,
        "steps": 13,
        "success": 1.0,
        "spl": pytest.approx(1.0),
        "soft_spl": pytest.approx(1.0),
        "distance_to_goal": pytest.approx(0.0, abs=1e-6),
        "collisions": 0,
        "path_length": pytest.approx(3.0),
        "reward": pytest.approx(3.0 - 13 * 0.01 + 2.5),
        "start_distance": pytest.approx(3.0),
    }
    json.dumps(record, allow_nan=False)
    assert record["time_total"] >= record["time_env"] > 0


def test_the_step_limit_ends_an_episode_without_success(env):
    record = run_episode(env, Scripted([2] * 40), episode_id="0")
    assert (record["steps"], record["success"], record["spl"]) == (40, 0.0, 0.0)


def test_chance_depends_on_seed_and_episode_alone(env):
    once, again = Scripted(), Scripted()
    first = [run_episode(env, once, episode_id=e, seed=1) for e in ("0", "7")]
    second = [run_episode(env, again, episode_id=e, seed=1) for e in ("7", "0")]
    strip = [{k: v for k, v in r.items() if not k.startswith("time_")} for r in first + second[::-1]]
    assert strip[:2] == strip[2:]
    assert once.draws == again.draws[::-1]
    other = Scripted()
    run_episode(env, other, episode_id="0", seed=2)
    assert other.draws[0] not in once.draws


def test_the_generator_is_the_same_on_every_machine():
    assert episode_generator(0, "0").integers(1 << 62) == 2257557807080161076
    seeds = {int(episode_generator(s, e).integers(1 << 62)) for s in range(30) for e in ("0", "1", "00", "a")}
    assert len(seeds) == 120
    assert episode_generator(1, "1").random() != episode_generator(11, "").random()


def test_observers_are_told_of_every_step_in_order(env):
    witness = Witness()
    assert isinstance(witness, Observer)
    record = run_episode(env, Scripted([1, 2, 0]), episode_id="7", observers=[witness])
    assert witness.told == [("begin", "7"), ("step", 1), ("step", 2), ("step", 0), ("end", record["success"])]


def test_an_action_that_there_is_not_is_refused(env):
    with pytest.raises(SettingError, match="unknown action 9"):
        run_episode(env, Scripted([9]), episode_id="0")


def test_without_an_id_the_next_episode_runs(env):
    assert [run_episode(env, Scripted([0]))["episode_id"] for _ in range(3)] == ["0", "7", "0"]


def test_looking_on_changes_nothing(env):
    alone = run_episode(env, Scripted(), episode_id="0", seed=3)
    watched = run_episode(env, Scripted(), episode_id="0", seed=3, observers=[Witness()])
    for name, value in alone.items():
        if not name.startswith("time_"):
            assert np.array_equal(watched[name], value), name


@pytest.mark.parametrize("one", [1, np.int64(1), np.array([1]), np.array(1), Action.MOVE_FORWARD, [1], (1,)])
def test_a_policys_action_is_what_the_environment_takes(env, one):
    witness = Witness()
    record = run_episode(env, Scripted([one] * 12 + [0]), episode_id="0", observers=[witness])
    assert (record["success"], record["steps"]) == (1.0, 13)
    told = [action for kind, action in witness.told if kind == "step"]
    assert told == [1] * 12 + [0]
    assert {type(action) for action in told} == {int}


@pytest.mark.parametrize("bad", [1.9, 0.9, 1.0, "forward", True, None, (1, 2), np.array([1.0]), 4, -1])
def test_an_action_that_the_environment_refuses_is_refused_by_the_name_of_its_policy(env, bad):
    env.reset()
    with pytest.raises(SettingError, match="the actions are 0 stop"):
        env.step(bad)
    with pytest.raises(SettingError, match=r"policy 'scripted' .* the actions are 0 stop") as caught:
        run_episode(env, Scripted([bad]), episode_id="0")
    assert len(str(caught.value).splitlines()) == 1
