"""A training that is killed with SIGKILL and begun again by the same command ends as one that was left alone."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from policies.learning.policy_folder import POLICY_FORMAT, WEIGHTS
from policies.learning.run_state import STATE
from poma3d.weights import read_weights
from pomagym.main import main

COMMON = (
    "--features blind --scene procedural:train:3 --held-out 1 --evaluation-episodes 1 --evaluations 2"
    " --max-steps 20 --network.hidden 16"
)
FLAGS = {
    "dagger": "--steps 120 --dagger.rounds 3 --dagger.lanes 2 --dagger.max-steps 30 --dagger.epochs 2"
    " --dagger.final-epochs 2 --dagger.extra-goals 2 --dagger.batch 2",
    "ppo": "--steps 160 --ppo.n-envs 2 --ppo.n-steps 16 --ppo.batch-size 16 --ppo.n-epochs 2 --ppo.segment 1",
}
FLAGS["recurrent-ppo"] = FLAGS["ppo"]
LAST = {"dagger": 7, "ppo": 3, "recurrent-ppo": 3}
"""The last checkpoint that a kill waits for: 13 and 5 are the end, and much is left to do behind it."""


def command(kind: str, out: Path) -> list[str]:
    return ["train", "--policy", kind, *COMMON.split(), *FLAGS[kind].split(), "--out", str(out), "--json"]


def run_and_kill(kind: str, out: Path, checkpoint: int, moment: float) -> None:
    """Run the command in a process of its own, and kill it ``moment`` seconds after it told of a checkpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pomagym", *command(kind, out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr:
        told = []
        for line in process.stderr:  # such as "4/13 learn, round 2"
            told.append(line)
            done = line.split("/")[0]
            if done.isdecimal() and int(done) >= checkpoint:
                break
        time.sleep(moment)  # somewhere in a unit of work, or in the writing of its checkpoint
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "".join(told)
    assert (out / "training" / STATE).is_file()


def lines_of(folder: Path) -> list[dict]:
    """The log without wall times."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("time_")} for line in lines]


def told_of(kind: str, out: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    """Give the command in this process; what it prints."""
    assert main(command(kind, out)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("policy") == str(out)
    return told


def check(
    kind: str, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, again: bool = False
) -> None:
    """Kill a training at a random moment, once or ``again`` and again, and compare it with one left alone."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    rng, checkpoint = random.Random(f"{kind} {seed}"), 0
    while checkpoint < LAST[kind]:
        checkpoint = rng.randint(checkpoint + 1, LAST[kind])
        run_and_kill(kind, cut, checkpoint, rng.uniform(0, 0.1))
        if not again:
            break
    assert told_of(kind, cut, capsys) == told_of(kind, whole, capsys)
    ours, theirs = (read_weights(folder / WEIGHTS, POLICY_FORMAT).tensors for folder in (cut, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (cut / "config.json").read_bytes() == (whole / "config.json").read_bytes()
    assert lines_of(cut) == lines_of(whole)
    assert not list(cut.rglob("*.bin"))


@pytest.mark.parametrize("kind", ["dagger", "ppo"])
def test_killed_and_resumed(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(kind, 0, tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", list(FLAGS))
def test_killed_again_and_again_and_resumed(
    kind: str, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(kind, seed, tmp_path, capsys, again=True)
