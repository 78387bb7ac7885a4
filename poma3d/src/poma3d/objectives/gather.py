"""Collect rows of all ranks so that gradients find their way back to the rank they came from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, distributed

_ALONE = ContextVar("alone", default=False)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Within, this process counts as the only one: what one rank does while the others wait gathers nothing."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def ranks() -> int:
    """How many processes train together; 1 without ``torch.distributed``, and within `alone`."""
    if _ALONE.get():
        return 1
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return distributed.get_rank() if ranks() > 1 else 0


def gather_rows(rows: Tensor) -> Tensor:
    """The rows (N, ...) of every rank, in order of rank: (ranks N, ...); N is the same on all of them.

    The gradient of a row is the sum of what every rank's loss says of it. With a loss that is a mean over the
    rank's own rows, and gradients averaged over ranks as DistributedDataParallel does, the result is the gradient
    of the mean over all rows: that of one rank with the whole batch.
    """
    if ranks() == 1:
        return rows
    return _Gather.apply(rows) if rows.requires_grad else _gathered(rows)


def _gathered(rows: Tensor) -> Tensor:
    parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(ranks())]
    distributed.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        """The rows of all ranks, in the order of the ranks."""
        ctx.count = len(rows)
        return _gathered(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """What the losses of all ranks say of the rows of this one, summed."""
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total[rank() * ctx.count : (rank() + 1) * ctx.count]
