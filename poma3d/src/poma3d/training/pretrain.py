"""A whole pretraining: the stages in order, each resumed where it was cut off, and the weights at the end.

    OUT/settings.json            the resolved settings
    OUT/warm-up/, OUT/main/      see `poma3d.training.stage`
    OUT/settle/                  log and end of the last stage (`poma3d.training.settle`), where there is one
    OUT/encoder.safetensors      the target encoder, as `poma3d.checkpoints.load_encoder` takes it
    OUT/text.safetensors         the text tower that trained along

The main stage starts from the warm-up's context encoder, text tower and scale; its target encoder starts as a copy
of its context encoder, as in I-JEPA. How the paper hands over is unknown.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from safetensors.torch import load_file

from poma3d.checkpoint_layouts import ENCODER_FILE
from poma3d.checkpoints import load_encoder, save_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.errors import FileError, SettingError
from poma3d.files import write_text
from poma3d.objectives.gather import alone
from poma3d.scenepoint import SceneLoader, ScenePointDataset
from poma3d.scenepoint.folder import ScenePointFolder
from poma3d.scenepoint.settings import DataSettings
from poma3d.towers import ImageTower, TextTower
from poma3d.towers.fgclip import FgClipImage, FgClipText
from poma3d.towers.mini_text import MiniText, MiniTextConfig
from poma3d.towers.vocabulary import Vocabulary
from poma3d.training.checkpoint import checkpoints
from poma3d.training.checks import check_settling, check_targets
from poma3d.training.log import Log
from poma3d.training.model import Pretraining
from poma3d.training.run_folder import VOCABULARY_FILE, keep_settings, refuse_other_settings
from poma3d.training.settings import PretrainSettings, StageSettings
from poma3d.training.stage import DONE, Progress, Stage, peak_memory_mib

Evaluate = Callable[[Pretraining], dict[str, float]]


@dataclass(frozen=True)
class Pretrained:
    """What a pretraining left."""

    encoder: Path
    """The target encoder's weights."""
    text: Path | None
    """The text tower's, if it trained along."""
    weights_sha256: str
    """The hash of the encoder's weights."""
    measures: dict[str, float]
    """Of the evaluation at the end of the last stage; empty without validation data."""


def pretrain(
    settings: PretrainSettings,
    *,
    report: Callable[[Progress], None] | None = None,
    evaluate: Evaluate | None = None,
) -> Pretrained:
    """Train from where the run in ``settings.out`` stands to its end.

    Args:
        settings: the run.
        report: called after every step, in the main process.
        evaluate: measures of a model; None takes those of `poma3d.evaluation` on ``settings.validation``.

    Raises:
        SettingError: settings that do not fit together, or other than those of the run in that folder.
        FileError: data or weights that cannot be read or written.
        TrainingError: the loss is no number; see `Stage.run`.
    """
    out = Path(settings.out)
    accelerator = make_accelerator(settings)
    if accelerator.is_main_process:
        refuse_other_settings(settings, out)
    stages = open_stages(settings, accelerator)
    evaluate = evaluate or evaluation_of(settings)
    if accelerator.is_main_process:  # not before all that can be refused has been
        keep_settings(settings, out)
    accelerator.wait_for_everyone()
    text, image = make_towers(settings, out, accelerator)
    model: Pretraining | None = None
    measures: dict[str, float] = {}
    for name, stage, loader in stages:
        folder = out / name
        done = folder / DONE
        following = make_model(settings, stage, loader, text, image)
        if model is not None:
            hand_over(model, following)
        if done.exists():
            measures = json.loads(done.read_text())["measures"]
            load_weights(following, folder)
        else:
            training = Stage(
                name,
                stage,
                settings,
                following,
                loader,
                accelerator,
                folder,
                report=report,
                evaluate=evaluate,
            )
            measures = training.run()["measures"]
            accelerator.free_memory()
        model = following
    assert model is not None  # settings without a stage are refused
    encoder_file, text_file, settled = (
        out / ENCODER_FILE,
        out / "text.safetensors",
        out / "settle" / DONE,
    )
    settles = settings.settle.steps > 0 and isinstance(model.text_tower, MiniText)
    finished = settles and all(path.exists() for path in (settled, encoder_file, text_file))
    accelerator.wait_for_everyone()  # none writes before all have looked
    if finished:
        weights = load_encoder(encoder_file).weights_sha256()
        return Pretrained(encoder_file, text_file, weights, json.loads(settled.read_text())["measures"])
    model = model.to("cpu")
    if settles and accelerator.is_main_process:
        with alone():  # the other ranks wait below
            _settle(settings, model, settled.parent, report, bf16=accelerator.mixed_precision == "bf16")
        measures = evaluate(model) if evaluate is not None else {}
    notes = {"recipe": settings.recipe(), "measures": measures}
    encoder = model.target_encoder
    if accelerator.is_main_process:
        save_encoder(encoder, encoder_file, notes=notes)
        if isinstance(model.text_tower, MiniText):
            model.text_tower.save(text_file, notes=notes)
        if settles:
            write_text(
                settled, json.dumps({"step": settings.settle.steps, "measures": measures}, indent=2) + "\n"
            )
    accelerator.wait_for_everyone()
    return Pretrained(
        encoder=encoder_file,
        text=text_file if model.text_tower is not None else None,
        weights_sha256=encoder.weights_sha256(),
        measures=measures,
    )


