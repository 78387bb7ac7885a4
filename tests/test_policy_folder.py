"""A trained policy as a folder: opened whole, and refused by name of what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from policies.learning.acting import Acting
from policies.learning.features import BlindFeatures
from policies.learning.networks import PolicyNetwork
from policies.learning.policy_folder import DESCRIPTION, save_policy
from policies.learning.run_state import load_state, refuse_other_backbone, save_state
from policies.learning.settings import NetworkSettings, TrainSettings
from policies.loading import open_policy, policy_sha256, policy_weights_sha256
from poma3d.errors import FileError, SettingError

NETWORK = NetworkSettings(compressed=2, hidden=8)


def save(folder: Path, seed: int = 0) -> str:
    settings = TrainSettings(features="blind", network=NETWORK)
    network = PolicyNetwork(BlindFeatures.layout, NETWORK, seed=seed)
    config = settings.as_config()
    return save_policy(folder, network.tensors(), BlindFeatures(), config, acting=Acting(), measures={})


def test_it_is_named_by_its_weights(tmp_path: Path) -> None:
    digest = save(tmp_path / "a")
    assert policy_weights_sha256(str(tmp_path / "a")) == digest
    assert open_policy(str(tmp_path / "a")).name == "a"
    save(tmp_path / "b", seed=1)
    assert policy_sha256(str(tmp_path / "a")) != policy_sha256(str(tmp_path / "b"))


def test_weights_that_the_description_does_not_know_are_refused(tmp_path: Path) -> None:
    """As a kill between the two files leaves them."""
    save(tmp_path / "a")
    save(tmp_path / "b", seed=1)
    (tmp_path / "b" / DESCRIPTION).replace(tmp_path / "a" / DESCRIPTION)
    with pytest.raises(FileError, match=r"policy\.safetensors.*killed between the two"):
        open_policy(str(tmp_path / "a"))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": "another/1"}, "format"),
        ({"weights_sha256": None}, "lacks weights_sha256"),
        ({"acting": {"speed": 1.0}}, "damaged.*speed"),
        ({"layout": {"cls": 0}}, "damaged.*tokens"),
        ({"config": {}}, "damaged.*network"),
        ({"config": {"network": {"hidden": 0}}}, "damaged.*at least 1"),
        ({"config": {"network": asdict(NetworkSettings(hidden=9))}}, "not those of this policy"),
        ({"features": "eyes"}, "names no backbone"),
    ],
)
def test_what_is_wrong_with_a_description_is_told(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    save(tmp_path)
    path = tmp_path / DESCRIPTION
    changed = json.loads(path.read_text()) | change
    if change == {"weights_sha256": None}:
        del changed["weights_sha256"]
    path.write_text(json.dumps(changed))
    with pytest.raises(FileError, match=match):
        open_policy(str(tmp_path))


def test_a_folder_without_a_policy_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"policy\.json.*is not there"):
        open_policy(str(tmp_path))


def test_a_checkpoint_knows_its_settings_and_its_backbone(tmp_path: Path) -> None:
    old, new = ({"name": "encoder.safetensors", "weights_sha256": digest * 16} for digest in ("0123", "4567"))
    assert load_state(tmp_path, {"seed": 0}) is None
    save_state(tmp_path, {"seed": 0}, {"done": 3, "backbone": old})
    state = load_state(tmp_path, {"seed": 0})
    assert state is not None
    assert state["done"] == 3
    refuse_other_backbone(tmp_path, state, old)
    with pytest.raises(SettingError, match="has 456745674567 now"):
        refuse_other_backbone(tmp_path, state, new)
    refuse_other_backbone(tmp_path, {"done": 3}, new)  # a checkpoint that does not say
    with pytest.raises(SettingError, match="other settings"):
        load_state(tmp_path, {"seed": 1})
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:200])
    with pytest.raises(FileError, match="damaged"):
        load_state(tmp_path, {"seed": 0})
