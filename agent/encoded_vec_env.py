"""Observations encoded outside the policy: a vector environment whose point maps have become features.

A features extractor inside an SB3 policy runs the encoder again for every epoch over the same rollout, and stores
point maps in the rollout buffer. Here each view is encoded once, all environments' views in one batch, and the
buffer holds features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from agent.backbone import FrozenBackbone
from agent.feature_cache import FeatureCache, view_digest
from poma3d.errors import SettingError

VIEW_KEYS = ("point_map", "valid")
"""What features stand in for."""

Observation = dict[str, np.ndarray]


class EncodedVecEnv(VecEnvWrapper):
    """A vector environment that shows ``cls`` and ``patch_tokens`` instead of ``point_map`` and ``valid``.

    All other sensors, the rewards and the infos stay as they are; ``terminal_observation`` in the infos of a
    finished episode is encoded too. The numbers are the same for any number of environments.

    Args:
        venv: of navigation environments, made with the backbone's ``size``.
        backbone: encodes.
        cache: keeps features; it may be shared, and stays open when the environment is closed.

    Raises:
        SettingError: observations without point maps, or of another size than the backbone's.
    """

    def __init__(self, venv: VecEnv, backbone: FrozenBackbone, cache: FeatureCache | None = None) -> None:
        self.backbone = backbone
        self.cache = cache
        self._identity = backbone.identity
        super().__init__(venv, observation_space=encoded_space(venv.observation_space, backbone))

    def reset(self) -> Observation:
        """The first observations of all environments, encoded."""
        return self._encode([_as_dict(self.venv.reset())])[0]

    def step_wait(self) -> tuple[Observation, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Finish the step; observations and terminal observations are encoded in one batch."""
        observations, rewards, dones, infos = self.venv.step_wait()
        infos = [dict(info) for info in infos]
        ended = [info for info in infos if "terminal_observation" in info]
        last = [{name: value[None] for name, value in info["terminal_observation"].items()} for info in ended]
        encoded, *encoded_last = self._encode([_as_dict(observations), *last])
        for info, observation in zip(ended, encoded_last, strict=True):
            info["terminal_observation"] = {name: value[0] for name, value in observation.items()}
        return encoded, rewards, dones, infos

    def close(self) -> None:
        """Close the environments and write what the cache has gathered."""
        if self.cache is not None:
            self.cache.flush()
        super().close()

    def _encode(self, groups: Sequence[Mapping[str, np.ndarray]]) -> list[Observation]:
        """Groups of observations (n, ...) with features in place of views, all encoded together."""
        points, valid = (np.concatenate([group[name] for group in groups]) for name in VIEW_KEYS)
        features = self._features(points, valid.astype(bool, copy=False))
        ends = np.cumsum([len(group["valid"]) for group in groups])[:-1]
        parts = {name: np.split(values, ends) for name, values in features.items()}
        return [
            {
                **{name: values for name, values in group.items() if name not in VIEW_KEYS},
                **{name: part[number] for name, part in parts.items()},
            }
            for number, group in enumerate(groups)
        ]

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
    """The observation space with the backbone's features in place of ``point_map`` and ``valid``.

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


def _as_dict(observations: Any) -> Observation:
    return dict(observations)
