"""A trained policy as one folder: ``policy.safetensors``, ``policy.json``, results.

``policy.json`` says how it was trained, what its backbone is called and what its hash is. Weights are tensors
only; nothing in the folder is code.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from policies.learning.acting import Acting
from policies.learning.features import (
    RANDOM_PREFIX,
    BackboneFeatures,
    BlindFeatures,
    FeatureLayout,
    PointMapFeatures,
    ViewFeatures,
)
from policies.learning.learned_policy import Brain, DaggerBrain, LearnedPolicy
from policies.learning.networks import PolicyNetwork, refuse_other_shapes
from policies.learning.settings import LOWEST_CEILING, NetworkSettings
from poma3d.checkpoint_layouts import ENCODER_FILE
from poma3d.errors import FileError, SettingError
from poma3d.files import write_text
from poma3d.weights import read_weights, write_weights

POLICY_FORMAT = "pomagym.policy/1"
"""What the metadata of the weights say they are."""
DESCRIPTION, WEIGHTS = "policy.json", "policy.safetensors"
_NEEDED = ("policy", "features", "layout", "backbone", "size", "acting", "weights_sha256", "config")


def save_policy(
    folder: str | os.PathLike[str],
    tensors: Mapping[str, torch.Tensor],
    features: ViewFeatures,
    config: Mapping[str, Any],
    *,
    acting: Acting,
    ceiling: float = 0.0,
    measures: Mapping[str, Any],
) -> str:
    """Write a policy, weights first: a kill in between leaves a pair that `open_policy_folder` refuses.

    Args:
        folder: gets the two files.
        tensors: the network's weights.
        features: what it sees through.
        config: `TrainSettings.as_config`.
        acting: how it chooses.
        ceiling: that views are shown under, metres (`policies.learning.ceiling`); 0 = as they are.
        measures: its evaluation on held-out scenes.

    Returns:
        The hash of the weights.

    Raises:
        FileError: a file cannot be written, or a weight is not finite.
    """
    digest = write_weights(Path(folder) / WEIGHTS, POLICY_FORMAT, tensors, {"policy": config["policy"]})
    description = {
        "format": POLICY_FORMAT,
        "policy": config["policy"],
        "features": config["features"],
        "layout": features.layout.as_dict(),
        "backbone": features.backbone,
        "frame": "agent",
        "size": features.size,
        "acting": asdict(acting),
        "ceiling": ceiling,
        "weights_sha256": digest,
        "held_out": dict(measures),
        "config": dict(config),
    }
    write_text(Path(folder) / DESCRIPTION, json.dumps(description, indent=2, sort_keys=True) + "\n")
    return digest


def is_policy_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a trained policy."""
    return (Path(path) / DESCRIPTION).is_file()


