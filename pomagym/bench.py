"""`pomagym bench`: policies beside their controls, and how fast it all is."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pomagym.bench_encoder import Encoder, encoder
from pomagym.bench_encoding import Encoding, encoding
from pomagym.bench_localization import Localization, localization
from pomagym.bench_msnn import Msnn, msnn
from pomagym.bench_qa import Qa, question_answering
from pomagym.bench_retrieval import Retrieval, retrieval

if TYPE_CHECKING:
    from benchmarks.evaluation import Evaluation


@dataclass(frozen=True)
class Navigation:
    """Run policies on one set of episodes and print one table, with 95 % intervals and the controls.

    The controls oracle (what the episodes allow at best), random and forward are always among the rows.

    For example:

        pomagym bench navigation --scene procedural:val:20 --episodes 200 --workers 2
        pomagym bench navigation --scene house.glb --episodes val.json.gz --json
    """

    scene: str | None = None
    """A mesh file, or procedural:SPLIT[:N] for the first N houses; the default for generated episodes is
    procedural:val:20."""
    episodes: str = "100"
    """An episode file of Habitat's (.json.gz), or how many episodes to generate, over all scenes together."""
    task: str = "pointnav"
    """pointnav or objectnav."""
    policies: tuple[str, ...] = ("oracle", "random", "forward")
    """The policies to compare: names, or FILE.py:CLASS or MODULE:CLASS for classes of your own."""
    simulator: str = "raycast"
    """raycast (built in) or habitat (real Habitat, where it is installed)."""
    workers: int = 1
    """Processes that run episodes; results are the same from any number."""
    seed: int = 0
    """Whole number that decides, with an episode's id, everything random."""
    out: Path | None = None
    """Folder that gets a results folder for each policy; default results/navigation-HASH."""
    videos: int = 0
    """Of how many episodes a video is made with each policy, the first ones."""
    json: bool = False
    """Print the comparison as JSON, alone on standard output."""
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
    """Folder below which the scenes named in an episode file lie."""
    resume: bool = True
    """Keep the finished episodes of the same settings; with --no-resume they are thrown away and run again."""
    overwrite: bool = False
    """Throw away results of other settings in the folder."""
    timeout: float = 600.0
    """Seconds after which a worker that is still at one episode is taken for hung and replaced."""


