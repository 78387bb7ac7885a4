"""The map-and-plan policy in search of objects: found, approached from where they can be seen, given up for absent."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from flat_room import GAP, SOFA, room_episode, room_simulator

from agent.rollout import run_episode
from envs.embodiment import agent_preset
from envs.episodes.view_points import ViewPointSettings, object_goals
from envs.objectnav import ObjectNavEnv
from policies.greedy_follower import FORWARD, LEFT, STOP
from policies.mapping.follower import WayFollower
from policies.mapping.metric_map import CELL, MetricMap
from policies.planner import Planner


@pytest.fixture(scope="module")
def searcher():
    """The simulator of the ObjectNav body, and the goals of sofa and chair in the flat room."""
    simulator = room_simulator(agent_preset("objectnav-hm3d"))
    settings = ViewPointSettings(cell=0.2)
    yield simulator, {name: object_goals(simulator, name, settings) for name in ("sofa", "chair")}
    simulator.close()


def look_for(searcher, category, *, start, heading, goals=None, **settings):
    """Search the flat room; the record, the planner, and all actions."""
    simulator, known = searcher
    episode = replace(
        room_episode(start=start, heading=heading),
        goals=known[goals or category],
        object_category=category,
    )
    env = ObjectNavEnv(
        episodes=[episode],
        simulator=simulator,
        size=(48, 64),
        categories=("chair", "bed", "sofa"),
        semantic=True,
        success_distance=0.2,
        **settings,
    )
    actions = []

    class Recorded(Planner):
        def act(self, observation):
            actions.append(super().act(observation))
            return actions[-1]

    planner = Recorded()
    record = run_episode(env, planner, episode_id="e")
    env.close()
    return record, planner, actions


def distance_to_box(point, box):
    return float(np.linalg.norm(np.maximum(0.0, np.maximum(box[0] - point, point - box[1]))))


def test_an_object_behind_its_back_is_found_by_looking_round_and_approached_straight(searcher):
    record, _, actions = look_for(searcher, "sofa", start=(-3.5, 0.0, 2.0), heading=math.pi)
    assert record["success"] == 1.0
    assert record["spl"] > 0.85
    assert actions[0] == LEFT
    assert actions[-1] == STOP
    # From 5 m before the sofa to 0.9 m before it, in steps of 0.25 m.
    assert actions.count(FORWARD) <= 18


def test_an_object_behind_a_wall_is_found_round_its_end(searcher):
    record, planner, _ = look_for(searcher, "sofa", start=(2.0, 0.0, -3.5), heading=0.0)
    assert record["success"] == 1.0
    assert record["collisions"] == 0
    assert record["path_length"] > 2 * (GAP + 2.0)  # there and back along the wall
    cells = (planner.search.cells + 0.5) * CELL
    # In the map x leads along -z and y along -x from the start.
    world = np.stack([2.0 - cells[:, 1], np.zeros(len(cells)), -3.5 - cells[:, 0]], axis=1)
    assert max(distance_to_box(point, SOFA) for point in world) < 2 * CELL


def test_it_does_not_stop_at_a_wall_that_the_object_stands_behind():
    world = MetricMap(0.18, 0.2, 0.88)
    for corner in (-3.0, 3.0):  # the map is to hold them
        world.cell_of(corner, corner)
    world.obstacle_seen_from[world.cell_of(0.3, 0.0)[0], :] = 1.0
    cells = np.array([[round(0.7 / CELL), 0]])
    places = world.around(cells, 0.75)
    before, behind = world.cell_of(0.0, 0.0), world.cell_of(1.2, 0.0)
    assert places[before]
    assert places[behind]
    clear = world.in_view(places, cells)
    assert not clear[before]
    assert clear[behind]


def test_for_what_is_not_there_it_looks_everywhere_and_stops(searcher):
    record, planner, actions = look_for(
        searcher, "bed", start=(2.0, 0.0, -3.5), heading=0.0, goals="sofa", max_steps=500
    )
    assert record["success"] == 0.0
    assert actions[-1] == STOP
    assert not len(planner.search.cells)
    world = planner.map
    seen = []
    for x in np.arange(-4.7, 4.8, 0.2):
        for z in np.arange(-4.7, 4.8, 0.2):
            place = np.array([x, 0.0, z])
            if abs(x) > 0.3 and distance_to_box(place, SOFA) > 0.2 and not (x > 3.2 and z > 3.2):
                seen.append(world.seen[world.cell_of(-3.5 - z, 2.0 - x)])
    assert np.mean(seen) > 0.97


def test_wedged_in_it_tries_every_direction_once():
    agent = agent_preset("objectnav-hm3d")
    world = MetricMap(agent.radius, agent.max_climb, agent.height)
    follower = WayFollower(world, agent, np.random.default_rng(0))
    yaw, tried = 0.0, []
    for _ in range(80):
        follower.notice((0.0, 0.0, yaw))
        world.forget_bumps()
        follower.key = None
        action = follower.towards(pose := (0.0, 0.0, yaw), 3.0, 0.0)
        follower.acted(pose, action)
        if action == FORWARD:
            tried.append(round(math.degrees(yaw)) % 360)
            if len(tried) == 12:
                break
        else:
            yaw += math.radians(30.0) * (1 if action == LEFT else -1)
    assert sorted(tried) == list(range(0, 360, 30))
