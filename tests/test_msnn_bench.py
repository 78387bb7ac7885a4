"""`pomagym bench msnn` and `bench qa`: known answers, every control, the same numbers from any number of workers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from situated_examples import TINY, write_rooms

from benchmarks.confusion import draw_confusion
from benchmarks.folder_lock import locked
from benchmarks.head_answers import SceneSource, ask_head, with_other_texts
from benchmarks.msnn import NO_ANSWER, Contestant, read_answers, score, simple_controls
from benchmarks.msnn_execution import Executed, execute_directions
from benchmarks.published_msnn import published_answers, published_msnn
from benchmarks.question_answering import answer_list, exact_match, majority_logits, read_questions
from envs.msnn import DIRECTION_TEXTS, write_msnn, write_scan_list
from policies.situated.samples import Answers, Sample
from poma3d.checkpoints import save_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.errors import FileError, SettingError
from pomagym.main import main

SMALL = ["--head.width", "16", "--head.joint", "16", "--head.hidden", "16", "--training.epochs", "1"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return write_rooms(tmp_path_factory.mktemp("samples"), rooms=4, per_room=6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Files of samples, scenes, an encoder and one trained head of each kind but pose_only."""
    root = tmp_path_factory.mktemp("trained")
    made = write_rooms(root / "rooms", rooms=5, per_room=4)
    write_msnn(root / "msnn_rooms.json", made)
    write_scan_list(root / "msnn_rooms_train.txt", ["room00", "room01", "room02"])
    write_scan_list(root / "msnn_rooms_val.txt", ["room03", "room04"])
    save_encoder(PointMapEncoder(TINY, seed=3), root / "encoder.safetensors")
    for kind in ("situated", "specialist", "text_only"):
        line = ["train-head", kind, "--data", root / "msnn_rooms.json", "--out", root / "heads" / kind]
        line += [
            "--scenes",
            root / "rooms",
            "--encoder",
            root / "encoder.safetensors",
            "--cache",
            root / "cache",
        ]
        assert main([*map(str, line), *SMALL]) == 0
    return root


# the score


def test_the_oracle_is_right_and_its_angles_are_off_by_the_width_of_a_direction(samples):
    rows = score(simple_controls(samples, None), samples)
    oracle = {row["directions"]: row for row in rows if row["head"] == "oracle"}
    for directions, row in oracle.items():
        assert row["accuracy"] == {"mean": 1.0, "ci95": [1.0, 1.0], "n": 24}
        assert row["invalid"] == 0
        assert 0 < row["angular_error_deg"]["mean"] <= 180 / directions
        assert np.trace(row["confusion"]) == 24
        assert row["moves_nearer"] is None


def test_an_answer_that_is_none_counts_as_wrong(samples):
    labels = {n: np.array([s.label(n) for s in samples]) for n in (4, 8)}
    labels[4][:6] = NO_ANSWER
    four, eight = score([Contestant("half", labels)], samples)
    assert four["invalid"] == 0.25
    assert four["accuracy"]["mean"] == 0.75
    assert np.sum(four["confusion"]) == 18
    assert eight["accuracy"]["mean"] == 1.0
    executed = {
        k: Executed({n: np.full(n, 0.5) for n in (4, 8)}, {n: np.ones(n, bool) for n in (4, 8)})
        for k in range(12)
    }
    four, _ = score([Contestant("half", labels)], samples, executed)
    assert four["moves_nearer"]["mean"] == 0.5
    assert four["progress_m"]["mean"] == pytest.approx(0.25)
    assert four["moves_nearer"]["n"] == 12
    with pytest.raises(SettingError, match="one answer for each"):
        score([Contestant("short", {4: labels[4][:3], 8: labels[8]})], samples)
    with pytest.raises(SettingError, match="no samples"):
        score([], [])


