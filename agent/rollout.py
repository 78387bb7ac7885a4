"""One episode: a policy meets a navigation environment, observers watch, a flat record comes out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agent.observer import Observer
from agent.policy import Policy
from envs.locomotion import action_of
from poma3d.errors import SettingError


def episode_generator(seed: int, episode_id: str) -> np.random.Generator:
    """The generator that a policy draws from in one episode; (seed, episode_id) decides it and nothing else.

    The key of a Philox counter generator is taken from the sha256 of both, so that any seed and any id give
    streams without relation, the same on every machine.
    """
    digest = hashlib.sha256(f"pomagym policy {int(seed)} {episode_id}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8")))


def run_episode(
    env: Any,
    policy: Policy,
    *,
    seed: int = 0,
    episode_id: str | None = None,
    scene_id: str | None = None,
    observers: Sequence[Observer] = (),
) -> dict[str, Any]:
    """Run one episode to its end.

    Args:
        env: a navigation environment (`pomagym/PointNav-v0`, `pomagym/ObjectNav-v0`), wrapped or not.
        policy: acts; it is reset with a generator of its own for this episode.
        seed: with the episode's id it decides everything the policy draws.
        episode_id: which episode; None = the next of the environment.
        scene_id: its scene, for data sets whose ids repeat.
        observers: told of every step; they change nothing.

    Returns:
        A flat record: who, where, the number of steps, Habitat's measures (``collisions`` as the count), and
        wall times in seconds under ``time_*``, the only entries that differ between two runs.

    Raises:
        UserError: the episode cannot be run, or the policy chose no action there is.
    """
    began = time.perf_counter()
    raw = env.unwrapped
    names = {"episode_id": episode_id, "scene_id": scene_id}
    observation, info = env.reset(
        options={key: value for key, value in names.items() if value is not None} or None
    )
    policy.reset(raw, episode_generator(seed, str(info["episode_id"])))
    for observer in observers:
        observer.begin(raw, observation, info)
    start_distance = float(info["distance_to_goal"])
    time_reset = time.perf_counter() - began
    time_policy = time_env = total_reward = 0.0
    steps, over = 0, False
    while not over:
        before = time.perf_counter()
        action = _action(policy, observation)
        chosen = time.perf_counter()
        observation, reward, terminated, truncated, info = env.step(action)
        time_env += time.perf_counter() - chosen
        time_policy += chosen - before
        total_reward += float(reward)
        steps += 1
        over = terminated or truncated
        for observer in observers:
            observer.step(action, observation, float(reward), info)
    record = {
        "episode_id": str(info["episode_id"]),
        "scene_id": str(info["scene_id"]),
        "policy": policy.name,
        "seed": int(seed),
        "steps": steps,
        **flat_measures(info),
        "reward": total_reward,
        "start_distance": start_distance,
        "time_reset": time_reset,
        "time_policy": time_policy,
        "time_env": time_env,
        "time_total": time.perf_counter() - began,
    }
    for observer in observers:
        observer.end(record)
    return record


def _action(policy: Policy, observation: dict[str, np.ndarray]) -> int:
    """What the policy does next, as a plain number; what `env.step` would refuse is refused by the policy's name."""
    chosen = policy.act(observation)
    try:
        return action_of(chosen)
    except SettingError as error:
        raise SettingError(f"the policy {policy.name!r} chose no action: {error}") from None


def flat_measures(info: Mapping[str, Any]) -> dict[str, Any]:
    """The measures in an environment's ``info`` that describe the whole episode, each a plain number."""
    return {
        "success": float(info["success"]),
        "spl": float(info["spl"]),
        "soft_spl": float(info["soft_spl"]),
        "distance_to_goal": float(info["distance_to_goal"]),
        "collisions": int(info["collisions"]["count"]),
        "path_length": float(info["path_length"]),
    }
