"""Scenes from mesh files and back: ``.glb``, ``.gltf``, ``.obj`` and ``.ply``, geometry and objects only."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.scenes.datasets.conventions import belongs_to_scans, frame_by_convention, warn_if_on_its_side
from envs.scenes.datasets.stage import Stage, stage_of
from envs.scenes.gltf import GltfFile
from envs.scenes.ply import read_ply
from envs.scenes.scene import NO_INSTANCE, Instance, Room, Scene
from envs.scenes.semantics import SUFFIX, instances_from_names, read_semantics, write_semantics
from envs.scenes.stage_config import STAGE_SUFFIX, read_config, world_from_file
from poma3d.errors import FileError, SceneError
from poma3d.files import atomic_path

EXTENSIONS = (".glb", ".gltf", ".obj", ".ply")
"""Mesh files that can be loaded, by the end of their names."""
SCENE_INSTANCE_SUFFIX = ".scene_instance.json"
"""How files end that put a scene together from a stage and objects (HSSD, ReplicaCAD)."""

_UNLABELLED = "(unlabelled)"


@dataclass(frozen=True)
class _Mesh:
    """The triangles of a mesh file, in its own axes, with the nodes that own them."""

    nodes: list[str]
    """Names, each once, in the order of the file."""
    parts: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]
    """Node, matrix (4, 4), vertices (N, 3) and triangles (M, 3) of each piece, in the order of the file."""
    object_ids: np.ndarray | None = None
    """(M,) ids of objects, where the faces of the file carry them."""

    def bounds(self) -> np.ndarray:
        """(2, 3): lowest and highest corner in the file's axes."""
        with np.errstate(invalid="ignore", over="ignore"):  # `Scene` says what is not finite
            corners = [v @ m[:3, :3].T + m[:3, 3] for _, m, v, _ in self.parts if len(v)]
        return np.stack(
            [
                np.min([c.min(axis=0) for c in corners], axis=0),
                np.max([c.max(axis=0) for c in corners], axis=0),
            ]
        )


def load_scene(
    path: str | os.PathLike[str],
    *,
    stage_config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    scene_id: str | None = None,
    semantics: bool = True,
) -> Scene:
    """Load a scene. Every triangle is kept as it is (no merging, no repair), in the order of the file's scene
    tree; textures are not looked at, but for those that tell objects.

    The file's axes and units are those of ``stage_config``, or of the configurations beside and above it
    (`envs.scenes.datasets.stage`); without any it is taken as glTF says, metres, y up, front -z, unless it is
    a scan of a published data set (`envs.scenes.datasets.conventions`). Objects come from
    ``NAME.semantics.json`` beside it where there is one, else from the annotations of its data set
    (`envs.scenes.datasets.annotations`), else from the names of its nodes (`envs.scenes.semantics`). A node
    that mirrors keeps its faces facing outwards.

    Args:
        path: a mesh file, a ``NAME.stage_config.json``, which names it (``render_asset``), or a
            ``NAME.scene_instance.json``, which puts a scene together.
        stage_config: Habitat's attributes of the stage, or a file of them.
        scene_id: what episodes call the scene; by default the path as given.
        semantics: False leaves the annotations of data sets unread, which saves time.

    Raises:
        FileError: the file is missing, empty, truncated, damaged, compressed by what cannot be read, or of an
            unknown kind, or what stands beside it is.
        SceneError: it has no triangles, or vertices that are not finite.

    Warns:
        UserWarning: the objects of its data set are there, but in a form that is not read.
        SceneWarning: nothing says which way is up, and it stands higher than houses do.
    """
    scene_id = scene_id or os.fspath(path)
    mesh_path = Path(path)
    if mesh_path.name.endswith(SCENE_INSTANCE_SUFFIX):
        from envs.scenes.datasets.scene_instance import load_scene_instance

        return load_scene_instance(mesh_path, scene_id=scene_id, semantics=semantics)
    if mesh_path.name.endswith(STAGE_SUFFIX):
        config_path, stage_config = mesh_path, stage_config or mesh_path
        asset = read_config(config_path).get("render_asset")
        if not isinstance(asset, str) or not asset:
            raise FileError(config_path, "names no mesh file; 'render_asset' was expected to")
        mesh_path = config_path.parent / asset
    _check_file(mesh_path)
    stage = stage_of(mesh_path, stage_config)
    mesh = _read_mesh(mesh_path, scene_id)
    axes = axes_of(stage, mesh.bounds())
    transform = world_from_file(axes, stage.origin or mesh_path)
    vertices, triangles, node_of = _in_world(mesh, transform)
    instances, rooms, instance_ids = _objects(
        stage, mesh, transform, (vertices, triangles, node_of), semantics
    )
    scene = Scene(
        scene_id=scene_id,
        vertices=vertices,
        triangles=triangles,
        instance_ids=instance_ids,
        instances=instances,
        rooms=rooms,
        metadata={"source": os.fspath(mesh_path)},
    )
    if not axes and stage.origin is None and stage.navmesh is None:
        warn_if_on_its_side(scene.bounds, mesh_path)
    return scene


