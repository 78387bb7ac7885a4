"""Training a head on frozen features, an epoch at a time, resumable to the bit.

A run's folder holds ``config.json``, ``log.jsonl``, ``checkpoint.safetensors`` (weights, AdamW's moments, the best
weights so far) and in the end ``head.safetensors``. What a step does depends on the seed and the number of the step
alone; a run that is cut off goes on after its last whole epoch and ends with the weights of one that was not.

By default the epoch is chosen on held-out *training* scenes. The published practice, the best epoch on the test set,
is the option ``select="test"`` and is written down with the head.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.situated.batch import Batcher, HeadBatch
from policies.situated.features import FeatureFolder
from policies.situated.heads import Head, HeadShape, make_head, save_head
from policies.situated.pointing import SituatedHead
from policies.situated.posed import PosedFeatures, by_scene
from policies.situated.prediction import accuracy, predict
from policies.situated.samples import Answers, Sample, held_out
from policies.situated.settings import FIELDS, HeadSettings, TrainingSettings
from policies.situated.text import mini_tower
from poma3d.errors import FileError, SettingError, UserError
from poma3d.files import write_text
from poma3d.training.schedule import learning_rate
from poma3d.weights import read_weights, weights_sha256, write_weights

CHECKPOINT, CONFIG, HEAD, LOG = "checkpoint.safetensors", "config.json", "head.safetensors", "log.jsonl"
CHECKPOINT_FORMAT = "pomagym.head_checkpoint/1"
BLIND = ("text_only", "pose_only")
"""Heads that see no point map."""


@dataclass(frozen=True)
class EpochReport:
    """Where a run stands."""

    epoch: int
    """Epochs done."""
    epochs: int
    loss: float
    """Mean of the epoch."""
    accuracy: dict[str, float]
    """Of every output on what chooses the epoch; empty without."""
    best: int
    """The best epoch so far."""
    seconds: float
    """Of this epoch."""


@dataclass(frozen=True)
class TrainedHead:
    """What came out."""

    path: Path
    """The head's file."""
    notes: dict[str, Any]
    """How it was trained, as the file keeps it."""
    weights_sha256: str


