"""Observations encoded outside the policy: a vector environment whose point maps have become features.

A features extractor inside an SB3 policy runs the encoder again for every epoch over the same rollout, and stores
point maps in the rollout buffer. Here each view is encoded once, all environments' views in one batch, and the
buffer holds features. `agent.encoded_vector` does the same for Gymnasium's own vector environments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from agent.backbone import FrozenBackbone
from agent.feature_cache import FeatureCache
from agent.view_encoder import VIEW_KEYS, Observation, ViewEncoder, encoded_space

__all__ = ["VIEW_KEYS", "EncodedVecEnv"]


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
        self._encoder = ViewEncoder(backbone, cache)
        super().__init__(venv, observation_space=encoded_space(venv.observation_space, backbone))

    def reset(self) -> Observation:
        """The first observations of all environments, encoded."""
        return self._encoder.batches([_as_dict(self.venv.reset())])[0]

    def step_wait(self) -> tuple[Observation, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Finish the step; observations and terminal observations are encoded in one batch."""
        observations, rewards, dones, infos = self.venv.step_wait()
        infos = [dict(info) for info in infos]
        ended = [info for info in infos if "terminal_observation" in info]
        encoded, last = self._encoder.batch_and_singles(
            _as_dict(observations), [info["terminal_observation"] for info in ended]
        )
        for info, observation in zip(ended, last, strict=True):
            info["terminal_observation"] = observation
        return encoded, rewards, dones, infos

    def close(self) -> None:
        """Close the environments and write what the cache has gathered."""
        self._encoder.flush()
        super().close()


def _as_dict(observations: Any) -> Observation:
    return dict(observations)
