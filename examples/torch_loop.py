"""A training loop of your own in PyTorch: Gymnasium's vector environments, views encoded once outside the policy.

python examples/torch_loop.py --steps 200
"""

from __future__ import annotations

import argparse

import gymnasium
import numpy as np
import torch
from torch import nn

import pomagym  # noqa: F401  (makes the environments known)
from agent.backbone import FrozenBackbone
from agent.encoded_vector import EncodedVector

parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
parser.add_argument("--steps", type=int, default=200, help="steps of each of the two environments")
parser.add_argument("--scene", default="procedural:train:2", help="where the episodes are")
args = parser.parse_args()
if args.steps < 1:
    parser.error(f"--steps must be at least 1, found {args.steps}")

torch.manual_seed(0)
backbone = FrozenBackbone("poma3d-mini", output="cls")
settings = {"scene": args.scene, "size": backbone.image_size, "max_steps": 100}
envs = gymnasium.make_vec("pomagym/PointNav-v0", 2, vectorization_mode="sync", **settings)
envs = EncodedVector(envs, backbone)  # cls (256,) instead of point_map and valid

# Advantage actor-critic: logits of the four actions, and the value of where the agent is.
policy = nn.Sequential(nn.Linear(256 + 2, 64), nn.Tanh(), nn.Linear(64, 4 + 1))
optimizer = torch.optim.Adam(policy.parameters(), lr=3e-4)


def look(observation: dict[str, np.ndarray]) -> tuple[torch.distributions.Categorical, torch.Tensor]:
    """The distribution of the next action and the value (n,) of n observations."""
    seen = np.concatenate([observation["cls"], observation["pointgoal_with_gps_compass"]], axis=1)
    out = policy(torch.from_numpy(seen))
    return torch.distributions.Categorical(logits=out[:, :4]), out[:, 4]


observation, _ = envs.reset(seed=0)
over, episodes, total = torch.zeros(2, dtype=torch.bool), 0, 0.0
for _ in range(args.steps):
    chances, value = look(observation)
    action, acts = chances.sample(), ~over  # the step after an end resets and heeds no action
    observation, *answers, info = envs.step(action.numpy())
    reward, terminated, truncated = map(torch.from_numpy, answers)
    with torch.no_grad():
        target = reward.float() + 0.99 * look(observation)[1] * ~terminated
    advantage = target - value
    loss = advantage**2 - chances.log_prob(action) * advantage.detach() - 0.01 * chances.entropy()
    optimizer.zero_grad()
    (loss * acts).mean().backward()
    optimizer.step()
    over = terminated | truncated
    episodes, total = episodes + int(over.sum()), total + float(reward.sum())
print(f"{2 * args.steps} steps, {episodes} episodes ended, {total / (2 * args.steps):.3f} reward a step")
envs.close()
