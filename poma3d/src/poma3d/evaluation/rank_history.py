"""Effective rank of the features along a pretraining, read from its logs: did they ever collapse?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poma3d.training.log import read_log
from poma3d.training.settings import read_recipe


@dataclass(frozen=True)
class RankPoint:
    """One line of a log."""

    stage: str
    """``warm-up`` or ``main``."""
    step: int
    """Steps of the stage done."""
    patches: float
    """Effective rank of the patch tokens over their width."""
    views: float
    """Effective rank of the view embeddings over the most that they can have: their channels, or how many views one
    batch of one process has less one."""


def rank_history(run: Path) -> list[RankPoint]:
    """The points of all stages of a run's folder, in order; of the moving average in ``main``.

    Raises:
        FileError: the folder holds no run, or its settings are damaged.
    """
    recipe = read_recipe(run)
    width, channels = recipe["encoder"]["width"], recipe["encoder"]["embedding"]
    points = []
    for name, stage in (("warm-up", recipe["warm_up"]), ("main", recipe["main"])):
        folder = run / name
        if not (folder / "log.jsonl").is_file():
            continue
        views = stage["batch"] * (1 if stage["single_views"] else stage["views"])
        most = min(channels, views - 1)
        points += [
            RankPoint(name, line["step"], line["rank_patches"] / width, line["rank_views"] / max(most, 1))
            for line in read_log(folder)
            if "rank_patches" in line
        ]
    return points


def rank_summary(points: list[RankPoint]) -> list[dict[str, Any]]:
    """A row a stage: smallest, median and last shares, and at which step the smallest."""
    rows = []
    for stage in dict.fromkeys(point.stage for point in points):
        own = [point for point in points if point.stage == stage]
        row: dict[str, Any] = {"stage": stage, "lines": len(own)}
        for name in ("patches", "views"):
            shares = [getattr(point, name) for point in own]
            row[name] = {
                "least": min(shares),
                "least_at_step": own[shares.index(min(shares))].step,
                "median": sorted(shares)[len(shares) // 2],
                "last": shares[-1],
            }
        rows.append(row)
    return rows
