"""Steps planned one by one: known answers on empty ground, a slanted door, steadiness."""

import math
from itertools import pairwise

import numpy as np
import pytest

from envs.embodiment import agent_preset
from policies.mapping.metric_map import CELL, GRAZING, MetricMap
from policies.mapping.path import best_turn, find_way
from policies.mapping.step_plan import StepPlan

AGENT = agent_preset("objectnav-hm3d")
TURN = math.radians(AGENT.turn_angle)


def world(cost: np.ndarray) -> MetricMap:
    """A map whose cells begin at (0, 0) and cost that."""
    made = MetricMap(AGENT.radius, AGENT.max_climb, AGENT.height)
    made.origin, made.cost = np.zeros(2, np.int64), cost.astype(np.float32)
    return made


def walk(plan: StepPlan, pose: tuple[float, float, float], way: np.ndarray, most: int) -> list[tuple]:
    """The poses that the plan leads through, until it leads nowhere."""
    poses = [pose]
    for _ in range(most):
        turns = plan.turns(pose, way)
        if turns is None:
            break
        x, y, yaw = pose
        if turns:
            pose = x, y, math.remainder(yaw + math.copysign(TURN, turns), 2 * math.pi)
        else:
            pose = x + AGENT.forward_step * math.cos(yaw), y + AGENT.forward_step * math.sin(yaw), yaw
        poses.append(pose)
    return poses


@pytest.mark.parametrize(("yaw", "turns"), [(0, 3), (30, 2), (90, 0), (-90, 6), (180, -3), (120, -1)])
def test_on_empty_ground_it_turns_to_where_the_way_leads(yaw, turns):
    cost = np.ones((100, 100))
    goal = 20, 80
    plan = StepPlan(world(cost), AGENT, 0.004)
    way = find_way(cost.astype(np.float32), (20, 20), goal)
    found = plan.turns((20.5 * CELL, 20.5 * CELL, math.radians(yaw)), way)
    assert abs(found) == abs(turns) if abs(turns) == 6 else found == turns


@pytest.mark.parametrize("seed", range(8))
def test_it_goes_through_a_slanted_door_and_touches_nothing(seed):
    rng = np.random.default_rng(seed)
    slant, offset = rng.uniform(0.2, 1.2), rng.uniform(-3, 3)
    i, j = np.mgrid[:120, :120]
    across = (i - 60) * math.cos(slant) + (j - 60) * math.sin(slant)  # through the wall
    along = -(i - 60) * math.sin(slant) + (j - 60) * math.cos(slant) - offset
    cost = np.where((np.abs(across) < 5) & (np.abs(along) > 3), np.inf, 1.0)  # a door 6 cells wide: 0.3 m
    reach = round(35 * math.cos(slant)), round(35 * math.sin(slant))
    start, goal = (60 - reach[0], 60 - reach[1]), (60 + reach[0], 60 + reach[1])
    made = world(cost)
    way = find_way(made.cost, start, goal)
    assert len(way), "the door is open"
    pose = (start[0] + rng.random()) * CELL, (start[1] + rng.random()) * CELL, rng.uniform(-3, 3)
    poses = walk(StepPlan(made, AGENT, 0.004), pose, way, 60)
    assert math.dist(poses[-1][:2], ((goal[0] + 0.5) * CELL, (goal[1] + 0.5) * CELL)) < 0.3
    for (x0, y0, _), (x1, y1, _) in pairwise(poses):
        for share in np.linspace(0, 1, 11):
            x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
            assert np.isfinite(made.cost[int(x / CELL), int(y / CELL)])


def test_a_turn_does_not_change_its_mind():
    """Equal ways stay equal: else it turns to and fro."""
    made = world(np.ones((100, 100)))
    way = find_way(made.cost, (50, 50), (20, 80))
    poses = walk(StepPlan(made, AGENT, 0.004), (50.4 * CELL, 50.4 * CELL, 0.0), way, 14)
    turned = [math.remainder(b[2] - a[2], 2 * math.pi) for a, b in pairwise(poses)]
    assert not any(first * then < 0 for first, then in pairwise(turned))


def test_narrow_gaps_are_walked_through_when_asked_for_and_walls_only_then():
    cost = np.ones((120, 120))
    cost[60, 5:] = np.inf  # a wall, open at its end, 50 cells away
    cost[60, :5] = GRAZING
    made = world(cost)
    way = np.array([(50, 55), (70, 55)])  # of which the ends count
    pose = 50.5 * CELL, 55.5 * CELL, 0.0
    plan = StepPlan(made, AGENT, 0.004)
    assert abs(plan.turns(pose, way, narrow=True)) >= 2  # towards the gap, along the wall
    plan.forget()
    assert abs(plan.turns(pose, way, through=True)) <= 1  # straight on


def test_a_step_that_was_walked_does_not_hide_what_the_others_became():
    """Of 12 steps one is walked and another becomes 3 cells dearer: more than 2, less than the walked one cost."""
    made = world(np.ones((100, 100)))
    way = find_way(made.cost, (20, 50), (80, 50))
    plan = StepPlan(made, AGENT, 0.004)
    x, y = 20.5 * CELL, 50.5 * CELL
    assert plan.turns((x, y, 0.0), way) == 0
    before = list(plan._yaws)
    made.cost[40:44, 50] = 2.0
    assert plan.turns((x + AGENT.forward_step, y, 0.0), way) is not None
    assert plan._yaws != before[1:]


def test_steps_are_planned_anew_where_something_came_between():
    made = world(np.ones((100, 100)))
    way = find_way(made.cost, (20, 50), (80, 50))
    plan = StepPlan(made, AGENT, 0.004)
    pose = 20.5 * CELL, 50.5 * CELL, 0.0
    assert plan.turns(pose, way) == 0
    made.cost[22:30, 44:60] = np.inf
    plan_around = plan.turns(pose, way)
    assert plan_around is not None
    assert plan_around != 0


def test_the_roomiest_directions_lead_away_from_the_wall():
    cost = np.ones((60, 60))
    cost[34:] = np.inf
    turns = StepPlan(world(cost), AGENT, 0.004).roomiest((30.5 * CELL, 30.5 * CELL, 0.0))
    assert set(np.abs(turns)) == {2, 3, 4, 5, 6}  # 0.175 m to the wall: a step at 60 degrees takes 0.125


@pytest.mark.parametrize("tilt", [-1e-9, 1e-9])
def test_the_last_digit_of_an_angle_does_not_choose_between_two_rows_of_cells(tilt):
    """Steps of 5 cells from a corner of cells lead along the border of two rows; one of them is dear."""
    cost = np.ones((100, 100), np.float32)
    cost[:, 49] = 12.0
    turn = best_turn(cost, (50.0, 50.0), math.pi + tilt, (20.0, 50.0), step=0.25, turn=TURN, turn_cost=0.004)
    assert turn == 0
