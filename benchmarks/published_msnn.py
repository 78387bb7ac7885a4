"""MSNN and situated question answering as published by POMA-3D's authors: theirs, never measured here."""

from __future__ import annotations

from typing import Any

SOURCE = "published by POMA-3D's authors (arXiv 2511.16567), not measured here"

# Percent: ScanQA EM@1 and EM@10, SQA3D likewise, Hypo3D likewise, MSNN in four and in eight directions.
_ROWS: dict[str, tuple[float | None, ...]] = {
    "LLaVA-3D (RGB-D)": (27.0, None, 55.6, None, 33.1, None, 22.9, 12.3),
    "Qwen2.5-VL 7B": (23.7, None, 47.8, None, 30.9, None, 21.8, 2.87),
    "LLaVA-OV 7B": (20.8, None, 47.7, None, 33.2, None, 24.0, 5.83),
    "POMA-3D llm (point map)": (21.3, None, 51.6, None, 35.9, None, 36.9, 21.4),
    "3D-ViSTA (point cloud)": (22.4, 52.1, 48.5, 85.6, 31.0, 81.2, 39.9, 20.1),
    "SceneVerse (point cloud)": (22.7, 51.5, 49.9, 85.0, 31.6, 80.3, 36.0, 19.5),
    "FG-CLIP (point map)": (20.9, 49.9, 49.5, 89.7, 31.1, 82.1, 39.3, 20.4),
    "POMA-3D spec (point map)": (22.3, 52.3, 51.1, 91.2, 33.4, 84.8, 40.4, 21.2),
}
_QUESTIONS = {"scanqa": 0, "sqa3d": 2, "hypo3d": 4}


def published_msnn() -> list[dict[str, Any]]:
    """``{"row", "directions", "accuracy"}`` of MSNN on ScanNet, shares in [0, 1]."""
    return [
        {"row": row, "directions": directions, "accuracy": _share(values[6 + k])}
        for row, values in _ROWS.items()
        for k, directions in enumerate((4, 8))
    ]


def published_answers(dataset: str) -> list[dict[str, Any]]:
    """``{"row", "dataset", "EM@1", "EM@10"}`` of the data set that a name speaks of; none where it speaks of none."""
    return [
        {"row": row, "dataset": name, "EM@1": _share(values[at]), "EM@10": _share(values[at + 1])}
        for name, at in _QUESTIONS.items()
        if name in dataset.lower()
        for row, values in _ROWS.items()
    ]


def _share(percent: float | None) -> float | None:
    return None if percent is None else round(percent / 100, 6)
