"""Random choices that come out the same on every machine and with every NumPy."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """A stream of random choices named by words, such as ``Dice("1.0", "train", 7, "bedroom.00")``.

    Only the raw 64-bit words of Philox are used, because NumPy guarantees those and not the methods of `Generator`, and
    only additions and multiplications that every processor rounds alike.
    """

    def __init__(self, *words: str | int) -> None:
        self._words = words
        digest = hashlib.sha256("/".join(str(word) for word in words).encode()).digest()
        self._bits = np.random.Philox(key=int.from_bytes(digest[:16], "little"))

    def fork(self, *words: str | int) -> Dice:
        """A stream of its own, so that drawing more here changes nothing there."""
        return Dice(*self._words, *words)

    def random(self) -> float:
        """Uniform in [0, 1)."""
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def array(self, count: int) -> np.ndarray:
        """Uniform in [0, 1): (count,) float64."""
        return (self._bits.random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """Uniform in [low, high), rounded to a millimetre."""
        return round(low + (high - low) * self.random(), 3)

    def length(self, low: float, high: float, step: float = 0.05) -> float:
        """Uniform over the multiples of ``step`` between low and high, both included."""
        first, last = round(low / step), round(high / step)
        return round(self.integer(first, last) * step, 4)

    def integer(self, low: int, high: int) -> int:
        """Uniform over low, ..., high, both included."""
        return low + int(self.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def choice(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One of the options, by weight where given."""
        if weights is None:
            return options[self.integer(0, len(options) - 1)]
        left = self.random() * math.fsum(weights)  # not sum, which Python 3.12 rounds otherwise
        for option, weight in zip(options, weights, strict=True):
            left -= weight
            if left < 0:
                return option
        return options[-1]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """All of the options in random order."""
        order = np.argsort(self.array(len(options)), kind="stable")
        return [options[i] for i in order]
