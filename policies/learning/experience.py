"""Experience on disk: feature rows in float16, mapped into memory, with what the oracle says about each.

Rows of all episodes follow one another in flat files, so that appending is a write and reading a slice. A run
that was cut off truncates them to what its checkpoint knows, and the rest is collected again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policies.learning.sensors import GOAL_SENSORS, OWN_SENSORS
from poma3d.errors import FileError


@dataclass(frozen=True)
class RecordedEpisode:
    """One episode of T steps, labelled for G goals; the first is its own."""

    features: np.ndarray
    """(T, F) float16."""
    own: np.ndarray
    """(T, 11) float32 (`policies.learning.sensors.OwnSensors`)."""
    goals: np.ndarray
    """(T, G, 5) float32 (`policies.learning.sensors.goal_sensors`)."""
    actions: np.ndarray
    """(T, G) uint8: what the oracle would do."""
    turns: np.ndarray
    """(T, G) float32: by how much it would turn before its next step, radians, positive to the left."""


class Experience:
    """All episodes so far.

    Args:
        folder: where the files lie.
        width: numbers of a feature row, F.
        goals: goals that each step is labelled for, G.
        lengths: of the episodes that count; rows behind them are taken away.
    """

    def __init__(self, folder: Path, width: int, goals: int, lengths: list[int]) -> None:
        self.folder, self.width, self.goals = folder, width, goals
        self.lengths = list(lengths)
        self._shapes: dict[str, tuple[type, tuple[int, ...]]] = {
            "features": (np.float16, (width,)),
            "own": (np.float32, (OWN_SENSORS,)),
            "goals": (np.float32, (goals, GOAL_SENSORS)),
            "actions": (np.uint8, (goals,)),
            "turns": (np.float32, (goals,)),
        }
        self._maps: dict[str, np.ndarray] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in self._shapes:
                path = self._path(name)
                path.touch()
                if path.stat().st_size < self.rows * self._row_bytes(name):
                    raise FileError(path, "is shorter than the checkpoint says; start in another --out")
                os.truncate(path, self.rows * self._row_bytes(name))
        except OSError as error:
            raise FileError(folder, f"cannot be used for experience ({error.strerror})") from error

    @property
    def rows(self) -> int:
        """Steps of all episodes together."""
        return sum(self.lengths)

    def append(self, episode: RecordedEpisode) -> None:
        """Add an episode.

        Raises:
            FileError: the disk is full; the files stay longer than the checkpoint says, which the next run mends.
        """
        for name in self._shapes:
            rows = np.ascontiguousarray(getattr(episode, name), dtype=self._shapes[name][0])
            try:
                with open(self._path(name), "ab") as stream:
                    stream.write(rows.tobytes())
            except OSError as error:
                raise FileError(self._path(name), f"cannot be written ({error.strerror})") from error
        self.lengths.append(len(episode.actions))
        self._maps.clear()

    def slice(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows from ``start`` to ``stop`` of one of the fields of `RecordedEpisode`, mapped, not copied."""
        dtype, shape = self._shapes[name]
        if 0 in shape or not self.rows:
            return np.zeros((stop - start, *shape), dtype)
        if name not in self._maps:
            self._maps[name] = np.memmap(self._path(name), dtype, "r", shape=(self.rows, *shape))
        return self._maps[name][start:stop]

    def starts(self) -> np.ndarray:
        """First row of each episode (N,)."""
        return np.cumsum([0, *self.lengths[:-1]])

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.bin"

    def _row_bytes(self, name: str) -> int:
        dtype, shape = self._shapes[name]
        return int(np.dtype(dtype).itemsize * np.prod(shape))
