"""The few of many cameras that together see most of a scene, judged by small pictures from each."""

from __future__ import annotations

import numpy as np

from envs.simulators.protocol import Simulator
from poma3d.errors import SceneError
from poma3d.pointmap import Camera
from poma3d.scenepoint.coverage import choose_views

_PROBE = 32
"""Pixels along each side of the small views that cameras are judged by."""
_LEAST_VALID = 0.3
"""Share of its pixels that a view must see something in."""
_NEAR = 0.5
"""Metres: what is nearer stands in the way."""


def choose_covering(
    simulator: Simulator,
    poses: np.ndarray,
    count: int,
    rng: np.random.Generator,
    *,
    scene_id: str,
    hfov: float,
    depth_range: tuple[float, float],
    most_near: float = 1.0,
) -> np.ndarray:
    """Choose cameras by greedy coverage of what they see (`poma3d.scenepoint.coverage`).

    Args:
        simulator: the scene.
        poses: (N, 4, 4) world from camera, Habitat's body axes.
        count: how many; in a tiny scene some serve twice.
        rng: decides which serve twice.
        scene_id: what errors call the scene.
        hfov: horizontal field of view, degrees; the views are square.
        depth_range: nearest and farthest z-depth that counts, metres.
        most_near: share of its pixels that may be nearer than half a metre: a view with its nose on a wall shows
            nothing.

    Returns:
        (count,) int64 indices, those that add most first.

    Raises:
        SceneError: from none of them is there enough to see.
    """
    views = simulator.render(poses, Camera(_PROBE, _PROBE, hfov), depth_range=depth_range)
    near = (views.valid & (distances(views.point_map, poses[:, :3, 3]) < _NEAR)).mean(axis=(1, 2))
    good = np.flatnonzero((views.valid.mean(axis=(1, 2)) >= _LEAST_VALID) & (near <= most_near))
    if not len(good):
        raise SceneError(f"{scene_id}: from no place on the floor is there enough to see")
    chosen = good[choose_views([views.point_map[i][views.valid[i]] for i in good], count)]
    if len(chosen) < count:
        chosen = np.concatenate([chosen, rng.choice(chosen, count - len(chosen))])
    return chosen


def distances(points: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Metres (V, H, W) from the camera of each view (V, 3) to its points (V, H, W, 3)."""
    offset = points - eyes[:, None, None].astype(np.float32)
    return np.sqrt(np.einsum("vhwc,vhwc->vhw", offset, offset))