class HeadTraining:
    """One run.

    Args:
        samples: to train on, of all training scenes.
        answers: what may be answered.
        features: of the scenes; None for the heads that see none.
        settings: the head's.
        training: the run's.
        out: its folder; a run of the same settings that is there is gone on with.
        text_weights: file of the mini text tower to start from; None starts from random weights.
        test: samples that choose the epoch with ``select="test"``.
        facts: what else to keep with the head (names of data files and the like).

    Raises:
        SettingError: nothing to train on, settings that do not fit together, or a folder with another run.
        FileError: a damaged folder.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        answers: Answers,
        features: FeatureFolder | None,
        settings: HeadSettings,
        training: TrainingSettings,
        out: str | os.PathLike[str],
        *,
        text_weights: str | os.PathLike[str] | None = None,
        test: Sequence[Sample] = (),
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.settings, self.training, self.answers, self.folder = settings, training, answers, Path(out)
        blind = settings.kind in BLIND
        if not blind and features is None:
            raise SettingError(f"the head {settings.kind} needs scenes")
        if not samples:
            raise SettingError("there are no samples to train on")
        self.turns = settings.kind == "situated" and training.turns and answers.are_directions
        if self.turns and settings.placing == "agent":
            self.turns = False  # the views were encoded at the heading that the sample gives
        posed = None if blind or features is None else PosedFeatures(features, settings)
        reads = fields_read(settings, answers)
        if training.select == "test":
            if not test:
                raise SettingError(
                    "select=test chooses the epoch on test samples: give them, or select=validation"
                )
            kept, chosen_on = list(samples), list(test)
        else:
            out_scans = held_out([s.scan_id for s in samples], training.validation, training.seed)
            kept = [s for s in samples if s.scan_id not in out_scans]
            chosen_on = [s for s in samples if s.scan_id in out_scans]
        self.grounding = settings.kind == "situated" and training.grounding > 0
        self.frequency = category_pixels(features, kept) if self.grounding and features is not None else {}
        self.batcher = Batcher(kept, posed, reads, list(self.frequency))
        self.selection = Batcher(chosen_on, posed, reads)
        self.groups = list(by_scene(kept).values())
        tower = None
        if settings.text == "mini" and settings.kind != "pose_only":
            texts = [s.text(reads) for s in kept] + [*self.frequency] * 2
            tower = mini_tower(texts, text_weights, seed=training.seed)
        width, embedding, backbone = 1, 1, ""
        if posed is not None and features is not None:
            scene = features[kept[0].scan_id]
            width, embedding = scene.tokens.shape[1], scene.cls.shape[1]
            backbone = features.backbone.weights_sha256
        self.shape = HeadShape(
            settings=settings,
            answers=answers,
            reads=reads,
            token_width=width,
            embedding=embedding,
            words=() if tower is None else tower.vocabulary.words,
            text_config=None if tower is None else tower.config,
            backbone_sha256=backbone,
        )
        self.head: Head = make_head(self.shape, tower, seed=training.seed)
        self.optimiser = _optimiser(self.head, training)
        softmax = settings.kind == "situated" and answers.are_directions
        self.loss = ("softmax" if softmax else "bce") if training.loss == "auto" else training.loss
        self.steps_per_epoch = math.ceil(len(kept) / training.batch)
        self.epoch = self.best_epoch = 0
        self.best_score = -1.0
        self.best: dict[str, Tensor] = {}
        self.config = {
            "head": settings.as_dict(),
            "training": asdict(training),
            "data_sha256": _digest([*kept, *chosen_on]),
            "backbone_sha256": backbone,
            "text_sha256": None if tower is None else weights_sha256(tower.state_dict()),
            "classes_sha256": hashlib.sha256(
                json.dumps(self.shape.as_dict()["classes"]).encode()
            ).hexdigest(),
            **(facts or {}),
        }
        self._resume()

    def run(self, report: Callable[[EpochReport], None] = lambda epoch: None) -> TrainedHead:
        """Train to the end and write the head of the best epoch.

        Raises:
            UserError: the loss is no number; the epochs before are kept.
            FileError: the folder cannot be written.
        """
        while self.epoch < self.training.epochs:
            start = time.perf_counter()
            loss = self.train_epoch()
            found = self._measure()
            score = float(np.mean(list(found.values()))) if found else float(self.epoch)
            if score > self.best_score:
                self.best_score, self.best_epoch = score, self.epoch
                self.best = {name: value.clone() for name, value in self.head.state_dict().items()}
            seconds = time.perf_counter() - start
            self._save(
                {"epoch": self.epoch, "loss": loss, "accuracy": found, "time_seconds": round(seconds, 1)}
            )
            report(EpochReport(self.epoch, self.training.epochs, loss, found, self.best_epoch, seconds))
        notes = {
            **self.config,
            "epoch": self.best_epoch,
            "selected_on": self._selected_on(),
            "selection_accuracy": self.best_score if len(self.selection.samples) else None,
            "training_samples": len(self.batcher.samples),
            "selection_samples": len(self.selection.samples),
        }
        digest = save_head(self.folder / HEAD, self.shape, self.best, notes)
        return TrainedHead(self.folder / HEAD, notes, digest)

    def train_epoch(self) -> float:
        """One pass over the samples; returns the mean loss."""
        total = 0.0
        for number, chosen in enumerate(self._order()):
            total += self._step(self.epoch * self.steps_per_epoch + number, chosen)
        self.epoch += 1
        return total / self.steps_per_epoch

    def _order(self) -> list[list[int]]:
        """The batches of this epoch: pieces of scenes, shuffled, so that a batch reads few scenes and mixes them."""
        rng = np.random.default_rng([self.training.seed, 1, self.epoch])
        pieces = []
        for group in self.groups:
            shuffled = rng.permutation(group).tolist()
            pieces += [
                shuffled[k : k + self.training.per_scene]
                for k in range(0, len(shuffled), self.training.per_scene)
            ]
        row = [k for piece in rng.permutation(len(pieces)) for k in pieces[piece]]
        return [row[k : k + self.training.batch] for k in range(0, len(row), self.training.batch)]

    def _step(self, step: int, chosen: list[int]) -> float:
        training, head = self.training, self.head
        rng = np.random.default_rng([training.seed, 2, step])
        turns = rng.uniform(-math.pi, math.pi, len(chosen)) if self.turns else None
        keep = training.keep_patches if self.settings.kind == "situated" else 1.0
        batch = self.batcher(chosen, turns=turns, keep=keep, rng=rng)
        targets = self.answers.targets([self.batcher.samples[k] for k in chosen], turns)
        total = self.steps_per_epoch * training.epochs
        for group in self.optimiser.param_groups:
            group["lr"] = group["factor"] * learning_rate(
                step, total, training.learning_rate, training.warmup_steps
            )
        head.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))  # of dropout
            loss = self._loss(batch, targets)
        if not math.isfinite(loss.item()):
            raise UserError(
                f"the loss of step {step + 1} is {loss.item()}; lower the learning rate"
                f" (epochs before are kept in {self.folder})"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), training.clip)
        self.optimiser.step()
        return loss.item()

    def _loss(self, batch: HeadBatch, targets: dict[str, np.ndarray]) -> Tensor:
        head = self.head
        if not (self.grounding and isinstance(head, SituatedHead)):
            return answer_loss(head(batch), targets, self.loss)
        patches = head.embed_patches(batch)
        loss = answer_loss(head.answer(batch, patches), targets, self.loss)
        if batch.counts is None:
            return loss
        named = head.grounding_loss(patches, batch.counts, list(self.frequency), self._category_weights())
        return loss + self.training.grounding * named

    def _category_weights(self) -> Tensor:
        """(W,) inverse roots of frequencies, 1 on average."""
        weights = torch.tensor(list(self.frequency.values())).rsqrt()
        return weights / weights.mean()

    def _measure(self) -> dict[str, float]:
        if not self.selection.samples:
            return {}
        logits = predict(self.head, self.selection, self.answers)
        return accuracy(logits, self.answers.targets(self.selection.samples))

    def _selected_on(self) -> str:
        if not self.selection.samples:
            return "nothing: the last epoch"
        if self.training.select == "test":
            return "the test set (published practice)"
        return "held-out training scenes"

    def _save(self, line: dict[str, Any]) -> None:
        """Write the checkpoint of this epoch, then its line of the log."""
        state = self.optimiser.state_dict()["state"]
        tensors = {f"model.{name}": value for name, value in self.head.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for number, moments in state.items():
            tensors |= {f"adam.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        self._log.append(line)
        facts = {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "log": self._log,
            "config": self.config,
        }
        write_weights(self.folder / CHECKPOINT, CHECKPOINT_FORMAT, tensors, facts)
        self._write_log()

    def _write_log(self) -> None:
        write_text(self.folder / LOG, "".join(json.dumps(entry) + "\n" for entry in self._log))

    def _resume(self) -> None:
        """Go on after the last whole epoch of a run that is there."""
        self._log: list[dict[str, Any]] = []
        path, config = self.folder / CHECKPOINT, self.folder / CONFIG
        if config.is_file():
            try:
                found = json.loads(config.read_text())
            except ValueError as error:
                raise FileError(config, f"is no JSON ({error}); name another --out") from error
            ours = json.loads(json.dumps(self.config))
            if found != ours:
                names = sorted(k for k in {*found, *ours} if found.get(k) != ours.get(k))
                raise SettingError(
                    f"{self.folder} holds a run of other settings ({', '.join(names)}); name another --out"
                )
        else:
            write_text(config, json.dumps(self.config, indent=2, sort_keys=True) + "\n")
        if not path.is_file():
            return
        file = read_weights(path, CHECKPOINT_FORMAT)
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "adam": {}}
        for name, value in file.tensors.items():
            part, rest = name.split(".", 1)
            parts[part][rest] = value
        self.head.load_state_dict(parts["model"])
        self.best = parts["best"]
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in parts["adam"].items():
            number, moment = name.split(".")
            state.setdefault(int(number), {})[moment] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        self.epoch, self.best_epoch = file.config["epoch"], file.config["best_epoch"]
        self.best_score, self._log = file.config["best_score"], file.config["log"]
        self._write_log()  # a kill may have come between the checkpoint and its line


def category_pixels(features: FeatureFolder, samples: Sequence[Sample]) -> dict[str, float]:
    """How many pixels of each category the scenes of the samples show, of those that are seen, by name in order."""
    seen: dict[str, float] = {}
    for scan in sorted({s.scan_id for s in samples}):
        scene = features[scan]
        for name, count in zip(scene.categories, scene.counts.sum(0, dtype=np.float64), strict=True):
            seen[name] = seen.get(name, 0.0) + float(count)
    return {name: count for name, count in sorted(seen.items()) if count > 0}


def fields_read(settings: HeadSettings, answers: Answers) -> tuple[str, ...]:
    """Fields of a sample's text that a head reads.

    Where directions are asked for, the question is always the same and the situated head has the situation in numbers.
    """
    if settings.text_fields:
        return settings.text_fields
    return ("interaction",) if settings.kind == "situated" and answers.are_directions else FIELDS


def answer_loss(logits: dict[str, Tensor], targets: dict[str, np.ndarray], kind: str) -> Tensor:
    """The mean over samples of the outputs' losses, added up."""
    total = torch.zeros(())
    for name, values in logits.items():
        right = torch.from_numpy(targets[name])
        if kind == "bce":
            total = total + functional.binary_cross_entropy_with_logits(values, right, reduction="sum") / len(
                right
            )
        else:
            share = right / right.sum(1, keepdim=True).clamp(min=1)
            total = total - (share * functional.log_softmax(values, -1)).sum() / len(right)
    return total


def _optimiser(head: nn.Module, training: TrainingSettings) -> torch.optim.AdamW:
    """AdamW; the text tower learns more slowly, vectors are not decayed."""
    groups = []
    for ours, factor in ((False, 1.0), (True, training.text_rate)):
        for matrices in (True, False):
            weights = [
                weight
                for name, weight in head.named_parameters()
                if name.startswith("text.") == ours and (weight.ndim > 1) == matrices
            ]
            if weights:
                decay = training.weight_decay if matrices else 0.0
                groups.append({"params": weights, "weight_decay": decay, "factor": factor})
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=(0.9, 0.98))


def _digest(samples: Sequence[Sample]) -> str:
    """A hash of all that samples say."""
    text = json.dumps([asdict(sample) for sample in samples], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
