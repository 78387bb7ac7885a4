"""The results folder: lines whole or absent, resuming, refusing, intervals, a full disk."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from benchmarks.folder_lock import locked
from benchmarks.results import (
    ResultsFolder,
    bootstrap_interval,
    canonical_key,
    config_sha256,
    read_episodes,
    summarize,
)
from benchmarks.tables import fitted, markdown_parts, measures_table, rows_table
from poma3d.errors import FileError, SettingError


def record(episode, **measures):
    return {"episode_id": str(episode), "scene_id": "house.glb", "policy": "oracle", "seed": 0, **measures}


def test_a_run_leaves_episodes_in_canonical_order_and_a_summary(tmp_path):
    results = ResultsFolder(tmp_path / "r", {"policy": "oracle", "seed": 0})
    for episode in (10, 2, 1):
        results.append(
            record(episode, success=True, spl=np.float32(0.5), steps=np.int64(episode), time_s=0.1)
        )
    summary = results.finish(3, {"retried": []})
    lines = (tmp_path / "r" / "episodes.jsonl").read_text().splitlines()
    assert [json.loads(line)["episode_id"] for line in lines] == ["1", "2", "10"]
    assert summary == json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["measures"]["spl"] == {"mean": 0.5, "ci95": [0.5, 0.5], "n": 3}
    assert summary["measures"]["success"]["mean"] == 1.0
    assert set(summary["measures"]) == {"success", "spl", "steps"}
    assert summary["config_sha256"] == config_sha256({"seed": 0, "policy": "oracle"})
    assert {"weights_sha256", "versions", "hardware", "command", "config", "retried"} <= summary.keys()


def test_the_same_settings_go_on_and_others_are_refused(tmp_path):
    ResultsFolder(tmp_path, {"seed": 0}).append(record(3, spl=1.0))
    again = ResultsFolder(tmp_path, {"seed": 0})
    assert again.finished() == {("house.glb", "3")}
    with pytest.raises(SettingError, match=r"seed was 0, is 1.*--overwrite"):
        ResultsFolder(tmp_path, {"seed": 1})
    assert len(read_episodes(tmp_path / "episodes.jsonl")) == 1
    assert not ResultsFolder(tmp_path, {"seed": 0}, resume=False).finished()
    ResultsFolder(tmp_path, {"seed": 0}).append(record(3, spl=1.0))
    assert not ResultsFolder(tmp_path, {"seed": 1}, overwrite=True).finished()
    assert not (tmp_path / "episodes.jsonl").exists()


def test_overwriting_leaves_the_files_of_others_alone(tmp_path):
    ResultsFolder(tmp_path, {"seed": 0})
    (tmp_path / "notes.txt").write_text("mine")
    ResultsFolder(tmp_path, {"seed": 1}, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_line_cut_off_by_a_kill_counts_as_absent(tmp_path):
    results = ResultsFolder(tmp_path, {})
    results.append(record(0, spl=1.0))
    with open(tmp_path / "episodes.jsonl", "a") as stream:
        stream.write('{"episode_id": "1", "scene')
    again = ResultsFolder(tmp_path, {})
    assert again.finished() == {("house.glb", "0")}
    again.append(record(1, spl=0.0))
    assert len(read_episodes(tmp_path / "episodes.jsonl")) == 2


def test_of_two_lines_of_an_episode_the_first_counts(tmp_path):
    results = ResultsFolder(tmp_path, {})
    results.append(record(0, spl=1.0))
    results.append(record(0, spl=0.0))
    assert ResultsFolder(tmp_path, {}).finish(1, {})["measures"]["spl"]["mean"] == 1.0
    assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == 1


def test_one_run_at_a_time_holds_a_folder(tmp_path):
    folder = tmp_path / "r"
    with locked(folder):
        with (
            pytest.raises(SettingError, match=f"another run \\(pid {os.getpid()}\\) is writing"),
            locked(folder),
        ):
            pass
        (folder / "kept").touch()
    with locked(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["kept"]
    with locked(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()


def test_a_lock_does_not_outlive_its_holder(tmp_path):
    code = "import os, sys; from benchmarks.folder_lock import locked\nwith locked(sys.argv[1]): os._exit(9)"
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert died.returncode == 9
    assert (tmp_path / ".lock").exists()
    with locked(tmp_path):
        pass


def test_a_folder_with_a_foreign_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SettingError, match="--overwrite"):
        ResultsFolder(tmp_path, {"seed": 0})
    assert (tmp_path / "config.json").read_text() == "{}"
    ResultsFolder(tmp_path, {"seed": 0}, overwrite=True)


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "episodes.jsonl").write_text('{"episode_id": "0", "scene_id": "s"}\nnonsense\n')
    with pytest.raises(FileError, match="line 2 is not JSON"):
        read_episodes(tmp_path / "episodes.jsonl")
    (tmp_path / "episodes.jsonl").write_text("[1]\n")
    with pytest.raises(FileError, match="line 1 is no episode"):
        read_episodes(tmp_path / "episodes.jsonl")


def test_a_full_disk_keeps_the_finished_lines_and_says_so(tmp_path):
    results = ResultsFolder(tmp_path, {})
    results.append(record(0, spl=1.0))
    size = os.path.getsize(tmp_path / "episodes.jsonl")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
    try:
        with pytest.raises(FileError, match="1 finished before it are kept"):
            results.append(record(1, spl=1.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.path.getsize(tmp_path / "episodes.jsonl") == size
    assert len(read_episodes(tmp_path / "episodes.jsonl")) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file"):
        ResultsFolder(tmp_path / "file" / "r", {})


def test_values_that_are_not_finite_become_null_and_leave_the_mean_alone(tmp_path):
    results = ResultsFolder(tmp_path, {})
    results.append(record(0, distance_to_goal=float("inf")))
    results.append(record(1, distance_to_goal=2.0))
    summary = results.finish(0, {})
    assert summary["measures"]["distance_to_goal"] == {"mean": 2.0, "ci95": [2.0, 2.0], "n": 1}
    assert "Infinity" not in (tmp_path / "episodes.jsonl").read_text()


def test_no_episode_gives_an_empty_summary(tmp_path):
    assert ResultsFolder(tmp_path, {}).finish(0, {})["measures"] == {}


def test_the_interval_is_that_of_the_normal_approximation_and_repeats():
    values = (np.arange(1000) < 300).astype(float)
    low, high = bootstrap_interval(values)
    half = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert low == pytest.approx(0.3 - half, abs=0.004)
    assert high == pytest.approx(0.3 + half, abs=0.004)
    assert bootstrap_interval(values) == (low, high)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        low, high = bootstrap_interval(rng.normal(2.0, 1.0, 60), seed=trial)
        covered += low <= 2.0 <= high
    assert 180 <= covered <= 199


def test_canonical_order_counts_digits_as_numbers():
    ids = ["10", "9", "a2", "a10", "2"]
    ordered = sorted(ids, key=lambda i: canonical_key({"scene_id": "s", "episode_id": i}))
    assert ordered == ["2", "9", "10", "a2", "a10"] or ordered == ["a2", "a10", "2", "9", "10"]
    assert canonical_key({"scene_id": "s2", "episode_id": "9"}) < canonical_key(
        {"scene_id": "s10", "episode_id": "1"}
    )


def test_the_table_shows_each_policy_with_its_interval():
    rows = {"oracle": summarize([record(0, spl=1.0), record(1, spl=0.5)]), "random": {}}
    table = measures_table("t", rows)
    assert [column.header for column in table.columns] == ["policy", "episodes", "spl"]
    oracle, random = table.columns[2].cells
    assert str(oracle).startswith("0.750 [")
    assert random == "-"


@pytest.mark.parametrize("policies", [1, 3, 12])
@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_tables_fit_the_terminal(policies: int, width: int) -> None:
    """No number is folded at 80 columns, however many policies there are, and all of them are there."""
    measures = {
        name: {"mean": 0.123 + k, "ci95": [0.1 + k, 0.2 + k], "n": 50}
        for k, name in enumerate(("success", "spl", "soft_spl", "distance_to_goal", "collisions", "steps"))
    }
    table = fitted(measures_table("pointnav", {f"policy{n}": measures for n in range(policies)}), width)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= width
    for k in range(6):
        assert shown.count(f"{0.123 + k:.3f}") == policies
        assert shown.count(f"[{0.1 + k:.3f}, {0.2 + k:.3f}]") == policies
    assert all(f"policy{n}" in shown for n in range(policies))


def test_markdown_is_fitted_table_by_table() -> None:
    """What a table of the encoders looks like; the empty corner of the second stays a column of its own."""
    lines = [
        "| percent | mini | random |",
        "| --- | ---: | ---: |",
        "| patch mIoU | 15.5 [14.9, 16.1] | - |",
        "",
    ]
    lines += ["Less random:", "", "|  | mini |", "| --- | ---: |", "| patch mIoU | 11.4 |", "", "200 scenes."]
    first, between, second, last = markdown_parts("\n".join(lines))
    assert (between, last) == ("\nLess random:\n", "\n200 scenes.")
    assert not isinstance(first, str)
    assert not isinstance(second, str)
    assert [str(column.header) for column in second.columns] == ["", "mini"]
    assert [list(column.cells) for column in first.columns] == [["patch mIoU"], ["15.5 [14.9, 16.1]"], ["-"]]
    console = Console(width=40, record=True, file=io.StringIO())
    console.print(fitted(first, 40))
    assert "[14.9, 16.1]" in console.export_text()


def test_long_heads_and_labels_fold_before_a_table_becomes_a_list() -> None:
    """Six encoders with intervals at 120 columns: words fold, numbers do not."""
    names = [f"alignment and objective {n}" for n in range(6)]
    rows = [[f"effective rank of patch tokens, row {n}", *["79.2 [77.9, 80.6]"] * 6] for n in range(30)]
    table = fitted(rows_table("", ["percent", *names], rows), 120)
    assert len(table.columns) == 7
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table)
    assert console.export_text().count("[77.9, 80.6]") == 180
