"""Weights of a tiny encoder as checkpoints hold them: under prefixes, with adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from poma3d.checkpoints import load_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.encoder_config import EncoderConfig

TINY = EncoderConfig(image_size=32, patch_size=8, width=32, depth=2, heads=2, mlp_width=64, embedding=16)
GEO = "vision_model.embeddings.geo_embedding.weight"
RGB = "vision_model.embeddings.patch_embedding.weight"
ONE_LAYER = "vision_model.encoder.layers.1.mlp.fc1"


def points(size: int) -> Tensor:
    """Two views of that many pixels square: (2, size, size, 3), in metres."""
    return torch.randn(2, size, size, 3, generator=torch.Generator().manual_seed(0)) * 3


def tiny_weights(seed: int = 0) -> dict[str, Tensor]:
    """The weights of a tiny encoder by transformers' names."""
    return PointMapEncoder(TINY, seed=seed).weights()


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, every name after a prefix."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def with_lora(weights: dict[str, Tensor], rank: int = 4, name: str = ".default") -> dict[str, Tensor]:
    """The weights as peft saves them with an adapter on one layer."""
    torch.manual_seed(3)
    tensors = dict(weights)
    tensors[f"{ONE_LAYER}.base_layer.weight"] = tensors.pop(f"{ONE_LAYER}.weight")
    tensors[f"{ONE_LAYER}.base_layer.bias"] = tensors.pop(f"{ONE_LAYER}.bias")
    tensors[f"{ONE_LAYER}.lora_A{name}.weight"] = torch.randn(rank, 32)
    tensors[f"{ONE_LAYER}.lora_B{name}.weight"] = torch.randn(64, rank)
    return tensors


def load_tiny(path: Path, **options: Any) -> PointMapEncoder:
    """Load a checkpoint that does not tell the tiny encoder's configuration."""
    return load_encoder(path, config=TINY, **options)
