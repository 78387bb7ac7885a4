"""Colour pictures of scenes that have no colours: a hue for each category, shaded by the slant of surfaces.

They fill the authors' ``color_images``; an image tower learns little from them that the point map does not say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

_LIGHT = np.array([0.35, 0.2, 0.92], dtype=np.float32)
"""Where the light comes from, in the scene's frame (z up)."""
_NOTHING = (235, 240, 245)


def paint(
    point_map: np.ndarray, valid: np.ndarray, category_ids: np.ndarray, categories: Sequence[str]
) -> np.ndarray:
    """Pictures of views.

    Args:
        point_map: (V, H, W, 3) metres, z up.
        valid: (V, H, W) bool.
        category_ids: (V, H, W) indices of ``categories``, -1 for none.
        categories: their names; a name has the same colour in every scene.

    Returns:
        (V, H, W, 3) uint8 RGB.
    """
    palette = np.array(
        [*map(_colour, categories), (190, 190, 190)], dtype=np.float32
    )  # the last one serves id -1
    across, down = np.zeros_like(point_map), np.zeros_like(point_map)
    np.subtract(point_map[:, :, 1:], point_map[:, :, :-1], out=across[:, :, :-1])
    np.subtract(point_map[:, 1:], point_map[:, :-1], out=down[:, :-1])
    ax, ay, az = (down[..., axis] for axis in range(3))
    bx, by, bz = (across[..., axis] for axis in range(3))
    x, y, z = (
        ay * bz - az * by,
        az * bx - ax * bz,
        ax * by - ay * bx,
    )  # the cross product is the surface's normal
    length = np.sqrt(x * x + y * y + z * z) + np.float32(1e-12)
    shade = np.float32(0.65) + np.float32(0.35) * (x * _LIGHT[0] + y * _LIGHT[1] + z * _LIGHT[2]) / length
    picture = np.clip(palette[category_ids] * shade[..., None], 0, 255).astype(np.uint8)
    picture[~valid] = _NOTHING
    return picture


def _colour(category: str) -> tuple[int, int, int]:
    """A colour of a category's own, neither dark nor pale; what encloses a room is off-white."""
    red, green, blue = hashlib.sha256(category.encode()).digest()[:3]
    if category.split()[-1] in ("wall", "walls", "ceiling"):
        return (225 + red % 16, 222 + green % 16, 214 + blue % 16)
    return (70 + red * 165 // 255, 70 + green * 165 // 255, 70 + blue * 165 // 255)
