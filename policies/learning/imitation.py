"""Learning from recorded episodes: one pass over all of them, in chunks that the memory is carried across."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional

from envs.locomotion import Action
from policies.learning.experience import Experience
from policies.learning.networks import PolicyNetwork
from policies.learning.sensors import SENSORS
from policies.learning.settings import DaggerSettings
from poma3d.errors import UserError

_SORTED = 8
"""Batches of episodes that are sorted by length together, so that little is padded."""


class NotFiniteError(UserError):
    """The loss became NaN or infinite; what was learned before is kept."""


def learning_batches(
    experience: Experience, settings: DaggerSettings, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Episodes (B,) that learn side by side, of similar length, and which of its goals (B,) each learns for.

    An episode learns for its own goal in every second pass on average, else for one of the others.
    """
    lengths = np.array(experience.lengths)
    order = rng.permutation(len(lengths))
    group = settings.batch * _SORTED
    batches = []
    for start in range(0, len(order), group):
        some = order[start : start + group]
        some = some[np.argsort(lengths[some], kind="stable")]
        batches += [some[k : k + settings.batch] for k in range(0, len(some), settings.batch)]
    for which in rng.permutation(len(batches)):
        episodes = batches[which]
        goals = np.zeros(len(episodes), np.int64)
        if experience.goals > 1:
            other = rng.random(len(episodes)) < 0.5
            goals[other] = rng.integers(1, experience.goals, int(other.sum()))
        yield episodes, goals


def learn_pass(
    network: PolicyNetwork,
    optimiser: torch.optim.Optimizer,
    experience: Experience,
    settings: DaggerSettings,
    rng: np.random.Generator,
    rates: Callable[[float], float],
    advance: Callable[[int], None] = lambda rows: None,
) -> dict[str, float]:
    """One pass; ``rates`` gives the learning rate for the share of the pass that is done.

    Returns:
        Means over the pass: ``loss``, ``accuracy`` of the action, ``stop_accuracy`` where STOP is right, and
        ``turn_error``, the squared distance of the told turn's cosine and sine from the right ones.

    Raises:
        NotFiniteError: the loss is NaN or infinite; the network is as the step before left it.
    """
    starts, lengths = experience.starts(), np.array(experience.lengths)
    totals = np.zeros(6)
    done, all_rows = 0, max(1, experience.rows)
    network.train()
    for episodes, goals in learning_batches(experience, settings, rng):
        state = None
        for first in range(0, int(lengths[episodes].max()), settings.chunk):
            chunk = _chunk(experience, starts[episodes], lengths[episodes], goals, first, settings.chunk)
            rows, sensors, actions, turns, weight = chunk
            logits, angle, state = network(rows, sensors, state)
            state = None if state is None else state.detach()
            wrong = functional.cross_entropy(logits.flatten(0, 1), actions.flatten(), reduction="none")
            stop = actions.flatten() == int(Action.STOP)
            seen = weight.flatten()
            scale = seen * torch.where(stop, settings.stop_weight, 1.0)
            wished = torch.stack([torch.cos(turns), torch.sin(turns)], -1)
            off = (angle - wished).square().sum(-1).flatten() * seen * ~stop
            loss = (wrong * scale).sum() / scale.sum() + settings.turn_weight * off.sum() / seen.sum()
            if not bool(torch.isfinite(loss)):
                raise NotFiniteError(
                    f"the loss became {loss.item()} while learning; a smaller --dagger.learning-rate helps"
                )
            for group in optimiser.param_groups:
                group["lr"] = rates(done / all_rows)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
            optimiser.step()
            right = (logits.detach().argmax(-1).flatten() == actions.flatten()) * seen
            count = float(seen.sum())
            done += int(count)
            totals += [
                float(loss.detach()) * count,
                float(right.sum()),
                count,
                float((right * stop).sum()),
                float((seen * stop).sum()),
                float(off.detach().sum()),
            ]
            advance(int(count))
    network.eval()
    loss_sum, right_sum, count, stops_right, stops, off_sum = totals
    return {
        "loss": loss_sum / max(1.0, count),
        "accuracy": right_sum / max(1.0, count),
        "stop_accuracy": stops_right / max(1.0, stops),
        "turn_error": off_sum / max(1.0, count),
    }


def _chunk(
    experience: Experience,
    starts: np.ndarray,
    lengths: np.ndarray,
    goals: np.ndarray,
    first: int,
    steps: int,
) -> tuple[torch.Tensor, ...]:
    """Steps ``first`` onwards of some episodes: rows (B, T, F), sensors (B, T, S), actions, turns, weight (B, T)."""
    steps = min(steps, int(lengths.max()) - first)
    batch = len(starts)
    rows = np.zeros((batch, steps, experience.width), np.float16)
    sensors = np.zeros((batch, steps, SENSORS), np.float32)
    actions = np.zeros((batch, steps), np.int64)
    turns = np.zeros((batch, steps), np.float32)
    weight = np.zeros((batch, steps), np.float32)
    for k, (start, length, goal) in enumerate(zip(starts, lengths, goals, strict=True)):
        count = min(steps, int(length) - first)
        if count <= 0:
            continue
        where = slice(int(start) + first, int(start) + first + count)
        rows[k, :count] = experience.slice("features", where.start, where.stop)
        to_goal = experience.slice("goals", where.start, where.stop)[:, goal]
        own = experience.slice("own", where.start, where.stop)
        sensors[k, :count] = np.concatenate([to_goal, own], 1)
        actions[k, :count] = experience.slice("actions", where.start, where.stop)[:, goal]
        turns[k, :count] = experience.slice("turns", where.start, where.stop)[:, goal]
        weight[k, :count] = 1.0
    return tuple(torch.from_numpy(array) for array in (rows, sensors, actions, turns, weight))
