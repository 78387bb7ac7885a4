"""`pomagym pretrain`: train the backbone, or go on with a run that was cut off."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, fields
from typing import Annotated

import tyro

from poma3d.training.settings import PRESETS, PretrainSettings


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


def _command(preset: str) -> Pretrain:
    """The command as a preset fills it in."""
    return Pretrain(**vars(PRESETS[preset]))


Config = (
    Annotated[Pretrain, tyro.conf.subcommand("mini", default=_command("mini"))]
    | Annotated[Pretrain, tyro.conf.subcommand("base", default=_command("base"))]
)


def execute(config: Pretrain) -> int:
    """Train, or check that training would work."""
    from poma3d.errors import SettingError

    settings = PretrainSettings(
        **{field.name: getattr(config, field.name) for field in fields(PretrainSettings)}
    )
    if not settings.data:
        raise SettingError("there is no data: name one or more ScenePoint folders, --data FOLDER")
    if settings.run.dry_run:
        return _dry_run(settings, config.json)
    if not settings.out:
        raise SettingError("the run needs a folder: --out FOLDER")
    return _train(settings, config.json)


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
    from poma3d.objectives.gather import rank
    from poma3d.training.pretrain import pretrain
    from poma3d.training.stage import Progress
    from pomagym.progress import Bar

    stages: list[str] = []
    with Bar("pretraining") as bar:

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
    return 0
