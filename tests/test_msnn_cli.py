"""`pomagym episodes msnn`: samples of scenes on the command line, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envs.msnn import read_msnn
from pomagym.main import main

HOUSE = "procedural:val:0003"


def test_samples_of_a_scene_are_written_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "samples.json"
    flags = [
        "--scene",
        HOUSE,
        "--count",
        "10",
        "--places",
        "24",
        "--out",
        str(out),
        "--workers",
        "1",
        "--json",
    ]
    assert main(["episodes", "msnn", *flags]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["samples"], told["scenes"]) == (16, 1)
    assert sum(told["groups"].values()) == 2
    assert len(read_msnn(out)) == 16
    data = out.read_bytes()
    assert main(["episodes", "msnn", *flags]) == 0  # the same samples are in nobody's way
    others = [*flags, "--seed", "5"]
    assert main(["episodes", "msnn", *others]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert out.read_bytes() == data
    assert main(["episodes", "msnn", *others, "--overwrite"]) == 0
    assert out.read_bytes() != data


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--out", "samples.json"], "into a folder"),
        (["--out", "folder", "--count", "3"], "--count goes with --scene"),
        (["--out", "folder", "--scene", HOUSE], ".json"),
        (["--out", "a.json", "--scene", HOUSE, "--count", "0"], "at least 1"),
        (["--out", "a.json", "--scene", "absent.glb"], "absent.glb"),
        (["--out", "a.json", "--scene", HOUSE, "--seed", "-1"], "seed"),
    ],
)
def test_bad_input_is_told_in_a_line(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    assert main(["episodes", "msnn", *flags]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert "\n" not in told
