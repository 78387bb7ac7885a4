"""Intervals of a mean over questions that were asked in scenes: whole scenes are drawn again, not questions.

Questions of one scene are alike, so that an interval over single ones would be too narrow. Where all were asked in one
scene its questions are drawn: that interval says what other questions there would give, and nothing of other scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.results import RESAMPLES
from poma3d.errors import SettingError


def scene_interval(values: np.ndarray, scenes: Sequence[str], *, seed: int = 0) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles of the mean of ``values`` (N,) over resampled scenes.

    Percentile bootstrap of clusters (Davison and Hinkley 1997, section 3.8), the same for the same seed and the
    same in any order of the questions.

    Args:
        values: a number for each question, finite.
        scenes: the scene of each.
        seed: of the resamples.

    Raises:
        SettingError: no values, or not one scene for each.
    """
    values, (group, _) = np.asarray(values, np.float64), _groups(values, scenes)
    sums, counts = np.bincount(group, weights=values), np.bincount(group)
    rng = np.random.Generator(np.random.Philox(seed))
    drawn = rng.integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def mean_over_scenes(values: np.ndarray, scenes: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """``{"mean", "ci95", "n"}`` of values (N,), as summaries hold it (see `scene_interval`)."""
    low, high = scene_interval(values, scenes, seed=seed)
    return {"mean": float(np.mean(values)), "ci95": [low, high], "n": len(values)}


def median_over_scenes(values: np.ndarray, scenes: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """``{"median", "ci95", "n"}`` of values (N,), the interval by drawing whole scenes again."""
    values, (group, count) = np.asarray(values, np.float64), _groups(values, scenes)
    members = [values[group == number] for number in range(count)]
    rng = np.random.Generator(np.random.Philox(seed))
    drawn = rng.integers(0, count, (RESAMPLES, count))
    medians = [np.median(np.concatenate([members[number] for number in row])) for row in drawn]
    low, high = np.quantile(medians, [0.025, 0.975])
    return {"median": float(np.median(values)), "ci95": [float(low), float(high)], "n": len(values)}


def _groups(values: np.ndarray, scenes: Sequence[str]) -> tuple[np.ndarray, int]:
    """The number of each value's unit (N,), and how many units there are: scenes, or the questions of the only one."""
    if np.ndim(values) != 1 or len(values) == 0 or len(values) != len(scenes):
        raise SettingError(
            f"an interval needs values (N,) and the scene of each, found {np.shape(values)} and {len(scenes)}"
        )
    names, group = np.unique(np.asarray(scenes, dtype=str), return_inverse=True)
    if len(names) > 1:
        return group, len(names)
    # By size, so that the order of the questions changes no draw.
    return np.argsort(np.argsort(values)), len(group)
