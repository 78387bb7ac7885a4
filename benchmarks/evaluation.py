"""One policy on one set of episodes: over workers, into a results folder, with videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.folder_lock import locked
from benchmarks.navigation_run import NavigationRun, check_settings, list_jobs, spelled_as
from benchmarks.navigation_runner import UNRECORDED, NavigationRunnerFactory, Recordings
from benchmarks.results import CONFIG_FILE, ResultsFolder, read_config, read_episodes
from benchmarks.workers import Job, Misfortune, Outcome, run_jobs
from policies.loading import policy_weights_sha256
from poma3d.errors import EpisodeError, SettingError
from poma3d.files import check_folder


@dataclass
class Evaluation:
    """What an evaluation came to."""

    folder: Path
    """The results folder."""
    summary: dict[str, Any]
    """What its `summary.json` holds."""
    outcome: Outcome = field(default_factory=Outcome)
    """Episodes that have no record, or took a worker down."""
    unrecorded: list[Misfortune] = field(default_factory=list)
    """Episodes whose video or recording could not be written."""
    already: int = 0
    """Episodes that had been finished before."""


def evaluate(
    run: NavigationRun,
    folder: str | Path,
    *,
    workers: int = 1,
    videos: int = 0,
    recording: bool = False,
    resume: bool = True,
    overwrite: bool = False,
    timeout: float = 600.0,
    on_start: Callable[[int, int], None] = lambda total, done: None,
    on_episode: Callable[[dict[str, Any]], None] = lambda record: None,
    on_misfortune: Callable[[Misfortune], None] = lambda misfortune: None,
) -> Evaluation:
    """Run a policy on every episode that is not finished yet, or whose video or recording is asked for and not there.

    An episode that cannot be run is left out and listed. Whatever ends the run early (Ctrl-C, a full disk),
    the summary of the finished episodes is written before the exception goes on.

    Args:
        run: what to run.
        folder: the results folder.
        workers: processes.
        videos: of how many episodes a video is made, the first ones.
        recording: whether the first episode is recorded in 3D.
        resume: keep the finished episodes of the same settings.
        overwrite: throw away what the folder holds.
        timeout: seconds after which a worker is taken for hung.
        on_start: told how many episodes there are and how many of them are finished.
        on_episode: told of each record.
        on_misfortune: told of each worker that was lost.

    Raises:
        UserError: bad settings, no episode that can be run, a folder of other settings or one that another run
            is writing to, a full disk.
    """
    if videos < 0:
        raise SettingError(f"the number of videos must be at least 0, found {videos}")
    check_folder(folder)
    if not overwrite:
        run = spelled_as(run, read_config(Path(folder) / CONFIG_FILE))
    check_settings(run)
    with locked(folder):
        return _evaluate(
            run,
            ResultsFolder(folder, run.as_config(), resume=resume, overwrite=overwrite),
            videos=videos,
            recording=recording,
            on_start=on_start,
            on_episode=on_episode,
            workers=workers,
            timeout=timeout,
            on_misfortune=on_misfortune,
        )


def _evaluate(
    run: NavigationRun,
    results: ResultsFolder,
    *,
    videos: int,
    recording: bool,
    on_start: Callable[[int, int], None],
    on_episode: Callable[[dict[str, Any]], None],
    **pool: Any,
) -> Evaluation:
    jobs = list_jobs(run)
    finished = results.finished()
    on_start(len(jobs), len(finished))
    recordings = None
    if videos or recording:
        recordings = Recordings(str(results.folder), frozenset(jobs[:videos]), jobs[0] if recording else None)

    again = set() if recordings is None else recordings.missing() & finished
    unrecorded: list[Misfortune] = []

    def keep(job: Job, record: dict[str, Any]) -> None:
        problem = record.pop(UNRECORDED, None)
        if problem is not None:
            unrecorded.append(Misfortune(job, problem))
        if job in again:  # it ran for its video; its record is there
            return
        results.append(record)
        on_episode(record)

    outcome = Outcome()

    def finish() -> dict[str, Any]:
        facts: dict[str, Any] = {
            **misfortunes(outcome),
            "weights_sha256": policy_weights_sha256(run.policy),
        }
        return results.finish(len(jobs), facts)

    try:
        run_jobs(
            NavigationRunnerFactory(run, recordings),
            by_scene([job for job in jobs if job not in finished or job in again]),
            keep,
            outcome=outcome,
            **pool,
        )
        if outcome.refused and not results.records:
            raise EpisodeError(
                f"none of the {len(jobs)} episodes can be run; the first: {outcome.refused[0].reason}"
            )
    except BaseException:
        if read_episodes(results.episodes_path):
            finish()
        else:
            results.abandon()
        raise
    return Evaluation(results.folder, finish(), outcome, unrecorded, already=len(finished))


def by_scene(jobs: Sequence[Job]) -> list[Job]:
    """The jobs with those of a scene together, since a change of scene costs a load."""
    place = {scene: number for number, scene in enumerate(dict.fromkeys(job[0] for job in jobs))}
    return sorted(jobs, key=lambda job: place[job[0]])


def misfortunes(outcome: Outcome) -> dict[str, list[dict[str, str]]]:
    """What a summary says of episodes that went wrong: those ``retried`` and those ``failed``, which have no record."""

    def listed(some: Sequence[Misfortune]) -> list[dict[str, str]]:
        return [{"scene_id": m.job[0], "episode_id": m.job[1], "reason": m.reason} for m in some]

    return {"retried": listed(outcome.retried), "failed": listed([*outcome.refused, *outcome.failed])}