def axes_of(stage: Stage, bounds: np.ndarray | None = None) -> Mapping[str, Any]:
    """The attributes that say which way a stage's axes point: its own, else those of convention.

    Args:
        stage: what `envs.scenes.datasets.stage.stage_of` found.
        bounds: (2, 3) of the mesh in its file's axes; None reads the file, where they are needed.

    Raises:
        FileError, SceneError: as `load_scene`.
    """
    if stage.origin is not None:
        return stage.attributes
    if bounds is None:
        bounds = _read_mesh(stage.mesh, os.fspath(stage.mesh)).bounds() if stage.navmesh else np.zeros((2, 3))
    return frame_by_convention(stage.mesh, stage.navmesh, bounds)


def save_scene(scene: Scene, path: str | os.PathLike[str]) -> None:
    """Write a scene as a ``.glb`` with a named node for every instance, and its semantics as JSON beside it.

    `load_scene` gives the same instances, rooms and triangles back; the triangles are then sorted by instance.

    Raises:
        FileError: the path does not end in ``.glb``, or it cannot be written.
    """
    import trimesh

    path = Path(path)
    if path.suffix.lower() != ".glb":
        raise FileError(path, "a path that ends in .glb was expected")
    order = np.argsort(scene.instance_ids, kind="stable")
    ids, starts = np.unique(scene.instance_ids[order], return_index=True)
    exported = trimesh.Scene()
    nodes: dict[int, str] = {}
    for instance, group in zip(ids.tolist(), np.split(order, starts[1:]), strict=True):
        used, corners = np.unique(scene.triangles[group], return_inverse=True)
        mesh = trimesh.Trimesh(scene.vertices[used], corners.reshape(-1, 3), process=False)
        name = _UNLABELLED if instance < 0 else scene.instances[instance].name
        if instance >= 0:
            nodes[instance] = name
        exported.add_geometry(mesh, node_name=name, geom_name=name)
    with atomic_path(path) as temporary:
        temporary.write_bytes(exported.export(file_type="glb"))
    write_semantics(scene, nodes, path.with_name(path.stem + SUFFIX))


def _read_mesh(path: Path, scene_id: str) -> _Mesh:
    """The triangles of a mesh file.

    Raises:
        FileError, SceneError: see `load_scene`.
    """
    kind, points, object_ids = path.suffix.lower(), 0, None
    pieces: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]] = []
    if kind in (".glb", ".gltf"):
        file = GltfFile(path)
        pieces = [(part.node, part.matrix, part.vertices, part.triangles) for part in file.parts()]
        points = 0 if pieces else file.point_count
    elif kind == ".ply":
        mesh = read_ply(path)
        points = len(mesh.vertices)
        if len(mesh.triangles):
            pieces = [("mesh", np.eye(4), mesh.vertices, mesh.triangles)]
        if "object_id" in mesh.face_values:
            object_ids = mesh.face_values["object_id"][mesh.face_of].astype(np.int64)
    else:
        loaded = _load_obj(path)
        for name, geometry in loaded.geometry.items():
            if hasattr(geometry, "faces") and len(geometry.faces):
                pieces.append((name, np.eye(4), np.asarray(geometry.vertices), np.asarray(geometry.faces)))
        points = sum(len(getattr(geometry, "vertices", ())) for geometry in loaded.geometry.values())
    if not pieces:
        raise SceneError(
            f"{scene_id}: the scene has no triangles ({points} points); a mesh with faces is needed,"
            " a point cloud cannot be walked on"
        )
    nodes = list(dict.fromkeys(piece[0] for piece in pieces))
    number = {node: index for index, node in enumerate(nodes)}
    for name, _, vertices, faces in pieces:
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise FileError(path, f"{name!r} names vertices that it does not have; the file is damaged")
    return _Mesh(nodes, [(number[name], *rest) for name, *rest in pieces], object_ids)


