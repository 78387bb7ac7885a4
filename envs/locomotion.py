"""How the agent moves: Habitat's four actions on a walkable surface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np

from envs.embodiment import AgentSpec
from envs.measures import is_collision
from envs.simulators.protocol import Surface
from poma3d.errors import EpisodeError, SettingError
from poma3d.pointmap import quaternion_to_matrix


class Action(IntEnum):
    """The actions in Habitat's order."""

    STOP = 0
    MOVE_FORWARD = 1
    TURN_LEFT = 2
    TURN_RIGHT = 3


def action_of(value: Any, names: Sequence[str] = tuple(action.name.lower() for action in Action)) -> int:
    """The number of an action given as a whole number of any type, or as an array of one.

    Args:
        value: what was given to ``step``.
        names: the actions in order.

    Raises:
        SettingError: anything else, or no action of that number; the message lists them.
    """
    if type(value) is not int:
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError):  # lists of unequal length, tensors on a GPU
            array = np.empty(0)
        if array.size != 1 or array.dtype.kind not in "iu":
            raise SettingError(f"an action is one whole number, found {value!r}; {_listed(names)}")
        value = int(array.item())
    if not 0 <= value < len(names):
        raise SettingError(f"unknown action {value}; {_listed(names)}")
    return value


def _listed(names: Sequence[str]) -> str:
    return "the actions are " + ", ".join(f"{number} {name}" for number, name in enumerate(names))


_LARGEST_LEAN = math.radians(1.0)


def upright_heading(rotation: np.ndarray) -> float:
    """Heading in radians of an upright body with rotation (4,) in the order (x, y, z, w).

    Raises:
        EpisodeError: the body leans by more than a degree.
        SettingError: no quaternion.
    """
    matrix = quaternion_to_matrix(np.asarray(rotation, dtype=np.float64))
    lean = math.acos(min(1.0, max(-1.0, float(matrix[1, 1]))))
    if lean > _LARGEST_LEAN:
        raise EpisodeError(
            f"rotation {[float(value) for value in rotation]} leans by {math.degrees(lean):.1f} degrees;"
            " agents stand upright: a rotation (x, y, z, w) with x = z = 0 is needed"
        )
    return math.atan2(float(matrix[0, 2]), float(matrix[2, 2]))


def _rounded(position: np.ndarray | tuple[float, ...]) -> np.ndarray:
    """The nearest float32 numbers (3,) as a new float64 array."""
    return np.asarray(position, dtype=np.float32).astype(np.float64)


class Walker:
    """An agent's base on a surface.

    Positions are rounded to float32 as Habitat's are: where a step just misses or meets a border, the last bit
    decides. A move goes straight along the heading and is held back by the border of the surface (`Surface.try_step`);
    a turn adds or takes the turn angle exactly.

    Args:
        surface: where it walks.
        agent: step length, turn angle and whether it slides.
    """

    def __init__(self, surface: Surface, agent: AgentSpec) -> None:
        self._surface = surface
        self._step = agent.forward_step
        self._turn = math.radians(agent.turn_angle)
        self._sliding = agent.allow_sliding
        self.position = np.zeros(3)
        """Base (3,) float64, world frame, metres. Replaced by every move, never changed in place."""
        self.heading = 0.0
        """Radians about +y, 0 along -z, positive to the left."""
        self.collided = False
        """Whether the last action hit something."""
        self.moved = 0.0
        """Straight distance that the last action moved the base, metres."""

    def place(self, position: np.ndarray, heading: float) -> None:
        """Put the agent's base at ``position`` (3,) with that heading, as Habitat does: not snapped."""
        self.position = _rounded(position)
        self.heading = float(heading)
        self.collided = False
        self.moved = 0.0

    def act(self, action: int) -> None:
        """Carry out one of `Action`; STOP stays."""
        self.collided = False
        self.moved = 0.0
        if action == Action.MOVE_FORWARD:
            start = self.position
            ahead = (-self._step * math.sin(self.heading), 0.0, -self._step * math.cos(self.heading))
            asked = _rounded(start + _rounded(ahead))
            reached = self._surface.try_step(start[None], asked[None], sliding=self._sliding)
            self.position = _rounded(reached[0])
            self.collided = is_collision(start, asked, self.position)
            self.moved = math.dist(start, self.position)
        elif action == Action.TURN_LEFT:
            self.heading += self._turn
        elif action == Action.TURN_RIGHT:
            self.heading -= self._turn