def _settle(
    settings: PretrainSettings,
    model: Pretraining,
    folder: Path,
    report: Callable[[Progress], None] | None,
    *,
    bf16: bool,
) -> None:
    """The last stage, with its log; once through takes minutes, so it has no checkpoints."""
    from poma3d.training.settle import all_captions, freeze, settle

    if not isinstance(model.text_tower, MiniText):
        return
    size, regions = settings.encoder.image_size, model.alignment.settings.region_weight > 0
    data = DataSettings(
        views=settings.settle.views, size=size, labels=regions, bad_scenes=settings.bad_scenes
    )
    dataset = ScenePointDataset(list(settings.data), data)
    scenes, encoded = min(settings.settle.scenes, len(dataset)), len(dataset) * data.views
    first = began = time.perf_counter()

    def progress(stage: str, step: int, steps: int, loss: float | None, views: int) -> None:
        if report is not None:
            pace = (time.perf_counter() - began) / step
            report(Progress(stage, step, steps, loss, views / pace, (steps - step) * pace))

    encoder = model.target_encoder.eval()
    encoder.requires_grad_(False)
    frozen = freeze(
        encoder,
        dataset,
        all_captions(list(settings.data)),
        bf16=bf16,
        report=lambda done, of: progress("encoding", done, of, None, data.views),
    )
    began, steps = time.perf_counter(), settings.settle.steps
    log = Log(folder, 0)
    try:
        for step, metrics in enumerate(
            settle(
                encoder,
                model.text_tower,
                model.alignment,
                frozen,
                dataset.categories,
                settings.settle,
                seed=settings.seed,
                bf16=bf16,
                report=lambda step, loss: progress("settling", step, steps, loss, scenes),
            ),
            start=1,
        ):
            if step % settings.run.log_every == 0 or step == steps:
                seconds = time.perf_counter() - first
                log.write({"step": step, **metrics, "encoded_views": encoded, "time_seconds": seconds})
    finally:
        log.close()


def dry_run(settings: PretrainSettings) -> list[dict[str, Any]]:
    """Check data, memory and two steps of warm-up and main without writing; returns a line of facts for each.

    Raises:
        UserError: whatever would stop the run.
    """
    accelerator = make_accelerator(settings)
    stages = open_stages(settings, accelerator)
    text, image = make_towers(settings, None, accelerator)
    facts = []
    for name, stage, loader in stages:
        model = make_model(settings, stage, loader, text, image)
        training = Stage(name, stage, settings, model, loader, accelerator, None)
        batches = iter(loader)
        training.take_step(batches)  # the first one pays for what is made once
        seconds = training.timed_step(batches)
        trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        facts.append(
            {
                "stage": name,
                "scenes": len(loader.dataset),
                "skipped": len(loader.dataset.skipped),
                "trained_weights": trained,
                "images_per_second": training.images_per_step / seconds,
                "seconds_per_step": seconds,
                "hours": seconds * stage.steps / 3600,
                "epochs": stage.steps * stage.accumulate / loader.batches_per_epoch,
                "peak_memory_mib": peak_memory_mib(accelerator.device),
                "device": str(accelerator.device),
                "precision": str(accelerator.mixed_precision),
            }
        )
        accelerator.free_memory()
    return facts


def open_stages(
    settings: PretrainSettings, accelerator: Accelerator
) -> list[tuple[str, StageSettings, SceneLoader]]:
    """Name, settings and batches of each stage that has steps, after the checks of all of them.

    Raises:
        FileError: data that cannot be used.
        SettingError: data that a stage cannot learn from, see `poma3d.training.checks`.
    """
    stages = [
        (name, stage, make_loader(settings, stage, data, accelerator))
        for name, stage, data in settings.stages()
    ]
    for name, stage, loader in stages:
        check_targets(settings, name, stage, loader.dataset)
    check_settling(settings)
    return stages


def make_accelerator(settings: PretrainSettings) -> Accelerator:
    """Accelerate on the device and in the precision that the settings say."""
    on_cpu = settings.run.device == "cpu" or not torch.cuda.is_available()
    if settings.precision == "auto":
        bf16 = not on_cpu and torch.cuda.is_bf16_supported()
    else:
        bf16 = settings.precision == "bf16"
    # Ranks wait while the first one evaluates and settles; the 10 minutes that NCCL grants are too few for that.
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=6))
    return Accelerator(cpu=on_cpu, mixed_precision="bf16" if bf16 else "no", kwargs_handlers=[patience])


