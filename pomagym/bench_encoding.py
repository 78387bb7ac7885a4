"""The part `encoding` of `pomagym bench`: what encoding costs while a policy learns, outside it and inside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pomagym.printing import print_result


@dataclass(frozen=True)
class Encoding:
    """Measure steps a second: environments alone, with encoding, with encoding and PPO; cache cold and warm.

    The comparison is the same encoder inside the policy, as a features extractor of Stable-Baselines3, which runs
    it again in every epoch over the same views.

    For example:

        pomagym bench encoding
        pomagym bench encoding --scene house.glb --encoder weights.safetensors --envs 4 --json
    """

    scene: str = "procedural:val:0000"
    """A mesh file, or procedural:SPLIT:000N for house N."""
    encoder: str = "mini"
    """A preset (mini, base) with random weights, which are as fast as trained ones; or what load_encoder takes."""
    envs: int = 8
    """Environments side by side, in one process."""
    steps: int = 256
    """Steps of all environments together in one repeat, a multiple of envs: one rollout of PPO."""
    epochs: int = 10
    """Epochs of PPO over a rollout; the default of Stable-Baselines3."""
    batch: int = 64
    """Minibatch of PPO, steps; the default of Stable-Baselines3."""
    repeats: int = 3
    """Repeats of every figure; the median counts."""
    threads: int | None = None
    """Threads of torch; default: as many as it takes."""
    seed: int = 0
    """Of episodes, actions and PPO."""
    out: Path | None = None
    """A JSON file to write as well."""
    json: bool = False
    """Print the rows as JSON, alone on standard output."""


def encoding(config: Encoding) -> int:
    """Measure, write and print the table."""
    import torch

    from benchmarks.encoding import EncodingSettings, measure_encoding, repeats_of
    from benchmarks.tables import encoding_table
    from pomagym.progress import Bar

    settings = EncodingSettings(
        scene=config.scene,
        encoder=config.encoder,
        envs=config.envs,
        steps=config.steps,
        epochs=config.epochs,
        batch=config.batch,
        repeats=config.repeats,
        seed=config.seed,
    )
    if config.threads is not None:
        torch.set_num_threads(max(config.threads, 1))
    with Bar("measuring", repeats_of(settings)) as bar:
        result = measure_encoding(settings, bar.advance)
    print_result(result, encoding_table, as_json=config.json, out=config.out)
    return 0
