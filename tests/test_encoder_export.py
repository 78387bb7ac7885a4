"""The encoder as a graph: exported for other runtimes, for any number of views, with the numbers it has here."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_backbone import TINY

from poma3d.encoder import PointMapEncoder


def views(count: int, share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    size = TINY.image_size
    points = torch.randn(count, size, size, 3, generator=generator)
    return points, torch.rand(count, size, size, generator=generator) < share


@pytest.mark.parametrize("coordinates", ["raw", "patch"])
def test_an_exported_encoder_is_the_encoder(coordinates: str) -> None:
    encoder = PointMapEncoder(replace(TINY, coordinates=coordinates)).eval()
    many = torch.export.Dim("many", min=1, max=64)
    with torch.no_grad():
        program = torch.export.export(encoder, views(2, 1.0, 0), dynamic_shapes=({0: many}, {0: many}))
        # Neither the number of views nor whether any has holes may have been written into the graph.
        for count, share in ((2, 1.0), (5, 0.7), (1, 0.0)):
            point_map, valid = views(count, share, seed=count)
            found, expected = program.module()(point_map, valid), encoder(point_map, valid)
            torch.testing.assert_close(found.cls, expected.cls, rtol=0, atol=1e-6)
            torch.testing.assert_close(found.patch_tokens, expected.patch_tokens, rtol=0, atol=1e-6)
            assert torch.equal(found.valid_patches, expected.valid_patches)
