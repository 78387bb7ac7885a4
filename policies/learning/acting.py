"""From the network's logits to an action."""

from __future__ import annotations

import numpy as np

from envs.locomotion import Action


def choose(logits: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    """The action for logits (4,).

    STOP is never a matter of luck: it is taken where it is likelier than every move. Among the moves the
    likeliest is taken, or with a ``temperature`` above 0 one by chance, which leads out of places where an
    imitator would turn to and fro for ever.
    """
    if int(logits.argmax()) == Action.STOP:
        return int(Action.STOP)
    moves = logits[1:].astype(np.float64)
    if temperature <= 0:
        return 1 + int(moves.argmax())
    weights = np.exp((moves - moves.max()) / temperature)
    return 1 + int(rng.choice(3, p=weights / weights.sum()))