@dataclass(frozen=True)
class Throughput:
    """Measure point maps and environment steps a second, each scene in a process of its own.

    Rows: render = point maps a second in batches of 16, render_batch_1 = one at a time, step = whole
    PointNav-v0 steps with observation. Peak memory is that of the scene's process, loading included.

    For example:

        pomagym bench throughput --scene house.glb --size 224
        pomagym bench throughput --scene house.glb --subdivide-to 700000 --json
    """

    scene: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A mesh file or procedural:SPLIT[:N] for the first N houses, procedural:SPLIT:000N for house N; may be
    given several times. Default: procedural:val:0000."""
    size: int = 224
    """Rows and columns of the point maps, pixels."""
    batch: tuple[int, ...] = (16, 1)
    """Poses that one call renders; a row for each."""
    subdivide_to: int = 0
    """Split the largest triangles until there are at least this many; 0 leaves the mesh as it is."""
    seconds: float = 1.0
    """Least duration of one repeat, seconds."""
    repeats: int = 5
    """Repeats of every figure; the median counts."""
    seed: int = 0
    """Of the poses and walks."""
    out: Path | None = None
    """A JSON file to write as well."""
    json: bool = False
    """Print the rows as JSON, alone on standard output."""


Config = (
    Annotated[Encoder, tyro.conf.subcommand("encoder")]
    | Annotated[Encoding, tyro.conf.subcommand("encoding")]
    | Annotated[Navigation, tyro.conf.subcommand("navigation")]
    | Annotated[Localization, tyro.conf.subcommand("localization")]
    | Annotated[Msnn, tyro.conf.subcommand("msnn")]
    | Annotated[Qa, tyro.conf.subcommand("qa")]
    | Annotated[Retrieval, tyro.conf.subcommand("retrieval")]
    | Annotated[Throughput, tyro.conf.subcommand("throughput")]
)


def execute(config: Encoder | Encoding | Navigation | Localization | Msnn | Qa | Retrieval | Throughput) -> int:
    """Run the benchmark that the config describes and print its table or JSON."""
    match config:
        case Encoder():
            return encoder(config)
        case Encoding():
            return encoding(config)
        case Navigation():
            return _navigation(config)
        case Localization():
            return localization(config)
        case Msnn():
            return msnn(config)
        case Qa():
            return question_answering(config)
        case Retrieval():
            return retrieval(config)
        case Throughput():
            return _throughput(config)


def _navigation(config: Navigation) -> int:
    from benchmarks.evaluation import NavigationRun, episode_source, height_and_width
    from benchmarks.navigation import compare_policies
    from benchmarks.results import config_sha256
    from benchmarks.tables import measures_table, print_table
    from pomagym.progress import EpisodeBar

    episodes = episode_source(config.episodes)
    run = NavigationRun(
        scene="procedural:val:20" if config.scene is None and isinstance(episodes, int) else config.scene,
        episodes=episodes,
        task=config.task,
        policy=config.policies[0] if config.policies else "oracle",
        seed=config.seed,
        simulator=config.simulator,
        agent=config.agent,
        frame=config.frame,
        size=height_and_width(config.size),
        hfov=config.hfov,
        max_steps=config.max_steps,
        navmesh=config.navmesh,
        scenes_dir=None if config.scenes_dir is None else str(config.scenes_dir),
    )
    folder = config.out or Path("results") / f"navigation-{config_sha256(run.as_config())[:8]}"
    codes: list[int] = []

    def left_out(evaluation: Evaluation) -> None:
        if not any(codes):  # every policy meets the same episodes
            shown.left_out(evaluation)
        bad = evaluation.outcome.refused or evaluation.unrecorded
        codes.append(2 if bad else 1 if evaluation.outcome.failed else 0)

    with EpisodeBar(run.task) as shown:
        comparison = compare_policies(
            run,
            config.policies,
            folder,
            workers=config.workers,
            videos=config.videos,
            resume=config.resume,
            overwrite=config.overwrite,
            timeout=config.timeout,
            on_policy=shown.rename,
            on_evaluation=left_out,
            on_start=shown.start,
            on_episode=shown.episode,
            on_misfortune=shown.misfortune,
        )
    if config.json:
        print(json.dumps(comparison, indent=2, allow_nan=False))
    else:
        rows = {row["policy"]: row["measures"] for row in comparison["rows"]}
        print_table(measures_table(f"{run.task} on {run.scene or run.episodes}", rows))
    print(f"results: {folder} (pomagym view {shlex.quote(str(folder))})", file=sys.stderr)
    return max(codes, default=0)


def _throughput(config: Throughput) -> int:
    from benchmarks.tables import print_table, throughput_table
    from benchmarks.throughput import ThroughputSettings, measure_throughput
    from envs.task_source import list_scenes
    from poma3d.files import write_text
    from pomagym.progress import Bar

    settings = [
        ThroughputSettings(
            scene,
            size=config.size,
            batches=config.batch,
            repeats=config.repeats,
            seconds=config.seconds,
            subdivide_to=config.subdivide_to,
            seed=config.seed,
        )
        for choice in config.scene or ("procedural:val:0000",)
        for scene in map(str, list_scenes(choice))
    ]
    with Bar("measuring", len(settings)) as bar:
        result = measure_throughput(settings, bar.advance)
    text = json.dumps(result, indent=2, allow_nan=False)
    if config.out is not None:
        write_text(config.out, text + "\n")
    if config.json:
        print(text)
    else:
        print_table(throughput_table(result))
    return 0
