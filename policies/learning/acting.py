"""From the network's scores to an action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.locomotion import Action

_BACK = {int(Action.TURN_LEFT): int(Action.TURN_RIGHT), int(Action.TURN_RIGHT): int(Action.TURN_LEFT)}


@dataclass(frozen=True)
class Acting:
    """How an action is chosen; part of a policy, not of its network."""

    temperature: float = 0.0
    """Moves are drawn as softmax(scores / temperature) has it; 0 takes the likeliest."""
    inertia: float = 0.0
    """Taken from the score of turning back at once."""

    def choose(self, logits: np.ndarray, last: int | None, rng: np.random.Generator) -> int:
        """The action for logits (4,) after the action ``last`` (None at the start).

        STOP is never a matter of luck: it is taken where it is likelier than every move. Among the moves chance
        leads out of places where an imitator would turn to and fro for ever.
        """
        if int(logits.argmax()) == Action.STOP:
            return int(Action.STOP)
        scores = logits.astype(np.float64)
        if last in _BACK:
            scores[_BACK[last]] -= self.inertia
        moves = scores[1:]
        if self.temperature <= 0:
            return 1 + int(moves.argmax())
        weights = np.exp((moves - moves.max()) / self.temperature)
        return 1 + int(rng.choice(3, p=weights / weights.sum()))
