"""Where the map-and-plan policy goes on a map of costs: ways of known length, nearest goals, turns, frontiers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from policies.mapping.frontiers import frontier_gains
from policies.mapping.metric_map import GRAZING
from policies.mapping.path import best_turn, find_nearest, find_way, way_costs, waypoint


def open_map(shape=(80, 80)):
    return np.ones(shape, np.float32)


def wall_with_gap(at, gap):
    cost = open_map()
    cost[at, :gap] = np.inf
    return cost


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
