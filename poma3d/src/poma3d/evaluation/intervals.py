"""Numbers with what the bootstrap over scenes says about them; rows drawn alike can be compared scene by scene.

Percentile bootstrap (Efron 1979). The draws depend on the number of units alone, so the replicates of two encoders
on the same scenes belong to the same drawn scenes, and the quantiles of their difference are those of a paired test.
Drawn scenes are fewer different ones and hold fewer rare classes and directions, which moves mean IoU up and the rank
down: the replicates of these two are moved back by as much as their mean is off.
Shapes: S units (scenes, or views of one scene), R replicates, K classes, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RESAMPLES = 1000
"""Replicates behind an interval."""
_RANK_RESAMPLES = 200
"""The same for the effective rank, whose replicates each cost an eigenvalue problem."""


@dataclass(frozen=True)
class Measure:
    """A number and its replicates."""

    value: float
    """Of the units as they are."""
    replicates: np.ndarray
    """(R,) the same of units drawn with replacement."""

    @property
    def ci95(self) -> tuple[float, float]:
        """The 2.5 % and 97.5 % quantiles of the replicates."""
        low, high = np.quantile(self.replicates, [0.025, 0.975])
        return float(low), float(high)


def certain(value: float) -> Measure:
    """A number that no draw changes."""
    return Measure(value, np.array([value]))


def mean_over(measures: Sequence[Measure]) -> Measure:
    """The mean of the same measure over several seeds, drawn scene by scene together."""
    return Measure(
        float(np.mean([m.value for m in measures])), np.mean([m.replicates for m in measures], axis=0)
    )


def difference(ours: Measure, theirs: Measure) -> Measure:
    """Ours less theirs, on the same drawn scenes."""
    return Measure(ours.value - theirs.value, ours.replicates - theirs.replicates)


def ratio(right: np.ndarray, asked: np.ndarray | None = None) -> Measure:
    """The sum of ``right`` (S,) over the sum of ``asked`` (S,); over the number of units without it."""
    right = np.asarray(right, np.float64)
    asked = np.ones(len(right)) if asked is None else np.asarray(asked, np.float64)
    drawn = _draws(len(right))
    below = drawn @ asked
    return Measure(
        float(right.sum() / asked.sum()), (drawn @ right) / np.maximum(below, np.finfo(float).tiny)
    )


def mean_iou(both: np.ndarray, labelled: np.ndarray, predicted: np.ndarray) -> Measure:
    """Mean intersection over union of the classes that occur among the labels.

    Args:
        both: (S, K) patches of each unit and class that are predicted right.
        labelled: (S, K) patches of the class.
        predicted: (S, K) patches predicted to be of it.
    """

    def score(both: np.ndarray, labelled: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        occurs = labelled > 0
        share = both / np.maximum(labelled + predicted - both, 1)
        return (share * occurs).sum(-1) / np.maximum(occurs.sum(-1), 1)

    counts = [np.asarray(part, np.float64) for part in (both, labelled, predicted)]
    drawn = _draws(len(counts[0]))
    return _centred(
        float(score(*(part.sum(0) for part in counts))), score(*(drawn @ part for part in counts))
    )


def effective_rank(count: np.ndarray, total: np.ndarray, square: np.ndarray) -> Measure:
    """Effective rank over its maximum, in (0, 1], of features of which each unit's moments are given.

    As `poma3d.objectives.collapse.effective_rank`, from all features and not from some.

    Args:
        count: (S,) features of each unit.
        total: (S, C) their sum.
        square: (S, C, C) the sum of their outer products.
    """
    C = total.shape[1]
    flat = square.reshape(len(square), -1)  # (S, C, C) -> (S, C C)

    def score(weight: np.ndarray) -> float:
        n = weight @ count
        mean = weight @ total / n
        covariance = (weight @ flat).reshape(C, C) / n - np.outer(mean, mean)
        values = np.sqrt(np.linalg.eigvalsh(covariance).clip(min=0))
        if not values.sum():
            return 1 / C
        share = values / values.sum()
        share = share[share > 0]
        return float(np.exp(-(share * np.log(share)).sum()) / C)

    whole = np.ones(len(count))
    return _centred(
        score(whole), np.array([score(weight) for weight in _draws(len(count))[:_RANK_RESAMPLES]])
    )


def _centred(value: float, replicates: np.ndarray) -> Measure:
    """The replicates moved so that their mean is the value."""
    return Measure(value, replicates - (replicates.mean() - value))


@lru_cache(maxsize=8)
def _draws(units: int) -> np.ndarray:
    """(R, S) float64: how often each unit is drawn."""
    rng = np.random.Generator(np.random.Philox(units))
    drawn = rng.multinomial(units, np.full(units, 1 / units), size=RESAMPLES).astype(np.float64)
    drawn.setflags(write=False)
    return drawn
