"""Rigid poses: quaternions (x, y, z, w), 4 x 4 matrices, headings.

Habitat's body axes: +x to the right, +y up, the body looks along -z. A heading is the angle of the look
direction about +y, radians, 0 along -z, positive to the left (counter-clockwise seen from above).
"""

from __future__ import annotations

import math

import numpy as np

from poma3d.errors import SettingError
from poma3d.pointmap.arrays import Array, floating, like, namespace


def quaternion_to_matrix(rotation: Array) -> Array:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4) in the order (x, y, z, w), normalised first.

    Raises:
        SettingError: a quaternion of length 0 or with a value that is not a finite number, or another shape.
    """
    rotation = floating(rotation)
    xp = namespace(rotation)
    if rotation.ndim < 1 or rotation.shape[-1] != 4:
        raise SettingError(
            f"rotation must be quaternions (..., 4) in the order x, y, z, w; found {tuple(rotation.shape)}"
        )
    length = (rotation * rotation).sum(-1)
    if not bool((xp.isfinite(length) & (length > 1e-12)).all()):
        raise SettingError("rotation must be a quaternion (x, y, z, w) of finite numbers, not all zero")
    x, y, z, w = (rotation[..., i] for i in range(4))
    s = 2.0 / length
    rows = [
        [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
        [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
        [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
    ]
    return xp.stack([xp.stack(row, -1) for row in rows], -2)


def matrix_to_quaternion(matrix: Array) -> Array:
    """Unit quaternions (..., 4), order (x, y, z, w) with w >= 0, of rotation matrices (..., 3, 3).

    Each component's size is read off the diagonal; the largest one gives the signs of the others without
    dividing by what may be 0 (Shepperd, "Quaternion from rotation matrix", 1978).

    Raises:
        SettingError: another shape, or no rotation (values that are not finite, a mirror, a scale).
    """
    matrix = floating(matrix)
    xp = namespace(matrix)
    if matrix.ndim < 2 or tuple(matrix.shape[-2:]) != (3, 3):
        raise SettingError(f"rotation matrices must have the shape (..., 3, 3), found {tuple(matrix.shape)}")
    off = matrix @ xp.swapaxes(matrix, -1, -2) - like(np.eye(3), matrix)
    if not bool((abs(off) < 1e-3).all()) or not bool((xp.linalg.det(matrix) > 0).all()):
        raise SettingError(
            "found a matrix that is no rotation: its columns must be perpendicular unit vectors"
        )
    (a, b, c), (d, e, f), (g, h, i) = ([matrix[..., row, column] for column in range(3)] for row in range(3))
    # four times the products of every two components, each row divided by a different one of them
    products = [
        [1 + a - e - i, b + d, c + g, h - f],
        [b + d, 1 - a + e - i, f + h, c - g],
        [c + g, f + h, 1 - a - e + i, d - b],
        [h - f, c - g, d - b, 1 + a + e + i],
    ]
    candidates = xp.stack([xp.stack(row, -1) for row in products], -2)  # (..., 4, 4)
    diagonal = xp.stack([products[k][k] for k in range(4)], -1)
    largest = diagonal.argmax(-1)[..., None] == like(np.arange(4), diagonal)  # (..., 4)
    chosen = xp.where(largest[..., None], candidates, xp.zeros_like(candidates)).sum(-2)  # (..., 4)
    length = (chosen * chosen).sum(-1)[..., None] ** 0.5
    sign = xp.where(chosen[..., 3:] < 0, -xp.ones_like(length), xp.ones_like(length))
    return sign * chosen / length


def world_from_pose(position: Array, rotation: Array) -> Array:
    """Matrices (..., 4, 4) that take body coordinates to the world: position (..., 3), rotation (..., 4).

    Raises:
        SettingError: a position that is not finite, shapes that do not fit, or a rotation that is none.
    """
    position, matrix = floating(position), quaternion_to_matrix(rotation)
    xp = namespace(matrix)
    position = like(position, matrix)
    if tuple(position.shape) != tuple(matrix.shape[:-1]):
        raise SettingError(
            f"position must have the shape {tuple(matrix.shape[:-1])} to go with its rotation,"
            f" found {tuple(position.shape)}"
        )
    if not bool(xp.isfinite(position).all()):
        raise SettingError("position holds values that are not finite numbers")
    top = xp.concatenate([matrix, position[..., None]], -1)  # (..., 3, 3) | (..., 3, 1) -> (..., 3, 4)
    bottom = xp.zeros_like(top[..., :1, :]) + like(np.array([0.0, 0.0, 0.0, 1.0]), top)  # (..., 1, 4)
    return xp.concatenate([top, bottom], -2)


def invert(transform: Array) -> Array:
    """The inverse of rigid transforms (..., 4, 4), exact up to rounding: ``(R^T, -R^T t)``."""
    transform = floating(transform)
    xp = namespace(transform)
    rotation = xp.swapaxes(transform[..., :3, :3], -1, -2)
    translation = -(rotation @ transform[..., :3, 3:])
    top = xp.concatenate([rotation, translation], -1)
    return xp.concatenate([top, transform[..., 3:, :]], -2)


def transform_points(transform: Array, points: Array, valid: Array | None = None) -> Array:
    """Move points by rigid transforms; points that are not valid stay 0.

    Args:
        transform: (..., 4, 4).
        points: (..., 3), or (..., H, W, 3) for point maps: axes of the points beyond the transform's batch
            shape are moved by the same transform.
        valid: mask of the points' shape without the last axis; where False the answer is 0.

    Returns:
        Points of the same shape and dtype.
    """
    points = floating(points)
    xp = namespace(points)
    transform = like(transform, points)
    extra = points.ndim - 1 - (transform.ndim - 2)
    if extra < 0 or points.shape[-1] != 3 or tuple(transform.shape[-2:]) != (4, 4):
        raise SettingError(
            f"transforms of shape {tuple(transform.shape)} do not fit points of shape {tuple(points.shape)}"
        )
    *shape, _ = points.shape
    batch, rest = shape[: len(shape) - extra], shape[len(shape) - extra :]
    rows = points.reshape(*batch, math.prod(rest), 3)  # (..., H, W, 3) -> (..., H * W, 3)
    moved = rows @ xp.swapaxes(transform[..., :3, :3], -1, -2) + transform[..., None, :3, 3]
    moved = moved.reshape(*moved.shape[:-2], *rest, 3)  # (..., H * W, 3) -> (..., H, W, 3)
    if valid is None:
        return moved
    return xp.where(valid[..., None], moved, xp.zeros_like(moved))


def heading(rotation: Array) -> Array:
    """Headings (...,), radians in [-pi, pi], of body rotations (..., 4): 0 along -z, positive to the left."""
    forward = -quaternion_to_matrix(rotation)[..., :, 2]
    return namespace(forward).arctan2(-forward[..., 0], -forward[..., 2])


def rotation_from_heading(angle: Array) -> Array:
    """Quaternions (..., 4), order (x, y, z, w), of an upright body with heading ``angle`` (...,), radians."""
    angle = floating(angle)
    xp = namespace(angle)
    zero = xp.zeros_like(angle)
    return xp.stack([zero, xp.sin(angle / 2), zero, xp.cos(angle / 2)], -1)
