"""Evaluation over worker processes that may crash or hang: their episodes run again once, nothing is lost.

Workers are spawned, never forked (numba, Embree and torch hold threads), and each takes one job at a time
from the parent, which alone writes results. A job is a (scene_id, episode_id) pair; what comes of it depends
on nothing else, so the schedule (jobs of a scene stay with a worker that has it loaded) changes no result.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any, Protocol

from benchmarks.machine import cores
from poma3d.errors import EpisodeError, SettingError, UserError
from poma3d.files import DISK_FULL
from poma3d.warning_lines import warning_lines

Job = tuple[str, str]
"""(scene_id, episode_id) of one episode."""

THREAD_VARIABLES = (
    "POMAGYM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)
"""What tells the ray caster and numeric libraries how many threads to start."""


class Runner(Protocol):
    """Runs jobs in one process; made there by a `RunnerFactory`."""

    def run(self, job: Job) -> dict[str, Any]:
        """Run one episode and return its record."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


RunnerFactory = Callable[[], Runner]
"""Picklable: makes a runner inside a worker."""


@dataclass(frozen=True)
class Misfortune:
    """An episode that could not be run, or that took its worker down."""

    job: Job
    """Which episode."""
    reason: str
    """What happened, in words."""


@dataclass
class Outcome:
    """What became of the jobs beside their records."""

    retried: list[Misfortune] = field(default_factory=list)
    """Episodes that took a worker down once and were run again."""
    failed: list[Misfortune] = field(default_factory=list)
    """Episodes that took a worker down twice; they have no record."""
    refused: list[Misfortune] = field(default_factory=list)
    """Episodes that cannot be run (`poma3d.errors.EpisodeError`); they have no record either."""


MOST_LOST_IN_A_ROW = 6
"""Workers lost one after another, with no episode finished between, before the run is given up; one more for each
worker, since all may die of one cause at once."""


class WorkerError(RuntimeError):
    """An exception that is a defect, raised inside a worker; the message holds the worker's traceback."""


def run_jobs(
    factory: RunnerFactory,
    jobs: Sequence[Job],
    on_record: Callable[[Job, dict[str, Any]], None],
    *,
    workers: int = 1,
    timeout: float = 600.0,
    on_misfortune: Callable[[Misfortune], None] = lambda misfortune: None,
    outcome: Outcome | None = None,
) -> Outcome:
    """Run every job; ``on_record`` is called in this process as each finishes, in no promised order.

    Args:
        factory: makes the runner of a worker; must be picklable where ``workers`` is above 1.
        jobs: what to run.
        on_record: told of every finished job and its record.
        workers: processes; 1 runs the jobs in this process, where a crash or a hang is not survived.
        timeout: seconds after which a worker that is still at one job (loading its scene included) is taken
            for hung and ended.
        on_misfortune: told of every worker that was lost.
        outcome: filled as the run goes on, so that it is there after an exception too; None makes one.

    Returns:
        The jobs that were run again, and those that failed twice.

    Raises:
        UserError: as a job raised it, or because one worker after another is lost; jobs that finished before
            were reported.
        WorkerError: a job raised anything else.
        KeyboardInterrupt: Ctrl-C; the workers are ended first.
    """
    if workers < 1:
        raise SettingError(f"workers must be at least 1, found {workers}")
    if not timeout > 0:
        raise SettingError(f"timeout must be above 0 seconds, found {timeout}")
    outcome = Outcome() if outcome is None else outcome
    if workers == 1:
        runner = None
        try:
            for job in jobs:
                runner = runner or factory()
                try:
                    record = runner.run(job)
                except EpisodeError as error:
                    outcome.refused.append(Misfortune(job, str(error)))
                    continue
                on_record(job, record)
        finally:
            if runner is not None:
                runner.close()
        return outcome
    pool = _Pool(factory, jobs, min(workers, len(jobs)), timeout, on_misfortune, outcome)
    try:
        for job, record in pool.results():
            on_record(job, record)
    finally:
        pool.end()
    return outcome