def read_description(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What ``policy.json`` says.

    Raises:
        FileError: it is missing, damaged or of another format.
    """
    path = Path(folder) / DESCRIPTION
    try:
        description = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileError(path, "is not there; a folder made by pomagym train was expected") from None
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be read ({error})") from error
    found = description.get("format") if isinstance(description, dict) else None
    if found != POLICY_FORMAT:
        raise FileError(path, f"has the format {found!r}, expected {POLICY_FORMAT!r}")
    missing = [name for name in _NEEDED if name not in description]
    if missing:
        raise FileError(path, f"lacks {', '.join(missing)}")
    return description


def policy_folder_sha256(folder: str | os.PathLike[str]) -> str:
    """A hash of the description and the weights: another training, another hash."""
    description = read_description(folder)
    decisive = {key: description[key] for key in ("backbone", "acting", "layout", "weights_sha256")}
    if description.get("ceiling"):  # folders without one keep the hash they had before there were any
        decisive["ceiling"] = description["ceiling"]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def open_policy_folder(folder: str | os.PathLike[str]) -> LearnedPolicy:
    """The policy that a folder holds, on its backbone.

    The backbone is looked up by the name in ``policy.json``; where nothing of that name is there, a file or folder of
    its last part beside ``policy.json`` is taken, or ``encoder.safetensors``. Its hash must be the one trained on.

    Raises:
        FileError: a file is missing or damaged, or the backbone of that name has other weights than the policy
            was trained on.
    """
    folder = Path(folder)
    description = read_description(folder)
    file = read_weights(folder / WEIGHTS, POLICY_FORMAT)
    if file.weights_sha256 != description["weights_sha256"]:
        raise FileError(
            folder / WEIGHTS,
            f"has the hash {file.weights_sha256[:12]}, but {DESCRIPTION} describes"
            f" {description['weights_sha256'][:12]}: a training was killed between the two; go on with it",
        )
    try:
        layout = FeatureLayout.from_dict(description["layout"])
        settings = NetworkSettings(**description["config"]["network"])
        acting = Acting(**description["acting"])
        ceiling = _ceiling_of(description)
        features = _features_of(folder, description)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(folder / DESCRIPTION, f"is damaged ({type(error).__name__}: {error})") from error
    if layout != features.layout:
        raise FileError(
            folder / DESCRIPTION, f"the policy reads {layout}, its backbone gives {features.layout}"
        )
    brain = _brain_of(folder / WEIGHTS, description["policy"], layout, settings, file.tensors)
    return LearnedPolicy(brain, features, acting, ceiling=ceiling, name=folder.resolve().name)


def _ceiling_of(description: Mapping[str, Any]) -> float:
    """The ceiling that the policy is shown, metres; 0, none, in folders from before there were ceilings."""
    ceiling = description.get("ceiling", 0.0)
    if isinstance(ceiling, bool) or not isinstance(ceiling, int | float):
        raise TypeError(f"the ceiling must be a number of metres, found {ceiling!r}")
    if ceiling and not LOWEST_CEILING <= ceiling < math.inf:
        raise ValueError(f"the ceiling must be 0 (none) or at least {LOWEST_CEILING:g} m, found {ceiling}")
    return float(ceiling)


def _brain_of(
    path: Path,
    kind: str,
    layout: FeatureLayout,
    settings: NetworkSettings,
    tensors: Mapping[str, torch.Tensor],
) -> Brain:
    if kind != "dagger":
        from policies.learning.sb3_network import load_brain

        return load_brain(path, kind, layout, settings, tensors)
    network = PolicyNetwork(layout, settings)
    refuse_other_shapes(path, network.state_dict(), tensors)
    network.load(tensors)
    return DaggerBrain(network)


def _features_of(folder: Path, description: Mapping[str, Any]) -> ViewFeatures:
    wanted = description["backbone"]
    if wanted is None:
        kinds = {"blind": BlindFeatures, "cnn": PointMapFeatures}
        if description["features"] not in kinds:
            raise FileError(
                folder / DESCRIPTION, f"names no backbone for features {description['features']!r}"
            )
        return kinds[description["features"]]()
    name = str(wanted["name"])
    if not name.startswith(RANDOM_PREFIX) and not Path(name).exists():
        beside = (folder / Path(name).name, folder / ENCODER_FILE)
        name = next((str(path) for path in beside if path.exists()), name)
    try:
        features = BackboneFeatures(name, wanted["output"])
    except (FileError, SettingError) as error:
        raise FileError(
            folder / DESCRIPTION,
            f"its backbone {wanted['name']!r} cannot be loaded ({error}); a copy of it may lie beside this file as"
            f" {ENCODER_FILE}",
        ) from error
    found = (features.backbone or {})["weights_sha256"]
    if found != wanted["weights_sha256"]:
        raise FileError(
            folder / DESCRIPTION,
            f"the policy was trained on a backbone with the hash {wanted['weights_sha256'][:12]}, but {name} has"
            f" {found[:12]}: put the backbone it was trained on beside {DESCRIPTION}, or train it anew on this one",
        )
    return features
