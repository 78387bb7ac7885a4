"""The control above scene retrieval: how often scenes are found by one who recognises everything.

It reads the labels of the views and, in the queries, the names of categories and room types; what stands left of what,
or how many there are, it does not read. An encoder that recognised without fault would find about as many; where
many scenes have what a query names, that is far from all.

Shapes: S scenes, V views, N names (categories, then room types), Q queries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from poma3d.errors import SettingError
from poma3d.evaluation.intervals import Measure, ratio
from poma3d.evaluation.retrieval import COLUMNS
from poma3d.scenepoint import ScenePointDataset

SMALLEST = 0.005
"""Share of a view's pixels that a category fills to count as shown."""


def label_recall(dataset: ScenePointDataset, utterances: Mapping[str, Sequence[str]]) -> dict[str, Measure]:
    """R@M-N of the labels; a scene's score is the sum over M utterances of the best view's share of what is named.

    Equal scores are drawn among: a query whose scene shares the first place with three others counts as a quarter.

    Args:
        dataset: with labels.
        utterances: what is said of each scan; scenes without take part as answers only.

    Raises:
        SettingError: no scene has an utterance, or the scenes have no labels.
    """
    asked = [number for number, scan in enumerate(dataset.scan_ids) if utterances.get(scan)]
    if not asked:
        raise SettingError(f"none of the {len(dataset)} scenes has an utterance to find it by")
    names = (*dataset.categories, *dataset.room_types)
    if not names:
        raise SettingError("the scenes have no labels of categories or rooms")
    shown = shown_names(dataset)
    found: dict[int, list[np.ndarray]] = {}
    for number in asked:
        texts = utterances[dataset.scan_ids[number]]
        scores = np.array(
            [_scores(shown, named(text, names)) for text in texts[: max(m for m, _ in COLUMNS)]]
        )
        for m in {m for m, _ in COLUMNS}:
            total = scores[:m].sum(0)  # (S,)
            found.setdefault(m, []).append(
                np.array([np.sum(total > total[number]), np.sum(total == total[number])])
            )
    measures = {}
    for m, n in COLUMNS:
        better, equal = np.array(found[m]).T  # (Q,) each; the scene itself is among its equals
        measures[f"R@{m}-{n}"] = ratio(np.clip((n - better) / equal, 0, 1))
    return measures


def shown_names(dataset: ScenePointDataset) -> np.ndarray:
    """Which names each view shows, (S, V, N) bool."""
    K, R = len(dataset.categories), len(dataset.room_types)
    shown = np.zeros((len(dataset), dataset.settings.views, K + R), bool)
    for number in range(len(dataset)):
        sample = dataset[number]
        if sample.semantics is not None:
            for view, ids in enumerate(sample.semantics.numpy()):
                counts = np.bincount(ids[ids >= 0].ravel(), minlength=K)
                shown[number, view, :K] = counts >= SMALLEST * ids.size
        if sample.rooms is not None:
            rooms = sample.rooms.numpy()
            known = np.flatnonzero(rooms >= 0)
            shown[number, known, K + rooms[known]] = True
    return shown


def named(text: str, names: Sequence[str]) -> list[int]:
    """Which names a text holds, in the singular or the plural: the longest first, ``table lamp`` names no ``table``."""
    rest, found = text.lower(), []
    for number in sorted(range(len(names)), key=lambda number: -len(names[number])):
        name = re.escape(names[number].lower().replace("_", " "))
        plural = re.sub("f$", "ves", name)
        rest, times = re.subn(rf"\b({name}|{name}e?s|{plural})\b", ";", rest)
        if times:
            found.append(number)
    return sorted(found)


def _scores(shown: np.ndarray, names: Sequence[int]) -> np.ndarray:
    """(S,) the largest share of ``names`` that one view shows; 0 where nothing is named."""
    return shown[:, :, list(names)].mean(-1).max(1) if len(names) else np.zeros(len(shown))
