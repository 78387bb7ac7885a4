"""`pomagym pretrain`: train the backbone, or go on with a run that was cut off."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import shlex
import sys
from dataclasses import dataclass, fields
from typing import Annotated, Any

import tyro

from poma3d.training.settings import PRESETS, PretrainSettings
from pomagym.printing import say_done_already


@dataclass(frozen=True)
class Pretrain(PretrainSettings):
    """Pretrain the backbone on ScenePoint folders: a warm-up of alignment alone, then alignment with POMA-JEPA.

    A run lives in its --out; the same command resumes it where it was cut off, exactly. On several GPUs:
    torchrun --nproc-per-node N -m pomagym pretrain ...

    For example:

        pomagym scenes export procedural:train:2000 --size 112 --half --out data/train
        pomagym pretrain mini --data data/train --out runs/mini --run.dry-run
        pomagym pretrain mini --data data/train --validation data/val --out runs/mini
    """

    json: bool = False
    """Print what came out as JSON, alone on standard output."""


def _preset(name: str, purpose: str) -> Any:
    """The part of the command that a preset fills in; its help begins with what the preset is for."""
    return tyro.conf.subcommand(
        name,
        default=Pretrain(**vars(PRESETS[name])),
        description=f"{purpose}\n\n{inspect.cleandoc(Pretrain.__doc__ or '')}",
    )


Config = (
    Annotated[
        Pretrain, _preset("mini", "3.7 M weights and a small text tower, from random, in an hour a core.")
    ]
    | Annotated[
        Pretrain, _preset("base", "The paper's: adapters on FG-CLIP's ViT-B/16; needs its files and GPUs.")
    ]
)


def execute(config: Pretrain) -> int:
    """Train, or check that training would work."""
    from poma3d.errors import SettingError

    settings = PretrainSettings(
        **{field.name: getattr(config, field.name) for field in fields(PretrainSettings)}
    )
    if not settings.data:
        raise SettingError("there is no data: name one or more ScenePoint folders, --data FOLDER")
    _check_folders(settings)
    if settings.run.dry_run:
        return _dry_run(settings, config.json)
    if not settings.out:
        raise SettingError("the run needs a folder: --out FOLDER")
    return _train(settings, config.json)


def _check_folders(settings: PretrainSettings) -> None:
    """Refuse a folder that is named twice, and say where the evaluation would not be on held-out scenes."""
    from pathlib import Path

    from poma3d.errors import SettingError

    seen = {}
    for flag in ("data", "warm_up_data", "validation"):
        seen[flag] = [Path(folder).resolve() for folder in getattr(settings, flag)]
        twice = [folder for folder in seen[flag] if seen[flag].count(folder) > 1]
        if twice:
            raise SettingError(f"--{flag.replace('_', '-')} names {twice[0]} twice; name each folder once")
    for folder in {*seen["data"], *seen["warm_up_data"]}.intersection(seen["validation"]):
        print(
            f"pomagym: {folder} is trained on and validated on: the measures are not of held-out scenes",
            file=sys.stderr,
        )


def _dry_run(settings: PretrainSettings, as_json: bool) -> int:
    from poma3d.objectives.gather import rank
    from poma3d.training.pretrain import dry_run

    facts = dry_run(settings)
    if rank():  # of several processes one speaks
        return 0
    if as_json:
        print(json.dumps({"stages": facts}, indent=2))
        return 0
    for row in facts:
        print(
            f"{row['stage']}: {row['scenes']} scenes ({row['skipped']} skipped),"
            f" {row['trained_weights']:,} weights train on {row['device']} (mixed precision: {row['precision']});"
            f" {row['seconds_per_step']:.2f} s a step, {row['images_per_second']:.0f} images/s,"
            f" peak memory {row['peak_memory_mib']:.0f} MiB;"
            f" the stage is {row['epochs']:.1f} epochs and would take {row['hours']:.1f} h"
        )
    return 0


def _train(settings: PretrainSettings, as_json: bool) -> int:
    from benchmarks.folder_lock import locked
    from poma3d.objectives.gather import rank
    from poma3d.training.pretrain import pretrain
    from poma3d.training.stage import Progress
    from pomagym.progress import Bar

    stages: list[str] = []
    # torchrun's processes write to one folder; the first of them holds it, and if it may not, torchrun ends the others.
    first = os.environ.get("RANK", "0") == "0"
    with locked(settings.out) if first else contextlib.nullcontext(), Bar("pretraining") as bar:

        def report(at: Progress) -> None:
            if at.stage not in stages:
                stages.append(at.stage)
                bar.start(at.steps, at.step - 1)
            word = f"{at.stage} {at.images_per_second:.0f} images/s, {at.seconds_left / 60:.0f} min left"
            bar.advance(word)
            if at.loss is not None and not sys.stderr.isatty():
                print(f"{at.stage} {at.step}/{at.steps} loss {at.loss:.3f} {word}", file=sys.stderr)

        result = pretrain(settings, report=report)
    if rank():  # of several processes one speaks
        return 0
    if not stages:
        say_done_already(settings.out)
    if as_json:
        facts = {
            "encoder": str(result.encoder),
            "text": None if result.text is None else str(result.text),
            "weights_sha256": result.weights_sha256,
            "measures": result.measures,
        }
        print(json.dumps(facts, indent=2))
        return 0
    for name, value in result.measures.items():
        print(f"{name:26} {value:.3f}")
    print(f"encoder   {result.encoder}  (weights {result.weights_sha256[:12]})")
    if result.text is not None:
        print(f"text      {result.text}")
    print(f"curves: pomagym view {shlex.quote(str(settings.out))}", file=sys.stderr)
    return 0
