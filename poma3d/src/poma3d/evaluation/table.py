"""One table of encoders beside their controls: retrieval, probes, consistency, rank, transfer, with intervals.

A row is one way of training with one or more seeds; its numbers are means over the seeds. The controls are chance (the
commonest class, a scene at random), encoders of the same shape with random weights, beside text towers with random
weights, and for retrieval a perfect recogniser, which reads the labels. Intervals are 95 % by bootstrap over scenes, of
transfer over views; all rows draw the same scenes, so that differences between rows have narrower intervals than the
rows.

What is measured of a checkpoint is kept in a folder under the hash of weights and data: the same command goes on where
it was stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from poma3d.checkpoints import load_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.errors import FileError, SettingError
from poma3d.evaluation.intervals import Measure, difference, mean_over
from poma3d.evaluation.label_oracle import label_recall
from poma3d.evaluation.table_data import FolderContents, TableData
from poma3d.files import write_text
from poma3d.pretrained import is_shipped
from poma3d.towers import TextTower
from poma3d.towers.loading import load_text, text_beside
from poma3d.towers.mini_text import MiniText

ROOMS = "rooms_"
"""What the names of measures on single rooms begin with."""
RANDOM, CHANCE, LABELS = "random weights", "chance", "perfect labels"


@dataclass(frozen=True)
class Row:
    """One way of training.

    Raises:
        SettingError: no checkpoint.
    """

    name: str
    """What stands in the table."""
    checkpoints: tuple[str, ...]
    """Of each seed: a run's folder, or what `poma3d.checkpoints.load_encoder` takes."""

    def __post_init__(self) -> None:
        if not self.name or not all(self.checkpoints) or not self.checkpoints:
            raise SettingError(
                f"a row is NAME=RUN or NAME=RUN,RUN,... for several seeds, found {self.name!r}"
            )

    @classmethod
    def parse(cls, text: str) -> Row:
        """``NAME=RUN,RUN``; without a name that of the run.

        Raises:
            SettingError: no checkpoint.
        """
        name, equals, paths = text.partition("=")
        return cls(name, tuple(paths.split(","))) if equals else cls(Path(text).name, (text,))


def measure_checkpoint(
    encoder: PointMapEncoder, text: TextTower | None, data: TableData, on_scene: Callable[[], None]
) -> dict[str, Measure]:
    """All measures of one encoder but those of rooms; those of views as agents see them begin with ``agent_``."""
    here = data.validation
    measures: dict[str, Measure] = {}
    for placing in data.placings:
        prefix = "agent_" if placing == "agent" else ""
        found = here.features(encoder, placing=placing, on_scene=on_scene)
        heads = here.learn(found)
        if placing == "scene":
            measures |= here.measures(found, text, heads)
        else:
            scored = heads.score(found, torch.arange(len(found.scan_ids)) % 2 == 1)
            measures |= {prefix + name: measure for name, measure in scored.items()}
        del found
        for name, other in data.transfer.items():
            there = other.features(encoder, placing=placing, on_scene=on_scene)
            scored = here.transfer(heads, other, there)
            measures |= {f"{name}_{prefix}{measure}": value for measure, value in scored.items()}
    return measures


def measure_rooms(
    encoder: PointMapEncoder, text: TextTower | None, data: TableData, on_scene: Callable[[], None]
) -> dict[str, Measure]:
    """Retrieval of single rooms, under names that begin with `ROOMS`; nothing without rooms or a text tower."""
    if data.rooms is None or text is None:
        return {}
    found = data.rooms.retrieval(encoder, text, on_scene=on_scene)
    return {f"{ROOMS}{name}": measure for name, measure in found.items()}


Measuring: TypeAlias = (
    "Callable[[PointMapEncoder, TextTower | None, TableData, Callable[[], None]], dict[str, Measure]]"
)
"""`measure_checkpoint` or `measure_rooms`: each is kept on its own, so that rooms can be added to a table."""


