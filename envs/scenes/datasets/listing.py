"""The scenes in a folder: mesh files and composed scenes, without the meshes that only belong to one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envs.scenes.datasets.navmesh import navmesh_of
from envs.scenes.datasets.stage import stage_of
from envs.scenes.mesh import EXTENSIONS, SCENE_INSTANCE_SUFFIX
from envs.scenes.semantics import SUFFIX
from envs.scenes.stage_config import DATASET_SUFFIX
from poma3d.errors import FileError

_KINDS = {
    "hm3d": "HM3D",
    "mp3d": "Matterport3D",
    "matterport3d": "Matterport3D",
    "gibson": "Gibson",
    "replica": "Replica",
    "hssd": "HSSD",
    "replica_cad": "ReplicaCAD",
    "habitat-test-scenes": "Habitat test scenes",
}


@dataclass(frozen=True)
class SceneFile:
    """A scene that can be loaded."""

    path: Path
    """Its file."""
    scene_id: str
    """What episodes call it, where the folder is their ``scene_datasets``: its path below it."""
    data_set: str | None
    """The published data set that its folders are named after."""
    navmesh: Path | None
    """Habitat's navmesh of it, where there is one."""
    semantics: bool
    """Whether something beside it tells what its objects are."""


def find_scenes(folder: Path) -> list[SceneFile]:
    """The scenes below a folder, sorted by path.

    Left out are semantic copies of scans, Replica's mesh without objects where the one with them is there, and
    the stages and objects of data sets that have composed scenes.
    """
    composed = sorted(folder.rglob(f"*{SCENE_INSTANCE_SUFFIX}"))
    homes = {_home(path) for path in composed}
    parts = {home / name for home in homes for name in ("stages", "objects", "urdf", "configs")}
    found = list(composed)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in EXTENSIONS or not path.is_file():
            continue
        if _is_copy(path) or any(home in parts for home in path.parents):
            continue
        found.append(path)
    return [_describe(path, folder) for path in sorted(found)]


def _home(path: Path) -> Path:
    """The folder of the data set that a composed scene belongs to."""
    for folder in list(path.parents)[:3]:
        if any(folder.glob(f"*{DATASET_SUFFIX}")):
            return folder
    return path.parent.parent


def _is_copy(path: Path) -> bool:
    name = path.name
    if ".semantic." in name or (name.endswith("_semantic.ply") and name != "mesh_semantic.ply"):
        return True
    return name == "mesh.ply" and (path.parent / "habitat" / "mesh_semantic.ply").is_file()


def _describe(path: Path, folder: Path) -> SceneFile:
    scene_id = path.relative_to(folder).as_posix()
    words = [part.lower() for part in (*folder.resolve().parts[-2:], *path.relative_to(folder).parts[:-1])]
    kinds = [kind for start, kind in _KINDS.items() for word in words if _named(word, start)]
    try:
        navmesh, semantics = navmesh_of(path), _has_semantics(path)
    except FileError:  # its configuration is damaged, which is told when the scene is loaded
        navmesh, semantics = None, False
    return SceneFile(path, scene_id, kinds[-1] if kinds else None, navmesh, semantics)


def _has_semantics(path: Path) -> bool:
    if path.name.endswith(SCENE_INSTANCE_SUFFIX):
        return (_home(path) / "semantics").is_dir()
    if path.with_name(path.stem + SUFFIX).is_file():
        return True
    stage = stage_of(path)
    labelled = stage.semantic_mesh is not None or path.name == "mesh_semantic.ply"
    return stage.descriptor is not None and labelled


def _named(folder: str, start: str) -> bool:
    """Whether a folder is called so, with or without a version or a suffix behind it."""
    rest = folder.removeprefix(start)
    return folder.startswith(start) and (not rest or (rest[0] in "_-. " and not rest.startswith("_cad")))
