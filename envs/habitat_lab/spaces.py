"""Spaces of ``gym`` as spaces of Gymnasium, by what they say of themselves; needs neither habitat-lab nor gym."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np


def gymnasium_spaces(spaces: Mapping[str, Any]) -> dict[str, gymnasium.Space[Any]]:
    """Boxes and discrete spaces; observations of any other kind (instructions, questions) are left out.

    Args:
        spaces: of ``gym`` or Gymnasium, by name.
    """
    converted = {}
    for name, space in spaces.items():
        if all(hasattr(space, part) for part in ("low", "high", "shape", "dtype")):
            converted[name] = _box(space)
        elif int(getattr(space, "n", 0)) > 0 and not hasattr(space, "spaces"):
            converted[name] = gymnasium.spaces.Discrete(int(space.n), start=int(getattr(space, "start", 0)))
    return converted


def _box(space: Any) -> gymnasium.spaces.Box:
    dtype, shape = np.dtype(space.dtype), tuple(int(size) for size in space.shape)
    low, high = (np.broadcast_to(np.asarray(bound, dtype), shape).copy() for bound in (space.low, space.high))
    return gymnasium.spaces.Box(low, high, shape, dtype.type)
