"""PPO and recurrent PPO on features computed once, by Stable-Baselines3 and sb3-contrib.

The training goes in segments of some updates. Each begins with new episodes and random streams from (seed, its
number), and ends with a checkpoint: SB3's environments cannot be stored in mid-episode, so this is what makes a
resumed run equal an uninterrupted one to the bit.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agent.one_thread import one_thread
from policies.learning.acting import Acting
from policies.learning.collect import generator
from policies.learning.features import ViewFeatures
from policies.learning.held_out import evaluate_and_keep
from policies.learning.houses import TrainingScenes, training_body
from policies.learning.run_state import load_state, refuse_other_backbone, refuse_other_scenes, save_state
from policies.learning.sb3_network import (
    Sb3Brain,
    load_without_aliases,
    policy_arguments,
    policy_class,
    without_aliases,
)
from policies.learning.settings import TrainSettings
from policies.learning.train_result import TrainResult
from policies.learning.vector_env import make_training_env
from poma3d.files import write_text
from poma3d.training.log import Log

_CALIBRATION_STEPS = 32
ACTING = Acting(temperature=1.0)
"""PPO's policies draw their moves by chance as they learned to."""


class PpoTraining:
    """A training in a folder; `run` goes on where it was cut off.

    Args:
        settings: what decides the outcome; its policy is ppo or recurrent-ppo.
        out: the policy's folder.
    """

    def __init__(self, settings: TrainSettings, out: str | Path) -> None:
        self.settings, self.out = settings, Path(out)
        self.config = settings.as_config()
        self._recurrent = settings.policy == "recurrent-ppo"
        self._work = self.out / "training"
        per_segment = settings.ppo.segment * settings.ppo.n_steps * settings.ppo.n_envs
        self.segments = max(1, math.ceil(settings.total_steps / per_segment))
        """How many segments the training has."""
        self._segment_steps = per_segment

    def run(
        self,
        *,
        on_segment: Callable[[int, int, dict[str, Any]], None] = lambda done, total, facts: None,
        advance: Callable[[int], None] = lambda steps: None,
    ) -> TrainResult:
        """Train to the end.

        Args:
            on_segment: told after each segment: how many are done, how many there are, what was measured.
            advance: told of steps taken.

        Raises:
            UserError: bad settings, a folder of another run, a full disk.
        """
        state = load_state(self._work, self.config) or {}
        self._done, self._steps = state.get("done", 0), state.get("steps", 0)
        self._best: dict[str, Any] = state.get("best", {})
        stopped = None
        if self._done < self.segments:
            with one_thread(), own_chance():
                stopped = self._train(state, on_segment, advance)
        return TrainResult.of(self.out, self._best, self._steps, stopped)

    def _train(
        self,
        state: Mapping[str, Any],
        on_segment: Callable[[int, int, dict[str, Any]], None],
        advance: Callable[[int], None],
    ) -> str | None:
        """Do the segments that are left; returns why it stopped early, None where it did not."""
        settings = self.settings
        features = settings.open_features()
        refuse_other_backbone(self._work, state, features.backbone)
        scenes = TrainingScenes(settings, training_body(features.size, settings.max_steps))
        digests = scenes.digests()
        refuse_other_scenes(self._work, state, digests)
        venv = make_training_env(scenes, features, settings.ppo.n_envs)
        log = None
        try:
            model = self._make_model(venv, features)
            if state:
                model.num_timesteps, model._n_updates = state["steps"], state["updates"]
                load_without_aliases(model.policy, state["network"], self._work)
                model.policy.optimizer.load_state_dict(state["optimiser"])
            else:
                self._calibrate(model, venv)
            write_text(self.out / "config.json", json.dumps(self.config, indent=2, sort_keys=True) + "\n")
            evaluated = {
                math.ceil(self.segments * k / settings.evaluations)
                for k in range(1, settings.evaluations + 1)
            }
            log = Log(self.out, self._done)
            while self._done < self.segments:
                began = time.perf_counter()
                facts = self._segment(model, venv, self._done, advance)
                if facts is None:
                    return "weights became NaN or infinite; a smaller --ppo.learning-rate helps"
                self._done, self._steps = self._done + 1, model.num_timesteps
                if self._done in evaluated:
                    means, self._best = evaluate_and_keep(
                        self.out,
                        self._done,
                        Sb3Brain(model.policy, recurrent=self._recurrent),
                        without_aliases(model.policy.state_dict()),
                        ACTING,
                        settings,
                        scenes,
                        self._best,
                    )
                    facts |= {f"held_out_{name}": value for name, value in means.items()}
                facts = {"step": self._done, "env_steps": self._steps} | facts
                # before the checkpoint: a line that it does not know of is taken away again, one more is not made
                log.write(facts | {"time_segment": time.perf_counter() - began})
                save_state(self._work, self.config, self._state(model, features, digests))
                on_segment(self._done, self.segments, facts)
        finally:
            venv.close()
            if log is not None:
                log.close()
        return None

    def _state(self, model: Any, features: ViewFeatures, scenes: Mapping[str, str | None]) -> dict[str, Any]:
        """What a checkpoint holds; at the end only what says so stays beside the policy."""
        end = {"done": self._done, "best": self._best, "steps": self._steps}
        if self._done == self.segments:
            return end
        return {
            **end,
            "network": without_aliases(model.policy.state_dict()),
            "optimiser": model.policy.optimizer.state_dict(),
            "updates": model._n_updates,
            "backbone": features.backbone,
            "scenes": dict(scenes),
        }

    def _make_model(self, venv: Any, features: ViewFeatures) -> Any:
        ppo = self.settings.ppo
        if self._recurrent:
            from sb3_contrib import RecurrentPPO

            algorithm = RecurrentPPO
        else:
            from stable_baselines3 import PPO

            algorithm = PPO
        model = algorithm(
            policy_class(self._recurrent),
            venv,
            learning_rate=ppo.learning_rate,
            n_steps=ppo.n_steps,
            batch_size=min(ppo.batch_size, ppo.n_steps * ppo.n_envs),
            n_epochs=ppo.n_epochs,
            gamma=ppo.gamma,
            gae_lambda=ppo.gae_lambda,
            clip_range=ppo.clip_range,
            ent_coef=ppo.ent_coef,
            policy_kwargs=policy_arguments(features.layout, self.settings.network, self._recurrent),
            seed=self.settings.seed,
            device="cpu",
        )
        from stable_baselines3.common.logger import configure

        model.set_logger(configure(str(self.out / "sb3"), ["tensorboard"]))
        return model

    def _calibrate(self, model: Any, venv: Any) -> None:
        """Offsets and scales of the features, from views of a random walk; a blind policy has none."""
        rng = generator(self.settings.seed, "calibration")
        venv.seed(self.settings.seed)
        seen = [venv.reset()]
        for _ in range(_CALIBRATION_STEPS):
            seen.append(venv.step(rng.integers(1, 4, venv.num_envs))[0])
        if "rows" in seen[0]:
            rows = np.concatenate([observation["rows"] for observation in seen])
            model.policy.features_extractor.view.calibrate(torch.from_numpy(rows))

    def _segment(self, model: Any, venv: Any, number: int, advance: Callable[[int], None]) -> Any:
        """One segment; returns what SB3 logged at its end, None where the weights are not finite afterwards."""
        from stable_baselines3.common.callbacks import BaseCallback
        from stable_baselines3.common.utils import set_random_seed

        class Tell(BaseCallback):
            def _on_step(self) -> bool:
                advance(venv.num_envs)
                return True

        seed = int(generator(self.settings.seed, "segment", number).integers(2**31 - venv.num_envs))
        set_random_seed(seed)
        venv.seed(seed)
        model._last_obs = None  # so that SB3 begins new episodes
        model.ep_info_buffer = None
        if self._recurrent:
            states = model._last_lstm_states
            model._last_lstm_states = type(states)(
                *(tuple(torch.zeros_like(tensor) for tensor in pair) for pair in states)
            )
        try:
            model.learn(self._segment_steps, callback=Tell(), reset_num_timesteps=False)
        except ValueError:  # torch's distributions refuse NaN this way
            if _finite(model.policy):
                raise
            return None
        if not _finite(model.policy):
            return None
        episodes = list(model.ep_info_buffer or [])
        facts = {
            name: float(value)
            for name, value in model.logger.name_to_value.items()
            if name.startswith("train/") and isinstance(value, int | float | np.number)
        }
        if episodes:
            facts["episode_reward"] = float(np.mean([episode["r"] for episode in episodes]))
            facts["episode_length"] = float(np.mean([episode["l"] for episode in episodes]))
        return facts


@contextlib.contextmanager
def own_chance() -> Iterator[None]:
    """Give torch's and NumPy's global generators, which SB3 draws from, back as they were."""
    import random

    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])


def _finite(policy: torch.nn.Module) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in policy.state_dict().values())
