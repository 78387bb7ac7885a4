"""Pictures of which direction was taken for which: a square a row of the table, truth down, answers across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poma3d.files import atomic_path

NAMES = {
    4: ("forward", "left", "back", "right"),
    8: ("forward", "fwd left", "left", "back left", "back", "back right", "right", "fwd right"),
}
"""Short names of the directions."""


def draw_confusion(rows: Sequence[Mapping[str, Any]], directions: int, path: str | Path) -> None:
    """Write one picture (PNG) with a square for each row of so many directions.

    Args:
        rows: as `benchmarks.msnn.score` gives them.
        directions: 4 or 8.
        path: the file.
    """
    from matplotlib.figure import Figure

    shown = [row for row in rows if row["directions"] == directions and row.get("confusion")]
    if not shown:
        return
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    side = 2.6 if directions == 4 else 3.6
    figure = Figure(figsize=(columns * side + 0.6, lines * (side + 0.5)), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()  # (lines, columns) -> (squares,)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    for axis, row in zip(axes, shown, strict=False):
        counts = np.asarray(row["confusion"], float)
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axis.imshow(share, vmin=0, vmax=1, cmap="Blues")
        for (truth, answer), value in np.ndenumerate(share):
            colour = "white" if value > 0.55 else "black"
            axis.text(answer, truth, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color=colour)
        axis.set_title(f"{row['head']}  {100 * row['accuracy']['mean']:.1f} %", fontsize=9)
        axis.set_xticks(range(directions), NAMES[directions], rotation=60, ha="right", fontsize=7)
        axis.set_yticks(range(directions), NAMES[directions], fontsize=7)
        axis.set_xlabel("answer", fontsize=8)
        axis.set_ylabel("truth", fontsize=8)
    figure.suptitle(f"MSNN in {directions} directions: percent of each true direction", fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130)
