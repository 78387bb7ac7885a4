"""One stage of pretraining: the loop of steps, its checkpoints and its log.

A stage's folder holds ``log.jsonl``, ``checkpoints/step_N/`` and, once the stage has finished, ``done.json``. What a
step does depends on the seed and the number of the step alone, so a run that is cut off anywhere and resumed ends with
the weights of one that was not (same machine, same number of processes).
"""

from __future__ import annotations

import contextlib
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from torch import Tensor, nn

from poma3d.errors import FileError, SettingError, UserError
from poma3d.files import write_text
from poma3d.objectives.ema import ema_momentum, ema_update
from poma3d.scenepoint import SceneBatch, SceneLoader
from poma3d.training.checkpoint import (
    STATE,
    checkpoint_path,
    checkpoints,
    finish,
    read_state,
    remove,
    unfinished,
)
from poma3d.training.log import Log
from poma3d.training.model import Pretraining, draw_masks, draw_seen
from poma3d.training.schedule import learning_rate
from poma3d.training.settings import OptimiserSettings, PretrainSettings, StageSettings

DONE = "done.json"
_DROPOUT, _MASKS = 1, 2
"""What a seed is for."""


class TrainingError(UserError):
    """Training cannot go on: the loss or the gradient is no number."""


@dataclass(frozen=True)
class Progress:
    """Where a stage stands after a step."""

    stage: str
    """``warm-up`` or ``main``; or ``encoding`` and ``settling``, the parts of settling."""
    step: int
    """Steps done; of ``encoding`` scenes."""
    steps: int
    """Steps of the stage."""
    loss: float | None
    """Of this step, where it was logged."""
    images_per_second: float
    """Views a second over all processes, data included; of ``settling`` scenes."""
    seconds_left: float
    """To the end of the stage at that pace."""


