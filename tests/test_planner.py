"""The map-and-plan policy as a whole: it arrives in a room, in every frame, with wide turns, even blinded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flat_room import room_env, room_episode, room_simulator

from agent.rollout import run_episode
from envs.embodiment import AgentSpec
from policies.planner import Planner
from policies.scripted import make_policy
from poma3d.errors import SettingError
from poma3d.pointmap import Frame

ROUND_THE_WALL = {
    "start": (2.0, 0.0, -2.0),
    "goal": (-2.0, 0.0, -2.0),
}


@pytest.mark.parametrize("frame", list(Frame))
def test_it_walks_round_the_wall_to_the_goal_in_every_frame(frame):
    env = room_env(room_episode(**ROUND_THE_WALL, heading=1.0), frame=frame, size=(48, 64))
    record = run_episode(env, Planner(), episode_id="e")
    env.close()
    assert record["success"] == 1.0
    # Which end of the wall is open cannot be seen from the start: it may walk a metre or so towards the closed one.
    assert record["path_length"] < record["start_distance"] + 2 * 1.25


def test_the_same_episode_runs_the_same_after_any_other():
    env = room_env(room_episode(**ROUND_THE_WALL), size=(32, 48))
    policy = Planner()
    first = run_episode(env, policy, seed=3, episode_id="e")
    again = run_episode(env, policy, seed=3, episode_id="e")
    env.close()
    assert {k: v for k, v in first.items() if not k.startswith("time_")} == {
        k: v for k, v in again.items() if not k.startswith("time_")
    }


def test_it_gets_on_without_sliding_and_with_wide_turns():
    agent = replace(AgentSpec(), allow_sliding=False, turn_angle=30.0)
    env = room_env(
        room_episode(**ROUND_THE_WALL), agent=agent, simulator=room_simulator(agent), size=(48, 64)
    )
    record = run_episode(env, Planner(), episode_id="e")
    env.close()
    assert record["success"] == 1.0
    assert record["spl"] > 0.8


def test_blinded_it_still_learns_of_walls_from_being_held_back():
    class Blind:
        def __init__(self):
            self.name, self.privileged, self._policy = "blind", False, Planner()

        def reset(self, env, rng):
            self._policy.reset(env, rng)

        def act(self, observation):
            return self._policy.act(
                {
                    **observation,
                    "point_map": np.zeros_like(observation["point_map"]),
                    "valid": np.zeros_like(observation["valid"]),
                }
            )

    env = room_env(room_episode(start=(2.0, 0.0, 1.0), goal=(-2.0, 0.0, 1.0)), size=(8, 8), max_steps=2000)
    record = run_episode(env, Blind(), episode_id="e")
    env.close()
    assert record["collisions"] > 0
    assert record["success"] == 1.0


def test_it_says_what_it_misses():
    policy = make_policy("planner")
    assert policy.privileged is False
    with pytest.raises(SettingError, match="body"):
        policy.reset(object(), np.random.default_rng(0))
    env = room_env(room_episode())
    observation, _ = env.reset()
    policy.reset(env, np.random.default_rng(0))
    with pytest.raises(SettingError, match="'gps'"):
        policy.act({name: value for name, value in observation.items() if name != "gps"})
    with pytest.raises(SettingError, match="objectgoal"):
        policy.act({n: v for n, v in observation.items() if n != "pointgoal_with_gps_compass"})
    env.close()
