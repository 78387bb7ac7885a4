"""What a head is asked and what it should answer: one sample of any of the data sets, and the agent's pose in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from envs.msnn import MsnnSample, direction_label
from poma3d.errors import SettingError

DIRECTIONS = {"four": 4, "eight": 8}
"""Outputs of a head for directions, and their classes; class k lies k turns to the left of forward."""


@dataclass(frozen=True)
class Sample:
    """One question about one scene."""

    sample_id: str
    """Unique among the samples of its scene."""
    scan_id: str
    """The scene."""
    situation: str = ""
    """Where the agent is, in words."""
    interaction: str = ""
    """What it wants to do, in words."""
    question: str = ""
    """What it asks."""
    location: tuple[float, float, float] | None = None
    """Where it stands, metres in the scene's frame (z up); None where the data set does not say."""
    yaw: float = 0.0
    """Where it looks, radians about z from the scene's x axis."""
    angle: float | None = None
    """The true direction of the next step, degrees from its look direction, left positive."""
    answers: tuple[str, ...] = ()
    """Right answers of a question with words for answers."""

    @classmethod
    def of_msnn(cls, sample: MsnnSample) -> Sample:
        """The same sample, as heads take it."""
        return cls(
            sample_id=sample.sample_id,
            scan_id=sample.scan_id,
            situation=sample.situation_text,
            interaction=sample.interaction,
            question=sample.question,
            location=sample.location,
            yaw=sample.yaw,
            angle=sample.angle,
        )

    def text(self, fields: Sequence[str]) -> str:
        """Those of situation, interaction and question that ``fields`` names, joined."""
        return " ".join(part for part in (getattr(self, name).strip() for name in fields) if part) or "?"


@dataclass(frozen=True)
class Answers:
    """What a head may answer: its outputs by name, each with its classes."""

    classes: Mapping[str, tuple[str, ...]]
    """By output."""

    @classmethod
    def directions(cls) -> Answers:
        """Directions in four and in eight."""
        return cls({name: tuple(str(k) for k in range(count)) for name, count in DIRECTIONS.items()})

    @classmethod
    def words(cls, answers: Iterable[str]) -> Answers:
        """One output, ``answer``, over the given words, each once, in the order given."""
        return cls({"answer": tuple(dict.fromkeys(answers))})

    @property
    def are_directions(self) -> bool:
        """Whether the answers are directions."""
        return set(self.classes) == set(DIRECTIONS)

    def targets(self, samples: Sequence[Sample], turns: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """For each output (N, classes) float32, 1 at every right class; all 0 where no class is right.

        Args:
            samples: N of them.
            turns: (N,) radians by which each agent was turned to the left; directions turn with it.

        Raises:
            SettingError: a sample without a direction where directions are the answers.
        """
        if self.are_directions:
            turned = np.zeros(len(samples)) if turns is None else np.degrees(turns)
            angles = []
            for sample, turn in zip(samples, turned, strict=True):
                if sample.angle is None:
                    raise SettingError(
                        f"sample {sample.sample_id} of {sample.scan_id} has no angle to learn from"
                    )
                angles.append(sample.angle - turn)
            return {
                name: np.eye(count, dtype=np.float32)[[direction_label(angle, count) for angle in angles]]
                for name, count in DIRECTIONS.items()
            }
        (name,) = self.classes
        place = {word: k for k, word in enumerate(self.classes[name])}
        targets = np.zeros((len(samples), len(place)), np.float32)
        for row, sample in enumerate(samples):
            targets[row, [place[word] for word in sample.answers if word in place]] = 1.0
        return {name: targets}


def held_out(scans: Iterable[str], share: float, seed: int) -> set[str]:
    """A share of the scenes, at least one where any is asked for; the order of ``scans`` is no matter.

    Raises:
        SettingError: one scene alone, which cannot be split.
    """
    names = sorted(set(scans))
    if share <= 0:
        return set()
    if len(names) < 2:
        raise SettingError(
            "one training scene alone cannot be split; set validation to 0 or give more scenes"
        )
    count = min(max(1, round(share * len(names))), len(names) - 1)
    order = np.random.default_rng([seed, 0x5E1EC7]).permutation(len(names))
    return {names[k] for k in order[:count]}
