"""`pomagym train`: train a policy on frozen features, or go on with a training that was cut off."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.learning.settings import TrainSettings
from pomagym.printing import say_done_already

if TYPE_CHECKING:
    from policies.learning.train_result import TrainResult


@dataclass(frozen=True)
class Config(TrainSettings):
    """Train a PointNav policy on frozen features: by imitation of the oracle (dagger), ppo or recurrent-ppo.

    The policy is one folder, --out: policy.json, policy.safetensors, results of its evaluations on held-out
    scenes, videos, log.jsonl and TensorBoard's events. Any command takes the folder as a policy. The same
    command given again goes on where it was cut off, exactly.

    Of dagger --steps is the least: each of its --dagger.rounds ends with whole episodes in all --dagger.lanes, so
    with the defaults 160 episodes are run at least. The first example is a first try of a minute or two.

    For example:

        pomagym train --scene procedural:train:3 --held-out 1 --steps 240 --dagger.rounds 1 --dagger.lanes 4 \\
            --max-steps 60 --evaluations 1 --evaluation-episodes 2 --out runs/first
        pomagym train --policy dagger --features backbone --out runs/pointnav
        pomagym train --policy dagger --features blind --out runs/blind
        pomagym train --policy ppo --scene procedural:train:100 --steps 2000000 --out runs/ppo
        pomagym run --policy runs/pointnav --scene procedural:val:20 --episodes 200
    """

    episodes: str | None = None
    """An episode file of Habitat's (.json.gz), or how many episodes to generate, over all scenes together;
    default: as many as are needed."""
    out: Path | None = None
    """The policy's folder; default runs/POLICY-FEATURES-SEED."""
    keep_experience: bool = False
    """Leave the recorded features in the folder's training/ when it is done (gigabytes)."""
    json: bool = False
    """Print what came out as JSON, alone on standard output."""


def execute(config: Config) -> int:
    """Train, show the progress, print the evaluation of the policy that was kept."""
    from benchmarks.folder_lock import locked
    from benchmarks.navigation_run import episode_source
    from poma3d.errors import UserError

    values = {field.name: getattr(config, field.name) for field in fields(TrainSettings)}
    if config.episodes is not None:
        values["episodes"] = episode_source(config.episodes)
    settings = TrainSettings(**values)
    out = config.out or Path("runs") / f"{settings.policy}-{settings.features}-{settings.seed}"
    with locked(out):
        result = (_dagger if settings.policy == "dagger" else _ppo)(settings, out, config)
    if config.json:
        facts = {
            "policy": str(result.folder),
            "weights_sha256": result.weights_sha256,
            "held_out": result.measures,
            "steps": result.steps,
            "stopped": result.stopped,
        }
        print(json.dumps(facts, indent=2))
    else:
        for name, value in result.measures.items():
            print(f"{name:18} {value:.3f}")
    if result.stopped is not None:
        kept = f"the best policy before is in {out}" if result.weights_sha256 else "there is no policy yet"
        raise UserError(f"training stopped early: {result.stopped}; {kept}")
    named = shlex.quote(str(out))
    print(f"policy: {out} (pomagym run --policy {named}; curves: pomagym view {named})", file=sys.stderr)
    return 0


def _dagger(settings: TrainSettings, out: Path, config: Config) -> TrainResult:
    from policies.learning.dagger import DaggerTraining, Unit
    from pomagym.progress import Bar

    training = DaggerTraining(settings, out)
    with Bar("training") as bar:
        begun: list[Unit] = []

        def show(unit: Unit, done: int, total: int) -> None:
            if not begun:
                bar.start(total, done)
            else:
                bar.advance(f"{unit.kind}, round {unit.round + 1}")
            begun.append(unit)
            _note(f"{done}/{total} {unit.kind}, round {unit.round + 1}")

        result = training.run(
            on_unit=show, on_log=lambda facts: _note(_facts(facts)), keep_experience=config.keep_experience
        )
    if not begun:
        say_done_already(out)
    return result


def _ppo(settings: TrainSettings, out: Path, config: Config) -> TrainResult:
    from policies.learning.ppo import PpoTraining
    from pomagym.progress import Bar

    training = PpoTraining(settings, out)
    segments: list[int] = []
    with Bar("training", training.segments) as bar:

        def show(done: int, total: int, facts: dict[str, Any]) -> None:
            bar.start(total, done)
            segments.append(done)
            _note(f"{done}/{total} {_facts(facts)}")

        result = training.run(on_segment=show)
    if not segments and result.stopped is None:
        say_done_already(out)
    return result


def _facts(facts: dict[str, Any]) -> str:
    numbers = {name: value for name, value in facts.items() if isinstance(value, int | float)}
    return " ".join(f"{name} {value:.4g}" for name, value in numbers.items())


def _note(line: str) -> None:
    """A line for logs, where there is no terminal to show a bar on."""
    if not sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)
