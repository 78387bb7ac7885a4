"""Reading and writing episode files exactly in the layouts of habitat-lab's PointNav-v1 and ObjectNav-v1.

A data set is gzip JSON. Either ``{split}/{split}.json.gz`` holds all ``episodes``, or a folder ``content/``
beside it holds one file a scene (``content/{scene}.json.gz``; the main file may name another pattern in
``content_scenes_path``). ObjectNav files also hold ``category_to_task_category_id``,
``category_to_scene_annotation_category_id`` (older: ``category_to_mp3d_category_id``) and
``goals_by_category``, the goals of all episodes of a scene and category once; without it the goals stand in
the episodes. Layouts follow ``habitat/datasets/pointnav/pointnav_dataset.py`` and
``object_nav/object_nav_dataset.py``.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envs.episodes.episode import (
    Episode,
    Goal,
    episode_from_json,
    episode_to_json,
    goal_from_json,
    goal_to_json,
)
from envs.episodes.keys import EpisodeKey, SceneFilter, episode_keys, of_chosen_scenes, refuse_repeated_ids
from envs.episodes.locate import scene_name
from envs.episodes.tasks import refuse_other_tasks
from poma3d.errors import EpisodeError, FileError, SettingError
from poma3d.files import keep_other, write_bytes

CONTENT_PATTERN = "{data_path}/content/{scene}.json.gz"
_MAPPING_NAMES = ("category_to_scene_annotation_category_id", "category_to_mp3d_category_id")
_TASK_IDS = "category_to_task_category_id"
_LOADED_FILES = 4


@dataclass(frozen=True)
class Categories:
    """The two tables of an ObjectNav data set; both have the same keys."""

    task_ids: dict[str, int]
    """What the ``objectgoal`` sensor reads, by category name."""
    annotation_ids: dict[str, int]
    """Ids of the scenes' annotation, by category name."""
    annotation_name: str = _MAPPING_NAMES[0]
    """The name of that table in the file."""

    def __post_init__(self) -> None:
        if set(self.task_ids) != set(self.annotation_ids):
            odd = sorted(set(self.task_ids) ^ set(self.annotation_ids))
            raise EpisodeError(
                f"{_TASK_IDS} and {self.annotation_name} must have the same categories; only one has {odd}"
            )


@dataclass(frozen=True)
class EpisodeFile:
    """What one episode file holds."""

    episodes: tuple[Episode, ...]
    """In the order of the file."""
    categories: Categories | None = None
    """Tables of an ObjectNav file, None for PointNav."""
    shared_goals: bool = True
    """Whether an ObjectNav file keeps its goals in ``goals_by_category``, not in the episodes."""
    unused_goals: dict[str, tuple[Goal, ...]] = field(default_factory=dict)
    """Entries of ``goals_by_category`` that no episode of the file uses."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Other fields of the file, kept on a round trip."""


def decode(data: bytes, path: str | os.PathLike[str] = "episodes") -> EpisodeFile:
    """Read the bytes of an episode file; ``path`` names it in error messages.

    Raises:
        FileError: no gzip, no JSON, a missing field or one of the wrong shape; the message says in which
            episode.
    """
    if not data:
        raise FileError(path, "is empty; episode files are JSON packed by gzip")
    try:
        text = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        found = str(error) if data[:2] == b"\x1f\x8b" else f"it begins with {data[:8]!r}"
        raise FileError(
            path, f"is not a whole gzip file ({found}); episode files are JSON packed by gzip"
        ) from None
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileError(path, f"holds no JSON inside its gzip ({error})") from None
    try:
        return _from_json(content)
    except EpisodeError as error:
        raise FileError(path, str(error)) from None


def encode(file: EpisodeFile) -> bytes:
    """The bytes of an episode file; the same content gives the same bytes."""
    text = json.dumps(_to_json(file), separators=(",", ":"))
    return gzip.compress(text.encode(), mtime=0)


def _table(content: Mapping[str, Any], name: str) -> dict[str, int]:
    table = content.get(name)
    if not isinstance(table, dict) or not all(
        isinstance(value, int) and not isinstance(value, bool) for value in table.values()
    ):
        raise EpisodeError(f"{name!r} must map category names to whole numbers")
    return dict(table)


