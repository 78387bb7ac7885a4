"""What a level camera sees of a floor that rises evenly before a wall, by its closed form."""

from __future__ import annotations

import numpy as np

from poma3d.pointmap import Camera

CAMERA = Camera(48, 64, 90.0)
HEIGHT = 1.25
"""Of the camera above the floor it stands on, in metres."""


def slope_view(rise):
    """What a level camera sees of a floor that rises evenly from 1 m ahead, before a wall 5 m ahead; agent frame."""
    rays = CAMERA.rays()
    forward, left, up = np.ones(rays.shape[:2]), -rays[..., 0], -rays[..., 1]
    with np.errstate(divide="ignore"):
        flat = np.where(up < 0, -HEIGHT / up, np.inf)
        slope = np.where(up < rise, (-HEIGHT - rise) / (up - rise), np.inf)
    depth = np.minimum(np.where(slope > 1.0, np.minimum(slope, 5.0), np.minimum(flat, 5.0)), 5.0)
    points = np.stack([forward * depth, left * depth, up * depth + HEIGHT], -1).astype(np.float32)
    return points, np.ones(points.shape[:2], np.bool_)
