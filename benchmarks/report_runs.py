"""What results folders hold, as far as it can be read: damaged lines are named and left out, neighbours are found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.navigation import CONTROLS
from benchmarks.results import canonical_key, summarize
from poma3d.errors import FileError

_MOST_NEIGHBOURS = 100
"""Folders beside a run that are looked into."""


@dataclass
class Run:
    """What one results folder holds, as far as it can be read."""

    folder: Path
    """Where it lies."""
    name: str
    """The policy."""
    records: list[dict[str, Any]]
    """The finished episodes, in canonical order."""
    summary: dict[str, Any]
    """What `summary.json` holds; empty where there is none."""
    config: dict[str, Any]
    """The settings."""
    damage: list[str] = field(default_factory=list)
    """What could not be read, in words."""

    @property
    def measures(self) -> dict[str, dict[str, Any]]:
        """Means with intervals: the summary's, else computed from the episodes."""
        return self.summary.get("measures") or summarize(self.records)


def read_runs(folder: Path) -> list[Run]:
    """The runs of a results folder: its own and same-setting neighbours', or those of the folders below it.

    The one that the page is about comes first, controls last.
    """
    if (folder / "episodes.jsonl").exists():
        own = _read_run(folder)
        return _told_apart([own, *_neighbours(own)])
    below = sorted(path.parent for path in folder.glob("*/episodes.jsonl")) if folder.is_dir() else []
    runs = [replace(_read_run(path), name=path.name) for path in below]  # two may be of one policy
    return sorted(runs, key=_controls_last)


def _controls_last(run: Run) -> int:
    return CONTROLS.index(run.name) if run.name in CONTROLS else -1


def _neighbours(own: Run) -> list[Run]:
    """Runs in folders beside, of another policy, or of another state of it, under otherwise equal settings."""
    if not own.config:
        return []
    others = {"policy": None, "policy_sha256": None}
    wanted = {**own.config, **others}
    seen = {_policy_of(own.config)}
    found = []
    paths = sorted(own.folder.resolve().parent.glob("*/config.json"))[:_MOST_NEIGHBOURS]
    for path in paths:
        if path.parent == own.folder.resolve():
            continue
        config = read_json(path, [])
        policy = _policy_of(config)
        if {**config, **others} == wanted and policy[0] is not None and policy not in seen:
            run = _read_run(path.parent)
            if run.records:
                seen.add(policy)
                found.append(run)
    return sorted(found, key=_controls_last)


def _policy_of(config: Mapping[str, Any]) -> tuple[Any, Any]:
    return config.get("policy"), config.get("policy_sha256")


def _told_apart(runs: list[Run]) -> list[Run]:
    """The runs, those that share a policy's name called by their folders."""
    shared = Counter(run.name for run in runs)
    return [replace(run, name=run.folder.resolve().name) if shared[run.name] > 1 else run for run in runs]


def _read_run(folder: Path) -> Run:
    damage: list[str] = []
    records = _read_lines(folder / "episodes.jsonl", damage)
    summary = read_json(folder / "summary.json", damage)
    config = summary.get("config") or read_json(folder / "config.json", damage)
    policy = config.get("policy") or next((r["policy"] for r in records if r.get("policy")), folder.name)
    return Run(folder, str(policy), sorted(records, key=canonical_key), summary, config, damage)


def _read_lines(path: Path, damage: list[str]) -> list[dict[str, Any]]:
    """The whole lines of an `episodes.jsonl`; those that are damaged are named in ``damage``."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            damage.append(f"{path.name} line {number} is damaged and left out: {_excerpt(line)}")
            continue
        if isinstance(record, dict) and {"episode_id", "scene_id"} <= record.keys():
            records.append(record)
        else:
            damage.append(f"{path.name} line {number} is no episode and left out: {_excerpt(line)}")
    return records


def read_json(path: Path, damage: list[str]) -> dict[str, Any]:
    """The object in a file; empty where there is none, or, which is named in ``damage``, where it cannot be read."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        damage.append(f"{path.name} cannot be read and is left out: {error}")
        return {}
    return found if isinstance(found, dict) else {}


def _excerpt(line: bytes) -> str:
    shown = line.decode(errors="replace").strip()
    return shown if len(shown) <= 80 else shown[:77] + "..."
