"""In which order an environment runs its episodes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from envs.episodes.dataset import EpisodeDataset
from envs.episodes.episode import Episode
from envs.episodes.keys import episode_keys
from envs.setting_types import check_flag

Place = tuple[int, int]
"""Part of the data set, index in the part."""


class EpisodeSchedule:
    """Goes through a data set again and again.

    With ``shuffle`` each round has an order that depends on the seed and the round alone; episodes of a scene
    stay together, as in Habitat's iterator, since a change of scene is dear. Until a seed is given it is 0.
    Without ``shuffle`` in the order of the data set, whatever the seed. Each round has every episode once.

    Args:
        dataset: the episodes.
        shuffle: whether the seed orders them.

    Raises:
        SettingError: ``shuffle`` is neither True nor False.
    """

    def __init__(self, dataset: EpisodeDataset, *, shuffle: bool = True) -> None:
        check_flag("shuffle", shuffle)
        self.dataset = dataset
        self.shuffle = shuffle
        self._seed = 0
        self._round = 0
        self._upcoming = self._order()

    def restart(self, seed: int) -> None:
        """Go back to the beginning of the order of that seed."""
        self._seed, self._round = seed, 0
        self._upcoming = self._order()

    def jump(self, episode_id: str, scene_id: str | None = None) -> None:
        """Make that episode the next one; the order goes on behind it (shuffled: where it was).

        Raises:
            EpisodeError: there is no such episode.
        """
        target = self.dataset.find(episode_id, scene_id)
        self._upcoming = itertools.chain([target], self._upcoming) if self.shuffle else self._in_order(target)

    def next(self) -> Episode:
        """The next episode; after the last one the next round begins."""
        place = next(self._upcoming, None)
        if place is None:
            self._round += 1
            self._upcoming = self._order()
            place = next(self._upcoming)
        part, index = place
        return self.dataset.part(part)[index]

    def _order(self) -> Iterator[Place]:
        """The places of this round."""
        if not self.shuffle:
            return self._in_order((0, 0))
        return self._shuffled(np.random.default_rng((self._seed, self._round)))

    def _in_order(self, first: Place) -> Iterator[Place]:
        for part in range(first[0], self.dataset.part_count):
            for index in range(first[1] if part == first[0] else 0, len(self.dataset.part(part))):
                yield part, index

    def _shuffled(self, rng: np.random.Generator) -> Iterator[Place]:
        for part in rng.permutation(self.dataset.part_count).tolist():
            groups = _by_scene(self.dataset.part(part))
            for group in rng.permutation(len(groups)):
                for index in rng.permutation(groups[group]).tolist():
                    yield part, index


def _by_scene(episodes: Sequence[Episode]) -> list[list[int]]:
    """Indices of the episodes of each scene, scenes in order of appearance."""
    groups: dict[str, list[int]] = {}
    for index, (scene_id, _) in enumerate(episode_keys(episodes)):
        groups.setdefault(scene_id, []).append(index)
    return list(groups.values())
