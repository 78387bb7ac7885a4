"""The page of a benchmark's table: rows beside their controls, intervals drawn, and the pictures of its folder.

It shows whatever holds ``{"rows": [...]}`` with measures ``{"mean" | "median", "ci95"}``: MSNN, question answering,
retrieval, localisation from text, encoders. The page is one HTML file that needs no network.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import charts
from benchmarks.page import cell, facts, page, picture, section, table
from poma3d.errors import FileError
from poma3d.files import write_text

TABLES = ("summary.json", "table.json")
"""What a folder's table may be called."""
_MOST_CHARTS = 12
_MOST_PICTURES = 24
_NO_NAME = ("kind", "epoch", "selected_on", "majority_of", "source", "checkpoint", "text")
_PROVENANCE = ("command", "config", "config_sha256", "weights_sha256", "versions", "hardware")


def find_table(path: Path) -> Path | None:
    """The file of a benchmark's table: ``path`` itself or in the folder ``path``; None where there is none."""
    for file in [path / name for name in TABLES] if path.is_dir() else [path]:
        if file.is_file() and _measured(_read(file).get("rows")):
            return file
    return None


def write_rows_page(path: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the page of a benchmark's table.

    Args:
        path: the folder that `pomagym bench` wrote, or the JSON file.
        out: the file to write; by default `index.html` in the folder, or NAME.html beside the file.

    Returns:
        The page.

    Raises:
        FileError: there is no table, or the page cannot be written.
    """
    path = Path(path)
    file = find_table(path)
    if file is None:
        raise FileError(path, f"holds no table of a benchmark: no {' or '.join(TABLES)} with measured rows")
    found = _read(file)
    rows = [row for row in found["rows"] if isinstance(row, dict)]
    default = (
        path / "index.html" if path.is_dir() else path.with_name(path.name.removesuffix(".json") + ".html")
    )
    target = Path(out) if out is not None else default
    published = found.get("published")
    theirs = [row for row in published if isinstance(row, dict)] if isinstance(published, list) else []
    parts = [
        section("measured", _table(rows), note="mean and 95 % interval"),
        _charts(rows),
        *_pictures(path if path.is_dir() else None),
        *(
            [section("published by others", _table(theirs), note=str(found.get("published_source", "")))]
            if theirs
            else []
        ),
        section("where it comes from", facts({name: found[name] for name in _PROVENANCE if name in found})),
    ]
    html = page(
        "benchmark",
        path.resolve().name,
        f"{len(rows)} rows",
        [part for part in parts if part],
        command=f"pomagym view {path.name}",
    )
    write_text(target, html)
    return target


def _read(file: Path) -> dict[str, Any]:
    """The object in a file; empty where it holds none."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _measured(rows: Any) -> bool:
    """Whether these are rows, one of them with a measure."""
    return isinstance(rows, list) and any(isinstance(row, dict) and any(_measures(row)) for row in rows)


def _measures(row: Mapping[str, Any]) -> Iterator[tuple[str, float, tuple[float, float] | None]]:
    """Name, value and interval, if it has one, of what a row measured."""
    for name, value in row.items():
        if name == "measures" and isinstance(value, Mapping):
            yield from _measures(value)
        elif isinstance(value, float) and charts.can_be_drawn(value):
            yield name, value, None
        elif isinstance(value, Mapping):
            middle = value.get("mean", value.get("median"))
            if charts.can_be_drawn(middle):
                match value.get("ci95"):
                    case [low, high] if charts.can_be_drawn(low) and charts.can_be_drawn(high):
                        yield name, float(middle), (float(low), float(high))
                    case _:
                        yield name, float(middle), None


def _name(row: Mapping[str, Any]) -> str:
    """What tells a row from the others: its words, and its numbers with what they count."""
    words = [
        value if isinstance(value, str) else f"{value} {name}"
        for name, value in row.items()
        if isinstance(value, str | int)
        and not isinstance(value, bool)
        and not name.endswith("sha256")
        and name not in _NO_NAME
    ]
    return ", ".join(words)


def _is_control(row: Mapping[str, Any]) -> bool:
    return bool(row.get("control")) or row.get("kind") in ("control", "chance")


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """All measures, the rows downwards; where there are more measures than rows, those downwards."""
    measured = [{name: (middle, ends) for name, middle, ends in _measures(row)} for row in rows]
    names = list(dict.fromkeys(name for one in measured for name in one))
    cells = [
        [_shown(*one[name]) if name in one else cell("-", -math.inf, number=True) for name in names]
        for one in measured
    ]
    kinds = ["control" if _is_control(row) else "" for row in rows]
    said = "measures of each row"
    if len(names) <= len(rows):
        lines = [
            (kind, [cell(_name(row)), *line]) for kind, row, line in zip(kinds, rows, cells, strict=True)
        ]
        return table([("row", False), *((name, True) for name in names)], lines, caption=said, sortable=True)
    lines = [("", [cell(name), *(line[i] for line in cells)]) for i, name in enumerate(names)]
    return table([("measure", False), *((_name(row), True) for row in rows)], lines, caption=said, tall=True)


def _shown(middle: float, ends: tuple[float, float] | None) -> str:
    digits = 1 if abs(middle) >= 100 else 3
    interval = f" [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]" if ends else ""
    return cell(f"{middle:.{digits}f}{interval}", middle, number=True)


def _charts(rows: Sequence[Mapping[str, Any]]) -> str:
    """Intervals of the first measures that are shares."""
    shares: dict[str, dict[str, tuple[float, float, float]]] = {}
    for row in rows:
        for name, middle, ends in _measures(row):
            if ends:
                shares.setdefault(name, {})[_name(row)] = (middle, *ends)
    drawn = [
        charts.intervals(name.replace("_", " "), group, top=_top(group))
        for name, group in shares.items()
        if all(low >= 0 and high <= 1 for _, low, high in group.values())
    ]
    if not drawn:
        return ""
    left = f"the first {_MOST_CHARTS} of {len(drawn)}" if len(drawn) > _MOST_CHARTS else ""
    return section("drawn", f'<div class="charts rows">{"".join(drawn[:_MOST_CHARTS])}</div>', note=left)


def _top(group: Mapping[str, tuple[float, float, float]]) -> float:
    """The right end of an axis: a round number above all intervals, at most 1."""
    most = max(high for _, _, high in group.values())
    return next((end for end in (0.05, 0.1, 0.2, 0.5) if most <= end), 1.0)


def _pictures(folder: Path | None) -> list[str]:
    if folder is None:
        return []
    files = sorted([*folder.glob("*.png"), *folder.glob("pictures/*.png")])
    shown = []
    for file in files[:_MOST_PICTURES]:
        try:
            pixels = np.asarray(Image.open(file).convert("RGB"))  # (H, W, 3)
        except OSError:  # half a file
            continue
        shown.append(picture(pixels, file.stem, caption=file.stem.replace("_", " ")))
    note = f"the first {_MOST_PICTURES} of {len(files)}" if len(files) > _MOST_PICTURES else ""
    return (
        [section("pictures", f'<div class="gallery wide">{"".join(shown)}</div>', note=note)] if shown else []
    )
