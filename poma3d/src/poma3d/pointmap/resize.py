"""Resizing point maps without inventing points: a valid pixel is never mixed with an invalid one."""

from __future__ import annotations

import numpy as np

from poma3d.errors import SettingError
from poma3d.pointmap.arrays import Array, floating, is_torch, like, namespace


def resize(
    point_map: Array, valid: Array, height: int, width: int, *, average: bool = False
) -> tuple[Array, Array]:
    """Bring a point map to ``height`` x ``width`` pixels.

    By default each new pixel takes the old pixel under its centre, so every point still lies on a surface.
    With ``average`` (only for shrinking by whole factors) it takes the mean of the *valid* old pixels it
    covers: smoother, but across an edge the mean floats between the two surfaces.

    Args:
        point_map: (..., H, W, 3) metres.
        valid: (..., H, W) bool; of numbers, all but 0.
        height: new number of rows.
        width: new number of columns.
        average: take means instead of samples.

    Returns:
        ``point_map`` (..., height, width, 3) and ``valid`` (..., height, width); XYZ are 0 where not valid.

    Raises:
        SettingError: shapes that do not fit, a size below 1, or ``average`` with sizes that do not divide.
    """
    point_map = floating(point_map)
    xp = namespace(point_map)
    valid = (valid if is_torch(valid) else np.asarray(valid)) != 0
    if point_map.ndim < 3 or point_map.shape[-1] != 3 or tuple(valid.shape) != tuple(point_map.shape[:-1]):
        raise SettingError(
            f"a point map (..., H, W, 3) and its validity (..., H, W) are needed,"
            f" found {tuple(point_map.shape)} and {tuple(valid.shape)}"
        )
    if not all(isinstance(size, int | np.integer) and size >= 1 for size in (height, width)):
        raise SettingError(f"cannot resize a point map to {height} x {width} pixels")
    old_height, old_width = point_map.shape[-3:-1]
    if not average:
        kept = sample_pixels(valid, height, width)
        rows, columns = _sampled(old_height, height)[:, None], _sampled(old_width, width)
        points = point_map[..., rows, columns, :]  # (..., height, width, 3)
        return xp.where(kept[..., None], points, xp.zeros_like(points)), kept
    if old_height % height or old_width % width:
        raise SettingError(
            f"averaging needs sizes that divide: {old_height} x {old_width} does not shrink to"
            f" {height} x {width}"
        )
    batch = tuple(point_map.shape[:-3])
    blocks = (*batch, height, old_height // height, width, old_width // width)
    weight = like(valid, point_map).reshape(*blocks)  # (..., H, W) -> (..., h, H/h, w, W/w)
    known = xp.where(valid[..., None], point_map, xp.zeros_like(point_map))  # not weighted: NaN * 0 is NaN
    total = known.reshape(*blocks, 3).sum(-2).sum(-3)  # (..., H, W, 3) -> (..., h, w, 3)
    count = weight.sum(-1).sum(-2)  # (..., h, w)
    kept = count > 0
    mean = total / xp.where(kept, count, xp.ones_like(count))[..., None]
    return xp.where(kept[..., None], mean, xp.zeros_like(mean)), kept


def sample_pixels(values: Array, height: int, width: int) -> Array:
    """The pixels (..., height, width) of (..., H, W) that `resize` keeps, for ids and other things not to mix."""
    rows, columns = (_sampled(old, new) for old, new in zip(values.shape[-2:], (height, width), strict=True))
    return values[..., rows[:, None], columns]


def _sampled(old: int, new: int) -> np.ndarray:
    """(new,) int64: of ``old`` pixels in a line, those under the centres of ``new`` ones."""
    return ((np.arange(new) + 0.5) * old / new).astype(np.int64)
