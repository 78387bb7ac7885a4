"""Samples as tensors: the features of their scenes once, and what is each sample's own.

Shapes: B samples, S scenes among them (B, with views encoded from the agent), K patches, V views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from policies.situated.features import SceneFeatures
from policies.situated.posed import PosedFeatures, by_scene
from policies.situated.samples import Sample


@dataclass(frozen=True)
class HeadBatch:
    """What a head sees."""

    texts: list[str]
    """B texts."""
    scene: Tensor
    """(B,) int64 which of the S scenes."""
    views: Tensor
    """(S, V, D) view embeddings."""
    view_seen: Tensor
    """(S, V) bool: False where a scene has fewer views."""
    tokens: Tensor
    """(S, K, C) patch tokens."""
    view_of: Tensor
    """(S, K) int64: which view each patch belongs to."""
    centres: Tensor
    """(S, K, 3) scene frame, metres."""
    patch_seen: Tensor
    """(S, K) bool."""
    location: Tensor
    """(B, 3) metres."""
    yaw: Tensor
    """(B,) radians."""
    way_bearing: Tensor | None
    """(B, K) radians in the scene's frame."""
    way_distance: Tensor | None
    """(B, K) metres."""
    counts: Tensor | None
    """(S, K, W) pixels of each category in a patch, of all the categories of the training scenes."""


class Batcher:
    """Makes batches of samples.

    Args:
        samples: all that may be asked for; those of one scene share what is computed for it.
        posed: features with poses; None for heads that see none.
        fields: of a sample's text that are read.
        categories: names that ``counts`` shall index; none leaves them out.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        posed: PosedFeatures | None,
        fields: Sequence[str],
        categories: Sequence[str] = (),
    ) -> None:
        self.samples, self.posed = list(samples), posed
        self._texts = [sample.text(fields) for sample in self.samples]
        self._groups = by_scene(self.samples)
        self._place = {k: row for group in self._groups.values() for row, k in enumerate(group)}
        self._categories = {name: k for k, name in enumerate(categories)}

    def __call__(
        self,
        chosen: Sequence[int],
        *,
        turns: np.ndarray | None = None,
        keep: float = 1.0,
        rng: np.random.Generator | None = None,
    ) -> HeadBatch:
        """The batch of the samples with these numbers.

        Args:
            chosen: B numbers.
            turns: (B,) radians by which the agents are turned to the left.
            keep: share of a scene's patches that are drawn.
            rng: draws them.
        """
        samples = [self.samples[k] for k in chosen]
        yaw = np.array([sample.yaw for sample in samples]) + (0 if turns is None else turns)
        texts = [self._texts[k] for k in chosen]
        if self.posed is None:
            return _blind(texts, samples, yaw)
        scans = list(dict.fromkeys(sample.scan_id for sample in samples))
        scenes = {scan: self.posed.features[scan] for scan in scans}
        posed = {scan: self.posed.of([self.samples[k] for k in self._groups[scan]]) for scan in scans}
        rows = [(sample.scan_id, self._place[k]) for sample, k in zip(samples, chosen, strict=True)]
        shared = not self.posed.from_agent
        groups = [(scan, None) for scan in scans] if shared else rows
        patches: list[np.ndarray] = []  # of each group, the scene's patches that are looked at
        tokens: list[np.ndarray] = []
        for scan, row in groups:
            whole = posed[scan].patches
            of = np.arange(len(scenes[scan].tokens)) if whole is None or row is None else whole[row]
            found = posed[scan].tokens
            values = scenes[scan].tokens if found is None or row is None else found[row]
            at = np.flatnonzero(scenes[scan].seen[of])
            if rng is not None and keep < 1.0:
                at = np.sort(rng.permutation(at)[: max(1, round(keep * len(at)))])
            patches.append(of[at])
            tokens.append(values[at])
        number = {scan: k for k, scan in enumerate(scans)}
        scene = [number[scan] for scan, _ in rows] if shared else list(range(len(rows)))
        way_bearing = way_distance = None
        if self.posed.ways:
            ways = [(posed[scan], row, patches[g]) for (scan, row), g in zip(rows, scene, strict=True)]
            way_bearing = _padded([p.bearing[row][at] for p, row, at in ways if p.bearing is not None])
            way_distance = _padded([p.distance[row][at] for p, row, at in ways if p.distance is not None])
        counts = None
        if self._categories:
            counts = _padded(
                [self._counts(scenes[s], at) for (s, _), at in zip(groups, patches, strict=True)]
            )
        return HeadBatch(
            texts=texts,
            scene=torch.tensor(scene),
            views=_padded([scenes[scan].cls for scan, _ in groups]),
            view_seen=_padded([np.ones(len(scenes[scan].cls), bool) for scan, _ in groups]).bool(),
            tokens=_padded(tokens),
            view_of=_padded(
                [_view_of(scenes[s], at) for (s, _), at in zip(groups, patches, strict=True)]
            ).long(),
            centres=_padded([scenes[s].centres[at] for (s, _), at in zip(groups, patches, strict=True)]),
            patch_seen=_padded([np.ones(len(at), bool) for at in patches]).bool(),
            location=torch.from_numpy(np.stack([posed[scan].location[row] for scan, row in rows])),
            yaw=torch.from_numpy(yaw.astype(np.float32)),
            way_bearing=way_bearing,
            way_distance=way_distance,
            counts=counts,
        )

    def _counts(self, scene: SceneFeatures, at: np.ndarray) -> np.ndarray:
        """(k, W) pixels of each of the training scenes' categories."""
        wide = np.zeros((len(at), len(self._categories)), np.float32)
        for column, name in enumerate(scene.categories):
            if name in self._categories:
                wide[:, self._categories[name]] += scene.counts[at, column]
        return wide


def _view_of(scene: SceneFeatures, at: np.ndarray) -> np.ndarray:
    """(k,) views of the scene's patches ``at``."""
    return at // (len(scene.tokens) // len(scene.cls))


def _padded(arrays: Sequence[np.ndarray]) -> Tensor:
    """Arrays (k_i, ...) as one float32 tensor (n, max k, ...), zeros behind the shorter ones."""
    longest = max(map(len, arrays))
    out = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), np.float32)
    for row, array in zip(out, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(out)


def _blind(texts: list[str], samples: Sequence[Sample], yaw: np.ndarray) -> HeadBatch:
    """A batch without scenes, for the controls."""
    none = torch.zeros(1, 0, 1)
    location = np.array([s.location or (0.0, 0.0, 0.0) for s in samples], np.float32)
    return HeadBatch(
        texts=texts,
        scene=torch.zeros(len(samples), dtype=torch.int64),
        views=none,
        view_seen=none[..., 0].bool(),
        tokens=none,
        view_of=none[..., 0].long(),
        centres=torch.zeros(1, 0, 3),
        patch_seen=none[..., 0].bool(),
        location=torch.from_numpy(location),
        yaw=torch.from_numpy(yaw.astype(np.float32)),
        way_bearing=None,
        way_distance=None,
        counts=None,
    )
