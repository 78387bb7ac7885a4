"""The part `throughput` of `pomagym bench`: point maps and environment steps a second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from pomagym.printing import print_result


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
    simulator: str = "raycast"
    """raycast (built in) or warp (ray casting on an NVIDIA GPU, where Warp is installed; render_tensors is what
    stays there)."""
    seed: int = 0
    """Of the poses and walks."""
    out: Path | None = None
    """A JSON file to write as well."""
    json: bool = False
    """Print the rows as JSON, alone on standard output."""


def throughput(config: Throughput) -> int:
    """Measure, print the table or the JSON."""
    from benchmarks.tables import throughput_table
    from benchmarks.throughput import ThroughputSettings, measure_throughput
    from envs.task_source import list_scenes
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
            simulator=config.simulator,
        )
        for choice in config.scene or ("procedural:val:0000",)
        for scene in map(str, list_scenes(choice))
    ]
    with Bar("measuring", len(settings)) as bar:
        result = measure_throughput(settings, bar.advance)
    print_result(result, throughput_table, as_json=config.json, out=config.out)
    return 0
