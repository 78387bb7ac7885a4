"""Collapse monitors: do the features still differ from each other, and in how many directions?"""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS = 4096
"""Features looked at; more say nothing new."""


@torch.no_grad()
def feature_deviation(features: Tensor) -> Tensor:
    """Deviation of features (..., C) over all but the last size, mean over channels, over their mean length.

    0 when all features are the same; 1 when they point everywhere alike, whatever their scale.
    """
    rows = _rows(features)
    length = rows.square().mean().sqrt()
    return rows.var(0, correction=0).mean().sqrt() / length.clamp(min=1e-12)


@torch.no_grad()
def effective_rank(features: Tensor) -> Tensor:
    """Effective rank of features (..., C): the exponential of the entropy of their normalised singular values.

    After Roy and Vetterli (EUSIPCO 2007), on centred features. Between 1 (one direction) and C (all
    alike); NaN of features that are no numbers.
    """
    rows = _rows(features)
    centred = rows - rows.mean(0)
    if not bool(centred.isfinite().all()):  # the decomposition would raise
        return rows.new_full((), torch.nan)
    # The singular values are the roots of the eigenvalues of the small C x C matrix.
    values = torch.linalg.eigvalsh((centred.T @ centred).double()).clamp(min=0).sqrt()
    total = values.sum()
    share = values / total.clamp(min=1e-12)
    entropy = -torch.special.xlogy(share, share).sum()
    return torch.where(total > 0, entropy.exp(), torch.ones_like(entropy)).float()


def _rows(features: Tensor) -> Tensor:
    """At most `_ROWS` of the features, evenly picked, as (n, C) float32."""
    rows = features.detach().flatten(0, -2)  # (..., C) -> (n, C)
    return rows[:: max(1, -(-len(rows) // _ROWS))].float()
