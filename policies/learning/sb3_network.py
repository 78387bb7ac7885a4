"""Our network inside Stable-Baselines3: a features extractor, and what acts when training is over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn
from torch.nn import functional

from policies.learning.features import FeatureLayout
from policies.learning.networks import ACTIONS, ViewEncoder, refuse_other_shapes
from policies.learning.sensors import SENSORS
from policies.learning.settings import NetworkSettings
from policies.learning.vector_env import row_space

_ALIASES = ("pi_features_extractor.", "vf_features_extractor.")
"""Second names of the shared extractor in SB3's state dictionaries."""


class RowsExtractor(BaseFeaturesExtractor):
    """``rows`` and ``sensors`` to (N, hidden + S): the view compressed, one layer, the sensors once more."""

    def __init__(
        self, observation_space: spaces.Dict, layout: FeatureLayout, settings: NetworkSettings
    ) -> None:
        super().__init__(observation_space, settings.hidden + SENSORS)
        self.view = ViewEncoder(layout, settings)
        self.join = nn.Linear(self.view.width + SENSORS, settings.hidden)
        self.norm = nn.LayerNorm(settings.hidden)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(N, hidden + S)."""
        sensors = observations["sensors"]
        rows = observations.get("rows", sensors[:, :0])  # (N, F); a blind policy has none
        joined = torch.cat([self.view(rows), sensors], 1)
        return torch.cat([functional.relu(self.norm(self.join(joined))), sensors], 1)


def policy_arguments(layout: FeatureLayout, settings: NetworkSettings, recurrent: bool) -> dict[str, Any]:
    """``policy_kwargs`` of SB3's PPO and recurrent PPO for our network."""
    arguments: dict[str, Any] = {
        "features_extractor_class": RowsExtractor,
        "features_extractor_kwargs": {"layout": layout, "settings": settings},
        "net_arch": {"pi": [], "vf": [64]},
    }
    if recurrent:
        arguments |= {"lstm_hidden_size": settings.hidden, "enable_critic_lstm": False}
        arguments |= {"shared_lstm": True}
    return arguments


def policy_class(recurrent: bool) -> type[ActorCriticPolicy]:
    """SB3's policy class for observations that are dictionaries."""
    if recurrent:
        from sb3_contrib.common.recurrent.policies import RecurrentMultiInputActorCriticPolicy

        return RecurrentMultiInputActorCriticPolicy
    return MultiInputActorCriticPolicy


def without_aliases(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of a policy's weights, each under one name."""
    return {name: tensor.detach().clone() for name, tensor in state.items() if not name.startswith(_ALIASES)}


def load_without_aliases(policy: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """The inverse of `without_aliases`.

    Raises:
        FileError: names or shapes differ.
    """
    refuse_other_shapes(path, without_aliases(policy.state_dict()), tensors)
    policy.load_state_dict(dict(tensors), strict=False)  # the aliases share the extractor's tensors


class Sb3Brain:
    """An SB3 policy that acts (`policies.learning.learned_policy.Brain`), with the memory of a recurrent one."""

    def __init__(self, policy: Any, *, recurrent: bool) -> None:
        self._policy, self._recurrent = policy, recurrent
        self._state: tuple[Tensor, Tensor] | None = None

    def restart(self) -> None:
        """Forget everything."""
        self._state = None

    def logits(self, rows: np.ndarray, sensors: np.ndarray) -> np.ndarray:
        """(4,) for one step."""
        self._policy.set_training_mode(False)
        seen = {"rows": torch.from_numpy(rows)[None].float()} if rows.size else {}
        observation = {**seen, "sensors": torch.from_numpy(sensors)[None]}
        with torch.inference_mode():
            if not self._recurrent:
                return self._policy.get_distribution(observation).distribution.logits[0].numpy()
            begins = torch.full((1,), float(self._state is None))
            if self._state is None:
                lstm = self._policy.lstm_actor
                empty = torch.zeros(lstm.num_layers, 1, lstm.hidden_size)
                self._state = (empty, empty)
            found, self._state = self._policy.get_distribution(observation, self._state, begins)
            return found.distribution.logits[0].numpy()


def load_brain(
    path: Path,
    kind: str,
    layout: FeatureLayout,
    settings: NetworkSettings,
    tensors: Mapping[str, Tensor],
) -> Sb3Brain:
    """What acts with weights of `without_aliases`; ``kind`` is ppo or recurrent-ppo.

    Raises:
        FileError: the weights of ``path`` are those of another network.
    """
    recurrent = kind == "recurrent-ppo"
    with torch.random.fork_rng(devices=[]):
        policy = policy_class(recurrent)(
            row_space(layout.size),
            spaces.Discrete(ACTIONS),
            lambda progress: 0.0,
            **policy_arguments(layout, settings, recurrent),
        )
    load_without_aliases(policy, tensors, path)
    return Sb3Brain(policy, recurrent=recurrent)
