"""Everything that trains, and one step of it as the paper writes it.

Shapes: B scenes, V views, H x W pixels, P patches, D embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from poma3d.encoder import Encoding, PointMapEncoder
from poma3d.objectives.alignment import NOTHING, Alignment, AlignmentBatch
from poma3d.objectives.collapse import effective_rank, feature_deviation
from poma3d.objectives.ema import target_copy
from poma3d.objectives.jepa import JepaBatch, PomaJepa
from poma3d.objectives.masks import multi_block_masks, random_patches
from poma3d.objectives.regions import patch_shares
from poma3d.objectives.settings import JepaSettings
from poma3d.scenepoint import SceneBatch
from poma3d.towers import ImageTower, TextTower
from poma3d.training.settings import StageSettings

Masks = tuple[Tensor, Tensor | None]


class Pretraining(nn.Module):
    """The context encoder, its moving average, the objectives, and a text tower if it trains along.

    Args:
        encoder: the context encoder; the target encoder starts as its copy.
        stage: which objectives there are.
        jepa: POMA-JEPA's settings, whose loss the stage decides.
        text: the text tower; an `nn.Module` that wants gradients trains along and is part of the checkpoints.
        image: the image tower, frozen.
        categories: names of what the batches' ``semantics`` index, for the alignment of regions.
        seed: of the predictor's weights.
    """

    def __init__(
        self,
        encoder: PointMapEncoder,
        stage: StageSettings,
        jepa: JepaSettings,
        text: TextTower | None,
        image: ImageTower | None = None,
        *,
        categories: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.context_encoder = encoder.train()
        self.target_encoder = target_copy(encoder)
        self.align_masked = stage.align_masked
        self.categories = tuple(categories)
        self.alignment = Alignment(stage.alignment)
        self.jepa = None
        if stage.objective != "alignment":
            self.jepa = PomaJepa(encoder.config, replace(jepa, loss=stage.objective), seed=seed)
        self.text_tower: nn.Module | None = None
        if isinstance(text, nn.Module) and any(weight.requires_grad for weight in text.parameters()):
            self.text_tower = text.train()
        # In a tuple, frozen towers are no part of the module: no checkpoint holds them, no rank synchronises them.
        self._frozen = (text if self.text_tower is None else None, image)

    @property
    def text(self) -> TextTower | None:
        """The text tower, whether it trains or not."""
        return self._frozen[0] if self.text_tower is None else self.text_tower  # pyright: ignore[reportReturnType]

    @property
    def image(self) -> ImageTower | None:
        """The image tower."""
        return self._frozen[1]

    def frozen_modules(self) -> Iterator[nn.Module]:
        """The towers that are no part of the module, to be put on its device."""
        yield from (tower for tower in self._frozen if isinstance(tower, nn.Module))

    def train(self, mode: bool = True) -> Pretraining:
        """As any module; the target encoder stays in inference mode (no dropout)."""
        super().train(mode)
        self.target_encoder.eval()
        return self

    def forward(
        self, batch: SceneBatch, masks: Masks | None = None, monitor: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and its parts.

        Args:
            batch: the scenes.
            masks: ``keep`` and ``masked`` patches (see `poma3d.objectives.masks`); without POMA-JEPA the patches that
                are seen alone; None sees all.
            monitor: also measure how spread the features are, and how hard POMA-JEPA pulls at the context encoder
                (``gradient_jepa``, to be held against the step's ``gradient_norm``).
        """
        keep, masked = masks or (None, None)
        if self.jepa is None or keep is None or masked is None:
            features = context = self.context_encoder(batch.point_map, batch.valid, keep)
            loss, metrics = self.alignment(self._alignment_batch(batch, context, keep))
        else:
            with torch.no_grad():
                features = target = self.target_encoder(batch.point_map, batch.valid)
            context = self.context_encoder(batch.point_map, batch.valid, keep)
            if self.align_masked:
                aligned = self._alignment_batch(batch, context, keep)
            else:
                aligned = self._alignment_batch(
                    batch, self.context_encoder(batch.point_map, batch.valid), None
                )
            loss, metrics = self.alignment(aligned)
            loss_jepa, metrics_jepa = self.jepa(
                JepaBatch(
                    context_tokens=context.patch_tokens,
                    target_tokens=target.patch_tokens,
                    valid_patches=target.valid_patches,
                    keep=keep,
                    masked=masked,
                )
            )
            if monitor and torch.is_grad_enabled():
                metrics["gradient_jepa"] = _gradient_norm(loss_jepa, self.context_encoder)
            loss, metrics = loss + loss_jepa, {**metrics, **metrics_jepa}
        if monitor:
            metrics["rank_views"] = effective_rank(features.cls)
            metrics["rank_patches"] = effective_rank(features.patch_tokens)
            metrics["deviation_views"] = feature_deviation(features.cls)
            metrics["deviation_patches"] = feature_deviation(features.patch_tokens)
        return loss, {"loss": loss.detach(), **metrics}

    def _alignment_batch(self, batch: SceneBatch, encoding: Encoding, keep: Tensor | None) -> AlignmentBatch:
        """The targets of the alignment losses, from the texts, pictures and categories of the batch."""
        views = encoding.cls
        B, V = batch.view_indices.shape
        device = views.device
        scenes = [f"{source}\0{scan}" for source, scan in zip(batch.sources, batch.scan_ids, strict=True)]
        seen = batch.view_indices.tolist()
        aligned = AlignmentBatch(
            views=views,
            view_ids=numbers(f"{scene}\0{v}" for scene, row in zip(scenes, seen, strict=True) for v in row)
            .reshape(B, V)
            .to(device),
            scene_ids=numbers(scenes).to(device),
        )
        if self.text is not None:
            words = [text for texts in batch.view_captions for text in texts]
            aligned = replace(
                aligned,
                view_text=self.text.encode(words).reshape(B, V, -1).to(device),  # (B V, D) -> (B, V, D)
                view_text_ids=numbers(words).reshape(B, V).to(device),
            )
            if self.alignment.settings.scene_weight > 0:
                aligned = replace(
                    aligned,
                    scene_text=self.text.encode(batch.scene_captions, long=True).to(device),
                    scene_text_ids=numbers(batch.scene_captions).to(device),
                )
        if self.image is not None and batch.images is not None:
            pictures = self.image.encode(batch.images.flatten(0, 1))  # (B, V, P, P, 3) -> (B V, D)
            aligned = replace(aligned, view_image=pictures.reshape(B, V, -1).to(device))
        if (
            self.alignment.settings.region_weight > 0
            and batch.semantics is not None
            and self.text is not None
        ):
            semantics, side = batch.semantics.flatten(0, 1), self.context_encoder.config.patch_size
            shares = patch_shares(semantics, side, len(self.categories)).unflatten(0, (B, V))  # (B, V, P, C)
            if keep is not None:
                shares = shares.gather(
                    2, keep[..., None].expand(-1, -1, -1, shares.shape[-1])
                )  # (B, V, K, C)
            aligned = replace(
                aligned,
                patches=self.context_encoder.patch_embeddings(encoding.patch_tokens),
                patch_shares=shares,
                words=self.text.encode(self.categories).to(device),
            )
        return aligned


