"""What a policy is told beside its view: the goal, its last move, whether it was held back, where it has come to.

The goal is given as (distance, cosine, sine) with two numbers that tell small distances apart, since STOP is a
question of 0.2 m. All else, the *own* part, is the same whatever the goal is, so that a recorded episode can be
labelled for other goals (`policies.learning.teacher`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from envs.locomotion import Action

GOAL_SENSORS = 5
"""Numbers that say where the goal is."""
OWN_SENSORS = 11
"""Numbers that say what the agent itself did and met."""
SENSORS = GOAL_SENSORS + OWN_SENSORS
"""Numbers of both."""
FADING = 0.85
"""Share of a collision's trace that is left a step later."""
_SUCCESS, _EDGE = 0.2, 0.05
"""Where STOP becomes right, and over how much of a way that is told, metres."""
_NEAR, _FAR = 0.5, 10.0
"""What small and large distances are divided by, metres."""


def goal_sensors(pointgoal: np.ndarray) -> np.ndarray:
    """(..., 5) float32 from ``pointgoal_with_gps_compass`` (..., 2), metres and radians positive to the left."""
    distance, angle = np.asarray(pointgoal, np.float64)[..., 0], np.asarray(pointgoal, np.float64)[..., 1]
    return np.stack(
        [
            np.minimum(distance / _FAR, 3.0),
            np.cos(angle),
            np.sin(angle),
            np.exp(-distance / _NEAR),
            np.tanh((distance - _SUCCESS) / _EDGE),
        ],
        -1,
    ).astype(np.float32)


class OwnSensors:
    """Remembers the last move of an episode and fades collisions, from observations and actions alone.

    A forward move that brings the agent less than nine tenths of its longest move was held back.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget everything: an episode begins."""
        self.last_action: int | None = None
        """The action before the state that is read next; None at the start."""
        self._place: np.ndarray | None = None
        self._longest = 0.0
        self._trace = 0.0

    def acted(self, action: int) -> None:
        """The agent does this in the state it read last."""
        self.last_action = int(action)

    def read(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """(11,) float32 for an observation with ``gps`` (2,) and ``compass`` (1,); once a step, in order.

        Entries: last action one-hot (forward, left, right; none), share of a step that it moved, held back,
        trace of collisions, cosine and sine of the compass, the place in tens of metres.
        """
        place = np.asarray(observation["gps"], np.float64)
        moved, held_back = 1.0, 0.0
        if self.last_action == Action.MOVE_FORWARD and self._place is not None:
            walked = math.dist(place, self._place)
            self._longest = max(self._longest, walked)
            moved = walked / self._longest if self._longest > 0 else 0.0
            held_back = float(moved < 0.9)
        self._trace = FADING * self._trace + held_back
        self._place = place
        last = [float(self.last_action == move) for move in (1, 2, 3)]
        heading = float(observation["compass"][0])
        numbers = [*last, float(self.last_action is None), moved, held_back, self._trace]
        numbers += [math.cos(heading), math.sin(heading), *(place / _FAR)]
        return np.array(numbers, np.float32)
