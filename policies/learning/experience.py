"""Experience on disk: feature rows in float16, mapped into memory, with what the oracle says about each.

Rows of all episodes follow one another in flat files, so that appending is a write and reading a slice. A run
that was cut off truncates them to what its checkpoint knows, and the rest is collected again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
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

    Raises:
        FileError: the folder cannot be used, or its files are shorter than ``lengths`` say.
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
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name in self._shapes:
                path = self._path(name)
                path.touch()
                if path.stat().st_size < self._bytes(name):
                    raise FileError(path, "is shorter than the checkpoint says; start in another --out")
                os.truncate(path, self._bytes(name))

    @property
    def rows(self) -> int:
        """Steps of all episodes together."""
        return sum(self.lengths)

    def append(self, episode: RecordedEpisode) -> None:
        """Add an episode.

        Raises:
            FileError: the disk is full (the files stay longer than the checkpoint says, which the next run mends),
                or something else writes to the files.
        """
        self._refuse_strange_files()
        for name in self._shapes:
            rows = np.ascontiguousarray(getattr(episode, name), dtype=self._shapes[name][0])
            with _told(self._path(name)), open(self._path(name), "ab") as stream:
                stream.write(rows.tobytes())
        self.lengths.append(len(episode.actions))
        self._maps.clear()

    def secure(self) -> None:
        """See that all rows are on the disk, so that a checkpoint may count on them even after a power cut.

        Raises:
            FileError: they are not: the disk is full, or something else writes to the files.
        """
        self._refuse_strange_files()
        for name in self._shapes:
            with _told(self._path(name)), open(self._path(name), "ab") as stream:
                os.fsync(stream.fileno())

    def slice(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows from ``start`` to ``stop`` of one of the fields of `RecordedEpisode`, mapped, not copied.

        Raises:
            FileError: something else writes to the files.
        """
        dtype, shape = self._shapes[name]
        if 0 in shape or not self.rows:
            return np.zeros((stop - start, *shape), dtype)
        if name not in self._maps:
            self._refuse_strange_files()
            self._maps[name] = np.memmap(self._path(name), dtype, "r", shape=(self.rows, *shape))
        return self._maps[name][start:stop]

    def starts(self) -> np.ndarray:
        """First row of each episode (N,)."""
        return np.cumsum([0, *self.lengths[:-1]])

    def _refuse_strange_files(self) -> None:
        """Stop where the files are not as this run left them.

        A folder that was removed and used again while its run was still alive would get the rows of both.
        """
        for name in self._shapes:
            path = self._path(name)
            with _told(path):
                found = path.stat().st_size
            if found != self._bytes(name):
                raise FileError(
                    path,
                    f"has {found} bytes where this run left {self._bytes(name)}: another run writes to this folder."
                    " End all but one, or start in another --out",
                )

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.bin"

    def _bytes(self, name: str) -> int:
        dtype, shape = self._shapes[name]
        return self.rows * int(np.dtype(dtype).itemsize * np.prod(shape))


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn the system's errors about ``path`` into ours."""
    try:
        yield
    except OSError as error:
        raise FileError(path, f"cannot be used for experience ({error.strerror})") from error
