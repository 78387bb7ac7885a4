"""View-to-scene alignment: L_view and L_scene pull point maps towards their captions and pictures.

Shapes: B scenes on this rank, V views, N rows (B V views, or B scenes), D embedding.

Both are symmetric InfoNCE (CLIP, arXiv 2103.00020) with one learned scale. The rows of all ranks stand against
each other (`poma3d.objectives.gather`).

Differences from the paper:

- The paper names the losses; their form (the mean of both directions, the learned scale, four terms of weight 1, a
  scene as the mean of its views) is that of the authors' follow-up (UniScene3D, arXiv 2604.02546).
- Two rows that are the same thing are no negatives of each other: a view that pads its scene, a caption that stands
  on several views, a scene drawn twice. Whether the authors leave them in is unknown; left in, they push a view
  away from its own words.
- The text tower may be one that trains along (the ``mini`` preset); the paper's is frozen FG-CLIP.
- The scale is kept below 100 as CLIP does; the paper does not say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from poma3d.errors import SettingError
from poma3d.objectives.gather import gather_rows, rank, ranks
from poma3d.objectives.regions import region_loss
from poma3d.objectives.settings import AlignmentSettings

NOTHING = 0
"""The number of a text that is not there: its row takes no part."""


@dataclass(frozen=True)
class AlignmentBatch:
    """Embeddings of one batch on one rank; what a target lacks is None and costs no term."""

    views: Tensor
    """(B, V, D) of the point maps, from the context encoder, not normalised."""
    view_ids: Tensor
    """(B, V) int64: the same number for the same view (padding repeats views)."""
    scene_ids: Tensor
    """(B,) int64: the same number for the same scene."""
    view_text: Tensor | None = None
    """(B, V, D) of the views' captions."""
    view_text_ids: Tensor | None = None
    """(B, V) int64: the same number for the same words; `NOTHING` for a view without a caption."""
    scene_text: Tensor | None = None
    """(B, D) of the scenes' captions."""
    scene_text_ids: Tensor | None = None
    """(B,) int64: the same number for the same words; `NOTHING` for a scene without a caption."""
    view_image: Tensor | None = None
    """(B, V, D) of the views' pictures; a scene's picture is their mean."""
    patches: Tensor | None = None
    """(B, V, K, D) of the patches that the context encoder saw."""
    patch_shares: Tensor | None = None
    """(B, V, K, C) which categories each of them shows (`poma3d.objectives.regions.patch_shares`)."""
    words: Tensor | None = None
    """(C, D) of the categories' names."""


class Alignment(nn.Module):
    """The alignment objective; its weights are the logarithm of the scale, and that of the regions' where used."""

    def __init__(self, settings: AlignmentSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or AlignmentSettings()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(self.settings.temperature)))
        if self.settings.region_weight > 0:
            self.region_log_scale = nn.Parameter(self.log_scale.detach().clone())

    def scale(self) -> Tensor:
        """The factor of the cosines."""
        return self._bounded(self.log_scale)

    def region_scale(self) -> Tensor:
        """The factor of the cosines between patches and words."""
        return self._bounded(self.region_log_scale)

    def _bounded(self, log_scale: Tensor) -> Tensor:
        return log_scale.clamp(max=math.log(self.settings.largest_scale)).exp()

    def forward(self, batch: AlignmentBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the terms that the batch has targets for, and each term on its own.

        Raises:
            SettingError: the batch has neither text nor image.
        """
        views, scenes = batch.views, batch.views.mean(1)  # (B, V, D) -> (B, D)
        settings = self.settings
        view_words = batch.view_ids if batch.view_text_ids is None else batch.view_text_ids
        scene_words = batch.scene_ids if batch.scene_text_ids is None else batch.scene_text_ids
        scene_image = None if batch.view_image is None else batch.view_image.mean(1)  # (B, V, D) -> (B, D)
        L_view = {
            "view_text": (views, batch.view_text, torch.stack([batch.view_ids, view_words], -1)),
            "view_image": (views, batch.view_image, batch.view_ids[..., None]),
        }
        L_scene = {
            "scene_text": (scenes, batch.scene_text, torch.stack([batch.scene_ids, scene_words], -1)),
            "scene_image": (scenes, scene_image, batch.scene_ids[..., None]),
        }
        terms: dict[str, Tensor] = {}
        loss = views.new_zeros((), dtype=torch.float32)
        for weight, losses in ((settings.view_weight, L_view), (settings.scene_weight, L_scene)):
            for name, (ours, theirs, ids) in losses.items():
                if theirs is not None and weight > 0:
                    term = info_nce(
                        ours.flatten(0, -2),  # (B, V, D) or (B, D) -> (N, D)
                        theirs.flatten(0, -2),
                        ids.flatten(0, -2),
                        self.scale(),
                    )
                    terms[f"loss_{name}"] = term.detach()
                    loss = loss + weight * term
        if settings.region_weight > 0:
            if batch.patches is None or batch.patch_shares is None or batch.words is None:
                raise SettingError(
                    "region_weight above 0 needs data whose pixels have categories, and a text tower"
                )
            term = region_loss(
                batch.patches.flatten(0, 1),  # (B, V, K, D) -> (B V, K, D)
                batch.patch_shares.flatten(0, 1),
                batch.words,
                self.region_scale(),
            )
            terms["loss_regions"] = term.detach()
            loss = loss + settings.region_weight * term
        if not terms:
            raise SettingError("alignment needs captions or pictures, and this batch has neither")
        return loss, {"loss_alignment": loss.detach(), **terms, "scale": self.scale().detach()}


def info_nce(ours: Tensor, theirs: Tensor, ids: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE over the rows of all ranks; its mean over ranks is the mean over all rows and directions.

    Args:
        ours: (N, D), row i belongs to row i of ``theirs``; not normalised.
        theirs: (N, D).
        ids: (N, G) int64; two rows that share a number in the same column are no negatives of each other, and a
            row with `NOTHING` in its last column takes no part.
        scale: factor of the cosines.
    """
    with torch.autocast(ours.device.type, enabled=False):
        ours = functional.normalize(ours.float(), dim=-1)
        theirs = functional.normalize(theirs.float(), dim=-1)
        all_ours, all_theirs, all_ids = gather_rows(ours), gather_rows(theirs), gather_rows(ids)
        rows = torch.arange(len(ours), device=ours.device)  # (N,)
        own = rows + rank() * len(ours)  # (N,) place among all rows
        absent = all_ids[:, -1] == NOTHING  # (all,)
        hidden = (ids[:, None] == all_ids[None]).any(-1) | absent  # (N, all)
        hidden[rows, own] = False
        forth = (scale * ours @ all_theirs.T).masked_fill(hidden, -torch.inf)  # (N, all)
        back = (scale * theirs @ all_ours.T).masked_fill(hidden, -torch.inf)
        each = functional.cross_entropy(forth, own, reduction="none")
        each = (each + functional.cross_entropy(back, own, reduction="none")) / 2  # (N,)
        counted = (~absent).sum() / ranks()
        return each.masked_fill(absent[own], 0.0).sum() / counted.clamp(min=1 / ranks())
