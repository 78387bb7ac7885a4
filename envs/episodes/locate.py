"""Where the scene of an episode lies: in a folder given, in ``scene_datasets``, or beside its file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from poma3d.errors import EpisodeError

PROCEDURAL_PREFIX = "procedural:"
_DATA_PREFIX = "data/scene_datasets/"
_ENDINGS = (".glb", ".gltf", ".obj", ".ply", ".json", ".gz")
_ENDINGS += (".basis", ".semantic", ".instance", ".stage_config", ".scene_instance")
"""What Habitat's data sets put behind the name of a scene."""


def scene_name(scene_id: str | os.PathLike[str]) -> str:
    """The scene's file name without folders and Habitat's endings, of which a name may have several
    (``X.basis.glb``); other dots belong to it (``house.v1.glb``). Procedural ids stay as they are.
    """
    text = os.fspath(scene_id).replace("\\", "/")
    if text.startswith(PROCEDURAL_PREFIX):
        return text
    name = text.rsplit("/", 1)[-1]
    while name.lower().endswith(_ENDINGS):
        name = name.rsplit(".", 1)[0]
    return name


def _names(scene_id: str) -> list[str]:
    """The scene's path as written and, where its textures are Basis-compressed (HM3D), without that."""
    names = [scene_id]
    if ".basis." in scene_id:
        names.append(scene_id.replace(".basis.", "."))
    return names


def _folders(scenes_dir: str | os.PathLike[str] | None, episode_file: Path | None) -> Iterator[Path]:
    if scenes_dir is not None:
        yield Path(scenes_dir)
        yield Path(scenes_dir) / "scene_datasets"
        return
    yield Path()
    yield Path("data/scene_datasets")
    yield Path("scene_datasets")
    if episode_file is not None:
        for folder in Path(episode_file).resolve().parents:
            yield folder
            yield folder / "scene_datasets"
            yield folder / "data/scene_datasets"


def locate_scene(
    scene_id: str,
    *,
    scenes_dir: str | os.PathLike[str] | None = None,
    episode_file: Path | None = None,
) -> str:
    """The path of a scene that an episode names; procedural ids stay as they are.

    With ``scenes_dir`` the scene is looked for there, as habitat-lab does (``data/scene_datasets/`` at the
    beginning of the id is cut off). Otherwise in the working folder, in ``data/scene_datasets`` and
    ``scene_datasets`` below it, and in the same places beside and above the episode file.

    Raises:
        EpisodeError: it is in none of these places, and the message lists them, or it is a folder.
    """
    if scene_id.startswith(PROCEDURAL_PREFIX):
        return scene_id
    short = scene_id.replace("\\", "/")
    short = short[len(_DATA_PREFIX) :] if short.startswith(_DATA_PREFIX) else short
    tried: list[str] = []
    found_folder: Path | None = None
    for folder in _folders(scenes_dir, episode_file):
        for name in _names(short):
            candidate = folder / name
            if candidate.is_file():
                return str(candidate)
            if candidate.is_dir():
                found_folder = candidate
            tried.append(str(candidate))
    if found_folder is not None:
        raise EpisodeError(
            f"the scene {scene_id!r} is a folder ({found_folder}), a mesh file was expected;"
            f" `pomagym scenes list {found_folder}` lists those in it"
        )
    shown = ", ".join(tried[:6]) + (f" and {len(tried) - 6} more places" if len(tried) > 6 else "")
    raise EpisodeError(
        f"the scene {scene_id!r} is absent; looked for {shown}."
        " Give the folder that holds the scenes (scenes_dir, --scenes-dir) or the scene itself"
        " (scene, --scene)"
    )
