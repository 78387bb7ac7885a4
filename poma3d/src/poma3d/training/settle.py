"""The last stage: projection and text tower learn on whole scenes, while the encoder's tower stands still.

Ours, not the paper's. A scene is the mean of many views, and few scenes fit in a batch of the main stage, so that text
and scene hardly meet there; with the tower frozen each view is encoded once, and a step sees hundreds of whole scenes
for the price of their texts (locked-image tuning, arXiv 2111.07991). Patch tokens do not change by a bit; what is
projected does: view and scene embeddings, and patches compared with words.

A settling that is cut off begins anew from the main stage's checkpoint, and ends with the same weights.

Shapes: S scenes, V views, P patches, C width, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from poma3d.encoder import PointMapEncoder
from poma3d.errors import SettingError
from poma3d.objectives.alignment import Alignment, info_nce
from poma3d.objectives.regions import patch_shares, region_loss
from poma3d.scenepoint import ScenePointDataset
from poma3d.scenepoint.folder import ScenePointFolder
from poma3d.towers.mini_text import MiniText
from poma3d.training.model import numbers
from poma3d.training.schedule import learning_rate
from poma3d.training.settings import SettleSettings
from poma3d.training.stage import TrainingError

_SETTLE = 3
"""What a seed is for, beside those of `poma3d.training.stage`."""


Captions: TypeAlias = "tuple[tuple[str, ...], list[tuple[str, ...]]]"
"""Of a scene: the texts about it, and for each view the texts about that."""


@dataclass(frozen=True)
class Frozen:
    """What the tower says about scenes, and their texts."""

    views: Tensor
    """(S, V, C) CLS tokens after the last norm, before the projection."""
    patches: Tensor
    """(S, P, C) patch tokens of one view of each scene, after that norm."""
    shares: Tensor
    """(S, P, categories) what these patches show."""
    scan_ids: list[str]
    """S names."""
    view_captions: list[list[tuple[str, ...]]]
    """S lists of V tuples of texts."""
    scene_captions: list[tuple[str, ...]]
    """S tuples of texts."""


@torch.no_grad()
def freeze(
    encoder: PointMapEncoder,
    dataset: ScenePointDataset,
    texts: Mapping[tuple[str, str], Captions],
    *,
    bf16: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Frozen:
    """Encode every scene of ``dataset`` once, as it lies in its file.

    Args:
        encoder: on the CPU or a GPU; in inference mode.
        dataset: with labels where regions are to be aligned.
        texts: captions by source and scan (`all_captions`).
        bf16: encode in bfloat16.
        report: called with (scenes done, scenes).
    """
    tower = encoder.clip.vision_model
    device, side = tower.embeddings.class_embedding.device, encoder.config.patch_size
    S, V, config = len(dataset), dataset.settings.views, encoder.config
    categories = len(dataset.categories) if dataset.settings.labels else 0
    # Made at once: small pieces kept from between large ones that are given back would hold on to gigabytes.
    views, patches = torch.empty(S, V, config.width), torch.empty(S, config.patches, config.width)
    shares = torch.zeros(S, config.patches, categories)
    scan_ids: list[str] = []
    view_captions: list[list[tuple[str, ...]]] = []
    scene_captions: list[tuple[str, ...]] = []
    for number in range(S):
        sample = dataset[number]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            tokens, cls = _tokens(encoder, sample.point_map.to(device), sample.valid.to(device))
            views[number], patches[number] = cls, tower.post_layernorm(tokens[0])  # of the first view drawn
        if sample.semantics is not None:
            shares[number] = patch_shares(sample.semantics[:1], side, categories)[0]
        # By the sample's own name: where a bad scene is skipped another one stands in.
        of_scene, of_views = texts[sample.source, sample.scan_id]
        scan_ids.append(sample.scan_id)
        scene_captions.append(of_scene)
        view_captions.append([of_views[view] for view in sample.view_indices.tolist()])
        if report is not None:
            report(number + 1, len(dataset))
    return Frozen(views, patches, shares, scan_ids, view_captions, scene_captions)


def _tokens(encoder: PointMapEncoder, points: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Patch tokens (V, P, C) and the normed CLS token (V, C)."""
    seen: list[Tensor] = []
    norm = encoder.clip.vision_model.post_layernorm
    hook = norm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        tokens = encoder(points, valid).patch_tokens
    finally:
        hook.remove()
    return tokens, seen[0]


