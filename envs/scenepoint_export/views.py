"""Where cameras stand for ScenePoint: on the walkable surface, looking about, few views that together see the scene."""

from __future__ import annotations

import math

import numpy as np

from envs.covering_views import choose_covering
from envs.episodes.ground import draw_on_ground
from envs.simulators.protocol import Simulator, Surface
from poma3d.pointmap import quaternion_to_matrix, rotation_from_heading

HEIGHTS = (1.0, 1.6)
"""Lowest and highest camera above the floor, metres: held in a hand, mounted on a robot, worn on a head."""
PITCH_MEAN, PITCH_DEVIATION, PITCH_MOST = -8.0, 12.0, 35.0
"""Degrees, up positive: people who scan a room look down a little."""
_MOST_NEAR = 0.4
"""Share of its pixels that a view may see just before it."""


def choose_cameras(
    simulator: Simulator,
    count: int,
    candidates: int,
    hfov: float,
    depth_range: tuple[float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Camera poses that together see most of a scene.

    Args:
        simulator: the scene.
        count: views wanted.
        candidates: views to choose from.
        hfov: horizontal field of view, degrees; the views are square.
        depth_range: nearest and farthest z-depth that counts, metres.
        rng: what is random.

    Returns:
        (count, 4, 4) float64 world-from-camera transforms with Habitat's body axes.

    Raises:
        SceneError: no floor to stand on, or nothing to see from it.
    """
    poses = _candidates(simulator.surface, max(candidates, count), rng, simulator.scene_id)
    chosen = choose_covering(
        simulator,
        poses,
        count,
        rng,
        scene_id=simulator.scene_id,
        hfov=hfov,
        depth_range=depth_range,
        most_near=_MOST_NEAR,
    )
    return poses[chosen]


def _candidates(surface: Surface, count: int, rng: np.random.Generator, scene_id: str) -> np.ndarray:
    """Poses (count, 4, 4) on floors, by area."""
    points = draw_on_ground(surface, count, rng, scene_id)
    pitch = np.clip(rng.normal(PITCH_MEAN, PITCH_DEVIATION, count), -PITCH_MOST, PITCH_MOST)
    half = np.radians(pitch) / 2
    zero = np.zeros(count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    turned = quaternion_to_matrix(rotation_from_heading(rng.uniform(-math.pi, math.pi, count)))
    poses[:, :3, :3] = turned @ quaternion_to_matrix(np.stack([np.sin(half), zero, zero, np.cos(half)], -1))
    poses[:, :3, 3] = points
    poses[:, 1, 3] += rng.uniform(*HEIGHTS, count)
    return poses
