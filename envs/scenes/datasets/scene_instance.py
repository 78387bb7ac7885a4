"""Scenes that are put together from a stage and objects: ``NAME.scene_instance.json`` (HSSD, ReplicaCAD).

After habitat-sim 0.3.4 (MIT): ``SceneInstanceAttributesManager.cpp``, ``RigidObject.cpp``
(``resetStateFromSceneInstanceAttr``) and ``attributesJSON.rst``. An object stands where its instance says,
turned by its ``rotation`` (w, x, y, z) and scaled; with ``translation_origin`` ``asset_local`` its file's
origin is put there, else its centre of mass, which is the middle of its box unless its template says
``COM``. Articulated objects (URDF) are left out.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.scenes.datasets.annotations import NO_CATEGORY
from envs.scenes.datasets.stage import plain_name
from envs.scenes.scene import NO_INSTANCE, Instance, Room, Scene
from envs.scenes.stage_config import DATASET_SUFFIX, STAGE_SUFFIX, read_json_object
from poma3d.errors import FileError

_OBJECT_SUFFIX = ".object_config.json"
_MESHES = (".glb", ".gltf", ".ply", ".obj")
_LOCAL = "asset_local"


@dataclass(frozen=True)
class DataSet:
    """The folder of a data set of composed scenes."""

    folder: Path
    config: Mapping[str, Any]

    def template(self, kind: str, name: str, suffix: str) -> Path:
        """The file of a stage or an object that scenes call ``name``.

        Args:
            kind: ``stages`` or ``objects``.
            name: its path below the folder without suffix, or its plain name.
            suffix: how its configuration ends.

        Raises:
            FileError: there is none; the message says where it was looked for.
        """
        short = name.replace("\\", "/").removesuffix(suffix)
        for ending in (suffix, *_MESHES):
            direct = self.folder / (short + ending)
            if direct.is_file():
                return direct
        found = self._index(kind, suffix).get(short.rsplit("/", 1)[-1])
        if found is None:
            raise FileError(
                self.folder,
                f"has no {kind[:-1]} {name!r}: neither {short}{suffix} nor another of that name below {kind}/",
            )
        return found

    def _index(self, kind: str, suffix: str) -> dict[str, Path]:
        """Files of templates by their plain names."""
        key = f"_{kind}"
        if key not in self.__dict__:
            files = {path.name.removesuffix(suffix): path for path in self._templates(kind, suffix)}
            object.__setattr__(self, key, files)
        return self.__dict__[key]

    def _templates(self, kind: str, suffix: str) -> Iterator[Path]:
        section = self.config.get(kind, {})
        paths = section.get("paths", {}) if isinstance(section, Mapping) else {}
        patterns = [
            str(pattern)
            for extension, listed in (paths.items() if isinstance(paths, Mapping) else ())
            if extension == ".json" and isinstance(listed, list)
            for pattern in listed
        ]
        for pattern in patterns or [f"{kind}/**"]:
            pattern = pattern.rstrip("/")
            own = pattern if pattern.endswith(".json") else f"{pattern}/*{suffix}"
            yield from sorted(self.folder.glob(own))

    def defaults(self, kind: str) -> dict[str, Any]:
        """The default attributes of stages, objects or scene instances."""
        section = self.config.get(kind, {})
        said = section.get("default_attributes", {}) if isinstance(section, Mapping) else {}
        return dict(said) if isinstance(said, Mapping) else {}


def data_set_of(path: Path) -> DataSet:
    """The data set that a scene belongs to: the nearest folder, at most two above it, with a configuration.

    Without any it is the folder above the scene's.
    """
    folder = path.resolve().parent
    for _ in range(3):
        configs = sorted(folder.glob(f"*{DATASET_SUFFIX}"))
        if configs:
            return DataSet(folder, read_json_object(configs[0]))
        folder = folder.parent
    return DataSet(path.resolve().parent.parent, {})


def load_scene_instance(path: Path, *, scene_id: str | None = None, semantics: bool = True) -> Scene:
    """Put a scene together.

    Args:
        path: ``NAME.scene_instance.json``.
        scene_id: what episodes call the scene; by default the path as given.
        semantics: False leaves out what the objects and rooms are.

    Raises:
        FileError: it or a file that it names is missing or damaged.
        SceneError: there is no triangle in it.
    """
    from envs.scenes.mesh import load_scene

    content = read_json_object(path)
    data_set = data_set_of(path)
    placed = content.get("stage_instance")
    if not isinstance(placed, dict) or not isinstance(placed.get("template_name"), str):
        raise FileError(path, "'stage_instance' with a 'template_name' was expected")
    stage_file = data_set.template("stages", placed["template_name"], STAGE_SUFFIX)
    stage = load_scene(stage_file, semantics=False)
    offset = _placement(path, placed, "stage_instance")
    vertices = [_moved(stage.vertices, offset)]
    triangles = [stage.triangles]
    ids = [np.full(len(stage.triangles), NO_INSTANCE, np.int32)]
    instances: list[Instance] = []
    first = len(stage.vertices)
    kinds = _Kinds(data_set) if semantics else None
    rooms = _rooms(data_set, path, content) if semantics else ()
    local = {**data_set.defaults("scene_instances"), **content}.get("translation_origin") == _LOCAL
    listed = content.get("object_instances", [])
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise FileError(path, "'object_instances' was expected to be a list of objects")
    templates: dict[Path, tuple[np.ndarray, np.ndarray, Mapping[str, Any]]] = {}
    for number, entry in enumerate(listed):
        where = f"object_instances[{number}]"
        name = entry.get("template_name")
        if not isinstance(name, str):
            raise FileError(path, f"{where}: 'template_name' was expected")
        file = data_set.template("objects", name, _OBJECT_SUFFIX)
        if file not in templates:
            templates[file] = _object(file, data_set)
        points, faces, config = templates[file]
        transform = _placement(path, entry, where)
        if not (entry.get("translation_origin") == _LOCAL or (local and "translation_origin" not in entry)):
            transform = transform @ _shift(-_centre(file, config, points))
        if np.linalg.det(transform[:3, :3]) < 0:
            faces = faces[:, ::-1]  # a mirror turns every triangle over
        vertices.append(_moved(points, transform))
        triangles.append((faces + first).astype(np.int32))
        first += len(points)
        kind = None if kinds is None else kinds.of(plain_name(name), config)
        ids.append(np.full(len(faces), NO_INSTANCE if kind is None else len(instances), np.int32))
        if kind is not None:
            middle = vertices[-1].mean(axis=0)
            instances.append(Instance(f"{kind}_{number}", kind, _room_at(rooms, middle)))
    articulated = content.get("articulated_object_instances") or []
    return Scene(
        scene_id or os.fspath(path),
        np.concatenate(vertices),
        np.concatenate(triangles),
        np.concatenate(ids),
        tuple(instances),
        rooms,
        {"source": os.fspath(path), "articulated_objects_left_out": len(articulated)},
    )


def files_of_instance(path: Path) -> Iterator[Path]:
    """The files that decide what `load_scene_instance` makes of a scene, itself first, in a fixed order.

    Of stages and objects their configurations and meshes; what lies beside a mesh is not listed.

    Raises:
        FileError: a file that it names is missing.
    """
    content = read_json_object(path)
    data_set = data_set_of(path)
    yield path
    yield from sorted(data_set.folder.glob(f"*{DATASET_SUFFIX}"))
    kinds = {"stages": STAGE_SUFFIX, "objects": _OBJECT_SUFFIX}
    objects = content.get("object_instances")
    placed = [("stages", content.get("stage_instance"))]
    placed += [("objects", entry) for entry in (objects if isinstance(objects, list) else ())]
    names = dict.fromkeys(
        (kind, str(entry.get("template_name"))) for kind, entry in placed if isinstance(entry, dict)
    )
    for kind, name in names:
        template = data_set.template(kind, name, kinds[kind])
        yield template
        if template.name.endswith(kinds[kind]):
            yield template.parent / str(read_json_object(template).get("render_asset"))
    semantics = data_set.folder / "semantics"
    yield from sorted(semantics.glob("*semantic_lexicon.json"))
    yield from (file for file in (semantics / "objects.csv",) if file.is_file())
    name = plain_name(str(content.get("semantic_scene_instance") or plain_name(path)))
    yield from sorted(semantics.glob(f"**/{name}.semantic_config.json"))[:1]


def _object(file: Path, data_set: DataSet) -> tuple[np.ndarray, np.ndarray, Mapping[str, Any]]:
    """Vertices (N, 3) and triangles (M, 3) of an object in its own frame, and its attributes."""
    from envs.scenes.mesh import load_scene

    config = data_set.defaults("objects")
    mesh = file
    if file.name.endswith(_OBJECT_SUFFIX):
        config |= read_json_object(file)
        asset = config.get("render_asset")
        if not isinstance(asset, str) or not asset:
            raise FileError(file, "names no mesh file; 'render_asset' was expected to")
        mesh = file.parent / asset
    loaded = load_scene(mesh, stage_config=config, semantics=False)
    return loaded.vertices, loaded.triangles, config


def _centre(file: Path, config: Mapping[str, Any], points: np.ndarray) -> np.ndarray:
    """The centre of mass (3,) of an object: as told, else the middle of its box."""
    told = config.get("COM")
    if told is None:
        return (points.min(axis=0) + points.max(axis=0)) / 2.0
    return _numbers(file, told, 3, "'COM'")


def _placement(path: Path, entry: Mapping[str, Any], where: str) -> np.ndarray:
    """From an instance's own frame to the world (4, 4)."""
    translation = _numbers(path, entry.get("translation", [0, 0, 0]), 3, f"{where}: 'translation'")
    quaternion = _numbers(path, entry.get("rotation", [1, 0, 0, 0]), 4, f"{where}: 'rotation'")
    scale = _numbers(path, entry.get("non_uniform_scale", [1, 1, 1]), 3, f"{where}: 'non_uniform_scale'")
    uniform = entry.get("uniform_scale", 1.0)
    length = np.linalg.norm(quaternion)
    if not length > 1e-6 or isinstance(uniform, bool) or not isinstance(uniform, int | float):
        raise FileError(path, f"{where}: its rotation or its scale is none")
    w, x, y, z = quaternion / length
    transform = np.eye(4)
    transform[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    transform[:3, :3] *= scale * uniform
    transform[:3, 3] = translation
    return transform


def _numbers(path: Path, value: Any, count: int, what: str) -> np.ndarray:
    try:
        numbers = np.array(value, np.float64)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise FileError(path, f"{what}: {count} finite numbers were expected, found {value!r:.80}")
    return numbers


def _shift(by: np.ndarray) -> np.ndarray:
    transform = np.eye(4)
    transform[:3, 3] = by
    return transform


def _moved(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    return (points @ transform[:3, :3].T + transform[:3, 3]).astype(np.float32)


class _Kinds:
    """What the objects of a data set are: by ``semantic_id`` and its lexicon, or by a table of templates."""

    def __init__(self, data_set: DataSet) -> None:
        folder = data_set.folder / "semantics"
        self._names: dict[int, str] = {}
        for lexicon in sorted(folder.glob("*semantic_lexicon.json")):
            for entry in read_json_object(lexicon).get("classes", ()):
                if isinstance(entry, dict) and isinstance(entry.get("id"), int) and "name" in entry:
                    self._names[entry["id"]] = str(entry["name"])
        self._of_template: dict[str, str] = {}
        table = folder / "objects.csv"
        if table.is_file():
            with table.open(encoding="utf-8", newline="") as stream:
                for row in csv.DictReader(stream):
                    kind = row.get("main_category") or row.get("super_category") or ""
                    self._of_template[row.get("id") or ""] = kind

    def of(self, template: str, config: Mapping[str, Any]) -> str | None:
        """The category of an object, lower case; None where nothing says it."""
        told = self._names.get(config.get("semantic_id", -1), "")
        kind = (told or self._of_template.get(template, "")).strip().lower().replace("_", " ")
        return None if kind in NO_CATEGORY else kind


def _rooms(data_set: DataSet, path: Path, content: Mapping[str, Any]) -> tuple[Room, ...]:
    """The rooms that the scene's semantic configuration outlines (``region_annotations``)."""
    name = content.get("semantic_scene_instance") or plain_name(path)
    folder = data_set.folder / "semantics"
    file = next(iter(sorted(folder.glob(f"**/{plain_name(str(name))}.semantic_config.json"))), None)
    if file is None:
        return ()
    rooms: list[Room] = []
    for number, region in enumerate(read_json_object(file).get("region_annotations", ())):
        if not isinstance(region, dict) or not isinstance(region.get("poly_loop"), list):
            raise FileError(file, f"region_annotations[{number}]: a 'poly_loop' was expected")
        corners = [_numbers(file, p, 3, f"region_annotations[{number}]") for p in region["poly_loop"]]
        if len(corners) < 3:
            continue
        outline = np.array(corners)[:, [0, 2]]
        x, z = outline.T
        if np.dot(x, np.roll(z, -1)) > np.dot(z, np.roll(x, -1)):
            outline = outline[::-1]  # counter-clockwise seen from above
        kind = str(region.get("label") or region.get("name") or "room").lower()
        floor = float(_numbers(file, [region.get("floor_height", 0.0)], 1, "'floor_height'")[0])
        rooms.append(Room(f"{region.get('name') or kind}_{number}", kind, outline, floor))
    return tuple(rooms)


def _room_at(rooms: tuple[Room, ...], point: np.ndarray) -> str | None:
    """The room whose outline holds a point (3,): the one whose floor is the nearest below it."""
    best, height = None, -np.inf
    for room in rooms:
        x, z = room.outline.T
        x2, z2 = np.roll(x, -1), np.roll(z, -1)
        crossed = (z > point[2]) != (z2 > point[2])
        with np.errstate(divide="ignore", invalid="ignore"):
            right = point[0] < x + (point[2] - z) / (z2 - z) * (x2 - x)
        if (crossed & right).sum() % 2 and height < room.floor_height <= point[1] + 0.5:
            best, height = room.name, room.floor_height
    return best