def _gradient_norm(loss: Tensor, module: nn.Module) -> Tensor:
    """The length of a loss's gradient on the weights of a module that train; the graph stays for the step."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    found = [gradient.float().norm() for gradient in gradients if gradient is not None]
    return torch.stack(found).norm() if found else loss.new_zeros(())


def draw_seen(encoder: PointMapEncoder, share: float, V: int, seeds: list[list[int]]) -> Masks:
    """The patches (B, V, K) of a batch that are seen; those of a scene depend on its own seed alone."""
    patches = encoder.config.patches
    drawn = [random_patches(patches, (1, V), share, np.random.default_rng(seed)) for seed in seeds]
    return torch.cat(drawn), None


def draw_masks(encoder: PointMapEncoder, stage_masks: JepaSettings, V: int, seeds: list[list[int]]) -> Masks:
    """Masks (B, V, K) and (B, V, M) of a batch; those of a scene depend on its own seed alone."""
    drawn = [
        multi_block_masks(encoder.config.grid, (1, V), stage_masks.masks, np.random.default_rng(seed))
        for seed in seeds
    ]
    return torch.cat([keep for keep, _ in drawn]), torch.cat([masked for _, masked in drawn])


def numbers(texts: Iterator[str] | list[str]) -> Tensor:
    """Texts as int64, the same for the same text in every process; `NOTHING` for an empty one."""
    return torch.tensor(
        [
            int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True) or 1
            if text
            else NOTHING
            for text in texts
        ],
        dtype=torch.int64,
    )
