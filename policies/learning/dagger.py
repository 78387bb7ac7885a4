"""DAgger: imitate the oracle on the states that the learner itself comes to.

Ross, Gordon and Bagnell, arXiv 1011.0686: collect with a mixture of oracle and learner, label every state by the
oracle, learn on everything so far, and again. The training is a list of units (collect, learn, evaluate), each a
function of what is known before it and of (seed, its number). After each the state is written, so a run that was
killed repeats at most one unit, to the same bits.

Differences from the paper: the first round adds noise to the oracle, so that it shows how to recover; where the
learner comes no nearer the oracle takes over for a while; and each episode is labelled for further goals
(`policies.learning.teacher`).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from policies.learning.acting import Acting
from policies.learning.collect import Collector, generator
from policies.learning.experience import Experience
from policies.learning.features import ViewFeatures
from policies.learning.held_out import evaluate_policy
from policies.learning.houses import TrainingScenes, training_body
from policies.learning.imitation import NotFiniteError, learn_pass
from policies.learning.learned_policy import DaggerBrain, LearnedPolicy, one_thread
from policies.learning.networks import PolicyNetwork
from policies.learning.policy_folder import save_policy
from policies.learning.run_state import load_state, save_state
from policies.learning.settings import TrainSettings
from policies.learning.train_result import TrainResult
from poma3d.files import write_text
from poma3d.training.log import Log

_CALIBRATION_ROWS = 2048


@dataclass(frozen=True)
class Unit:
    """One piece of work of a training."""

    kind: Literal["collect", "learn", "evaluate"]
    """What is done."""
    round: int
    """In which round, from 0."""
    number: int = 0
    """Which pass of the round, or which evaluation."""
    rate: tuple[float, float] = (1.0, 1.0)
    """Share of the learning rate at the beginning and the end of a pass."""


def units(settings: TrainSettings) -> list[Unit]:
    """The whole training in order."""
    dagger = settings.dagger
    out = []
    evaluated = {
        math.ceil(dagger.rounds * k / settings.evaluations) - 1 for k in range(1, settings.evaluations)
    }
    number = 0
    for r in range(dagger.rounds):
        out.append(Unit("collect", r))
        out += [Unit("learn", r, k) for k in range(dagger.epochs)]
        last = r == dagger.rounds - 1
        if last:
            for k in range(dagger.final_epochs):
                fall = (1 - k / dagger.final_epochs, 1 - (k + 1) / dagger.final_epochs)
                out.append(Unit("learn", r, dagger.epochs + k, fall))
        if last or r in evaluated:
            out.append(Unit("evaluate", r, number))
            number += 1
    return out


class DaggerTraining:
    """A training in a folder; `run` goes on where it was cut off.

    Args:
        settings: what decides the outcome.
        out: the policy's folder; ``training/`` in it holds experience and checkpoint until the end.
    """

    def __init__(self, settings: TrainSettings, out: str | Path) -> None:
        self.settings, self.out = settings, Path(out)
        self.config = settings.as_config()
        self._work = self.out / "training"
        self._acting = Acting(settings.network.temperature, settings.network.inertia)
        self.units = units(settings)

    def run(
        self,
        *,
        on_unit: Callable[[Unit, int, int], None] = lambda unit, done, total: None,
        on_log: Callable[[dict[str, Any]], None] = lambda facts: None,
        advance: Callable[[int], None] = lambda rows: None,
        keep_experience: bool = False,
    ) -> TrainResult:
        """Train to the end.

        Args:
            on_unit: told of each unit before it begins, with how many are done and how many there are.
            on_log: told of what was measured in each unit, after it.
            advance: told of steps taken or learned on.
            keep_experience: leave ``training/`` in the folder at the end.

        Raises:
            UserError: bad settings, a folder of another run, a full disk.
        """
        settings = self.settings
        with one_thread():
            features = settings.open_features()
            scenes = TrainingScenes(settings, training_body(features.size, settings.max_steps))
            network = PolicyNetwork(features.layout, settings.network, seed=settings.seed)
            self._optimiser = torch.optim.AdamW(
                network.parameters(),
                lr=settings.dagger.learning_rate,
                weight_decay=settings.dagger.weight_decay,
            )
            state = load_state(self._work, self.config)
            self._done, self._steps, self._best = 0, 0, {}
            lengths: list[int] = []
            if state is not None:
                self._done, self._steps, self._best = state["done"], state["steps"], state["best"]
                if self._done == len(self.units):
                    return self._result(None)
                lengths = state["lengths"]
                network.load(state["network"])
                self._optimiser.load_state_dict(state["optimiser"])
            write_text(self.out / "config.json", json.dumps(self.config, indent=2, sort_keys=True) + "\n")
            goals = 1 + settings.dagger.extra_goals
            experience = Experience(self._work, features.layout.size, goals, lengths)
            log = Log(self.out, self._done)
            stopped = None
            try:
                while self._done < len(self.units):
                    unit = self.units[self._done]
                    on_unit(unit, self._done, len(self.units))
                    began = time.perf_counter()
                    try:
                        facts = self._carry_out(unit, network, features, scenes, experience, advance)
                    except NotFiniteError as error:
                        stopped = str(error)
                        break
                    self._done += 1
                    save_state(self._work, self.config, self._state(network, experience))
                    record = {"step": self._done, "unit": unit.kind, "round": unit.round}
                    record |= {"env_steps": self._steps, **facts}
                    log.write(record | {"time_unit": time.perf_counter() - began})
                    on_log(record)
            finally:
                log.close()
            if not keep_experience and stopped is None:
                self._tidy()
        return self._result(stopped)

    def _result(self, stopped: str | None) -> TrainResult:
        best = self._best
        return TrainResult(
            self.out, dict(best.get("measures", {})), best.get("sha256", ""), self._steps, stopped
        )

    def _state(self, network: PolicyNetwork, experience: Experience) -> dict[str, Any]:
        return {
            "done": self._done,
            "steps": self._steps,
            "best": self._best,
            "lengths": experience.lengths,
            "network": network.tensors(),
            "optimiser": self._optimiser.state_dict(),
        }

    def _carry_out(
        self,
        unit: Unit,
        network: PolicyNetwork,
        features: ViewFeatures,
        scenes: TrainingScenes,
        experience: Experience,
        advance: Callable[[int], None],
    ) -> dict[str, Any]:
        if unit.kind == "collect":
            return self._collect(unit, network, features, scenes, experience, advance)
        if unit.kind == "learn":
            return self._learn(unit, network, experience, advance)
        return self._evaluate(unit, network, scenes)

    def _collect(
        self,
        unit: Unit,
        network: PolicyNetwork,
        features: ViewFeatures,
        scenes: TrainingScenes,
        experience: Experience,
        advance: Callable[[int], None],
    ) -> dict[str, Any]:
        settings = self.settings
        wanted = settings.total_steps * (unit.round + 1) // settings.dagger.rounds - self._steps
        collector = Collector(scenes, features, settings.dagger, settings.seed, self._acting)
        found = collector.collect(unit.round, max(1, wanted), network, experience, advance)
        self._steps += found.steps
        if unit.round == 0 and features.layout.size:
            rng = generator(settings.seed, "calibration")
            chosen = rng.choice(experience.rows, min(_CALIBRATION_ROWS, experience.rows), replace=False)
            rows = experience.slice("features", 0, experience.rows)[np.sort(chosen)]
            network.view.calibrate(torch.from_numpy(np.array(rows)))
        times = {f"time_{name}": seconds for name, seconds in found.seconds.items()}
        return {"episodes": found.episodes, "agreement": found.agreement, **times}

    def _learn(
        self,
        unit: Unit,
        network: PolicyNetwork,
        experience: Experience,
        advance: Callable[[int], None],
    ) -> dict[str, Any]:
        top, (begin, end) = self.settings.dagger.learning_rate, unit.rate
        rng = generator(self.settings.seed, "pass", unit.round, unit.number)
        facts = learn_pass(
            network,
            self._optimiser,
            experience,
            self.settings.dagger,
            rng,
            lambda share: top * (begin + (end - begin) * min(1.0, share)),
            advance,
        )
        if not all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values()):
            raise NotFiniteError("weights became NaN or infinite; a smaller --dagger.learning-rate helps")
        return facts

    def _evaluate(self, unit: Unit, network: PolicyNetwork, scenes: TrainingScenes) -> dict[str, Any]:
        settings = self.settings
        features = settings.open_features("float32")
        policy = LearnedPolicy(DaggerBrain(network), features, self._acting, name=self.out.name)
        video = self.out / "videos" / f"evaluation_{unit.number}.mp4"
        means, records = evaluate_policy(
            policy, scenes, scenes.body, settings.evaluation_episodes, settings.seed, video=video
        )
        lines = "".join(json.dumps(record) + "\n" for record in records)
        write_text(self.out / "results" / f"evaluation_{unit.number}.jsonl", lines)
        if means["spl"] >= self._best.get("measures", {}).get("spl", -1.0):
            sha256 = save_policy(
                self.out,
                network.tensors(),
                features,
                self.config,
                acting=self._acting,
                measures=means,
            )
            self._best = {"measures": means, "sha256": sha256, "evaluation": unit.number}
        return means

    def _tidy(self) -> None:
        """Leave the policy alone in its folder, with a small checkpoint that says that the training is done."""
        save_state(self._work, self.config, {"done": self._done, "steps": self._steps, "best": self._best})
        for path in self._work.glob("*.bin"):
            path.unlink()
