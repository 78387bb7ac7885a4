"""Between our terms and habitat-sim's, without habitat-sim: what it is given, and what is made of its answers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.embodiment import NavmeshSettings
from envs.scenes.datasets.annotations import instance
from envs.scenes.datasets.stage import stage_of
from envs.scenes.mesh import EXTENSIONS, SCENE_INSTANCE_SUFFIX, axes_of
from envs.scenes.scene import NO_INSTANCE, Instance
from envs.scenes.stage_config import DATASET_SUFFIX, STAGE_SUFFIX, read_config
from poma3d.errors import FileError
from poma3d.files import write_text
from poma3d.pointmap import Camera, depth_to_points, matrix_to_quaternion, transform_points

DEFAULT_DATASET = "default"
"""What habitat-sim calls having no data set."""
_ASSETS = ("render_asset", "collision_asset", "nav_asset", "semantic_asset", "semantic_descriptor_filename")
_SEMANTIC_MESHES = (".glb", ".ply")
_BODY_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
_FOLDERS_UP = 4
_NAVMESH_NAMES = {
    "max_climb": "agent_max_climb",
    "max_slope": "agent_max_slope",
}


@dataclass(frozen=True)
class HabitatScene:
    """What habitat-sim is told about a scene."""

    scene_id: str
    """Of ``SimulatorConfiguration``: a stage configuration or a scene instance."""
    dataset: str
    """``scene_dataset_config_file`` of ``SimulatorConfiguration``."""
    navmesh: Path | None
    """The ``.navmesh`` file that belongs to the scene, where there is one."""
    textures: bool
    """Whether objects are told by textures, which habitat-sim only loads where a colour camera is."""
    file_bytes: int
    """Size of the mesh file."""


def describe_scene(path: str | os.PathLike[str], folder: Path) -> HabitatScene:
    """Describe a scene to habitat-sim so that its world is the one `envs.scenes.mesh.load_scene` makes.

    habitat-sim takes a bare ``.glb`` as z-up without a word (``StageAttributesManager.cpp``,
    ``setDefaultAssetNameBasedAttributes``), and looks for a data set only where it is told to. A mesh
    therefore always gets a stage configuration of its own, written to ``folder``: what its data set and the
    configuration beside it say, with axes and files named outright.

    Args:
        path: a mesh file, a ``.stage_config.json`` or a ``.scene_instance.json``.
        folder: where the configuration is written; it must outlive the simulator.

    Raises:
        FileError: a file is missing, damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(path, "there is no such file")
    if path.name.endswith(SCENE_INSTANCE_SUFFIX):
        return HabitatScene(str(path.resolve()), str(_dataset_above(path)), None, False, path.stat().st_size)
    given = None
    if path.name.endswith(STAGE_SUFFIX):
        given = path
        asset = read_config(path).get("render_asset")
        if not isinstance(asset, str) or not (path.parent / asset).is_file():
            raise FileError(path, f"'render_asset' names no mesh file beside it, found {asset!r}")
        path = path.parent / asset
    if path.suffix.lower() not in EXTENSIONS:
        raise FileError(
            path,
            f"{path.suffix or 'a file without extension'} is unknown; {', '.join(EXTENSIONS)} can be loaded",
        )
    stage = stage_of(path, given)
    mesh = str(path.resolve())
    attributes: dict[str, Any] = {key: value for key, value in stage.attributes.items() if key not in _ASSETS}
    axes = axes_of(stage)
    attributes |= {
        "up": axes.get("up", [0, 1, 0]),
        "front": axes.get("front", [0, 0, -1]),
        "render_asset": mesh,
        "collision_asset": mesh,
    }
    if isinstance(attributes.get("scale"), int | float):
        attributes["scale"] = [attributes["scale"]] * 3  # habitat-sim reads vectors alone
    if stage.semantic_mesh is not None and stage.semantic_mesh.suffix in _SEMANTIC_MESHES:
        attributes["semantic_asset"] = str(stage.semantic_mesh.resolve())
    if stage.descriptor is not None:
        attributes["semantic_descriptor_filename"] = str(stage.descriptor.resolve())
    config = folder / (path.stem + STAGE_SUFFIX)
    write_text(config, json.dumps(attributes, indent=2))
    return HabitatScene(
        str(config),
        DEFAULT_DATASET,
        stage.navmesh,
        bool(attributes.get("has_semantic_textures")),
        path.stat().st_size,
    )


