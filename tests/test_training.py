"""Pretraining: its schedule, its stages and what each hands on, learning at all, and what stops or is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scenepoint_examples import rewrite
from tiny_pretraining import assert_same, settings, weights
from tiny_scenepoint import TINY, write_tiny

from poma3d.checkpoints import load_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.errors import FileError, SettingError
from poma3d.objectives.settings import AlignmentSettings
from poma3d.towers.mini_text import MiniText
from poma3d.training.log import read_log
from poma3d.training.model import Pretraining
from poma3d.training.pretrain import dry_run, hand_over, make_accelerator, make_towers, pretrain
from poma3d.training.schedule import learning_rate
from poma3d.training.settings import PRESETS, OptimiserSettings, RunSettings, StageSettings
from poma3d.training.stage import Stage, TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("houses"))


def test_the_learning_rate_grows_and_falls() -> None:
    rates = [learning_rate(step, 1000, 2.0, 50) for step in range(1000)]
    assert rates[0] == pytest.approx(2 / 50)
    assert max(rates) == rates[49] == rates[50] == 2.0
    assert rates[525] == pytest.approx(1.0)
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert 0 < rates[-1] < 1e-4
    assert learning_rate(9, 100, 1.0, 500) == 1.0  # a short run does not grow for ever


def test_main_starts_from_the_warm_ups_context_encoder(data: Path, tmp_path: Path) -> None:
    recipe = settings(data, tmp_path)
    text, _ = make_towers(recipe, None, make_accelerator(recipe))
    assert isinstance(text, MiniText)
    before = Pretraining(PointMapEncoder(TINY, seed=1), recipe.warm_up, recipe.jepa, text)
    torch.nn.init.constant_(before.alignment.log_scale, 1.0)
    after = Pretraining(PointMapEncoder(TINY, seed=2), recipe.main, recipe.jepa, text)
    hand_over(before, after)
    for encoder in (after.context_encoder, after.target_encoder):
        assert_same(dict(before.context_encoder.state_dict()), dict(encoder.state_dict()))
    assert after.alignment.log_scale == 1.0
    assert not any(weight.requires_grad for weight in after.target_encoder.parameters())


def test_the_warm_up_has_no_jepa_and_main_has_what_it_is_told_to(data: Path, tmp_path: Path) -> None:
    recipe = settings(data, tmp_path)
    for objective, loss in (("alignment", None), ("chamfer", "chamfer"), ("smooth_l1", "smooth_l1")):
        stage = replace(recipe.main, objective=objective)
        model = Pretraining(PointMapEncoder(TINY), stage, recipe.jepa, None)
        assert (None if model.jepa is None else model.jepa.settings.loss) == loss


def test_the_target_encoder_is_what_is_left_and_it_follows_slowly(data: Path, tmp_path: Path) -> None:
    quick = OptimiserSettings(learning_rate=1e-2, ema_start=0.5)
    recipe = settings(data, tmp_path / "run")
    recipe = replace(recipe, main=replace(recipe.main, optimiser=quick))
    done = pretrain(recipe)
    left, last = load_encoder(done.encoder).weights(), weights(tmp_path / "run")
    first = PointMapEncoder(TINY).weights()
    name = "vision_model.encoder.layers.0.mlp.fc1.weight"
    assert torch.equal(left[name], last[f"target_encoder.clip.{name}"])
    assert not torch.equal(left[name], last[f"context_encoder.clip.{name}"])
    assert not torch.equal(left[name], first[name])
    assert load_encoder(done.encoder).weights_sha256() == done.weights_sha256
    assert done.text is not None
    assert MiniText.load(done.text).embedding == 16


def test_pretraining_learns_to_find_scenes(data: Path, tmp_path: Path) -> None:
    optimiser = OptimiserSettings(learning_rate=3e-3, ema_start=0.9)
    recipe = settings(data, tmp_path / "run", validation=(str(data),))
    recipe = replace(
        recipe,
        main=StageSettings(
            steps=60, batch=8, objective="chamfer", views=3, augment=False, optimiser=optimiser
        ),
        run=RunSettings(device="cpu", save_every=60, log_every=20),
    )
    measures = pretrain(recipe).measures
    assert measures["R@1-5"] >= 0.9 > measures["chance@5"]
    assert min(measures["R@1-1"], measures["R@5-1"]) >= 4 * measures["chance@1"]
    log = read_log(tmp_path / "run" / "main")
    assert log[2]["loss_scene_text"] < 0.5 * log[0]["loss_scene_text"]
    assert log[2]["rank_patches"] > 3


def test_the_log_says_how_hard_poma_jepa_pulls(data: Path, tmp_path: Path) -> None:
    pulls = []
    for weight in (1.0, 10.0):
        recipe = settings(data, tmp_path / str(weight))
        recipe = replace(recipe, jepa=replace(recipe.jepa, weight=weight))
        pretrain(replace(recipe, main=replace(recipe.main, steps=1)))
        pulls.append(read_log(tmp_path / str(weight) / "main")[0]["gradient_jepa"])
    assert pulls[0] > 0
    assert pulls[1] == pytest.approx(10 * pulls[0], rel=1e-4)
    recipe = settings(data, tmp_path / "alone")
    pretrain(replace(recipe, main=replace(recipe.main, objective="alignment", steps=1)))
    assert "gradient_jepa" not in read_log(tmp_path / "alone" / "main")[0]


def test_lora_trains_adapters_alone_and_leaves_merged_weights(data: Path, tmp_path: Path) -> None:
    fast = OptimiserSettings(learning_rate=1e-2, ema_start=0.0)
    recipe = settings(data, tmp_path / "run", lora=True)
    recipe = replace(recipe, main=replace(recipe.main, optimiser=fast))
    left = load_encoder(pretrain(recipe).encoder).weights()
    first = PointMapEncoder(TINY).weights()
    changed = {name for name in first if not torch.equal(first[name], left[name])}
    assert changed
    assert all(name.split(".")[-2] in recipe.lora_settings.targets for name in changed)


def test_nan_stops_with_the_names_and_a_checkpoint_from_before(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = settings(data, tmp_path / "run")
    original: Callable = Stage.forward

    def poisoned(self: Stage, batch, number: int, **options):
        loss, metrics = original(self, batch, number, **options)
        return (loss * torch.nan if number == 3 else loss), metrics

    monkeypatch.setattr(Stage, "forward", poisoned)
    with pytest.raises(TrainingError, match=r"step 4 of main is nan on scenes scene\d\d, .*step_00000003"):
        pretrain(recipe)
    assert all(bool(tensor.isfinite().all()) for tensor in weights(tmp_path / "run").values())
    monkeypatch.setattr(Stage, "forward", original)
    pretrain(recipe)  # goes on from there
    clean = settings(data, tmp_path / "clean")
    pretrain(clean)
    assert_same(weights(tmp_path / "run"), weights(tmp_path / "clean"))


def test_a_gradient_that_is_no_number_stops_too(data: Path, tmp_path: Path) -> None:
    recipe = settings(data, tmp_path / "run")
    wild = replace(recipe.main, optimiser=OptimiserSettings(learning_rate=1e30))
    with pytest.raises(TrainingError, match="of main is"):
        pretrain(replace(recipe, main=wild))


def test_no_data_and_nothing_to_do_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--data"):
        pretrain(replace(settings(data, tmp_path / "run"), data=(), text=""))
    recipe = settings(data, tmp_path)
    with pytest.raises(SettingError, match="nothing to train"):
        replace(recipe, main=replace(recipe.main, steps=0))
    with pytest.raises(FileError):
        pretrain(settings(tmp_path / "nowhere", tmp_path / "other"))


def test_regions_are_refused_where_nothing_has_a_category(tmp_path: Path) -> None:
    data = write_tiny(tmp_path / "houses", scenes=2)
    for path in data.rglob("*.safetensors"):
        rewrite(path, category_ids=None, room_type_ids=None, metadata=None)
    recipe = settings(data, tmp_path / "run")
    recipe = replace(recipe, main=replace(recipe.main, alignment=AlignmentSettings(region_weight=1.0)))
    with pytest.raises(SettingError, match="what its pixels show"):
        dry_run(recipe)


def test_presets_are_consistent() -> None:
    for name, recipe in PRESETS.items():
        assert recipe.encoder.width % recipe.encoder.heads == 0, name
        assert json.loads(json.dumps(recipe.recipe()))["main"]["objective"] == "chamfer"
        assert recipe.warm_up.alignment.scene_weight == 0
