"""Settling: the tower does not change by a bit, text and scenes meet, the same command gives the same weights, also
after it was stopped and beside other ranks; what would stop it is found before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_pretraining import settings
from tiny_scenepoint import write_tiny
from torch.multiprocessing.spawn import spawn
from two_ranks import free_port, join_ranks

from poma3d.checkpoints import load_encoder
from poma3d.errors import SettingError
from poma3d.scenepoint.folder import scene_captions_path, view_captions_path
from poma3d.training.log import read_log
from poma3d.training.pretrain import dry_run, pretrain
from poma3d.training.settings import PretrainSettings, SettleSettings
from poma3d.training.stage import Progress


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("houses"))


def test_settling_moves_projection_and_text_alone_and_is_the_same_twice(data: Path, tmp_path: Path) -> None:
    plain = settings(data, tmp_path / "plain")
    pretrain(plain)
    one, two = (
        replace(settings(data, tmp_path / name), settle=SettleSettings(steps=40, views=3, learning_rate=3e-3))
        for name in ("one", "two")
    )

    class StopError(Exception):
        pass

    def stop(at: Progress) -> None:
        if (at.stage, at.step) == ("settling", 7):
            raise StopError

    with pytest.raises(StopError):
        pretrain(two, report=stop)
    assert not (tmp_path / "two" / "encoder.safetensors").exists()
    assert pretrain(one).weights_sha256 == pretrain(two).weights_sha256
    before = load_encoder(tmp_path / "plain" / "encoder.safetensors").weights()
    after = load_encoder(tmp_path / "one" / "encoder.safetensors").weights()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["visual_projection.weight"]
    log = read_log(tmp_path / "one" / "settle")
    assert len(log) == 40
    assert log[-1]["loss_scene_text"] < 0.7 * log[0]["loss_scene_text"]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (scene_captions_path, "0 scenes have captions"),
        (lambda root: view_captions_path(root, "tiny"), "has none of its views"),
    ],
)
def test_data_that_cannot_be_settled_on_is_refused_before_training(
    tmp_path: Path, lost: Callable[[Path], Path], said: str
) -> None:
    data = write_tiny(tmp_path / "houses", scenes=2)
    lost(data).unlink()
    recipe = replace(settings(data, tmp_path / "run"), settle=SettleSettings(steps=2, views=2))
    for refuse in (dry_run, pretrain):
        with pytest.raises(SettingError, match=said):
            refuse(recipe)
    assert not (tmp_path / "run" / "main").exists()


def _one_of_two(rank: int, recipe: PretrainSettings, port: int, found: str) -> None:
    join_ranks(rank, port)
    Path(f"{found}.{rank}").write_text(pretrain(recipe).weights_sha256)


@pytest.mark.slow
def test_one_rank_settles_while_the_other_waits(data: Path, tmp_path: Path) -> None:
    recipe = settings(data, tmp_path / "run", settle=SettleSettings(steps=3, views=2))
    recipe = replace(recipe, main=replace(recipe.main, batch=2, steps=2))
    found = str(tmp_path / "hash")
    spawn(_one_of_two, (recipe, free_port(), found), nprocs=2)
    stored = load_encoder(tmp_path / "run" / "encoder.safetensors").weights_sha256()
    assert Path(f"{found}.0").read_text() == stored
    assert len(read_log(tmp_path / "run" / "settle")) == 3


def test_settings_of_settling_are_checked() -> None:
    with pytest.raises(SettingError, match="at least 1"):
        SettleSettings(scenes=0)
    with pytest.raises(SettingError, match="learning_rate"):
        SettleSettings(learning_rate=0.0)
