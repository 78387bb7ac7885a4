"""Episodes that are generated: all at once, or each when it is first asked for."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from envs.episodes.episode import Episode
from envs.setting_types import whole_number
from poma3d.errors import SettingError

_COUNT = "the number of episodes"


def generate(
    count: int, make: Callable[[int], Episode], progress: Callable[[int], None] | None = None
) -> list[Episode]:
    """Make the episodes 0 to ``count`` - 1; ``progress`` is told how many are done.

    Raises:
        SettingError: a count below 1.
    """
    count = whole_number(_COUNT, count, least=1)
    episodes = []
    for index in range(count):
        episodes.append(make(index))
        if progress is not None:
            progress(index + 1)
    return episodes


class GeneratedEpisodes(Sequence[Episode]):
    """Episodes made when they are first asked for, the scenes taking turns; ids are their numbers.

    Args:
        count: how many.
        scene_ids: what the episodes call the scenes.
        make: from (scene id, index among the episodes of that scene) to an episode.

    Raises:
        SettingError: a count below 1.
    """

    def __init__(self, count: int, scene_ids: Sequence[str], make: Callable[[str, int], Episode]) -> None:
        self._count = whole_number(_COUNT, count, least=1)
        self._scene_ids = list(scene_ids)
        self._make = make
        self._made: dict[int, Episode] = {}

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def __getitem__(self, index):  # type: ignore[override]
        """The episode of that index, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        index = operator.index(index)
        if not -self._count <= index < self._count:
            raise IndexError(f"there are {self._count} episodes, not {index + 1}")
        index %= self._count
        if index not in self._made:
            episode = self._make(self._scene_id(index), index // len(self._scene_ids))
            self._made[index] = replace(episode, episode_id=str(index))
        return self._made[index]

    def keys(self) -> Iterator[tuple[str, str]]:
        """The (scene id, episode id) of every episode, without making any."""
        return ((self._scene_id(index), str(index)) for index in range(self._count))

    def _scene_id(self, index: int) -> str:
        return self._scene_ids[index % len(self._scene_ids)]


def episode_generator(seed: int, index: int) -> np.random.Generator:
    """The random stream of one episode: another for every seed and index.

    Raises:
        SettingError: a seed that is no whole number of at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SettingError(f"seed must be a whole number of at least 0, found {seed!r}")
    return np.random.default_rng((int(seed), index))
