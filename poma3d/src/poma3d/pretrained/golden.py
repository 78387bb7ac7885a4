"""A point map that a formula makes, and the features of weights on it: do they say here what they said there?"""

from __future__ import annotations

import torch
from torch import Tensor

from poma3d.encoder import PointMapEncoder
from poma3d.towers import TextTower

TEXT = "A kitchen with a table and two chairs, next to a living room with a sofa."
_LOW, _HIGH, _EYE = (-2.0, -2.5, 0.0), (4.0, 3.0, 2.6), (0.0, 0.0, 1.25)


def golden_view(size: int) -> tuple[Tensor, Tensor]:
    """An empty room of 6 x 5.5 x 2.6 m with a hole in a wall, as an agent in it sees it: (1, H, W, 3) and (1, H, W)."""
    across = (torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1  # hfov 90 degrees: tan 45 = 1
    left, up = torch.meshgrid(-across, -across, indexing="xy")
    ray = torch.stack([torch.ones_like(left), left, up], -1)  # (H, W, 3), x forward, y left, z up
    low, high, eye = (torch.tensor(corner, dtype=torch.float64) for corner in (_LOW, _HIGH, _EYE))
    farther = torch.where(ray > 0, high - eye, low - eye) / torch.where(ray == 0, 1e-12, ray)
    points = eye + ray * farther.min(-1, keepdim=True).values
    valid = ~((left.abs() < 0.2) & (up.abs() < 0.2))
    return points.masked_fill(~valid[..., None], 0.0).float()[None], valid[None]


@torch.no_grad()
def golden_features(encoder: PointMapEncoder, text: TextTower | None) -> dict[str, list[float]]:
    """The first 16 numbers of the view's embedding, of its first and last token, and of the embedding of `TEXT`."""
    found = encoder(*golden_view(encoder.config.image_size))
    features = {
        "cls": found.cls[0],
        "first_token": found.patch_tokens[0, 0],
        "last_token": found.patch_tokens[0, -1],
    }
    if text is not None:
        features["text"] = text.encode([TEXT], long=True)[0]
    return {name: [round(value, 5) for value in row[:16].tolist()] for name, row in features.items()}
