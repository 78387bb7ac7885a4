"""Observations encoded outside the policy, for Gymnasium's own environments: many in a vector, or a single one.

For a training loop of one's own on ``gymnasium.make_vec``. `agent.encoded_vec_env` does the same for the vector
environments of Stable-Baselines3, with the same names, shapes and numbers.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from agent.backbone import FrozenBackbone
from agent.feature_cache import FeatureCache
from agent.view_encoder import Observation, ViewEncoder, encoded_space
from poma3d.errors import SettingError


class EncodedVector(VectorWrapper):
    """A Gymnasium vector environment that shows ``cls`` and ``patch_tokens`` instead of ``point_map`` and ``valid``.

    All other sensors, the rewards and the infos stay as they are, and every `AutoresetMode` works: where episodes are
    reset within the step that ends them, ``final_obs`` in the infos is encoded too, in one batch with the first views
    of the next episodes. The numbers are the same for any number of environments. After a reset with ``reset_mask``
    all rows are encoded; a cache knows those that stayed.

    Args:
        env: of navigation environments, made with the backbone's ``size``.
        backbone: encodes.
        cache: keeps features; it may be shared, and stays open when the environment is closed.

    Raises:
        SettingError: no vector environment, observations without point maps, or of another size than the backbone's.
    """

    def __init__(self, env: VectorEnv, backbone: FrozenBackbone, cache: FeatureCache | None = None) -> None:
        if not isinstance(env, VectorEnv):
            raise SettingError(
                f"EncodedVector wraps a gymnasium.vector.VectorEnv, found {type(env).__name__}; for a single"
                " environment there is EncodedObservation, for a VecEnv of Stable-Baselines3 EncodedVecEnv"
            )
        super().__init__(env)
        self.backbone = backbone
        self.cache = cache
        self._encoder = ViewEncoder(backbone, cache)
        single = encoded_space(env.single_observation_space, backbone)
        self.single_observation_space = single
        batched, given = batch_space(single, env.num_envs), env.observation_space
        assert isinstance(batched, spaces.Dict)
        assert isinstance(given, spaces.Dict)  # as that of one is; bounds may differ between environments
        self.observation_space = spaces.Dict(
            {name: given.spaces.get(name, part) for name, part in batched.spaces.items()}
        )

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """The first observations, encoded, as the wrapped environment's ``reset`` takes ``seed`` and ``options``."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return self._encoder.batches([observations])[0], infos

    def step(self, actions: Any) -> tuple[Observation, Any, Any, Any, dict[str, Any]]:
        """Step all environments; observations and ``final_obs`` are encoded in one batch."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        ended = np.flatnonzero(infos.get("_final_obs", ()))
        encoded, last = self._encoder.batch_and_singles(
            observations, [infos["final_obs"][which] for which in ended]
        )
        if len(ended):
            infos = {**infos, "final_obs": np.full(self.num_envs, None, dtype=object)}
            for which, observation in zip(ended, last, strict=True):
                infos["final_obs"][which] = observation
        return encoded, rewards, terminations, truncations, infos

    def close(self, **kwargs: Any) -> None:
        """Close the environments and write what the cache has gathered."""
        self._encoder.flush()
        super().close(**kwargs)


class EncodedObservation(gymnasium.ObservationWrapper, gymnasium.utils.RecordConstructorArgs):
    """A single environment that shows ``cls`` and ``patch_tokens`` instead of ``point_map`` and ``valid``.

    For many environments `EncodedVector` around all of them is faster and holds the backbone once.

    Args:
        env: a navigation environment, made with the backbone's ``size``.
        backbone: encodes.
        cache: keeps features; it may be shared, and stays open when the environment is closed.

    Raises:
        SettingError: observations without point maps, or of another size than the backbone's.
    """

    def __init__(
        self, env: gymnasium.Env, backbone: FrozenBackbone, cache: FeatureCache | None = None
    ) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, backbone=backbone, cache=cache, _disable_deepcopy=True
        )
        super().__init__(env)
        self._encoder = ViewEncoder(backbone, cache)
        self.observation_space = encoded_space(env.observation_space, backbone)

    def observation(self, observation: Observation) -> Observation:
        """One observation with features in place of its view."""
        batch = {name: np.asarray(value)[None] for name, value in observation.items()}
        return {name: rows[0] for name, rows in self._encoder.batches([batch])[0].items()}

    def close(self) -> None:
        """Close the environment and write what the cache has gathered."""
        self._encoder.flush()
        super().close()
