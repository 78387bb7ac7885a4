"""One scene as training draws it, and a batch of them: plain tensors beside their texts.

Dimensions: B scenes, V views, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from poma3d.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

UNKNOWN = -1
"""The category of a pixel that belongs to nothing, and the room type of a view that nobody knows."""


@dataclass(frozen=True)
class SceneSample:
    """One draw of one scene."""

    point_map: Tensor
    """(V, H, W, 3) float32, metres, z up (`poma3d.pointmap.Frame.SCENE`, then augmented); 0 where not valid."""
    valid: Tensor
    """(V, H, W) bool."""
    view_captions: list[str]
    """V texts, one drawn for each view; "" for a view without."""
    scene_caption: str
    """One text, drawn; "" where the scene has none."""
    scan_id: str
    """What caption files call the scene."""
    source: str
    """The folder it comes from, such as ``light_scannet``."""
    view_indices: Tensor
    """(V,) int64: which views of the file these are; a number twice is a view repeated to fill up."""
    images: Tensor | None = None
    """(V, P, P, 3) uint8 RGB, where asked for."""
    semantics: Tensor | None = None
    """(V, H, W) int16 indices of `ScenePointDataset.categories`, `UNKNOWN` for none; where asked for."""
    rooms: Tensor | None = None
    """(V,) int64 indices of `ScenePointDataset.room_types`, `UNKNOWN` for none; where asked for."""
    poses: Tensor | None = None
    """(V, 4, 4) float32 camera to point-map frame, OpenCV's camera axes (x right, y down, z forward); augmented
    with the points, so that scaling makes it no rigid transform; where asked for."""


@dataclass(frozen=True)
class SceneBatch:
    """B scenes of V views each."""

    point_map: Tensor
    """(B, V, H, W, 3) float32, metres, z up; 0 where not valid."""
    valid: Tensor
    """(B, V, H, W) bool."""
    view_captions: list[list[str]]
    """B lists of V texts; "" for a view without."""
    scene_captions: list[str]
    """B texts; "" for a scene without."""
    scan_ids: list[str]
    """B names: what to report when a batch goes wrong, and which captions belong to one scene."""
    sources: list[str]
    """B names of the folders they come from."""
    view_indices: Tensor
    """(B, V) int64: which views of their files these are."""
    images: Tensor | None = None
    """(B, V, P, P, 3) uint8 RGB; None unless asked for."""
    semantics: Tensor | None = None
    """(B, V, H, W) int16 category of every pixel, `UNKNOWN` for none; None unless asked for."""
    rooms: Tensor | None = None
    """(B, V) int64 room type of every view, `UNKNOWN` for none; None unless asked for."""
    poses: Tensor | None = None
    """(B, V, 4, 4) float32 as in `SceneSample.poses`; None unless asked for."""

    def __len__(self) -> int:
        """Number of scenes, B."""
        return len(self.scan_ids)

    def to(self, device: Any, *, non_blocking: bool = False) -> SceneBatch:
        """The same batch with every tensor on ``device``."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> SceneBatch:
        """The same batch in page-locked memory; a torch ``DataLoader`` calls this by name."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Any) -> SceneBatch:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return replace(self, **{name: change(tensor) for name, tensor in tensors.items()})


_OPTIONAL = ("images", "semantics", "rooms", "poses")


def collate(samples: Sequence[SceneSample]) -> SceneBatch:
    """Stack samples to a batch.

    Raises:
        SettingError: no samples, or samples of different shapes.
    """
    if not samples:
        raise SettingError("a batch needs at least 1 scene, found none")
    shapes = {tuple(sample.point_map.shape) for sample in samples}
    if len(shapes) > 1:
        raise SettingError(f"scenes of one batch must have one shape, found {sorted(shapes)}")
    optional = {}
    for name in _OPTIONAL:
        values = [getattr(sample, name) for sample in samples]
        optional[name] = None if any(value is None for value in values) else torch.stack(values)
    return SceneBatch(
        point_map=torch.stack([sample.point_map for sample in samples]),
        valid=torch.stack([sample.valid for sample in samples]),
        view_captions=[sample.view_captions for sample in samples],
        scene_captions=[sample.scene_caption for sample in samples],
        scan_ids=[sample.scan_id for sample in samples],
        sources=[sample.source for sample in samples],
        view_indices=torch.stack([sample.view_indices for sample in samples]),
        **optional,
    )
