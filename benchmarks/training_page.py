"""The page of a training's folder: its curves, stage by stage, its measures and its settings.

Any training of this project is shown, finished, running or cut off: pretraining (a `log.jsonl` in each stage's folder),
policies and heads (one `log.jsonl`). The page is one HTML file that needs no network.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import charts
from benchmarks.page import cell, facts, page, section, table, tiles, warning
from benchmarks.report_runs import read_json
from poma3d.errors import FileError
from poma3d.files import write_text

LOG = "log.jsonl"
"""A line of numbers for each logged step, in the folder of a training or of one of its stages."""
_STAGES = ("warm-up", "main", "settle")
_SETTINGS = ("settings.json", "config.json")
_CLOCKS = ("step", "epoch")  # what goes to the right, the first that the log has
_NO_CURVE = {"round", "time_seconds_left", "time_seconds", "time_unit", "encoded_views", *_CLOCKS}
_TOLD = ("loss", "train/loss", "held_out_success", "success")  # what a tile shows, the first that the log has
_MOST_POINTS = 300
_MEANING = {
    "loss": "what is minimised, and its parts",
    "rank": "effective rank of the features; 1: collapse",
    "deviation": "spread of the features over their length; 0: collapse",
    "gradient": "norm, before it is clipped",
    "time": "seconds",
    "accuracy": "share of right answers",
    "ema": "momentum of the moving average",
}

Curves = dict[str, list[tuple[float, float]]]
"""For each number of a log its (clock, value)."""


def holds_training(folder: Path) -> bool:
    """Whether a folder is one that a training writes."""
    return any(log.is_file() for log in _logs(folder).values())


def write_training_page(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the page of a training.

    Args:
        folder: what `pomagym pretrain`, `pomagym train` or `pomagym train-head` wrote to.
        out: the file to write; by default `training.html` in the folder.

    Returns:
        The page.

    Raises:
        FileError: the folder holds no log of a training, or the page cannot be written.
    """
    folder = Path(folder)
    damage: list[str] = []
    parts, numbers, measures, running = [], [], {}, []
    for name, log in _logs(folder).items():
        if not log.is_file():
            continue
        clock, curves = read_curves(log, damage)
        if not curves:
            continue
        done = read_json(log.with_name("done.json"), damage)
        measured = done.get("measures")
        measures.update(measured if isinstance(measured, dict) else {})
        if name and not done:
            running.append(name)
        numbers.append(_first_to_last(name, clock, curves))
        measures.update({key: points[0][1] for key, points in curves.items() if len(points) == 1})
        drawn = {key: points for key, points in curves.items() if len(points) > 1}
        if drawn:
            parts.append(section(name or "curves", _plots(clock, drawn)))
    if not numbers:
        found = "; ".join(damage) or f"no line in a {LOG}, neither here nor in {', '.join(_STAGES)}"
        raise FileError(folder, f"holds no training that could be drawn: {found}")
    notices = [warning("not finished, or still running: " + ", ".join(running))] if running else []
    if damage:
        notices.append(warning("what could not be read", damage))
    settings = next((read for name in _SETTINGS if (read := read_json(folder / name, []))), {})
    target = Path(out) if out is not None else folder / "training.html"
    html = page(
        "training",
        folder.resolve().name,
        "curves of the logs as far as they are written",
        [*notices, tiles(numbers), *parts, *_measured(measures), *_settings(settings)],
        command=f"pomagym view {folder.name}",
    )
    write_text(target, html)
    return target


def read_curves(log: Path, damage: list[str]) -> tuple[str, Curves]:
    """What runs to the right, and the curves of a log; lines that are no records are named in ``damage``."""
    records = []
    try:
        lines = log.read_bytes().split(b"\n")
    except OSError as error:
        raise FileError(log, f"cannot be read ({error.strerror})") from error
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line) if line.strip() else None
        except ValueError:
            record = line
        if isinstance(record, dict):
            records.append(record)
        elif record is not None and number < len(lines):  # the last one may be half written
            damage.append(f"{log.name} line {number} is no record and left out")
    clock = next((name for name in _CLOCKS if records and name in records[0]), "line")
    curves: Curves = {}
    lost: dict[str, list[float]] = {}
    for number, record in enumerate(records, start=1):
        at = record.get(clock, number)
        if not charts.can_be_drawn(at):
            damage.append(f"{log.name}: a record whose {clock} is {at!r} is left out")
            continue
        for name, value in _flat(record):
            if name not in _NO_CURVE:
                if charts.can_be_drawn(value):
                    curves.setdefault(name, []).append((float(at), float(value)))
                else:
                    lost.setdefault(name, []).append(float(at))
    damage += [
        f"{name} is no number, or too large a one, in {len(steps)} records, first at {clock} {min(steps):,.0f}"
        for name, steps in lost.items()
    ]
    return clock, curves


def _logs(folder: Path) -> dict[str, Path]:
    """The logs a training may have: its own, under no name, or those of its stages."""
    return {"": folder / LOG, **{stage: folder / stage / LOG for stage in _STAGES}}


def _flat(record: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Numbers of a record with their names, those of nested ones joined by an underscore."""
    found = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{name}_")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((before + name, value))
    return found


def _plots(clock: str, curves: Curves) -> str:
    """A chart for each group of numbers that share their first word."""
    groups: dict[str, Curves] = {}
    for name, points in curves.items():
        groups.setdefault(_group(name), {})[name] = _thinned(points)
    shown = []
    for word, group in groups.items():
        title = next(iter(group)) if len(group) == 1 else word
        chart = charts.lines(title.replace("_", " "), group, clock, note=_MEANING.get(word, ""))
        names = [name.removeprefix(word).lstrip("_").replace("_", " ") or name for name in group]
        shown.append(f"<div>{chart}{charts.legend(names) if len(group) > 1 else ''}</div>")
    return f'<div class="charts">{"".join(shown)}</div>'


def _group(name: str) -> str:
    if name.startswith("held_out_"):
        return "held_out"
    # Numbers of another library's log (train/loss, train/clip_range) differ by orders of magnitude.
    alone = "/" in name or name.endswith("_per_second")
    return name if alone else name.split("_")[0]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `_MOST_POINTS`, each the mean of as many neighbours as it takes."""
    each = math.ceil(len(points) / _MOST_POINTS)
    runs = [points[i : i + each] for i in range(0, len(points), each)]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def _first_to_last(stage: str, clock: str, curves: Curves) -> tuple[str, str, str]:
    """A tile: the last value of the loss, or of the first curve that there is."""
    name = next((name for name in _TOLD if name in curves), next(iter(curves)))
    points = curves[name]
    said = f"{stage}: {name}" if stage else name
    below = f"{points[0][1]:.3g} at first\n{clock} {points[-1][0]:,.0f}"
    return f"{points[-1][1]:.3g}", said.replace("_", " "), below


def _measured(measures: Mapping[str, Any]) -> list[str]:
    if not measures:
        return []
    rows = [
        ("", [cell(name), cell(f"{value:.4g}", number=True)])
        for name, value in _flat(measures)
        if charts.can_be_drawn(value)
    ]
    columns = (("measure", False), ("value", True))
    return [section("measured once", table(columns, rows, caption="numbers with a single value", tall=True))]


def _settings(settings: Mapping[str, Any]) -> list[str]:
    return [section("settings", facts(settings))] if settings else []
