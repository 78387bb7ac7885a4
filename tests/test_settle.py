"""Settling: the tower does not change by a bit, text and scenes meet, the same command gives the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_training import settings
from tiny_scenepoint import write_tiny

from poma3d.checkpoints import load_encoder
from poma3d.errors import SettingError
from poma3d.training.log import read_log
from poma3d.training.pretrain import pretrain
from poma3d.training.settings import SettleSettings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("houses"))


def test_settling_moves_projection_and_text_alone_and_is_the_same_twice(data: Path, tmp_path: Path) -> None:
    plain = settings(data, tmp_path / "plain")
    pretrain(plain)
    settled = [
        replace(settings(data, tmp_path / name), settle=SettleSettings(steps=40, views=3, learning_rate=3e-3))
        for name in ("one", "two")
    ]
    hashes = [pretrain(each).weights_sha256 for each in settled]
    assert hashes[0] == hashes[1]
    before = load_encoder(tmp_path / "plain" / "encoder.safetensors").weights()
    after = load_encoder(tmp_path / "one" / "encoder.safetensors").weights()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["visual_projection.weight"]
    log = read_log(tmp_path / "one" / "settle")
    assert len(log) == 40
    assert log[-1]["loss_scene_text"] < 0.7 * log[0]["loss_scene_text"]


def test_settings_of_settling_are_checked() -> None:
    with pytest.raises(SettingError, match="at least 1"):
        SettleSettings(scenes=0)
    with pytest.raises(SettingError, match="learning_rate"):
        SettleSettings(learning_rate=0.0)
