"""The part `msnn` of `pomagym episodes`: MSNN samples of scenes, and the benchmark msnn-houses."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class GenerateMsnn:
    """Make MSNN samples: a situation and a goal in words, and the direction of the next step.

    Without --scene the benchmark msnn-houses is made, always the same: its samples, the lists of its splits and the
    specialist's files, into the folder --out. With --scene samples of these scenes go into the file --out, in the
    schema of msnn_scannet.json. All directions come equally often.

    For example:

        pomagym episodes msnn --out data/msnn_houses --workers 2
        pomagym episodes msnn --scene small_house.glb --count 200 --out small_house.json
    """

    out: Path
    """The file to write with --scene (.json), else the folder of the benchmark."""
    scene: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A mesh file with named objects, or procedural:SPLIT[:N] for the first N houses; may be given several times."""
    count: int = 16
    """Samples of each scene on average; their sum is rounded up to a multiple of 8."""
    straight: bool = False
    """Ask for the straight line to the goal instead of the first leg of the shortest path."""
    strict: bool = False
    """Only groups whose words tell nothing at all, as in the benchmark; needs dozens of scenes."""
    places: int | None = None
    """Places tried in each scene; default 80."""
    scenes_dir: Path | None = None
    """Folder that scene paths are below."""
    workers: int | None = None
    """Processes; by default one a core."""
    seed: int = 0
    """Another seed, other samples; the benchmark has seed 0."""
    overwrite: bool = False
    """Replace a file of other samples; one of the same samples is never in the way."""
    json: bool = False
    """Print what was written as JSON, alone on standard output."""


def generate(config: GenerateMsnn) -> int:
    """Make the samples or the benchmark."""
    from envs.simulators.raycast import available_cores

    workers = available_cores() if config.workers is None else config.workers
    return _of_scenes(config, workers) if config.scene else _benchmark(config, workers)


def _benchmark(config: GenerateMsnn, workers: int) -> int:
    from envs.msnn.houses import DATA_FILE, house_ids, write_msnn_houses
    from poma3d.errors import SettingError
    from pomagym.progress import Bar

    standard = GenerateMsnn(config.out)
    for name in ("count", "straight", "strict", "places", "seed"):
        if getattr(config, name) != getattr(standard, name):
            raise SettingError(f"--{name} goes with --scene: the benchmark msnn-houses is always the same")
    if config.out.suffix == ".json":
        raise SettingError(f"the benchmark is written into a folder, found --out {config.out}")
    with Bar("houses", len(house_ids())) as bar:
        made = write_msnn_houses(config.out, workers=workers, on_scene=bar.advance)
    if config.json:
        print(json.dumps({"folder": made.folder, "samples": made.samples, "sha256": made.sha256}, indent=2))
    else:
        counts = ", ".join(f"{count} {split}" for split, count in made.samples.items())
        print(f"{made.folder}: {counts} samples; sha256 of {DATA_FILE}: {made.sha256}")
    return 0


def _of_scenes(config: GenerateMsnn, workers: int) -> int:
    from envs.msnn.balance import LEVELS
    from envs.msnn.files import write_msnn
    from envs.msnn.generator import generate_msnn
    from envs.msnn.houses import file_sha256
    from envs.msnn.settings import MsnnSettings
    from envs.task_source import list_scenes
    from poma3d.errors import SettingError
    from pomagym.progress import Bar

    if config.out.suffix != ".json":
        raise SettingError(f"samples are written as .json, found --out {config.out}")
    if config.count < 1:
        raise SettingError(f"at least 1 sample a scene is needed, found --count {config.count}")
    scenes = [str(scene) for choice in config.scene for scene in list_scenes(choice)]
    places = MsnnSettings().places if config.places is None else config.places
    settings = MsnnSettings(straight=config.straight, seed=config.seed, places=places)
    with Bar("scenes", len(scenes)) as bar:
        made = generate_msnn(
            scenes,
            config.count * len(scenes),
            settings,
            scenes_dir=config.scenes_dir,
            levels=1 if config.strict else len(LEVELS),
            workers=workers,
            on_scene=bar.advance,
        )
    for scene, problem in made.problems.items():
        print(f"pomagym: {scene}: {problem}", file=sys.stderr)
    write_msnn(config.out, made.samples, overwrite=config.overwrite)
    facts = {
        "file": str(config.out),
        "samples": len(made.samples),
        "scenes": len({sample.scan_id for sample in made.samples}),
        "groups": made.groups,
        "problems": made.problems,
        "sha256": file_sha256(config.out),
    }
    if config.json:
        print(json.dumps(facts, indent=2))
    else:
        print(
            f"{config.out}: {facts['samples']} samples of {facts['scenes']} scenes; sha256 {facts['sha256']}"
        )
        shared = "; ".join(f"{number} by {what}" for what, number in made.groups.items())
        print(f"groups of 8 samples, one a direction, that share their words: {shared}")
    return 0
