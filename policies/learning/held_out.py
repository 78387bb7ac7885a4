"""Evaluation while training: a policy on episodes of scenes it does not train in, and the best one kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from agent.policy import Policy
from agent.rollout import run_episode
from envs.pointnav import PointNavEnv
from policies.learning.acting import Acting
from policies.learning.houses import TrainingScenes
from policies.learning.learned_policy import Brain, LearnedPolicy
from policies.learning.policy_folder import save_policy
from policies.learning.settings import TrainSettings
from poma3d.errors import EpisodeError
from poma3d.files import write_text

MEASURES = ("success", "spl", "soft_spl", "distance_to_goal", "collisions", "steps")
"""What is averaged."""


def evaluate_and_keep(
    out: Path,
    number: int,
    brain: Brain,
    tensors: Mapping[str, Tensor],
    acting: Acting,
    settings: TrainSettings,
    scenes: TrainingScenes,
    best: Mapping[str, Any],
) -> tuple[dict[str, float], dict[str, Any]]:
    """Evaluate what was learned, write its records and a video, and keep it where it is the best so far.

    Args:
        out: the policy's folder.
        number: of the evaluation; its files are named after it.
        brain: decides.
        tensors: its weights.
        acting: how actions are chosen from its scores.
        settings: of the training.
        scenes: with the held-out ones.
        best: what an earlier evaluation returned second; empty before the first.

    Returns:
        The means of `MEASURES`; and those, the hash of the weights and the number of the best evaluation so far.

    Raises:
        UserError: no held-out scene has an episode, or a file cannot be written.
    """
    features = settings.open_features("float32")
    policy = LearnedPolicy(brain, features, acting, ceiling=settings.ceiling, name=out.resolve().name)
    video = out / "videos" / f"evaluation_{number}.mp4"
    means, records = evaluate_policy(policy, scenes, settings.evaluation_episodes, settings.seed, video=video)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    write_text(out / "results" / f"evaluation_{number}.jsonl", lines)
    if means["spl"] < best.get("measures", {}).get("spl", -1.0):
        return means, dict(best)
    sha256 = save_policy(
        out,
        tensors,
        features,
        settings.as_config(),
        acting=acting,
        ceiling=settings.ceiling,
        measures=means,
    )
    return means, {"measures": means, "sha256": sha256, "evaluation": number}


def evaluate_policy(
    policy: Policy, scenes: TrainingScenes, episodes: int, seed: int, *, video: Path | None = None
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Run ``episodes`` episodes, the held-out scenes taking turns; one that a scene does not have is left out.

    Args:
        policy: acts.
        scenes: with the held-out ones and the body.
        episodes: how many.
        seed: of the policy's chance; the episodes are the same for every policy.
        video: where a video of the first one goes; None = nowhere.

    Returns:
        The means of `MEASURES`, and the records.

    Raises:
        EpisodeError: no scene has an episode.
    """
    records, missing = [], None
    for which, scene_id in enumerate(scenes.held_out[:episodes]):
        simulator = scenes.open(scene_id)
        try:
            for number in range(which, episodes, len(scenes.held_out)):
                try:
                    episode = scenes.episode(simulator, scene_id, number // len(scenes.held_out))
                except EpisodeError as error:
                    missing = error
                    continue
                observers = []
                if video is not None and not records:
                    from agent.video import VideoRecorder

                    observers = [VideoRecorder(video)]
                env = PointNavEnv(
                    episodes=[episode],
                    simulator=simulator,
                    agent=scenes.body,
                    render_mode="rgb_array" if observers else None,
                )
                records.append(run_episode(env, policy, seed=seed, observers=observers))
                for observer in observers:
                    observer.close()
                env.close()
        finally:
            simulator.close()
    if not records:
        raise missing or EpisodeError("there are no held-out scenes to evaluate in")
    means = {name: float(np.mean([record[name] for record in records])) for name in MEASURES}
    return means, records
