"""The learning rate of each step."""

from __future__ import annotations

import math


def learning_rate(step: int, steps: int, top: float, warmup_steps: int) -> float:
    """The rate of step ``step`` (from 0) of ``steps``: linear growth to ``top``, then half a cosine to 0.

    The growth takes ``warmup_steps``, but never more than a tenth of the run.
    """
    growth = min(warmup_steps, steps // 10)
    if step < growth:
        return top * (step + 1) / growth
    return top * 0.5 * (1.0 + math.cos(math.pi * (step - growth) / max(steps - growth, 1)))
