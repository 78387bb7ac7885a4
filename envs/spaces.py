"""Gymnasium spaces for what an agent sees: a point map and its validity.

Gymnasium's own array space, ``Box``, is taken for an 8-bit picture by Stable-Baselines3 as soon as it has
three axes, and its checker then warns about dtype, bounds and size; a 2-D ``Box`` it calls unconventional.
Metric XYZ are no picture. ``MultiBinary`` is the array space of any shape that Stable-Baselines3 hands on as
it is (no one-hot, no division by 255), so both spaces derive from it and state their own dtype and bounds;
batches of them are plain ``Box`` spaces of the right bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatten_space
from gymnasium.vector.utils import batch_differing_spaces, batch_space

from poma3d.errors import SettingError


class PointMapSpace(spaces.MultiBinary):
    """Point maps (H, W, 3) float32 in metres, every coordinate within ``[-reach, reach]``.

    Args:
        height: rows, H.
        width: columns, W.
        reach: bound on the coordinates, metres.
        seed: of `sample`.
    """

    def __init__(
        self, height: int, width: int, reach: float, seed: int | np.random.Generator | None = None
    ) -> None:
        super().__init__((height, width, 3), seed)
        self.dtype = np.dtype(np.float32)  # type: ignore[assignment]
        self.reach = float(np.float32(reach))

    @property
    def low(self) -> np.ndarray:
        """Lower bounds (H, W, 3)."""
        return np.full(self.shape, -self.reach, dtype=np.float32)

    @property
    def high(self) -> np.ndarray:
        """Upper bounds (H, W, 3)."""
        return np.full(self.shape, self.reach, dtype=np.float32)

    def sample(self, mask: Any = None, probability: Any = None) -> np.ndarray:
        """Draw coordinates uniformly between the bounds; masks do not apply."""
        return self.np_random.uniform(-self.reach, self.reach, size=self.shape).astype(np.float32)

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a float32 array of this shape, finite and within the bounds."""
        if not isinstance(x, np.ndarray) or x.shape != self.shape or not np.can_cast(x.dtype, np.float32):
            return False
        return bool((np.abs(x) <= self.reach).all())

    def __repr__(self) -> str:
        """Show shape and bounds."""
        return f"PointMapSpace(shape={self.shape}, reach={self.reach:g} m)"

    def __eq__(self, other: object) -> bool:
        """Whether shape and bounds are the same."""
        return isinstance(other, PointMapSpace) and self.n == other.n and self.reach == other.reach


class ValiditySpace(spaces.MultiBinary):
    """Validity masks (H, W) of dtype bool, so that ``point_map[valid]`` selects points.

    Args:
        height: rows, H.
        width: columns, W.
        seed: of `sample`.
    """

    def __init__(self, height: int, width: int, seed: int | np.random.Generator | None = None) -> None:
        super().__init__((height, width), seed)
        self.dtype = np.dtype(np.bool_)  # type: ignore[assignment]

    def sample(self, mask: Any = None, probability: Any = None) -> np.ndarray:
        """Toss a coin for every pixel; masks do not apply."""
        return self.np_random.random(size=self.shape) < 0.5

    def __repr__(self) -> str:
        """Show the shape."""
        return f"ValiditySpace(shape={self.shape})"

    def __eq__(self, other: object) -> bool:
        """Whether the shape is the same."""
        return isinstance(other, ValiditySpace) and self.n == other.n


def _bounds(space: PointMapSpace | ValiditySpace) -> tuple[float, float]:
    return (-space.reach, space.reach) if isinstance(space, PointMapSpace) else (0, 1)


@batch_space.register(PointMapSpace)
@batch_space.register(ValiditySpace)
def _batch(space: PointMapSpace | ValiditySpace, n: int = 1) -> spaces.Box:
    low, high = _bounds(space)
    shape: Sequence[int] = (n, *space.shape)
    return spaces.Box(low, high, shape, space.dtype.type, seed=deepcopy(space.np_random))


@batch_differing_spaces.register(PointMapSpace)
@batch_differing_spaces.register(ValiditySpace)
def _batch_differing(several: Sequence[PointMapSpace | ValiditySpace]) -> spaces.Box:
    """Of environments whose cameras see to different depths; Gymnasium's ``observation_mode="different"``."""
    if len({space.shape for space in several}) > 1:
        raise SettingError(
            "environments of one vector show views of one size, found"
            f" {', '.join(' x '.join(map(str, space.shape[:2])) for space in several)}"
        )
    # (N,) bounds -> (N, 1, ...) -> (N, H, W, 3) or (N, H, W)
    low, high = (
        np.broadcast_to(
            np.reshape(bound, (-1, *[1] * len(several[0].shape))), (len(several), *several[0].shape)
        )
        for bound in np.transpose([_bounds(space) for space in several])
    )
    kind = several[0].dtype.type
    return spaces.Box(low.astype(kind), high.astype(kind), dtype=kind, seed=deepcopy(several[0].np_random))


@flatten_space.register(PointMapSpace)
@flatten_space.register(ValiditySpace)
def _flatten(space: PointMapSpace | ValiditySpace) -> spaces.Box:
    low, high = _bounds(space)
    return spaces.Box(low, high, (int(np.prod(space.shape)),), space.dtype.type)
