"""The part `localization` of `pomagym bench`: where am I, asked by a view (pose) or by words (text)."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro


@dataclass(frozen=True)
class Localization:
    """Localisation: an agent wakes in a scene it remembers, looks and moves about, and declares its pose.

    With --query pose (the default) policies play Localization-v0: retrieval by the backbone's features with
    registration and moving, beside its parts and chance; success is within 0.25 m and 10 degrees, coarse within
    0.5 m and 15. With --query text the views of ScenePoint scenes are found by what is said of a place, zero-shot.

    For example:

        pomagym bench localization --scene procedural:val:20 --episodes 200 --workers 2 --pictures 5
        pomagym bench localization --scene house.glb --episodes val.json.gz --encoder my.safetensors --json
        pomagym bench localization --query text --scenes data/scannet --data msnn_scannet.json
    """

    query: str = "pose"
    """What is asked: pose (a view) or text (a sentence)."""
    encoder: str = "poma3d-mini"
    """The backbone's weights: a name, a file or a folder that load_encoder takes (docs/encoder.md), or random."""
    scene: str | None = None
    """pose: a mesh file, or procedural:SPLIT[:N] for the first N houses; the default for generated episodes is
    procedural:val:20."""
    episodes: str = "200"
    """pose: how many episodes to generate over all scenes together, or an episode file of Habitat's, whose starts
    are taken and whose goals are not."""
    policies: tuple[str, ...] = ()
    """pose: which rows; default all: full, full-random-weights, registration-moving, retrieval-registration,
    registration, retrieval, retrieval-random-weights, chance."""
    memory_views: int = 32
    """pose: posed views of each scene that the agent remembers."""
    max_steps: int = 100
    """pose: most steps of an episode, the declaration included."""
    agent: str = "pointnav-gibson"
    """pose: the body, pointnav-gibson or objectnav-hm3d."""
    hfov: float | None = None
    """pose: horizontal field of view, degrees; default: the agent's own."""
    simulator: str = "raycast"
    """pose: raycast (built in), warp (ray casting on an NVIDIA GPU, where Warp is installed) or habitat (real Habitat,
    where it is installed)."""
    navmesh: str | None = None
    """pose: Habitat's navmesh to walk on: a .navmesh file, a folder of them, or beside; default: built anew."""
    scenes_dir: Path | None = None
    """pose: folder below which the scenes named in an episode file lie."""
    workers: int = 1
    """pose: processes that run episodes; results are the same from any number."""
    resume: bool = True
    """pose: keep the finished episodes of the same settings; with --no-resume they are run again."""
    overwrite: bool = False
    """pose: throw away results of other settings in the folder."""
    timeout: float = 600.0
    """pose: seconds after which a worker that is still at one episode is taken for hung and replaced."""
    scenes: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """text: a ScenePoint folder; may be given several times."""
    data: str | None = None
    """text: a file of situations in MSNN's schema."""
    split: Path | None = None
    """text: the scenes to ask in, a name a line, such as scannetv2_val.txt; default: the *_val.txt beside the data."""
    text: str | None = None
    """text: the text tower; default: the one that the encoder is aligned with."""
    long: bool = False
    """text: send the words through the tower's path for long texts."""
    views: int = 32
    """text: views of a scene, the first ones."""
    device: str = "auto"
    """text: where the encoder runs: auto, cpu or cuda; poses are found on the cpu, the same bits everywhere."""
    seed: int = 0
    """Whole number that decides, with an episode's id, everything random."""
    pictures: int = 0
    """Of how many episodes or situations pictures are drawn."""
    out: Path | None = None
    """Folder of the results; default for poses: results/localization-HASH."""
    json: bool = False
    """Print the comparison as JSON, alone on standard output."""


def localization(config: Localization) -> int:
    """Ask what was asked for."""
    from poma3d.errors import SettingError

    if config.query not in QUERIES:
        raise SettingError(f"unknown query {config.query!r}; localisation is asked by {' or '.join(QUERIES)}")
    return QUERIES[config.query](config)


def _by_text(config: Localization) -> int:
    from pomagym.bench_text_localization import text_localization

    return text_localization(
        scenes=config.scenes,
        data=config.data,
        encoder=config.encoder,
        split=config.split,
        text=config.text,
        long=config.long,
        views=config.views,
        device=config.device,
        seed=config.seed,
        out=config.out,
        pictures=config.pictures,
        as_json=config.json,
    )


def _by_pose(config: Localization) -> int:
    from benchmarks.localization import POLICIES, LocalizationRun, compare_localization, open_backbone
    from benchmarks.navigation_run import episode_source
    from benchmarks.results import config_sha256
    from benchmarks.tables import print_table
    from pomagym.progress import EpisodeBar

    episodes = episode_source(config.episodes)
    run = LocalizationRun(
        scene="procedural:val:20" if config.scene is None and isinstance(episodes, int) else config.scene,
        episodes=episodes,
        policies=config.policies or tuple(POLICIES),
        encoder=config.encoder,
        seed=config.seed,
        simulator=config.simulator,
        agent=config.agent,
        hfov=config.hfov,
        max_steps=config.max_steps,
        memory_views=config.memory_views,
        navmesh=config.navmesh,
        scenes_dir=None if config.scenes_dir is None else str(config.scenes_dir),
    )
    folder = config.out
    if folder is None:
        settings = run.as_config(open_backbone(run.encoder, run.seed).weights_sha256)
        folder = Path("results") / f"localization-{config_sha256(settings)[:8]}"
    with EpisodeBar("localization") as shown:
        comparison = compare_localization(
            run,
            folder,
            workers=config.workers,
            pictures=config.pictures,
            resume=config.resume,
            overwrite=config.overwrite,
            timeout=config.timeout,
            on_start=shown.start,
            on_episode=shown.episode,
            on_misfortune=shown.misfortune,
        )
    shown.left_out(comparison)
    if config.json:
        print(json.dumps(comparison.summary, indent=2, allow_nan=False))
    else:
        print_table(_table(run, comparison.summary["rows"]))
    print(f"results: {folder} (pomagym view {shlex.quote(str(folder / run.policies[0]))})", file=sys.stderr)
    if comparison.outcome.refused:
        return 2
    return 1 if comparison.outcome.failed else 0


def _table(run: Any, rows: list[dict[str, Any]]) -> Any:
    from benchmarks.tables import percent, rows_table

    cells = []
    for row in rows:
        measures, medians = row["measures"], row["medians"]
        steps = measures.get("steps")
        cells.append(
            [
                row["policy"],
                percent(measures.get("success")),
                percent(measures.get("success_coarse")),
                "-" if medians["position_error"] is None else f"{medians['position_error']:.2f}",
                "-" if medians["heading_error"] is None else f"{medians['heading_error']:.1f}",
                "-" if steps is None else f"{steps['mean']:.1f}",
            ]
        )
    count = max((measure["n"] for row in rows for measure in row["measures"].values()), default=0)
    return rows_table(
        f"where am I: {count} episodes, {run.scene or run.episodes}; percent",
        [
            "policy",
            "0.25 m, 10 deg",
            "0.5 m, 15 deg",
            "m, median",
            "deg, median",
            "steps, mean",
        ],
        cells,
        note=f"memory of {run.memory_views} views; encoder {run.encoder}; 95 % intervals over episodes",
    )


QUERIES: dict[str, Callable[[Localization], int]] = {"pose": _by_pose, "text": _by_text}
"""What can be asked, and who answers."""
