"""The parts of `pomagym scenes` that make and check ScenePoint data: `export`, `convert` and `check`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class ExportScenes:
    """Render scenes to ScenePoint data: views that cover each scene, category of every pixel, captions, queries.

    What is finished stays, so the same command goes on where it was stopped, and more scenes can be added later.
    For example:

        pomagym scenes export procedural:train:2000 --out data/houses_train --size 112 --half --workers 2
        pomagym scenes export house.glb flat.glb --out data/mine
        pomagym scenes export procedural:val:200 --by-room --out data/rooms_val --size 112 --half
    """

    scenes: tyro.conf.Positional[tuple[str, ...]]
    """Mesh files and procedural:SPLIT:N (the first N houses of a split)."""
    out: Path
    """The ScenePoint folder; made where it is absent."""
    by_room: bool = False
    """Make every room a scene of its own, as most scans of ScanNet are; beyond its doors there is nothing."""
    views: int = 32
    """Views of a scene."""
    size: int = 224
    """Rows and columns of a point map, pixels; 112 is what the encoder mini reads, a quarter of the disk."""
    hfov: float = 90.0
    """Horizontal field of view, degrees."""
    candidates: int = 256
    """Views of each scene that the best are chosen from."""
    half: bool = False
    """Store points as float16: half the size, each coordinate off by at most 4 mm below 16 m."""
    no_images: bool = False
    """Leave out the pictures painted by category, which the authors' readers expect."""
    source: str | None = None
    """Which source scenes are filed under (folder light_SOURCE); by default procedural, or scenes for mesh files."""
    workers: int | None = None
    """Processes; by default one a core."""
    seed: int = 0
    """Of cameras and words."""
    json: bool = False
    """Print what was done as JSON, alone on standard output."""


@dataclass(frozen=True)
class ConvertScans:
    """Convert RGB-D scans, or images with a depth, to ScenePoint data.

    Layouts: scannet (frames as its SensReader extracts them), 3rscan, arkitscenes, vggt (.npz of its demo).
    Scans that were converted stay, and more can be added with the same settings; others need another folder.
    For example:

        pomagym scenes convert --layout scannet --folder ScanNet/scans --out data/scenepoint
        pomagym scenes convert --layout vggt --folder images_npz --single-images --out data/warmup
    """

    layout: str
    """scannet, 3rscan, arkitscenes or vggt."""
    folder: Path
    """One scan, or a folder of scans."""
    out: Path
    """The ScenePoint folder; made where it is absent."""
    views: int = 32
    """Most views of a scene, chosen by what they cover."""
    size: int = 224
    """Rows and columns of a point map, pixels."""
    candidates: int = 300
    """Frames, evenly over the scan, that the views are chosen from."""
    half: bool = False
    """Store points as float16."""
    median_depth: float | None = None
    """Scale each scan so that the median depth of its first view is this, metres; for depths of another unit (VGGT)."""
    single_images: bool = False
    """Take the first frame of every scan as a scene of its own, many to a file: data for the warm-up."""
    json: bool = False
    """Print what was done as JSON, alone on standard output."""


@dataclass(frozen=True)
class CheckScenePoint:
    """Read every scene and caption of a ScenePoint folder and name what is wrong with which file.

    For example:

        pomagym scenes check data/houses_train
    """

    folder: tyro.conf.Positional[Path]
    """The ScenePoint folder."""
    json: bool = False
    """Print the report as JSON, alone on standard output."""


