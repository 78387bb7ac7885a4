"""POMA-JEPA: predict the target encoder's tokens of the masked patches from the context encoder's of the others.

Shapes: B scenes, V views, K patches kept, M masked, P = K + M, C the encoder's width, W the predictor's.

    context = context_encoder(views, keep)             gradients flow
    target = layer_norm(target_encoder(views))[masked] none do
    loss = chamfer(predictor(context), target)         over the views of a scene

Differences from the paper (which states the idea, the averaged target encoder and the Chamfer distance):

- Predictor: I-JEPA's (arXiv 2301.08243): width 384, depth 6, a learned mask token, fixed sine-cosine positions. It
  looks at one view at a time, as the encoder does. It begins with a layer norm, because CLIP's last tokens come
  before any norm.
- Masks: `poma3d.objectives.masks`.
- Targets are normalised per token without learned weights, as I-JEPA does, so that the loss has no scale to shrink.
- Reduction: the mean over tokens and channels, half of each direction, so that a loss of weight 1 stands beside
  InfoNCE at its own size whatever the width. Its gradient does not: on the encoder `mini` it is a hundredth of
  alignment's (docs/pretraining.md). The squared L2 distance is C times as large.
- Sets: all masked tokens of a scene's views form one set (``sets="scene"``), because the paper speaks of
  consistency across views; ``"view"`` compares each view on its own.
- Patches without one valid point take no part in the sets.
- ``loss="smooth_l1"`` is the ablation: I-JEPA's loss, which knows the order of the patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from poma3d.attention import attention
from poma3d.encoder_config import EncoderConfig
from poma3d.objectives.chamfer import chamfer
from poma3d.objectives.settings import JepaSettings


@dataclass(frozen=True)
class JepaBatch:
    """What both encoders say about one batch."""

    context_tokens: Tensor
    """(B, V, K, C) of the context encoder, which saw the kept patches alone."""
    target_tokens: Tensor
    """(B, V, P, C) of the target encoder, which saw all."""
    valid_patches: Tensor
    """(B, V, P) bool: patches with at least one valid point."""
    keep: Tensor
    """(B, V, K) int64 patch numbers."""
    masked: Tensor
    """(B, V, M) int64 patch numbers."""


class Predictor(nn.Module):
    """A narrow transformer from the tokens of the kept patches to those of the masked ones."""

    positions: Tensor

    def __init__(self, encoder: EncoderConfig, settings: JepaSettings) -> None:
        super().__init__()
        C, W = encoder.width, settings.width
        self.enter = nn.Sequential(nn.LayerNorm(C), nn.Linear(C, W))
        self.mask_token = nn.Parameter(torch.zeros(W))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                W, settings.heads, 4 * W, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(settings.depth)
        )
        self.leave = nn.Sequential(nn.LayerNorm(W), nn.Linear(W, C))
        self.register_buffer("positions", sine_cosine_positions(encoder.grid, W), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, context: Tensor, keep: Tensor, masked: Tensor) -> Tensor:
        """Tokens (N, K, C) at ``keep`` (N, K) to tokens (N, M, C) at ``masked`` (N, M)."""
        seen = self.enter(context) + self.positions[keep]  # (N, K, W)
        asked = (self.mask_token + self.positions[masked]).to(seen.dtype)  # (N, M, W)
        tokens = torch.cat([seen, asked], 1)  # (N, K + M, W)
        for layer in self.layers:
            tokens = _mixed(layer, tokens)
        return self.leave(tokens[:, -masked.shape[1] :])  # (N, M, W) -> (N, M, C)


def _mixed(layer: Any, tokens: Tensor) -> Tensor:
    """Tokens (N, T, W) through a pre-norm ``nn.TransformerEncoderLayer`` without dropout, with `poma3d.attention`."""
    N, T, W = tokens.shape
    own = layer.self_attn
    qkv = functional.linear(layer.norm1(tokens), own.in_proj_weight, own.in_proj_bias)
    qkv = qkv.reshape(N, T, 3, own.num_heads, -1)  # (N, T, 3 W) -> (N, T, 3, h, W/h)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)  # 3 x (N, h, T, W/h)
    mixed = attention(query, key, value).transpose(1, 2).reshape(N, T, W)  # (N, h, T, W/h) -> (N, T, W)
    tokens = tokens + own.out_proj(mixed)
    return tokens + layer.linear2(functional.gelu(layer.linear1(layer.norm2(tokens))))


class PomaJepa(nn.Module):
    """The objective; its weights are the predictor's.

    Args:
        encoder: the shape of both encoders.
        settings: the objective's.
        seed: of the predictor's random weights; torch's global generator is left alone.
    """

    def __init__(
        self, encoder: EncoderConfig, settings: JepaSettings | None = None, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.settings = settings or JepaSettings()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.predictor = Predictor(encoder, self.settings)

    def forward(self, batch: JepaBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss, and the loss itself."""
        B, V, M = batch.masked.shape
        C = batch.target_tokens.shape[-1]
        predicted = self.predictor(
            batch.context_tokens.flatten(0, 1),  # (B, V, K, C) -> (B V, K, C)
            batch.keep.flatten(0, 1),
            batch.masked.flatten(0, 1),
        )  # (B V, M, C)
        target = functional.layer_norm(batch.target_tokens.detach().float(), (C,))  # (B, V, P, C)
        target = target.gather(2, batch.masked[..., None].expand(-1, -1, -1, C))  # -> (B, V, M, C)
        valid = batch.valid_patches.gather(2, batch.masked)  # (B, V, P) -> (B, V, M)
        if self.settings.loss == "chamfer":
            sets = (B, V * M) if self.settings.sets == "scene" else (B * V, M)
            valid = valid.reshape(sets)
            loss = chamfer(predicted.reshape(*sets, C), target.reshape(*sets, C), valid, valid)
        else:
            each = functional.smooth_l1_loss(
                predicted.reshape(B, V, M, C).float(), target, reduction="none"
            ).mean(-1)  # (B, V, M)
            loss = each.masked_fill(~valid, 0.0).sum() / valid.sum().clamp(min=1)
        return self.settings.weight * loss, {"loss_jepa": loss.detach()}


def sine_cosine_positions(grid: int, width: int) -> Tensor:
    """Fixed positions of the patches (P, W): a quarter each of sines and cosines of the row and of the column."""
    frequency = 10000.0 ** -(torch.arange(width // 4) / (width // 4))  # (W/4,)
    row, column = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")  # (g, g) each
    angles = [place.reshape(-1, 1) * frequency for place in (row, column)]  # 2 x (P, W/4)
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], -1)
