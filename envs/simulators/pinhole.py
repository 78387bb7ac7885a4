"""What every ray caster of ours takes a camera for: its axes, the rays of its pixels, and its near plane."""

from __future__ import annotations

import functools

import numpy as np

from poma3d.pointmap import Camera

BODY_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""From OpenCV's camera axes (x right, y down, z forward) to Habitat's (x right, y up, z backward)."""
NEAR_PLANE = 0.01
"""Metres: what lies nearer to the camera is cut away, as by habitat-sim's default camera (``near``)."""


@functools.lru_cache(maxsize=64)
def ray_slopes(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Rays at z = 1: x (W,) of every column and y (H,) of every row, float64, which a pinhole keeps apart."""
    rays = camera.rays()
    return np.ascontiguousarray(rays[0, :, 0]), np.ascontiguousarray(rays[:, 0, 1])
