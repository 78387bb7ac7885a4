"""One collection of experience: lanes of episodes side by side, the oracle and the learner taking turns.

Everything random comes from (seed, round, number of the episode), so that a collection that was cut off comes
out the same when it is repeated.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import numpy as np
import torch

from envs.locomotion import Action
from envs.pointnav import PointNavEnv
from policies.learning.acting import Acting
from policies.learning.experience import Experience, RecordedEpisode
from policies.learning.features import ViewFeatures
from policies.learning.houses import TrainingScenes
from policies.learning.networks import PolicyNetwork
from policies.learning.sensors import OwnSensors, goal_sensors
from policies.learning.settings import DaggerSettings
from policies.learning.teacher import Teacher, other_goals
from poma3d.errors import EpisodeError


@dataclass
class Collected:
    """What came of a collection."""

    steps: int = 0
    """Steps taken."""
    episodes: int = 0
    """Episodes finished."""
    agreement: float = 0.0
    """Share of the learner's choices that were the oracle's, on states it had not learned on."""
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("world", "encode", "act", "teach"), 0.0)
    )
    """Wall time of the parts."""


def generator(*key: int | str) -> np.random.Generator:
    """A random stream for this key, the same on every machine."""
    digest = hashlib.sha256(" ".join(map(str, ("pomagym train", *key))).encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8")))


@dataclass
class _Running:
    """The episode that a lane is at."""

    env: PointNavEnv
    observation: dict[str, np.ndarray]
    teacher: Teacher
    rng: np.random.Generator
    sensors: OwnSensors = field(default_factory=OwnSensors)
    features: list[np.ndarray] = field(default_factory=list)
    own: list[np.ndarray] = field(default_factory=list)
    goal: list[np.ndarray] = field(default_factory=list)
    advice: list[tuple[int, float]] = field(default_factory=list)
    poses: list[tuple[np.ndarray, float]] = field(default_factory=list)
    nearest: float = math.inf
    since: int = 0
    rescue: int = 0


class Collector:
    """Collects rounds of experience.

    Args:
        scenes: where.
        features: what the views are turned into.
        settings: how.
        seed: of everything random.
        acting: how the learner chooses.
    """

    def __init__(
        self,
        scenes: TrainingScenes,
        features: ViewFeatures,
        settings: DaggerSettings,
        seed: int,
        acting: Acting,
    ) -> None:
        self._scenes, self._features, self._settings = scenes, features, settings
        self._seed, self._acting = seed, acting

    def collect(
        self,
        number: int,
        steps: int,
        network: PolicyNetwork,
        experience: Experience,
        advance: Callable[[int], None] = lambda steps: None,
    ) -> Collected:
        """Take at least ``steps`` steps with round ``number``'s share of the oracle; add them to ``experience``.

        No episode begins once the running ones, at their present length, make up the steps; ``advance`` is told
        of steps as they are taken.
        """
        out = Collected()
        jobs = [self._lane(number, lane) for lane in range(self._settings.lanes)]
        running: list[_Running | None] = [None] * len(jobs)
        state = None
        if network.memory is not None:
            state = torch.zeros(1, len(jobs), network.settings.hidden)
        oracle_share = self._settings.oracle_decay**number
        agreed = 0
        try:
            while True:
                for lane in range(len(jobs)):
                    if running[lane] is None and out.steps < steps:
                        before = time.perf_counter()
                        running[lane] = next(jobs[lane])
                        out.seconds["world"] += time.perf_counter() - before
                        if state is not None:
                            state[:, lane] = 0.0
                active = [lane for lane, run in enumerate(running) if run is not None]
                if not active:
                    break
                runs = [run for run in running if run is not None]
                logits, after = self._see_and_think(runs, network, state, active, out)
                if state is not None and after is not None:
                    state[:, active] = after
                for lane, run, scores in zip(active, runs, logits, strict=True):
                    agreed += self._step(run, scores, oracle_share, out)
                    if run.env.over or len(run.advice) >= self._settings.max_steps:
                        before = time.perf_counter()
                        experience.append(self._recorded(run))
                        out.seconds["teach"] += time.perf_counter() - before
                        out.episodes += 1
                        running[lane] = None
                out.steps += len(active)
                advance(len(active))
        finally:
            for job in jobs:
                job.close()
        out.agreement = agreed / max(1, out.steps)
        return out

    def _lane(self, number: int, lane: int) -> Generator[_Running, None, None]:
        """The episodes of one lane, house after house, each simulator held as long as it is needed.

        Raises:
            EpisodeError: as many houses in a row as there are have no episode.
        """
        order = generator(self._seed, "houses", number).permutation(len(self._scenes.training))
        visit, barren = lane, 0
        while True:
            turn, place = divmod(visit, len(order))
            scene_id = self._scenes.training[order[place]]
            simulator = self._scenes.open(scene_id)
            try:
                for k in range(self._settings.episodes_per_visit):
                    visits = number * 1000 + turn
                    index = visits * self._settings.episodes_per_visit + k
                    try:
                        episode = self._scenes.episode(simulator, scene_id, index)
                    except EpisodeError:
                        barren += 1
                        if barren >= len(order) * self._settings.episodes_per_visit:
                            raise
                        continue
                    barren = 0
                    env = PointNavEnv(episodes=[episode], simulator=simulator, agent=self._scenes.body)
                    observation, _ = env.reset()
                    teacher = Teacher(env.surface, env.goal_positions[0], env.agent)
                    rng = generator(self._seed, "episode", number, scene_id, index)
                    yield _Running(env, observation, teacher, rng)
            finally:
                simulator.close()
            visit += self._settings.lanes

    def _see_and_think(
        self,
        runs: list[_Running],
        network: PolicyNetwork,
        state: torch.Tensor | None,
        active: list[int],
        out: Collected,
    ) -> tuple[np.ndarray, torch.Tensor | None]:
        """Features and sensors of every running episode, and the learner's logits (B, 4) with its next state."""
        before = time.perf_counter()
        rows = self._features.rows(
            np.stack([run.observation["point_map"] for run in runs]),
            np.stack([run.observation["valid"] for run in runs]),
        )
        encoded = time.perf_counter()
        out.seconds["encode"] += encoded - before
        for run, row in zip(runs, rows, strict=True):
            run.features.append(row)
            run.own.append(run.sensors.read(run.observation))
            run.goal.append(goal_sensors(run.observation["pointgoal_with_gps_compass"]))
        sensors = np.stack([np.concatenate([run.goal[-1], run.own[-1]]) for run in runs])
        with torch.inference_mode():
            logits, _, after = network(
                torch.from_numpy(rows)[:, None],
                torch.from_numpy(sensors)[:, None],
                None if state is None else state[:, active].contiguous(),
            )
        out.seconds["act"] += time.perf_counter() - encoded
        return logits[:, 0].numpy(), after

    def _step(self, run: _Running, logits: np.ndarray, oracle_share: float, out: Collected) -> bool:
        """Ask the oracle, decide who leads, act. Returns whether the learner's choice was the oracle's."""
        before = time.perf_counter()
        position, heading = run.env.position, run.env.heading
        right, turn = run.teacher.advise(position, heading)
        run.advice.append((right, turn))
        run.poses.append((position, heading))
        advised = time.perf_counter()
        out.seconds["teach"] += advised - before
        chosen = self._acting.choose(logits, run.sensors.last_action, run.rng)
        self._watch(run, oracle_share)
        leads = run.rescue > 0 or run.rng.random() < oracle_share
        action = right if leads else chosen
        if leads and right != Action.STOP and run.rng.random() < self._settings.noise:
            action = int(run.rng.integers(1, 4))
        if action == Action.STOP and right != Action.STOP:
            action = right  # a wrong STOP is noted by its label; what would come after it is worth seeing
        run.sensors.acted(action)
        run.observation = run.env.step(action)[0]
        out.seconds["world"] += time.perf_counter() - advised
        return chosen == right

    def _watch(self, run: _Running, oracle_share: float) -> None:
        """Let the oracle take over where the learner comes no nearer."""
        distance = run.env.measures.distance_to_goal
        run.since += 1
        run.rescue -= 1
        if distance < run.nearest - 0.1:
            run.nearest, run.since = distance, 0
        if run.since > self._settings.patience:
            run.rescue, run.since = self._settings.rescue, 0

    def _recorded(self, run: _Running) -> RecordedEpisode:
        """The finished episode, labelled for its own goal and for others."""
        goals, advice = [np.stack(run.goal)], [run.advice]
        places = [position for position, _ in run.poses]
        for goal in other_goals(run.env.surface, places, self._settings.extra_goals, run.rng):
            teacher = Teacher(run.env.surface, goal, run.env.agent)
            advice.append([teacher.advise(*pose) for pose in run.poses])
            goals.append(goal_sensors(np.stack([teacher.pointgoal(*pose) for pose in run.poses])))
        labels = np.array(advice).transpose(1, 0, 2)  # (G, T, 2) -> (T, G, 2)
        run.env.close()
        return RecordedEpisode(
            features=np.stack(run.features),
            own=np.stack(run.own),
            goals=np.stack(goals, 1),  # G of (T, 5) -> (T, G, 5)
            actions=labels[..., 0].astype(np.uint8),
            turns=labels[..., 1].astype(np.float32),
        )
