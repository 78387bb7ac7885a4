"""LoRA adapters: put them on an encoder, and fold them into its weights (W + (alpha / r) B A).

`peft` makes the adapters that train; folding is done on a state dict, so that it serves files of others too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from poma3d.encoder_config import LoraSettings
from poma3d.errors import SettingError

_ADAPTER_KEY = re.compile(r"^(?P<layer>.+)\.lora_(?P<half>[AB])(?:\.(?P<adapter>[^.]+))?\.weight$")


def add_lora(module: nn.Module, settings: LoraSettings | None = None) -> None:
    """Freeze ``module`` and put a trainable adapter on each of its target layers, in place.

    A new adapter adds nothing until it is trained (B starts at 0).

    Raises:
        SettingError: no layer has a target's name, or the module has adapters already.
    """
    from peft import LoraConfig, inject_adapter_in_model

    settings = settings or LoraSettings()
    if has_lora(module):
        raise SettingError("this encoder has LoRA adapters already; merge them before adding others")
    layers = {name.rsplit(".", 1)[-1] for name, _ in module.named_modules()}
    absent = [target for target in settings.targets if target not in layers]
    if absent:
        raise SettingError(f"LoRA targets that the encoder does not have: {', '.join(absent)}")
    module.requires_grad_(False)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # pyright: ignore[reportArgumentType]  peft divides it as a float
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        bias="none",
    )
    inject_adapter_in_model(config, module)
    module.train(module.training)  # new layers come in training mode, with their dropout on


def has_lora(module: nn.Module) -> bool:
    """Whether any layer of ``module`` carries an adapter."""
    return any(hasattr(layer, "lora_A") for layer in module.modules())


def merged_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """The state dict of ``module`` with its adapters folded in; ``module`` itself stays as it is."""
    state = module.state_dict()
    for layer in module.modules():
        scaling = getattr(layer, "scaling", None)
        if hasattr(layer, "lora_A") and isinstance(scaling, dict):
            adapter, scale = next(iter(scaling.items()))
            return merge_lora(state, alpha=scale * layer.r[adapter])  # pyright: ignore
    return state


def merge_lora(
    tensors: Mapping[str, Tensor], *, alpha: float = 64.0, rank_stabilised: bool = False
) -> dict[str, Tensor]:
    """Fold every adapter of a state dict into the weight under it, in float32.

    ``LAYER.base_layer.weight`` with ``LAYER.lora_A[.NAME].weight`` (r, in) and ``LAYER.lora_B[.NAME].weight``
    (out, r) becomes ``LAYER.weight``; without adapters a state dict comes back as it was.

    Args:
        tensors: the state dict.
        alpha: the adapters' alpha, which no state dict holds; POMA-3D's is 64.
        rank_stabilised: scale by alpha / sqrt(r) (rsLoRA) where True, by alpha / r where False.

    Raises:
        SettingError: an adapter without its other half or without a weight under it, shapes that do not
            multiply, or two adapters on one layer.
    """
    merged: dict[str, Tensor] = {}
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _ADAPTER_KEY.match(key)
        if match is None:
            merged[key.replace(".base_layer.", ".")] = tensor
            continue
        found = halves.setdefault(match["layer"], {})
        if match["half"] in found:
            raise SettingError(
                f"{match['layer']} carries more than one LoRA adapter; keep the one that is meant"
            )
        found[match["half"]] = tensor
    for layer, found in halves.items():
        weight = merged.get(f"{layer}.weight")
        if weight is None or len(found) < 2:
            absent = [f"{layer}.lora_{half}.weight" for half in "AB" if half not in found]
            absent += [f"{layer}.base_layer.weight"] if weight is None else []
            raise SettingError(f"LoRA adapters cannot be merged without {', '.join(absent)}")
        down, up = found["A"].float(), found["B"].float()
        if down.ndim != 2 or up.ndim != 2 or up.shape[1] != down.shape[0]:
            raise SettingError(
                f"{layer}: LoRA shapes {tuple(up.shape)} and {tuple(down.shape)} do not multiply"
            )
        if (up.shape[0], down.shape[1]) != tuple(weight.shape):
            raise SettingError(
                f"{layer}: LoRA makes a change of {(up.shape[0], down.shape[1])} to a weight of"
                f" {tuple(weight.shape)}"
            )
        rank = down.shape[0]
        scale = alpha / (math.sqrt(rank) if rank_stabilised else rank)
        merged[f"{layer}.weight"] = torch.addmm(weight.float(), up, down, alpha=scale)
    return merged
