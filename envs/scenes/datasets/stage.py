"""Which attributes and which files belong to a mesh file, resolved as habitat-sim resolves a stage.

After habitat-sim 0.3.4 (MIT): ``StageAttributesManager.cpp``, ``SceneDatasetAttributesManager.cpp`` and the
documentation page ``attributesJSON.rst``. The attributes of a stage are, the later the stronger: the
``stages.default_attributes`` of its data set, its ``NAME.stage_config.json``, and the entry of
``stages.configs`` that names it. Habitat is told the data set; here it is the nearest
``*.scene_dataset_config.json`` in the mesh's folder or at most two above it. ``origin`` is not applied, as
habitat-sim does not apply it to meshes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from envs.scenes.stage_config import DATASET_SUFFIX, STAGE_SUFFIX, read_config, read_json_object
from poma3d.errors import FileError, SettingError

NAME_TAG = "%%CONFIG_NAME_AS_ASSET_FILENAME%%"
"""Stands in default attributes for the name of the stage they are applied to."""
_FOLDERS_UP = 2  # HM3D keeps its configuration two folders above the meshes
_MOST_CONFIGS = 8
_ORIENTATION = ("up", "front", "units_to_meters", "scale")
_DESCRIPTORS = (".semantic.txt", ".house", ".scn", "_semantic.txt")
_SEMANTIC_MESHES = (".semantic.glb", "_semantic.ply", ".ids")


@dataclass(frozen=True)
class Stage:
    """A mesh file with what its data set says about it."""

    mesh: Path
    """The mesh that is seen."""
    attributes: Mapping[str, Any]
    """Habitat's stage attributes; empty where nothing says any."""
    origin: str | Path | None
    """Where the attributes stand, for messages; None where nothing says any."""
    navmesh: Path | None = None
    """Its ``.navmesh`` file, where there is one."""
    semantic_mesh: Path | None = None
    """A mesh (or list of ids) whose faces tell the objects, where there is one."""
    descriptor: Path | None = None
    """The file that says what the objects are, where there is one."""


def plain_name(path: str | os.PathLike[str]) -> str:
    """The file's name without its (at most two) extensions: Habitat's simplified handle."""
    return PurePath(PurePath(path).stem).stem


