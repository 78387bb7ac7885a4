"""View-to-view consistency: does the token of a place look alike from another view?

Of each patch of a view whose place another view of the scene sees as well, the most similar token of that view is
looked up; it is right when it lies at the same place, within a radius. Chance is the share of that view's patches
that do. Shapes: V views of one scene, P patches, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def patch_centres(point_map: Tensor, valid: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Mean of the valid points of each patch (V, P, 3), and which patches have any (V, P).

    Args:
        point_map: (V, H, W, 3) metres.
        valid: (V, H, W) bool.
        side: of a patch, pixels.
    """
    V, H, W = valid.shape
    shape = (V, H // side, side, W // side, side)
    points = point_map.masked_fill(~valid[..., None], 0.0).reshape(*shape, 3).sum((2, 4))  # (V, h, w, 3)
    count = valid.reshape(shape).sum((2, 4))  # (V, h, w)
    centres = points / count.clamp(min=1)[..., None]
    return centres.reshape(V, -1, 3), (count > 0).reshape(V, -1)  # (V, h, w, ...) -> (V, P, ...)


@torch.no_grad()
def view_consistency(
    tokens: Tensor, centres: Tensor, seen: Tensor, *, radius: float = 0.3
) -> tuple[float, float, int]:
    """Share of matches that are right, share by chance, and how many were asked for.

    Args:
        tokens: (V, P, C) of one scene.
        centres: (V, P, 3) metres, in a frame that all views share.
        seen: (V, P) bool, patches that have a centre.
        radius: how near two centres must lie to be the same place, metres.
    """
    tokens = functional.normalize(tokens.float(), dim=-1)
    right = chance = 0.0
    asked = 0
    for view in range(len(tokens) - 1):
        cosine = torch.einsum("pc,vqc->vpq", tokens[view], tokens[view + 1 :])  # (v, P, P)
        near = torch.cdist(centres[view].expand(len(cosine), -1, -1), centres[view + 1 :]) <= radius
        near &= seen[view][None, :, None] & seen[view + 1 :, None, :]
        shared = near.any(2)  # (v, P)
        best = cosine.masked_fill(~seen[view + 1 :, None, :], -torch.inf).argmax(2, keepdim=True)
        right += float(near.gather(2, best)[..., 0][shared].sum())
        share = near.sum(2) / seen[view + 1 :].sum(1, keepdim=True).clamp(min=1)  # (v, P)
        chance += float(share[shared].sum())
        asked += int(shared.sum())
    return (right / asked, chance / asked, asked) if asked else (0.0, 0.0, 0)
