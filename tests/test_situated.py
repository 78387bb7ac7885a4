"""Heads that answer from a scene and a text: they learn, resume exactly, and do not care who is asked beside whom."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from situated_examples import TINY, tiny_backbone, write_rooms

from agent.backbone import FrozenBackbone
from policies.situated.batch import Batcher
from policies.situated.features import FeatureFolder, patch_centres, seen_from, to_agent
from policies.situated.first_leg import Plan, draw_plan, find_ways
from policies.situated.heads import load_head
from policies.situated.pointing import place_codes
from policies.situated.posed import PosedFeatures
from policies.situated.prediction import accuracy, hits, predict
from policies.situated.samples import Answers, Sample, held_out
from policies.situated.settings import HeadSettings, TrainingSettings
from policies.situated.text import mini_tower
from policies.situated.training import HeadTraining
from poma3d.encoder import PointMapEncoder
from poma3d.errors import FileError, SettingError

torch.set_num_threads(1)
SMALL = HeadSettings(width=32, slots=2, joint=32, hidden=32, dropout=0.0, ways=False)
QUICK = TrainingSettings(epochs=2, batch=32, warmup_steps=5, validation=0.2, text_rate=1.0)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """A ScenePoint folder and samples in it."""
    root = tmp_path_factory.mktemp("rooms")
    samples = [Sample.of_msnn(sample) for sample in write_rooms(root, rooms=10, per_room=16)]
    return root, samples


@pytest.fixture(scope="module")
def features(rooms, tmp_path_factory):
    return FeatureFolder(rooms[0], tiny_backbone(), tmp_path_factory.mktemp("features"))


def train(rooms, features, out: Path, settings: HeadSettings, training: TrainingSettings = QUICK, **other):
    return HeadTraining(rooms[1], Answers.directions(), features, settings, training, out, **other)


# the way to a place


def two_rooms() -> Plan:
    """A wall along x = 2 m with a door at y = 0.5 m; floor all round."""
    xs, ys = np.meshgrid(np.arange(0, 4, 0.05), np.arange(0, 4, 0.05))
    floor = np.stack([xs, ys, np.zeros_like(xs)], -1).reshape(-1, 3)
    y = np.concatenate([np.arange(-2, 0.1, 0.02), np.arange(0.9, 6, 0.02)])
    wall = np.concatenate([np.stack([np.full_like(y, 2.0), y, np.full_like(y, h)], -1) for h in (0.5, 1.0)])
    return draw_plan(np.concatenate([floor, wall]), 0.0)


def test_the_way_leads_through_the_door():
    plan = two_rooms()
    goals = np.array([[3.5, 3.5], [1.0, 3.0], [3.5, 0.5]])
    ways = find_ways(plan, np.array([1.0, 3.5]), goals)
    through = math.degrees(ways.bearing[0])
    assert -90 < through < -60  # down to the door, not straight on at 0 degrees
    assert math.degrees(ways.bearing[1]) == pytest.approx(-90, abs=1)  # in sight: straight
    corner = np.array([2.0, 0.65])
    length = np.hypot(*(corner - [1.0, 3.5])) + np.hypot(*(goals[0] - corner))
    assert ways.distance[0] == pytest.approx(length, rel=0.1)
    assert ways.distance[1] == pytest.approx(0.5, abs=0.15)


def test_without_a_way_the_bearing_is_straight():
    plan = two_rooms()
    ways = find_ways(plan, np.array([1.0, 3.5]), np.array([[1.0, 30.0]]))
    assert math.degrees(ways.bearing[0]) == pytest.approx(90, abs=1e-3)
    assert not np.isfinite(ways.distance[0])
    outside = find_ways(plan, np.array([100.0, 0.0]), np.array([[1.0, 1.0]]))
    assert not np.isfinite(outside.distance[0])
    empty = find_ways(draw_plan(np.zeros((0, 3)), 0.0), np.zeros(2), np.ones((2, 2)))
    assert np.isfinite(empty.bearing).all()


@given(st.floats(-math.pi, math.pi), st.floats(-5, 5), st.floats(-5, 5))
def test_the_agent_sees_what_is_ahead_along_x(yaw, x, y):
    ahead = np.array([[x + 2 * math.cos(yaw), y + 2 * math.sin(yaw), 1.0]])
    np.testing.assert_allclose(to_agent(ahead, (x, y, 0.0), yaw), [[2, 0, 1]], atol=1e-9)


def test_centres_and_views_from_their_cameras():
    points = np.zeros((1, 4, 4, 3), np.float32)
    points[0, :2, :2] = [1, 2, 3]
    points[0, 2:, 2:] = [5, 5, 0]
    valid = np.abs(points).sum(-1) > 0
    valid[0, 0, 0] = False
    centres, seen = patch_centres(points, valid, 2)
    assert seen.tolist() == [[True, False, False, True]]
    np.testing.assert_allclose(centres[0, 0], [1, 2, 3])
    pose = np.eye(4, dtype=np.float32)[None]
    pose[0, :3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]  # looks along +x
    pose[0, :3, 3] = [1, 1, 1.5]
    moved = seen_from(points, valid, pose)
    np.testing.assert_allclose(moved[0, 2, 2], [4, 4, 0])
    assert not moved[~valid].any()


# what a head is told


def test_what_says_where_to_look_does_not_turn_with_the_agent(rooms, features):
    samples = rooms[1][:6]
    batcher = Batcher(samples, PosedFeatures(features, replace(SMALL, ways=True)), ("interaction",))
    turn = 0.7
    place, bearings, _, way = place_codes(batcher(range(6)))
    turned = place_codes(batcher(range(6), turns=np.full(6, turn)))
    torch.testing.assert_close(place, turned[0])
    torch.testing.assert_close(way - turn, turned[3])
    assert not torch.allclose(bearings, turned[1])


def test_features_are_kept_and_made_anew_where_the_scene_changed(rooms, tmp_path):
    root = tmp_path / "rooms"
    write_rooms(root, rooms=1, per_room=1)
    backbone = tiny_backbone()
    first = FeatureFolder(root, backbone, tmp_path / "cache")["room00"]
    again = FeatureFolder(root, backbone, tmp_path / "cache")["room00"]
    for name in ("tokens", "cls", "centres", "feet", "seen", "counts"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert again.categories == ("lamp", "sofa", "floor")
    assert again.counts.sum(1).tolist() == [64] * 8
    write_rooms(root, rooms=1, per_room=1, seed=9)
    assert not np.array_equal(
        FeatureFolder(root, backbone, tmp_path / "cache")["room00"].centres, first.centres
    )
    for kept in (tmp_path / "cache").rglob("room00*.safetensors"):
        kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(FileError, match="remove it"):
        FeatureFolder(root, backbone, tmp_path / "cache")["room00"]


def test_features_of_another_precision_are_kept_apart(rooms, tmp_path):
    plain, rough = (
        FrozenBackbone(PointMapEncoder(TINY, seed=3), output="both", device="cpu", precision=precision)
        for precision in ("float32", "bf16")
    )
    made = FeatureFolder(rooms[0], rough, tmp_path)["room00"]
    exact = FeatureFolder(rooms[0], plain, tmp_path)["room00"]
    assert not np.array_equal(made.tokens, exact.tokens)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{plain.weights_sha256[:16]}-scene{how}" for how in ("", "-bf16-cpu")}


def test_a_scene_that_is_not_there_is_named(features):
    with pytest.raises(SettingError, match="kitchen99"):
        features.require(["room00", "kitchen99"])


# training


def test_situated_learns_and_text_alone_does_not(rooms, features, tmp_path):
    training = replace(QUICK, epochs=12, learning_rate=3e-3, keep_patches=1.0)
    situated = train(rooms, features, tmp_path / "situated", SMALL, training)
    situated.run()
    blind = train(
        rooms, None, tmp_path / "blind", replace(SMALL, kind="text_only"), replace(training, epochs=3)
    )
    blind.run()
    answers = Answers.directions()
    found = {}
    for name, run in (("situated", situated), ("text_only", blind)):
        run.head.load_state_dict(run.best)
        targets = answers.targets(run.selection.samples)
        found[name] = accuracy(predict(run.head, run.selection, answers), targets)
    assert found["situated"]["four"] > 0.75
    assert found["situated"]["eight"] > 0.6
    assert found["text_only"]["four"] < 0.5


@pytest.mark.parametrize("kind", ["situated", "specialist", "pose_only"])
def test_a_run_that_is_cut_off_ends_as_one_that_is_not(rooms, features, tmp_path, kind):
    settings = replace(SMALL, kind=kind, dropout=0.3)
    whole = train(rooms, features, tmp_path / "whole", settings).run()

    class KilledError(Exception):
        pass

    def kill(epoch):
        raise KilledError

    with pytest.raises(KilledError):
        train(rooms, features, tmp_path / "cut", settings).run(kill)
    resumed = train(rooms, features, tmp_path / "cut", settings)
    assert resumed.epoch == 1
    assert resumed.run().weights_sha256 == whole.weights_sha256
    logs = [
        [json.loads(x) for x in (tmp_path / n / "log.jsonl").read_text().splitlines()]
        for n in ("whole", "cut")
    ]
    for log in logs:
        for line in log:
            line.pop("time_seconds")
    assert logs[0] == logs[1]
    with pytest.raises(SettingError, match="training"):
        train(rooms, features, tmp_path / "cut", settings, replace(QUICK, epochs=3))


def test_the_epoch_is_chosen_on_scenes_that_are_not_trained_on(rooms, features, tmp_path):
    run = train(rooms, None, tmp_path / "a", replace(SMALL, kind="text_only"))
    trained = {s.scan_id for s in run.batcher.samples}
    chosen = {s.scan_id for s in run.selection.samples}
    assert len(chosen) == 2
    assert not trained & chosen
    assert run.run().notes["selected_on"] == "held-out training scenes"
    published = replace(QUICK, select="test", epochs=1)
    with pytest.raises(SettingError, match="test samples"):
        train(rooms, None, tmp_path / "b", replace(SMALL, kind="text_only"), published)
    run = train(rooms, None, tmp_path / "b", replace(SMALL, kind="text_only"), published, test=rooms[1][:5])
    assert len(run.batcher.samples) == len(rooms[1])
    assert run.run().notes["selected_on"] == "the test set (published practice)"


@given(st.sets(st.text("abc", min_size=1), min_size=2, max_size=9), st.floats(0.01, 0.99), st.integers(0, 3))
def test_some_scenes_are_held_out_and_some_are_not(names, share, seed):
    found = held_out(names, share, seed)
    assert found
    assert found < names
    assert held_out(sorted(names, reverse=True), share, seed) == found


# answers


def test_answers_do_not_depend_on_company(rooms, features, tmp_path):
    run = train(rooms, features, tmp_path, replace(SMALL, ways=True), replace(QUICK, epochs=1))
    run.run()
    loaded = load_head(tmp_path / "head.safetensors")
    samples = rooms[1]
    posed = PosedFeatures(features, loaded.shape.settings)
    answers, reads = loaded.shape.answers, loaded.shape.reads
    whole = predict(loaded.head, Batcher(samples, posed, reads), answers)
    order = np.random.default_rng(0).permutation(len(samples))
    shuffled = predict(loaded.head, Batcher([samples[k] for k in order], posed, reads), answers)
    one_room = [k for k, sample in enumerate(samples) if sample.scan_id == "room03"]
    alone = predict(loaded.head, Batcher([samples[k] for k in one_room], posed, reads), answers)
    for name, logits in whole.items():
        np.testing.assert_array_equal(shuffled[name], logits[order])
        np.testing.assert_array_equal(alone[name], logits[one_room])


def test_views_can_be_encoded_from_the_agent(rooms, features, tmp_path):
    settings = replace(SMALL, placing="agent", nearest_views=1)
    run = train(rooms, features, tmp_path, settings, replace(QUICK, epochs=1))
    assert not run.turns
    assert math.isfinite(run.train_epoch())
    posed = run.batcher.posed.of([s for s in rooms[1] if s.scan_id == "room00"])
    assert posed.tokens.shape == (16, 4, 16)
    place = np.array([0, 0, 0], np.float32)
    views = features.views("room00")
    first = features.backbone.encode(to_agent(views.point_map, place, 0.0), views.valid)["patch_tokens"]
    np.testing.assert_allclose(
        first.reshape(-1, 16), features["room00"].tokens.astype(np.float32), atol=2e-2
    )  # at the origin the agent's frame is the scene's


def test_words_for_answers(rooms, features, tmp_path):
    asked = [
        replace(s, question="Which is it?", answers=("lamp",) if "lamp" in s.interaction else ("sofa",))
        for s in rooms[1]
    ]
    answers = Answers.words(["lamp", "sofa", "rug"])
    run = HeadTraining(
        asked,
        answers,
        features,
        replace(SMALL, kind="specialist"),
        replace(QUICK, epochs=8, learning_rate=3e-3),
        tmp_path,
    )
    run.run()
    assert load_head(tmp_path / "head.safetensors").shape.answers == answers
    assert run.best_score > 0.9
    assert answers.targets([Sample("a", "b", answers=("tree",))])["answer"].sum() == 0


def test_hits_count_the_first_of_equals():
    logits = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    targets = np.array([[0, 1, 0], [0, 0, 1]], np.float32)
    assert hits(logits, targets).tolist() == [False, False]
    assert hits(logits, targets, 2).tolist() == [True, True]


def test_new_words_join_a_trained_text_tower(tmp_path):
    old = mini_tower(["red chair"] * 2)
    old.save(tmp_path / "text.safetensors")
    tower = mini_tower(["blue chair"] * 2, tmp_path / "text.safetensors")
    assert tower.vocabulary.words == (*old.vocabulary.words, "blue")
    rows = len(old.vocabulary)
    torch.testing.assert_close(tower.token_embedding.weight[:rows], old.token_embedding.weight)
    torch.testing.assert_close(tower.layers[0].qkv.weight, old.layers[0].qkv.weight)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"kind": "dance"}, "kind"),
        ({"placing": "moon"}, "placing"),
        ({"width": 30}, "width"),
        ({"text_fields": ("song",)}, "song"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, match):
    with pytest.raises(SettingError, match=match):
        HeadSettings(**wrong)
