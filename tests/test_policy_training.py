"""Training policies: it resumes to the same bits, refuses what is not its own, and says what is wrong."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from flat_room import room_scene

from agent.rollout import run_episode
from envs.embodiment import agent_preset
from envs.episodes.dataset import write_episodes
from envs.episodes.pointnav_generator import generate_pointnav
from envs.pointnav import PointNavEnv
from envs.scenes.mesh import save_scene
from envs.simulators.open import open_simulator
from policies.learning.acting import Acting
from policies.learning.collect import Collector
from policies.learning.dagger import DaggerTraining
from policies.learning.experience import Experience
from policies.learning.features import BlindFeatures, FeatureLayout
from policies.learning.houses import TrainingScenes, training_body
from policies.learning.imitation import NotFiniteError
from policies.learning.networks import PolicyNetwork
from policies.learning.policy_folder import DESCRIPTION, policy_folder_sha256
from policies.learning.ppo import PpoTraining
from policies.learning.run_state import EPISODES, refuse_other_scenes
from policies.learning.settings import DaggerSettings, NetworkSettings, PpoSettings, TrainSettings
from policies.loading import open_policy, policy_label
from poma3d.errors import EpisodeError, FileError, SettingError

TINY = TrainSettings(
    features="blind",
    scene="procedural:train:3",
    held_out=1,
    steps=160,
    evaluation_episodes=1,
    evaluations=1,
    max_steps=30,
    network=NetworkSettings(compressed=2, hidden=16),
    dagger=DaggerSettings(
        rounds=2, lanes=2, max_steps=40, extra_goals=2, epochs=1, final_epochs=1, batch=2, chunk=8
    ),
    ppo=PpoSettings(n_envs=2, n_steps=16, batch_size=16, n_epochs=2, segment=1),
)


class _KilledError(Exception):
    """Stands for kill -9: nothing is tidied up behind it."""


def run_killed(training, at: int, **options):
    """Begin a training, or go on with it, and kill it in the middle of a unit."""

    def advance(count):
        nonlocal at
        at -= count
        if at < 0:
            raise _KilledError

    with pytest.raises(_KilledError):
        training.run(advance=advance, **options)


def test_dagger_resumes_to_the_same_bits(tmp_path):
    whole = DaggerTraining(TINY, tmp_path / "whole").run(keep_experience=True)
    run_killed(DaggerTraining(TINY, tmp_path / "cut"), 45)  # while it collects for the first time
    run_killed(DaggerTraining(TINY, tmp_path / "cut"), 240)  # while it learns or collects again
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


def test_a_trained_policy_is_a_folder_that_runs(tmp_path):
    out = tmp_path / "tiny"
    result = DaggerTraining(TINY, out).run()
    assert not list((out / "training").glob("*.bin"))
    assert sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) < 10 * 2**20
    assert "network" not in torch.load(out / "training" / "state.pt", weights_only=True)
    assert DaggerTraining(TINY, out).run() == result  # it is done: nothing happens
    assert (out / "videos" / "evaluation_0.mp4").stat().st_size > 0
    policy = open_policy(str(out))
    assert policy.name == policy_label(str(out)) == "tiny"
    env = PointNavEnv("procedural:val:1", 2, size=16, max_steps=40)
    first = [run_episode(env, policy, seed=1, episode_id=i)["path_length"] for i in ("0", "1")]
    second = [run_episode(env, policy, seed=1, episode_id=i)["path_length"] for i in ("1", "0")]
    assert first == second[::-1]  # neither order nor what was before matters
    assert result.weights_sha256
    with pytest.raises(SettingError, match="other settings"):
        DaggerTraining(replace(TINY, seed=5), out).run()


@pytest.mark.parametrize("kind", ["ppo", "recurrent-ppo"])
def test_ppo_resumes_to_the_same_bits_and_runs(tmp_path, kind):
    settings = replace(TINY, policy=kind, steps=96, features="cnn" if kind == "ppo" else "blind")
    whole = PpoTraining(settings, tmp_path / "whole").run()
    run_killed(PpoTraining(settings, tmp_path / "cut"), 70)  # in the third of three segments
    cut = PpoTraining(settings, tmp_path / "cut").run()
    assert cut.weights_sha256 == whole.weights_sha256
    assert cut.steps == whole.steps == 96
    env = PointNavEnv("procedural:val:1", 1, size=112, max_steps=10)
    records = [run_episode(env, open_policy(str(tmp_path / run)), seed=3) for run in ("whole", "cut")]
    assert records[0]["path_length"] == records[1]["path_length"]


@pytest.mark.parametrize("features", ["blind", "cnn"])
@pytest.mark.parametrize("kind", ["ppo", "recurrent-ppo"])
def test_ppo_learns_on_from_episodes_that_were_cut_off(tmp_path, kind, features):
    settings = replace(TINY, policy=kind, steps=64, features=features, max_steps=3)  # most end at their limit
    assert PpoTraining(settings, tmp_path / "run").run().steps == 64


def test_ppo_leaves_global_generators_as_they_were(tmp_path):
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    PpoTraining(replace(TINY, policy="ppo", steps=32), tmp_path / "ppo").run()
    assert torch.equal(torch.rand(3), wanted)


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory):
    from poma3d.checkpoints import save_encoder
    from poma3d.encoder import PointMapEncoder
    from poma3d.encoder_config import EncoderConfig

    sizes = {"image_size": 16, "patch_size": 8, "width": 12, "depth": 1, "heads": 2, "mlp_width": 12}
    config = EncoderConfig(**sizes, embedding=6)
    paths = []
    for seed in (0, 1):
        paths.append(tmp_path_factory.mktemp("weights") / f"encoder{seed}.safetensors")
        save_encoder(PointMapEncoder(config, seed=seed), paths[-1])
    return paths


@pytest.mark.parametrize("kind", ["dagger", "ppo"])
def test_a_policy_refuses_another_backbone(tmp_path, tiny_weights, kind):
    weights = tmp_path / "encoder.safetensors"
    weights.write_bytes(tiny_weights[0].read_bytes())
    settings = replace(TINY, policy=kind, features="backbone", backbone=str(weights), output="both", steps=64)
    training = (DaggerTraining if kind == "dagger" else PpoTraining)(settings, tmp_path / "policy")
    training.run()
    description = json.loads((tmp_path / "policy" / DESCRIPTION).read_text())
    assert description["layout"] == {"tokens": [4, 12], "cls": 6, "point_map": None}
    env = PointNavEnv("procedural:val:1", 1, size=32, max_steps=5)
    run_episode(env, open_policy(str(tmp_path / "policy")))
    before = policy_folder_sha256(tmp_path / "policy")
    weights.write_bytes(tiny_weights[1].read_bytes())
    with pytest.raises(FileError, match="trained on a backbone with the hash"):
        open_policy(str(tmp_path / "policy"))
    weights.rename(tmp_path / "gone.safetensors")
    with pytest.raises(FileError, match="cannot be loaded"):
        open_policy(str(tmp_path / "policy"))
    beside = tmp_path / "policy" / "encoder.safetensors"  # a folder may carry its backbone
    beside.write_bytes(tiny_weights[0].read_bytes())
    assert open_policy(str(tmp_path / "policy")).name == "policy"
    assert policy_folder_sha256(tmp_path / "policy") == before
    description["backbone"]["name"] = "runs/own"  # whatever it was called where it was trained
    (tmp_path / "policy" / DESCRIPTION).write_text(json.dumps(description))
    assert open_policy(str(tmp_path / "policy")).name == "policy"
    beside.unlink()
    with pytest.raises(FileError, match=r"may lie beside this file as encoder\.safetensors"):
        open_policy(str(tmp_path / "policy"))


@pytest.mark.parametrize(
    ("known", "now", "told"),
    [
        (
            {"procedural": "generator 3"},
            {"procedural": "generator 4"},
            "houses of generator 3, and this pomagym makes",
        ),
        ({EPISODES: "ab"}, {EPISODES: "cd"}, "the episodes have changed since"),
        ({"a.glb": "ab"}, {"a.glb": None}, "the scene a.glb has changed since"),
    ],
)
def test_what_has_changed_since_a_training_began_is_named(tmp_path, known, now, told):
    refuse_other_scenes(tmp_path / "training", {"scenes": known}, known)
    refuse_other_scenes(tmp_path / "training", {}, now)  # of a training from before scenes were kept
    with pytest.raises(SettingError, match=told):
        refuse_other_scenes(tmp_path / "training", {"scenes": known}, now)


@pytest.mark.parametrize("kind", ["dagger", "ppo"])
def test_a_training_does_not_go_on_in_a_scene_that_has_changed(tmp_path, kind):
    mesh = tmp_path / "room.glb"
    save_scene(room_scene(), mesh)
    settings = replace(TINY, policy=kind, scene=str(mesh), held_out=0, steps=96)

    def cut(*_):
        raise _KilledError

    def training():
        return (DaggerTraining if kind == "dagger" else PpoTraining)(settings, tmp_path / "run")

    once = {"on_log": cut} if kind == "dagger" else {"on_segment": cut}
    with pytest.raises(_KilledError):
        training().run(**once)
    first = mesh.read_bytes()
    trimesh.load_scene(mesh).scaled(1.5).export(mesh)
    with pytest.raises(SettingError, match=r"there no more: the scene .*room\.glb has changed since"):
        training().run()
    mesh.write_bytes(first)
    assert training().run().weights_sha256


def test_training_stops_early_where_the_loss_is_not_finite(tmp_path, monkeypatch):
    from policies.learning import dagger

    passes = 0
    real = dagger.learn_pass

    def fail_in_the_second_round(*arguments, **options):
        nonlocal passes
        passes += 1
        if passes == 2:
            raise NotFiniteError("the loss became nan")
        return real(*arguments, **options)

    monkeypatch.setattr(dagger, "learn_pass", fail_in_the_second_round)
    settings = replace(TINY, evaluations=2)
    result = DaggerTraining(settings, tmp_path / "p").run()
    assert result.stopped is not None
    assert "nan" in result.stopped
    assert open_policy(str(tmp_path / "p")).name == "p"  # that of the first evaluation
    monkeypatch.setattr(dagger, "learn_pass", real)
    assert DaggerTraining(settings, tmp_path / "p").run().stopped is None


def test_learned_policies_act_in_pointnav_in_the_agents_frame(tmp_path):
    DaggerTraining(replace(TINY, steps=16), tmp_path / "p").run()
    policy = open_policy(str(tmp_path / "p"))
    env = PointNavEnv("procedural:val:1", 1, size=8, frame="world")
    env.reset()
    with pytest.raises(SettingError, match="agent's frame"):
        policy.reset(env, np.random.default_rng(0))
    view = {"point_map": np.zeros((8, 8, 3), np.float32), "valid": np.zeros((8, 8), bool)}
    with pytest.raises(SettingError, match="pointgoal"):
        policy.act(view)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": "sac"}, "policy must be one of"),
        ({"features": "eyes"}, "features must be one of"),
        ({"steps": -1}, "at least 0"),
        ({"evaluations": 0}, "at least 1"),
        ({"episodes": 0}, "at least 1 episode"),
    ],
)
def test_bad_settings_are_told(change, message):
    with pytest.raises(SettingError, match=message):
        replace(TINY, **change)


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        (DaggerSettings, {"weight_decay": -1.0}, "weight_decay must be at least 0"),
        (DaggerSettings, {"stop_weight": 0.0}, "stop_weight must be above 0"),
        (DaggerSettings, {"clip": math.nan}, "clip must be above 0"),
        (PpoSettings, {"batch_size": 1}, "at least 2"),
        (PpoSettings, {"n_envs": 1, "n_steps": 1}, "at least 2"),
        (PpoSettings, {"gamma": 1.5}, "gamma"),
        (PpoSettings, {"clip_range": 0.0}, "clip_range"),
        (NetworkSettings, {"hidden": 0}, "hidden"),
    ],
)
def test_bad_settings_of_the_parts_are_told(settings, change, message):
    with pytest.raises(SettingError, match=message):
        settings(**change)


def test_scenes_without_an_episode_end_the_collection(tmp_path, monkeypatch):
    """Not one of them has any: a lane would look for ever."""
    scenes = TrainingScenes(TINY, training_body(8))
    tried = []

    def none(simulator, scene_id, index):
        tried.append(scene_id)
        raise EpisodeError(f"{scene_id}: nothing suits")

    monkeypatch.setattr(scenes, "episode", none)
    collector = Collector(scenes, BlindFeatures(), TINY.dagger, 0, Acting())
    network = PolicyNetwork(FeatureLayout(), TINY.network)
    with pytest.raises(EpisodeError, match="nothing suits"):
        collector.collect(0, 10, network, Experience(tmp_path, 0, 1, []))
    assert len(tried) == 2 * TINY.dagger.episodes_per_visit


def test_environments_of_a_training_look_for_scenes_where_the_settings_say(tmp_path):
    """The file calls its scene by a path that leads nowhere from here; --scene says where it lies."""
    house = tmp_path / "scenes" / "room.glb"
    house.parent.mkdir()
    save_scene(room_scene(), house)
    simulator = open_simulator(str(house), agent_preset("pointnav-gibson"))
    made = generate_pointnav(simulator, 6, scene_id="elsewhere/room.glb")
    simulator.close()
    write_episodes(tmp_path / "room.json.gz", made)
    settings = replace(TINY, scene=str(house), episodes=str(tmp_path / "room.json.gz"), held_out=0)
    scenes = TrainingScenes(settings, training_body(8))
    env = scenes.environment(scenes.training)
    assert env.reset(seed=0)[1]["scene_id"] == "elsewhere/room.glb"
    env.close()
    counted = TrainingScenes(replace(TINY, episodes=6), training_body(8))
    env = counted.environment(counted.training[:1])  # two of the three houses' six
    played = [env.reset(seed=0)[1]["episode_id"], *(env.reset()[1]["episode_id"] for _ in range(3))]
    assert len(set(played)) == 2
    env.close()


def test_too_few_scenes_to_hold_out(tmp_path):
    with pytest.raises(SettingError, match="held out"):
        DaggerTraining(replace(TINY, held_out=3), tmp_path / "p").run()


def test_a_policy_that_sees_nothing_takes_any_camera_but_no_other_turns(tmp_path):
    DaggerTraining(replace(TINY, steps=16), tmp_path / "p").run()
    policy = open_policy(str(tmp_path / "p"))
    camera = PointNavEnv("procedural:val:1", 1, size=(6, 9), hfov=60)
    policy.reset(camera, np.random.default_rng(0))
    turns = PointNavEnv("procedural:val:1", 1, agent=agent_preset("pointnav-gibson", turn_angle=30.0))
    with pytest.raises(SettingError, match="turns of 10 degrees"):
        policy.reset(turns, np.random.default_rng(0))
