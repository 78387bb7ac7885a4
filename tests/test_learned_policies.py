"""Learned policies: sensors, teacher, network, folder, and a training that resumes to the same bits."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agent.rollout import run_episode
from envs.embodiment import agent_preset
from envs.pointnav import PointNavEnv
from envs.simulators.open import open_simulator
from policies.learning.acting import choose
from policies.learning.dagger import DaggerTraining, units
from policies.learning.experience import Experience, RecordedEpisode
from policies.learning.features import FeatureLayout, open_features
from policies.learning.networks import PolicyNetwork
from policies.learning.policy_folder import open_policy_folder, policy_folder_sha256
from policies.learning.sensors import SENSORS, OwnSensors, goal_sensors
from policies.learning.settings import DaggerSettings, NetworkSettings, PpoSettings, TrainSettings
from policies.learning.teacher import Teacher, other_goals
from policies.loading import open_policy, policy_label
from poma3d.errors import FileError, SettingError

TINY = TrainSettings(
    features="blind",
    scene="procedural:train:3",
    held_out=1,
    steps=160,
    evaluation_episodes=1,
    evaluations=1,
    network=NetworkSettings(compressed=2, hidden=16),
    dagger=DaggerSettings(
        rounds=2, lanes=2, max_steps=40, extra_goals=2, epochs=1, final_epochs=1, batch=2, chunk=8
    ),
    ppo=PpoSettings(n_envs=2, n_steps=16, batch_size=16, n_epochs=2, segment=1),
)


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
    assert all(choose(np.array([1.0, 0.9, 0.9, 0.9]), 1.0, rng) == 0 for _ in range(20))
    drawn = {choose(np.array([0.9, 1.0, 0.95, 0.9]), 1.0, rng) for _ in range(200)}
    assert drawn == {1, 2, 3}
    assert choose(np.array([0.9, 1.0, 0.95, 0.9]), 0.0, rng) == 1


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


def test_experience_truncates_what_the_checkpoint_does_not_know(tmp_path):
    rng = np.random.default_rng(0)

    def episode(steps):
        return RecordedEpisode(
            features=rng.normal(size=(steps, 3)).astype(np.float16),
            own=rng.normal(size=(steps, 11)).astype(np.float32),
            goals=rng.normal(size=(steps, 2, 5)).astype(np.float32),
            actions=rng.integers(0, 4, (steps, 2)).astype(np.uint8),
            turns=rng.normal(size=(steps, 2)).astype(np.float32),
        )

    first, second = episode(4), episode(6)
    experience = Experience(tmp_path, 3, 2, [])
    experience.append(first)
    experience.append(second)
    again = Experience(tmp_path, 3, 2, [4])
    assert again.rows == 4
    assert (tmp_path / "features.bin").stat().st_size == 4 * 3 * 2
    np.testing.assert_array_equal(again.slice("features", 0, 4), first.features)
    again.append(second)
    for name in ("features", "own", "goals", "actions", "turns"):
        np.testing.assert_array_equal(again.slice(name, 4, 10), getattr(second, name))
    with pytest.raises(FileError, match="shorter"):
        Experience(tmp_path, 3, 2, [4, 6, 100])


class _KilledError(Exception):
    """Stands for kill -9: nothing is tidied up behind it."""


def run_killed(settings, out: Path, at: int, **options):
    """Begin a training and kill it in the middle of a unit."""

    def advance(count):
        nonlocal at
        at -= count
        if at < 0:
            raise _KilledError

    with pytest.raises(_KilledError):
        DaggerTraining(settings, out).run(advance=advance, **options)


def test_dagger_resumes_to_the_same_bits(tmp_path):
    whole = DaggerTraining(TINY, tmp_path / "whole").run(keep_experience=True)
    run_killed(TINY, tmp_path / "cut", 45)  # while it collects for the first time
    run_killed(TINY, tmp_path / "cut", 240)  # while it learns or collects again
    cut = DaggerTraining(TINY, tmp_path / "cut").run(keep_experience=True)
    assert cut.weights_sha256 == whole.weights_sha256
    assert cut.measures == whole.measures
    for name in ("features", "own", "goals", "actions", "turns"):
        left, right = (tmp_path / run / "training" / f"{name}.bin" for run in ("whole", "cut"))
        assert left.read_bytes() == right.read_bytes()

    def log(run):
        lines = [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if not k.startswith("time_")} for line in lines]

    assert log("whole") == log("cut")
    again = DaggerTraining(TINY, tmp_path / "cut").run()  # it is done: nothing happens
    assert again == replace(cut)


def test_a_trained_policy_is_a_folder_that_runs(tmp_path):
    out = tmp_path / "tiny"
    result = DaggerTraining(TINY, out).run()
    assert not list((out / "training").glob("*.bin"))
    assert sum(file.stat().st_size for file in out.glob("policy.*")) < 10 * 2**20
    assert (out / "videos" / "evaluation_0.mp4").stat().st_size > 0
    policy = open_policy(str(out))
    assert policy.name == policy_label(str(out)) == "tiny"
    env = PointNavEnv("procedural:val:1", 2, size=16)
    first = [run_episode(env, policy, seed=1, episode_id=i)["path_length"] for i in ("0", "1")]
    second = [run_episode(env, policy, seed=1, episode_id=i)["path_length"] for i in ("1", "0")]
    assert first == second[::-1]  # neither order nor what was before matters
    assert result.weights_sha256
    with pytest.raises(SettingError, match="other settings"):
        DaggerTraining(replace(TINY, seed=5), out).run()
