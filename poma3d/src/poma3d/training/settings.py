"""What a person can set about pretraining, and the two presets. Imports no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from poma3d.encoder_config import PRESETS as ENCODERS
from poma3d.encoder_config import EncoderConfig, LoraSettings
from poma3d.errors import FileError, SettingError
from poma3d.objectives.settings import AlignmentSettings, JepaSettings
from poma3d.scenepoint.settings import AugmentSettings, DataSettings


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW and its schedule; the defaults are those of the authors' follow-up, the closest published recipe.

    Raises:
        SettingError: a number out of its range.
    """

    learning_rate: float = 1e-4
    """At the top of the schedule."""
    warmup_steps: int = 500
    """Steps of linear growth from 0; then half a cosine falls to 0. At most a tenth of the steps is taken."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's two momenta."""
    weight_decay: float = 0.01
    """On matrices; vectors (norms, biases, the scale) are left alone."""
    clip: float = 5.0
    """Largest norm of the gradient."""
    ema_start: float = 0.996
    """Momentum of the target encoder at the start; it grows linearly to 1 at the end. Over T steps about
    exp(-T (1 - start) / 2) of the first weights stays in it: short runs need a smaller one."""

    def __post_init__(self) -> None:
        if not (
            self.learning_rate > 0 and self.clip > 0 and self.weight_decay >= 0 and self.warmup_steps >= 0
        ):
            raise SettingError(
                "learning_rate and clip must be above 0, weight_decay and warmup_steps at least 0, found"
                f" {self.learning_rate}, {self.clip}, {self.weight_decay}, {self.warmup_steps}"
            )
        if not 0 <= self.ema_start <= 1 or not all(0 <= beta < 1 for beta in self.betas):
            raise SettingError(
                f"ema_start must lie in [0, 1] and betas in [0, 1), found {self.ema_start}, {self.betas}"
            )


@dataclass(frozen=True)
class StageSettings:
    """One of the two stages, warm-up and main.

    Raises:
        SettingError: a number out of its range or an unknown objective.
    """

    steps: int
    """Optimiser steps; 0 leaves the stage out."""
    batch: int
    """Scenes a forward pass and process; a step takes batch x accumulate x processes."""
    objective: Literal["alignment", "chamfer", "smooth_l1"]
    """``alignment`` alone, with POMA-JEPA (``chamfer``), or with the ablation whose JEPA knows the order of the
    patches (``smooth_l1``)."""
    accumulate: int = 1
    """Batches whose gradients are averaged in one step; the rows of one batch alone are each other's negatives."""
    views: int = 32
    """Views of a scene."""
    single_views: bool = False
    """Take every view as a scene of its own."""
    align_masked: bool = False
    """With POMA-JEPA, align what the context encoder makes of the masked views, instead of encoding the whole views
    once more: less than half the work a step. As in FLIP (arXiv 2212.00794). The paper does not say which it does."""
    seen: float = 1.0
    """Without POMA-JEPA, the share of a view's patches that the context encoder sees, drawn at random: half of them
    cost half the work (FLIP, arXiv 2212.00794). With POMA-JEPA the masks decide."""
    captions: int = 1
    """Most captions of a view joined to one text."""
    mix: Literal["equal", "proportional"] = "equal"
    """Whether all sources are drawn equally often or all scenes."""
    augment: bool = True
    """Turn, scale and move scenes at random."""
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    """AdamW and its schedule."""
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    """L_view and L_scene."""
    augmentation: AugmentSettings = field(default_factory=AugmentSettings)
    """How far scenes are changed, where ``augment`` is on."""

    def __post_init__(self) -> None:
        if self.steps < 0 or min(self.batch, self.accumulate, self.views) < 1:
            raise SettingError(
                f"steps must be at least 0, batch, accumulate and views at least 1, found {self.steps},"
                f" {self.batch}, {self.accumulate}, {self.views}"
            )
        if not 0 < self.seen <= 1 or self.captions < 1:
            raise SettingError(
                f"seen must lie in (0, 1] and captions be at least 1, found {self.seen} and {self.captions}"
            )
        if self.objective not in ("alignment", "chamfer", "smooth_l1"):
            raise SettingError(f"the objective is alignment, chamfer or smooth_l1, found {self.objective!r}")

    def data(self, size: int, *, images: bool, bad_scenes: str) -> DataSettings:
        """How the stage reads scenes, for an encoder of ``size`` pixels."""
        return DataSettings(
            views=1 if self.single_views else self.views,
            size=size,
            single_views=self.single_views,
            augment=self.augmentation if self.augment else None,
            captions=self.captions,
            images=images,
            labels=self.alignment.region_weight > 0,
            bad_scenes=bad_scenes,
        )


