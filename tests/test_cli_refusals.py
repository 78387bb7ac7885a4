"""Bad input on the command line ends in one line that says what is wrong, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import refuse, room_file


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
        (["bench", "navigation", "--policies", "oracle=planner"], "oracle is the name of a control"),
        (["bench", "navigation", "--policies", "a/b=random"], "'a/b' of 'a/b=random' is no name for a row"),
        (["bench", "navigation", "--policies", "summary.json=random"], "no name for a row"),
        (["bench", "navigation", "--policies", "a="], "names no policy"),
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
    "line",
    [
        ["run", "--scene", "procedural:val:1"],
        ["bench", "navigation", "--scene", "procedural:val:1"],
        ["bench", "localization", "--scene", "procedural:val:1"],
        ["train", "--scene", "procedural:train:2"],
        ["scenes", "export", "procedural:val:1"],
        ["bench", "encoder", "--validation", "."],
        ["bench", "retrieval", "--scenes", "."],
    ],
    ids=lambda line: " ".join(line[:2]),
)
def test_a_file_where_a_folder_is_needed_is_named_before_any_work(capfd, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text("precious")
    out = "mine/found.json" if "retrieval" in line else "mine"
    assert "mine: is no folder; one is needed there" in refuse(capfd, [*line, "--out", out])
    assert (tmp_path / "mine").read_text() == "precious"


def test_damaged_files_are_named(capfd, tmp_path):
    mesh = tmp_path / "cut.glb"
    mesh.write_bytes(Path(room_file(tmp_path)).read_bytes()[:200])
    assert "cut.glb" in refuse(capfd, ["run", "--scene", mesh, "--episodes", "2", "--out", tmp_path / "r"])
    packed = tmp_path / "plain.json.gz"
    packed.write_text("{}")
    assert "gzip" in refuse(capfd, ["run", "--episodes", packed, "--out", tmp_path / "r"])
    assert not (tmp_path / "r").exists()


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