def make_encoder(settings: PretrainSettings) -> PointMapEncoder:
    """The encoder that a run starts from.

    Raises:
        FileError: weights that cannot be read.
        SettingError: weights of another shape than the settings' encoder.
    """
    if settings.start:
        encoder = load_encoder(settings.start)
        if encoder.config != settings.encoder:
            raise SettingError(
                f"{settings.start} is an encoder of another shape: {encoder.config} instead of {settings.encoder}"
            )
    else:
        encoder = PointMapEncoder(settings.encoder, seed=settings.seed)
    if settings.lora:
        with torch.random.fork_rng(devices=[]):  # new adapters are drawn at random
            torch.manual_seed(settings.seed)
            encoder.add_lora(settings.lora_settings)
    return encoder


def make_model(
    settings: PretrainSettings,
    stage: StageSettings,
    loader: SceneLoader,
    text: TextTower | None,
    image: ImageTower | None,
) -> Pretraining:
    """Everything that trains in a stage, from the run's first weights."""
    return Pretraining(
        make_encoder(settings),
        stage,
        settings.jepa,
        text,
        image,
        categories=loader.dataset.categories,
        seed=settings.seed,
    )


def make_towers(
    settings: PretrainSettings, out: Path | None, accelerator: Accelerator
) -> tuple[TextTower | None, ImageTower | None]:
    """The text and image towers; a small text tower's vocabulary is built from the captions, and kept in ``out``."""
    image = FgClipImage.load(settings.image) if settings.image else None
    if not settings.text:
        return None, image
    if settings.text != "mini":
        return FgClipText.load(settings.text), image
    kept = None if out is None else out / VOCABULARY_FILE
    if kept is None or not kept.exists():
        folders = dict.fromkeys(root for _, _, data in settings.stages() for root in data)
        vocabulary = Vocabulary.build(captions(list(folders)))
        if kept is not None and accelerator.is_main_process:
            write_text(kept, json.dumps(vocabulary.words) + "\n")
    else:
        try:
            vocabulary = Vocabulary(json.loads(kept.read_text()))
        except (OSError, ValueError) as error:
            raise FileError(kept, f"is no vocabulary ({error})") from error
    accelerator.wait_for_everyone()
    config = MiniTextConfig(embedding=settings.encoder.embedding)
    return MiniText(vocabulary, config, seed=settings.seed), image


def captions(roots: list[str]) -> Iterator[str]:
    """Every caption of ScenePoint folders, views' and scenes'."""
    for root in roots:
        for scene in ScenePointFolder(root).scenes:
            yield from scene.scene_captions
            if scene.captions is not None:
                for texts in scene.captions.utterances(scene.scan_id, scene.captions.views(scene.scan_id)):
                    yield from texts


def make_loader(
    settings: PretrainSettings, stage: StageSettings, data: tuple[str, ...], accelerator: Accelerator
) -> SceneLoader:
    """The batches of a stage on this rank.

    Raises:
        FileError: data that cannot be used.
        SettingError: no data, or regions shall be aligned and nothing has a category.
    """
    if not data:
        raise SettingError("there is no data: name the ScenePoint folders with --data")
    dataset = ScenePointDataset(
        list(data),
        stage.data(settings.encoder.image_size, images=bool(settings.image), bad_scenes=settings.bad_scenes),
    )
    if stage.alignment.region_weight > 0 and not dataset.categories:
        raise SettingError(
            f"no scene of {', '.join(data)} says what its pixels show, which the alignment of regions needs;"
            " --warm-up.alignment.region-weight 0 --main.alignment.region-weight 0 leaves it out"
        )
    return SceneLoader(
        dataset,
        stage.batch,
        seed=settings.seed,
        workers=settings.run.workers,
        rank=accelerator.process_index,
        ranks=accelerator.num_processes,
        mix=stage.mix,
        pin_memory=accelerator.device.type == "cuda",
    )


def hand_over(before: Pretraining, after: Pretraining) -> None:
    """Start ``after`` from the context encoder and the scale of ``before``; its target encoder becomes a copy."""
    after.context_encoder.load_state_dict(before.context_encoder.state_dict())
    after.target_encoder.load_state_dict(before.context_encoder.state_dict())
    # strict=False: one stage may align regions, with a scale of their own, and the other not
    after.alignment.load_state_dict(before.alignment.state_dict(), strict=False)
    if after.text_tower is not None and before.text_tower is not None:
        after.text_tower.load_state_dict(before.text_tower.state_dict())


def load_weights(model: Pretraining, folder: Path) -> None:
    """The weights of a finished stage's last checkpoint.

    Raises:
        FileError: there is none, or it is not of this model.
    """
    found = checkpoints(folder)
    if not found:
        raise FileError(folder, "is of a finished stage, but its checkpoints are gone")
    path = found[-1] / "model.safetensors"
    try:
        model.load_state_dict(load_file(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise FileError(path, f"is not the checkpoint of this stage ({error})") from error


def evaluation_of(settings: PretrainSettings) -> Evaluate | None:
    """The evaluation beside training on ``settings.validation``; None without."""
    if not settings.validation:
        return None
    from poma3d.evaluation.suite import Suite

    suite = Suite(settings.validation, settings.encoder.image_size)
    return lambda model: suite.measure(model.target_encoder, model.text)
