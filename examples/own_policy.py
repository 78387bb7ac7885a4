"""A policy of your own: walk towards the goal, turn away when held back. Scored with Habitat's measures.

python examples/own_policy.py
"""

from __future__ import annotations

import gymnasium
import numpy as np

import pomagym  # noqa: F401  (makes the environments known)
from agent.rollout import run_episode

STOP, FORWARD, LEFT, RIGHT = range(4)


class TowardsGoal:
    """Turns to the goal and walks; where nothing but wall is near in front of it, it turns away for a while."""

    name = "towards-goal"
    privileged = False

    def reset(self, env: object, rng: np.random.Generator) -> None:
        """Begin an episode; all randomness comes from ``rng``."""
        self.rng = rng
        self.detour: list[int] = []

    def act(self, observation: dict[str, np.ndarray]) -> int:
        """The next action from what is observed."""
        distance, angle = observation["pointgoal_with_gps_compass"]
        if distance < 0.2:
            return STOP
        if self.detour:
            return self.detour.pop()
        points = observation["point_map"][observation["valid"]]  # (N, 3): x forward, y left, z up, metres
        ahead = (abs(points[:, 1]) < 0.2) & (points[:, 2] > 0.1) & (points[:, 2] < 1.5) & (points[:, 0] > 0)
        if ahead.any() and points[ahead, 0].min() < 0.4:
            side = LEFT if self.rng.random() < 0.5 else RIGHT
            self.detour = [FORWARD] * 4 + [side] * int(self.rng.integers(4, 12))
            return self.detour.pop()
        if abs(angle) > np.radians(10):
            return LEFT if angle > 0 else RIGHT
        return FORWARD


if __name__ == "__main__":
    env = gymnasium.make("pomagym/PointNav-v0", scene="procedural:val:2", episodes=6, size=64)
    policy = TowardsGoal()
    for _ in range(6):
        record = run_episode(env, policy, seed=0)
        print("{scene_id} {episode_id}: success {success:.0f}, SPL {spl:.2f}, {steps} steps".format(**record))
    env.close()
