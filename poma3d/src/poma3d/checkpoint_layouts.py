"""How others lay out their checkpoints, and how to find one vision tower in them.

Read from the authors' code of UniScene3D (github.com/Yebulabula/UniScene3D) and from FG-CLIP's files:

- FG-CLIP: a folder of the hub with ``config.json`` and ``model.safetensors``; ``vision_model.*`` and
  ``visual_projection.weight`` beside the text tower.
- UniScene3D: Accelerate's save-state folders (often named ``ckpt_20.pth``) with ``model*.safetensors``; the tower
  under ``pm_encoder.``, a frozen FG-CLIP under ``frozen_model.``, and a second patch embedding,
  ``geo_embedding``, which read the point maps while ``patch_embedding`` read RGB.
- POMA-3D: the same folders, or ``.pth`` dicts; the towers under ``context_model.`` and ``target_model.`` (the
  moving average, used downstream), wrapped by peft (``base_model.model.``), with LoRA on both text and vision.

Any nesting of such prefixes is understood, ``model.`` and ``module.`` included. Pickled code is never run.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from poma3d.encoder_config import PRESETS, EncoderConfig
from poma3d.errors import FileError, SettingError
from poma3d.lora import merge_lora
from poma3d.pretrained import SHIPPED, encoder_file, is_shipped
from poma3d.weights import describe_mismatch, open_safetensors, refuse_not_finite

Branch = Literal["target", "encoder", "context", "frozen"]
Stem = Literal["geo", "rgb"]

PUBLISHED = {
    "fg-clip-base": "qihoo360/fg-clip-base",
    "poma3d": "MatchLab/poma3d-demo",
    "uniscene3d": "MatchLab/UniScene3D",
}
"""Short names of what is published on the hub."""

_GEO = "vision_model.embeddings.geo_embedding.weight"
_RGB = "vision_model.embeddings.patch_embedding.weight"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Tower:
    """A vision tower found in somebody's checkpoint."""

    tensors: dict[str, Tensor]
    """Its weights by transformers' names, LoRA folded in."""
    config: EncoderConfig
    """Its shape."""
    prefix: str
    """What its keys begin with in the file."""


ENCODER_FILE = "encoder.safetensors"
"""What pretraining calls the encoder that it leaves."""


