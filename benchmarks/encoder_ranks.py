"""Effective rank along pretraining, of every run of a table: a picture, and its least values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poma3d.evaluation.rank_history import RankPoint, rank_history, rank_summary
from poma3d.files import atomic_path

BAR = 0.5
"""Share of the maximum that a healthy run stays above."""


def histories(rows: Mapping[str, Sequence[str]]) -> dict[str, list[RankPoint]]:
    """The history of every checkpoint of some rows that is a run's folder with logs; by row and number of the seed."""
    found = {}
    for row, checkpoints in rows.items():
        for number, checkpoint in enumerate(checkpoints):
            run = Path(checkpoint).expanduser()
            if not (run / "settings.json").is_file():
                continue
            points = rank_history(run)
            if points:
                found[row if len(checkpoints) == 1 else f"{row} {number}"] = points
    return found


def summaries(found: Mapping[str, list[RankPoint]]) -> list[dict[str, Any]]:
    """A row a run and stage; see `poma3d.evaluation.rank_history.rank_summary`."""
    return [{"run": run, **row} for run, points in found.items() for row in rank_summary(points)]


def draw(found: Mapping[str, list[RankPoint]], path: Path) -> None:
    """Draw both shares over the steps of both stages, one line a run.

    Raises:
        FileError: the picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, name, title in zip(
        axes, ("patches", "views"), ("patch tokens", "view embeddings"), strict=True
    ):
        for run, points in found.items():
            steps, shares, offset, stage = [], [], 0, points[0].stage
            for point in points:
                if point.stage != stage:
                    offset, stage = steps[-1], point.stage
                    axis.axvline(offset, color="0.8", linewidth=1)
                steps.append(offset + point.step)
                shares.append(getattr(point, name))
            axis.plot(steps, shares, label=run, linewidth=1.2)
        axis.axhline(BAR, color="black", linestyle=":", linewidth=1)
        axis.set(title=title, xlabel="step (the warm-up, then main)", ylim=(0, 1))
    axes[0].set_ylabel("effective rank / maximum")
    axes[0].legend(fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
