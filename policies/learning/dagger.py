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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from agent.one_thread import one_thread
from policies.learning.acting import Acting
from policies.learning.collect import Collector, generator
from policies.learning.experience import Experience
from policies.learning.held_out import evaluate_and_keep
from policies.learning.houses import TrainingScenes, training_body
from policies.learning.imitation import NotFiniteError, learn_pass
from policies.learning.learned_policy import DaggerBrain
from policies.learning.networks import PolicyNetwork
from policies.learning.run_state import load_state, refuse_other_backbone, refuse_other_scenes, save_state
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
        state = load_state(self._work, self.config) or {}
        self._done, self._steps = state.get("done", 0), state.get("steps", 0)
        self._best: dict[str, Any] = state.get("best", {})
        stopped = None
        if self._done < len(self.units):
            with one_thread():
                self._prepare(state)
                stopped = self._work_through(on_unit, on_log, advance)
        if not keep_experience and stopped is None:
            self._tidy()
        return TrainResult.of(self.out, self._best, self._steps, stopped)

    def _prepare(self, state: Mapping[str, Any]) -> None:
        """Open all that the units work with, as the checkpoint left it; empty: from the beginning."""
        settings = self.settings
        self._features = settings.open_features()
        refuse_other_backbone(self._work, state, self._features.backbone)
        self._scenes = TrainingScenes(settings, training_body(self._features.size, settings.max_steps))
        self._digests = self._scenes.digests()
        refuse_other_scenes(self._work, state, self._digests)
        self._network = PolicyNetwork(self._features.layout, settings.network, seed=settings.seed)
        self._optimiser = torch.optim.AdamW(
            self._network.parameters(),
            lr=settings.dagger.learning_rate,
            weight_decay=settings.dagger.weight_decay,
        )
        if state:
            self._network.load(state["network"])
            self._optimiser.load_state_dict(state["optimiser"])
        write_text(self.out / "config.json", json.dumps(self.config, indent=2, sort_keys=True) + "\n")
        self._experience = Experience(
            self._work,
            self._features.layout.size,
            1 + settings.dagger.extra_goals,
            state.get("lengths", []),
        )

    def _work_through(
        self,
        on_unit: Callable[[Unit, int, int], None],
        on_log: Callable[[dict[str, Any]], None],
        advance: Callable[[int], None],
    ) -> str | None:
        """Do the units that are left; returns why it stopped early, None where it did not."""
        work = {"collect": self._collect, "learn": self._learn, "evaluate": self._evaluate}
        log = Log(self.out, self._done)
        try:
            while self._done < len(self.units):
                unit = self.units[self._done]
                on_unit(unit, self._done, len(self.units))
                began = time.perf_counter()
                try:
                    facts = work[unit.kind](unit, advance)
                except NotFiniteError as error:
                    return str(error)
                self._done += 1
                record = {"step": self._done, "unit": unit.kind, "round": unit.round}
                record |= {"env_steps": self._steps, **facts}
                # before the checkpoint: a line that it does not know of is taken away again, one more is not made
                log.write(record | {"time_unit": time.perf_counter() - began})
                self._experience.secure()
                save_state(self._work, self.config, self._state())
                on_log(record)
        finally:
            log.close()
        return None

    def _state(self) -> dict[str, Any]:
        return {
            "done": self._done,
            "steps": self._steps,
            "best": self._best,
            "lengths": self._experience.lengths,
            "network": self._network.tensors(),
            "optimiser": self._optimiser.state_dict(),
            "backbone": self._features.backbone,
            "scenes": self._digests,
        }

    def _collect(self, unit: Unit, advance: Callable[[int], None]) -> dict[str, Any]:
        settings, experience = self.settings, self._experience
        wanted = settings.total_steps * (unit.round + 1) // settings.dagger.rounds - self._steps
        collector = Collector(self._scenes, self._features, settings.dagger, settings.seed, self._acting)
        found = collector.collect(unit.round, max(1, wanted), self._network, experience, advance)
        self._steps += found.steps
        if unit.round == 0 and experience.width:
            rng = generator(settings.seed, "calibration")
            chosen = rng.choice(experience.rows, min(_CALIBRATION_ROWS, experience.rows), replace=False)
            rows = experience.slice("features", 0, experience.rows)[np.sort(chosen)]
            self._network.view.calibrate(torch.from_numpy(np.array(rows)))
        times = {f"time_{name}": seconds for name, seconds in found.seconds.items()}
        return {"episodes": found.episodes, "agreement": found.agreement, **times}

    def _learn(self, unit: Unit, advance: Callable[[int], None]) -> dict[str, Any]:
        top, (begin, end) = self.settings.dagger.learning_rate, unit.rate
        facts = learn_pass(
            self._network,
            self._optimiser,
            self._experience,
            self.settings.dagger,
            generator(self.settings.seed, "pass", unit.round, unit.number),
            lambda share: top * (begin + (end - begin) * min(1.0, share)),
            advance,
        )
        if not all(bool(tensor.isfinite().all()) for tensor in self._network.state_dict().values()):
            raise NotFiniteError("weights became NaN or infinite; a smaller --dagger.learning-rate helps")
        return facts

    def _evaluate(self, unit: Unit, advance: Callable[[int], None]) -> dict[str, Any]:
        means, self._best = evaluate_and_keep(
            self.out,
            unit.number,
            DaggerBrain(self._network),
            self._network.tensors(),
            self._acting,
            self.settings,
            self._scenes,
            self._best,
        )
        return means

    def _tidy(self) -> None:
        """Leave the policy alone in its folder, with a small checkpoint that says that the training is done."""
        save_state(self._work, self.config, {"done": self._done, "steps": self._steps, "best": self._best})
        for path in self._work.glob("*.bin"):
            path.unlink()