def resolve(name: str | os.PathLike[str]) -> Path:
    """The file or folder of that path, else the weights in the package of that short name, else the local copy of the
    hub's model of that name, fetched if need be.

    Raises:
        FileError: neither is to be had; the message says what to put where.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path
    if is_shipped(name):
        own = encoder_file(os.fspath(name))
        if not own.is_file():
            raise FileError(
                own, f"this installation came without the weights {os.fspath(name)}: install it again"
            )
        return own
    text = PUBLISHED.get(os.fspath(name), os.fspath(name))
    if not _HUB_NAME.fullmatch(text) or path.suffix in (".safetensors", ".pth", ".pt", ".bin"):
        known = ", ".join([*SHIPPED, *PUBLISHED])
        raise FileError(
            name, f"does not exist; give a file, a folder, a model of the hub (owner/name) or {known}"
        )
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.pth", "*.pt", "*.bin", "merges.txt"]
    try:
        return Path(snapshot_download(text, allow_patterns=wanted))
    except Exception as error:  # the hub's client raises a dozen kinds, from no network to no such model
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FileError(
            text,
            f"is no file or folder here and cannot be fetched from the hub ({reason}). Download the files of"
            f" https://huggingface.co/{text} into a folder (config.json and model.safetensors at least) and give"
            " the path of that folder",
        ) from error


def weight_files(path: Path) -> list[Path]:
    """The files that hold the weights of a checkpoint: ``path`` itself, or those of the folder ``path``.

    Raises:
        FileError: the folder holds none, or several of which none is the obvious one, or a shard is missing.
    """
    if path.is_file():
        return [path]
    for index in sorted(path.glob("*.index.json")):
        shards = sorted(set(read_json(index).get("weight_map", {}).values()))
        absent = [shard for shard in shards if not (path / shard).is_file()]
        if absent:
            raise FileError(path, f"{index.name} names files that are not there: {', '.join(absent)}")
    if (path / ENCODER_FILE).is_file():  # a pretraining's folder, which also holds its text tower
        return [path / ENCODER_FILE]
    for pattern in ("model*.safetensors", "pytorch_model*.bin"):
        if files := sorted(path.glob(pattern)):
            return files
    loose = sorted(file for suffix in ("safetensors", "pth", "pt") for file in path.glob(f"*.{suffix}"))
    if len(loose) == 1:
        return loose
    if loose:
        names = ", ".join(file.name for file in loose)
        raise FileError(path, f"holds several checkpoints ({names}): give the one that is meant")
    raise FileError(
        path,
        "holds no weights: expected model.safetensors (or its shards), pytorch_model.bin or one .pth file",
    )


class Weights(Mapping[str, Tensor]):
    """The tensors of some files as one mapping that reads a safetensors tensor only when it is asked for.

    Use as a context manager. Dicts inside a ``.pth`` file are joined by dots, what is no tensor is left out.

    Raises:
        FileError: a file is missing or damaged, holds pickled code, or two files hold the same key.
    """

    def __init__(self, files: list[Path]) -> None:
        self._stack = ExitStack()
        self._lazy: dict[str, Any] = {}
        self._loaded: dict[str, Tensor] = {}
        for file in files:
            if file.suffix == ".safetensors":
                source = self._stack.enter_context(open_safetensors(file))
                keys = dict.fromkeys(source.keys(), source)
                self._refuse_twice(file, keys)
                self._lazy.update(keys)
            else:
                tensors = dict(_flatten(_load_pickle(file)))
                self._refuse_twice(file, tensors)
                self._loaded.update(tensors)

    def _refuse_twice(self, file: Path, keys: Mapping[str, Any]) -> None:
        twice = sorted(key for key in keys if key in self)
        if twice:
            raise FileError(file, f"holds keys that another file holds too: {', '.join(twice[:8])}")

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __getitem__(self, key: str) -> Tensor:
        return self._loaded[key] if key in self._loaded else self._lazy[key].get_tensor(key)

    def __contains__(self, key: object) -> bool:
        return key in self._loaded or key in self._lazy

    def __iter__(self) -> Iterator[str]:
        yield from self._loaded
        yield from self._lazy

    def __len__(self) -> int:
        return len(self._loaded) + len(self._lazy)


def find_tower(
    path: Path,
    *,
    branch: Branch | None = None,
    stem: Stem = "geo",
    config: EncoderConfig | None = None,
    lora_alpha: float | None = None,
) -> Tower:
    """Read the vision tower of a checkpoint in one of the layouts above.

    Args:
        path: a file or a folder.
        branch: which tower, where there are several; None takes target, else encoder, else context.
        stem: which patch embedding of a UniScene3D checkpoint becomes the encoder's: "geo" saw point maps, "rgb"
            saw pictures (the authors' evaluation of point maps alone sends them through this one).
        config: the shape; None takes that of ``config.json`` beside the weights, else the paper's.
        lora_alpha: alpha of LoRA adapters; None takes that of ``adapter_config.json``, else POMA-3D's 64.

    Raises:
        FileError: no tower, not that branch, weights missing or unexpected, of other shapes or not finite.
    """
    folder = path if path.is_dir() else path.parent
    adapter = read_json(folder / "adapter_config.json") if (folder / "adapter_config.json").is_file() else {}
    guessed = config is None and not (path.is_dir() and (path / "config.json").is_file())
    if config is None:
        config = PRESETS["base"] if guessed else config_of_clip(path / "config.json")
    with Weights(weight_files(path)) as weights:
        prefix = _choose_prefix(path, weights, branch)
        tensors = {
            key.removeprefix(prefix): weights[key]
            for key in weights
            if key.startswith((f"{prefix}vision_model.", f"{prefix}visual_projection."))
            and not key.endswith(
                "embeddings.position_ids"
            )  # a counter that older versions of transformers saved
        }
    if _GEO in tensors:
        geo = tensors.pop(_GEO)
        if stem == "geo":
            tensors[_RGB] = geo
    alpha = adapter.get("lora_alpha", 64.0) if lora_alpha is None else lora_alpha
    try:
        tensors = merge_lora(tensors, alpha=alpha, rank_stabilised=bool(adapter.get("use_rslora", False)))
    except SettingError as error:
        raise FileError(path, str(error)) from error
    expected = shapes_of(config)
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if expected != found:
        fitting = [name for name, other in PRESETS.items() if guessed and shapes_of(other) == found]
        if fitting:
            raise FileError(
                path,
                f"does not say its shape, and its weights are of the shape of the preset {fitting[0]}: give"
                f' config=poma3d.encoder_config.PRESETS["{fitting[0]}"], or save with poma3d.checkpoints.save_encoder,'
                " which keeps the config",
            )
        raise FileError(path, describe_mismatch(expected, found))
    refuse_not_finite(path, tensors)
    return Tower(tensors=tensors, config=config, prefix=prefix)


def shapes_of(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """The weights of an encoder by transformers' names, and their shapes."""
    C, M = config.width, config.mlp_width
    tower = "vision_model"
    shapes: dict[str, tuple[int, ...]] = {
        f"{tower}.embeddings.class_embedding": (C,),
        f"{tower}.embeddings.patch_embedding.weight": (C, 3, config.patch_size, config.patch_size),
        f"{tower}.embeddings.position_embedding.weight": (1 + config.patches, C),
        "visual_projection.weight": (config.embedding, C),
    }
    linear = {f"self_attn.{name}_proj": (C, C) for name in "qkv"}
    linear |= {"self_attn.out_proj": (C, C), "mlp.fc1": (M, C), "mlp.fc2": (C, M)}
    norms = [f"{tower}.pre_layrnorm", f"{tower}.post_layernorm"]
    for layer in (f"{tower}.encoder.layers.{index}" for index in range(config.depth)):
        for name, shape in linear.items():
            shapes |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
        norms += [f"{layer}.layer_norm1", f"{layer}.layer_norm2"]
    for norm in norms:
        shapes |= {f"{norm}.weight": (C,), f"{norm}.bias": (C,)}
    return shapes


def config_of_clip(path: Path) -> EncoderConfig:
    """The shape that a ``config.json`` of a CLIP model describes; what it leaves out is CLIP's default.

    Raises:
        FileError: the file is damaged or describes no such tower.
    """
    whole = read_json(path)
    vision = whole.get("vision_config", whole)
    try:
        return EncoderConfig(
            image_size=vision.get("image_size", 224),
            patch_size=vision.get("patch_size", 32),
            width=vision.get("hidden_size", 768),
            depth=vision.get("num_hidden_layers", 12),
            heads=vision.get("num_attention_heads", 12),
            mlp_width=vision.get("intermediate_size", 3072),
            embedding=whole.get("projection_dim", vision.get("projection_dim", 512)),
            activation=vision.get("hidden_act", "quick_gelu"),
            layer_norm_eps=vision.get("layer_norm_eps", 1e-5),
        )
    except (SettingError, AttributeError) as error:
        raise FileError(path, f"describes no CLIP vision tower ({error})") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        FileError: it cannot be read or holds no object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(path, f"is not readable JSON ({error})") from error
    if not isinstance(value, dict):
        raise FileError(path, f"holds a {type(value).__name__}, expected a JSON object")
    return value


def _choose_prefix(path: Path, keys: Mapping[str, Any], branch: Branch | None) -> str:
    """What the keys of the wanted tower begin with."""
    prefixes = sorted({key[: key.index("vision_model.")] for key in keys if "vision_model." in key})
    if not prefixes:
        sample = ", ".join(sorted(keys)[:6]) or "nothing"
        raise FileError(path, f"holds no CLIP vision tower: no key has 'vision_model.', found {sample}")
    roles: dict[str, list[str]] = {}
    for prefix in prefixes:
        parts = prefix.split(".")
        named = [role for role in ("target", "context", "frozen") if f"{role}_model" in parts]
        roles.setdefault(named[0] if named else "encoder", []).append(prefix)
    order = (branch,) if branch else ("target", "encoder", "context")
    role = next((role for role in order if role in roles), None)
    if role is None:
        found = ", ".join(f"{role} ({', '.join(p or 'no prefix' for p in roles[role])})" for role in roles)
        raise FileError(path, f"holds no {branch or 'trained'} tower; found {found}; choose it by branch=")
    if len(roles[role]) > 1:
        raise FileError(
            path, f"holds several {role} towers: {', '.join(p or 'no prefix' for p in roles[role])}"
        )
    return roles[role][0]


def _load_pickle(path: Path) -> Any:
    """The content of a ``.pth`` file, mapped into memory where its format allows; never runs pickled code."""
    if not path.is_file():
        raise FileError(path, "does not exist")
    try:
        with open(path, "rb") as stream:
            zipped = stream.read(2) == b"PK"
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # a damaged pickle may raise anything
        text = str(error).strip() or type(error).__name__
        # around its reason torch advises to run the pickle all the same
        found = re.search(
            r"(?:WeightsUnpickler error:\s*|Trying to load )(.+?)(?:\. |\.?$)", text, re.MULTILINE
        )
        reason = found[1] if found else text.splitlines()[0]
        raise FileError(
            path,
            f"cannot be read as plain tensors ({reason}). It is damaged, or it holds pickled code, which is"
            " never run: save its state dict alone, best as safetensors",
        ) from error


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of nested dicts with their keys joined by dots."""
    if isinstance(value, Tensor):
        yield prefix.removesuffix("."), value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(inner, f"{prefix}{key}.")
