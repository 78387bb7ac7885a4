"""What watches an episode: told of its beginning, every step and its end; it never changes what happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Observer(Protocol):
    """Watches one episode after another, such as a recorder of video.

    A rollout calls ``begin`` after the environment's reset, ``step`` after every step and ``end`` after the
    last one, and so on for the next episode; whoever made the observer calls ``close`` once, also after an
    interruption. What an observer writes is whole or absent.
    """

    def begin(self, env: Any, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        """An episode begins: ``env`` is the unwrapped environment, just reset."""
        ...

    def step(
        self, action: int, observation: Mapping[str, np.ndarray], reward: float, info: Mapping[str, Any]
    ) -> None:
        """The environment took ``action`` and answered."""
        ...

    def end(self, measures: Mapping[str, Any]) -> None:
        """The episode is over; ``measures`` are its final ones (``success``, ``spl``, ...)."""
        ...

    def close(self) -> None:
        """Write what is to be written, an unfinished episode as far as it came. May be called twice."""
        ...
