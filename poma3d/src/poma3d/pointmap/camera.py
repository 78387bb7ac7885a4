"""The pinhole camera: field of view to rays, depth to points, points to pixels.

Habitat's convention: ``hfov`` is horizontal, pixels are square (one focal length for both axes), pixel
centres lie at +0.5, and depth is the distance along the optical axis (z-depth), not along the ray.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from poma3d.errors import SettingError
from poma3d.pointmap.arrays import Array, floating, is_torch, like, namespace


@dataclass(frozen=True)
class Camera:
    """A pinhole camera of ``height`` x ``width`` pixels.

    Raises:
        SettingError: a size below 1 or a field of view outside (0, 180) degrees.
    """

    height: int
    """Rows, H."""
    width: int
    """Columns, W."""
    hfov: float = 90.0
    """Horizontal field of view, degrees."""

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            size = getattr(self, name)
            if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
                raise SettingError(
                    f"camera {name} must be a whole number of at least 1 pixel, found {size!r}"
                )
        if not (isinstance(self.hfov, int | float | np.number) and 0.0 < self.hfov < 180.0):
            raise SettingError(
                f"camera hfov must lie strictly between 0 and 180 degrees, found {self.hfov!r}"
                " (a pinhole camera cannot see a half space)"
            )

    @property
    def focal(self) -> float:
        """Focal length in pixels, the same for both axes: ``0.5 * W / tan(hfov / 2)``."""
        return 0.5 * self.width / math.tan(math.radians(self.hfov) / 2)

    @property
    def vfov(self) -> float:
        """Vertical field of view, degrees."""
        return math.degrees(2 * math.atan(0.5 * self.height / self.focal))

    @property
    def intrinsics(self) -> np.ndarray:
        """The matrix K (3, 3), float64: pixel ``(u, v)`` of a camera-frame point is ``K @ (x, y, z) / z``."""
        f = self.focal
        return np.array([[f, 0.0, self.width / 2], [0.0, f, self.height / 2], [0.0, 0.0, 1.0]])

    def rays(self) -> np.ndarray:
        """Camera-frame ray of every pixel centre, (H, W, 3) float64, at z = 1: point = depth * ray."""
        x = (np.arange(self.width) + 0.5 - self.width / 2) / self.focal
        y = (np.arange(self.height) + 0.5 - self.height / 2) / self.focal
        rays = np.ones((self.height, self.width, 3))
        rays[..., 0] = x  # (W,) over every row
        rays[..., 1] = y[:, None]  # (H, 1) over every column
        return rays


def depth_to_points(depth: Array, camera: Camera) -> tuple[Array, Array]:
    """Turn z-depth into camera-frame points.

    Args:
        depth: (..., H, W) metres along the optical axis; 0, negative, NaN or infinite: nothing was hit.
        camera: the camera that took it.

    Returns:
        ``points`` (..., H, W, 3) in `Frame.CAMERA`, of the depth's dtype, 0 where invalid; ``valid``
        (..., H, W).

    Raises:
        SettingError: the depth's last two sizes are not the camera's, or it is in whole numbers.
    """
    depth = _metres(depth)
    if tuple(depth.shape[-2:]) != (camera.height, camera.width):
        raise SettingError(
            f"depth of shape {tuple(depth.shape)} does not fit a camera of {camera.height} x {camera.width}"
            " pixels (rows x columns)"
        )
    xp = namespace(depth)
    valid = xp.isfinite(depth) & (depth > 0)
    hit = xp.where(valid, depth, xp.zeros_like(depth))
    return hit[..., None] * like(camera.rays(), depth), valid


def _metres(depth: Array) -> Array:
    """A depth, refused where it holds whole numbers: what sensors and PNGs give so is in millimetres."""
    depth = depth if is_torch(depth) else np.asarray(depth)
    if floating(depth) is depth:
        return depth
    raise SettingError(
        f"depth is taken in metres, as floats, and this one holds {depth.dtype}: depth / 1000.0 makes metres of"
        " millimetres"
    )


def project(points: Array, camera: Camera) -> tuple[Array, Array, Array]:
    """Project camera-frame points to pixels.

    Args:
        points: (..., 3) in `Frame.CAMERA`, metres.
        camera: the camera that looks.

    Returns:
        ``pixels`` (..., 2) as (u to the right, v down), centres at +0.5; ``depth`` (...,) the z-depth in
        metres; ``visible`` (...,) True where the point lies in front of the camera and inside the image.
        Points that are not in front get pixel (-1, -1).
    """
    points = floating(points)
    xp = namespace(points)
    depth = points[..., 2]
    in_front = xp.isfinite(points).all(-1) & (depth > 0)
    safe = xp.where(in_front, depth, xp.ones_like(depth))
    minus_one = -xp.ones_like(depth)
    u = xp.where(in_front, points[..., 0] / safe * camera.focal + camera.width / 2, minus_one)
    v = xp.where(in_front, points[..., 1] / safe * camera.focal + camera.height / 2, minus_one)
    visible = in_front & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    return xp.stack([u, v], -1), depth, visible


def unproject(depth: Array, intrinsics: Array) -> tuple[Array, Array]:
    """Turn z-depth into camera-frame points for a camera matrix of its own, as real cameras have.

    Args:
        depth: (..., H, W) metres along the optical axis; 0, negative, NaN or infinite: nothing was measured.
        intrinsics: (..., 3, 3) camera matrices without skew, pixel centres at +0.5; one for all, or one each.

    Returns:
        ``points`` (..., H, W, 3) in `Frame.CAMERA`, of the depth's dtype, 0 where invalid; ``valid``
        (..., H, W).

    Raises:
        SettingError: matrices of another shape, focal lengths that are not above 0, or depth in whole numbers.
    """
    depth = _metres(depth)
    xp = namespace(depth)
    matrix = like(intrinsics, depth)
    if depth.ndim < 2 or tuple(matrix.shape[-2:]) != (3, 3):
        raise SettingError(
            f"a depth (..., H, W) and camera matrices (..., 3, 3) are needed, found {tuple(depth.shape)} and"
            f" {tuple(matrix.shape)}"
        )
    fx, fy, cx, cy = (matrix[..., i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    if not bool(((fx > 0) & (fy > 0) & xp.isfinite(fx + fy + cx + cy)).all()):
        raise SettingError("camera matrices must have focal lengths above 0 and finite principal points")
    height, width = depth.shape[-2:]
    u, v = like(np.arange(width) + 0.5, depth), like(np.arange(height) + 0.5, depth)
    valid = xp.isfinite(depth) & (depth > 0)
    z = xp.where(valid, depth, xp.zeros_like(depth))
    x = z * ((u - cx[..., None]) / fx[..., None])[..., None, :]  # (..., H, W) * (..., 1, W)
    y = z * ((v - cy[..., None]) / fy[..., None])[..., :, None]  # (..., H, W) * (..., H, 1)
    return xp.stack([x, y, z], -1), valid
