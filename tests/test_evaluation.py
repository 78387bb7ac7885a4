"""Evaluating a policy: settings, jobs, recordings, and a crash inside a real environment."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from flat_room import room_episode, room_scene

from benchmarks.evaluation import by_scene, evaluate
from benchmarks.navigation_run import NavigationRun, episode_source, height_and_width, list_jobs
from benchmarks.navigation_runner import NavigationRunnerFactory, job_name
from benchmarks.results import read_episodes
from benchmarks.workers import run_jobs
from envs.episodes import write_episodes
from envs.scenes.houses import GENERATOR_VERSION
from envs.scenes.mesh import save_scene
from policies.loading import open_policy
from poma3d.errors import FileError, SettingError, UserError


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes") / "room.glb"
    save_scene(room_scene(), path)
    return str(path)


def untimed(record):
    return {key: value for key, value in record.items() if not key.startswith("time_")}


class Fatal:
    """A policy that takes its process down in the middle of an episode, once."""

    privileged = False

    def __init__(self, policy, mark):
        self.name, self.reset = policy.name, policy.reset
        self._policy, self._mark, self._steps = policy, mark, 0

    def act(self, observation):
        self._steps += 1
        if self._steps == 25 and not self._mark.exists():
            self._mark.touch()
            os._exit(9)
        return self._policy.act(observation)


@dataclass(frozen=True)
class FatalFactory(NavigationRunnerFactory):
    mark: str = ""

    def __call__(self):
        runner = super().__call__()
        runner._policy = Fatal(runner._policy, Path(self.mark))
        return runner


def test_a_policy_that_crashes_in_a_real_environment_loses_nothing(tmp_path, house):
    run = NavigationRun(house, 5, policy="random", size=(6, 8), max_steps=20)
    jobs = list_jobs(run)
    alone, lines = {}, {}
    run_jobs(NavigationRunnerFactory(run), jobs, lambda job, record: alone.update({job: untimed(record)}))
    mark = tmp_path / "mark"
    outcome = run_jobs(
        FatalFactory(run, mark=str(mark)),
        jobs[::-1],
        lambda job, record: lines.update({job: untimed(record)}),
        workers=2,
    )
    assert mark.exists()
    assert lines == alone
    assert len(lines) == 5
    assert len(outcome.retried) == 1
    assert "exit code 9" in outcome.retried[0].reason


def test_a_bad_episode_keeps_the_finished_ones_and_nothing_is_left_of_a_run_without_any(tmp_path, house):
    run = NavigationRun(house, 3, policy="oracle", size=(6, 8))
    evaluation = evaluate(run, tmp_path / "r")
    assert evaluation.summary["measures"]["success"]["mean"] == 1.0
    assert evaluation.summary["episodes"] == {"asked": 3, "finished": 3}
    with pytest.raises(FileError):
        evaluate(NavigationRun(str(tmp_path / "r" / "summary.json"), 3), tmp_path / "s")
    assert not (tmp_path / "s").exists()
    assert len(read_episodes(tmp_path / "r" / "episodes.jsonl")) == 3


def test_a_finished_run_is_not_run_again(tmp_path, house):
    run = NavigationRun(house, 2, policy="random", size=(6, 8), max_steps=10)
    evaluate(run, tmp_path)
    seen = []
    evaluate(run, tmp_path, on_episode=seen.append)
    assert not seen
    evaluate(run, tmp_path, on_episode=seen.append, resume=False)
    assert len(seen) == 2


@pytest.mark.parametrize("episodes", [3, "val.json.gz"])
def test_another_spelling_of_the_same_paths_is_the_same_run(tmp_path, house, monkeypatch, episodes):
    monkeypatch.chdir(Path(house).parent)
    if isinstance(episodes, str):
        write_episodes(
            episodes, [replace(room_episode(), episode_id=str(n), scene_id=house) for n in range(3)]
        )
    settings = {"policy": "random", "size": (6, 8), "max_steps": 10}
    short = NavigationRun("room.glb", episodes, **settings)
    whole = evaluate(short, tmp_path / "whole")
    evaluate(short, tmp_path / "cut")
    lines = (tmp_path / "cut" / "episodes.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "cut" / "episodes.jsonl").write_text("".join(lines[:2]))
    config = (tmp_path / "cut" / "config.json").read_bytes()

    spelled = episodes if isinstance(episodes, int) else f"../{Path.cwd().name}/{episodes}"
    seen = []
    resumed = evaluate(NavigationRun(house, spelled, **settings), tmp_path / "cut", on_episode=seen.append)
    assert len(seen) == 1
    assert (tmp_path / "cut" / "config.json").read_bytes() == config
    assert resumed.summary["config_sha256"] == whole.summary["config_sha256"]
    both = [read_episodes(tmp_path / name / "episodes.jsonl") for name in ("whole", "cut")]
    assert [untimed(record) for record in both[0]] == [untimed(record) for record in both[1]]


def test_another_scene_or_a_link_to_one_is_another_setting(tmp_path, house):
    evaluate(NavigationRun(house, 1, size=(6, 8), max_steps=2), tmp_path / "out")
    (tmp_path / "copy.glb").symlink_to(house)
    copied = tmp_path / "room.glb"
    copied.write_bytes(Path(house).read_bytes())
    for other in (tmp_path / "copy.glb", copied):
        with pytest.raises(SettingError, match="results of other settings"):
            evaluate(NavigationRun(str(other), 1, size=(6, 8), max_steps=2), tmp_path / "out")
    evaluate(NavigationRun(str(copied), 1, size=(6, 8), max_steps=2), tmp_path / "out", overwrite=True)


def test_settings_that_decide_nothing_do_not_change_the_hash_and_others_do(house):
    run = NavigationRun(house, 5)
    assert run.as_config() == NavigationRun(house, 5, agent="pointnav-gibson").as_config()
    assert run.as_config() != NavigationRun(house, 5, seed=1).as_config()
    assert "workers" not in run.as_config()


def test_generated_episodes_are_listed_without_making_any():
    jobs = list_jobs(NavigationRun("procedural:val:3", 7))
    assert len(jobs) == len(set(jobs)) == 7
    assert len({scene for scene, _ in jobs}) == 3
    grouped = by_scene(jobs)
    assert sorted(grouped) == sorted(jobs)
    scenes = [scene for scene, _ in grouped]
    assert sum(a != b for a, b in itertools.pairwise(scenes)) == 2


def test_what_a_person_writes_is_understood():
    assert episode_source("20") == 20
    assert episode_source("-3") == -3
    assert episode_source("val.json.gz") == "val.json.gz"
    assert height_and_width(()) is None
    assert height_and_width((5,)) == (5, 5)
    assert height_and_width((5, 7)) == (5, 7)
    for bad in ((0,), (1, 2, 3), (4, -1)):
        with pytest.raises(SettingError):
            height_and_width(bad)


def test_names_of_videos_are_readable_and_never_shared():
    assert job_name(("procedural:val:0003", "12")) == "procedural-val-0003_12"
    assert re.fullmatch(r"house_12-[0-9a-f]{6}", job_name(("data/scenes/house.basis.glb", "12")))
    alike = [
        *[(f"{folder}/mesh.glb", "0") for folder in ("scan_a", "scan_b")],
        *[(f"{name}.glb", "0") for name in ("house.v1", "house.v2", "кухня", "спальня", "a b", "a-b")],
        *[("procedural:val:0003", name) for name in ("a/b", "a-b", "a:b")],
    ]
    names = [job_name(job) for job in alike]
    assert len(set(names)) == len(alike)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names)


def test_bad_settings_are_refused():
    for bad in ({"task": "dance"}, {"scene": None}, {"episodes": 0}, {"episodes": -1}):
        with pytest.raises(SettingError):
            NavigationRun(**{"scene": "a.glb", "episodes": 3, **bad})
    with pytest.raises(FileError, match=r"absent\.json\.gz"):
        NavigationRun("a.glb", "absent.json.gz").as_config()


def test_a_changed_scene_is_another_setting(tmp_path):
    path = tmp_path / "room.glb"
    save_scene(room_scene(), path)
    run = NavigationRun(str(path), 2, policy="forward", size=(8, 8), max_steps=2)
    before = run.as_config()
    assert before == run.as_config()
    assert NavigationRun("procedural:val:3", 2).as_config()["scenes"] == {
        "procedural": f"generator {GENERATOR_VERSION}"
    }
    evaluate(run, tmp_path / "r")
    beside = tmp_path / "room.semantics.json"
    beside.write_text(beside.read_text() + " ")
    assert run.as_config() != before
    with pytest.raises(SettingError, match=r"the scene .*room\.glb has changed since"):
        evaluate(run, tmp_path / "r")


def test_a_video_that_cannot_be_written_loses_no_result(tmp_path, house):
    (tmp_path / "videos").write_text("in the way")
    run = NavigationRun(house, 2, policy="forward", size=(8, 8), max_steps=2)
    evaluation = evaluate(run, tmp_path, videos=1)
    assert len(read_episodes(tmp_path / "episodes.jsonl")) == 2
    assert [bad.job[1] for bad in evaluation.unrecorded] == ["0"]
    assert "unrecorded" not in (tmp_path / "episodes.jsonl").read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_policy_of_ones_own_runs(tmp_path, house, workers):
    spec = f"{Path(__file__).parents[1] / 'examples' / 'own_policy.py'}:TowardsGoal"
    run = NavigationRun(house, 2, policy=spec, size=(16, 16), max_steps=5)
    assert len(run.as_config()["policy_sha256"]) == 64
    evaluate(run, tmp_path / "r", workers=workers)
    assert {line["policy"] for line in read_episodes(tmp_path / "r" / "episodes.jsonl")} == {"towards-goal"}


def test_a_policy_that_cannot_be_loaded_is_refused(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name")
    other = tmp_path / "other.py"
    other.write_text("class NoPolicy:\n    def act(self, observation): return 0\n")
    for spec, says in (
        (f"{broken}:Mine", r"broken\.py.*nothing_of_that_name"),
        (f"{tmp_path}/absent.py:Mine", r"absent\.py"),
        (f"{other}:Mine", "no class 'Mine'"),
        (f"{other}:NoPolicy", "lacks reset"),
        ("nothing_of_that_name:Mine", "nothing_of_that_name"),
    ):
        with pytest.raises(UserError, match=says):
            open_policy(spec)


def test_categories_of_pixels_are_for_objectnav():
    with pytest.raises(SettingError, match="objectnav alone"):
        NavigationRun(scene="procedural:val:1", semantic=True)
    assert NavigationRun(scene="procedural:val:1", task="objectnav", semantic=True).semantic
