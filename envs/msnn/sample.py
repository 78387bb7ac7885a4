"""One MSNN sample: a situation in a scene, a goal, and the direction of the next step.

MSNN (multi-modal situated next-step navigation) is part of MSR3D (Linghu et al., NeurIPS 2024, arXiv 2409.02389).
Directions are counter-clockwise from where the agent looks, seen from above, so left is positive. A file's code is
``round(angle / 90)`` of four or ``round(angle / 45)`` of eight; the last code, 4 or 8, is forward again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from poma3d.errors import SettingError

QUESTION = "What action should I take next step?"
"""What every sample asks, in the words of the authors."""

DIRECTIONS = (4, 8)
"""How many directions there are to choose from."""

DIRECTION_TEXTS: dict[int, tuple[str, ...]] = {
    4: ("move forward", "turn left", "move backward", "turn right"),
    8: (
        "move forward",
        "turn to foward left",
        "turn left",
        "turn to back left",
        "move backward",
        "turn to back right",
        "turn right",
        "turn to foward right",
    ),
}
"""The authors' words for each class, with their spelling ("foward"), by the number of directions."""

ACTION_KEYS = {4: "four_direction", 8: "eight_direction"}
"""Where a sample of a file keeps the code, by the number of directions."""

BORDER_TOLERANCE = 1e-6
"""Degrees from the border of two directions within which either label is right."""


def check_directions(directions: int) -> int:
    """``directions``, if it is 4 or 8.

    Raises:
        SettingError: it is neither.
    """
    if directions not in DIRECTIONS:
        raise SettingError(f"directions must be 4 or 8, found {directions!r}")
    return directions


def direction_code(angle: float, directions: int) -> int:
    """The code that a file holds for an angle: ``round(angle / (360 / directions))``, 0 to ``directions``.

    Args:
        angle: degrees, any number of turns; counter-clockwise, 0 straight ahead.
        directions: 4 or 8.
    """
    sector = 360 / check_directions(directions)
    return math.floor((angle % 360.0) / sector + 0.5)


def direction_label(angle: float, directions: int) -> int:
    """The class of an angle, 0 to ``directions`` - 1: its code, where the last one is forward again."""
    return direction_code(angle, directions) % directions


def label_angle(label: int, directions: int) -> float:
    """The middle of a direction, degrees in [0, 360)."""
    return (label % check_directions(directions)) * 360.0 / directions


def angular_error(angle: float, other: float) -> float:
    """Degrees between two directions, 0 to 180."""
    return abs((angle - other + 180.0) % 360.0 - 180.0)


def yaw_of(orientation: tuple[float, ...]) -> float:
    """The heading of a quaternion (x, y, z, w), radians in [-pi, pi]: about z, 0 along +x, counter-clockwise."""
    x, y, z, w = orientation
    return math.atan2(2 * (x * y + z * w), w * w + x * x - y * y - z * z)


def orientation_of(yaw: float) -> tuple[float, float, float, float]:
    """The quaternion (x, y, z, w) of an upright agent with that heading, radians."""
    return (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))


@dataclass(frozen=True)
class MsnnSample:
    """A situation, a goal and the answer, in the scene's frame (metres, z up; `poma3d.pointmap.Frame.SCENE`)."""

    scan_id: str
    """The scene, as ScenePoint files call it."""
    sample_id: str
    """Unique in the scene."""
    location: tuple[float, float, float]
    """Where the agent's base is."""
    orientation: tuple[float, float, float, float]
    """Quaternion (x, y, z, w); the identity looks along +x."""
    situation_text: str
    """Where the agent is and how it stands to things, in words."""
    interaction: str
    """The goal, in a sentence."""
    angle: float
    """Direction of the next step against the heading, degrees, positive to the left."""
    situation_multimodal: Any = ""
    """The situation with pictures between the words, as the authors keep it; not used here."""
    instruction: str = QUESTION
    """The file's field of that name."""
    insts: tuple[int, ...] = ()
    """Objects the sample speaks of, as the scene numbers them."""
    meta_data: Mapping[str, Any] = field(default_factory=dict)
    """Anything else the file keeps of it."""

    @property
    def yaw(self) -> float:
        """Heading in the scene's frame, radians, 0 along +x, counter-clockwise."""
        return yaw_of(self.orientation)

    @property
    def question(self) -> str:
        """What is asked."""
        return QUESTION

    @property
    def text(self) -> str:
        """All that the agent is told: situation, goal and question."""
        return f"{self.situation_text} {self.interaction} {self.question}"

    def label(self, directions: int) -> int:
        """The right class of 4 or 8 directions."""
        return direction_label(self.angle, directions)

    @property
    def world_position(self) -> np.ndarray:
        """Where the agent's base is (3,) in the world frame (y up), metres."""
        x, y, z = self.location
        return np.array([x, z, -y])

    @property
    def world_heading(self) -> float:
        """Habitat's heading, radians: 0 along the world's -z, positive to the left."""
        return self.yaw - math.pi / 2

    def as_json(self) -> dict[str, Any]:
        """The sample as the authors' file keeps it."""
        codes = {n: direction_code(self.angle, n) for n in DIRECTIONS}
        action: dict[str, Any] = {
            ACTION_KEYS[n]: [codes[n], DIRECTION_TEXTS[n][codes[n] % n]] for n in DIRECTIONS
        }
        return {
            "scan_id": self.scan_id,
            "location": list(self.location),
            "orientation": list(self.orientation),
            "situation_multimodal": self.situation_multimodal,
            "situation_text": self.situation_text,
            "interaction": self.interaction,
            "instruction": self.instruction,
            "insts": list(self.insts),
            "action": {**action, "angle": self.angle},
            "meta_data": dict(self.meta_data),
        }
