"""Which scene is drawn when: a pure function of the seed and the number of the draw, so that a position is a number.

Draw d of an endless sequence needs no memory of the draws before it. Equal mass means that every source is drawn
equally often however many scenes it has; within a source every scene comes once before any comes again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from poma3d.errors import SettingError
from poma3d.scenepoint.settings import MIXES


class Draw(NamedTuple):
    """One scene to draw, and the seed of everything that is random about it."""

    index: int
    """Which scene of the data set."""
    seed: tuple[int, ...]
    """Seed of its views, captions and augmentation."""


class DrawOrder:
    """The endless sequence of draws.

    Args:
        sources: the source of every scene of the data set.
        seed: 0 or above.
        mix: ``equal``: all sources the same share of the draws; ``proportional``: as many draws as scenes.

    Raises:
        SettingError: no scenes, a negative seed or an unknown mix.
    """

    def __init__(self, sources: Sequence[str], *, seed: int = 0, mix: str = "equal") -> None:
        if not sources:
            raise SettingError("there are no scenes to draw from")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise SettingError(f"seed must be a whole number of at least 0, found {seed!r}")
        if mix not in MIXES:
            raise SettingError(f"mix must be one of {', '.join(MIXES)}, found {mix!r}")
        self.seed, self.mix = seed, mix
        names = np.asarray(sources if mix == "equal" else [""] * len(sources))
        self._scenes = [np.flatnonzero(names == name) for name in sorted(set(names.tolist()))]
        self._shuffled = lru_cache(maxsize=64)(self._shuffle)

    def draw(self, number: int) -> Draw:
        """Draw ``number``, from 0."""
        block, place = divmod(number, len(self._scenes))
        source = int(self._shuffled(0, block, len(self._scenes))[place])
        scenes = self._scenes[source]
        epoch, rank = divmod(block, len(scenes))
        index = scenes[self._shuffled(1 + source, epoch, len(scenes))[rank]]
        return Draw(int(index), (self.seed, number))

    def _shuffle(self, what: int, turn: int, count: int) -> np.ndarray:
        return np.random.default_rng((self.seed, what, turn)).permutation(count)


def fingerprint(names: Sequence[tuple[str, str]]) -> str:
    """sha256 (hex) of the (source, scan) of every scene in order: whether a position still means the same."""
    return hashlib.sha256("\n".join("\t".join(name) for name in names).encode()).hexdigest()
