"""The checkpoint of a training run: one file that is whole or absent, read without running any code in it."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from poma3d.errors import FileError, SettingError
from poma3d.files import atomic_path

STATE = "state.pt"
EPISODES = "episodes of the file"
"""What the digest of the episodes is called beside those of the scenes."""


def config_sha256(config: Mapping[str, Any]) -> str:
    """A hash of the settings that decide what comes out."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def save_state(folder: Path, config: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a checkpoint: tensors, numbers, texts, and lists and dictionaries of these."""
    with atomic_path(folder / STATE) as temporary:
        torch.save({"config_sha256": config_sha256(config), **state}, temporary)


def load_state(folder: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The checkpoint of a run with these settings; None where it has not begun.

    Raises:
        SettingError: the folder holds a run of other settings.
        FileError: the checkpoint is damaged.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["config_sha256"]
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise FileError(path, f"is damaged ({type(error).__name__}); train in another --out") from error
    if found != config_sha256(config):
        raise SettingError(
            f"{folder.parent} holds a training with other settings: name another --out, or give its own settings"
            " to go on with it"
        )
    return state


def refuse_other_backbone(folder: Path, state: Mapping[str, Any], backbone: Mapping[str, Any] | None) -> None:
    """Refuse to go on with a training on another backbone than that of its checkpoint.

    Args:
        folder: of the checkpoint.
        state: what it holds; ``backbone`` may be missing.
        backbone: `policies.learning.features.ViewFeatures.backbone` now.

    Raises:
        SettingError: the file of that name holds other weights by now.
    """
    known = state.get("backbone", backbone)
    if known is not None and backbone is not None and known["weights_sha256"] != backbone["weights_sha256"]:
        raise SettingError(
            f"{folder.parent} holds a training on a backbone with the hash {known['weights_sha256'][:12]}, but"
            f" {backbone['name']} has {backbone['weights_sha256'][:12]} now: put the old one back, or name another"
            " --out"
        )


def refuse_other_scenes(folder: Path, state: Mapping[str, Any], scenes: Mapping[str, str | None]) -> None:
    """Refuse to go on with a training where other scenes or episodes lie by now.

    Args:
        folder: of the checkpoint.
        state: what it holds; ``scenes`` may be missing.
        scenes: `policies.learning.houses.TrainingScenes.digests` now.

    Raises:
        SettingError: a scene, or the file of episodes, is not what it was.
    """
    known = state.get("scenes", scenes)
    changed = next((name for name in known if known[name] != scenes.get(name)), None)
    if changed is None:
        return
    if changed == "procedural":
        raise SettingError(
            f"{folder.parent} holds a training in houses of {known[changed]}, and this pomagym makes those of"
            f" {scenes.get(changed)}: go on with the one it was begun with, or name another --out"
        )
    what = "the episodes have" if changed == EPISODES else f"the scene {changed} has"
    raise SettingError(
        f"{folder.parent} holds a training on what is there no more: {what} changed since; put the old one back, or"
        " name another --out"
    )