def test_chance_and_majority(samples):
    many = [replace(s, sample_id=f"{s.sample_id}-{k}") for s in samples for k in range(60)]
    train = [replace(s, angle=180.0) for s in samples[:3]]
    rows = {(r["head"], r["directions"]): r for r in score(simple_controls(many, train), many)}
    for directions in (4, 8):
        assert rows["chance", directions]["accuracy"]["mean"] == pytest.approx(1 / directions, abs=0.04)
    assert np.sum(rows["majority", 4]["confusion"], axis=0).tolist() == [0, 0, len(many), 0]
    assert rows["majority", 4]["majority_of"] == "training samples"
    turned = simple_controls(many[::-1], train)
    np.testing.assert_array_equal(turned[0].labels[8][::-1], simple_controls(many, train)[0].labels[8])


def test_answers_of_other_programs(samples, tmp_path):
    right = {}
    for s in samples:
        right.setdefault(s.scan_id, {})[s.sample_id] = DIRECTION_TEXTS[8][s.label(8)].title() + "."
    right["room00"]["000"] = "I do not know"
    del right["room01"]["001"]
    four = {s.scan_id: {} for s in samples} | {"room02": {"000": 4}}
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"four": four, "eight": right}))
    found = read_answers(path, samples)
    assert (found[8] == NO_ANSWER).sum() == 2
    assert score([Contestant("x", found)], samples)[1]["accuracy"]["mean"] == pytest.approx(22 / 24)
    assert [label for label in found[4] if label != NO_ANSWER] == [0]
    for damaged in ("{", "[]", '{"four": {}}', '{"four": {"a": 1}, "eight": {}}'):
        path.write_text(damaged)
        with pytest.raises(FileError, match=r"answers\.json"):
            read_answers(path, samples)


def test_published_rows_are_those_of_the_paper():
    rows = {(row["row"], row["directions"]): row["accuracy"] for row in published_msnn()}
    assert rows["POMA-3D spec (point map)", 4] == 0.404
    assert rows["POMA-3D llm (point map)", 8] == 0.214
    assert {row["EM@1"] for row in published_answers("sqa3d") if "spec" in row["row"]} == {0.511}
    assert published_answers("mine") == []


def test_samples_without_a_goal_are_not_walked(samples):
    executed, problems = execute_directions(samples)
    assert not executed
    assert set(problems) == {f"room0{k}" for k in range(4)}


def test_the_right_direction_of_a_house_leads_nearer():
    from envs.msnn.generator import generate_msnn
    from envs.msnn.settings import MsnnSettings

    made = generate_msnn(["procedural:val:0"], 8, MsnnSettings(places=8, goals=4)).samples[:6]
    executed, problems = execute_directions(made)
    assert not problems
    rows = {(r["head"], r["directions"]): r for r in score(simple_controls(made, None), made, executed)}
    assert rows["oracle", 8]["moves_nearer"]["mean"] == 1.0
    assert rows["oracle", 8]["progress_m"]["mean"] > 0.4
    assert rows["majority", 8]["progress_m"]["mean"] < rows["oracle", 8]["progress_m"]["mean"]


