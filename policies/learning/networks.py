"""The small network of a learned policy: features and sensors in, what to do out.

Shapes: B episodes side by side, T steps, F numbers of a feature row, P patches, C channels, K channels after
compression, S sensors, H hidden.

A compression layer over patch tokens, the same small linear map for each followed by joining all, keeps where
things are: DD-PPO's ResNet (Wijmans et al., arXiv 1911.00357) and VC-1 (arXiv 2303.18240) do so, while a
vision transformer's CLS alone navigates badly (OVRL-v2, arXiv 2303.07798).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.learning.features import FeatureLayout
from policies.learning.sensors import SENSORS
from policies.learning.settings import NetworkSettings
from poma3d.errors import FileError
from poma3d.weights import describe_mismatch

ACTIONS = 4
"""Habitat's: stop, move_forward, turn_left, turn_right."""
_METRES = 3.0
"""What point maps are divided by before a CNN."""


class ViewEncoder(nn.Module):
    """From feature rows (N, F) to (N, ``width``): tokens compressed and joined, an embedding, or a CNN.

    Tokens enter standardised by `calibrate`: an offset for each patch and channel, a scale for each channel.
    """

    token_mean: Tensor
    token_scale: Tensor
    cls_mean: Tensor
    cls_scale: Tensor

    def __init__(self, layout: FeatureLayout, settings: NetworkSettings) -> None:
        super().__init__()
        self.layout = layout
        self.width = 0
        if layout.tokens:
            patches, channels = layout.tokens
            self.compress = nn.Linear(channels, settings.compressed)
            self.register_buffer("token_mean", torch.zeros(patches, channels))
            self.register_buffer("token_scale", torch.ones(channels))
            self.width += patches * settings.compressed
        if layout.cls:
            self.embed = nn.Linear(layout.cls, settings.hidden)
            self.register_buffer("cls_mean", torch.zeros(layout.cls))
            self.register_buffer("cls_scale", torch.ones(()))
            self.width += settings.hidden
        if layout.point_map:
            self.cnn = nn.Sequential(
                nn.Conv2d(3, 16, 5, stride=2, padding=2),
                nn.ReLU(),
                nn.Conv2d(16, 32, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv2d(32, 32, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Flatten(),
            )
            rows, columns = (-(-side // 8) for side in layout.point_map)
            self.width += 32 * rows * columns

    def calibrate(self, rows: Tensor) -> None:
        """Take the offsets and scales from feature rows (N, F)."""
        rows = rows.float()
        start = 0
        if self.layout.tokens:
            patches, channels = self.layout.tokens
            start = patches * channels
            tokens = rows[:, :start].reshape(-1, patches, channels)  # (N, P C) -> (N, P, C)
            self.token_mean.copy_(tokens.mean(0))
            spread = (tokens - self.token_mean).square().mean((0, 1)).sqrt()
            self.token_scale.copy_(1 / spread.clamp(min=1e-4))
        if self.layout.cls:
            cls = rows[:, start : start + self.layout.cls]
            self.cls_mean.copy_(cls.mean(0))
            self.cls_scale.copy_(1 / (cls - self.cls_mean).square().mean().sqrt().clamp(min=1e-4))

    def forward(self, rows: Tensor) -> Tensor:
        """(N, F) to (N, width)."""
        parts, start = [], 0
        if self.layout.tokens:
            patches, channels = self.layout.tokens
            start = patches * channels
            # (x - mean) scale W + b is x (scale W) + (b - mean scale W): no pass over x of its own
            kernel = self.compress.weight * self.token_scale  # (K, C)
            offset = self.compress.bias - self.token_mean @ kernel.T  # (P, K)
            tokens = rows[:, :start].reshape(-1, channels).float()  # (N, P C) -> (N P, C)
            small = (tokens @ kernel.T).reshape(len(rows), patches, -1) + offset  # (N P, K) -> (N, P, K)
            parts.append(functional.relu(small).flatten(1))  # (N, P, K) -> (N, P K)
        if self.layout.cls:
            cls = rows[:, start : start + self.layout.cls].float()
            parts.append(functional.relu(self.embed((cls - self.cls_mean) * self.cls_scale)))
        if self.layout.point_map:
            height, width = self.layout.point_map
            points = rows.float().reshape(-1, height, width, 3) / _METRES  # (N, h w 3) -> (N, h, w, 3)
            parts.append(self.cnn(points.permute(0, 3, 1, 2)))  # (N, h, w, 3) -> (N, 3, h, w)
        return torch.cat(parts, 1) if parts else rows.new_zeros((len(rows), 0), dtype=torch.float32)


class PolicyNetwork(nn.Module):
    """View and sensors to one layer, a GRU that remembers, and two heads: the action, and how far to turn."""

    def __init__(self, layout: FeatureLayout, settings: NetworkSettings, *, seed: int = 0) -> None:
        super().__init__()
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.view = ViewEncoder(layout, settings)
            hidden = settings.hidden
            self.join = nn.Linear(self.view.width + SENSORS, hidden)
            self.norm = nn.LayerNorm(hidden)
            self.memory = nn.GRU(hidden + SENSORS, hidden, batch_first=True) if settings.recurrent else None
            width = hidden + SENSORS + (hidden if settings.recurrent else 0)
            self.action = nn.Linear(width, ACTIONS)
            self.turn = nn.Linear(width, 2)

    def forward(
        self, rows: Tensor, sensors: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What to do at each step.

        Args:
            rows: (B, T, F) features.
            sensors: (B, T, S).
            state: (1, B, H) of the memory; None at the beginning of an episode.

        Returns:
            Logits of the actions (B, T, 4), cosine and sine (B, T, 2) of the turn before the next step, and the
            state afterwards, None without a memory.
        """
        batch, steps = sensors.shape[:2]
        view = self.view(rows.reshape(batch * steps, -1))  # (B, T, F) -> (B T, F)
        joined = torch.cat([view, sensors.reshape(batch * steps, -1)], 1)  # (B, T, S) -> (B T, S)
        seen = functional.relu(self.norm(self.join(joined))).reshape(batch, steps, -1)  # -> (B, T, H)
        parts = [seen, sensors]
        if self.memory is not None:
            remembered, state = self.memory(torch.cat(parts, -1), state)
            parts.append(remembered)
        full = torch.cat(parts, -1)
        return self.action(full), self.turn(full), state

    def tensors(self) -> dict[str, Tensor]:
        """Copies of the weights by name."""
        return {name: tensor.detach().clone() for name, tensor in self.state_dict().items()}

    def load(self, tensors: Mapping[str, Any]) -> None:
        """Take weights as `tensors` gives them."""
        self.load_state_dict(dict(tensors))


def refuse_other_shapes(path: Path, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """See that the weights of a file are those of a network.

    Args:
        path: the file.
        own: the network's weights.
        tensors: the file's.

    Raises:
        FileError: names or shapes differ; the message lists them.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if expected != found:
        raise FileError(path, describe_mismatch(expected, found, "this policy"))