def _in_world(mesh: _Mesh, transform: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (N, 3) in the world, triangles (M, 3), and each triangle's node (M,)."""
    vertices, triangles, node_of, first = [], [], [], 0
    for node, matrix, points, faces in mesh.parts:
        to_world = transform @ matrix
        if np.linalg.det(to_world[:3, :3]) < 0:
            faces = faces[:, ::-1]  # a mirror turns every triangle over
        with np.errstate(invalid="ignore", over="ignore"):  # `Scene` says what is not finite
            if not np.array_equal(to_world, np.eye(4)):
                points = points @ to_world[:3, :3].T + to_world[:3, 3]
            vertices.append(points.astype(np.float32))
        triangles.append((faces + first).astype(np.int32))
        node_of.append(np.full(len(faces), node, np.int32))
        first += len(points)
    return np.concatenate(vertices), np.concatenate(triangles), np.concatenate(node_of)


def _objects(
    stage: Stage,
    mesh: _Mesh,
    transform: np.ndarray,
    world: tuple[np.ndarray, np.ndarray, np.ndarray],
    semantics: bool,
) -> tuple[tuple[Instance, ...], tuple[Room, ...], np.ndarray]:
    """Objects, rooms, and the object (M,) int32 of every triangle, from the best that lies beside the mesh."""
    vertices, triangles, node_of = world
    ours = stage.mesh.with_name(stage.mesh.stem + SUFFIX)
    if ours.is_file():
        return read_semantics(ours, mesh.nodes, node_of)
    told = mesh.object_ids is not None or stage.semantic_mesh is not None
    if semantics and stage.descriptor is not None and told:
        from envs.scenes.datasets.annotations import read_annotations
        from envs.scenes.datasets.labels import UnreadableLabelsError, as_instance_ids

        annotations = read_annotations(stage.descriptor)
        try:
            ids = _annotated(stage, mesh, transform, vertices[triangles], annotations)
        except UnreadableLabelsError as problem:
            warnings.warn(f"{problem}; the scene is used without its objects", UserWarning, stacklevel=3)
            return (), (), np.full(len(triangles), NO_INSTANCE, np.int32)
        instances = tuple(annotations.instances[key] for key in sorted(annotations.instances))
        rooms = tuple(box.room(transform) for box in annotations.boxes)
        return instances, rooms, as_instance_ids(ids, annotations)
    if belongs_to_scans(stage.mesh):  # whose nodes are pieces of a scan, whatever they are called
        return (), (), np.full(len(triangles), NO_INSTANCE, np.int32)
    instances, instance_ids = instances_from_names(mesh.nodes, node_of)
    return instances, (), instance_ids


def _annotated(
    stage: Stage, mesh: _Mesh, transform: np.ndarray, corners: np.ndarray, annotations: Any
) -> np.ndarray:
    """The descriptor's id (M,) of every triangle, whose corners (M, 3, 3) are given in the world."""
    from envs.scenes.datasets import labels

    if mesh.object_ids is not None:
        return mesh.object_ids
    assert stage.semantic_mesh is not None
    if stage.semantic_mesh.suffix.lower() == ".ids":
        return labels.face_ids(stage.semantic_mesh, len(corners))
    labelled = labels.read_labels(stage.semantic_mesh, annotations)
    bounds = np.stack([corners.min(axis=(0, 1)), corners.max(axis=(0, 1))])
    frames = labels.likely_frames(dict(stage.attributes), transform)
    return labels.instances_of_triangles(corners, labelled, bounds, frames)


def _load_obj(path: Path) -> Any:
    """The file as a `trimesh.Scene`."""
    import trimesh

    try:
        return trimesh.load_scene(
            path, process=False, skip_materials=True, split_objects=True, group_material=False
        )
    except Exception as error:  # trimesh answers damaged files with whatever its parsers stumble over
        raise FileError(
            path, f"cannot be read as .obj; it is damaged or incomplete ({type(error).__name__}: {error})"
        ) from error


def _check_file(path: Path) -> None:
    """Find what is plainly wrong before a parser does, so that the message can say what to do.

    Raises:
        FileError: see `load_scene`.
    """
    if not path.exists():
        raise FileError(path, "there is no such file")
    if path.suffix.lower() not in EXTENSIONS:
        raise FileError(
            path,
            f"{path.suffix or 'a file without extension'} is unknown; {', '.join(EXTENSIONS)} can be loaded",
        )
    if not path.is_file():
        raise FileError(path, "a mesh file was expected, found a folder")
    if path.stat().st_size == 0:
        raise FileError(path, "the file is empty")