class _Worker:
    """One process and our end of its pipe."""

    def __init__(self, number: int, factory: RunnerFactory, threads: int) -> None:
        self.number = number
        self.job: Job | None = None
        self.scene: str | None = None
        self.since = time.monotonic()
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_work, args=(theirs, factory), name=f"pomagym-worker-{number}", daemon=True
        )
        with _inherited(threads):
            self.process.start()
        theirs.close()

    def give(self, job: Job) -> None:
        """Send it a job, which it must be free for."""
        self.job, self.scene, self.since = job, job[0], time.monotonic()
        with contextlib.suppress(OSError):  # it died while idle: the pool sees that next
            self.pipe.send(job)

    def end(self, *, patience: float) -> None:
        """Ask it to stop, then insist."""
        with contextlib.suppress(OSError):
            self.pipe.send(None)
        self.process.join(patience)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(1.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


class _Pool:
    """The workers, the jobs that wait, and which worker gets which."""

    def __init__(
        self,
        factory: RunnerFactory,
        jobs: Sequence[Job],
        workers: int,
        timeout: float,
        on_misfortune: Callable[[Misfortune], None],
        outcome: Outcome,
    ) -> None:
        self.outcome = outcome
        self._factory, self._timeout, self._on_misfortune = factory, timeout, on_misfortune
        self._threads = max(1, cores() // max(1, workers))
        self._waiting: dict[str, deque[Job]] = {}
        for job in jobs:
            self._waiting.setdefault(job[0], deque()).append(job)
        self._left = len(jobs)
        self._lost_in_a_row = 0
        self._workers = [_Worker(number, factory, self._threads) for number in range(workers)]

    def results(self) -> Iterator[tuple[Job, dict[str, Any]]]:
        """Every job that has a record with that record, as they finish; `run_jobs` says what else may happen."""
        for worker in self._workers:
            self._feed(worker)
        while self._left:
            busy = [worker for worker in self._workers if worker.job is not None]
            patience = min(worker.since for worker in busy) + self._timeout - time.monotonic()
            ready = connection.wait([worker.pipe for worker in busy], timeout=max(0.0, patience))
            for worker in busy:
                if worker.pipe in ready:
                    yield from self._listen(worker)
                elif time.monotonic() - worker.since > self._timeout:
                    self._replace(worker, f"did not answer for {self._timeout:g} s and was ended")

    def end(self) -> None:
        """End every worker; those that are still at a job at once."""
        for worker in self._workers:
            worker.end(patience=0.0 if worker.job is not None else 2.0)

    def _feed(self, worker: _Worker) -> None:
        """Give a worker its next job: of the scene it has, else of a scene that nobody is at, else any."""
        worker.job = None
        if not self._waiting:
            return
        taken = {other.scene for other in self._workers if other is not worker and other.job is not None}
        free = [scene for scene in self._waiting if scene not in taken]
        most = max(free or self._waiting, key=lambda scene: len(self._waiting[scene]))
        scene = worker.scene if worker.scene in self._waiting else most
        queue = self._waiting[scene]
        worker.give(queue.popleft())
        if not queue:
            del self._waiting[scene]

    def _listen(self, worker: _Worker) -> Iterator[tuple[Job, dict[str, Any]]]:
        assert worker.job is not None
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(5.0)
            self._replace(worker, f"died ({_cause(worker.process.exitcode)})")
            return
        if kind == "user":
            raise content
        if kind == "defect":
            raise WorkerError(
                f"episode {worker.job[1]} of {worker.job[0]} failed in worker {worker.number}:\n{content}"
            )
        job = worker.job
        self._left -= 1
        self._lost_in_a_row = 0
        self._feed(worker)
        if kind == "refused":
            self.outcome.refused.append(Misfortune(job, content))
        else:
            yield job, content

    def _replace(self, worker: _Worker, reason: str) -> None:
        """Put a new worker in the place of one that is lost, and its job back in line, once."""
        assert worker.job is not None
        job = worker.job
        misfortune = Misfortune(job, f"worker {worker.number} {reason}")
        worker.end(patience=0.0)
        if any(earlier.job == job for earlier in self.outcome.retried):
            self.outcome.failed.append(misfortune)
            self._left -= 1
        else:
            self.outcome.retried.append(misfortune)
            self._waiting.setdefault(job[0], deque()).appendleft(job)
        self._on_misfortune(misfortune)
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= MOST_LOST_IN_A_ROW + len(self._workers):
            raise UserError(
                f"{self._lost_in_a_row} workers were lost one after another, the last at episode {job[1]} of"
                f" {job[0]}: it {reason}; see why with --workers 1, or give it more memory or --timeout"
            )
        number = 1 + max(other.number for other in self._workers)
        successor = _Worker(number, self._factory, self._threads)
        self._workers[self._workers.index(worker)] = successor
        self._feed(successor)


@warning_lines()
def _work(pipe: connection.Connection, factory: RunnerFactory) -> None:
    """The life of a worker: jobs in, (kind, content) out, until it is told None or the pipe closes.

    Kinds: "record" with a record, "refused" with why an episode cannot be run,
    "user" with a `UserError`, "defect" with a traceback as text.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    sys.stdout = sys.stderr  # what a policy prints must not stand among the results
    runner = None
    try:
        while True:
            job = pipe.recv()
            if job is None:
                return
            try:
                runner = runner or factory()
                answer = ("record", runner.run(job))
            except EpisodeError as error:
                answer = ("refused", str(error))
            except UserError as error:
                answer = ("user", UserError(str(error)))  # the subclass may not survive pickling
            except Exception as error:
                if isinstance(error, OSError) and error.errno in DISK_FULL:
                    full = f"{error.filename or 'a file'} cannot be written ({error.strerror}); make room and go on"
                    answer = ("user", UserError(full))
                else:
                    answer = ("defect", traceback.format_exc())
            pipe.send(answer)
    except (EOFError, OSError):  # the parent is gone: nobody is left to answer
        return
    finally:
        if runner is not None:
            runner.close()


@contextlib.contextmanager
def _inherited(threads: int) -> Iterator[None]:
    """While a worker is started: what it is to find in its environment, and Ctrl-C ignored from its birth."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main_thread else None
    try:
        os.environ.update({name: str(threads) for name in THREAD_VARIABLES})
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if main_thread:
            signal.signal(signal.SIGINT, handler)


def _cause(code: int | None) -> str:
    """An exit code in words."""
    if code is None:
        return "it closed its pipe"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
