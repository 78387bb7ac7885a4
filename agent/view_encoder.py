"""Features in place of views: what the encoded environments of Stable-Baselines3 and of Gymnasium have in common.

Shapes: n observations, N views, H x W pixels; in a batch every array of an observation has n rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from agent.backbone import FrozenBackbone
from agent.feature_cache import FeatureCache, view_digest
from poma3d.errors import SettingError

VIEW_KEYS = ("point_map", "valid")
"""What features stand in for."""

Observation = dict[str, np.ndarray]


class ViewEncoder:
    """Puts ``cls`` and ``patch_tokens`` where ``point_map`` and ``valid`` were, and leaves the other sensors alone.

    The features of a view are the same whatever it is encoded together with.

    Args:
        backbone: encodes.
        cache: keeps features; it may be shared and is never closed here.
    """

    def __init__(self, backbone: FrozenBackbone, cache: FeatureCache | None = None) -> None:
        self.backbone = backbone
        self.cache = cache
        self._identity = backbone.identity

    def batches(self, batches: Sequence[Mapping[str, np.ndarray]]) -> list[Observation]:
        """Batches of observations, each of any length n, with features in place of views, all encoded together."""
        points, valid = (np.concatenate([batch[name] for batch in batches]) for name in VIEW_KEYS)
        features = self._features(points, valid.astype(bool, copy=False))
        ends = np.cumsum([len(batch["valid"]) for batch in batches])[:-1]
        parts = {name: np.split(values, ends) for name, values in features.items()}
        return [
            {
                **{name: values for name, values in batch.items() if name not in VIEW_KEYS},
                **{name: part[number] for name, part in parts.items()},
            }
            for number, batch in enumerate(batches)
        ]

    def batch_and_singles(
        self, batch: Mapping[str, np.ndarray], singles: Sequence[Mapping[str, np.ndarray]]
    ) -> tuple[Observation, list[Observation]]:
        """A batch (n, ...) and single observations, such as the last ones of episodes, all encoded together."""
        rows = [{name: np.asarray(value)[None] for name, value in single.items()} for single in singles]
        encoded, *ends = self.batches([batch, *rows])
        return encoded, [{name: value[0] for name, value in end.items()} for end in ends]

    def flush(self) -> None:
        """Write what the cache has gathered, where there is one."""
        if self.cache is not None:
            self.cache.flush()

    def _features(self, points: np.ndarray, valid: np.ndarray) -> Observation:
        """The features of views (N, H, W, 3), looked up where they are known."""
        if self.cache is None:
            return self.backbone.encode(points, valid)
        views = [view_digest(*view) for view in zip(points, valid, strict=True)]
        shapes = self.backbone.feature_shapes
        found: dict[bytes, Any] = dict(zip(views, self.cache.get(self._identity, views, shapes), strict=True))
        new = {view: number for number, view in enumerate(views) if found[view] is None}
        if new:
            numbers = list(new.values())
            features = self.backbone.encode(points[numbers], valid[numbers])
            self.cache.put(self._identity, list(new), features)
            for row, view in enumerate(new):
                found[view] = {name: values[row] for name, values in features.items()}
        return {name: np.stack([found[view][name] for view in views]) for name in shapes}


def encoded_space(space: spaces.Space, backbone: FrozenBackbone) -> spaces.Dict:
    """The space of one observation with the backbone's features in place of ``point_map`` and ``valid``.

    Raises:
        SettingError: no point maps in it, or of another size than the backbone's.
    """
    if not isinstance(space, spaces.Dict) or not set(VIEW_KEYS) <= set(space.spaces):
        raise SettingError(f"observations must hold {' and '.join(VIEW_KEYS)} to be encoded, found {space}")
    size = backbone.image_size
    shape = space["point_map"].shape
    if shape != (size, size, 3):
        raise SettingError(
            f"the backbone reads point maps of {size} x {size} pixels and the environment gives {shape};"
            f" make the environment with size={size}"
        )
    features = {
        name: spaces.Box(-np.inf, np.inf, shape, np.float32)
        for name, shape in backbone.feature_shapes.items()
    }
    kept = {name: part for name, part in space.spaces.items() if name not in VIEW_KEYS}
    return spaces.Dict({**kept, **features})
