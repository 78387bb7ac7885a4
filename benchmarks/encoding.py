"""What encoding costs while a policy learns: outside the policy, with a cache cold and warm, and inside it.

Every figure is steps of all environments a second, over the same steps: the environments, the actions and PPO are
seeded alike, and features are exact whether computed or looked up, so every repeat walks the same way. The policy's
head is the same outside and inside: SB3's default network over ``cls`` and the sensors.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agent.backbone import FrozenBackbone
from agent.encoded_vec_env import VIEW_KEYS, EncodedVecEnv
from agent.feature_cache import FeatureCache
from benchmarks.machine import provenance
from poma3d.checkpoints import load_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.encoder_config import PRESETS
from poma3d.errors import SettingError

if TYPE_CHECKING:
    import gymnasium


@dataclass(frozen=True)
class EncodingSettings:
    """What is measured."""

    scene: str = "procedural:val:0000"
    """A mesh file, or ``procedural:SPLIT:000N`` for house N."""
    encoder: str = "mini"
    """A preset, with random weights, which are as fast as trained ones; or what `load_encoder` takes."""
    envs: int = 8
    """Environments in one vector environment, in this process."""
    steps: int = 256
    """Steps of all environments together in one repeat: one rollout of PPO."""
    epochs: int = 10
    """Epochs of PPO over a rollout; SB3's default."""
    batch: int = 64
    """Minibatch of PPO; SB3's default."""
    repeats: int = 3
    """Times every figure is measured; the median counts."""
    seed: int = 0
    """Of episodes, actions and PPO."""

    def __post_init__(self) -> None:
        """Refuse numbers that nothing can be measured with."""
        for name in ("envs", "steps", "epochs", "batch", "repeats"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.steps % self.envs:
            raise SettingError(f"steps must be a multiple of envs, found {self.steps} and {self.envs}")


def measure_encoding(
    settings: EncodingSettings, on_repeat: Callable[[str], None] = lambda what: None
) -> dict[str, Any]:
    """Measure.

    Args:
        settings: what.
        on_repeat: told of each of the `repeats_of` repeats that is done.

    Returns:
        ``rows`` of ``what`` (env, env+encode, env+encode+learn), ``encoded`` (outside or inside the policy),
        ``cache`` (none, cold, warm), ``per_second`` (steps), ``cpu_ms`` (processor milliseconds a step, which
        other programs disturb less) and ``hit_rate``; ``outside_over_inside``, the ratio of steps a second of
        env+encode+learn without a cache, and ``outside_over_inside_cpu``, that of processor time.

    Raises:
        UserError: the scene or the encoder cannot be used.
    """
    preset = settings.encoder in PRESETS
    encoder = PointMapEncoder(settings.encoder) if preset else load_encoder(settings.encoder)
    backbone = FrozenBackbone(encoder, device="cpu")
    walk = partial(_walk, settings)
    learn = partial(_learn, settings)
    plan: list[tuple[str, str, str, Callable[[VecEnv], None]]] = [
        ("env", "", "none", walk),
        ("env+encode", "outside", "none", walk),
        ("env+encode", "outside", "cold", walk),
        ("env+encode", "outside", "warm", walk),
        ("env+encode+learn", "outside", "none", learn),
        ("env+encode+learn", "outside", "cold", learn),
        ("env+encode+learn", "outside", "warm", learn),
        ("env+encode+learn", "inside", "none", partial(_learn, settings, inside=encoder)),
    ]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (what, encoded, cached, work) in enumerate(plan):
            times: list[tuple[float, float]] = []
            hit_rates: list[float] = []
            for repeat in range(settings.repeats):
                # A warm repeat goes the way that the last cold one went, which stands before it in the plan.
                name = f"{number - (cached == 'warm')}-{settings.repeats - 1 if cached == 'warm' else repeat}"
                cache = None if cached == "none" else FeatureCache(Path(folder) / name)
                plain = _environments(settings, backbone.image_size)
                env = EncodedVecEnv(plain, backbone, cache) if encoded == "outside" else plain
                try:
                    times.append(_timed(work, env))
                finally:
                    env.close()
                    if cache is not None:
                        hit_rates.append(cache.statistics.hit_rate)
                        cache.close()
                on_repeat(f"{what} {encoded}")
            wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
            rows.append(
                {
                    "what": what,
                    "encoded": encoded or None,
                    "cache": cached,
                    "per_second": round(settings.steps / wall, 1),
                    "cpu_ms": round(1e3 * cpu / settings.steps, 3),
                    "hit_rate": round(statistics.median(hit_rates), 4) if hit_rates else None,
                }
            )
    outside, inside = rows[4], rows[7]
    return {
        "rows": rows,
        "outside_over_inside": round(outside["per_second"] / inside["per_second"], 2),
        "outside_over_inside_cpu": round(inside["cpu_ms"] / outside["cpu_ms"], 2),
        "settings": asdict(settings),
        "threads": torch.get_num_threads(),
        "weights_sha256": backbone.weights_sha256,
        **provenance(),
    }


def repeats_of(settings: EncodingSettings) -> int:
    """How often `measure_encoding` reports."""
    return 8 * settings.repeats


class InsideExtractor(BaseFeaturesExtractor):
    """The usual way, to compare with: the frozen encoder as SB3's features extractor, ``cls`` beside the sensors."""

    def __init__(self, observation_space: spaces.Dict, encoder: PointMapEncoder) -> None:
        sensors = sum(
            flatdim(space) for name, space in observation_space.spaces.items() if name not in VIEW_KEYS
        )
        super().__init__(observation_space, sensors + encoder.config.embedding)
        self.encoder = encoder.eval().requires_grad_(False)

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """(N, D + sensors)."""
        with torch.no_grad():
            cls = self.encoder(observations["point_map"], observations["valid"] > 0.5).cls
        rest = [values.flatten(1) for name, values in observations.items() if name not in VIEW_KEYS]
        return torch.cat([cls, *rest], 1)


def _environments(settings: EncodingSettings, size: int) -> DummyVecEnv:
    """Environments that all show one scene, each with episodes of its own."""

    def make(number: int) -> gymnasium.Env:
        import gymnasium

        import envs  # noqa: F401  (makes the names of the environments known)

        return gymnasium.make(
            "pomagym/PointNav-v0",
            scene=settings.scene,
            episodes=16,
            size=size,
            seed=settings.seed + number,
            disable_env_checker=True,
        )

    env = DummyVecEnv([partial(make, number) for number in range(settings.envs)])
    env.seed(settings.seed)
    return env


def _timed(work: Callable[[VecEnv], None], env: VecEnv) -> tuple[float, float]:
    """Wall and processor seconds of the work; what happens once (loading, the first step) is done before."""
    env.reset()
    env.step(np.full(env.num_envs, 2))
    wall, cpu = time.perf_counter(), time.process_time()
    work(env)
    return time.perf_counter() - wall, time.process_time() - cpu


def _walk(settings: EncodingSettings, env: VecEnv) -> None:
    """Random steps, without STOP."""
    draws = np.random.Generator(np.random.Philox(settings.seed))
    for _ in range(settings.steps // settings.envs):
        env.step(draws.choice([1, 2, 3], settings.envs, p=[0.6, 0.2, 0.2]))


def _learn(settings: EncodingSettings, env: VecEnv, inside: PointMapEncoder | None = None) -> None:
    """One rollout of PPO and its epochs, with an encoder inside the policy where one is given."""
    # SB3 would draw an encoder's weights anew along with the head's.
    arguments: dict[str, Any] = {"ortho_init": False}
    if inside is not None:
        arguments |= {
            "features_extractor_class": InsideExtractor,
            "features_extractor_kwargs": {"encoder": inside},
        }
    with torch.random.fork_rng(devices=[]):
        model = PPO(
            "MultiInputPolicy",
            env,
            n_steps=settings.steps // settings.envs,
            batch_size=settings.batch,
            n_epochs=settings.epochs,
            policy_kwargs=arguments,
            seed=settings.seed,
            device="cpu",
        )
        model.set_logger(Logger(None, []))  # SB3's own leaves a folder in the system's temporary one
        model.learn(settings.steps)
