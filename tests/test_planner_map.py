"""The map of the map-and-plan policy on known geometry: walls, low things, bumps, ramps and the agent's rise."""

from __future__ import annotations

import numpy as np
import pytest
from flat_room import HALF, WALL, room_env, room_episode
from floor_views import slope_view

from policies.mapping.metric_map import CELL, GRAZING, MetricMap


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
