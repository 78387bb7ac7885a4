"""Where the map-and-plan policy lays what it sees: the same place in every frame, the base on the floor."""

from __future__ import annotations

import math

import numpy as np
import pytest
from flat_room import room_env, room_episode
from floor_views import CAMERA, HEIGHT, slope_view
from hypothesis import given
from hypothesis import strategies as st

from policies.greedy_follower import FORWARD, LEFT, RIGHT
from policies.mapping.metric_map import CELL, MetricMap
from policies.mapping.poses import PointMapPlacer, planar_pose, resect
from policies.planner import Planner
from poma3d.errors import SettingError
from poma3d.pointmap import Frame


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
