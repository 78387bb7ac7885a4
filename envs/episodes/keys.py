"""What tells episodes apart, the scene and the id; and those of some of the scenes."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence

from envs.episodes.episode import Episode
from envs.episodes.locate import scene_name
from poma3d.errors import FileError

EpisodeKey = tuple[str, str]
"""Scene id and episode id."""
SceneFilter = Callable[[Collection[str]], Collection[str]]
"""From scene ids to those of them whose episodes are kept."""


def episode_keys(episodes: Sequence[Episode]) -> Iterator[EpisodeKey]:
    """The (scene id, episode id) of every episode; episodes to be generated tell it without being made."""
    keys: Callable[[], Iterator[EpisodeKey]] | None = getattr(episodes, "keys", None)
    if keys is not None:
        return keys()
    return ((episode.scene_id, episode.episode_id) for episode in episodes)


def of_chosen_scenes(
    episodes: Sequence[Episode], choose: SceneFilter | None, path: str | os.PathLike[str]
) -> Sequence[Episode]:
    """The episodes of a file that is called like a scene, less those of other scenes; all of them without a choice.

    Raises:
        FileError: none is left.
    """
    if choose is None:
        return episodes
    ids = dict.fromkeys(episode.scene_id for episode in episodes)
    kept = choose(ids.keys())
    if not kept:
        names = sorted({scene_name(scene_id) for scene_id in ids})
        raise FileError(
            path, f"holds no episode of the scene {scene_name(path)}; its scenes are {', '.join(names[:8])}"
        )
    return tuple(episode for episode in episodes if episode.scene_id in kept)


def refuse_repeated_ids(episodes: Sequence[Episode], path: str | os.PathLike[str]) -> None:
    """Refuse a file in which an id does not name one episode of a scene.

    Raises:
        FileError: two episodes of a scene have the same id; the message says which.
    """
    first: dict[EpisodeKey, int] = {}
    for index, key in enumerate(episode_keys(episodes)):
        earlier = first.setdefault(key, index)
        if earlier != index:
            raise FileError(
                path,
                f"episode {earlier} and episode {index} (counted from 0) of the scene {key[0]!r} have the same"
                f" id {key[1]!r}: give each its own, since results are told apart by them;"
                " `pomagym episodes check` lists all that are repeated",
            )
