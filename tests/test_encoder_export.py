"""The encoder as a graph: exported for other runtimes, for any number of views, with the numbers it has here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_backbone import TINY

from poma3d.encoder import PointMapEncoder


def views(count: int, share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    size = TINY.image_size
    points = torch.randn(count, size, size, 3, generator=generator)
    return points, torch.rand(count, size, size, generator=generator) < share


class Features(torch.nn.Module):
    """What docs/encoder.md exports."""

    def __init__(self, encoder: PointMapEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, point_map: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        encoding = self.encoder(point_map, valid)
        return encoding.cls, encoding.patch_tokens


@pytest.mark.parametrize("coordinates", ["raw", "patch"])
def test_an_exported_encoder_is_the_encoder(coordinates: str, tmp_path: Path) -> None:
    features = Features(PointMapEncoder(replace(TINY, coordinates=coordinates))).eval()
    many = torch.export.Dim("many", min=1, max=64)
    with torch.no_grad():
        program = torch.export.export(features, views(2, 1.0, 0), dynamic_shapes=({0: many}, {0: many}))
        torch.export.save(program, tmp_path / "encoder.pt2")
        loaded = torch.export.load(tmp_path / "encoder.pt2").module()
        # Neither the number of views nor whether any has holes may have been written into the graph.
        for count, share in ((2, 1.0), (5, 0.7), (1, 0.0)):
            point_map, valid = views(count, share, seed=count)
            for found, expected in zip(loaded(point_map, valid), features(point_map, valid), strict=True):
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
