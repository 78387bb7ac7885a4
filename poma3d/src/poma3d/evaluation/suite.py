"""All measures beside training, on held-out ScenePoint folders.

Probes learn on one half of the scenes (the even ones) and are scored on the other; `Suite.transfer` scores them on
other scenes altogether. Controls stand beside: chance and the commonest class here, and the same measures of an
encoder with random weights by `Suite.measure` on it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from poma3d.encoder import PointMapEncoder
from poma3d.errors import SettingError
from poma3d.evaluation.consistency import view_consistency
from poma3d.evaluation.features import Features, extract
from poma3d.evaluation.probe import UNKNOWN, accuracy, knn, linear_probe, majority, mean_iou
from poma3d.evaluation.retrieval import scene_retrieval
from poma3d.scenepoint import DataSettings, ScenePointDataset
from poma3d.scenepoint.captions import read_retrieval
from poma3d.scenepoint.folder import ScenePointFolder
from poma3d.towers import TextTower

PATCHES = 20_000
"""Patches that a probe learns from and is scored on, at most each."""


class Suite:
    """Measures of encoders on the scenes of some folders.

    Args:
        roots: ScenePoint folders.
        size: rows and columns of a point map that the encoder takes.
        views: views of a scene.
        categories: names of the patch classes; None: those of the folders.
        room_types: the same for rooms.
    """

    def __init__(
        self,
        roots: Sequence[str | os.PathLike[str]],
        size: int,
        *,
        views: int = 32,
        categories: Sequence[str] | None = None,
        room_types: Sequence[str] | None = None,
    ) -> None:
        settings = DataSettings(views=views, size=size, labels=True)
        self.dataset = ScenePointDataset(list(roots), settings, categories=categories, room_types=room_types)
        self.utterances = utterances(roots)

    def features(self, encoder: PointMapEncoder) -> Features:
        """What the encoder says of the scenes."""
        scenes = (self.dataset[number] for number in range(len(self.dataset)))
        return extract(encoder, scenes, len(self.dataset.categories))

    def measure(self, encoder: PointMapEncoder, text: TextTower | None) -> dict[str, float]:
        """Every measure that the folders have labels for, all in [0, 1]."""
        found = self.features(encoder)
        measures: dict[str, float] = {}
        if text is not None and any(self.utterances.get(scan) for scan in found.scan_ids):
            measures |= scene_retrieval(found.scenes, found.scan_ids, self.utterances, text)
        learn = torch.arange(len(found.scan_ids)) % 2 == 0
        if len(found.scan_ids) > 1:
            measures |= self._probes(found, learn, found, ~learn)
        return measures | _consistency(found)

    def transfer(self, encoder: PointMapEncoder, other: Suite) -> dict[str, float]:
        """Probes that learn on all scenes here, scored on all scenes of ``other``.

        Raises:
            SettingError: the two do not share their classes; give ``other`` the names of this suite.
        """
        names = (self.dataset.categories, self.dataset.room_types)
        if names != (other.dataset.categories, other.dataset.room_types):
            raise SettingError("probes transfer between suites of the same categories and room types alone")
        here, there = self.features(encoder), other.features(encoder)
        everything = [torch.ones(len(f.scan_ids), dtype=torch.bool) for f in (here, there)]
        return self._probes(here, everything[0], there, everything[1])

    def _probes(self, train: Features, learn: Tensor, test: Features, score: Tensor) -> dict[str, float]:
        measures: dict[str, float] = {}
        rooms = len(self.dataset.room_types)
        x, y = train.views[learn].flatten(0, 1), train.rooms[learn].flatten()
        u, v = test.views[score].flatten(0, 1), test.rooms[score].flatten()
        if rooms and _labelled(y, v):
            measures["room_linear_accuracy"] = accuracy(linear_probe(x, y, u, rooms), v)
            measures["room_knn_accuracy"] = accuracy(knn(x, y, u, rooms), v)
            measures["room_majority_accuracy"] = accuracy(torch.full_like(v, majority(y, rooms)), v)
        classes = len(self.dataset.categories)
        x, y = _patches(train, learn)
        u, v = _patches(test, score)
        if classes and _labelled(y, v):
            measures["patch_linear_miou"] = mean_iou(linear_probe(x, y, u, classes), v, classes)
            measures["patch_knn_miou"] = mean_iou(knn(x, y, u, classes), v, classes)
            common = torch.full_like(v, majority(y, classes))
            measures["patch_majority_miou"] = mean_iou(common, v, classes)
        return measures


def utterances(roots: Sequence[str | os.PathLike[str]]) -> dict[str, list[str]]:
    """What the retrieval files of some folders say of each scan; without such files, its scene captions."""
    said: dict[str, list[str]] = {}
    for root in roots:
        folder = ScenePointFolder(root)
        files = sorted(folder.root.glob("retrieval/*.jsonl"))
        for query in (query for file in files for query in read_retrieval(file)):
            said.setdefault(query.scan_id, []).append(query.utterance)
        if not files:
            said.update({scan: list(texts) for scan, texts in folder.scene_captions.items()})
    return said


def _patches(features: Features, scenes: Tensor) -> tuple[Tensor, Tensor]:
    """At most `PATCHES` labelled patches of some scenes, evenly picked: (n, C) and (n,)."""
    tokens, labels = features.tokens[scenes].flatten(0, 2), features.patch_classes[scenes].flatten()
    known = (labels != UNKNOWN).nonzero()[:, 0]
    known = known[:: max(1, -(-len(known) // PATCHES))]
    return tokens[known].float(), labels[known]


def _labelled(*labels: Tensor) -> bool:
    return all(bool((some != UNKNOWN).any()) for some in labels)


def _consistency(found: Features) -> dict[str, float]:
    """Mean over scenes of the consistency of their views, and chance."""
    rows = [
        view_consistency(tokens, centres, seen)
        for tokens, centres, seen in zip(found.tokens, found.centres, found.seen, strict=True)
    ]
    rows = [row for row in rows if row[2]]
    if not rows:
        return {}
    right, chance = (sum(row[i] for row in rows) / len(rows) for i in (0, 1))
    return {"view_consistency": right, "view_consistency_chance": chance}