def make_table(
    rows: Sequence[Row],
    data: TableData,
    kept: Path,
    *,
    random_seeds: int = 3,
    first_seed: int = 0,
    against: str | None = None,
    on_start: Callable[[str, int], None] = lambda what, scenes: None,
    on_scene: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure every checkpoint that has not been yet, and put the table together.

    Args:
        rows: what is compared.
        data: on which scenes.
        kept: folder of measures that are done.
        random_seeds: encoders of random weights, of the first checkpoint's shape.
        first_seed: of the first of them.
        against: the row that the others are compared with scene by scene; None: the first.
        on_start: told of each checkpoint and how many scenes it takes.
        on_scene: called after every scene.

    Returns:
        ``rows``, ``differences`` and ``data``, as JSON can hold them.

    Raises:
        SettingError: no rows, two of one name, no such row as ``against``, encoders of different sizes.
    """
    names = [row.name for row in rows]
    if not rows or len(set(names)) < len(names) or {RANDOM, CHANCE, LABELS} & set(names):
        raise SettingError(
            f"rows need names of their own other than {RANDOM!r}, {CHANCE!r} and {LABELS!r},"
            f" found {names or 'no row'}"
        )
    against = against or names[0]
    if against not in names:
        raise SettingError(f"there is no row {against!r} to compare with; there are {', '.join(names)}")
    parts: list[tuple[list[str], int, Measuring]] = [
        (_name_of_data(kept, data.contents), data.encodings, measure_checkpoint)
    ]
    if data.rooms is not None and data.room_contents is not None:
        parts.append((_name_of_data(kept, data.room_contents), len(data.rooms.dataset), measure_rooms))
    measured: dict[str, list[dict[str, Measure]]] = {}
    told: dict[str, list[dict[str, Any]]] = {}

    def take(row: str, what: str, encoder: PointMapEncoder, text: TextTower | None, facts: dict) -> None:
        if encoder.config.image_size != data.size:
            raise SettingError(f"{what} takes {encoder.config.image_size} pixels, the others {data.size}")
        hashes = {
            "weights_sha256": encoder.weights_sha256(),
            "text_sha256": None if text is None else text.weights_sha256(),
        }
        together: dict[str, Measure] = {}
        for named, scenes, measure in parts:
            key = hashlib.sha256(json.dumps([hashes, *named], sort_keys=True).encode()).hexdigest()
            path = kept / f"{key[:24]}.json"
            found = _read_kept(path)
            if found is None:
                on_start(f"{row}: {what}", scenes)
                found = measure(encoder, text, data, on_scene)
                _keep(path, found)
            together |= found
        measured.setdefault(row, []).append(together)
        told.setdefault(row, []).append({**facts, **hashes})

    for row in rows:
        for checkpoint in row.checkpoints:
            take(row.name, checkpoint, *open_checkpoint(checkpoint), {"checkpoint": _plain_name(checkpoint)})
    trained, text = open_checkpoint(rows[0].checkpoints[0])
    for seed in range(first_seed, first_seed + random_seeds):
        blank = text
        if isinstance(text, MiniText):
            blank = MiniText(text.vocabulary, text.config, seed=seed).eval()
        take(RANDOM, f"seed {seed}", PointMapEncoder(trained.config, seed=seed).eval(), blank, {"seed": seed})
    means = {
        row: {
            name: mean_over([seed[name] for seed in seeds]) for name in seeds[0] if _everywhere(name, seeds)
        }
        for row, seeds in measured.items()
    }
    order = [name for name in (RANDOM, *names) if name in measured]
    controls = {CHANCE: _chance({name: measure for row in means.values() for name, measure in row.items()})}
    perfect = {
        prefix + name: measure
        for prefix, suite in (("", data.validation), (ROOMS, data.rooms))
        if suite is not None and suite.has_queries and suite.dataset.categories
        for name, measure in label_recall(suite.dataset, suite.utterances).items()
    }
    if perfect:
        controls[LABELS] = perfect
    return {
        "rows": [
            {
                "row": control,
                "checkpoints": [],
                "measures": {name: _as_json(measure, None) for name, measure in found.items()},
            }
            for control, found in controls.items()
        ]
        + [
            {
                "row": row,
                "checkpoints": told[row],
                "measures": {
                    name: _as_json(measure, [seed[name].value for seed in measured[row]])
                    for name, measure in means[row].items()
                },
            }
            for row in order
        ],
        "differences": [
            {
                "row": row,
                "against": against,
                "measures": {
                    name: _as_json(difference(measure, means[against][name]), None)
                    for name, measure in means[row].items()
                    if name in means[against]
                },
            }
            for row in order
            if row != against
        ],
        "data": {
            "validation_scenes": len(data.validation.dataset),
            "views": data.views,
            "views_of_scenes": _range(data.validation.dataset.different_views),
            "size": data.size,
            "categories": len(data.validation.dataset.categories),
            "room_types": len(data.validation.dataset.room_types),
            "rooms": 0 if data.rooms is None else len(data.rooms.dataset),
            "room_views": 0 if data.rooms is None else data.rooms.dataset.settings.views,
            "views_of_rooms": [0, 0] if data.rooms is None else _range(data.rooms.dataset.different_views),
            "transfer": {
                name: {
                    "scenes": len(suite.dataset),
                    "views": sum(suite.dataset.different_views),
                }
                for name, suite in data.transfer.items()
            },
            "sha256": data.contents.sha256,
        },
    }


def open_checkpoint(checkpoint: str) -> tuple[PointMapEncoder, TextTower | None]:
    """An encoder and the text tower beside it; without one where there is none.

    Raises:
        FileError: no such checkpoint, or a damaged one.
    """
    encoder = load_encoder(checkpoint)
    try:
        text: TextTower | None = load_text(text_beside(checkpoint, encoder.config.embedding))
    except SettingError:  # none is known
        text = None
    return encoder, text


def _range(numbers: Sequence[int]) -> list[int]:
    """The least and the most."""
    return [min(numbers), max(numbers)]


def _everywhere(name: str, measured: Sequence[Mapping[str, Measure]]) -> bool:
    """Whether every seed was measured so; one without a text tower finds no scenes."""
    return all(name in measures for measures in measured)


def _chance(measures: Mapping[str, Measure]) -> dict[str, Measure]:
    """What answers without features reach, under the names of the measures they are to be held against."""
    found = {}
    for name in measures:
        if "R@" in name:
            prefix, _, places = name.partition("R@")
            control = f"{prefix}chance@{places.split('-')[1]}"
        elif name == "view_consistency":
            control = "view_consistency_chance"
        else:
            control = name.replace("_linear_", "_majority_").replace("_knn_", "_majority_")
        if control != name and control in measures:
            found[name] = measures[control]
    return found


def _as_json(measure: Measure, seeds: list[float] | None) -> dict[str, Any]:
    values = {"mean": measure.value, "ci95": list(measure.ci95)}
    if seeds is None or len(seeds) < 2:
        return values
    return {**values, "sd": float(np.std(seeds, ddof=1)), "values": seeds}


def _plain_name(checkpoint: str) -> str:
    """A checkpoint without the folders of this machine."""
    return checkpoint if is_shipped(checkpoint) else Path(checkpoint).name


def _name_of_data(kept: Path, data: FolderContents) -> list[str]:
    """What names the data in the keys of kept measures.

    The hash of the data counts of scene files their sizes alone, and measures are kept under it. What the files hold
    is therefore noted beside the first measures; data of the same sizes that hold something else have names of their
    own.
    """
    note = kept / f"{data.sha256[:24]}.scenes"
    try:
        first = note.read_text().strip()
    except OSError:
        write_text(note, data.scenes_sha256 + "\n")
        return [data.sha256]
    return [data.sha256] if first == data.scenes_sha256 else [data.sha256, data.scenes_sha256]


def _read_kept(path: Path) -> dict[str, Measure] | None:
    try:
        found = json.loads(path.read_text())
        return {name: Measure(value, np.array(rest)) for name, (value, rest) in found.items()}
    except OSError:
        return None
    except (ValueError, TypeError, AttributeError) as error:
        raise FileError(path, f"is damaged ({error}); remove it") from error


def _keep(path: Path, measures: Mapping[str, Measure]) -> None:
    values = {name: [m.value, np.round(m.replicates, 6).tolist()] for name, m in measures.items()}
    write_text(path, json.dumps(values) + "\n")
