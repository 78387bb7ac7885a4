"""The table of encoders as text that people read, in Markdown: measures down, rows of the table across, percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_PROBES = ("room_linear_accuracy", "room_knn_accuracy", "patch_linear_miou", "patch_knn_miou")
_PROBE_LABELS = ("room type, linear", "room type, kNN", "patch mIoU, linear", "patch mIoU, kNN")


def measure_labels(transfer: Sequence[str]) -> dict[str, str]:
    """The measures that the table shows, in order, and what it calls them."""
    labels = {f"R@{m}-{n}": f"retrieval R@{m}-{n}" for m, n in ((1, 1), (1, 5), (5, 1), (5, 5))}
    labels |= {f"rooms_{name}": f"{label}, rooms" for name, label in labels.items()}
    labels |= dict(zip(_PROBES, _PROBE_LABELS, strict=True))
    labels |= {
        "view_consistency": "view consistency",
        "rank_patches_share": "effective rank of patch tokens / maximum",
        "rank_views_share": "effective rank of view embeddings / maximum",
    }
    labels |= {
        f"agent_{name}": f"{label}, agent's frame" for name, label in zip(_PROBES, _PROBE_LABELS, strict=True)
    }
    for name in transfer:
        labels[f"{name}_patch_linear_miou"] = f"transfer to {name}: patch mIoU, linear"
        labels[f"{name}_agent_patch_linear_miou"] = f"transfer to {name}: patch mIoU, linear, agent's frame"
        labels[f"{name}_agent_patch_knn_miou"] = f"transfer to {name}: patch mIoU, kNN, agent's frame"
    return labels


def markdown(table: Mapping[str, Any]) -> str:
    """The table as text: a line a measure, a column a row, in percent; below it the differences."""
    labels = measure_labels(list(table["data"]["transfer"]))
    rows = table["rows"]
    head = [
        row["row"] if len(row["checkpoints"]) < 2 else f"{row['row']} ({len(row['checkpoints'])} seeds)"
        for row in rows
    ]
    lines = [_line(["percent", *head]), _line(["---", *["---:"] * len(head)])]
    for name, label in labels.items():
        if any(name in row["measures"] for row in rows):
            lines.append(_line([label, *(_cell(row["measures"].get(name)) for row in rows)]))
    others = table["differences"]
    if others:
        lines += ["", f"Less {others[0]['against']}, the same scenes drawn for both, points:", ""]
        lines += [
            _line(["", *(row["row"] for row in others)]),
            _line(["---", *["---:"] * len(others)]),
        ]
        for name, label in labels.items():
            if any(name in row["measures"] for row in others):
                lines.append(_line([label, *(_cell(row["measures"].get(name)) for row in others)]))
    data = table["data"]
    moved = ", ".join(
        f"{name} ({d['scenes']} scene{'s' * (d['scenes'] > 1)}, {d['views']} views)"
        for name, d in data["transfer"].items()
    )
    lines += [
        "",
        f"{data['validation_scenes']} held-out scenes of {_views(data, 'views_of_scenes', 'views')},"
        f" {data['categories']} categories, {data['room_types']} room types; "
        + (
            f"{data['rooms']:,} single rooms of {_views(data, 'views_of_rooms', 'room_views')}; "
            if data.get("rooms")
            else ""
        )
        + "probes learn on the even scenes and are scored on the odd ones"
        + (f"; transfer, of the same probes: {moved}" if moved else "")
        + ". Perfect labels: one who knows the categories and the room of every view, and finds scenes by the names in"
        " a query. [95 % intervals by bootstrap over scenes, of transfer over views]; ± is the standard deviation over"
        " seeds.",
    ]
    return "\n".join(lines) + "\n"


def _views(data: Mapping[str, Any], found: str, asked: str) -> str:
    """How many views there are, where the table says it; older tables say how many were asked for."""
    least, most = data.get(found, (data[asked], data[asked]))
    return f"{most} views" if least == most else f"up to {most} views"


def _cell(measure: Mapping[str, Any] | None) -> str:
    if measure is None:
        return "-"
    low, high = measure["ci95"]
    percent = 100 * measure["mean"]
    digits = 2 if low == high and 0 < percent < 0.5 else 1  # chance among a thousand scenes
    text = f"{percent:.{digits}f}"
    if low < high:
        text += f" [{100 * low:.1f}, {100 * high:.1f}]"
    return text + (f" ± {100 * measure['sd']:.1f}" if "sd" in measure else "")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
