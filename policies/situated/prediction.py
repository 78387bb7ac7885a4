"""Answers of a head to samples: the same numbers for any order, number of workers or other samples beside them.

Matrix products over other numbers of rows may differ in their last bits, so samples are always asked in the same
company: those of one scene, in the order of their ids, in groups of a fixed size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from policies.situated.batch import Batcher
from policies.situated.posed import by_scene
from policies.situated.samples import Answers

_GROUP = 32
"""Samples that are asked together."""


@torch.no_grad()
def predict(
    head: nn.Module,
    batcher: Batcher,
    answers: Answers,
    on_scene: Callable[[str], None] = lambda scan: None,
) -> dict[str, np.ndarray]:
    """For each output (N, classes) float32 logits of all samples of the batcher, in its order.

    The head comes back in the mode it was in.
    """
    training = head.training
    head.eval()
    logits = {
        name: np.zeros((len(batcher.samples), len(classes)), np.float32)
        for name, classes in answers.classes.items()
    }
    for scan, group in by_scene(batcher.samples).items():
        for start in range(0, len(group), _GROUP):
            chosen = group[start : start + _GROUP]
            for name, values in head(batcher(chosen)).items():
                logits[name][chosen] = values.float().cpu().numpy()
        on_scene(scan)
    head.train(training)
    return logits


def hits(logits: np.ndarray, targets: np.ndarray, among: int = 1) -> np.ndarray:
    """(N,) bool: one of the ``among`` best answers is right; among equals the first class counts as better."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :among]
    return np.asarray(np.take_along_axis(targets, best, axis=1).any(axis=1))


def accuracy(logits: dict[str, np.ndarray], targets: dict[str, np.ndarray]) -> dict[str, float]:
    """Share of right answers of every output."""
    return {name: float(hits(values, targets[name]).mean()) for name, values in logits.items()}


def probabilities(logits: np.ndarray) -> np.ndarray:
    """(N, classes) softmax of logits, float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
