"""Which episodes run in the scenes that a person names: by path, else by file name where that is no guess."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from envs.episodes.locate import PROCEDURAL_PREFIX, locate_scene, scene_name
from envs.scenes.scene import Scene
from envs.simulators.open import SceneSpec
from poma3d.errors import EpisodeError, SceneWarning, SettingError


def scene_id_of(spec: SceneSpec) -> str:
    """What generated episodes call a scene."""
    return spec.scene_id if isinstance(spec, Scene) else os.fspath(spec)


class GivenScenes:
    """The scenes that a person gave, and which of them the scene ids of episodes mean.

    Episode files name scenes by paths below some folder, and people give the same scenes by other paths, or a copy of
    them from elsewhere. So a given path means the scene ids that are the same path or share its last folders; one
    that is like none means the only scene id of its file name. In layouts of a folder a scan, where all meshes have
    one name, that would be a guess, and is refused.

    Args:
        specs: mesh files, scenes or procedural ids.
        scenes_dir: where relative paths are looked for.

    Raises:
        SettingError: two different scenes in memory have the same id.
    """

    def __init__(self, specs: Sequence[SceneSpec], scenes_dir: str | os.PathLike[str] | None = None) -> None:
        self._scenes_dir = scenes_dir
        self._specs: dict[str, SceneSpec] = {}
        self._meant: dict[str, str] = {}
        for spec in specs:
            known = self._specs.setdefault(scene_id_of(spec), spec)
            if isinstance(known, Scene) and isinstance(spec, Scene) and not _equal(known, spec):
                raise SettingError(
                    f"two different scenes given are called {spec.scene_id!r}; give one another scene_id"
                )

    @property
    def ids(self) -> list[str]:
        """What generated episodes call the scenes, each once."""
        return list(self._specs)

    @property
    def names(self) -> set[str]:
        """The file names of the scenes, without folders and endings."""
        return {scene_name(given) for given in self._specs}

    def open_by_id(self, scene_id: str) -> SceneSpec:
        """The scene of a generated episode.

        Raises:
            EpisodeError: it is none of those given, or its file is absent.
        """
        if scene_id not in self._specs:
            raise EpisodeError(f"the scene {scene_id!r} is none of those given: {', '.join(self._specs)}")
        return self._located(scene_id)

    def of_recorded(self, scene_id: str) -> SceneSpec:
        """The scene of a recorded episode, whose scene id `meant` found before.

        Raises:
            EpisodeError: it is none of those given, or its file is absent.
        """
        if scene_id not in self._meant:
            raise EpisodeError(f"the scene {scene_id!r} is none of those given: {', '.join(self._specs)}")
        return self._located(self._meant[scene_id])

    def meant(self, scene_ids: Iterable[str], source: str | os.PathLike[str]) -> dict[str, str]:
        """The scene ids that mean a given scene, each with the id of that scene.

        Args:
            scene_ids: all that the episodes name.
            source: the episode file, for messages.

        Raises:
            SettingError: a given scene could be any of several of the episodes', or several given ones one of them.
        """
        named: dict[str, list[str]] = {}
        for scene_id in dict.fromkeys(scene_ids):
            named.setdefault(scene_name(scene_id), []).append(scene_id)
        meant: dict[str, str] = {}
        for name in sorted(self.names & named.keys()):
            given = [own for own in self._specs if scene_name(own) == name]
            by_path = {own: _alike(own, named[name]) for own in given}
            for own, alike in by_path.items():
                meant.update(dict.fromkeys(alike, own))
            unknown = [own for own in given if not by_path[own]]
            left = [scene_id for scene_id in named[name] if scene_id not in meant]
            if not unknown or not left:  # other scenes of that name are not asked for, or have no episodes
                continue
            if len(given) > 1:
                raise SettingError(
                    f"scenes given are called {name!r}: {' and '.join(given)}; {source} names {_some(left)},"
                    " which could be any of them: give the paths that it names, one scene alone, or rename one"
                )
            if len(left) > 1:
                raise SettingError(
                    f"{source} has episodes of {len(left)} scenes called {name!r}: {_some(left)}; the scene"
                    f" given, {given[0]}, is by its path none of them or several: give the path that the"
                    " episodes name (scene, --scene), or none to run them all"
                )
            meant[left[0]] = given[0]
        self._meant.update(meant)
        return meant

    def warn_of_replaced(self, meant: dict[str, str], episode_file: Path | None) -> None:
        """Tell of given scenes that stand, by their names alone, in the place of others that are there.

        Args:
            meant: what `meant` found.
            episode_file: what the episodes were read from; scenes are looked for beside it.

        Warns:
            SceneWarning: which scene runs in the place of which file.
        """
        for scene_id, own in meant.items():
            if isinstance(self._specs[own], Scene) or _alike(own, [scene_id]):
                continue
            try:
                theirs = locate_scene(scene_id, scenes_dir=self._scenes_dir, episode_file=episode_file)
                other = not os.path.samefile(theirs, str(self._located(own)))
            except (EpisodeError, OSError):  # a scene that is absent is told when it is opened
                continue
            if other:
                warnings.warn(
                    f"the episodes of {scene_id} run in {own}, chosen by its file name alone; the scene that"
                    f" they name is there too, {theirs}",
                    SceneWarning,
                    stacklevel=4,
                )

    def _located(self, own: str) -> SceneSpec:
        spec = self._specs[own]
        return spec if isinstance(spec, Scene) else locate_scene(own, scenes_dir=self._scenes_dir)


def _equal(first: Scene, second: Scene) -> bool:
    return first is second or first.content_hash == second.content_hash


def _alike(given: str, scene_ids: Sequence[str]) -> list[str]:
    """The scene ids that a given path means: those that are the same path, else the one of the same last folders."""
    if given.startswith(PROCEDURAL_PREFIX):
        return [scene_id for scene_id in scene_ids if scene_id == given]
    place = _absolute(given)
    same = [scene_id for scene_id in scene_ids if _absolute(scene_id) == place]
    if same:
        return same
    tails = [
        scene_id
        for scene_id in scene_ids
        if _share_folders(given, scene_id) or _share_folders(place, scene_id)
    ]
    return tails if len(tails) == 1 else []


def _absolute(path: str) -> str:
    return os.path.abspath(path.replace("\\", "/"))


def _share_folders(first: str, second: str) -> bool:
    """Whether one of two paths ends in all of the other, which names a folder at least."""
    parts = []
    for path in (first, second):
        folders = os.path.normpath(path.replace("\\", "/")).split("/")[:-1]
        parts.append([*(folder for folder in folders if folder not in ("", "..")), scene_name(path)])
    length = min(map(len, parts))
    return length > 1 and parts[0][-length:] == parts[1][-length:]


def _some(scene_ids: Sequence[str]) -> str:
    return ", ".join(scene_ids[:6]) + (", ..." if len(scene_ids) > 6 else "")
