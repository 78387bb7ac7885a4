"""The features of a data set's scenes with their labels, from a frozen encoder.

Shapes: S scenes, V views, P patches, C width, D embedding, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from poma3d.encoder import PointMapEncoder, retrieval_embedding
from poma3d.evaluation.consistency import patch_centres
from poma3d.evaluation.placing import agent_frame
from poma3d.evaluation.probe import patch_labels
from poma3d.scenepoint import UNKNOWN, SceneSample

Placing = Literal["scene", "agent"]
"""Whether views are encoded as ScenePoint holds them, or each as an agent at its camera sees it."""


@dataclass(frozen=True)
class Features:
    """What an encoder says of S scenes, on the CPU."""

    scan_ids: list[str]
    """S names."""
    views: Tensor
    """(S, V, D) view embeddings."""
    scenes: Tensor
    """(S, D) for retrieval."""
    tokens: Tensor
    """(S, V, P, C) float32 patch tokens."""
    patch_classes: Tensor
    """(S, V, P) int64 category of each patch, `UNKNOWN` for none."""
    rooms: Tensor
    """(S, V) int64 room type, `UNKNOWN` for none."""
    centres: Tensor
    """(S, V, P, 3) metres, in the frame of the data set whatever the placing."""
    seen: Tensor
    """(S, V, P) bool, patches with a valid point."""
    view_indices: Tensor
    """(S, V) int64 which view of its scene each is; a scene of fewer views has some twice."""


@torch.no_grad()
def scene_embeddings(encoder: PointMapEncoder, samples: Iterable[SceneSample]) -> tuple[list[str], Tensor]:
    """S names and (S, D) for retrieval alone, on the CPU: of thousands of scenes the tokens would fill the memory."""
    device, training = next(encoder.parameters()).device, encoder.training
    encoder.eval()
    scan_ids, rows = [], []
    for sample in samples:
        found = encoder(sample.point_map.to(device)[None], sample.valid.to(device)[None])
        scan_ids.append(sample.scan_id)
        rows.append(retrieval_embedding(found.cls)[0].cpu())
    encoder.train(training)
    return scan_ids, torch.stack(rows)


@torch.no_grad()
def extract(
    encoder: PointMapEncoder, samples: Iterable[SceneSample], classes: int, *, placing: Placing = "scene"
) -> Features:
    """Encode scenes one after another; the encoder comes back in the mode it was in."""
    device = next(encoder.parameters()).device
    side = encoder.config.patch_size
    training = encoder.training
    encoder.eval()
    rows: list[tuple[Tensor, ...]] = []
    scan_ids = []
    for sample in samples:
        points = agent_frame(sample) if placing == "agent" else sample.point_map
        found = encoder(points.to(device)[None], sample.valid.to(device)[None])
        V = len(sample.valid)
        categories = torch.full(sample.valid.shape, UNKNOWN) if sample.semantics is None else sample.semantics
        rooms = torch.full((V,), UNKNOWN) if sample.rooms is None else sample.rooms
        centres, seen = patch_centres(sample.point_map, sample.valid, side)
        scan_ids.append(sample.scan_id)
        rows.append(
            (
                found.cls[0].float().cpu(),
                retrieval_embedding(found.cls)[0].cpu(),
                found.patch_tokens[0].float().cpu(),
                patch_labels(categories, sample.valid, side, classes),
                rooms.long(),
                centres,
                seen,
                sample.view_indices,
            )
        )
    encoder.train(training)
    return Features(scan_ids, *(torch.stack(column) for column in zip(*rows, strict=True)))
