"""One policy on one set of episodes: over workers, into a results folder, with videos."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.folder_lock import locked
from benchmarks.results import ResultsFolder, config_sha256, read_episodes
from benchmarks.scene_digests import scene_digests
from benchmarks.workers import Job, Misfortune, Outcome, run_jobs
from policies.loading import open_policy, policy_label, policy_sha256, policy_weights_sha256
from poma3d.errors import EpisodeError, FileError, SettingError, UserError

TASKS = {"pointnav": "pomagym/PointNav-v0", "objectnav": "pomagym/ObjectNav-v0"}
"""Environment of each task."""
AGENTS = {"pointnav": "pointnav-gibson", "objectnav": "objectnav-hm3d"}
"""The body that the published benchmark of each task uses."""
UNRECORDED = "unrecorded"
"""Entry of a runner's record that says why its video or recording is missing; it is not kept with the results."""


@dataclass(frozen=True)
class NavigationRun:
    """What decides the numbers of a run, and nothing else: its hash is that of the results."""

    scene: str | None = None
    """A mesh file or ``procedural:SPLIT[:N]``; None where the episodes name their scenes."""
    episodes: str | int = 20
    """An episode file, or how many to generate."""
    task: str = "pointnav"
    """One of `TASKS`."""
    policy: str = "oracle"
    """A policy by name, the folder of a trained one, or ``FILE.py:CLASS`` or ``MODULE:CLASS``."""
    seed: int = 0
    """With an episode's id it decides everything random."""
    simulator: str = "raycast"
    """Name of the backend."""
    agent: str | None = None
    """Name of a preset; None = the task's own."""
    frame: str = "agent"
    """Frame of the point maps."""
    size: tuple[int, int] | None = None
    """Rows and columns of the point maps, pixels; None = the agent's own camera."""
    hfov: float | None = None
    """Horizontal field of view, degrees; None = the agent's own camera."""
    max_steps: int | None = None
    """Step limit; None = the agent's own."""
    navmesh: str | None = None
    """Habitat's navmesh to walk on, a file, a folder or ``beside``; None = a surface built from the mesh."""
    scenes_dir: str | None = None
    """Folder that scene paths in the episode file are looked up in."""

    def __post_init__(self) -> None:
        """Refuse what would only fail later."""
        if self.task not in TASKS:
            raise SettingError(f"unknown task {self.task!r}; the tasks are {', '.join(TASKS)}")
        if isinstance(self.episodes, int) and self.episodes < 1:
            raise SettingError(f"at least 1 episode is needed, found {self.episodes}")
        if isinstance(self.episodes, int) and self.scene is None:
            raise SettingError("to generate episodes a scene is needed: name one with --scene")

    def as_config(self) -> dict[str, Any]:
        """The settings as JSON values, with hashes of the files in place of trust in their names."""
        config = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }
        config["agent"] = self.agent or AGENTS[self.task]
        if isinstance(self.episodes, str):
            try:
                config["episodes_sha256"] = hashlib.sha256(Path(self.episodes).read_bytes()).hexdigest()
            except OSError as error:
                raise FileError(
                    self.episodes,
                    f"cannot be read ({error.strerror}); an episode file (.json.gz) or a number was expected",
                ) from None
        if (own := policy_sha256(self.policy)) is not None:
            config["policy_sha256"] = own
        config["scenes"] = _scene_digests(self)
        return config


@dataclass(frozen=True)
class Recordings:
    """What is recorded beside the numbers."""

    folder: str
    """The results folder."""
    video_jobs: frozenset[Job] = frozenset()
    """Episodes that get a video."""
    recorded_job: Job | None = None
    """The episode that goes into `recording.rrd`."""


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

        folder = Path(self._recordings.folder)
        observers: list[Any] = []
        if job in self._recordings.video_jobs:
            observers.append(_Guarded(VideoRecorder(folder / "videos" / f"{job_name(job)}.mp4")))
        if job == self._recordings.recorded_job:
            observers.append(_Guarded(RerunRecorder(folder / "recording.rrd")))
        return observers


class _Guarded:
    """An observer whose files may fail: the episode goes on without it, and `close` says why."""

    def __init__(self, observer: Any) -> None:
        self._observer, self._problem = observer, None

    def begin(self, *told: Any) -> None:
        self._try(self._observer.begin, *told)

    def step(self, *told: Any) -> None:
        self._try(self._observer.step, *told)

    def end(self, *told: Any) -> None:
        self._try(self._observer.end, *told)

    def close(self) -> str | None:
        self._try(self._observer.close)
        return self._problem

    def discard(self) -> None:
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


