"""All measures of an encoder on held-out ScenePoint folders, with 95 % intervals by bootstrap over scenes.

Probes learn on one half of the scenes (the even ones) and are scored on the other, and on other scenes altogether by
`Suite.transfer`. Each view is encoded once. Controls stand beside: chance and the commonest class here, and the same
measures of an encoder with random weights by the same call on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from poma3d.encoder import PointMapEncoder
from poma3d.errors import SettingError
from poma3d.evaluation.consistency import view_consistency
from poma3d.evaluation.features import Features, Placing, extract, scene_embeddings
from poma3d.evaluation.heads import Heads
from poma3d.evaluation.intervals import Measure, effective_rank, ratio
from poma3d.evaluation.retrieval import scene_retrieval
from poma3d.scenepoint import DataSettings, ScenePointDataset, SceneSample
from poma3d.scenepoint.captions import read_retrieval
from poma3d.scenepoint.folder import ScenePointFolder
from poma3d.towers import TextTower


class Suite:
    """Measures of encoders on the scenes of some folders.

    Args:
        roots: ScenePoint folders.
        size: rows and columns of a point map that the encoder takes.
        views: views of a scene.
        categories: names of the patch classes; None: those of the folders.
        room_types: the same for rooms.
        aliases: other words of the folders for those names.
    """

    def __init__(
        self,
        roots: Sequence[str | os.PathLike[str]],
        size: int,
        *,
        views: int = 32,
        categories: Sequence[str] | None = None,
        room_types: Sequence[str] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        settings = DataSettings(views=views, size=size, labels=True)
        self.dataset = ScenePointDataset(
            list(roots), settings, categories=categories, room_types=room_types, aliases=aliases
        )
        self.utterances = utterances(roots)

    @property
    def has_cameras(self) -> bool:
        """Whether the views can be placed as agents see them."""
        return self.dataset[0].poses is not None

    @property
    def has_queries(self) -> bool:
        """Whether a scene can be asked for by text."""
        return any(self.utterances.get(scan) for scan in self.dataset.scan_ids)

    def _samples(self, on_scene: Callable[[], None]) -> Iterator[SceneSample]:
        for number in range(len(self.dataset)):
            yield self.dataset[number]
            on_scene()

    def features(
        self,
        encoder: PointMapEncoder,
        *,
        placing: Placing = "scene",
        on_scene: Callable[[], None] = lambda: None,
    ) -> Features:
        """What the encoder says of the scenes; ``on_scene`` is called after each."""
        return extract(encoder, self._samples(on_scene), len(self.dataset.categories), placing=placing)

    def retrieval(
        self, encoder: PointMapEncoder, text: TextTower, *, on_scene: Callable[[], None] = lambda: None
    ) -> dict[str, Measure]:
        """Retrieval alone (`poma3d.evaluation.retrieval.scene_retrieval`), for folders of thousands of scenes."""
        scan_ids, scenes = scene_embeddings(encoder, self._samples(on_scene))
        return scene_retrieval(scenes, scan_ids, self.utterances, text)

    def measure(self, encoder: PointMapEncoder, text: TextTower | None) -> dict[str, float]:
        """Every measure that the folders have labels for, all in [0, 1]; see `measures` for intervals."""
        found = self.features(encoder)
        heads = self.learn(found) if len(found.scan_ids) > 1 else None
        return {name: measure.value for name, measure in self.measures(found, text, heads).items()}

    def learn(self, found: Features) -> Heads:
        """Probes learned on the even scenes."""
        names = self.dataset.room_types, self.dataset.categories
        return Heads.learn(found, _even(found), *map(len, names))

    def measures(self, found: Features, text: TextTower | None, heads: Heads | None) -> dict[str, Measure]:
        """Retrieval, probes, consistency of views and effective rank.

        Args:
            found: of `features`.
            text: the tower that the encoder is aligned with.
            heads: of `learn`; scored on the odd scenes.
        """
        measures: dict[str, Measure] = {}
        if text is not None and self.has_queries:
            measures |= scene_retrieval(found.scenes, found.scan_ids, self.utterances, text)
        if heads is not None:
            measures |= heads.score(found, ~_even(found))
        return measures | _consistency(found) | _ranks(found)

    def transfer(self, heads: Heads, other: Suite, there: Features) -> dict[str, Measure]:
        """Probes that were learned here, scored on all scenes of ``other``; intervals over its views.

        Args:
            heads: of `learn`.
            other: a suite with the names of this one.
            there: its features of the same encoder and placing.

        Raises:
            SettingError: the two do not share their classes; give ``other`` the names of this suite.
        """
        names = (self.dataset.categories, self.dataset.room_types)
        if names != (other.dataset.categories, other.dataset.room_types):
            raise SettingError("probes transfer between suites of the same categories and room types alone")
        return heads.score(there, torch.ones(len(there.scan_ids), dtype=torch.bool), by_view=True)


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


def _even(found: Features) -> torch.Tensor:
    return torch.arange(len(found.scan_ids)) % 2 == 0


def _consistency(found: Features) -> dict[str, Measure]:
    """Mean over scenes of the consistency of their different views, and chance."""
    rows = []
    for tokens, centres, seen, indices in zip(
        found.tokens, found.centres, found.seen, found.view_indices, strict=True
    ):
        # A view agrees with itself, so that each counts once.
        first = np.sort(np.unique(indices, return_index=True)[1])
        rows.append(view_consistency(tokens[first], centres[first], seen[first]))
    rows = [row for row in rows if row[2]]
    if not rows:
        return {}
    right, by_chance, _ = zip(*rows, strict=True)
    return {
        "view_consistency": ratio(np.array(right)),
        "view_consistency_chance": ratio(np.array(by_chance)),
    }


def _ranks(found: Features) -> dict[str, Measure]:
    """Effective rank of view embeddings and patch tokens over their channels."""
    measures = {}
    for name, features in (("views", found.views), ("patches", found.tokens.flatten(1, 2))):
        rows = features.double() if name == "views" else features  # (S, n, C)
        # Taken off first, so that small deviations from a large mean keep their digits.
        mean = rows.mean((0, 1))
        moments = [(len(row), (row - mean).sum(0), (row - mean).T @ (row - mean)) for row in rows]
        count, total, square = (np.array([np.asarray(m[i], np.float64) for m in moments]) for i in range(3))
        measures[f"rank_{name}_share"] = effective_rank(count, total, square)
    return measures
