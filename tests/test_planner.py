"""The map-and-plan policy: its map on known geometry, ways with known lengths, frames that agree, arrival in a room."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from flat_room import HALF, WALL, room_env, room_episode, room_simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.rollout import run_episode
from envs.embodiment import AgentSpec
from policies.greedy_follower import FORWARD, LEFT, RIGHT
from policies.mapping.frontiers import frontier_gains
from policies.mapping.metric_map import CELL, GRAZING, MetricMap
from policies.mapping.path import best_turn, find_nearest, find_way, way_costs, waypoint
from policies.mapping.poses import PointMapPlacer, planar_pose, resect
from policies.planner import Planner
from policies.scripted import make_policy
from poma3d.errors import SettingError
from poma3d.pointmap import Camera, Frame

CAMERA = Camera(48, 64, 90.0)
HEIGHT = 1.25


def open_map(shape=(80, 80)):
    return np.ones(shape, np.float32)


def wall_with_gap(at, gap):
    cost = open_map()
    cost[at, :gap] = np.inf
    return cost


# Ways.


def test_the_way_over_open_ground_is_straight_and_as_long_as_it_must_be():
    way = find_way(open_map(), (5, 5), (5, 65))
    assert (way[:, 0] == 5).all()
    assert way_costs(open_map(), way)[-1] == pytest.approx(60.0)
    diagonal = find_way(open_map(), (5, 5), (35, 35))
    assert way_costs(open_map(), diagonal)[-1] == pytest.approx(30 * math.sqrt(2))


def test_the_way_goes_round_a_wall_through_its_gap():
    cost = wall_with_gap(40, 70)
    way = find_way(cost, (30, 10), (50, 10))
    crossing = way[way[:, 0] == 40]
    assert (crossing[:, 1] >= 70).all()
    assert np.isfinite(cost[tuple(way.T)]).all()
    # An octile grid's shortest way: 10 diagonal steps on each side of the wall.
    assert way_costs(cost, way)[-1] == pytest.approx(2 * (10 * math.sqrt(2) + 50), abs=1.0)


def test_a_closed_wall_is_only_crossed_when_asked_for():
    cost = wall_with_gap(40, 80)
    assert find_way(cost, (30, 10), (50, 10)).shape == (0, 2)
    through = find_way(cost, (30, 10), (50, 10), through=True)
    assert (through[:, 0] == 40).sum() == 1


def test_gaps_narrower_than_the_body_are_closed_except_about_start_and_goal():
    cost = wall_with_gap(40, 80)
    cost[40, 30:32] = GRAZING
    assert len(find_way(cost, (20, 30), (60, 30))) == 0
    assert len(find_way(cost, (38, 30), (60, 30))) > 0
    behind = np.zeros_like(cost, np.bool_)
    behind[60:] = True
    assert len(find_nearest(cost, (20, 30), behind)) == 0
    assert len(find_nearest(cost, (20, 30), behind, narrow=True)) > 0


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_costs_of_ways_are_those_of_dijkstra(seed):
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    rng = np.random.default_rng(seed)
    cost = rng.uniform(1.0, 3.0, (12, 15)).astype(np.float32)
    cost[rng.random(cost.shape) < 0.25] = np.inf
    start, goal = (0, 0), (11, 14)
    cost[start] = cost[goal] = 1.0
    rows, columns, values = [], [], []
    for i, j in np.argwhere(np.isfinite(cost)):
        for di, dj in ((0, 1), (1, 0), (1, 1), (1, -1)):
            a, b = i + di, j + dj
            if 0 <= a < 12 and 0 <= b < 15 and np.isfinite(cost[a, b]):
                rows.append(i * 15 + j)
                columns.append(a * 15 + b)
                values.append(0.5 * (cost[i, j] + cost[a, b]) * math.hypot(di, dj))
    graph = coo_matrix((values, (rows, columns)), (180, 180))
    exact = dijkstra(graph, directed=False, indices=0)[11 * 15 + 14]
    way = find_way(cost, start, goal)
    assert (len(way) == 0) == (not np.isfinite(exact))
    if len(way):
        assert way_costs(cost, way)[-1] == pytest.approx(exact, rel=1e-4)


def test_the_nearest_of_many_goals_is_taken():
    goals = np.zeros((80, 80), np.bool_)
    goals[10, 60] = goals[70, 10] = True
    assert tuple(find_nearest(open_map(), (10, 40), goals)[-1]) == (10, 60)
    assert find_nearest(open_map(), (10, 40), np.zeros_like(goals)).shape == (0, 2)


def test_a_goal_that_is_dear_to_end_at_is_taken_where_the_others_are_farther_by_more():
    losses = np.full((80, 80), np.inf, np.float32)
    losses[10, 60], losses[10, 10] = 15.0, 0.0
    assert tuple(find_nearest(open_map(), (10, 40), losses)[-1]) == (10, 10)  # 30 against 20 + 15
    losses[10, 60] = 5.0
    assert tuple(find_nearest(open_map(), (10, 40), losses)[-1]) == (10, 60)  # 30 against 20 + 5
    assert find_nearest(open_map(), (10, 40), np.full_like(losses, np.inf)).shape == (0, 2)


def test_straight_lines_reach_as_far_as_nothing_is_in_the_way():
    cost = wall_with_gap(40, 40)
    way = find_way(cost, (30, 20), (50, 20))
    n = waypoint(cost, way, 30.5, 20.5)
    assert 38 <= way[n, 0] <= 41
    assert way[n, 1] >= 39


@pytest.mark.parametrize(("yaw", "turns"), [(0.0, 0), (math.radians(-30), 3), (math.radians(40), -4)])
def test_it_turns_to_where_the_way_leads(yaw, turns):
    chosen = best_turn(
        open_map(), (10.5, 40.5), yaw, (60.5, 40.5), step=0.25, turn=math.radians(10), turn_cost=0.004
    )
    assert chosen == turns


# Frames.


@given(
    yaw=st.floats(-math.pi, math.pi),
    place=st.tuples(*[st.floats(-50, 50)] * 3),
    seed=st.integers(0, 1000),
)
def test_a_view_tells_where_it_was_taken(yaw, place, seed):
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.5, 8.0, (CAMERA.height, CAMERA.width, 1))
    rays = CAMERA.rays() * depth
    seen = np.stack([rays[..., 2], -rays[..., 0], -rays[..., 1]], -1)  # forward, left, up
    c, s = math.cos(yaw), math.sin(yaw)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    points = (seen @ turn.T + place).astype(np.float32)
    valid = rng.random((CAMERA.height, CAMERA.width)) < 0.7
    found = resect(points, valid, CAMERA)
    assert found is not None
    assert np.allclose(points @ found[:, :3].T + found[:, 3], seen, atol=2e-3)


def test_points_of_another_camera_are_refused_and_too_few_wait():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(CAMERA.height, CAMERA.width, 3)).astype(np.float32)
    with pytest.raises(SettingError, match="does not fit the camera"):
        resect(noise, np.ones(noise.shape[:2], np.bool_), CAMERA)
    assert resect(noise, np.zeros(noise.shape[:2], np.bool_), CAMERA) is None


@pytest.mark.parametrize("frame", list(Frame))
def test_every_frame_lays_the_same_points_in_the_same_place(frame):
    episode = room_episode(start=(2.0, 0.0, 1.0), goal=(-2.0, 0.0, 0.0), heading=0.7)
    placed = {}
    for each in (Frame.AGENT, frame):
        env = room_env(episode, frame=each)
        observation, _ = env.reset()
        placer = PointMapPlacer(each, env.camera, env.agent.camera_height)
        for action in (2, 1, 1, 3, 1):
            transform = placer.place(observation, planar_pose(observation))
            observation = env.step(action)[0]
        transform = placer.place(observation, planar_pose(observation))
        assert transform is not None
        points = observation["point_map"][observation["valid"]]
        placed[each] = points @ transform[:, :3].T + transform[:, 3]
        env.close()
    assert np.allclose(placed[Frame.AGENT], placed[frame], atol=5e-3)


def map_after(actions, frame, episode):
    """The map of a planner that looked on while these actions were taken in the flat room."""
    env = room_env(episode, frame=frame, size=(48, 64))
    observation, _ = env.reset()
    planner = Planner()
    planner.reset(env, np.random.default_rng(0))
    planner.act(observation)
    for action in actions:
        observation = env.step(action)[0]
        planner.act(observation)
    env.close()
    return planner.map


@pytest.mark.parametrize("frame", [frame for frame in Frame if frame is not Frame.AGENT])
def test_every_frame_gives_the_same_map(frame):
    episode = room_episode(start=(-1.0, 0.0, 1.0), goal=(-4.5, 0.0, 4.5), heading=0.7)
    actions = [LEFT, FORWARD, LEFT, FORWARD, FORWARD, RIGHT, RIGHT, FORWARD]
    ours, theirs = map_after(actions, Frame.AGENT, episode), map_after(actions, frame, episode)

    def cells(world, layer):
        return set(map(tuple, (np.argwhere(layer) + world.origin).tolist()))

    for layer in ("obstacles", "seen"):
        a, b = (
            cells(world, world.obstacles() if layer == "obstacles" else world.seen)
            for world in (ours, theirs)
        )
        assert len(a) > 100
        assert len(a ^ b) <= 0.02 * len(a | b)  # points on the border of two cells may fall in either
    assert theirs.floor_here == pytest.approx(ours.floor_here, abs=5e-3)


@pytest.mark.parametrize("frame", list(Frame))
def test_what_stands_beside_the_agent_is_not_what_it_stands_on_in_any_frame(frame):
    env = room_env(room_episode(heading=0.3), frame=frame)
    observation, _ = env.reset()
    planner = Planner()
    planner.reset(env, np.random.default_rng(0))
    world = planner.map
    planner.act(observation)
    i, j = world.cell_of(0.0, 0.0)
    # As if all it had seen about its feet were the seat of a chair; then it looks again.
    world.floor[i - 6 : i + 7, j - 6 : j + 7] = 0.45
    observation = env.step(LEFT)[0]
    planner.act(observation)
    env.close()
    assert -0.2 <= world.floor_here < 0.06


def test_the_base_is_as_high_above_the_start_as_the_view_shows():
    env = room_env(room_episode(heading=0.3), frame=Frame.EPISODE)
    observation, _ = env.reset()
    placer = PointMapPlacer(Frame.EPISODE, env.camera, env.agent.camera_height)
    pose, transform = planar_pose(observation), np.eye(3, 4)
    risen = {**observation, "point_map": observation["point_map"] + np.float32((0.0, 0.0, 0.3))}
    assert placer.base_height(observation, pose, transform) == pytest.approx(0.0, abs=1e-3)
    assert placer.base_height(risen, pose, transform) == pytest.approx(0.3, abs=1e-3)
    agent_frame = PointMapPlacer(Frame.AGENT, env.camera, env.agent.camera_height)
    assert agent_frame.base_height(observation, pose, transform) is None
    env.close()


def test_what_covers_the_floor_before_its_feet_is_an_obstacle_until_floor_is_seen_there():
    placer = PointMapPlacer(Frame.AGENT, CAMERA, HEIGHT)
    pose = (1.0, 2.0, math.pi / 2)  # it looks along +y
    there = placer.place({}, pose)
    assert there is not None
    floor, valid = slope_view(0.0)
    seen = {"point_map": floor, "valid": valid}
    assert placer.too_near(seen, pose, there, 0.5, 0.2).shape == (0, 2)

    valid = valid.copy()
    valid[-10:, : CAMERA.width // 2] = False  # the left half is nearer than the camera measures
    places = placer.too_near({**seen, "valid": valid}, pose, there, 0.5, 0.2)
    assert len(np.unique(places[:, 0])) >= CAMERA.width // 2
    assert (places[:, 0] < 1.0).all()
    assert places[:, 1].min() == pytest.approx(2.3)
    assert 2.35 <= places[:, 1].max() <= 2.4

    bed = np.where(
        floor[..., 2:] < 0.01, floor * 0.6 + np.float32((0.0, 0.0, 0.5)), floor
    )  # its top, 0.5 m high
    found = placer.too_near({**seen, "point_map": bed}, pose, there, 0.5, 0.2)
    nearest = float(bed[-1, :, 0].min())
    assert found[:, 1].min() == pytest.approx(2.3)
    assert found[:, 1].max() == pytest.approx(2.0 + nearest, abs=CELL)
    assert placer.too_near({**seen, "point_map": bed}, pose, there, 0.5, 0.6).shape == (0, 2)

    world = MetricMap(0.1, 0.2, 1.5)
    world.integrate(floor, np.zeros_like(valid), there, pose[:2], base=None, too_near=places)
    assert world.obstacles()[world.cell_of(*places[0])]
    from_afar = placer.place({}, (1.0, 0.5, math.pi / 2))
    world.integrate(floor, np.ones_like(valid), from_afar, (1.0, 0.5), base=None)
    assert not world.obstacles()[world.cell_of(0.9, 2.3)]


# The map.


def see(world, *, position=(2.0, 0.0, 1.0), heading=0.0, size=(96, 96)):
    """One view from a place in the flat room, entered into ``world``, whose frame is that of the place."""
    env = room_env(room_episode(start=position, heading=heading), size=size)
    observation, _ = env.reset()
    env.close()
    world.integrate(observation["point_map"], observation["valid"], np.eye(3, 4), (0.0, 0.0), base=None)
    return observation


def test_walls_are_obstacles_and_the_floor_before_them_is_seen_and_free():
    world = MetricMap(0.1, 0.2, 1.5)
    see(world)  # looks along -z: the wall at z = -5 is 6 m ahead, the wall at x = 0.1 is 1.9 m to the left
    obstacles = world.obstacles()
    places = CELL * (np.argwhere(obstacles) + world.origin + 0.5)
    ahead = places[np.abs(places[:, 1]) < 0.5]
    assert np.abs(ahead[:, 0] - (HALF + 1.0)).max() < 2 * CELL
    left = places[(places[:, 0] > 2.5) & (places[:, 0] < 5.0) & (places[:, 1] > 0)]
    assert np.abs(left[:, 1] - (2.0 - WALL)).max() < 2 * CELL
    assert world.seen[world.cell_of(3.0, 0.0)]
    assert world.cost[world.cell_of(3.0, 0.0)] == 1.0
    assert not world.seen[world.cell_of(-3.0, 0.0)]
    obstacles = world.obstacles()  # the map was widened by what was asked of it
    assert np.isinf(world.cost[obstacles]).all()
    assert np.nanmax(np.abs(world.floor)) < 0.25


def test_a_low_sofa_is_an_obstacle_and_costs_fall_with_the_distance():
    world = MetricMap(0.1, 0.2, 1.5)
    see(world, position=(-3.5, 0.0, 0.0))  # the sofa lies 3 to 4 m ahead, 0.8 m high
    i, j = world.cell_of(3.0 + CELL, 0.0)
    assert world.obstacles()[i - 1 : i + 1, j].any()
    before = [world.cost[world.cell_of(x, 0.0)] for x in (2.0, 2.75, 2.85, 2.95)]
    assert before == sorted(before)
    assert before[0] == 1.0
    assert before[-1] >= GRAZING


def test_where_the_agent_was_held_back_is_closed():
    world = MetricMap(0.1, 0.2, 1.5)
    start = world.cell_of(0.0, 0.0)
    world.bump(0.0, 0.0, 0.0)
    assert np.isinf(world.cost[world.cell_of(0.08, 0.0)])
    assert np.isfinite(world.cost[world.cell_of(0.0, 0.0)])
    assert np.isfinite(world.cost[world.cell_of(-0.1, 0.0)])
    assert start == world.cell_of(0.0, 0.0)


def test_an_unseen_barrier_is_closed_twice_as_wide_with_every_bump():
    world = MetricMap(0.1, 0.2, 1.5)
    widths = []
    for bump in range(4):
        world.bump(0.0, 0.1 * bump, 0.0)
        widths.append(np.isinf(world.cost).sum())
    assert widths[1] > 1.5 * widths[0]
    assert widths[3] > 2 * widths[1]
    assert world.forget_bumps()
    assert not world.forget_bumps()
    assert (world.cost == 1.0).all()
    world.bump(0.0, 0.0, 0.0)
    assert np.isfinite(world.cost[world.cell_of(-0.1, 0.0)])


def test_an_agent_that_stands_still_does_not_rise():
    world = MetricMap(0.1, 0.2, 1.5)
    points, valid = slope_view(0.0)
    for base in (0.0, 0.16):
        seen = points - np.array([0.0, 0.0, base], np.float32)
        world.integrate(seen, valid, np.eye(3, 4), (0.0, 0.0), base=None)
    assert world.drift == 0.0


def slope_view(rise, *, base=0.0):
    """What a level camera sees of a floor that rises evenly from 1 m ahead, before a wall 5 m ahead; agent frame."""
    rays = CAMERA.rays()
    forward, left, up = np.ones(rays.shape[:2]), -rays[..., 0], -rays[..., 1]
    with np.errstate(divide="ignore"):
        flat = np.where(up < 0, -HEIGHT / up, np.inf)
        slope = np.where(up < rise, (-HEIGHT - rise) / (up - rise), np.inf)
    depth = np.minimum(np.where(slope > 1.0, np.minimum(slope, 5.0), np.minimum(flat, 5.0)), 5.0)
    points = np.stack([forward * depth, left * depth, up * depth + HEIGHT - base], -1).astype(np.float32)
    return points, np.ones(points.shape[:2], np.bool_)


def test_a_ramp_is_floor_although_it_rises_above_what_the_agent_climbs():
    world = MetricMap(0.1, 0.2, 1.5)
    points, valid = slope_view(0.2)
    world.integrate(points, valid, np.eye(3, 4), (0.0, 0.0), base=None)
    height = world.floor[world.cell_of(2.9, 0.0)]
    rows = [world.cell_of(x, 0.0) for x in np.arange(1.2, 4.0, CELL)]
    assert not world.obstacles()[tuple(np.array(rows).T)].any()
    assert np.isnan(height) or height == pytest.approx(0.2 * 1.9, abs=0.05)
    assert np.nanmax(world.floor) > 0.4


def test_the_agents_rise_is_read_off_the_floor():
    world = MetricMap(0.1, 0.2, 1.5)
    points, valid = slope_view(0.0)
    for step, base in enumerate((0.0, 0.16, 0.1)):
        seen = points - np.array([0.0, 0.0, base], np.float32)
        world.integrate(seen, valid, np.eye(3, 4), (0.02 * step, 0.0), base=None)
        assert world.drift == pytest.approx(base, abs=0.015)


# Frontiers.


def test_frontiers_lie_between_what_was_seen_and_the_unknown_only():
    seen = np.zeros((80, 80), np.bool_)
    obstacles = np.zeros_like(seen)
    seen[20:60, 20:60] = True
    obstacles[20:60, 60:64] = True  # a wall along one side
    gains = frontier_gains(seen, obstacles, np.zeros_like(seen))
    assert (gains[20:24, 30] > 0).all()
    assert not gains[30:50, 30:59].any()
    assert not gains[obstacles].any()
    assert not frontier_gains(seen, obstacles, np.ones_like(seen)).any()


def test_a_frontier_gains_the_unknown_ground_that_hangs_together_with_it():
    seen = np.zeros((80, 80), np.bool_)
    obstacles = np.ones_like(seen)
    obstacles[20:60, 20:60] = False
    seen[20:60, 20:48] = True  # beyond lies a strip of 40 x 12 cells, 2 x 0.6 m
    gains = frontier_gains(seen, obstacles, np.zeros_like(seen))
    assert np.unique(gains).tolist() == [0.0, pytest.approx(2.0 * 0.6)]
    obstacles[:, 48:52] = True
    obstacles[36:48, 48:52] = False  # now behind a door of 0.6 m, a part of it farther away than 2 m
    gains = frontier_gains(seen, obstacles, np.zeros_like(seen))
    assert gains[40, 47] == pytest.approx(2.0 * 0.4 + 0.6 * 0.2)


# The policy.


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
