"""Localisation policies side by side on one set of episodes, each beside its parts and its controls.

A worker runs every policy of an episode one after another, so that a scene is loaded, remembered and encoded once
for all of them. Each policy has a results folder of its own (`benchmarks.results`).
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.evaluation import Evaluation, by_scene, misfortunes
from benchmarks.folder_lock import locked
from benchmarks.machine import provenance
from benchmarks.navigation_runner import job_name
from benchmarks.results import ResultsFolder, read_episodes
from benchmarks.workers import Job, Misfortune, Outcome, run_jobs
from envs.scene_digests import scene_digests
from poma3d.errors import EpisodeError, SettingError
from poma3d.files import write_bytes, write_text

if TYPE_CHECKING:
    from agent.backbone import FrozenBackbone
    from policies.localization.policies import LocalizationPolicy

POLICIES = {
    "full": "retrieves by features, registers, moves when unsure",
    "full-random-weights": "the same with a backbone of random weights",
    "registration-moving": "registers to the whole scene, moves when unsure; no features",
    "retrieval-registration": "retrieves and registers one look",
    "registration": "registers one look to the whole scene",
    "retrieval": "the pose of the most alike view",
    "retrieval-random-weights": "the same with a backbone of random weights",
    "chance": "a place where one can stand, any heading",
}
"""The policies and what each does; all but the first are its controls."""
RANDOM_WEIGHTS = "random"
"""What stands in place of weights for the mini encoder as it is before training."""
_SHARED = ("episode_id", "scene_id")


@dataclass(frozen=True)
class LocalizationRun:
    """What decides the numbers of a comparison, and nothing else.

    Raises:
        SettingError: no such policy, one named twice, none at all, or settings that do not go together.
    """

    scene: str | None = None
    """A mesh file or ``procedural:SPLIT[:N]``; None where the episodes name their scenes."""
    episodes: str | int = 200
    """An episode file, or how many to generate."""
    policies: tuple[str, ...] = tuple(POLICIES)
    """Which of `POLICIES`."""
    encoder: str = "poma3d-mini"
    """The backbone: what `poma3d.checkpoints.load_encoder` takes, or `RANDOM_WEIGHTS`."""
    seed: int = 0
    """With an episode's id it decides everything random; also that of memories and random weights."""
    simulator: str = "raycast"
    """Name of the backend."""
    agent: str = "pointnav-gibson"
    """Name of a preset."""
    hfov: float | None = None
    """Horizontal field of view, degrees; None = the agent's own camera."""
    max_steps: int = 100
    """Step limit."""
    memory_views: int = 32
    """Views of a memory."""
    navmesh: str | None = None
    """Habitat's navmesh to walk on; None = a surface built from the mesh."""
    scenes_dir: str | None = None
    """Folder that scene paths in the episode file are looked up in."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.policies if name not in POLICIES]
        if unknown or not self.policies:
            raise SettingError(
                f"unknown localisation policy {unknown[0]!r}; there are {', '.join(POLICIES)}"
                if unknown
                else "no policy to compare was named"
            )
        if len(set(self.policies)) < len(self.policies):
            raise SettingError(f"a localisation policy was named twice: {', '.join(self.policies)}")
        if isinstance(self.episodes, int) and self.episodes < 1:
            raise SettingError(f"at least 1 episode is needed, found {self.episodes}")
        if isinstance(self.episodes, int) and self.scene is None:
            raise SettingError("to generate episodes a scene is needed: name one with --scene")

    def as_config(self, weights_sha256: str) -> dict[str, Any]:
        """The settings as JSON values, with digests of weights, episodes and scenes in place of trust in names."""
        from envs.task_source import open_source

        def no_episode(scene_id: str, index: int) -> Any:
            raise AssertionError("keys are listed without making episodes")

        dataset, find = open_source(self.scene, self.episodes, self.simulator, self.scenes_dir, no_episode)
        config = {name: value for name, value in asdict(self).items() if name not in ("policies", "encoder")}
        config["weights_sha256"] = weights_sha256
        config["scenes"] = scene_digests((key[0] for key in dataset.keys()), find, self.navmesh)  # noqa: SIM118
        return config


def open_backbone(encoder: str, seed: int = 0) -> FrozenBackbone:
    """The frozen backbone of those weights, or of `RANDOM_WEIGHTS` drawn from the seed, on the processor."""
    from agent.backbone import FrozenBackbone
    from poma3d.encoder import PointMapEncoder

    weights = PointMapEncoder("mini", seed=seed) if encoder == RANDOM_WEIGHTS else encoder
    return FrozenBackbone(weights, output="cls", precision="float32", device="cpu")


def make_policies(names: Sequence[str], backbone: FrozenBackbone, seed: int = 0) -> list[LocalizationPolicy]:
    """The policies of those names (`POLICIES`), which share what is known of scenes."""
    from agent.backbone import FrozenBackbone
    from policies.localization.knowledge import KnowledgeShelf
    from policies.localization.policies import ChancePolicy, RetrievalPolicy, SearchPolicy
    from poma3d.encoder import PointMapEncoder

    shelf = KnowledgeShelf()
    untrained = None
    if any(name.endswith("random-weights") for name in names):
        random = PointMapEncoder(backbone.config, seed=seed)
        untrained = FrozenBackbone(random, output="cls", precision="float32", device="cpu")
    made: dict[str, Callable[[str], LocalizationPolicy]] = {
        "full": lambda name: SearchPolicy(shelf, name, backbone, moves=True),
        "full-random-weights": lambda name: SearchPolicy(shelf, name, untrained, moves=True),
        "registration-moving": lambda name: SearchPolicy(shelf, name, None, moves=True),
        "retrieval-registration": lambda name: SearchPolicy(shelf, name, backbone, moves=False),
        "registration": lambda name: SearchPolicy(shelf, name, None, moves=False),
        "retrieval": lambda name: RetrievalPolicy(shelf, backbone, name),
        "retrieval-random-weights": lambda name: RetrievalPolicy(shelf, untrained or backbone, name),
        "chance": lambda name: ChancePolicy(shelf, name),
    }
    return [made[name](name) for name in names]


def make_environment(run: LocalizationRun, size: int, *, render: bool = False) -> Any:
    """The environment of a run, with point maps of ``size`` pixels; scenes are loaded when they are needed."""
    from envs.localization import LocalizationEnv

    return LocalizationEnv(
        run.scene,
        run.episodes,
        simulator=run.simulator,
        agent=run.agent,
        size=size,
        hfov=run.hfov,
        max_steps=run.max_steps,
        memory_views=run.memory_views,
        seed=run.seed,
        navmesh=run.navmesh,
        scenes_dir=run.scenes_dir,
        render_mode="rgb_array" if render else None,
    )


def localize(env: Any, policy: LocalizationPolicy, job: Job, seed: int) -> dict[str, Any]:
    """Run one episode to its end and return its record; wall times in seconds stand under ``time_*``."""
    from agent.rollout import episode_generator

    began = time.perf_counter()
    observation, info = env.reset(options={"scene_id": job[0], "episode_id": job[1]})
    time_reset, time_policy, over = time.perf_counter() - began, 0.0, False
    policy.reset(env.memory, env.agent, episode_generator(seed, job[1]))
    while not over:
        before = time.perf_counter()
        action = policy.act(observation)
        time_policy += time.perf_counter() - before
        observation, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    measures = ("success", "success_coarse", "position_error", "heading_error")
    return {
        **{name: str(info[name]) for name in _SHARED},
        "policy": policy.name,
        "seed": seed,
        "steps": info["num_steps"],
        **{name: info[name] for name in measures},
        "time_reset": time_reset,
        "time_policy": time_policy,
        "time_total": time.perf_counter() - began,
    }


@dataclass(frozen=True)
class LocalizationRunnerFactory:
    """Makes, inside a worker, what runs all policies on an episode."""

    run: LocalizationRun
    """What to run."""
    pictured: frozenset[Job] = frozenset()
    """Episodes of which a picture of every policy is drawn ..."""
    folder: str = ""
    """... into ``POLICY/pictures`` of this folder."""

    def __call__(self) -> LocalizationRunner:
        """Make the environment and the policies in this process."""
        return LocalizationRunner(self)


class LocalizationRunner:
    """Runs all policies on episodes in one process (see `benchmarks.workers.Runner`)."""

    def __init__(self, plan: LocalizationRunnerFactory) -> None:
        import torch

        self._plan = plan
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums of other numbers of threads differ in their last bits
        backbone = open_backbone(plan.run.encoder, plan.run.seed)
        self._policies = make_policies(plan.run.policies, backbone, plan.run.seed)
        self._env = make_environment(plan.run, backbone.image_size, render=bool(plan.pictured))

    def run(self, job: Job) -> dict[str, Any]:
        """The records of one episode, by policy."""
        records = {}
        for policy in self._policies:
            records[policy.name] = localize(self._env, policy, job, self._plan.run.seed)
            if job in self._plan.pictured:
                path = Path(self._plan.folder) / policy.name / "pictures" / f"{job_name(job)}.png"
                write_bytes(path, _png(self._env.render()))
        return records

    def close(self) -> None:
        """Close the environment."""
        import torch

        self._env.close()
        torch.set_num_threads(self._threads)


def _png(picture: Any) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def compare_localization(
    run: LocalizationRun,
    folder: str | Path,
    *,
    workers: int = 1,
    pictures: int = 0,
    resume: bool = True,
    overwrite: bool = False,
    timeout: float = 600.0,
    on_start: Callable[[int, int], None] = lambda total, done: None,
    on_episode: Callable[[dict[str, Any]], None] = lambda record: None,
    on_misfortune: Callable[[Misfortune], None] = lambda misfortune: None,
) -> Evaluation:
    """Run the policies on every episode that is not finished yet.

    Whatever ends the run early, summaries of the finished episodes are written before the exception goes on.

    Args:
        run: what to run.
        folder: holds ``POLICY/`` for each policy and `summary.json` with all rows.
        workers: processes; they change no number.
        pictures: of how many episodes, the first ones, each policy gets a picture from above.
        resume: keep the finished episodes of the same settings.
        overwrite: throw away what the folders hold.
        timeout: seconds after which a worker is taken for hung.
        on_start: told how many episodes there are and how many of them are finished.
        on_episode: told of the first policy's record of each episode.
        on_misfortune: told of each worker that was lost.

    Raises:
        UserError: bad settings, no episode that can be run, folders of other settings or in use, a full disk.
    """
    if pictures < 0:
        raise SettingError(f"the number of pictures must be at least 0, found {pictures}")
    backbone = open_backbone(run.encoder, run.seed)
    env = make_environment(run, backbone.image_size)  # says what is wrong before anything is written
    jobs = by_scene(env.episode_keys())
    env.close()
    config = run.as_config(backbone.weights_sha256)
    with ExitStack() as held:
        results = {}
        for name in run.policies:
            held.enter_context(locked(Path(folder) / name))
            results[name] = ResultsFolder(
                Path(folder) / name, {**config, "policy": name}, resume=resume, overwrite=overwrite
            )
        finished = {name: result.finished() for name, result in results.items()}
        done = set.intersection(*finished.values())
        on_start(len(jobs), len(done & set(jobs)))

        def keep(job: Job, records: dict[str, Any]) -> None:
            for name, record in records.items():
                if job not in finished[name]:
                    results[name].append(record)
            on_episode(records[run.policies[0]])

        outcome = Outcome()

        def finish() -> dict[str, Any]:
            rows = [_row(results[name], len(jobs), outcome, backbone.weights_sha256) for name in run.policies]
            summary = {
                "rows": rows,
                "config": {**config, "policies": list(run.policies), "encoder": run.encoder},
                "weights_sha256": backbone.weights_sha256,
                **provenance(),
            }
            write_text(Path(folder) / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
            return summary

        try:
            run_jobs(
                LocalizationRunnerFactory(run, frozenset(jobs[:pictures]), str(folder)),
                [job for job in jobs if job not in done],
                keep,
                workers=workers,
                timeout=timeout,
                on_misfortune=on_misfortune,
                outcome=outcome,
            )
            if outcome.refused and not any(result.records for result in results.values()):
                raise EpisodeError(
                    f"none of the {len(jobs)} episodes can be run; the first: {outcome.refused[0].reason}"
                )
        except BaseException:
            if all(read_episodes(result.episodes_path) for result in results.values()):
                finish()
            elif not any(read_episodes(result.episodes_path) for result in results.values()):
                for result in results.values():
                    result.abandon()
            raise
        return Evaluation(Path(folder), finish(), outcome)


def _row(results: ResultsFolder, asked: int, outcome: Outcome, weights_sha256: str) -> dict[str, Any]:
    """Write a policy's summary and return its row of the comparison."""
    name = results.folder.name
    medians = {}
    for measure in ("position_error", "heading_error"):
        values = [r[measure] for r in read_episodes(results.episodes_path) if r[measure] is not None]
        medians[measure] = statistics.median(values) if values else None
    facts = {"weights_sha256": weights_sha256, **misfortunes(outcome), "medians": medians}
    summary = results.finish(asked, facts)
    kept = {key: summary[key] for key in ("measures", "medians", "weights_sha256", "retried", "failed")}
    seconds = [record["time_policy"] for record in results.records]
    return {
        "policy": name,
        "control": name != "full",
        **kept,
        "time_policy_s": statistics.fmean(seconds) if seconds else None,
    }
