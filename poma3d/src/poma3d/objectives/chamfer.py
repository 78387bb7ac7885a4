"""Chamfer distance between sets of tokens, with squared L2: what lets POMA-JEPA forget the order of the patches.

Shapes: S sets, N and M tokens, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LARGEST = 1 << 25
"""Distances held at once: 128 MiB in float32."""


def chamfer(
    predicted: Tensor,
    target: Tensor,
    predicted_counts: Tensor | None = None,
    target_counts: Tensor | None = None,
) -> Tensor:
    """Symmetric Chamfer distance, mean over tokens and channels: the half of both directions.

    Every token is compared with the nearest of the other set, so the order within either set is no matter.

    Args:
        predicted: (S, N, C).
        target: (S, M, C).
        predicted_counts: (S, N) bool, the tokens that take part; None takes all.
        target_counts: (S, M) bool.

    Returns:
        A scalar, float32; 0 where no set has tokens on both sides.
    """
    with torch.autocast(predicted.device.type, enabled=False):
        predicted, target = predicted.float(), target.float()
        if predicted_counts is None:
            predicted_counts = predicted.new_ones(predicted.shape[:2], dtype=torch.bool)
        if target_counts is None:
            target_counts = target.new_ones(target.shape[:2], dtype=torch.bool)
        # A set that is empty on one side has no nearest token: both sides are left out.
        both = predicted_counts.any(1, keepdim=True) & target_counts.any(1, keepdim=True)  # (S, 1)
        predicted_counts, target_counts = predicted_counts & both, target_counts & both
        forth = _to_nearest(predicted, target, target_counts)  # (S, N)
        back = _to_nearest(target, predicted, predicted_counts)  # (S, M)
        return (_mean(forth, predicted_counts) + _mean(back, target_counts)) / 2


def _to_nearest(tokens: Tensor, others: Tensor, counts: Tensor) -> Tensor:
    """Squared distance per channel of each token (S, N, C) to the nearest of ``others`` (S, M, C): (S, N).

    The search runs without gradients: only the pair that it finds carries one, and so no matrix of distances
    is kept for the backward pass.
    """
    with torch.no_grad():
        step = max(1, _LARGEST // (tokens.shape[1] * others.shape[1]))
        nearest = torch.cat(
            [_nearest(*part) for part in zip(*(x.split(step) for x in (tokens, others, counts)), strict=True)]
        )  # (S, N)
    found = others.gather(1, nearest[..., None].expand(-1, -1, others.shape[-1]))  # (S, M, C) -> (S, N, C)
    return (tokens - found).square().mean(-1)


def _nearest(tokens: Tensor, others: Tensor, counts: Tensor) -> Tensor:
    """Which of ``others`` is nearest to each token. Its own squared length is the same for all and left out."""
    length = others.square().sum(-1).masked_fill(~counts, torch.inf)  # (s, M)
    return torch.baddbmm(length[:, None], tokens, others.transpose(1, 2), alpha=-2).argmin(-1)  # (s, N)


def _mean(distances: Tensor, counts: Tensor) -> Tensor:
    """Mean over the tokens that count."""
    return distances.masked_fill(~counts, 0.0).sum() / counts.sum().clamp(min=1)
