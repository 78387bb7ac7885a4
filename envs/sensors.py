"""Habitat's position sensors by Habitat's names, for an upright agent.

Conventions of habitat-lab's ``habitat/tasks/nav/nav.py``: headings are radians about +y, 0 along -z, positive
to the left. Positions are (3,) in the world frame, metres.
"""

from __future__ import annotations

import math

import numpy as np


def forward_and_right(offset: np.ndarray, heading: float) -> tuple[float, float]:
    """How far a world offset (3,) leads forward and to the right of a body with that heading, metres."""
    sine, cosine = math.sin(heading), math.cos(heading)
    x, z = float(offset[0]), float(offset[2])
    return -x * sine - z * cosine, x * cosine - z * sine


def pointgoal_with_gps_compass(position: np.ndarray, heading: float, goal: np.ndarray) -> np.ndarray:
    """(rho, phi) (2,) float32 of ``goal`` from the agent: horizontal distance, angle positive to the left."""
    forward, right = forward_and_right(goal - position, heading)
    return np.array((math.hypot(forward, right), -math.atan2(right, forward)), dtype=np.float32)


def gps(position: np.ndarray, start_position: np.ndarray, start_heading: float) -> np.ndarray:
    """(forward, right) (2,) float32 of the agent in the frame of its start, metres."""
    return np.array(forward_and_right(position - start_position, start_heading), dtype=np.float32)


def compass(heading: float, start_heading: float) -> np.ndarray:
    """Heading against the start's (1,) float32, in [-pi, pi], positive to the left."""
    turned = heading - start_heading
    return np.array((math.atan2(math.sin(turned), math.cos(turned)),), dtype=np.float32)


def objectgoal(task_category_id: int) -> np.ndarray:
    """Id (1,) int64 of the category that is searched, from ``category_to_task_category_id``."""
    return np.array((task_category_id,), dtype=np.int64)
