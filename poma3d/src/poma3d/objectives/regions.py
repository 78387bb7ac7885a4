"""Region alignment: the patch tokens of a view say, in words, what stands where.

Ours, not POMA-3D's, and off unless asked for. POMA-3D starts from FG-CLIP, whose own training aligned regions of
pictures with the words for them (arXiv 2505.05071); an encoder that starts from random weights has seen no region, and
one caption a view tells it too little: over the same 16,000 views of houses, view alignment alone lowered its loss by
0.35 nats, with regions beside it by 0.7. Needs views whose pixels have categories.

Shapes: N views, K patches, C categories, D embedding, p patch size.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from poma3d.objectives.gather import gather_rows
from poma3d.scenepoint.batch import UNKNOWN


def patch_shares(semantics: Tensor, patch_size: int, categories: int) -> Tensor:
    """What each patch shows.

    Args:
        semantics: (N, H, W) integer categories of pixels, `UNKNOWN` for none.
        patch_size: p, which divides H and W.
        categories: C.

    Returns:
        (N, P, C) float32 shares of the pixels that have a category, each row summing to 1; zeros for a patch with
        fewer than half of such pixels.
    """
    counts = category_counts(semantics, patch_size, categories).float()
    known = counts.sum(-1, keepdim=True)
    return torch.where(2 * known >= patch_size**2, counts / known.clamp(min=1), 0.0)


def category_counts(semantics: Tensor, patch_size: int, categories: int) -> Tensor:
    """How many pixels of each patch have each category, (N, P, C) int64; the arguments are those of `patch_shares`."""
    N, H, W = semantics.shape
    p = patch_size
    cut = semantics.reshape(N, H // p, p, W // p, p).transpose(2, 3)  # (N, H, W) -> (N, H/p, W/p, p, p)
    cut = cut.reshape(-1, p * p).long() - UNKNOWN  # -> (N P, p p), unknown is 0
    rows = torch.arange(len(cut), device=cut.device)[:, None] * (categories + 1)
    counts = torch.bincount((rows + cut).flatten(), minlength=len(cut) * (categories + 1))
    return counts.reshape(N, -1, categories + 1)[..., 1:]  # (N P (C + 1),) -> (N, P, C)


def region_loss(patches: Tensor, shares: Tensor, words: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of the patches' similarities to the words, against what the patches show.

    A category counts with one over the root of its share in the batch, or walls and floors would be all there is. The
    mean over ranks is the loss of one rank with all their views.

    Args:
        patches: (N, K, D) embeddings, not normalised; N is the same on all ranks.
        shares: (N, K, C) of `patch_shares`.
        words: (C, D) embeddings of the categories' names, not normalised.
        scale: factor of the cosines.
    """
    with torch.autocast(patches.device.type, enabled=False):
        similarity = (
            functional.normalize(patches.float(), dim=-1) @ functional.normalize(words.float(), dim=-1).T
        )
        wanted = shares.flatten(0, 1)  # (N, K, C) -> (N K, C)
        rarity = (_over_ranks(wanted.mean(0)) + 1e-6).rsqrt()  # (C,)
        weights = wanted * rarity
        chances = (scale * similarity).flatten(0, 1).log_softmax(-1)
        return -(weights * chances).sum() / _over_ranks(weights.sum()).clamp(min=1e-6)


def _over_ranks(value: Tensor) -> Tensor:
    """The mean of a value of any shape over all ranks."""
    return gather_rows(value[None]).mean(0)
