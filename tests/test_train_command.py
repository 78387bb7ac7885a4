"""`pomagym train`: its folder runs as a policy, evaluations do not depend on the workers, bad flags are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.folder_lock import locked
from pomagym.main import main

FLAGS = (
    "--policy dagger --features blind --scene procedural:train:2 --held-out 1 --steps 60 --evaluation-episodes 1"
    " --evaluations 1 --max-steps 20 --dagger.rounds 1 --dagger.lanes 2 --dagger.max-steps 30 --network.hidden 16"
)


def test_what_it_trains_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "blind")
    assert main(["train", *FLAGS.split(), "--out", out, "--json"]) == 0
    first = capsys.readouterr()
    told = json.loads(first.out)
    assert "already" not in first.err
    assert told["policy"] == out
    assert set(told["held_out"]) >= {"success", "spl"}
    run = [
        "run",
        "--policy",
        out,
        "--scene",
        "procedural:val:1",
        "--episodes",
        "1",
        "--max-steps",
        "10",
        "--json",
    ]
    assert main([*run, "--out", str(tmp_path / "run")]) == 0
    assert json.loads(capsys.readouterr().out)["weights_sha256"] == told["weights_sha256"]
    assert main(["train", *FLAGS.split(), "--out", out, "--json"]) == 0
    again = capsys.readouterr()
    assert json.loads(again.out) == told
    assert again.err.splitlines()[0] == f"pomagym: the run in {out} was done already; nothing was trained now"
    with locked(out):
        assert main(["train", *FLAGS.split(), "--out", out]) == 2
    assert "another run" in capsys.readouterr().err


def test_a_learned_policy_has_the_same_numbers_with_any_number_of_environments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = [
        "run",
        "--policy",
        "pointnav-mini",
        "--scene",
        "procedural:val:4",
        "--episodes",
        "4",
        "--size",
        "112",
    ]
    found = {}
    for workers in ("1", "2", "4"):
        out = tmp_path / workers
        assert main([*run, "--max-steps", "25", "--workers", workers, "--out", str(out), "--json"]) == 0
        lines = [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]
        records = [{k: v for k, v in line.items() if not k.startswith("time_")} for line in lines]
        measures = json.loads(capsys.readouterr().out)["measures"]
        measures = {k: v for k, v in measures.items() if not k.startswith("time_")}
        found[workers] = records, measures
    records, _ = found["1"]
    assert len(records) == 4
    assert max(record["steps"] for record in records) == 25  # it did not stop at once
    assert found["2"] == found["1"]
    assert found["4"] == found["1"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--policy sac", "dagger"),
        ("--steps many", "--steps"),
        ("--steps -5", "at least 0, found -5"),
        ("--dagger.weight-decay -1", "weight_decay must be at least 0"),
        ("--ppo.batch-size 1", "at least 2"),
        ("--episodes 0", "at least 1 episode"),
        ("--episodes none.json.gz", "none.json.gz"),
        ("--scene procedural:foo:3", "train, val, test"),
        ("--scene procedural:train:2", "smaller --held-out"),
        ("--scene nothere.glb --held-out 1", "'nothere.glb' is absent"),
        ("--features backbone --backbone nowhere.safetensors", "nowhere.safetensors"),
    ],
)
def test_bad_flags_are_told_in_a_line(
    flags: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--features", "blind", "--out", str(tmp_path / "p"), *flags.split()]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert len(told.err.strip().splitlines()) == 1
    assert told.out == ""
