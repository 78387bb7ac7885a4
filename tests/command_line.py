"""Command lines run here: what they print and end with, what a refusal looks like, what a tiny run is run on."""

from __future__ import annotations

import json
from pathlib import Path

from flat_room import room_scene

from envs.scenes.mesh import save_scene
from pomagym.main import main

TINY = ["--size", "8", "12", "--max-steps", "30"]
"""Flags of a run that takes no time."""


def room_file(folder: Path) -> str:
    """A mesh file of a room with a wall and a sofa."""
    path = folder / "room.glb"
    save_scene(room_scene(), path)
    return str(path)


def room_episodes(house: str) -> str:
    """A file of six episodes in that room, beside it."""
    path = str(Path(house).with_name("room.json.gz"))
    assert main(["episodes", "generate", "--scene", house, "--count", "6", "--out", path]) == 0
    return path


def finish(capfd, line):
    """Run a command line here: its exit code, standard output, standard error."""
    capfd.readouterr()
    try:
        code = main([str(word) for word in line])
    except SystemExit as stop:  # tyro ends the process after --help
        code = stop.code or 0
    out, err = capfd.readouterr()
    return code, out, err


def refuse(capfd, line):
    """Run a command line that must be refused: exit code 2, nothing on standard output, one line that says why."""
    code, out, err = finish(capfd, line)
    assert code == 2, err
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("pomagym: ")
    return lines[0]


def untimed(folder):
    """The finished episodes of a folder of results, without how long anything took."""
    lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("time_")} for line in lines]