@dataclass(frozen=True)
class SettleSettings:
    """The last stage, on whole scenes and with the tower frozen (`poma3d.training.settle`); ours, not the paper's.

    Raises:
        SettingError: a number out of its range.
    """

    steps: int = 0
    """Optimiser steps; 0 leaves it out."""
    scenes: int = 256
    """Scenes a step, all against all."""
    views: int = 16
    """Views of a scene; each is encoded once."""
    regions: int = 32
    """Views a step whose patches are compared with words, where regions are aligned."""
    learning_rate: float = 5e-4
    """At the top of a cosine."""
    weight_decay: float = 0.05
    """On matrices."""

    def __post_init__(self) -> None:
        if self.steps < 0 or min(self.scenes, self.views, self.regions) < 1 or not self.learning_rate > 0:
            raise SettingError(
                "settling takes steps of at least 0, scenes, views and regions of at least 1 and a learning_rate above"
                f" 0, found {self.steps}, {self.scenes}, {self.views}, {self.regions} and {self.learning_rate}"
            )


@dataclass(frozen=True)
class RunSettings:
    """How a run is carried out; nothing here changes the weights that come out."""

    device: Literal["auto", "cpu"] = "auto"
    """``auto`` takes the GPU where there is one."""
    workers: int = 0
    """Processes that read data beside each training process."""
    save_every: int = 200
    """Steps between checkpoints."""
    keep: int = 2
    """Newest checkpoints of a stage that are kept."""
    log_every: int = 10
    """Steps between lines of the log."""
    evaluate_every: int = 0
    """Steps between evaluations on ``validation``; 0 evaluates at the end of a stage only."""
    dry_run: bool = False
    """Check data, memory and two steps of warm-up and main, write nothing, and say how long these would take."""


@dataclass(frozen=True)
class PretrainSettings:
    """A whole pretraining: what is trained, on what, how long."""

    data: tuple[str, ...]
    """ScenePoint folders of the main stage."""
    out: str
    """Folder of the run; a run that was cut off is resumed there, exactly."""
    encoder: EncoderConfig
    """The shape of the encoder."""
    warm_up: StageSettings
    """The first stage: alignment on single views."""
    main: StageSettings
    """The second stage: alignment and POMA-JEPA on rooms of many views."""
    jepa: JepaSettings
    """POMA-JEPA; its ``loss`` is the stage's ``objective``."""
    settle: SettleSettings = field(default_factory=SettleSettings)
    """The last stage, where the text tower trains along."""
    text: str = "mini"
    """The text tower: ``mini`` trains a small one along; else FG-CLIP's folder or name on the hub, frozen."""
    image: str = ""
    """The image tower: FG-CLIP's folder or name on the hub, frozen; empty aligns with texts alone."""
    start: str = ""
    """Weights to start from: whatever `poma3d.checkpoints.load_encoder` takes; empty starts at random."""
    lora: bool = False
    """Train adapters on frozen weights, as the paper does from FG-CLIP's, and not the weights themselves."""
    lora_settings: LoraSettings = field(default_factory=LoraSettings)
    """The adapters, where ``lora`` is on."""
    warm_up_data: tuple[str, ...] = ()
    """ScenePoint folders of the warm-up; empty takes those of the main stage."""
    validation: tuple[str, ...] = ()
    """Held-out ScenePoint folders for the evaluation beside training."""
    bad_scenes: Literal["refuse", "skip"] = "refuse"
    """Whether a scene that cannot be used stops the run or is left out and named."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """``auto`` is bf16 on a GPU that has it and float32 elsewhere."""
    seed: int = 0
    """Of weights, order, views, captions, augmentation, masks and dropout."""
    run: RunSettings = field(default_factory=RunSettings)
    """How the run is carried out."""

    def __post_init__(self) -> None:
        if not self.warm_up.steps and not self.main.steps:
            raise SettingError("warm-up and main have 0 steps both: there is nothing to train")
        if self.seed < 0:
            raise SettingError(f"seed must be at least 0, found {self.seed}")
        if min(self.run.save_every, self.run.keep, self.run.log_every) < 1 or self.run.workers < 0:
            raise SettingError(
                "save_every, keep and log_every must be at least 1, workers at least 0, found"
                f" {self.run.save_every}, {self.run.keep}, {self.run.log_every}, {self.run.workers}"
            )

    def stages(self) -> list[tuple[str, StageSettings, tuple[str, ...]]]:
        """Name, settings and data of each stage that has steps, in order."""
        both = (
            ("warm-up", self.warm_up, self.warm_up_data or self.data),
            ("main", self.main, self.data),
        )
        return [stage for stage in both if stage[1].steps]

    def recipe(self) -> dict[str, Any]:
        """What decides the weights that come out, as JSON can hold it: all but ``out``, ``validation``, ``run``."""
        values = asdict(self)
        del values["out"], values["validation"], values["run"]
        return values


SETTINGS_FILE = "settings.json"
"""In a run's folder."""


