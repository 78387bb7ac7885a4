"""The command line: help at once, every command on tiny settings, bad input in one line, Ctrl-C, a full disk."""

from __future__ import annotations

import errno
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest
from flat_room import room_scene

from envs.scenes.mesh import save_scene
from pomagym.main import COMMANDS, KEEPING, main

POMAGYM = [sys.executable, "-m", "pomagym"]
TINY = ["--size", "8", "12", "--max-steps", "30"]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A mesh file of a room with a wall and a sofa."""
    path = tmp_path_factory.mktemp("scenes") / "room.glb"
    save_scene(room_scene(), path)
    return str(path)


@pytest.fixture(scope="module")
def episodes(house):
    """A file of six episodes in that room."""
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


def test_the_first_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys; from pomagym.main import main; main(['--help']);"
        " heavy = {'numba', 'torch', 'trimesh', 'scipy', 'tyro', 'rich'} & set(sys.modules);"
        " sys.exit(str(heavy) if heavy else 0)"
    )
    best = 9.0
    for _ in range(3):  # processor time: a busy machine takes longer by the clock
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert all(name in done.stdout for name in COMMANDS)
    assert "pomagym run --scene" in done.stdout
    assert best < 0.5


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["run"],
        ["bench"],
        ["bench", "navigation"],
        ["bench", "localization"],
        ["bench", "throughput"],
        ["scenes"],
        ["scenes", "list"],
        ["scenes", "generate"],
        ["episodes"],
        ["episodes", "generate"],
        ["episodes", "check"],
        ["view"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_every_help_teaches_by_example(capfd, line):
    code, out, err = finish(capfd, [*line, "--help"])
    assert (code, err) == (0, "")
    assert "pomagym " + " ".join(line[:1]) in out
    if line:
        assert "For example" in out
        assert len(line) == 1 or "default" in out


def test_every_setting_is_explained_and_has_its_default_shown(capfd):
    out = finish(capfd, ["run", "--help"])[1]
    for flag in ("task", "scene", "episodes", "policy", "simulator", "workers", "seed", "out", "json"):
        assert f"--{flag}" in out
    assert "(default: pointnav)" in out


def test_sentences_of_a_help_flow_and_say_what_a_switch_does(capfd):
    out = finish(capfd, ["pretrain", "mini", "--help"])[1]
    assert "Turn, scale and move scenes at random. (on; this flag turns it off)" in out
    words = " ".join(line.strip("│╭╮╰╯ ") for line in out.splitlines())
    assert "relative to the middle of its patch, enlarged" in words
    lines = [line.strip("│ ") for line in out.splitlines()]
    beginning = next(number for number, line in enumerate(lines) if line.startswith("``patch``, each point"))
    assert len(lines[beginning]) > 50, "the line is broken where it is full and not where the source was"


@pytest.mark.parametrize("command", ["bench", "scenes", "episodes", "pretrain"])
def test_the_help_of_a_command_with_parts_fits_on_a_screen(capfd, command):
    code, out, _ = finish(capfd, [command, "--help"])
    assert code == 0
    config = importlib.import_module(f"pomagym.{command}").Config
    names = [mark.name for part in get_args(config) for mark in get_args(part)[1:]]
    purposes = {
        line.split()[0]: line.split(maxsplit=1)[1] for line in out.split("For example")[0].splitlines()[2:-1]
    }
    assert list(purposes) == names
    assert len(set(purposes.values())) == len(names)
    assert len(out.splitlines()) < 40


def test_without_a_command_it_shows_what_there_is(capfd):
    code, out, _ = finish(capfd, [])
    assert code == 2
    assert "doctor" in out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["dance"], "there is no command 'dance'; the commands are run, bench"),
        (["run", "--wrokers", "2"], "--wrokers"),
        (["run", "--polcy", "oracle"], "perhaps --policy was meant"),
        (["pretrain", "mini", "--encoder.image-size", "100"], "--encoder: patches of 14 pixels"),
        (["pretrain", "mini", "--data", "x", "./x"], "--data names"),
        (["bench", "retrieval"], "--scenes DIR"),
        (["run", "--workers", "two"], "--workers: 'two' is no whole number"),
        (["train-head", "pose_only", "--data", "x", "--data", "./x", "--out", "y"], "names x twice"),
        (["bench", "msnn", "--data", "x", "--data", "./x"], "names x twice"),
        (["train", "--steps", "-5"], "pomagym: steps"),
        (["run", "--hfov", "wide"], "pomagym: --hfov: 'wide' is no number"),
        (
            ["train-head", "pose_only", "--data", "x", "--out", "y", "--training.epochs", "0"],
            "--training: epochs",
        ),
        (["run", "--workers", "0"], "workers must be at least 1"),
        (["run", "--policy", "genius"], "oracle, random, forward"),
        (["run", "--task", "dance"], "pointnav, objectnav"),
        (["run", "--episodes", "0"], "at least 1"),
        (["run", "--episodes", "absent.json.gz"], "absent.json.gz"),
        (["run", "--scene", "absent.glb"], "absent.glb"),
        (["run", "--scene", "."], "is a folder (.), a mesh file was expected"),
        (["run", "--scene", "procedural:nowhere:2"], "nowhere"),
        (["run", "--size", "0"], "(0,)"),
        (["run", "--size", "1", "2", "3"], "(1, 2, 3)"),
        (["run", "--hfov", "180"], "180"),
        (["run", "--frame", "moon"], "world, scene, episode, agent, camera"),
        (["run", "--agent", "spot"], "pointnav-gibson, objectnav-hm3d"),
        (["run", "--simulator", "unreal"], "raycast, habitat"),
        (["run", "--max-steps", "0"], "max_steps"),
        (["run", "--timeout", "-1"], "timeout"),
        (["run", "--videos", "-1"], "videos"),
        (["view", "procedural:val:3"], "name one house: procedural:val:0000"),
        (["run", "--scenes-dir", "nope"], "nope"),
        (["run", "--policy", "absent.py:Mine"], "absent.py"),
        (["episodes", "check", "absent.json.gz", "--tolerance", "nan"], "tolerance"),
        (["bench", "dance"], "or throughput, found 'dance'"),
        (["scenes"], "list or generate or export or convert or check, found nothing"),
        (["bench", "throughput", "--size", "0"], "size must be at least 1"),
        (["bench", "throughput", "--scene", "absent.glb"], "absent.glb"),
        (["bench", "navigation", "--policies", "dance"], "dance"),
        (["scenes", "list", "/nowhere"], "/nowhere"),
        (["scenes", "generate", "--out", "x", "--count", "0"], "--count 0"),
        (["scenes", "generate", "--out", "x", "--split", "nowhere", "--count", "1"], "nowhere"),
        (["episodes", "generate", "--out", "x.json.gz"], "scene"),
        (["episodes", "generate", "--scene", "a.glb", "--out", "x.json"], ".json.gz"),
        (["episodes", "check", "absent.json.gz"], "absent.json.gz"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_ends_in_one_line_that_says_what_is_wrong(capfd, tmp_path, monkeypatch, line, says):
    monkeypatch.chdir(tmp_path)
    assert says in refuse(capfd, line)
    assert not list(tmp_path.rglob("*.json*"))  # nothing is left behind


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


def test_damaged_files_are_named(capfd, tmp_path, house):
    mesh = tmp_path / "cut.glb"
    mesh.write_bytes(Path(house).read_bytes()[:200])
    assert "cut.glb" in refuse(capfd, ["run", "--scene", mesh, "--episodes", "2", "--out", tmp_path / "r"])
    packed = tmp_path / "plain.json.gz"
    packed.write_text("{}")
    assert "gzip" in refuse(capfd, ["run", "--episodes", packed, "--out", tmp_path / "r"])
    assert not (tmp_path / "r").exists()


def test_a_run_writes_its_results_and_prints_json_alone(capfd, tmp_path, house, episodes):
    out = tmp_path / "r"
    line = ["run", "--scene", house, "--episodes", episodes, "--out", out, *TINY, "--max-steps", "200"]
    code, text, err = finish(capfd, [*line, "--json"])
    assert code == 0
    summary = json.loads(text)
    assert summary == json.loads((out / "summary.json").read_text())
    assert summary["measures"]["success"] == {"mean": 1.0, "ci95": [1.0, 1.0], "n": 6}
    assert summary["config"]["policy"] == "oracle"
    assert str(out) in err
    before = (out / "episodes.jsonl").read_bytes()
    code, text, _ = finish(capfd, line)  # again: nothing is left to do
    assert code == 0
    assert "oracle" in text
    assert (out / "episodes.jsonl").read_bytes() == before
    assert "holds results of other settings" in refuse(capfd, [*line, "--seed", "1"])
    assert finish(capfd, [*line, "--seed", "1", "--overwrite"])[0] == 0


def test_workers_change_nothing(capfd, tmp_path, house, episodes):
    line = ["run", "--scene", house, "--episodes", episodes, "--policy", "random", *TINY]
    assert finish(capfd, [*line, "--out", tmp_path / "1"])[0] == 0
    assert finish(capfd, [*line, "--out", tmp_path / "2", "--workers", "2"])[0] == 0
    assert untimed(tmp_path / "1") == untimed(tmp_path / "2")
    assert len(untimed(tmp_path / "1")) == 6


def untimed(folder):
    lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("time_")} for line in lines]


def test_a_run_films_and_records_its_first_episode(capfd, tmp_path, house, episodes):
    line = ["run", "--scene", house, "--episodes", episodes, "--policy", "forward", "--out", tmp_path]
    code, _, err = finish(
        capfd, [*line, "--size", "24", "32", "--max-steps", "5", "--videos", "1", "--recording"]
    )
    assert code == 0, err
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["room_0.mp4"]
    assert (tmp_path / "videos" / "room_0.mp4").stat().st_size > 1000
    assert (tmp_path / "recording.rrd").stat().st_size > 1000


def test_a_comparison_has_every_control(capfd, tmp_path, house, episodes):
    line = ["bench", "navigation", "--scene", house, "--episodes", episodes, "--out", tmp_path, *TINY]
    code, text, _ = finish(capfd, [*line, "--policies", "random", "--json"])
    assert code == 0
    rows = json.loads(text)["rows"]
    assert [row["policy"] for row in rows] == ["random", "oracle", "forward"]
    assert all(row["measures"]["spl"]["n"] == 6 for row in rows)
    assert (tmp_path / "oracle" / "episodes.jsonl").is_file()


def test_throughput_rows_say_what_was_measured(capfd, house):
    line = ["bench", "throughput", "--scene", house, "--size", "32", "--seconds", "0.02", "--repeats", "1"]
    code, text, _ = finish(capfd, [*line, "--subdivide-to", "500", "--json"])
    assert code == 0
    result = json.loads(text)
    assert [row["what"] for row in result["rows"]] == ["render", "render_batch_1", "step"]
    for row in result["rows"]:
        assert row["scene"] == "room.glb"
        assert 500 <= row["triangles"] < 504
        assert row["size"] == 32
        assert row["per_second"] > 1
        assert row["threads"] >= 1
        assert 50 < row["peak_rss_mb"] < 2000
    assert result["hardware"]["cores"] >= 1


def test_episodes_are_made_and_found_sound(capfd, tmp_path, house, episodes):
    code, text, _ = finish(capfd, ["episodes", "check", episodes, "--json"])
    found = json.loads(text)
    assert (code, found["episodes"], found["valid"]) == (0, 6, 6)
    search = tmp_path / "search.json.gz"
    line = ["episodes", "generate", "--task", "objectnav", "--scene", house, "--count", "3", "--out", search]
    assert finish(capfd, [*line, "--agent", "pointnav-gibson"])[0] == 0
    assert "of 3 episodes are sound" in finish(capfd, ["episodes", "check", search])[1]
    code, text, _ = finish(
        capfd, ["run", "--task", "objectnav", "--episodes", search, "--out", tmp_path / "r", *TINY]
    )
    assert code == 0
    assert "oracle" in text


def test_unsound_episodes_are_listed_with_their_fault(capfd, tmp_path, episodes, house):
    from dataclasses import replace

    from envs.episodes import read_episodes, write_episodes

    sound = list(read_episodes(episodes))
    write_episodes(tmp_path / "bad.json.gz", [sound[0], replace(sound[1], start_position=(90.0, 0.0, 0.0))])
    code, text, _ = finish(capfd, ["episodes", "check", tmp_path / "bad.json.gz"])
    assert code == 1
    assert "start off the surface" in text
    assert "1 of 2 episodes are sound" in text
    run = ["run", "--episodes", tmp_path / "bad.json.gz", "--out", tmp_path / "r", *TINY]
    code, _, err = finish(capfd, run)
    assert code == 2
    assert err.count("off the surface") == 1
    assert len(untimed(tmp_path / "r")) == 1  # the others are run
    (bad,) = json.loads((tmp_path / "r" / "summary.json").read_text())["failed"]
    assert bad["episode_id"] == sound[1].episode_id
    write_episodes(tmp_path / "all.json.gz", [replace(sound[1], start_position=(90.0, 0.0, 0.0))])
    run = ["run", "--episodes", tmp_path / "all.json.gz", "--out", tmp_path / "none", *TINY]
    assert "none of the 1 episodes can be run" in refuse(capfd, run)
    assert not (tmp_path / "none").exists()


def test_scenes_are_listed(capfd, house):
    code, text, _ = finish(capfd, ["scenes", "list", Path(house).parent, "--json"])
    assert code == 0
    found = json.loads(text)
    assert found["files"] == [house]
    assert "procedural:val:N" in found["procedural"]
    assert all(scenes["address"].startswith("https://") for scenes in found["public"])


def test_houses_are_written_with_their_semantics(capfd, tmp_path):
    code, text, _ = finish(capfd, ["scenes", "generate", "--out", tmp_path, "--count", "1", "--json"])
    assert code == 0
    (written,) = json.loads(text)["scenes"]
    assert written["rooms"] >= 3
    assert Path(written["file"]).is_file()
    assert (tmp_path / "val_00000.semantics.json").is_file()


def test_the_doctor_looks_at_this_machine(capfd):
    code, text, _ = finish(capfd, ["doctor", "--json"])
    report = json.loads(text)
    broken = [finding for finding in report["findings"] if finding["needed"] and not finding["ok"]]
    assert (code, report["ready"], report["mend"]) == (0, True, None), broken
    names = {finding["name"] for finding in report["findings"]}
    assert {
        "python",
        "embree",
        "render a point map",
        "build a walkable surface",
        "torch",
        "habitat-sim",
    } <= names


def test_the_doctor_names_one_command_for_all_that_is_missing():
    from pomagym.doctor import Finding, mending_command

    findings = [
        Finding("a", True, True, ""),
        Finding("b", False, True, "not installed", ("numba>=0.61",)),
        Finding("c", False, True, "not installed", ("scipy>=1.14", "numba>=0.61")),
        Finding("d", False, False, "not installed", ("torch",)),
    ]
    command = mending_command(findings)
    assert command is not None
    assert command.endswith("-m pip install 'numba>=0.61' 'scipy>=1.14'")
    assert mending_command(findings[:1]) is None


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


def test_what_is_wrong_with_a_scene_is_said_once() -> None:
    """A damaged navmesh makes every episode unsound; one line says so, and how many. Others keep their own lines."""
    from envs.episodes.check import EpisodeCheck
    from pomagym.episodes import _problem_lines

    def found(number: int, scene: str, *problems: str) -> dict[str, EpisodeCheck]:
        sound = EpisodeCheck(str(number), scene, ())
        return {"built": sound, "navmesh": EpisodeCheck(str(number), scene, problems)}

    damaged, unreachable = "scene unusable: a.navmesh: is damaged", "goal unreachable: no path"
    checks = [found(n, f"{'ab'[n % 2]}.glb", damaged) for n in range(40)]
    checks += [found(n, "c.glb", unreachable) for n in range(40, 42)]
    assert _problem_lines(checks) == [
        f"40 episodes of 2 scenes, the first a.glb, episode 0 (navmesh surface): {damaged}",
        f"c.glb, episode 40 (navmesh surface): {unreachable}",
        f"c.glb, episode 41 (navmesh surface): {unreachable}",
    ]


@pytest.mark.parametrize(
    "command",
    [["run"], ["bench", "navigation"], ["bench", "throughput"], ["scenes", "export"], ["pretrain", "mini"]],
)
def test_help_says_no_empty_defaults(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    shown = capsys.readouterr().out
    assert "(default: )" not in shown
    assert "None" not in shown
    assert "''" not in shown
    assert "default: False" not in shown
    assert "(default: " in shown, "real defaults stay"
