"""A tiny encoder's shape, and random views that it takes."""

from __future__ import annotations

import numpy as np

from poma3d.encoder_config import EncoderConfig

TINY = EncoderConfig(
    image_size=32, patch_size=8, width=48, depth=2, heads=3, mlp_width=96, embedding=40, activation="gelu"
)


def views(count: int, size: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Point maps (N, H, W, 3) and which points are valid (N, H, W), the others zero."""
    draws = np.random.default_rng(seed)
    points = draws.normal(0, 3, (count, size, size, 3)).astype(np.float32)
    valid = draws.random((count, size, size)) < 0.8
    points[~valid] = 0
    return points, valid
