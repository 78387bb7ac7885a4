"""What stops a command before its work is done: Ctrl-C, SIGTERM, a full disk; what was finished is kept."""

from __future__ import annotations

import errno
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import get_args

import pytest
from command_line import TINY, finish, refuse, room_episodes, room_file, untimed

from pomagym.main import KEEPING

POMAGYM = [sys.executable, "-m", "pomagym"]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return room_file(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="module")
def episodes(house):
    return room_episodes(house)


@pytest.mark.parametrize(
    ("sent", "code", "said"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_an_interrupt_inside_compiled_code_is_one_too(capfd, monkeypatch, sent, code, said):
    """numba's dispatcher returns with the interrupt set: Python makes a SystemError of it, the interrupt its cause."""

    def execute(_):
        try:
            signal.raise_signal(sent)
        except KeyboardInterrupt as stop:
            raise SystemError("CPUDispatcher(...) returned a result with an exception set") from stop

    monkeypatch.setattr("pomagym.run.execute", execute)
    found, _, err = finish(capfd, ["run"])
    assert (found, err) == (code, f"pomagym: stopped by {said}; what was finished is kept\n")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("bench encoder", True),
        ("bench localization", True),
        ("scenes export procedural:val:1 --out x", True),
        ("bench localization --query text", False),
        ("bench msnn --data x.json", False),
        ("episodes msnn --out x", False),
        ("view x", False),
    ],
)
def test_an_interrupt_tells_what_is_left_of_the_work(capfd, monkeypatch, line, kept):
    def execute(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"pomagym.{line.split()[0]}.execute", execute)
    code, _, err = finish(capfd, line.split())
    assert code == 130
    left = "what was finished is kept" if kept else "nothing was finished, the same command begins anew"
    assert err == f"pomagym: stopped by Ctrl-C; {left}\n"


def test_the_commands_that_keep_what_they_finished_are_commands():
    for line in KEEPING:
        name, *part = line.split()
        config = importlib.import_module(f"pomagym.{name.replace('-', '_')}").Config
        assert not part or part[0] in [mark.name for kind in get_args(config) for mark in get_args(kind)[1:]]


def test_a_full_disk_keeps_the_finished_episodes(capfd, tmp_path, monkeypatch, house, episodes):
    line = ["run", "--scene", house, "--episodes", episodes, "--policy", "random", "--out", tmp_path, *TINY]
    write, lines = os.write, []

    def fill(handle, data):
        if data.startswith(b'{"episode_id"'):
            lines.append(data)
            if len(lines) == 3:
                write(handle, data[:20])  # a part still fits
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data)

    monkeypatch.setattr(os, "write", fill)
    assert "No space left" in refuse(capfd, line)
    assert untimed(tmp_path) == [
        {key: value for key, value in json.loads(data).items() if not key.startswith("time_")}
        for data in lines[:2]
    ]
    assert json.loads((tmp_path / "summary.json").read_text())["episodes"] == {"asked": 6, "finished": 2}
    monkeypatch.undo()
    assert finish(capfd, line)[0] == 0
    assert len(untimed(tmp_path)) == 6


def test_a_full_disk_anywhere_is_no_defect(capfd, tmp_path, monkeypatch, house, episodes):
    def full_disk(*_, **__):  # as numba does where its cache cannot be written
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere.nbc")

    monkeypatch.setattr("agent.rollout.run_episode", full_disk)
    said = refuse(capfd, ["run", "--scene", house, "--episodes", episodes, "--out", tmp_path / "r", *TINY])
    assert "somewhere.nbc" in said
    assert "No space left" in said


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_and_the_next_one_goes_on(tmp_path, house, episodes, sent, code):
    out = tmp_path / "r"
    line = ["run", "--scene", house, "--episodes", episodes, "--policy", "random", "--out", str(out)]
    line += ["--size", "96", "--max-steps", "400", "--workers", "2"]
    process = subprocess.Popen([*POMAGYM, *line], stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 90
    while not (out / "episodes.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(sent) if sent == signal.SIGTERM else os.killpg(process.pid, sent)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "Traceback" not in err
    finished = untimed(out)
    assert 1 <= len(finished) < 6
    assert json.loads((out / "summary.json").read_text())["episodes"] == {
        "asked": 6,
        "finished": len(finished),
    }
    assert subprocess.run([*POMAGYM, *line], capture_output=True, check=False).returncode == 0
    assert len(untimed(out)) == 6
    assert all(record in untimed(out) for record in finished)
