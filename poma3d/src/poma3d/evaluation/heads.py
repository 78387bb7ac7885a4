"""The probes of an encoder, learned once on some scenes and scored on any others of the same classes.

Shapes: S scenes, V views, P patches, C width, D embedding, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from poma3d.evaluation.features import Features
from poma3d.evaluation.intervals import Measure, mean_iou, ratio
from poma3d.evaluation.probe import LinearProbe, Neighbours, majority
from poma3d.scenepoint import UNKNOWN

PATCHES = 50_000
"""Labelled patches that the linear probe learns from, at most, evenly picked."""
BANK, ASKED = 20_000, 50_000
"""Labelled patches that neighbours are looked for among, and patches that are asked for, likewise."""


@dataclass(frozen=True)
class Heads:
    """Probes for room types of views and categories of patches; None where nothing is labelled."""

    room_types: int
    """Number of room types."""
    categories: int
    """Number of categories."""
    room_linear: LinearProbe | None
    """From view embeddings."""
    room_knn: Neighbours | None
    """The same."""
    room_majority: int
    """The commonest room type."""
    patch_linear: LinearProbe | None
    """From patch tokens."""
    patch_knn: Neighbours | None
    """The same."""
    patch_majority: int
    """The commonest category."""

    @classmethod
    @torch.no_grad()
    def learn(cls, found: Features, scenes: Tensor, room_types: int, categories: int) -> Heads:
        """Learn from the ``scenes`` (S,) bool of ``found``."""
        rooms, views = found.rooms[scenes].flatten(), found.views[scenes].flatten(0, 1)
        V, P = found.patch_classes.shape[1:]
        count = int(scenes.sum())
        room_linear = room_knn = patch_linear = patch_knn = None
        if room_types and _labelled(rooms):
            of_scene = torch.arange(count).repeat_interleave(V)
            room_linear = LinearProbe(views, rooms, room_types, groups=of_scene)
            room_knn = Neighbours(views, rooms, room_types)
        patches, tokens = found.patch_classes[scenes].flatten(), found.tokens[scenes].flatten(0, 2)
        if categories and _labelled(patches):
            of_scene = torch.arange(count).repeat_interleave(V * P)
            picked = _picked(patches, PATCHES)
            patch_linear = LinearProbe(tokens[picked], patches[picked], categories, groups=of_scene[picked])
            picked = _picked(patches, BANK)
            patch_knn = Neighbours(tokens[picked], patches[picked], categories)
        return cls(
            room_types,
            categories,
            room_linear,
            room_knn,
            majority(rooms, room_types) if room_linear is not None else UNKNOWN,
            patch_linear,
            patch_knn,
            majority(patches, categories) if patch_linear is not None else UNKNOWN,
        )

    @torch.no_grad()
    def score(self, found: Features, scenes: Tensor, *, by_view: bool = False) -> dict[str, Measure]:
        """Measures on the ``scenes`` (S,) bool of ``found``, with controls that answer the commonest class.

        Args:
            found: features of the encoder that the probes learned from.
            scenes: which.
            by_view: intervals over views instead of scenes, where there are few scenes.
        """
        measures: dict[str, Measure] = {}
        V, P = found.patch_classes.shape[1:]
        count = int(scenes.sum())
        rooms, views = found.rooms[scenes].flatten(), found.views[scenes].flatten(0, 1)
        if self.room_linear is not None and self.room_knn is not None and _labelled(rooms):
            unit = torch.arange(count * V) // (1 if by_view else V)
            common = torch.full_like(rooms, self.room_majority)
            for name, answers in (
                ("linear", self.room_linear(views)),
                ("knn", self.room_knn(views)),
                ("majority", common),
            ):
                measures[f"room_{name}_accuracy"] = _accuracy(answers, rooms, unit)
        patches, tokens = found.patch_classes[scenes].flatten(), found.tokens[scenes].flatten(0, 2)
        if self.patch_linear is not None and self.patch_knn is not None and _labelled(patches):
            unit = torch.arange(count * V * P) // (P if by_view else V * P)
            every, some = (patches != UNKNOWN).nonzero()[:, 0], _picked(patches, ASKED)
            common = torch.full_like(patches, self.patch_majority)
            linear = self.patch_linear(tokens[every])
            for name, answers, asked in (
                ("patch_linear_miou", linear, every),
                ("patch_knn_miou", self.patch_knn(tokens[some]), some),
                ("patch_majority_miou", common[every], every),
            ):
                measures[name] = _miou(answers, patches[asked], unit[asked], self.categories)
            measures["patch_linear_accuracy"] = _accuracy(linear, patches[every], unit[every])
            measures["patch_majority_accuracy"] = _accuracy(common[every], patches[every], unit[every])
        return measures


def _labelled(labels: Tensor) -> bool:
    return bool((labels != UNKNOWN).any())


def _picked(labels: Tensor, most: int) -> Tensor:
    """At most ``most`` of the labelled ones, evenly: their numbers."""
    known = (labels != UNKNOWN).nonzero()[:, 0]
    return known[torch.linspace(0, len(known) - 1, min(most, len(known)), dtype=torch.float64).long()]


def _accuracy(predicted: Tensor, labels: Tensor, unit: Tensor) -> Measure:
    """Share of the known labels that are met, drawn unit by unit."""
    known = (labels != UNKNOWN).numpy()
    right = (predicted == labels).numpy() & known
    of_unit = unit.numpy()
    units = int(of_unit.max()) + 1
    return ratio(np.bincount(of_unit, right, units), np.bincount(of_unit, known, units))


def _miou(predicted: Tensor, labels: Tensor, unit: Tensor, classes: int) -> Measure:
    units = int(unit.max()) + 1

    def counts(which: Tensor, classes_of: Tensor) -> np.ndarray:
        place = unit[which] * classes + classes_of[which]
        return torch.bincount(place, minlength=units * classes).reshape(units, classes).numpy()

    everything = torch.ones_like(labels, dtype=torch.bool)
    return mean_iou(
        counts(predicted == labels, labels), counts(everything, labels), counts(everything, predicted)
    )
