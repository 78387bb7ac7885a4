"""What every surface refuses before it answers: points that are no points."""

from __future__ import annotations

import numpy as np

from poma3d.errors import SettingError


def point_batch(points: np.ndarray, name: str) -> np.ndarray:
    """``points`` as an own (B, 3) float32 array, laid out as kernels are compiled for and Detour's vectors are.

    Args:
        points: (B, 3) or (3,).
        name: what errors call them.

    Raises:
        SettingError: no numbers, or another shape.
    """
    try:
        batch = np.array(points, np.float32, order="C", ndmin=2)
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"{name} must be numbers of shape (B, 3), found {type(points).__name__}"
        ) from error
    if batch.size == 0:
        return np.empty((0, 3), np.float32)
    if batch.shape[1:] != (3,):
        raise SettingError(f"{name} must have the shape (B, 3), found {np.shape(points)}")
    return batch