def test_a_picture_of_the_confusions(samples, tmp_path):
    rows = score(simple_controls(samples, None), samples)
    draw_confusion(rows, 8, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_other_texts_are_of_the_same_scene_and_leave_the_pose() -> None:
    said = [("a", "bed"), ("a", "bed"), ("a", "sink"), ("b", "desk"), ("b", "desk")]
    own = [
        Sample(str(k), scan, situation=f"at the {thing}", interaction="sit", location=(k, 0.0, 0.0), yaw=k)
        for k, (scan, thing) in enumerate(said)
    ]
    others = with_other_texts(own)
    assert [sample.situation for sample in others] == [
        "at the sink",
        "at the sink",
        "at the bed",
        *["at the desk"] * 2,  # nothing else is said there
    ]
    for sample, other in zip(own, others, strict=True):
        assert (other.sample_id, other.scan_id, other.location, other.yaw) == (
            sample.sample_id,
            sample.scan_id,
            sample.location,
            sample.yaw,
        )


# the commands


def test_the_command_prints_every_control_and_workers_change_nothing(trained, tmp_path, capsys):
    line = ["bench", "msnn", "--data", trained / "msnn_rooms.json", "--scenes", trained / "rooms", "--heads"]
    line += [
        trained / "heads",
        "--encoder",
        trained / "encoder.safetensors",
        "--cache",
        trained / "cache",
        "--json",
    ]
    capsys.readouterr()
    assert main([*map(str, line), "--out", str(tmp_path / "one")]) == 0
    found = json.loads(capsys.readouterr().out)
    heads = {row["head"] for row in found["rows"]}
    simple = {"text_only", "chance", "majority", "oracle"}
    assert heads == simple | {
        f"{head}{text}" for head in ("situated", "specialist") for text in ("", ", another text")
    }
    assert found["not_trained"] == ["pose_only"]
    assert found["samples"] == 8  # the scenes of msnn_rooms_val.txt
    assert {row["directions"] for row in found["rows"]} == {4, 8}
    assert all(set(row["accuracy"]) == {"mean", "ci95", "n"} for row in found["rows"])
    assert (tmp_path / "one" / "confusion_8.png").is_file()
    source = SceneSource(
        (str(trained / "rooms"),), str(trained / "encoder.safetensors"), str(trained / "cache")
    )
    asked = [
        Sample(str(k), f"room0{k % 5}", interaction="the lamp", location=(1.0, 2.0, 0.0)) for k in range(9)
    ]
    path = trained / "heads" / "situated" / "head.safetensors"
    alone, together = (ask_head(path, asked, source, workers=n).logits for n in (1, 2))
    for name in alone:
        np.testing.assert_array_equal(alone[name], together[name])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (["--encoder", "{other}"], "trained on the features"),
        (["--scenes", "{nowhere}"], "is no folder"),
        (["--heads", "{nowhere}"], "holds no head"),
        (["--predictions", "x"], "NAME=FILE"),
        (["--limit", "-1"], "limit"),
        (["--data", "{nowhere}"], "cannot be read"),
    ],
)
def test_bad_input_ends_in_one_line(trained, tmp_path, capsys, change, match):
    save_encoder(PointMapEncoder(TINY, seed=4), tmp_path / "other.safetensors")
    names = {"other": tmp_path / "other.safetensors", "nowhere": tmp_path / "nowhere"}
    flags = {
        "--data": trained / "msnn_rooms.json",
        "--scenes": trained / "rooms",
        "--heads": trained / "heads",
        "--encoder": trained / "encoder.safetensors",
        "--cache": trained / "cache",
        "--out": tmp_path / "out",
    }
    flags[change[0]] = change[1].format(**names)
    capsys.readouterr()
    assert main(["bench", "msnn", *(str(x) for pair in flags.items() for x in pair)]) == 2
    said = capsys.readouterr().err
    assert match in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    ["bench msnn", "bench qa --format scanqa --heads absent", "train-head text_only --out absent"],
)
def test_data_are_asked_for(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    assert "--data FILE" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_of_a_head_is_held_while_it_trains_and_says_when_it_is_done(trained, tmp_path, capsys):
    line = ["train-head", "text_only", "--data", str(trained / "msnn_rooms.json"), *SMALL]
    out = tmp_path / "head"
    capsys.readouterr()
    with locked(out):
        assert main([*line, "--out", str(out)]) == 2
        assert "another run" in capsys.readouterr().err
        assert [path.name for path in out.iterdir()] == [".lock"]
    assert main([*line, "--out", str(out)]) == 0
    first = capsys.readouterr()
    assert "already" not in first.err
    assert main([*line, "--out", str(out)]) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    done, curves = again.err.splitlines()
    assert done == f"pomagym: the run in {out} was done already; nothing was trained now"
    assert curves == f"curves: pomagym view {out}"


def test_a_head_without_scenes_is_refused(trained, tmp_path, capsys):
    line = ["train-head", "situated", "--data", str(trained / "msnn_rooms.json"), "--out", str(tmp_path)]
    assert main(line) == 2
    assert "--scenes" in capsys.readouterr().err


# questions


def write_questions(root):
    """The same four questions in every format."""
    asked = [
        ("q0", "What is it?", ["Lamp"]),
        ("q1", "What is it?", ["lamp "]),
        ("q2", "Where?", ["left", "Right"]),
    ]
    asked.append(("q3", "Where?", ["up"]))
    scanqa = [dict(scene_id="room00", question_id=i, question=q, answers=a) for i, q, a in asked]
    (root / "scanqa.json").write_text(json.dumps(scanqa))
    questions = [dict(scene_id="room00", question_id=i, question=q, situation="I sit.") for i, q, _ in asked]
    pose = {"position": {"x": 1, "y": 2, "z": 0}, "rotation": {"_x": 0, "_y": 0, "_z": 1, "_w": 0}}
    annotations = [
        dict(scene_id="room00", question_id=i, answers=[{"answer": x} for x in a], **pose)
        for i, _, a in asked
    ]
    (root / "q.json").write_text(json.dumps({"questions": questions}))
    (root / "a.json").write_text(json.dumps({"annotations": annotations}))
    changes = [
        {
            "context_change": "It moved.",
            "questions_answers": [{"question": q, "answer": a[0]} for _, q, a in asked],
        }
    ]
    (root / "hypo3d.json").write_text(json.dumps({"room00": changes}))
    return {"scanqa": ["scanqa.json"], "sqa3d": ["q.json", "a.json"], "hypo3d": ["hypo3d.json"]}


def test_questions_of_three_formats(tmp_path):
    for kind, files in write_questions(tmp_path).items():
        samples = read_questions([tmp_path / f for f in files], kind)
        assert [s.answers[0] for s in samples] == ["lamp", "lamp", "left", "up"], kind
        assert answer_list(samples)[0] == "lamp"
        if kind == "sqa3d":
            assert samples[0].location == (1.0, 2.0, 0.0)
            assert abs(samples[0].yaw) == pytest.approx(np.pi)
        answers = Answers.words(["lamp", "left", "right"])
        measures = exact_match(majority_logits(answers, 4), answers, samples)
        assert measures["EM@1"]["mean"] == 0.5
        assert measures["EM@10"]["mean"] == 0.75
        assert measures["answerable"] == 0.75


@pytest.mark.parametrize(
    ("kind", "content", "match"),
    [
        ("scanqa", "{}", "a list of objects"),
        ("scanqa", '[{"scene_id": "a", "question_id": 1}]', "question 0: field 'question' is missing"),
        ("sqa3d", "[]", "annotations"),
        ("sqa3d", '{"questions": [{"question_id": 1}]}', "do not go together, such as 1"),
        ("hypo3d", "[]", "scene_id"),
        ("hypo3d", '{"a": [{"context_change": "x"}]}', "change 0 of a: field 'questions_answers'"),
        ("scanqa", "{", "JSON"),
    ],
)
def test_damaged_questions_are_named(tmp_path, kind, content, match):
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(FileError, match=match):
        read_questions([tmp_path / "f.json"], kind)


def test_questions_end_to_end(trained, tmp_path, capsys):
    write_questions(tmp_path)
    common = [
        "--scenes",
        trained / "rooms",
        "--encoder",
        trained / "encoder.safetensors",
        "--cache",
        trained / "cache",
    ]
    line = ["train-head", "specialist", "--qa", "scanqa", "--data", tmp_path / "scanqa.json", *common]
    line += ["--out", tmp_path / "heads" / "specialist", *SMALL, "--training.validation", "0"]
    assert main([*map(str, line)]) == 0
    line = ["bench", "qa", "--format", "scanqa", "--data", tmp_path / "scanqa.json", *common]
    capsys.readouterr()
    assert main([*map(str, line), "--heads", str(tmp_path / "heads"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["head"] for row in found["rows"]] == ["specialist", "most frequent"]
    assert found["rows"][1]["EM@1"]["mean"] == 0.5
    assert any(row["EM@10"] == 0.523 for row in found["published"])
