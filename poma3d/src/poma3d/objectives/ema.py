"""The target encoder: an exponential moving average of the context encoder."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def ema_momentum(step: int, steps: int, start: float = 0.996, end: float = 1.0) -> float:
    """Momentum after ``step`` of ``steps``: linear from ``start`` to ``end`` (I-JEPA's and POMA-3D's)."""
    return start + (end - start) * min(step / steps, 1.0)


def target_copy(module: Module) -> Module:
    """A frozen copy of ``module`` in inference mode (no dropout)."""
    return copy.deepcopy(module).requires_grad_(False).eval()


@torch.no_grad()
def ema_update(target: nn.Module, context: nn.Module, momentum: float) -> None:
    """target <- momentum target + (1 - momentum) context, for the weights of ``context`` that train."""
    for average, weight in zip(target.parameters(), context.parameters(), strict=True):
        if weight.requires_grad:
            average.lerp_(weight, 1.0 - momentum)
