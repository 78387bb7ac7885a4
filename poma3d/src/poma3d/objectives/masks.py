"""Multi-block masks: which patches of each view the context encoder sees and which POMA-JEPA predicts.

After I-JEPA (arXiv 2301.08243): several blocks of 15 to 20 % of the view each, sides in a ratio of 0.75 to 1.5.
There each batch is cut to its smallest mask; here blocks are laid until exactly ``share`` of the patches is covered,
so that every view on every rank has the same number, and a batch needs no agreement between ranks. There the
context is a block of its own without the targets; here it is all that is not masked.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from poma3d.objectives.settings import MaskSettings


def multi_block_masks(
    grid: int, views: tuple[int, int], settings: MaskSettings, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Draw a mask for each view.

    Args:
        grid: patches along a side; P = grid^2.
        views: (B, V).
        settings: the shape.
        rng: the only source of chance.

    Returns:
        ``keep`` (B, V, P - M) and ``masked`` (B, V, M) int64, ascending patch numbers, row by row from 0.
    """
    count = settings.masked(grid * grid)
    total = views[0] * views[1]
    cover = np.zeros((total, grid, grid), bool)
    for mask in cover:
        left = count
        while left:
            high, wide = _block(grid, settings, rng)
            row, column = rng.integers(0, grid - high + 1), rng.integers(0, grid - wide + 1)
            corner = mask[row : row + high, column : column + wide]  # a window on the mask itself
            free = np.argwhere(~corner)[:left]
            corner[free[:, 0], free[:, 1]] = True
            left -= len(free)
    # A stable sort of the mask lists the patches that are seen first, each kind in ascending order.
    order = np.argsort(cover.reshape(total, -1), axis=1, kind="stable")  # (B V, P)
    numbers = torch.from_numpy(order).reshape(*views, -1)  # (B V, P) -> (B, V, P)
    return numbers[..., :-count], numbers[..., -count:]


def random_patches(patches: int, views: tuple[int, int], share: float, rng: np.random.Generator) -> Tensor:
    """Draw which patches of each view are seen, each as likely as any other.

    Args:
        patches: P.
        views: (B, V).
        share: of the patches; at least one is seen.
        rng: the only source of chance.

    Returns:
        (B, V, K) int64, ascending patch numbers.
    """
    seen = max(round(share * patches), 1)
    order = rng.random((*views, patches)).argsort(-1)[..., :seen]  # (B, V, P) -> (B, V, K)
    return torch.from_numpy(np.sort(order, axis=-1))


def _block(grid: int, settings: MaskSettings, rng: np.random.Generator) -> tuple[int, int]:
    """Rows and columns of a block, at least 1 and at most the grid."""
    area = rng.uniform(*settings.scale) * grid * grid
    aspect = np.exp(rng.uniform(*np.log(settings.aspect)))
    high, wide = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
    return min(max(high, 1), grid), min(max(wide, 1), grid)
