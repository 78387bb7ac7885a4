"""What every backend refuses before it renders: poses, transforms and depth ranges that are none."""

from __future__ import annotations

import numpy as np

from poma3d.errors import SettingError, UserError


class SimulatorClosedError(UserError, RuntimeError):
    """A simulator was used after it had been closed."""


def rigid_transforms(name: str, values: np.ndarray, batch: int | None = None) -> np.ndarray:
    """Rigid transforms as (B, 4, 4) float64; a single (4, 4) is repeated where a batch size is given.

    Args:
        name: what errors call them.
        values: (B, 4, 4), or (4, 4) with ``batch``.
        batch: how many are needed; None takes as many as there are.

    Raises:
        SettingError: another shape, or values that are not finite numbers.
    """
    matrices = np.asarray(values, dtype=np.float64)
    if batch is not None and matrices.shape == (4, 4):
        matrices = np.broadcast_to(matrices, (batch, 4, 4))
    if matrices.ndim != 3 or matrices.shape[1:] != (4, 4) or batch not in (None, len(matrices)):
        expected = "(B, 4, 4)" if batch is None else f"(4, 4) or ({batch}, 4, 4)"
        raise SettingError(f"{name} must have the shape {expected}, found {np.shape(values)}")
    if not np.isfinite(matrices).all():
        bad = np.flatnonzero(~np.isfinite(matrices).all(axis=(1, 2)))
        raise SettingError(f"{name} holds values that are not finite numbers (entry {bad[0]} of the batch)")
    return matrices


def checked_depth_range(depth_range: tuple[float, float]) -> tuple[float, float]:
    """The range itself.

    Raises:
        SettingError: it is not (near, far) with 0 <= near < far.
    """
    nearest, farthest = depth_range
    if not 0 <= nearest < farthest:
        raise SettingError(
            f"depth_range must be (near, far) with 0 <= near < far, found {tuple(depth_range)!r}"
        )
    return nearest, farthest
