"""The command line: every command does its work on tiny settings and says what it did."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import TINY, finish, refuse, room_episodes, room_file, untimed


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return room_file(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="module")
def episodes(house):
    return room_episodes(house)


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
    code, text, err = finish(capfd, line)  # again: nothing is left to do
    assert code == 0
    assert "6 of 6 episodes" in err
    assert "--no-resume" in err
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


def test_a_run_films_and_records_its_first_episode(capfd, tmp_path, house, episodes):
    line = ["run", "--scene", house, "--episodes", episodes, "--policy", "forward", "--out", tmp_path]
    code, _, err = finish(
        capfd, [*line, "--size", "24", "32", "--max-steps", "5", "--videos", "1", "--recording"]
    )
    assert code == 0, err
    [video] = (tmp_path / "videos").iterdir()
    assert video.match("room_0-*.mp4")
    assert video.stat().st_size > 1000
    assert (tmp_path / "recording.rrd").stat().st_size > 1000


def test_videos_that_are_asked_for_later_are_made_and_change_no_record(capfd, tmp_path, house, episodes):
    line = ["run", "--scene", house, "--episodes", episodes, "--policy", "random", "--out", tmp_path, *TINY]
    assert finish(capfd, line)[0] == 0
    before = (tmp_path / "episodes.jsonl").read_bytes()
    code, _, err = finish(capfd, [*line, "--videos", "2", "--recording"])
    assert code == 0, err
    assert [path.name[:6] for path in sorted((tmp_path / "videos").iterdir())] == ["room_0", "room_1"]
    assert (tmp_path / "recording.rrd").is_file()
    assert (tmp_path / "episodes.jsonl").read_bytes() == before


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_a_policy_prints_is_not_among_the_results(capfd, tmp_path, house, episodes, workers):
    own = tmp_path / "own.py"
    own.write_text(
        "class Talks:\n"
        "    def __init__(self):\n        print('made')\n"
        "    def reset(self, env, rng):\n        print('reset')\n"
        "    def act(self, observation):\n        print('act')\n        return 0\n"
    )
    line = ["run", "--scene", house, "--episodes", episodes, "--policy", f"{own}:Talks", "--workers", workers]
    code, text, err = finish(capfd, [*line, "--out", tmp_path / "r", *TINY, "--json"])
    assert code == 0, err
    assert json.loads(text)["measures"]["success"]["n"] == 6
    assert {"made", "reset", "act"} <= set(err.split())


def test_a_comparison_has_every_control(capfd, tmp_path, house, episodes):
    line = ["bench", "navigation", "--scene", house, "--episodes", episodes, "--out", tmp_path, *TINY]
    code, text, _ = finish(capfd, [*line, "--policies", "random", "--json"])
    assert code == 0
    rows = json.loads(text)["rows"]
    assert [row["policy"] for row in rows] == ["random", "oracle", "forward"]
    assert all(row["measures"]["spl"]["n"] == 6 for row in rows)
    assert (tmp_path / "oracle" / "episodes.jsonl").is_file()


def test_two_policies_of_one_class_name_are_told_apart(capfd, tmp_path, house, episodes):
    for number, action in enumerate((0, 1)):
        folder = tmp_path / f"idea{number}"
        folder.mkdir()
        (folder / "own.py").write_text(
            "class Mine:\n    def reset(self, env, rng):\n        pass\n"
            f"    def act(self, observation):\n        return {action}\n"
        )
    first, second = (f"{tmp_path}/idea{number}/own.py:Mine" for number in (0, 1))
    line = ["bench", "navigation", "--scene", house, "--episodes", episodes, "--out", tmp_path / "r", *TINY]
    assert "give one another: NAME=" in refuse(capfd, [*line, "--policies", first, second])
    only = [*line[:-7], "--out", tmp_path / "one", *TINY]
    assert finish(capfd, [*only, "--policies", f"stands={first}"])[0] == 0
    assert (tmp_path / "one" / "stands").is_dir()
    assert (tmp_path / "one" / "summary.json").is_file()
    code, text, err = finish(capfd, [*line, "--policies", first, f"walks={second}", "--json"])
    assert code == 0, err
    rows = {row["policy"]: row["measures"]["steps"]["mean"] for row in json.loads(text)["rows"]}
    assert list(rows) == ["Mine", "walks", "oracle", "random", "forward"]
    assert rows["Mine"] == 1
    assert rows["walks"] == rows["forward"] > 1
    assert (tmp_path / "r" / "walks" / "episodes.jsonl").is_file()


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


def test_the_doctor_wants_the_pythons_that_the_project_does(monkeypatch):
    from pomagym import doctor

    root = Path(__file__).parents[1]
    ranges = [
        re.search(
            r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (root / where / "pyproject.toml").read_text()
        ).groups()
        for where in (".", "poma3d")
    ]
    assert ranges[0] == ranges[1]
    first, after = map(int, ranges[0])
    assert f"Python 3.{first} to 3.{after - 1} on Linux" in (root / "README.md").read_text()
    for minor in range(first - 2, after + 2):
        monkeypatch.setattr(doctor.sys, "version_info", (3, minor, 0))
        if first <= minor < after:
            assert doctor._python()
        else:
            with pytest.raises(doctor._BrokenError, match=f"3.{first} to 3.{after - 1} is needed"):
                doctor._python()


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
