"""A pretraining of a few steps on a tiny folder: its settings, and what it leaves to be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from tiny_scenepoint import TINY
from torch import Tensor

from poma3d.objectives.settings import AlignmentSettings, JepaSettings
from poma3d.training.checkpoint import checkpoints
from poma3d.training.log import read_log
from poma3d.training.settings import PretrainSettings, RunSettings, StageSettings


def settings(data: Path, out: Path, **changes: object) -> PretrainSettings:
    """Six steps without a warm-up; changes are made to the whole."""
    whole = PretrainSettings(
        data=(str(data),),
        out=str(out),
        encoder=TINY,
        warm_up=StageSettings(
            steps=0,
            batch=4,
            objective="alignment",
            single_views=True,
            alignment=AlignmentSettings(scene_weight=0.0),
        ),
        main=StageSettings(steps=6, batch=4, objective="chamfer", views=3),
        jepa=JepaSettings(width=32, depth=1, heads=2),
        run=RunSettings(device="cpu", save_every=2, log_every=1),
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def weights(out: Path) -> dict[str, Tensor]:
    """The weights of the last checkpoint of the stage main."""
    return load_file(checkpoints(out / "main")[-1] / "model.safetensors")


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    """The same tensors, to the bit."""
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


def lines(out: Path) -> list[dict]:
    """The log without what depends on the clock and the machine."""
    return [
        {k: v for k, v in line.items() if not k.startswith(("time_", "peak_"))}
        for line in read_log(out / "main")
    ]
