"""Learned policies: sensors, acting, teacher and network."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from envs.embodiment import agent_preset
from envs.pointnav import PointNavEnv
from envs.simulators.open import open_simulator
from policies.learning.acting import Acting
from policies.learning.features import FeatureLayout
from policies.learning.networks import PolicyNetwork
from policies.learning.sensors import SENSORS, OwnSensors, goal_sensors
from policies.learning.settings import NetworkSettings
from policies.learning.teacher import Teacher, other_goals


def observation(gps=(0.0, 0.0), compass=0.0, goal=(3.0, 0.0)):
    return {
        "gps": np.array(gps, np.float32),
        "compass": np.array([compass], np.float32),
        "pointgoal_with_gps_compass": np.array(goal, np.float32),
    }


def test_goal_sensors_tell_the_success_distance_apart():
    near, far = goal_sensors(np.array([[0.15, 0.0], [0.25, 0.0]]))
    assert near[4] < -0.7 < 0.7 < far[4]
    ahead, left = goal_sensors(np.array([[5.0, 0.0], [5.0, math.pi / 2]]))
    assert ahead[:3] == pytest.approx([0.5, 1, 0])
    assert left[:3] == pytest.approx([0.5, 0, 1], abs=1e-6)


def test_own_sensors_notice_a_collision_and_let_it_fade():
    sensors = OwnSensors()
    first = sensors.read(observation())
    assert first[3] == 1  # no action yet
    sensors.acted(1)
    free = sensors.read(observation(gps=(0.25, 0.0)))
    assert free[0] == 1
    assert free[4] == pytest.approx(1)
    assert free[5] == free[6] == 0
    sensors.acted(1)
    held = sensors.read(observation(gps=(0.30, 0.0)))
    assert held[4] == pytest.approx(0.2)
    assert held[5] == held[6] == 1
    sensors.acted(2)
    turned = sensors.read(observation(gps=(0.30, 0.0), compass=0.17))
    assert turned[5] == 0
    assert 0 < turned[6] < 1
    sensors.restart()
    assert sensors.read(observation())[6] == 0


def test_stop_is_never_left_to_chance():
    rng = np.random.default_rng(0)
    by_chance = Acting(temperature=1.0)
    assert all(by_chance.choose(np.array([1.0, 0.9, 0.9, 0.9]), None, rng) == 0 for _ in range(20))
    drawn = {by_chance.choose(np.array([0.9, 1.0, 0.95, 0.9]), None, rng) for _ in range(200)}
    assert drawn == {1, 2, 3}
    assert Acting().choose(np.array([0.9, 1.0, 0.95, 0.9]), None, rng) == 1


def test_inertia_keeps_turning_where_both_turns_are_as_good():
    rng = np.random.default_rng(0)
    either = np.array([0.0, 0.0, 1.0, 1.1])
    acting = Acting(inertia=0.5)
    assert [acting.choose(either, last, rng) for last in (None, 1, 2, 3)] == [3, 3, 2, 3]
    assert acting.choose(np.array([0.0, 0.0, 1.0, 2.0]), 2, rng) == 3  # a clear case turns back


@pytest.fixture(scope="module")
def house():
    simulator = open_simulator("procedural:train:0002", agent_preset("pointnav-gibson"))
    yield simulator
    simulator.close()


def test_the_teacher_leads_to_its_goal(house):
    """Whoever does what the teacher says arrives, as the oracle does."""
    env = PointNavEnv(episodes=3, simulator=house, size=8, shuffle=False)
    for _ in range(3):
        env.reset()
        teacher = Teacher(env.surface, env.goal_positions[0], env.agent)
        while not env.over:
            env.step(teacher.advise(env.position, env.heading)[0])
        assert env.measures.success == 1
        assert env.measures.spl > 0.8


def test_the_teacher_gives_the_signed_turn(house):
    env = PointNavEnv(episodes=1, simulator=house, size=8)
    env.reset()
    teacher = Teacher(env.surface, env.goal_positions[0], env.agent)
    base = env.heading
    for _ in range(40):  # to where the way is straight ahead
        action, turn = teacher.advise(env.position, base)
        if action == 1:
            break
        base += math.copysign(math.radians(10), turn)
    assert teacher.advise(env.position, base - math.radians(30))[1] == pytest.approx(
        math.radians(30), abs=0.2
    )
    assert teacher.advise(env.position, base + math.radians(30))[1] == pytest.approx(
        -math.radians(30), abs=0.2
    )
    goal = env.goal_positions[0]
    assert teacher.advise(goal, 0.0) == (0, 0.0)


def test_other_goals_can_be_reached(house):
    rng = np.random.default_rng(0)
    places = [house.surface.random_navigable_point(rng)]
    goals = other_goals(house.surface, places, 4, rng)
    assert np.isfinite(house.surface.geodesic_distance(np.stack(goals), places[0][None])).all()
    assert goals[0] == pytest.approx(places[0])


@pytest.mark.parametrize(
    "layout",
    [
        FeatureLayout(),
        FeatureLayout(tokens=(9, 12), cls=5),
        FeatureLayout(point_map=(16, 16)),
    ],
)
def test_the_network_gives_the_same_step_by_step(layout):
    network = PolicyNetwork(layout, NetworkSettings(compressed=3, hidden=8), seed=1).eval()
    rows, sensors = torch.randn(2, 5, layout.size), torch.randn(2, 5, SENSORS)
    if layout.size:
        network.view.calibrate(rows.flatten(0, 1))
    with torch.no_grad():
        whole, turn, _ = network(rows, sensors)
        state, steps = None, []
        for t in range(5):
            logits, _, state = network(rows[:, t : t + 1], sensors[:, t : t + 1], state)
            steps.append(logits)
    assert whole.shape == (2, 5, 4)
    assert turn.shape == (2, 5, 2)
    torch.testing.assert_close(whole, torch.cat(steps, 1), atol=1e-5, rtol=1e-4)


def test_calibrated_tokens_are_standardised():
    """The compression of calibrated tokens equals that of tokens standardised by hand."""
    layout = FeatureLayout(tokens=(4, 6))
    network = PolicyNetwork(layout, NetworkSettings(compressed=3, hidden=8))
    rows = 5 + 3 * torch.randn(50, layout.size)
    network.view.calibrate(rows)
    tokens = rows.reshape(50, 4, 6)
    by_hand = (tokens - tokens.mean(0)) / (tokens - tokens.mean(0)).square().mean((0, 1)).sqrt()
    wanted = torch.relu(network.view.compress(by_hand)).flatten(1)
    torch.testing.assert_close(network.view(rows), wanted, atol=1e-4, rtol=1e-4)