def _from_json(content: Any) -> EpisodeFile:
    if not isinstance(content, dict) or not isinstance(content.get("episodes"), list):
        found = ", ".join(sorted(content)) if isinstance(content, dict) else type(content).__name__
        raise EpisodeError(f"the list 'episodes' is missing; found {found or 'an empty object'}")
    refuse_other_tasks(content)
    known = {"episodes", "goals_by_category", _TASK_IDS, *_MAPPING_NAMES}
    extra = {name: value for name, value in content.items() if name not in known}
    categories = None
    if _TASK_IDS in content:
        names = [name for name in _MAPPING_NAMES if name in content]
        if not names:
            raise EpisodeError(f"an ObjectNav file needs {_MAPPING_NAMES[0]!r} beside {_TASK_IDS!r}")
        categories = Categories(_table(content, _TASK_IDS), _table(content, names[-1]), names[-1])
    shared: dict[str, tuple[Goal, ...]] = {}
    listed = content.get("goals_by_category")
    if listed is not None:
        if not isinstance(listed, dict) or not all(isinstance(goals, list) for goals in listed.values()):
            raise EpisodeError("'goals_by_category' must map scene and category to lists of goals")
        for key, goals in listed.items():
            shared[key] = tuple(
                goal_from_json(goal, f"goals_by_category[{key!r}], goal {index}")
                for index, goal in enumerate(goals)
            )
    used: set[str] = set()
    episodes = []
    for index, data in enumerate(content["episodes"]):
        episodes.append(_episode(data, f"episode {index}", listed is not None, shared, used))
    unused = {key: goals for key, goals in shared.items() if key not in used}
    return EpisodeFile(tuple(episodes), categories, listed is not None, unused, extra)


def _episode(
    data: Any, where: str, has_shared: bool, shared: Mapping[str, tuple[Goal, ...]], used: set[str]
) -> Episode:
    """One episode; where its goals are shared they are looked up and noted in ``used``."""
    if not has_shared or not isinstance(data, Mapping):
        episode = episode_from_json(data, where)
        if has_shared or episode.object_category is not None or not episode.goals:
            return episode
        category = episode.goals[0].object_category
        return (
            episode if category is None else episode_from_json({**data, "object_category": category}, where)
        )
    episode = episode_from_json(data, where, ())
    if episode.goals_key not in shared:
        raise EpisodeError(
            f"{where} (id {episode.episode_id!r}): 'goals_by_category' has no entry {episode.goals_key!r}"
            f" (scene file name and object_category); it has {', '.join(sorted(shared)[:8]) or 'none'}"
        )
    used.add(episode.goals_key)
    return episode_from_json(data, where, shared[episode.goals_key])


def _to_json(file: EpisodeFile) -> dict[str, Any]:
    if file.categories is None:
        return {"episodes": [episode_to_json(episode) for episode in file.episodes], **file.extra}
    tables = {
        _TASK_IDS: file.categories.task_ids,
        file.categories.annotation_name: file.categories.annotation_ids,
    }
    if not file.shared_goals:
        return {"episodes": [episode_to_json(episode) for episode in file.episodes], **tables, **file.extra}
    goals: dict[str, tuple[Goal, ...]] = dict(file.unused_goals)
    for episode in file.episodes:
        known = goals.setdefault(episode.goals_key, episode.goals)
        if known is not episode.goals and known != episode.goals:
            raise EpisodeError(
                f"episode {episode.episode_id!r}: its goals differ from those of another episode with the key"
                f" {episode.goals_key!r}; ObjectNav episodes of one scene and category share their goals"
            )
    return {
        "goals_by_category": {key: [goal_to_json(goal) for goal in value] for key, value in goals.items()},
        "episodes": [episode_to_json(episode, with_goals=False) for episode in file.episodes],
        **tables,
        **file.extra,
    }


