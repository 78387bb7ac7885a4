"""Scene retrieval as published by POMA-3D's authors (arXiv 2511.16567, project page): theirs, never measured here."""

from __future__ import annotations

SOURCE = "published by POMA-3D's authors (arXiv 2511.16567), not measured here"

COLUMNS = ("R@1-1", "R@1-5", "R@5-1", "R@5-5")

# Percent, in the order of COLUMNS.
_SCANREFER = {
    "3D-ViSTA": (0.48, 2.27, 0.24, 2.03),
    "SceneVerse": (0.24, 2.27, 0.83, 2.03),
    "FG-CLIP RGB": (5.10, 16.4, 14.9, 42.2),
    "FG-CLIP point map": (0.50, 2.00, 0.25, 2.81),
    "POMA-3D": (9.31, 27.9, 29.4, 59.4),
}
_NR3D = {
    "3D-ViSTA": (0.45, 0.60, 0.15, 0.60),
    "SceneVerse": (0.26, 1.82, 0.26, 1.56),
    "FG-CLIP RGB": (1.37, 6.71, 5.18, 17.2),
    "FG-CLIP point map": (0.46, 1.98, 0.46, 2.13),
    "POMA-3D": (8.10, 15.7, 15.0, 42.2),
}
_SR3D = {
    "3D-ViSTA": (0.33, 1.15, 0.33, 1.48),
    "SceneVerse": (0.28, 1.99, 0.28, 1.70),
    "FG-CLIP RGB": (1.35, 6.42, 1.86, 10.1),
    "FG-CLIP point map": (0.34, 1.18, 0.17, 0.84),
    "POMA-3D": (3.89, 14.0, 6.59, 20.7),
}
TABLES = {"scanrefer": _SCANREFER, "nr3d": _NR3D, "sr3d": _SR3D}
"""Rows of each data set, by its name in small letters."""


def published_rows(name: str) -> list[dict]:
    """The published rows of the data set that a file's name speaks of; POMA-3D's of all where it speaks of none.

    Returns:
        ``{"row", "dataset", "R@1-1", ...}`` with shares in [0, 1].
    """
    wanted = [table for table in TABLES if table in name.lower()]
    return [
        {"row": row, "dataset": table} | {c: round(v / 100, 6) for c, v in zip(COLUMNS, values, strict=True)}
        for table in wanted or TABLES
        for row, values in TABLES[table].items()
        if wanted or row == "POMA-3D"
    ]
