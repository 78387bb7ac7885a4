"""The scripted policies: known answers on a square, and the oracle beside Habitat's own on real scenes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from agent.policy import Policy
from agent.rollout import run_episode
from benchmarks.navigation_run import NavigationRun, list_jobs, make_environment
from policies.greedy_follower import FORWARD, LEFT, RIGHT, STOP, GreedyFollower
from policies.scripted import POLICIES, ForwardPolicy, RandomPolicy, make_policy
from poma3d.errors import SettingError


class Square:
    """An empty square of 10 m with walls round it; ways are straight lines."""

    def __init__(self, goal=(0.0, 0.0, 0.0)):
        self.goal = np.array(goal)

    def distance(self, points):
        return np.linalg.norm(np.asarray(points) - self.goal, axis=-1)

    def try_step(self, start, end, *, sliding=True):
        inside = np.clip(end, -5.0, 5.0)
        return inside if sliding else np.where((inside == end).all(-1, keepdims=True), end, start)

    def distance_to_closest_obstacle(self, points, max_radius=2.0):
        return np.minimum(max_radius, 5.0 - np.abs(np.asarray(points))[:, [0, 2]].max(axis=1))


def follow(world, position, angle, *, steps=300, turn=10.0, sliding=True, radius=0.2):
    """Walk with the follower; the actions it took and where it came to."""
    follower = GreedyFollower(
        world, world, forward_step=0.25, turn_angle=turn, goal_radius=radius, sliding=sliding
    )
    position, actions = np.array(position), []
    while len(actions) < steps:
        action = follower.next_action(position, angle)
        actions.append(action)
        if action == STOP:
            break
        if action == FORWARD:
            ahead = position + 0.25 * np.array([-math.sin(angle), 0.0, -math.cos(angle)])
            position = world.try_step(position[None], ahead[None], sliding=sliding)[0]
        else:
            angle += math.radians(turn) * (1 if action == LEFT else -1)
    return actions, position


def test_straight_ahead_it_walks_and_stops_within_the_radius():
    actions, position = follow(Square(), (0.0, 0.0, 2.0), 0.0)
    assert actions == [FORWARD] * 8 + [STOP]
    assert np.allclose(position, 0.0)


@pytest.mark.parametrize(("angle", "first"), [(math.pi / 2, RIGHT), (-math.pi / 2, LEFT)])
def test_it_turns_to_the_nearer_side_first(angle, first):
    actions, _ = follow(Square(), (0.0, 0.0, 2.0), angle)
    assert actions == [first] * 9 + [FORWARD] * 8 + [STOP]


def test_behind_it_turns_half_round_once():
    actions, _ = follow(Square(), (0.0, 0.0, 2.0), math.pi - 1e-6)
    assert actions.count(STOP) == 1
    assert set(actions[:17]) == {RIGHT} or set(actions[:17]) == {LEFT}
    assert len(actions) <= 18 + 9


@pytest.mark.parametrize("turn", [10.0, 30.0, 45.0])
@pytest.mark.parametrize("sliding", [True, False])
def test_it_arrives_from_anywhere(turn, sliding):
    rng = np.random.default_rng(3)
    for _ in range(20):
        start = rng.uniform(-4.9, 4.9, 3) * (1, 0, 1)
        world = Square(rng.uniform(-4.5, 4.5, 3) * (1, 0, 1))
        actions, position = follow(world, start, rng.uniform(-4, 4), turn=turn, sliding=sliding)
        assert actions[-1] == STOP
        assert world.distance(position) < 0.2
        straight = math.dist(start, world.goal)
        assert 0.25 * actions.count(FORWARD) <= 1.3 * straight + 0.5


def test_a_goal_that_cannot_be_reached_stops_it_at_once():
    world = Square()
    world.distance = lambda points: np.full(len(points), np.inf)
    assert follow(world, (1.0, 0.0, 1.0), 0.0)[0] == [STOP]


def test_it_never_goes_on_for_ever_where_no_step_helps():
    world = Square()
    world.try_step = lambda start, end, *, sliding=True: np.array(start)
    actions, _ = follow(world, (1.0, 0.0, 1.0), 0.0, steps=10_000)
    assert actions[-1] == STOP
    assert len(actions) <= 50


class Pocket(Square):
    """A wall across the straight way, whose ends lie 1.5 m to the sides; distances that do not know of it."""

    def try_step(self, start, end, *, sliding=True):
        end = super().try_step(start, end, sliding=sliding)
        through = (start[:, 2] > 1.0) != (end[:, 2] > 1.0)
        return np.where((through & (np.abs(end[:, 0]) < 1.5))[:, None], start, end)


@pytest.mark.parametrize(("turn", "sliding"), [(10.0, True), (30.0, False), (50.0, False)])
def test_it_finds_the_way_out_of_a_pocket_that_greed_alone_does_not(monkeypatch, turn, sliding):
    world = Pocket((0.0, 0.0, -1.0))
    actions, position = follow(world, (0.0, 0.0, 2.0), 0.0, turn=turn, sliding=sliding)
    assert actions[-1] == STOP
    assert world.distance(position) < 0.2
    monkeypatch.setattr(GreedyFollower, "_detour", lambda *_: [])
    _, position = follow(world, (0.0, 0.0, 2.0), 0.0, turn=turn, sliding=sliding)
    assert world.distance(position) > 1.0


def test_the_random_policy_acts_by_chance_and_stops_at_an_observed_goal():
    policy = RandomPolicy()
    policy.reset(None, np.random.default_rng(0))
    far = {"pointgoal_with_gps_compass": np.array([3.0, 0.0])}
    counts = np.bincount([policy.act(far) for _ in range(3000)], minlength=4)
    assert counts[STOP] == 0
    assert np.all(np.abs(counts[1:] - 1000) < 150)
    assert policy.act({"pointgoal_with_gps_compass": np.array([0.19, 2.0])}) == STOP
    counts = np.bincount([policy.act({"objectgoal": np.array([3])}) for _ in range(4000)], minlength=4)
    assert np.all(np.abs(counts - 1000) < 150)


def test_the_forward_policy_turns_only_when_it_is_held_back():
    policy = ForwardPolicy()
    policy.reset(None, np.random.default_rng(0))
    place = np.zeros(2)
    for _ in range(10):
        assert policy.act({"gps": place}) == FORWARD
        place = place + np.array([0.25, 0.0])
    assert policy.act({"gps": place}) == FORWARD
    turns = []
    while (action := policy.act({"gps": place})) != FORWARD:  # it no longer moves
        turns.append(action)
    assert 1 <= len(turns) <= 9
    assert len(set(turns)) == 1
    assert policy.act({"gps": place, "pointgoal_with_gps_compass": np.array([0.1, 0.0])}) == STOP


def test_policies_are_made_by_name_and_unknown_names_list_them():
    for name in POLICIES:
        policy: Policy = make_policy(name)
        assert policy.name == name
        assert policy.privileged == (name == "oracle")
    with pytest.raises(SettingError, match="oracle, random, forward"):
        make_policy("genius")


def run_golden(scene, golden_dir, scenes_dir, policy):
    run = NavigationRun(
        scene=str(scenes_dir / f"{scene}.glb"),
        episodes=str(golden_dir / f"{scene}.pointnav.json.gz"),
        policy=policy,
        size=(6, 8),
    )
    env = make_environment(run)
    made = make_policy(policy)
    records = [run_episode(env, made, scene_id=s, episode_id=e) for s, e in list_jobs(run)]
    env.close()
    return records


@pytest.mark.golden
def test_the_oracle_does_as_well_as_habitats_own(real_scene, golden_dir, scenes_dir):
    theirs = json.loads((golden_dir / f"{real_scene}.json").read_text())["oracle_episodes"]
    ours = run_golden(real_scene, golden_dir, scenes_dir, "oracle")
    assert [record["success"] for record in ours] == [1.0] * 30
    spl = np.mean([record["spl"] for record in ours])
    assert spl >= 0.99
    assert spl >= np.mean([episode["spl"] for episode in theirs]) - 0.005
    same_length = [abs(r["steps"] - len(e["actions"])) <= 2 for r, e in zip(ours, theirs, strict=True)]
    assert np.mean(same_length) >= 0.8


@pytest.mark.golden
def test_chance_alone_scores_next_to_nothing(golden_dir, scenes_dir):
    records = run_golden("small_house", golden_dir, scenes_dir, "random")
    assert np.mean([record["spl"] for record in records]) < 0.1