def stage_of(mesh: Path, stage_config: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Stage:
    """Resolve a mesh file.

    Args:
        mesh: the mesh file.
        stage_config: attributes, or a file of them, to use instead of those found.

    Raises:
        FileError: a configuration cannot be read, or two of one folder contradict each other.
        SettingError: ``stage_config`` is neither a path nor a mapping.
    """
    if stage_config is None:
        attributes, origin = config_for(mesh)
    elif isinstance(stage_config, Mapping):
        attributes, origin = dict(stage_config), "stage_config"
    elif isinstance(stage_config, str | os.PathLike):
        origin = Path(stage_config)
        if origin.name.endswith(DATASET_SUFFIX):
            attributes = stage_attributes(origin, mesh) or {}
        else:
            defaults, _ = _from_data_set(mesh, strict=False)
            attributes = {**(defaults or {}), **read_config(origin)}
    else:
        raise SettingError(f"stage_config must be a path or a mapping of attributes, found {stage_config!r}")
    beside = mesh.parent if origin is None or isinstance(origin, str) else origin.parent
    named = {
        key: _asset(attributes.get(key), mesh, beside)
        for key in ("nav_asset", "semantic_asset", "semantic_descriptor_filename")
    }
    return Stage(
        mesh,
        attributes,
        origin,
        navmesh=named["nav_asset"] or _first(mesh, (".navmesh",)),
        semantic_mesh=named["semantic_asset"] or _first(mesh, _SEMANTIC_MESHES),
        descriptor=named["semantic_descriptor_filename"]
        or _first(mesh, _DESCRIPTORS)
        or _existing(mesh.with_name("info_semantic.json")),
    )


def config_for(mesh: Path) -> tuple[dict[str, Any], Path | None]:
    """The attributes that apply to a mesh file, and where they stand; empty and None where nothing says any.

    Raises:
        FileError: a configuration cannot be read, or two of one folder contradict each other.
    """
    own, own_place = _beside(mesh)
    defaults, place = _from_data_set(mesh, strict=own is None)
    if own is None and defaults is None:
        return {}, None
    return {**(defaults or {}), **(own or {})}, own_place or place


def _beside(mesh: Path) -> tuple[dict[str, Any] | None, Path | None]:
    """The stage configuration in the mesh's folder that is about the mesh."""
    named = mesh.with_name(plain_name(mesh) + STAGE_SUFFIX)
    candidates = [mesh.with_name(mesh.stem + STAGE_SUFFIX), named]
    others = sorted(mesh.parent.glob(f"*{STAGE_SUFFIX}"))
    if len(others) <= _MOST_CONFIGS:
        candidates += others
    for place in dict.fromkeys(candidates):
        if not place.is_file():
            continue
        config = read_config(place)
        asset = config.get("render_asset")
        if (not asset and place in candidates[:2]) or (
            asset and (mesh.parent / str(asset)).resolve() == mesh.resolve()
        ):
            return config, place
    return None, None


def _from_data_set(mesh: Path, *, strict: bool) -> tuple[dict[str, Any] | None, Path | None]:
    """What the nearest data set says about a mesh; ``strict`` refuses two that contradict each other."""
    folder = mesh.resolve().parent
    for _ in range(_FOLDERS_UP + 1):
        found: dict[Path, dict[str, Any]] = {}
        for place in sorted(folder.glob(f"*{DATASET_SUFFIX}")):
            said = stage_attributes(place, mesh)
            if said is not None:
                found[place] = said
        if found:
            places = list(found)
            frames = [{k: v for k, v in found[p].items() if k in _ORIENTATION} for p in places]
            for other, frame in zip(places[1:], frames[1:], strict=True):
                if strict and frame != frames[0]:
                    raise FileError(
                        other,
                        f"says otherwise than {places[0].name} about {mesh.name}; name one as stage_config",
                    )
            best = max(places, key=lambda place: len(found[place]))  # HM3D's annotated one says more
            return found[best], best
        folder = folder.parent
    return None, None


def stage_attributes(place: Path, mesh: Path) -> dict[str, Any] | None:
    """What a data set's configuration says about a mesh; None where that is nothing.

    Raises:
        FileError: it cannot be read, or its parts are of other types than documented.
    """
    stages = read_json_object(place).get("stages", {})
    said = stages.get("default_attributes") if isinstance(stages, dict) else None
    configs = stages.get("configs", []) if isinstance(stages, dict) else []
    if not isinstance(stages, dict) or not isinstance(said, dict | None) or not isinstance(configs, list):
        raise FileError(place, "'stages' was expected to hold 'default_attributes', 'paths' and 'configs'")
    for config in configs:
        if not isinstance(config, dict) or not isinstance(config.get("attributes"), dict):
            raise FileError(place, "each of 'stages.configs' was expected to be an object with 'attributes'")
        names = {plain_name(str(config[k])) for k in ("original_file", "template_handle") if k in config}
        asset = config["attributes"].get("render_asset")
        if plain_name(mesh) in names or (asset and (place.parent / str(asset)).resolve() == mesh.resolve()):
            said = {**(said or {}), **config["attributes"]}
    return said


def _asset(value: Any, mesh: Path, folder: Path) -> Path | None:
    """The file that an attribute names: as written, beside the configuration, or beside the mesh."""
    if not isinstance(value, str) or not value:
        return None
    name = value.replace(NAME_TAG, plain_name(mesh))
    for candidate in (mesh.parent / name, folder / name, Path(name)):
        if candidate.is_file():
            return candidate
    if name.endswith(".navmesh"):  # HM3D's are called NAME.basis.navmesh
        return _first(mesh, (".navmesh",))
    return None


def _first(mesh: Path, endings: tuple[str, ...]) -> Path | None:
    """The first file beside a mesh that has its name and one of these endings."""
    for stem in dict.fromkeys((mesh.stem, plain_name(mesh), f"{plain_name(mesh)}.basis")):
        for ending in endings:
            found = _existing(mesh.with_name(stem + ending))
            if found is not None and found != mesh:
                return found
    return None


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
