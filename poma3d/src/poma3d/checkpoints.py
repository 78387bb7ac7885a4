"""Load an encoder from any checkpoint that is known, and save one in our format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from poma3d.checkpoint_layouts import Branch, Stem, find_tower, resolve, weight_files
from poma3d.encoder import PointMapEncoder
from poma3d.encoder_config import EncoderConfig
from poma3d.errors import FileError, SettingError
from poma3d.weights import open_safetensors, read_weights, write_weights

ENCODER_FORMAT = "poma3d.encoder/1"
"""What the metadata of our encoder files say they are."""


def load_encoder(
    path_or_name: str | os.PathLike[str],
    *,
    branch: Branch | None = None,
    stem: Stem = "geo",
    config: EncoderConfig | None = None,
    lora_alpha: float | None = None,
    mask_invalid: bool | None = None,
    dtype: torch.dtype = torch.float32,
) -> PointMapEncoder:
    """Load an encoder, ready for inference (``eval``), on the CPU.

    Args:
        path_or_name: our ``.safetensors``; a folder of FG-CLIP; a ``.pth``, ``.safetensors`` or Accelerate
            save-state folder of POMA-3D or UniScene3D; a short name of the weights in the package
            (`poma3d.pretrained.SHIPPED`: ``poma3d-mini``); a model of the hub (``owner/name``) or a short name of
            `poma3d.checkpoint_layouts.PUBLISHED`.
        branch: which tower of others' files; see `poma3d.checkpoint_layouts.find_tower`, also for the next three.
        stem: which patch embedding of a UniScene3D file.
        config: the shape, where others' files do not say it.
        lora_alpha: alpha of LoRA adapters in others' files.
        mask_invalid: overrides the config's ``mask_invalid``.
        dtype: of the weights in memory.

    Raises:
        FileError: nothing of that name, a damaged file, or weights missing, unexpected, of other shapes or not
            finite; the message names the keys.
    """
    path = resolve(path_or_name)
    own = _own_file(path)
    if own is not None:
        file = read_weights(own, ENCODER_FORMAT)
        try:
            shape = EncoderConfig.from_dict(file.config)
        except (SettingError, TypeError) as error:
            raise FileError(own, f"its config is not that of an encoder ({error})") from error
        tensors = file.tensors
    else:
        tower = find_tower(path, branch=branch, stem=stem, config=config, lora_alpha=lora_alpha)
        shape, tensors = tower.config, tower.tensors
    if mask_invalid is not None:
        shape = replace(shape, mask_invalid=mask_invalid)
    # A copy of its own, in case dtype asks for none: mapped memory would change with the file.
    weights = {name: tensor.to(dtype, copy=True) for name, tensor in tensors.items()}
    try:
        return PointMapEncoder.from_weights(shape, weights).eval()
    except SettingError as error:
        raise FileError(path, str(error)) from error


def save_encoder(
    encoder: PointMapEncoder,
    path: str | os.PathLike[str],
    *,
    notes: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> str:
    """Save an encoder in our format, whole or not at all; LoRA adapters are folded into the weights.

    Args:
        encoder: the encoder, which stays as it is.
        path: the file, ``.safetensors``.
        notes: what to keep with the weights (data, command, seed, measures), as JSON can hold it.
        dtype: to store the weights in (float16 halves the file); None stores them as they are.

    Returns:
        The hash of the weights that were written.

    Raises:
        FileError: the file cannot be written, or a weight is NaN or infinite.
    """
    return write_weights(
        path, ENCODER_FORMAT, encoder.weights(), encoder.config.as_dict(), notes=notes, dtype=dtype
    )


def _own_file(path: Path) -> Path | None:
    """The file in our format that ``path`` is or, as its only weights, holds; None for others' checkpoints."""
    files = weight_files(path)
    if len(files) != 1 or files[0].suffix != ".safetensors":
        return None
    with open_safetensors(files[0]) as source:
        metadata = source.metadata() or {}
    return files[0] if str(metadata.get("format", "")).startswith("poma3d.") else None
