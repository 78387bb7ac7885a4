"""Evaluation while training: a policy on episodes of scenes it does not train in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.policy import Policy
from agent.rollout import run_episode
from envs.embodiment import AgentSpec
from envs.pointnav import PointNavEnv
from policies.learning.houses import TrainingScenes

MEASURES = ("success", "spl", "soft_spl", "distance_to_goal", "collisions", "steps")
"""What is averaged."""


def evaluate_policy(
    policy: Policy,
    scenes: TrainingScenes,
    body: AgentSpec,
    episodes: int,
    seed: int,
    *,
    video: Path | None = None,
    advance: Callable[[dict[str, Any]], None] = lambda record: None,
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Run ``episodes`` episodes, the held-out scenes taking turns.

    Args:
        policy: acts.
        scenes: with the held-out ones.
        body: the agent, its camera as the policy wants it.
        episodes: how many.
        seed: of the policy's chance; the episodes are the same for every policy.
        video: where a video of the first one goes; None = nowhere.
        advance: told of each record.

    Returns:
        The means of `MEASURES`, and the records.
    """
    records = []
    held_out: Sequence[str] = scenes.held_out
    for which, scene_id in enumerate(held_out):
        mine = range(which, episodes, len(held_out))
        if not mine:
            continue
        simulator = scenes.open(scene_id)
        try:
            for number in mine:
                episode = scenes.episode(simulator, scene_id, number // len(held_out))
                filmed = video is not None and number == 0
                env = PointNavEnv(
                    episodes=[episode],
                    simulator=simulator,
                    agent=body,
                    render_mode="rgb_array" if filmed else None,
                )
                observers = []
                if filmed and video is not None:
                    from agent.video import VideoRecorder

                    observers = [VideoRecorder(video)]
                record = run_episode(env, policy, seed=seed, observers=observers)
                for observer in observers:
                    observer.close()
                env.close()
                records.append(record)
                advance(record)
        finally:
            simulator.close()
    means = {name: float(np.mean([record[name] for record in records])) for name in MEASURES}
    return means, records
