"""The benchmark ``msnn-houses``: MSNN samples in procedural houses, the same from one command everywhere."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from envs.msnn.files import write_msnn, write_scan_list
from envs.msnn.generator import generate_msnn
from envs.msnn.sample import MsnnSample
from envs.msnn.specialist_files import write_specialist
from envs.scenes.houses import parse_procedural

SPLITS = {"train": ("procedural:train:500", 8000), "val": ("procedural:val:130", 2080)}
"""Houses and number of samples of each split."""
DATA_FILE = "msnn_houses.json"
"""The samples of both splits, in the schema of ``msnn_scannet.json``."""


@dataclass(frozen=True)
class WrittenBenchmark:
    """What was written."""

    folder: str
    """Where."""
    samples: dict[str, int]
    """How many samples each split has."""
    sha256: str
    """Of `DATA_FILE`."""


def scan_list_path(folder: str | os.PathLike[str], split: str) -> Path:
    """The list of the scenes of a split, train or val."""
    return Path(folder) / f"msnn_houses_{split}.txt"


def house_ids() -> list[str]:
    """All houses of the benchmark."""
    return [house for houses, _ in SPLITS.values() for house in parse_procedural(houses)]


def write_msnn_houses(
    folder: str | os.PathLike[str],
    *,
    workers: int = 1,
    on_scene: Callable[[str], None] = lambda scene_id: None,
) -> WrittenBenchmark:
    """Make the benchmark: the samples, the lists of the splits and, in ``specialist/``, the specialist's files.

    Args:
        folder: where to.
        workers: processes.
        on_scene: told of every house that was looked at.

    Raises:
        UserError: the folder cannot be written, or a worker was killed.
    """
    folder = Path(folder)
    samples: list[MsnnSample] = []
    counts: dict[str, int] = {}
    for split, (houses, count) in SPLITS.items():
        made = generate_msnn(parse_procedural(houses), count, levels=1, workers=workers, on_scene=on_scene)
        samples += made.samples
        counts[split] = len(made.samples)
        write_scan_list(
            scan_list_path(folder, split), dict.fromkeys(sample.scan_id for sample in made.samples)
        )
        write_specialist(folder / "specialist", "test" if split == "val" else split, made.samples)
    write_msnn(folder / DATA_FILE, samples)
    return WrittenBenchmark(str(folder), counts, file_sha256(folder / DATA_FILE))


def file_sha256(path: str | os.PathLike[str]) -> str:
    """sha256 (hex) of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
