"""Runs the episodes of a navigation run in one process, with videos and recordings beside the numbers."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.navigation_run import NavigationRun, make_environment
from benchmarks.workers import Job
from policies.loading import open_policy
from poma3d.errors import UserError

UNRECORDED = "unrecorded"
"""Entry of a runner's record that says why its video or recording is missing; it is not kept with the results."""


@dataclass(frozen=True)
class Recordings:
    """What is recorded beside the numbers."""

    folder: str
    """The results folder."""
    video_jobs: frozenset[Job] = frozenset()
    """Episodes that get a video."""
    recorded_job: Job | None = None
    """The episode that goes into `recording.rrd`."""

    def video(self, job: Job) -> Path:
        """Where the video of an episode lies."""
        return Path(self.folder) / "videos" / f"{job_name(job)}.mp4"

    @property
    def recording(self) -> Path:
        """Where the 3D recording lies."""
        return Path(self.folder) / "recording.rrd"

    def missing(self) -> set[Job]:
        """Episodes whose video or recording is not there."""
        jobs = {job for job in self.video_jobs if not self.video(job).exists()}
        return jobs if self.recorded_job is None or self.recording.exists() else {*jobs, self.recorded_job}


@dataclass(frozen=True)
class NavigationRunnerFactory:
    """Makes, inside a worker, what runs episodes of a `NavigationRun`."""

    run: NavigationRun
    """What to run."""
    recordings: Recordings | None = None
    """What to record; None = nothing."""

    def __call__(self) -> NavigationRunner:
        """Make the environment and the policy in this process."""
        return NavigationRunner(self.run, self.recordings)


class NavigationRunner:
    """Runs episodes in one process (see `benchmarks.workers.Runner`)."""

    def __init__(self, run: NavigationRun, recordings: Recordings | None = None) -> None:
        self._run, self._recordings = run, recordings
        self._policy = open_policy(run.policy)
        self._env = make_environment(run, getattr(self._policy, "size", None))

    def run(self, job: Job) -> dict[str, Any]:
        """Run one episode and return its record, with `UNRECORDED` where a video could not be written."""
        from agent.rollout import run_episode

        observers = self._observers(job)
        try:
            record = run_episode(
                self._env,
                self._policy,
                seed=self._run.seed,
                scene_id=job[0],
                episode_id=job[1],
                observers=observers,
            )
        except BaseException:
            for observer in observers:
                observer.discard()
            raise
        problems = [observer.close() for observer in observers]
        if any(problems):
            record[UNRECORDED] = "; ".join(filter(None, problems))
        return record

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _observers(self, job: Job) -> list[Any]:
        if self._recordings is None:
            return []
        from agent.recording import RerunRecorder
        from agent.video import VideoRecorder

        observers: list[Any] = []
        if job in self._recordings.video_jobs:
            observers.append(_Guarded(VideoRecorder(self._recordings.video(job))))
        if job == self._recordings.recorded_job:
            observers.append(_Guarded(RerunRecorder(self._recordings.recording)))
        return observers


class _Guarded:
    """An observer whose files may fail: the episode goes on without it, and `close` says why."""

    def __init__(self, observer: Any) -> None:
        self._observer, self._problem = observer, None

    def begin(self, *told: Any) -> None:
        """See `agent.observer.Observer.begin`."""
        self._try(self._observer.begin, *told)

    def step(self, *told: Any) -> None:
        """See `agent.observer.Observer.step`."""
        self._try(self._observer.step, *told)

    def end(self, *told: Any) -> None:
        """See `agent.observer.Observer.end`."""
        self._try(self._observer.end, *told)

    def close(self) -> str | None:
        """Finish the file; what went wrong with it from its beginning on, None where nothing did."""
        self._try(self._observer.close)
        return self._problem

    def discard(self) -> None:
        """Leave no file behind."""
        self._observer.discard()

    def _try(self, method: Callable[..., None], *told: Any) -> None:
        if self._problem is not None:
            return
        try:
            method(*told)
        except (UserError, OSError) as error:
            self._problem = str(error)
            with contextlib.suppress(UserError, OSError):
                self._observer.discard()


def job_name(job: Job) -> str:
    """A file name for an episode: the scene's name and the episode's id, and what sets it apart from others of both.

    Scenes of one file name lie in folders of several, and letters are left out that not every disk knows; there a
    few digits of a hash come behind.
    """
    scene_id, episode_id = job
    made = scene_id.startswith("procedural:")
    scene = scene_id if made else Path(scene_id).name.split(".")[0]
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{scene}_{episode_id}")
    if made and name == f"{scene_id.replace(':', '-')}_{episode_id}":
        return name
    told = f"{scene_id}\0{episode_id}".encode(errors="surrogateescape")
    return f"{name}-{hashlib.sha256(told).hexdigest()[:6]}"