def read_recipe(run: Path) -> dict[str, Any]:
    """What `PretrainSettings.recipe` said of the run in a folder.

    Raises:
        FileError: the folder holds no run, or its settings are damaged.
    """
    path = run / SETTINGS_FILE
    try:
        return json.loads(path.read_text())["recipe"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(path, f"is missing or damaged ({error!r}); a pretraining writes it") from error


_ALIGN_VIEWS = AlignmentSettings(scene_weight=0.0)
_ANYWHERE = AugmentSettings(turns="any", scale=(0.9, 1.1), translation=3.0, lift=0.05, agent_share=0.5)
"""Point maps of any heading and place, half of them as an agent sees them; the floor stays the floor."""

PRESETS: dict[str, PretrainSettings] = {
    "mini": PretrainSettings(
        data=(),
        out="",
        encoder=ENCODERS["mini"],
        warm_up=StageSettings(
            steps=2600,
            batch=64,
            objective="alignment",
            single_views=True,
            seen=0.5,
            captions=3,
            optimiser=OptimiserSettings(
                learning_rate=5e-4, warmup_steps=100, weight_decay=0.05, clip=1.0, ema_start=0.99
            ),
            alignment=AlignmentSettings(scene_weight=0.0, region_weight=1.0),
            augmentation=_ANYWHERE,
        ),
        main=StageSettings(
            steps=300,
            batch=16,
            objective="chamfer",
            views=8,
            align_masked=True,
            captions=3,
            optimiser=OptimiserSettings(
                learning_rate=3e-4, warmup_steps=50, weight_decay=0.05, clip=1.0, ema_start=0.99
            ),
            alignment=AlignmentSettings(region_weight=1.0),
            augmentation=_ANYWHERE,
        ),
        jepa=JepaSettings(width=96, depth=3, heads=3),
        settle=SettleSettings(steps=300),
    ),
    "base": PretrainSettings(
        data=(),
        out="",
        encoder=ENCODERS["base"],
        text="fg-clip-base",
        image="fg-clip-base",
        start="fg-clip-base",
        lora=True,
        warm_up=StageSettings(
            steps=8000, batch=512, objective="alignment", single_views=True, alignment=_ALIGN_VIEWS
        ),
        main=StageSettings(steps=4000, batch=64, objective="chamfer"),
        jepa=JepaSettings(),
    ),
}
"""``base`` is the paper's, with the authors' follow-up where the paper is silent. ``mini`` trains everything from
random weights on a laptop: 8 of the views a step (random ones each time), one pass of the context encoder for both
objectives, a predictor of half the encoder's width. It needs its warm-up: from random weights, POMA-JEPA beside an
alignment that has not begun to learn collapsed within 60 steps (deviation of the patch tokens 0.53 to 0.09, both
InfoNCE terms at ln N), and so did not even alignment alone get off the ground at a rate of 1e-3; on one batch of 32
views 2e-4 brought it from 3.5 to 0.9 in 36 steps, 1e-3 to 1.6."""
