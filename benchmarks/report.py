"""The page of a results folder: measures beside their controls, plots, videos, every episode, provenance.

The page is one HTML file that needs no network. It also works for a run that was interrupted, and says so.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from agent.video import still
from benchmarks import charts
from benchmarks.navigation import CONTROLS
from benchmarks.navigation_runner import job_name
from benchmarks.page import cell, facts, page, section, table, text, tiles, warning
from benchmarks.report_runs import Run, read_json, read_runs
from benchmarks.results import bootstrap_interval
from benchmarks.tables import SHOWN
from envs.episodes.locate import scene_name
from poma3d.errors import FileError
from poma3d.files import write_text

PAGE_NAME = "index.html"
"""The page's name in its folder."""
EMBEDDED_BYTES = 400_000
"""Videos up to this size are put into the page itself, as long as all together stay below ten times that."""
_MOST_VIDEOS = 24
_MEANING = {
    "success": "share of episodes that ended at the goal",
    "spl": "success weighted by path length",
    "soft_spl": "progress weighted by path length",
    "distance_to_goal": "left at the end, metres",
    "collisions": "an episode",
    "steps": "an episode",
}


def write_report(results_dir: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the page of a results folder.

    Args:
        results_dir: a folder that `pomagym run` (``episodes.jsonl``) or `pomagym bench navigation` (a folder a
            policy below it) wrote. Results of other policies on the same episodes in folders beside it are
            shown as well.
        out: the file to write; by default `PAGE_NAME` in the folder.

    Returns:
        The page.

    Raises:
        FileError: the folder holds no results, or the page cannot be written.
    """
    folder = Path(results_dir)
    runs = read_runs(folder)
    if not runs:
        raise FileError(
            folder,
            "holds no results, no table of a benchmark and no training: no episodes.jsonl, neither here nor in the"
            " folders below it, no summary.json or table.json with rows, and no log.jsonl",
        )
    target = Path(out) if out is not None else folder / PAGE_NAME
    first = runs[0]
    comparison = read_json(folder / "summary.json", [])
    config = first.config or comparison.get("config") or {}
    about = _about(folder, runs)
    task = str(config.get("task") or "navigation")
    count = len(first.records)
    where = config.get("scene") or config.get("episodes") or "unknown scenes"
    lead = f"{count} {'episode' if count == 1 else 'episodes'} of {where}"
    parts = [
        *_notices(runs),
        _headline(about[0]) if len(about) == 1 else "",
        _comparison(runs),
        _paired(runs),
        _plots(runs),
        _videos(runs, target.parent),
        _recording(runs, target.parent),
        _episodes(runs, target.parent),
        _provenance(first, comparison),
    ]
    names = ", ".join(run.name for run in about)
    html = page(task, names, lead, [part for part in parts if part], command=f"pomagym view {folder.name}")
    write_text(target, html)
    return target


def _about(folder: Path, runs: Sequence[Run]) -> Sequence[Run]:
    """The runs that a page is about and named after: the folder's own, or all that are compared, controls aside."""
    if (folder / "episodes.jsonl").exists():
        return runs[:1]
    return [run for run in runs if run.name not in CONTROLS] or runs


def _notices(runs: Sequence[Run]) -> list[str]:
    """What a reader must know before the numbers."""
    boxes = []
    for run in runs:
        problems = list(run.damage)
        counts = run.summary.get("episodes") or {}
        if not run.summary:
            problems.append("there is no summary.json: the run is not finished, or was killed")
        elif counts.get("finished", 0) < counts.get("asked", 0):
            problems.append(f"{counts['finished']} of {counts['asked']} episodes are finished")
        for kind in ("failed", "retried"):
            problems += [
                f"episode {m.get('episode_id')} of {m.get('scene_id')} {kind}: {m.get('reason')}"
                for m in run.summary.get(kind) or ()
            ]
        if problems:
            heading = f"{run.name}: what is shown is computed from {len(run.records)} finished episodes"
            boxes.append(warning(heading, problems))
    return boxes


def _headline(run: Run) -> str:
    """The first run's measures as large numbers."""
    values = []
    for name in SHOWN:
        measure = run.measures.get(name)
        if measure:
            low, high = measure["ci95"]
            mean = f"{measure['mean']:.1%}" if name == "success" else _number(measure["mean"])
            ends = (f"{low:.0%}", f"{high:.0%}") if name == "success" else (_number(low), _number(high))
            values.append((mean, _title(name), f"{_MEANING[name]}\n95 %: {ends[0]} to {ends[1]}"))
    return tiles(values) if values else ""


def _comparison(runs: Sequence[Run]) -> str:
    """All runs side by side: a table, and the intervals drawn."""
    names = [name for name in SHOWN if any(name in run.measures for run in runs)]
    if not names:
        return ""
    rows = []
    for run in runs:
        kind = "control" if run.name in CONTROLS and len(runs) > 1 else ""
        label = text(run.name) + (' <span class="badge">control</span>' if kind else "")
        cells = [cell(label, run.name, markup=True), cell(str(len(run.records)), number=True)]
        for name in names:
            measure = run.measures.get(name)
            if measure is None:
                cells.append(cell("-", "", number=True))
                continue
            low, high = measure["ci95"]
            shown = (
                f"{_number(measure['mean'])} <br><span class=small>{_number(low)} to {_number(high)}</span>"
            )
            cells.append(cell(shown, measure["mean"], number=True, markup=True))
        rows.append((kind, cells))
    columns = [("policy", False), ("episodes", True), *((_title(name), True) for name in names)]
    drawn = [
        charts.intervals(
            _title(name),
            {
                run.name: (run.measures[name]["mean"], *run.measures[name]["ci95"])
                for run in runs
                if name in run.measures
            },
        )
        for name in ("success", "spl")
        if name in names
    ]
    note = "Means over episodes with 95 % bootstrap intervals."
    if any(run.name in CONTROLS for run in runs[1:]):
        note += (
            " Controls say what the episodes allow: the best (oracle), chance (random), no thought (forward)."
        )
    content = table(columns, rows, caption="measures of each policy")
    return section(
        "Policies side by side", content + f'<div class="charts rows">{"".join(drawn)}</div>', note
    )


def _paired(runs: Sequence[Run]) -> str:
    """The first run less each of the others, episode by episode: narrower than either's own interval."""
    own, *others = runs
    names = [name for name in SHOWN if name in own.measures]
    records = {(record["scene_id"], record["episode_id"]): record for record in own.records}
    rows = []
    for other in others:
        pairs = [
            (records[key], record)
            for record in other.records
            if (key := (record["scene_id"], record["episode_id"])) in records
        ]
        cells = [cell(f"less {other.name}"), cell(str(len(pairs)), number=True)]
        for name in names:
            both = [
                (a[name], b[name]) for a, b in pairs if _is_number(a.get(name)) and _is_number(b.get(name))
            ]
            if not both:
                cells.append(cell("-", "", number=True))
                continue
            less = np.array([a - b for a, b in both], np.float64)
            low, high = bootstrap_interval(less)
            ends = f"<span class=small>{_number(low)} to {_number(high)}</span>"
            cells.append(cell(f"{_number(less.mean())} <br>{ends}", less.mean(), number=True, markup=True))
        rows.append(("control" if other.name in CONTROLS else "", cells))
    if not rows or not names:
        return ""
    columns = [(own.name, False), ("episodes", True), *((_title(name), True) for name in names)]
    return section(
        "Episode by episode",
        table(columns, rows, caption=f"{own.name} less each other policy"),
        f"{own.name} less each other policy on the episodes that both ran, with 95 % bootstrap intervals of the"
        " difference: one without 0 in it is a difference that these episodes show.",
    )


def _plots(runs: Sequence[Run]) -> str:
    """Distributions over episodes."""

    def values(name: str) -> dict[str, list[float]]:
        return {run.name: [r[name] for r in run.records if _is_number(r.get(name))] for run in runs}

    parts = []
    if any(values("spl").values()):
        parts.append(charts.histogram("SPL of the episodes", values("spl"), "SPL"))
    if any(values("distance_to_goal").values()):
        label = "metres from the goal at the end"
        parts.append(charts.distribution("Distance left at the end", values("distance_to_goal"), label))
    points = {
        run.name: [
            (r["start_distance"], r["soft_spl"], bool(r.get("success")))
            for r in run.records
            if _is_number(r.get("start_distance")) and _is_number(r.get("soft_spl"))
        ]
        for run in runs
    }
    if any(points.values()):
        x_label = "shortest path at the start, metres"
        parts.append(charts.scatter("Soft SPL by difficulty", points, x_label, "soft SPL"))
    if not parts:
        return ""
    return section(
        "Over the episodes",
        charts.legend([r.name for r in runs]) + f'<div class="charts">{"".join(parts)}</div>',
    )


def _video_of(run: Run, record: Mapping[str, Any]) -> Path | None:
    """The video of an episode, where there is one."""
    path = run.folder / "videos" / f"{job_name((str(record['scene_id']), str(record['episode_id'])))}.mp4"
    return path if path.is_file() else None


def _videos(runs: Sequence[Run], beside: Path) -> str:
    """The videos, small ones inside the page, others by their path."""
    shown, left = [], 10 * EMBEDDED_BYTES
    total = 0
    for run in runs:
        by_path = {path: record for record in run.records if (path := _video_of(run, record))}
        for path in sorted((run.folder / "videos").glob("*.mp4")):
            total += 1
            if len(shown) >= _MOST_VIDEOS:
                continue
            size = path.stat().st_size
            source = _address(path, beside)
            if size <= min(EMBEDDED_BYTES, left):
                left -= size
                source = f"data:video/mp4;base64,{_base64(path.read_bytes())}"
            record = by_path.get(path)
            told = path.stem
            if record is not None:
                told = f"{scene_name(str(record['scene_id']))} {record['episode_id']}"
            words = f"<b>{text(run.name)}</b> {text(told)}"
            if record is not None:
                good = bool(record.get("success"))
                words += f' <span class="badge {"good" if good else "bad"}">{"success" if good else "failure"}</span>'
                words += f" {text(record.get('steps', '?'))} steps, SPL {text(_number(record.get('spl')))}"
            poster = still(path)
            cover = f' poster="data:image/jpeg;base64,{_base64(poster)}"' if poster else ""
            shown.append(
                f'<figure><video controls muted loop playsinline preload="none"{cover} src="{text(source)}" '
                f'aria-label="{text(f"video of {path.stem}")}"></video><figcaption>{words}</figcaption></figure>'
            )
    if not shown:
        return ""
    note = (
        "Point map (XYZ as colour), depth, and the map: walked path blue, shortest path orange, goal a star."
    )
    if total > len(shown):
        note += f" The first {len(shown)} of {total}; the others are in videos/."
    return section("Videos", f'<div class="gallery wide">{"".join(shown)}</div>', note)


def _recording(runs: Sequence[Run], beside: Path) -> str:
    """How to open the 3D recording."""
    paths = [run.folder / "recording.rrd" for run in runs if (run.folder / "recording.rrd").is_file()]
    if not paths:
        return ""
    lines = "".join(
        f'<p><a href="{text(_address(path, beside))}" download>{text(_address(path, beside))}</a> '
        f'<span class="small">{path.stat().st_size / 2**20:.1f} MiB</span></p>'
        f"<pre>rerun {text(os.path.relpath(path, beside))}</pre>"
        for path in paths
    )
    note = "Scene, point maps, camera, path and measures over time; --web-viewer opens it in a browser."
    return section("3D recording", lines, note)


def _episodes(runs: Sequence[Run], beside: Path) -> str:
    """Every episode, sortable."""
    names = [n for n in SHOWN if any(n in record for run in runs for record in run.records)]
    if any("start_distance" in record for run in runs for record in run.records):
        names = ["start_distance", *names]
    several, rows = len(runs) > 1, []
    for run in runs:
        for record in run.records:
            cells = [cell(run.name)] if several else []
            cells += [cell(str(record["episode_id"])), cell(str(record["scene_id"]), wrap=True)]
            for name in names:
                value = record.get(name)
                if name == "success" and _is_number(value):
                    good = bool(value)
                    shown = (
                        f'<span class="badge {"good" if good else "bad"}">{"yes" if good else "no"}</span>'
                    )
                    cells.append(cell(shown, value, markup=True))
                else:
                    cells.append(cell(_number(value), value if _is_number(value) else "", number=True))
            video = _video_of(run, record)
            link = f'<a href="{text(_address(video, beside))}">video</a>' if video else ""
            cells.append(cell(link, "video" if video else "", markup=True))
            rows.append(("", cells))
    columns = [("policy", False)] if several else []
    columns += [("episode", False), ("scene", False)]
    columns += [(_title(name), name != "success") for name in names] + [("video", False)]
    content = table(columns, rows, caption="episodes", name="episodes", sortable=True, tall=True)
    return section(f"Episodes ({len(rows)})", content, "Click a heading to sort.")


def _provenance(run: Run, comparison: Mapping[str, Any]) -> str:
    """What it takes to make these numbers again."""
    summary = comparison if comparison.get("rows") else run.summary
    blocks = []
    if summary.get("command"):
        blocks.append(f"<pre>{text(summary['command'])}</pre>")
    for name in ("config_sha256", "weights_sha256"):
        if summary.get(name):
            blocks.append(facts({name: summary[name]}))
    for heading, values in (
        ("Settings", run.config),
        ("Versions", summary.get("versions")),
        ("Hardware", summary.get("hardware")),
    ):
        if values:
            blocks.append(f"<details open><summary>{heading}</summary>{facts(values)}</details>")
    return section("How these numbers came about", "".join(blocks)) if blocks else ""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _address(path: Path, beside: Path) -> str:
    """The path relative to the page, as an address."""
    return quote(Path(os.path.relpath(path.resolve(), beside.resolve())).as_posix())


def _title(name: str) -> str:
    return {"spl": "SPL", "soft_spl": "soft SPL"}.get(name, name.replace("_", " "))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _number(value: Any) -> str:
    if not _is_number(value):
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