class Stage:
    """The training of one stage.

    Args:
        name: ``warm-up`` or ``main``.
        stage: its settings.
        settings: the whole run's.
        model: what trains.
        loader: its batches.
        accelerator: where it runs.
        folder: the stage's; None writes nothing.
        report: called after every step, in the main process.
        evaluate: measures of the target encoder, called in the main process.

    Raises:
        SettingError: the folder holds checkpoints of a run with other processes or other data.
        FileError: a damaged checkpoint.
    """

    def __init__(
        self,
        name: str,
        stage: StageSettings,
        settings: PretrainSettings,
        model: Pretraining,
        loader: SceneLoader,
        accelerator: Accelerator,
        folder: Path | None,
        *,
        report: Callable[[Progress], None] | None = None,
        evaluate: Callable[[Pretraining], dict[str, float]] | None = None,
    ) -> None:
        self.name, self.stage, self.settings, self.loader = name, stage, settings, loader
        self.accelerator, self.folder = accelerator, folder
        self._report, self._evaluate = report, evaluate
        for tower in model.frozen_modules():
            tower.to(accelerator.device)
        self.model = model
        self.optimiser: Any
        self.parallel: nn.Module
        self.parallel, self.optimiser = accelerator.prepare(model, make_optimiser(model, stage.optimiser))
        self.step = 0
        self._resume()

    def run(self) -> dict[str, Any]:
        """Train to the end and return what ``done.json`` holds.

        Raises:
            TrainingError: the loss or the gradient is NaN or infinite; a checkpoint from before is kept.
        """
        log = Log(self.folder, self.step) if self.folder is not None and self._main else None
        batches = iter(self.loader)
        run, first, last_log, since = self.settings.run, self.step, self.step, time.perf_counter()
        start, seconds_left = since, math.nan
        try:
            while self.step < self.stage.steps:
                due = (self.step + 1) % run.log_every == 0 or self.step + 1 == self.stage.steps
                metrics = self.take_step(batches, monitor=due)
                now = time.perf_counter()
                pace = (self.step - first) / (now - start)
                seconds_left = (self.stage.steps - self.step) / pace
                if due:
                    means = self._mean_over_ranks(metrics)
                    record = {
                        "step": self.step,
                        **means,
                        "time_images_per_second": self.images_per_step
                        * (self.step - last_log)
                        / (now - since),
                        "time_seconds_left": seconds_left,
                        "peak_memory_mib": peak_memory_mib(self.accelerator.device),
                    }
                    last_log, since = self.step, now
                    if log is not None:
                        log.write(record)
                if self._due(run.evaluate_every) and self.step < self.stage.steps:
                    self._measure(log)
                if self._due(run.save_every) or self.step == self.stage.steps:
                    self.save()
                if self._report is not None and self._main:
                    loss = float(metrics["loss"]) if due else None
                    self._report(
                        Progress(
                            self.name,
                            self.step,
                            self.stage.steps,
                            loss,
                            self.images_per_step * pace,
                            seconds_left,
                        )
                    )
            measures = self._measure(log)
        finally:
            if log is not None:
                log.close()
        done = {"step": self.step, "measures": measures}
        if self.folder is not None and self._main:
            write_text(self.folder / DONE, json.dumps(done, indent=2) + "\n")
        self.accelerator.wait_for_everyone()
        return done

    def take_step(self, batches: Iterator[SceneBatch], *, monitor: bool = False) -> dict[str, Tensor]:
        """One optimiser step; returns the metrics of its last batch with the step's learning rate and so on."""
        settings, count = self.stage.optimiser, self.stage.accumulate
        rate = learning_rate(self.step, self.stage.steps, settings.learning_rate, settings.warmup_steps)
        metrics: dict[str, Tensor] = {}
        names: list[str] = []
        self.optimiser.zero_grad(set_to_none=True)
        for micro in range(count):
            batch = next(batches)
            names += batch.scan_ids
            last = micro + 1 == count
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.parallel):
                loss, metrics = self.forward(batch, self.step * count + micro, monitor=monitor and last)
                self._refuse_not_finite("loss", loss, names)
                self.accelerator.backward(loss / count)
        norm = self.accelerator.clip_grad_norm_(self.parallel.parameters(), settings.clip)
        norm = torch.as_tensor(norm, device=self.accelerator.device)
        self._refuse_not_finite("gradient", norm, names)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        momentum = ema_momentum(self.step, self.stage.steps, settings.ema_start)
        ema_update(self.model.target_encoder, self.model.context_encoder, momentum)
        self.step += 1
        scalars = {"learning_rate": rate, "ema_momentum": momentum}
        return {
            **metrics,
            "gradient_norm": norm,
            **{name: torch.tensor(value, device=norm.device) for name, value in scalars.items()},
        }

    def timed_step(self, batches: Iterator[SceneBatch]) -> float:
        """Take a step and return the seconds it took, data included."""
        start = time.perf_counter()
        float(self.take_step(batches)["loss"])  # waits for the GPU
        return time.perf_counter() - start

    def forward(
        self, batch: SceneBatch, number: int, *, monitor: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of batch ``number`` of this rank; masks and dropout depend on the seed and that number alone."""
        device = self.accelerator.device
        batch = batch.to(device, non_blocking=True)
        masks = None
        if self.model.jepa is not None or self.stage.seen < 1:
            first = number * self.loader.global_batch + self.loader.rank * self.loader.batch_size
            seeds = [[self.settings.seed, _MASKS, first + i] for i in range(len(batch))]
            encoder, V = self.model.context_encoder, batch.point_map.shape[1]
            if self.model.jepa is not None:
                keep, masked = draw_masks(encoder, self.settings.jepa, V, seeds)
            else:
                keep, masked = draw_seen(encoder, self.stage.seen, V, seeds)
            masks = (keep.to(device), None if masked is None else masked.to(device))
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            seed = np.random.SeedSequence([self.settings.seed, _DROPOUT, number, self.loader.rank])
            torch.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))
            return self.parallel(batch, masks, monitor)

    def save(self) -> Path | None:
        """Write a checkpoint of the state after `step` steps, whole or not at all, and drop the oldest."""
        if self.folder is None:
            return None
        path = checkpoint_path(self.folder, self.step)
        temporary = unfinished(path)
        if self._main:
            if temporary.exists():
                remove(temporary)
            temporary.mkdir(parents=True)
        self.accelerator.wait_for_everyone()
        try:
            self.accelerator.save_state(str(temporary))
        except (OSError, RuntimeError, SafetensorError) as error:  # a full disk shows as any of these
            raise FileError(path, f"cannot be written ({error})") from error
        if self._main:
            (temporary / STATE).write_text(json.dumps(self._state(), indent=2) + "\n")
        self.accelerator.wait_for_everyone()
        if self._main:
            finish(temporary, path)
            for old in checkpoints(self.folder)[: -self.settings.run.keep]:
                remove(old)
        self.accelerator.wait_for_everyone()
        return path

    def _resume(self) -> None:
        found = checkpoints(self.folder) if self.folder is not None else []
        if not found:
            return
        state = read_state(found[-1])
        if state["processes"] != self.accelerator.num_processes:
            raise SettingError(
                f"{found[-1]} was written by {state['processes']} processes, these are"
                f" {self.accelerator.num_processes}: resume with as many, or start anew in another folder"
            )
        self.loader.load_state_dict(state["loader"])
        self.accelerator.load_state(str(found[-1]))
        self.step = state["step"]

    def _state(self) -> dict[str, Any]:
        draws = self.step * self.stage.accumulate * self.loader.global_batch
        return {
            "stage": self.name,
            "step": self.step,
            "processes": self.accelerator.num_processes,
            "loader": {**self.loader.state_dict(), "draws": draws},
        }

    def _refuse_not_finite(self, what: str, value: Tensor, names: list[str]) -> None:
        """Stop all ranks where ``value`` is no number on any; the weights are still those from before the step."""
        bad = self.accelerator.reduce((~value.detach().isfinite()).float(), "sum")
        if not bool(bad):
            return
        if self.accelerator.num_processes > 1:
            names = [name for part in _gathered(names) for name in part]
        path = self.save()
        kept = f"; the weights from before it are in {path}" if path else ""
        raise TrainingError(
            f"the {what} of step {self.step + 1} of {self.name} is {value.item()} on scenes {', '.join(names)}{kept}."
            " Look at these scenes, or lower the learning rate"
        )

    def _measure(self, log: Log | None) -> dict[str, float]:
        if self._evaluate is None or not self._main:
            return {}
        self.model.eval()
        measures = self._evaluate(self.model)
        self.model.train()
        if log is not None:
            log.write({"step": self.step, **measures})
        return measures

    def _mean_over_ranks(self, metrics: dict[str, Tensor]) -> dict[str, float]:
        values = torch.stack([value.detach().float() for value in metrics.values()])
        values = torch.as_tensor(self.accelerator.reduce(values, "mean"))
        return dict(zip(metrics, values.tolist(), strict=True))

    def _due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    @property
    def images_per_step(self) -> int:
        """Views of a step over all processes."""
        views = 1 if self.stage.single_views else self.stage.views
        return self.loader.global_batch * self.stage.accumulate * views

    @property
    def _main(self) -> bool:
        return self.accelerator.is_main_process


def make_optimiser(model: nn.Module, settings: OptimiserSettings) -> torch.optim.AdamW:
    """AdamW over the weights that train; those of one dimension or none are not decayed."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)


def peak_memory_mib(device: torch.device) -> float:
    """The most memory taken so far, MiB: on the GPU, or by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # what getrusage counts in
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _gathered(names: list[str]) -> list[list[str]]:
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, names)
    return parts