def all_captions(roots: Sequence[str]) -> dict[tuple[str, str], Captions]:
    """By source and scan the captions of every scene and of each of its views."""
    return {
        (scene.source, scene.scan_id): (
            tuple(scene.scene_captions),
            []
            if scene.captions is None
            else list(scene.captions.utterances(scene.scan_id, scene.captions.views(scene.scan_id))),
        )
        for root in roots
        for scene in ScenePointFolder(root).scenes
    }


def settle(
    encoder: PointMapEncoder,
    text: MiniText,
    alignment: Alignment,
    frozen: Frozen,
    categories: tuple[str, ...],
    settings: SettleSettings,
    *,
    seed: int,
    bf16: bool = False,
    report: Callable[[int, float], None] | None = None,
) -> Iterator[dict[str, float]]:
    """Train the projection of ``encoder``, ``text`` and the scales of ``alignment``; yields the losses of each step.

    Args:
        encoder: its projection changes, nothing else.
        text: the text tower that trained along.
        alignment: its weights say which terms count.
        frozen: what the tower says.
        categories: names of what ``frozen.shares`` counts.
        settings: how long and how fast.
        seed: of which scenes, views and captions a step sees.
        bf16: read texts in bfloat16.
        report: called with (step, loss).

    Raises:
        SettingError: there are no captions of scenes.
        TrainingError: the loss is no number.
    """
    told = [i for i, texts in enumerate(frozen.scene_captions) if texts]
    if len(told) < 2:
        raise SettingError(f"settling needs at least 2 scenes with captions, found {len(told)}")
    projection = encoder.clip.visual_projection.requires_grad_(True)
    weights = [*projection.parameters(), *text.parameters(), *alignment.parameters()]
    optimiser = torch.optim.AdamW(
        [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
    )
    text.train()
    regions = alignment.settings.region_weight > 0 and frozen.shares.shape[-1] > 0
    for step in range(settings.steps):
        rng = np.random.default_rng((seed, _SETTLE, step))
        chosen = rng.choice(told, min(settings.scenes, len(told)), replace=False)
        scene_texts = [_one(frozen.scene_captions[i], rng) for i in chosen]
        view = rng.integers(frozen.views.shape[1], size=len(chosen))
        view_texts = [_one(frozen.view_captions[i][v], rng) for i, v in zip(chosen, view, strict=True)]
        which = torch.from_numpy(chosen)
        projected = projection(frozen.views[which])  # (B, V, C) -> (B, V, D)
        # Pooled as retrieval pools: each view of length 1.
        scenes = functional.normalize(projected, dim=-1).mean(1)  # (B, V, D) -> (B, D)
        own = projected[torch.arange(len(chosen)), torch.from_numpy(view)]  # (B, D)
        scale = alignment.scale()
        names = numbers([frozen.scan_ids[i] for i in chosen])
        loss_scene = info_nce(
            scenes, _read(text, scene_texts, bf16), torch.stack([names, numbers(scene_texts)], -1), scale
        )
        loss_view = info_nce(
            own,
            _read(text, view_texts, bf16, long=False),
            torch.stack([names, numbers(view_texts)], -1),
            scale,
        )
        loss = loss_scene + loss_view
        metrics = {"loss_scene_text": loss_scene.item(), "loss_view_text": loss_view.item()}
        if regions:
            some = which[: settings.regions]
            loss_regions = region_loss(
                projection(frozen.patches[some]),
                frozen.shares[some],
                text.encode(categories),
                alignment.region_scale(),
            )
            metrics["loss_regions"] = loss_regions.item()
            loss = loss + alignment.settings.region_weight * loss_regions
        if not math.isfinite(loss.item()):
            raise TrainingError(
                f"the loss of step {step + 1} of settling is {loss.item()}; lower its learning rate"
            )
        rate = learning_rate(step, settings.steps, settings.learning_rate, settings.steps // 20)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        if report is not None:
            report(step + 1, loss.item())
        yield metrics
    text.eval()


def _read(text: MiniText, texts: list[str], bf16: bool, *, long: bool = True) -> Tensor:
    """Embeddings (N, D), read in groups of like length: one long caption would pad all the others to its own."""
    order = np.argsort([len(words) for words in texts], kind="stable")
    with torch.autocast(text.projection.weight.device.type, dtype=torch.bfloat16, enabled=bf16):
        groups = [
            text.encode([texts[i] for i in group], long=long)
            for group in np.array_split(order, 8)
            if len(group)
        ]
    back = torch.from_numpy(np.argsort(order, kind="stable"))
    return torch.cat(groups).float()[back]


def _one(texts: tuple[str, ...], rng: np.random.Generator) -> str:
    return texts[int(rng.integers(len(texts)))] if texts else ""
