"""Evaluation over processes: same records from any number of workers, and none lost to a crash or a hang."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.results import ResultsFolder, read_episodes
from benchmarks.workers import MOST_LOST_IN_A_ROW, WorkerError, run_jobs
from poma3d.errors import EpisodeError, FileError, SettingError, UserError

JOBS = [(f"scene_{s}", str(e)) for s in range(3) for e in range(7)]


@dataclass(frozen=True)
class Numbers:
    """A factory of runners whose records depend on the job alone; some jobs do harm, once or always."""

    marks: str
    """Folder of marks that say that a job has done its harm."""
    crash: tuple = ()
    crash_always: tuple = ()
    hang: tuple = ()
    refuse: tuple = ()
    bad_file: tuple = ()
    defect: tuple = ()
    full: tuple = ()

    def __call__(self) -> Numbers:
        return self

    def run(self, job):
        mark = Path(self.marks) / "_".join(job)
        first = not mark.exists()
        if job in self.crash_always or (job in self.crash and first):
            mark.touch()
            os._exit(7)
        if job in self.hang and first:
            mark.touch()
            time.sleep(600)
        if job in self.refuse:
            raise EpisodeError(f"episode {job[1]}: the goal cannot be reached")
        if job in self.bad_file:
            raise FileError("scene.glb", "is damaged")
        if job in self.full:
            raise OSError(errno.ENOSPC, "No space left on device", "cache.nbc")
        if job in self.defect:
            raise ZeroDivisionError("a slip of ours")
        value = int(hashlib.sha256("/".join(job).encode()).hexdigest()[:8], 16) / 2**32
        return {"scene_id": job[0], "episode_id": job[1], "spl": value, "time_s": time.perf_counter()}

    def close(self) -> None:
        pass


def collect(folder, jobs, factory, **settings):
    """Run jobs into a results folder; its lines without their times, and the outcome."""
    results = ResultsFolder(folder, {"a": 1})
    outcome = run_jobs(factory, jobs, lambda job, record: results.append(record), **settings)
    results.finish(0, {})
    lines = read_episodes(folder / "episodes.jsonl")
    return [{k: v for k, v in line.items() if not k.startswith("time_")} for line in lines], outcome


def test_any_number_of_workers_and_any_order_give_the_same_file(tmp_path):
    alone, _ = collect(tmp_path / "1", JOBS, Numbers(str(tmp_path)))
    assert [(line["scene_id"], line["episode_id"]) for line in alone] == JOBS
    shuffled = JOBS[::-2] + JOBS[-2::-2]
    for workers, jobs in ((2, JOBS), (4, shuffled), (1, shuffled)):
        name = tmp_path / f"{workers}{jobs is shuffled}"
        assert collect(name, jobs, Numbers(str(tmp_path)), workers=workers)[0] == alone


def test_a_crashed_worker_is_named_and_its_episode_runs_again_once(tmp_path):
    alone, _ = collect(tmp_path / "1", JOBS, Numbers(str(tmp_path)))
    seen = []
    lines, outcome = collect(
        tmp_path / "2",
        JOBS,
        Numbers(str(tmp_path), crash=(JOBS[3],), crash_always=(JOBS[9],)),
        workers=2,
        on_misfortune=seen.append,
    )
    assert lines == [line for line, job in zip(alone, JOBS, strict=True) if job != JOBS[9]]
    assert {misfortune.job for misfortune in outcome.retried} == {JOBS[3], JOBS[9]}
    assert [misfortune.job for misfortune in outcome.failed] == [JOBS[9]]
    assert "exit code 7" in outcome.failed[0].reason
    assert len(seen) == 3


def test_a_hanging_worker_is_named_and_replaced(tmp_path):
    lines, outcome = collect(
        tmp_path / "r", JOBS[:4], Numbers(str(tmp_path), hang=(JOBS[1],)), workers=2, timeout=8.0
    )
    assert len(lines) == 4
    assert [misfortune.job for misfortune in outcome.retried] == [JOBS[1]]
    assert "did not answer for 8 s" in outcome.retried[0].reason
    assert not outcome.failed


def test_a_run_whose_every_worker_dies_is_given_up(tmp_path):
    with pytest.raises(UserError, match="one after another"):
        collect(tmp_path / "r", JOBS, Numbers(str(tmp_path), crash_always=tuple(JOBS)), workers=2)
    assert 2 * len(JOBS) > MOST_LOST_IN_A_ROW + 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_users_error_ends_the_run_and_keeps_what_was_finished(tmp_path, workers):
    with pytest.raises(UserError, match="is damaged"):
        collect(tmp_path / "r", JOBS, Numbers(str(tmp_path), bad_file=(JOBS[6],)), workers=workers)
    kept = read_episodes(tmp_path / "r" / "episodes.jsonl")
    assert len(kept) >= (6 if workers == 1 else 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_episode_that_cannot_be_run_is_left_out_and_named(tmp_path, workers):
    factory = Numbers(str(tmp_path), refuse=(JOBS[6], JOBS[9]))
    lines, outcome = collect(tmp_path / "r", JOBS, factory, workers=workers)
    assert len(lines) == len(JOBS) - 2
    assert {bad.job for bad in outcome.refused} == {JOBS[6], JOBS[9]}
    assert all("the goal cannot be reached" in bad.reason for bad in outcome.refused)


def test_a_defect_in_a_worker_shows_its_traceback(tmp_path):
    with pytest.raises(WorkerError, match="ZeroDivisionError: a slip of ours"):
        collect(tmp_path / "r", JOBS[:3], Numbers(str(tmp_path), defect=(JOBS[0],)), workers=2)


def test_a_full_disk_in_a_worker_is_no_defect(tmp_path):
    with pytest.raises(UserError, match=r"cache\.nbc cannot be written \(No space left"):
        collect(tmp_path / "r", JOBS[:3], Numbers(str(tmp_path), full=(JOBS[0],)), workers=2)


def test_bad_settings_are_refused(tmp_path):
    for settings in ({"workers": 0}, {"timeout": 0.0}, {"timeout": float("nan")}):
        with pytest.raises(SettingError):
            run_jobs(Numbers(str(tmp_path)), JOBS, lambda job, record: None, **settings)


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_the_workers_and_keeps_what_was_finished(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys, os
            sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
            from test_workers import JOBS, Numbers
            from benchmarks.results import ResultsFolder
            from benchmarks.workers import run_jobs

            if __name__ == "__main__":
                results = ResultsFolder({str(tmp_path / "r")!r}, {{}})
                def keep(job, record):
                    results.append(record)
                    print("done", flush=True)
                try:
                    run_jobs(Numbers({str(tmp_path)!r}, hang=tuple(JOBS[2::7])), JOBS, keep, workers=3)
                except KeyboardInterrupt:
                    sys.exit(130)
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline() == "done\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    assert process.wait(timeout=20) == 130
    assert len(read_episodes(tmp_path / "r" / "episodes.jsonl")) >= 3
    with pytest.raises(ProcessLookupError):  # nobody of the group is left
        _signal_until_gone(process.pid)


def _signal_until_gone(group):
    for _ in range(50):
        os.killpg(group, 0)
        time.sleep(0.1)