def read_file(path: str | os.PathLike[str]) -> EpisodeFile:
    """Read one episode file, without any ``content`` folder beside it.

    Raises:
        FileError: it is missing or damaged.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileError(path, "is not there; an episode file (.json.gz) was expected") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from None
    return decode(data, path)


class EpisodeDataset:
    """The episodes of a data set, in one or more parts; parts on disk are only read when they are needed.

    Iterating gives every episode in order. Big data sets have a part for each scene; of those a few are kept
    in memory.

    Args:
        parts: episode files on disk, or tuples of episodes.
        path: the main file, for messages and to find scenes beside it.
        categories: tables of an ObjectNav data set.
        unique_ids: refuse files in which two episodes of a scene have the same id, each when it is read.
        choose: from the scene ids of a file to those whose episodes are kept, asked when it is read.
    """

    def __init__(
        self,
        parts: Sequence[Path | Sequence[Episode]],
        *,
        path: Path | None = None,
        categories: Categories | None = None,
        unique_ids: bool = False,
        choose: SceneFilter | None = None,
    ) -> None:
        self._unique_ids = unique_ids
        self._choose = choose
        self._parts = list(parts)
        self._loaded: OrderedDict[int, Sequence[Episode]] = OrderedDict()
        self.path = path
        self._categories = categories

    @classmethod
    def of(cls, episodes: Sequence[Episode], categories: Categories | None = None) -> EpisodeDataset:
        """A data set of episodes in memory (or of any sequence that makes them when asked)."""
        return cls([episodes], categories=categories)

    @property
    def part_count(self) -> int:
        """How many parts there are."""
        return len(self._parts)

    def part(self, index: int) -> Sequence[Episode]:
        """The episodes of one part, read now if they are on disk.

        Raises:
            FileError: its file is damaged, an id is repeated where none may be, or no episode of it is kept.
        """
        part = self._parts[index]
        if not isinstance(part, Path):
            return part
        if index not in self._loaded:
            file = read_file(part)
            if self._unique_ids:
                refuse_repeated_ids(file.episodes, part)
            self._categories = self._categories or file.categories
            self._loaded[index] = of_chosen_scenes(file.episodes, self._choose, part)
            while len(self._loaded) > _LOADED_FILES:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(index)
        return self._loaded[index]

    @property
    def first_in_memory(self) -> Episode | None:
        """The first episode, if it is there without reading or generating anything."""
        part = self._parts[0] if self._parts else None
        return part[0] if isinstance(part, tuple | list) and part else None

    @property
    def known_categories(self) -> Categories | None:
        """Tables of an ObjectNav data set as far as they are read."""
        return self._categories

    @property
    def categories(self) -> Categories | None:
        """Tables of an ObjectNav data set; None for PointNav. May read the first part."""
        if self._categories is None and self._parts and isinstance(self._parts[0], Path):
            self.part(0)
        return self._categories

    def __iter__(self) -> Iterator[Episode]:
        """Every episode, part by part."""
        for index in range(self.part_count):
            yield from self.part(index)

    def __len__(self) -> int:
        """How many episodes there are; reads every part."""
        return sum(len(self.part(index)) for index in range(self.part_count))

    def keys(self) -> Iterator[EpisodeKey]:
        """The key of every episode, part by part, without generating any."""
        for index in range(self.part_count):
            yield from episode_keys(self.part(index))

    def find(self, episode_id: str, scene_id: str | None = None) -> tuple[int, int]:
        """Where an episode is, as (part, index in the part).

        Args:
            episode_id: its id.
            scene_id: its scene, for data sets that use an id once a scene.

        Raises:
            EpisodeError: there is none of that id.
        """
        for part in self._likely_parts(scene_id):
            for index, (scene, episode) in enumerate(episode_keys(self.part(part))):
                if episode == episode_id and scene_id in (None, scene):
                    return part, index
        where = f" in scene {scene_id!r}" if scene_id is not None else ""
        source = self.path or "the data set"
        raise EpisodeError(f"there is no episode with id {episode_id!r}{where} in {source}")

    def of_scenes(self, names: Collection[str], choose: SceneFilter | None = None) -> EpisodeDataset:
        """The episodes whose scenes have one of these names (`envs.episodes.locate.scene_name`).

        Args:
            names: of the scenes.
            choose: from the scene ids of the episodes to those that are kept; by default all of these names.

        Raises:
            EpisodeError: there is none.
        """
        parts: list[Path | Sequence[Episode]]
        parts = [part for part in self._parts if isinstance(part, Path) and scene_name(part) in names]
        if not parts:
            ids = {scene_id: None for scene_id, _ in self.keys() if scene_name(scene_id) in names}
            kept = ids.keys() if choose is None else choose(ids.keys())
            whole = map(self.part, range(self.part_count))
            parts = [part for one in whole if (part := [e for e in one if e.scene_id in kept])]
        if not parts:
            scenes = sorted({scene_name(scene_id) for scene_id, _ in self.keys()})
            raise EpisodeError(
                f"no episode of {self.path or 'the data set'} is in the scene {', '.join(sorted(names))};"
                f" its scenes are {', '.join(scenes[:8])}{', ...' if len(scenes) > 8 else ''}"
            )
        known = {"categories": self._categories, "unique_ids": self._unique_ids}
        return EpisodeDataset(parts, path=self.path, **known, choose=choose)

    def _likely_parts(self, scene_id: str | None) -> list[int]:
        """All parts, those first that are loaded or named like the scene."""
        name = None if scene_id is None else scene_name(scene_id)

        def unlikely(index: int) -> bool:
            part = self._parts[index]
            return isinstance(part, Path) and scene_name(part) != name

        return sorted(range(self.part_count), key=unlikely)


def read_episodes(path: str | os.PathLike[str], *, unique_ids: bool = False) -> EpisodeDataset:
    """Open an episode data set: a ``.json.gz`` file, with its ``content`` folder where there is one.

    Args:
        path: the main file, or the folder of a split that holds it (``{split}/{split}.json.gz``).
        unique_ids: refuse files in which two episodes of a scene have the same id, as a run needs; those of a
            ``content`` folder are read, and refused, when they are needed.

    Raises:
        FileError: the file is missing or damaged, holds no episode, or those of another task.
    """
    path = Path(path)
    if path.is_dir():
        path = path / f"{path.resolve().name}.json.gz"
    main = read_file(path)
    pattern = main.extra.get("content_scenes_path", CONTENT_PATTERN)
    if not isinstance(pattern, str) or "{scene}" not in pattern:
        raise FileError(path, f"'content_scenes_path' must contain '{{scene}}', found {pattern!r}")
    before, after = pattern.replace("{data_path}", str(path.parent)).split("{scene}", 1)
    folder = Path(before)
    contents = sorted(folder.glob(f"*{after}")) if folder.is_dir() and folder != path.parent else []
    if contents:
        return EpisodeDataset(contents, path=path, categories=main.categories, unique_ids=unique_ids)
    if not main.episodes:
        raise FileError(path, f"holds no episodes, and there are none in {folder}")
    if unique_ids:
        refuse_repeated_ids(main.episodes, path)
    return EpisodeDataset([main.episodes], path=path, categories=main.categories)


def write_episodes(
    path: str | os.PathLike[str],
    episodes: Sequence[Episode],
    *,
    categories: Categories | None = None,
    by_scene: bool = False,
    overwrite: bool = True,
) -> list[Path]:
    """Write a data set that habitat-lab loads.

    Args:
        path: the main file, ``{split}/{split}.json.gz`` by Habitat's habit.
        episodes: PointNav or, with ``categories``, ObjectNav episodes.
        categories: tables of an ObjectNav data set.
        by_scene: write one file a scene into ``content/`` beside ``path``, which then holds no episode
            itself.
        overwrite: replace files that hold anything else; otherwise nothing is written where there is one.

    Returns:
        The files written.

    Raises:
        SettingError: no episodes, two scenes of one file name with ``by_scene``, or a file that is kept.
        FileError: a file cannot be written.
    """
    path = Path(path)
    if not len(episodes):
        raise SettingError(f"there are no episodes to write to {path}")
    files = {path: tuple(episodes)} if not by_scene else _by_scene(path, episodes)
    packed = {file: encode(EpisodeFile(listed, categories)) for file, listed in files.items()}
    for file, data in () if overwrite else packed.items():
        keep_other(file, data)
    for file in reversed(packed):  # the main file, which names the others, comes last
        write_bytes(file, packed[file])
    return list(packed)


def _by_scene(path: Path, episodes: Sequence[Episode]) -> dict[Path, tuple[Episode, ...]]:
    """The main file, without episodes, and one file a scene in ``content/`` beside it."""
    scenes: dict[str, list[Episode]] = {}
    for episode in episodes:
        scenes.setdefault(episode.scene_id, []).append(episode)
    files: dict[Path, tuple[Episode, ...]] = {path: ()}
    for scene_id, listed in scenes.items():
        name = scene_name(scene_id).replace(":", "_")
        target = path.parent / "content" / f"{name}.json.gz"
        if target in files:
            raise SettingError(
                f"two scenes are called {name!r}; they cannot share {target}: write one file instead"
            )
        files[target] = tuple(listed)
    return files