def export(config: ExportScenes) -> int:
    """Export scenes; 2 where one could not be. A room that could not be is no failure where others could."""
    from envs.scenepoint_export import ExportedScene, ExportSettings, export_scenes, rooms_of
    from envs.simulators.raycast import available_cores
    from envs.task_source import list_scenes
    from poma3d.errors import SettingError, UserError
    from poma3d.files import check_folder
    from pomagym.progress import Bar

    if not config.scenes:
        raise SettingError("no scenes to export; name mesh files or procedural:SPLIT:N")
    check_folder(config.out)
    specs = [str(spec) for choice in config.scenes for spec in list_scenes(choice)]
    unopened: dict[str, str] = {}
    if config.by_room:
        with Bar("scenes opened", len(specs)) as bar:
            houses, specs = specs, []
            for house in houses:
                try:
                    specs += rooms_of(house)
                except UserError as error:
                    unopened[house] = str(error)
                    _warn(house, str(error))
                bar.advance(house)
    settings = ExportSettings(
        views=config.views,
        size=config.size,
        hfov=config.hfov,
        candidates=config.candidates,
        half=config.half,
        images=not config.no_images,
        seed=config.seed,
    )
    workers = available_cores() if config.workers is None else config.workers
    began = time.perf_counter()
    with Bar("scenes", len(specs)) as bar:

        def show(scene: ExportedScene) -> None:
            bar.advance(scene.scan_id)
            if scene.problem and not config.by_room:
                _warn(scene.scene_id, scene.problem)

        done = export_scenes(
            specs, config.out, settings, source=config.source, workers=workers, on_scene=show
        )
    seconds = time.perf_counter() - began
    fresh = [scene for scene in done if scene.seconds]
    bad = [scene for scene in done if scene.problem]
    if config.by_room and bad:  # some bathrooms are too small to stand in
        _warn(f"{len(bad)} of {len(done)} rooms were left out, the first of them", bad[0].problem)
    facts = {
        "folder": str(config.out),
        "scenes": len(done) - len(bad),
        "exported": len(fresh),
        "bytes": sum(scene.size for scene in done),
        "time_s": seconds,
        "problems": unopened | {scene.scene_id: scene.problem for scene in bad},
    }
    if config.json:
        print(json.dumps(facts, indent=2))
    elif facts["scenes"]:  # else the problems have said all
        size = facts["bytes"] / 2**30
        print(
            f"{config.out}: {facts['scenes']} scenes of {config.views} views, {size:.2f} GiB;"
            f" {len(fresh)} exported now in {seconds:.0f} s ({len(fresh) / max(seconds, 1e-9):.2f} a second)"
        )
    left_out = config.by_room and facts["scenes"]  # rooms may be too small, scenes may not be closed
    return 2 if unopened or (bad and not left_out) else 0


def convert(config: ConvertScans) -> int:
    """Convert scans; 2 where one could not be."""
    from poma3d.scenepoint.converters import (
        ConvertedScan,
        ConvertSettings,
        convert_images,
        convert_scans,
        find_scans,
    )
    from pomagym.progress import Bar

    settings = ConvertSettings(
        views=config.views,
        size=config.size,
        candidates=config.candidates,
        half=config.half,
        median_depth=config.median_depth,
    )
    scans = find_scans(config.layout, config.folder)
    with Bar("scans", len(scans)) as bar:

        def show(scan: ConvertedScan) -> None:
            bar.advance(scan.scan_id)
            if scan.problem:
                _warn(scan.scan_id, scan.problem)

        if config.single_images:
            done = convert_images(scans, config.out, settings, layout=config.layout, on_file=show)
        else:
            done = convert_scans(config.layout, scans, config.out, settings, on_scan=show)
    bad = [scan for scan in done if scan.problem]
    facts = {
        "folder": str(config.out),
        "scans": len(done) - len(bad),
        "views": sum(scan.views for scan in done),
        "problems": {scan.scan_id: scan.problem for scan in bad},
    }
    if config.json:
        print(json.dumps(facts, indent=2))
    elif facts["scans"]:  # else the problems have said all
        print(f"{config.out}: {facts['scans']} of {len(done)} scans, {facts['views']} views written now")
    return 2 if bad else 0


def check(config: CheckScenePoint) -> int:
    """Check a folder; 2 where a scene cannot be used."""
    from poma3d.scenepoint import check_scenepoint
    from pomagym.progress import Bar

    with Bar("scenes") as bar:
        report = check_scenepoint(config.folder, progress=lambda done, total: bar.start(total, done))
    print(report.as_json() if config.json else report)
    return 0 if report.ok else 2


def _warn(what: str, problem: str) -> None:
    told = (
        problem if problem.startswith(what) else f"{what}: {problem}"
    )  # most problems name what they are of
    print(f"pomagym: {told}", file=sys.stderr)
