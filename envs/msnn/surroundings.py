"""What is seen from places of a scene, all around: which objects, how much of them, how far and in which direction."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.scenepoint_export.sightings import Boxes
from envs.scenes.scene import NO_INSTANCE
from envs.simulators.protocol import Simulator
from poma3d.pointmap import Camera, quaternion_to_matrix, rotation_from_heading

_LOOK = Camera(56, 32, 90.0)
"""Four of these see all around and down to 60 degrees, so that a low table close by is seen."""
_FARTHEST = 12.0
"""Metres."""
_HEADINGS = np.arange(4) * math.pi / 2


@dataclass(frozen=True)
class Surroundings:
    """What is seen from each of P places, of each of I objects."""

    share: np.ndarray
    """(P, I) share of all pixels that an object takes, 0 to 1."""
    bearing: np.ndarray
    """(P, I) direction of what is seen of it in the scene's frame, radians, 0 along +x; 0 where not seen."""
    distance: np.ndarray
    """(P, I) horizontal distance of the middle of what is seen of it, metres; 0 where not seen."""


def look_around(simulator: Simulator, places: np.ndarray) -> Surroundings:
    """Look around at eye height.

    Args:
        simulator: the scene; it must render instance ids.
        places: (P, 3) where the agent's base stands, world frame.
    """
    poses = np.tile(np.eye(4), (len(places), 4, 1, 1))
    poses[:, :, :3, :3] = quaternion_to_matrix(rotation_from_heading(_HEADINGS))
    poses[:, :, :3, 3] = places[:, None]
    poses[:, :, 1, 3] += simulator.agent.camera_height
    views = simulator.render(
        poses.reshape(-1, 4, 4),  # (P, 4, 4, 4) -> (P * 4, 4, 4)
        _LOOK,
        depth_range=(0.0, _FARTHEST),
        instances=True,
    )
    assert views.instance_ids is not None
    count, objects = len(places), len(simulator.instances)
    seen = views.valid & (views.instance_ids != NO_INSTANCE)
    place = np.repeat(np.arange(count), 4)[:, None, None]
    key = (place * objects + views.instance_ids)[seen]
    offset = views.point_map - np.repeat(places, 4, axis=0)[:, None, None].astype(np.float32)
    pixels, east, north = (
        np.bincount(key, weights, count * objects).reshape(count, objects)
        for weights in (None, offset[..., 0][seen], -offset[..., 2][seen])
    )
    mean = np.stack([east, north]) / np.maximum(pixels, 1)
    share = pixels / (4 * _LOOK.height * _LOOK.width)
    return Surroundings(share, np.arctan2(mean[1], mean[0]), np.hypot(mean[0], mean[1]))


def to_boxes(places: np.ndarray, boxes: Boxes) -> np.ndarray:
    """Horizontal vectors (P, I, 2) in the scene's frame from places (P, 3) to the nearest point of each box, metres.

    Objects without triangles are infinitely far.
    """
    low, high = boxes.low[:, [0, 2]], boxes.high[:, [0, 2]]
    at = places[:, None, [0, 2]].astype(np.float64)  # (P, 1, 2)
    known = np.isfinite(low).all(axis=1)
    nearest = np.clip(at, np.where(known[:, None], low, 0.0), np.where(known[:, None], high, 0.0))
    offset = (nearest - at) * np.array([1.0, -1.0])
    return np.where(known[None, :, None], offset, np.inf)
