"""What a policy owes: a fresh start for each episode, then one action for each observation."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Policy(Protocol):
    """Acts in one environment, one episode at a time.

    A policy draws randomness only from the generator it is given at `reset`, which depends on (seed, episode_id)
    alone, so that the order of episodes and the number of workers change nothing.
    """

    name: str
    """What results call it."""
    privileged: bool
    """Whether it looks at the simulator itself (the oracle): it is a control, not a competitor."""

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        """Begin an episode. ``env`` is the (unwrapped) environment, already reset.

        Only privileged policies look at its simulator; others at most at its settings, ``agent``, ``frame``
        and, in ObjectNav, ``category_ids``.
        """
        ...

    def act(self, observation: dict[str, np.ndarray]) -> int:
        """The next action: 0 stop, 1 move_forward, 2 turn_left, 3 turn_right."""
        ...
