"""Two ranks of a pretraining have the gradients of one with the doubled batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_pretraining import assert_same, settings
from tiny_scenepoint import write_tiny
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from two_ranks import free_port, join_ranks

from poma3d.objectives.settings import AlignmentSettings
from poma3d.training.pretrain import make_accelerator, make_loader, make_model, make_towers
from poma3d.training.settings import PretrainSettings
from poma3d.training.stage import Stage

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("houses"))


def gradients(recipe: PretrainSettings) -> dict[str, Tensor]:
    """The gradient that this rank has after one batch, weights not yet changed."""
    accelerator = make_accelerator(recipe)
    text, _ = make_towers(recipe, None, accelerator)
    loader = make_loader(recipe, recipe.main, recipe.data, accelerator)
    model = make_model(recipe, recipe.main, loader, text, None)
    stage = Stage("main", recipe.main, recipe, model, loader, accelerator, None)
    loss, _ = stage.forward(next(iter(loader)), 0)
    accelerator.backward(loss)
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def _one_of_two(rank: int, recipe: PretrainSettings, port: int, out: str) -> None:
    join_ranks(rank, port)
    found = gradients(recipe)
    assert torch.distributed.get_backend() == "gloo"
    torch.save(found, f"{out}.{rank}")


@pytest.mark.parametrize("align_masked", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_two_ranks_have_the_gradients_of_one_with_the_doubled_batch(
    data: Path, tmp_path: Path, align_masked: bool
) -> None:
    recipe = settings(data, tmp_path)
    regions = AlignmentSettings(region_weight=1.0)
    recipe = replace(recipe, main=replace(recipe.main, align_masked=align_masked, batch=2, alignment=regions))
    out = str(tmp_path / "gradients")
    spawn(_one_of_two, (recipe, free_port(), out), nprocs=2)
    one, other = (torch.load(f"{out}.{rank}") for rank in (0, 1))
    assert_same(one, other)
    alone = gradients(replace(recipe, main=replace(recipe.main, batch=4)))
    assert alone.keys() == one.keys()
    largest = max(float(gradient.abs().max()) for gradient in alone.values())
    for name, gradient in alone.items():
        assert torch.allclose(one[name], gradient, rtol=1e-3, atol=1e-5 * largest), name
    assert sum(bool(gradient.abs().max() > 1e-5) for gradient in alone.values()) > 40