def make_environment(run: NavigationRun, size: int | None = None) -> Any:
    """The environment of a run; scenes are loaded when an episode needs them.

    ``size`` is what the policy wants of its point maps, pixels; what the run says comes first.
    """
    import gymnasium

    import envs  # noqa: F401  (makes the names of the environments known)

    return gymnasium.make(
        TASKS[run.task],
        scene=run.scene,
        episodes=run.episodes,
        simulator=run.simulator,
        agent=run.agent or AGENTS[run.task],
        frame=run.frame,
        size=run.size or size,
        hfov=run.hfov,
        max_steps=run.max_steps,
        navmesh=run.navmesh,
        scenes_dir=run.scenes_dir,
        seed=run.seed,
        render_mode="rgb_array",
        disable_env_checker=True,
    )


def default_folder(run: NavigationRun) -> Path:
    """Where results go unless a person says otherwise: settings of their own have a folder of their own."""
    return Path("results") / f"{run.task}-{policy_label(run.policy)}-{config_sha256(run.as_config())[:8]}"


def episode_source(text: str) -> str | int:
    """What a person wrote for episodes: a number of them, else the path of a file."""
    return int(text) if text.lstrip("+-").isdigit() else text


def height_and_width(size: Sequence[int]) -> tuple[int, int] | None:
    """What a person wrote for a size, (), (N,) or (H, W), as (H, W).

    Raises:
        SettingError: more numbers, or a size below 1.
    """
    if not size:
        return None
    if len(size) > 2 or min(size) < 1:
        raise SettingError(f"a size is one number or rows and columns, each at least 1, found {tuple(size)}")
    return size[0], size[-1]


def job_name(job: Job) -> str:
    """A file name for an episode: the scene's name and the episode's id."""
    scene = job[0] if job[0].startswith("procedural:") else Path(job[0]).name.split(".")[0]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{scene}_{job[1]}")


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
    """Run a policy on every episode that is not finished yet.

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

    unrecorded: list[Misfortune] = []

    def keep(job: Job, record: dict[str, Any]) -> None:
        problem = record.pop(UNRECORDED, None)
        if problem is not None:
            unrecorded.append(Misfortune(job, problem))
        results.append(record)
        on_episode(record)

    outcome = Outcome()

    def finish() -> dict[str, Any]:
        facts: dict[str, Any] = {
            "retried": _listed(outcome.retried),
            "failed": _listed([*outcome.refused, *outcome.failed]),
            "weights_sha256": policy_weights_sha256(run.policy),
        }
        return results.finish(len(jobs), facts)

    try:
        run_jobs(
            NavigationRunnerFactory(run, recordings),
            by_scene([job for job in jobs if job not in finished]),
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
    return Evaluation(results.folder, finish(), outcome, unrecorded)


def check_settings(run: NavigationRun) -> None:
    """Refuse bad settings before anything is written or a worker is started."""
    if run.scenes_dir is not None and not Path(run.scenes_dir).is_dir():
        raise SettingError(f"the folder of scenes, {run.scenes_dir}, is not there (--scenes-dir)")
    open_policy(run.policy)
    make_environment(run).close()


def by_scene(jobs: Sequence[Job]) -> list[Job]:
    """The jobs with those of a scene together, since a change of scene costs a load."""
    place = {scene: number for number, scene in enumerate(dict.fromkeys(job[0] for job in jobs))}
    return sorted(jobs, key=lambda job: place[job[0]])


def list_jobs(run: NavigationRun) -> list[Job]:
    """The episodes of a run, in the order of their set."""
    return list(_open_source(run)[0].keys())


def _open_source(run: NavigationRun) -> tuple[Any, Callable[[str], Any]]:
    from envs.task_source import open_source

    def no_episode(scene_id: str, index: int) -> Any:
        raise AssertionError("keys are listed without making episodes")

    return open_source(run.scene, run.episodes, run.simulator, run.scenes_dir, no_episode)


def _scene_digests(run: NavigationRun) -> dict[str, str | None]:
    dataset, find = _open_source(run)
    return scene_digests((job[0] for job in dataset.keys()), find, run.navmesh)  # noqa: SIM118


def _listed(misfortunes: Sequence[Misfortune]) -> list[dict[str, str]]:
    return [{"scene_id": m.job[0], "episode_id": m.job[1], "reason": m.reason} for m in misfortunes]