def _dataset_above(path: Path) -> Path:
    """The nearest data set configuration in the folders above a scene instance."""
    for folder in list(path.resolve().parents)[:_FOLDERS_UP]:
        for found in sorted(folder.glob(f"*{DATASET_SUFFIX}")):
            return found
    raise FileError(path, f"no *{DATASET_SUFFIX} was found in the {_FOLDERS_UP} folders above it")


def navmesh_fields(settings: NavmeshSettings) -> dict[str, Any]:
    """The attributes of ``habitat_sim.NavMeshSettings`` that say what our settings say.

    Its filters and ``include_static_objects`` keep the defaults that ``set_defaults()`` gives them.
    """
    return {_NAVMESH_NAMES.get(name, name): value for name, value in vars(settings).items()}


def positions_and_rotations(world_from_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (B, 3) and unit quaternions (B, 4), order (x, y, z, w), of camera poses (B, 4, 4).

    Both have Habitat's body axes, so nothing is turned: an agent whose camera sits at its origin sees from
    that pose.
    """
    return world_from_camera[:, :3, 3].copy(), matrix_to_quaternion(world_from_camera[:, :3, :3])


def views_from_depth(
    depth: np.ndarray,
    camera: Camera,
    world_from_camera: np.ndarray,
    frame_from_world: np.ndarray | None,
    depth_range: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Point maps (B, H, W, 3) float32 and validity (B, H, W) of z-depth as habitat-sim's sensor gives it.

    Args:
        depth: (B, H, W) metres, 0 where nothing was hit.
        camera: the camera that took it.
        world_from_camera: (B, 4, 4) float64, Habitat's body axes.
        frame_from_world: (B, 4, 4) float64; None = world.
        depth_range: nearest and farthest z-depth kept, metres.
    """
    from_opencv = world_from_camera @ _BODY_FROM_OPENCV
    to_frame = from_opencv if frame_from_world is None else frame_from_world @ from_opencv
    points, hit = depth_to_points(depth.astype(np.float64), camera)
    valid = hit & (depth >= depth_range[0]) & (depth <= depth_range[1])
    return transform_points(to_frame, points, valid).astype(np.float32), valid


def instances_from_objects(
    objects: Iterable[tuple[int, str, str | None]],
) -> tuple[tuple[Instance, ...], Mapping[int, int]]:
    """The instances of a semantic scene, and from habitat-sim's semantic ids to their indices.

    Args:
        objects: semantic id, name of the category and name of the region of every object; what has no
            category, or one that means nothing, is no instance.
    """
    instances: list[Instance] = []
    index_of: dict[int, int] = {}
    for semantic_id, category, region in objects:
        found = instance(category, semantic_id, region)
        if found is not None and semantic_id not in index_of:
            index_of[semantic_id] = len(instances)
            instances.append(found)
    return tuple(instances), index_of


def instance_ids_from_semantics(
    semantic: np.ndarray, valid: np.ndarray, index_of: Mapping[int, int]
) -> np.ndarray:
    """Indices (B, H, W) int32 of instances for pixels (B, H, W) of the semantic sensor; -1 for none."""
    present, inverse = np.unique(semantic, return_inverse=True)
    table = np.array([index_of.get(int(value), NO_INSTANCE) for value in present], np.int32)
    ids = table[inverse.reshape(semantic.shape)] if len(present) else np.zeros(semantic.shape, np.int32)
    return np.where(valid, ids, NO_INSTANCE).astype(np.int32)
