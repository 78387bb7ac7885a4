"""Going back in an episode: after `restore` the same actions have the same outcome, bit for bit, or it is refused."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flat_room import room_env, room_episode, room_simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.embodiment import AgentSpec
from envs.locomotion import Action
from envs.navigation import NavigationEnv
from envs.navigation_state import NavigationState
from envs.objectnav import ObjectNavEnv
from envs.pointnav import PointNavEnv
from policies.scripted import OraclePolicy
from poma3d.errors import EpisodeError, SettingError

FORWARD, LEFT, RIGHT, STOP = Action.MOVE_FORWARD, Action.TURN_LEFT, Action.TURN_RIGHT, Action.STOP
HOUSE = "procedural:val:0000"
EPISODES = 3


def house_env(task: str, max_steps: int = 60) -> NavigationEnv:
    shared: dict[str, Any] = {"episodes": EPISODES, "size": (9, 12), "max_steps": max_steps}
    if task == "pointnav":
        return PointNavEnv(HOUSE, **shared)
    return ObjectNavEnv(HOUSE, categories=["bed", "chair"], semantic=True, **shared)


@pytest.fixture(scope="module", params=["pointnav", "objectnav"])
def pair(request: pytest.FixtureRequest) -> tuple[NavigationEnv, NavigationEnv]:
    """Two environments of the same settings in a procedural house."""
    return house_env(request.param), house_env(request.param)


def exact(value: Any) -> Any:
    """The same value for the same bits alone."""
    if isinstance(value, dict):
        return {name: exact(part) for name, part in value.items()}
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return type(value), repr(value)


def privileged(env: NavigationEnv) -> list[Any]:
    """What oracles, recorders and painters read."""
    goals = env.goal_positions, env.distance_field.distance(env.position[None])
    return [
        exact(one) for one in (env.position, env.rotation, env.trajectory, env.last_action, env.over, *goals)
    ]


def walk(env: NavigationEnv, actions: list[int]) -> list[Any]:
    """All that is told of each step, to the end of the actions or of the episode."""
    told = []
    for action in actions:
        if env.over:
            break
        told.append([*(exact(part) for part in env.step(action)), privileged(env), exact(env.measures.spl)])
    return told


def begin(env: NavigationEnv, number: int) -> tuple[dict, dict]:
    return env.reset(options={"episode_id": str(number)})


moves = st.sampled_from([FORWARD, FORWARD, FORWARD, LEFT, RIGHT])
maybe_stop = st.sampled_from([FORWARD] * 8 + [LEFT] * 3 + [RIGHT] * 3 + [STOP])


@settings(max_examples=25)
@given(
    number=st.integers(0, EPISODES - 1),
    before=st.lists(moves, max_size=35),
    after=st.lists(maybe_stop, min_size=1, max_size=35),
    elsewhere=st.lists(maybe_stop, max_size=35),
)
def test_the_same_actions_have_the_same_outcome(
    pair: tuple[NavigationEnv, NavigationEnv],
    number: int,
    before: list[int],
    after: list[int],
    elsewhere: list[int],
) -> None:
    env, other = pair
    observation, info = begin(env, number)
    for action in before:
        observation, _, _, _, info = env.step(action)
    state, here = env.state(), privileged(env)
    first = walk(env, after)
    then = env.state()
    walk(env, elsewhere)

    assert [exact(part) for part in env.restore(state)] == [exact(observation), exact(info)]
    assert privileged(env) == here
    assert env.state() == state
    assert walk(env, after) == first
    assert env.state() == then

    # on to a later moment, and in another environment of the same settings
    env.restore(state)
    assert env.restore(then)[1]["num_steps"] == len(before) + len(first)
    assert env.state() == then
    begin(other, number)
    other.restore(pickle.loads(pickle.dumps(state)))
    assert walk(other, after) == first


def test_walks_of_the_property_collide_stop_and_run_out(pair: tuple[NavigationEnv, NavigationEnv]) -> None:
    """What the property walks through is not all free floor, and the end lies on both sides of a moment."""
    env = pair[0]
    begin(env, 0)
    collided = [env.step(FORWARD)[4]["collisions"]["count"] for _ in range(35)][-1]
    assert collided > 0
    state = env.state()
    assert [env.step(LEFT)[3] for _ in range(25)][-1], "truncated"
    over = env.state()
    assert over.over
    assert env.restore(state)[1]["collisions"]["count"] == collided
    assert env.step(STOP)[2], "terminated"
    env.restore(over)
    with pytest.raises(SettingError, match="no episode is running"):
        env.step(LEFT)
    env.restore(state)
    env.step(LEFT)
    assert env.measures.num_steps == 36


def test_success_and_spl_after_the_end_by_hand() -> None:
    """Two metres to the goal: straight there, or back from the end and by a detour."""
    env = room_env(room_episode())
    env.reset()
    state = env.state()
    assert walk(env, [FORWARD] * 8 + [STOP])
    assert env.measures.spl == pytest.approx(1.0)
    observation, info = env.restore(state)
    assert (info["num_steps"], info["path_length"], info["success"]) == (0, 0.0, 0.0)
    assert (env.last_action, len(env.trajectory)) == (None, 1)
    np.testing.assert_allclose(observation["pointgoal_with_gps_compass"], [2, 0], atol=1e-6)
    walk(env, [*[LEFT] * 18, *[FORWARD] * 4, *[RIGHT] * 18, *[FORWARD] * 12, STOP])
    assert env.measures.as_dict()["success"] == 1.0
    assert env.measures.spl == pytest.approx(2 / 4, abs=1e-3)
    assert env.measures.path_length == pytest.approx(4.0)


def test_the_picture_is_that_of_the_moment() -> None:
    env = room_env(room_episode(), render_mode="rgb_array")
    env.reset()
    walk(env, [FORWARD, LEFT, FORWARD])
    state, picture = env.state(), env.render()
    walk(env, [LEFT] * 4 + [FORWARD] * 5 + [STOP])
    assert picture is not None
    assert not np.array_equal(picture, env.render())
    env.restore(state)
    np.testing.assert_array_equal(picture, env.render())


@pytest.mark.parametrize("task", ["pointnav", "objectnav"])
def test_the_oracle_plans_anew_from_where_it_was_taken(task: str) -> None:
    env = house_env(task, max_steps=500)
    for number in range(EPISODES):
        observation, _ = begin(env, number)
        oracle, states, actions = OraclePolicy(), [env.state()], []
        oracle.reset(env, np.random.default_rng(0))
        while not env.over:
            actions.append(oracle.act(observation))
            observation = env.step(actions[-1])[0]
            states.append(env.state())
        assert env.measures.success
        spl = env.measures.spl
        for back in (0, len(actions) // 2, len(actions) - 1):
            observation, _ = env.restore(states[back])
            again = []
            while not env.over:
                again.append(oracle.act(observation))
                observation = env.step(again[-1])[0]
            assert env.measures.success
            if back == 0:
                assert again == actions
                assert env.measures.spl == spl


def test_a_state_is_small_and_plain() -> None:
    env = room_env(room_episode())
    env.reset()
    walk(env, [FORWARD] * 8)
    state = env.state()
    assert len(pickle.dumps(state)) < 3000
    assert pickle.loads(pickle.dumps(state)) == state
    assert {state: 1}[env.state()] == 1
    env.step(LEFT)
    assert env.state() != state
    assert (state.measures.num_steps, state.last_action, len(state.trajectory)) == (8, FORWARD, 9)


def taken(env: NavigationEnv) -> NavigationState:
    env.reset()
    return env.state()


def test_the_order_of_episodes_goes_on() -> None:
    env = room_env(episodes=3, shuffle=False)
    state = taken(env)
    env.step(LEFT)
    env.restore(state)
    assert [env.reset()[1]["episode_id"] for _ in range(3)] == ["1", "2", "0"]
    env.restore(state)
    assert env.measures.num_steps == 0


OTHERS = {
    "max_steps is 7 there and 500 here": {"max_steps": 7},
    r"camera is Camera\(.*16.*there and Camera\(.*16.*here": {"hfov": 60.0},
    "frame is 'world' there and 'agent' here": {"frame": "world"},
    "success_distance is 0.5 there": {"success_distance": 0.5},
    "slack_reward is 0.0 there and -0.01 here": {"slack_reward": 0.0},
    "success_reward is 9.0 there": {"success_reward": 9.0},
    "turn_angle is 15.0 there": {"agent": AgentSpec(turn_angle=15.0)},
    "start is '": {"episodes": [room_episode(start=(2.0, 0.0, 0.5))]},
    "start is '.*": {"episodes": [room_episode(heading=0.1)]},
    "goals is '": {"episodes": [room_episode(goal=(2.0, 0.0, -2.5))]},
    "the state is one of episode 'f' in flat_room and the running one is 'e' in flat_room: begin its own first": {
        "episodes": [replace(room_episode(), episode_id="f")]
    },
    "the state is one of episode 'e' in hall": {
        "episodes": [replace(room_episode(), scene_id="hall")],
        "simulator": room_simulator(scene_id="hall"),
    },
}


@pytest.mark.parametrize("message", list(OTHERS))
def test_states_of_other_episodes_and_settings_are_refused(message: str) -> None:
    env = room_env(room_episode())
    env.reset()
    env.step(FORWARD)
    before = env.state()
    other = taken(room_env(**{"episodes": [room_episode()], **OTHERS[message]}))
    with pytest.raises(SettingError, match=message) as refused:
        env.restore(other)
    assert "\n" not in str(refused.value)
    assert env.state() == before, "nothing has changed"


def test_tasks_and_categories_are_told_apart(pair: tuple[NavigationEnv, NavigationEnv]) -> None:
    env = pair[0]
    begin(env, 0)
    state = env.state()
    if isinstance(env, PointNavEnv):
        strange = replace(state, terms=(("task", "ObjectNavEnv"), *state.terms[1:]))
        with pytest.raises(SettingError, match="task is 'ObjectNavEnv' there and 'PointNavEnv' here"):
            env.restore(strange)
        return
    turned = ObjectNavEnv(
        HOUSE, episodes=[env.episode], categories=["chair", "bed"], size=(9, 12), max_steps=60
    )
    turned.reset()
    with pytest.raises(SettingError, match=r"categories is .*'bed', 0.* there and .*'bed', 1.* here"):
        turned.restore(state)
    turned.close()


def test_where_nothing_has_begun_there_is_nothing_to_go_back_to() -> None:
    good, off = room_episode(), replace(room_episode(start=(50.0, 0.0, 0.0)), episode_id="off")
    env = room_env(good, off, shuffle=False)
    with pytest.raises(SettingError, match="no episode has begun"):
        env.state()
    state = taken(env)
    with pytest.raises(SettingError, match=r"restore\(\) takes what state\(\) gave, found dict"):
        env.restore({})  # type: ignore[arg-type]
    with pytest.raises(EpisodeError, match="off the surface"):
        env.reset()
    with pytest.raises(SettingError, match=r"no episode has begun.*call reset\(\) first"):
        env.restore(state)  # the scene of the refused one may have pushed out its own
    env.reset(options={"episode_id": "e"})
    env.restore(state)
    env.close()
    for ask in (env.state, lambda: env.restore(state)):
        with pytest.raises(SettingError, match="or the environment was closed"):
            ask()


def test_copying_names_the_way_back() -> None:
    with pytest.raises(SettingError, match=r"state\(\) keeps a moment, and restore\(\) goes back to it"):
        pickle.dumps(room_env(room_episode()))
