"""`pomagym run`: run navigation episodes with a policy; writes results, video, 3D recording."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.navigation_run import NavigationRun


@dataclass(frozen=True)
class Config:
    """Run navigation episodes with a policy and score them with Habitat's measures.

    Writes a results folder: episodes.jsonl (a line an episode), summary.json (means with 95 % intervals),
    videos, recording.rrd. A run that was stopped goes on where it was when the same command is given again.

    For example:

        pomagym run --scene procedural:val:5 --episodes 20 --policy oracle --videos 3
        pomagym run --scene house.glb --episodes val.json.gz --policy random --workers 4
        pomagym run --policy examples/own_policy.py:TowardsGoal --episodes 20
        pomagym run --task objectnav --episodes val.json.gz --scenes-dir data/scene_datasets --json
    """

    scene: str | None = None
    """A mesh file (.glb, .gltf, .obj, .ply), or procedural:SPLIT[:N] for the first N houses of train, val or
    test; not needed where an episode file names its scenes. Without both: procedural:val:5."""
    episodes: str = "20"
    """An episode file of Habitat's (.json.gz), or how many episodes to generate, over all scenes together."""
    task: str = "pointnav"
    """pointnav (go to a point) or objectnav (find an object of a category)."""
    policy: str = "oracle"
    """oracle (knows the shortest path), planner (maps what it sees and plans on it), random, forward, or a
    class of your own with reset and act: FILE.py:CLASS or MODULE:CLASS, such as
    examples/own_policy.py:TowardsGoal."""
    simulator: str = "raycast"
    """raycast (built in) or habitat (real Habitat, where it is installed)."""
    workers: int = 1
    """Processes that run episodes; results are the same from any number."""
    seed: int = 0
    """Whole number that decides, with an episode's id, everything random."""
    out: Path | None = None
    """Results folder; default results/TASK-POLICY-HASH with a hash of the settings."""
    json: bool = False
    """Print what summary.json holds, alone on standard output."""
    videos: int = 0
    """Of how many episodes a video is made, the first ones."""
    recording: bool = False
    """Record the first episode in 3D for the rerun viewer (recording.rrd)."""
    agent: str | None = None
    """The body, pointnav-gibson or objectnav-hm3d; default: that of the task's published benchmark."""
    frame: str = "agent"
    """Frame of the point maps: world, scene, episode, agent or camera."""
    size: tuple[int, ...] = ()
    """Rows and columns of the point maps, or one number for a square, pixels; default: the agent's own."""
    hfov: float | None = None
    """Horizontal field of view, degrees; default: the agent's own."""
    max_steps: int | None = None
    """Most steps of an episode; default: the agent's own (500)."""
    navmesh: str | None = None
    """Habitat's navmesh to walk on: a .navmesh file, a folder that holds NAME.navmesh for each scene, or
    beside for those beside the scenes; default: a surface is built from each mesh."""
    scenes_dir: Path | None = None
    """Folder below which the scenes named in an episode file lie, such as data/scene_datasets."""
    semantic: bool = False
    """In ObjectNav, also observe which category each pixel shows, as a perfect recogniser would tell."""
    resume: bool = True
    """Keep the finished episodes of the same settings in the results folder; with --no-resume they are
    thrown away and run again."""
    overwrite: bool = False
    """Throw away results of other settings in the results folder."""
    timeout: float = 600.0
    """Seconds after which a worker that is still at one episode is taken for hung and replaced."""


def execute(config: Config) -> int:
    """Run the episodes, show the progress, print the table or the summary."""
    from benchmarks.evaluation import evaluate
    from benchmarks.navigation_run import default_folder
    from benchmarks.tables import measures_table, print_table
    from policies.loading import policy_label
    from pomagym.progress import EpisodeBar

    run = _navigation_run(config)
    folder = config.out or default_folder(run)
    with EpisodeBar(f"{run.task} {policy_label(run.policy)}") as shown:
        evaluation = evaluate(
            run,
            folder,
            workers=config.workers,
            videos=config.videos,
            recording=config.recording,
            resume=config.resume,
            overwrite=config.overwrite,
            timeout=config.timeout,
            on_start=shown.start,
            on_episode=shown.episode,
            on_misfortune=shown.misfortune,
        )
    shown.left_out(evaluation)
    summary = evaluation.summary
    if config.json:
        print(json.dumps(summary, indent=2, allow_nan=False))
    else:
        table = measures_table(
            f"{run.task} on {run.scene or run.episodes}", {policy_label(run.policy): summary["measures"]}
        )
        print_table(table)
    print(f"results: {folder} (pomagym view {shlex.quote(str(folder))})", file=sys.stderr)
    if evaluation.outcome.refused or evaluation.unrecorded:
        return 2
    return 1 if evaluation.outcome.failed else 0


def _navigation_run(config: Config) -> NavigationRun:
    """The settings that decide the numbers."""
    from benchmarks.navigation_run import NavigationRun, episode_source, height_and_width

    episodes = episode_source(config.episodes)
    scene = config.scene
    if scene is None and isinstance(episodes, int):
        scene = "procedural:val:5"
    return NavigationRun(
        scene=scene,
        episodes=episodes,
        task=config.task,
        policy=config.policy,
        seed=config.seed,
        simulator=config.simulator,
        agent=config.agent,
        frame=config.frame,
        size=height_and_width(config.size),
        hfov=config.hfov,
        max_steps=config.max_steps,
        navmesh=config.navmesh,
        scenes_dir=None if config.scenes_dir is None else str(config.scenes_dir),
        semantic=config.semantic,
    )
