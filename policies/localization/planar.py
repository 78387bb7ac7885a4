"""Poses of an upright body: (x, y, yaw) in the plane, with the height of the floor where it matters."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

_Angle = TypeVar("_Angle", float, np.ndarray)


def wrap(angle: _Angle) -> _Angle:
    """The same angle, or angles (...), in [-pi, pi), radians."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


def compose(first: np.ndarray, then: np.ndarray) -> np.ndarray:
    """The pose (3,) reached by ``then`` (3,), given in the frame of the pose ``first`` (3,)."""
    c, s = math.cos(first[2]), math.sin(first[2])
    return np.array(
        [
            first[0] + c * then[0] - s * then[1],
            first[1] + s * then[0] + c * then[1],
            wrap(first[2] + then[2]),
        ]
    )


def inverse(pose: np.ndarray) -> np.ndarray:
    """The pose (3,) that undoes a pose (3,)."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    return np.array([-c * pose[0] - s * pose[1], s * pose[0] - c * pose[1], -pose[2]])


def place_points(pose: np.ndarray, points: np.ndarray, floor: float = 0.0) -> np.ndarray:
    """Points (N, 3) of a body's frame in the frame of its pose (3,), whose floor is at that height."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    turned = points @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    return turned + np.array([pose[0], pose[1], floor])


def to_matrix(pose: np.ndarray, floor: float) -> np.ndarray:
    """The rigid transform (4, 4) of a pose (3,) on a floor of that height."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    return np.array([[c, -s, 0, pose[0]], [s, c, 0, pose[1]], [0, 0, 1, floor], [0, 0, 0, 1.0]])


def from_matrix(transform: np.ndarray) -> tuple[np.ndarray, float]:
    """The pose (3,) and the floor's height of a rigid transform (4, 4), any lean left out."""
    yaw = math.atan2(transform[1, 0] - transform[0, 1], transform[0, 0] + transform[1, 1])
    return np.array([transform[0, 3], transform[1, 3], yaw]), float(transform[2, 3])
