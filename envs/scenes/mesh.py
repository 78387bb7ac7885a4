"""Scenes from mesh files and back: ``.glb``, ``.gltf``, ``.obj`` and ``.ply``, geometry and names only."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from envs.scenes.scene import Scene
from envs.scenes.semantics import SUFFIX, instances_from_names, read_semantics, write_semantics
from envs.scenes.stage_config import STAGE_SUFFIX, read_config, resolve_config, world_from_file
from poma3d.errors import FileError, SceneError
from poma3d.files import atomic_path

EXTENSIONS = (".glb", ".gltf", ".obj", ".ply")
"""Mesh files that can be loaded, by the end of their names."""

_UNLABELLED = "(unlabelled)"
_COMPRESSIONS = {
    "KHR_draco_mesh_compression": "Draco",
    "EXT_meshopt_compression": "meshopt",
    "KHR_meshopt_compression": "meshopt",
}
_CONVERSION = "open it in Blender and export it as glTF 2.0 without compression"


def load_scene(
    path: str | os.PathLike[str],
    *,
    stage_config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    scene_id: str | None = None,
) -> Scene:
    """Load a scene. Every triangle is kept as it is (no merging, no repair); textures are not looked at.

    The file's axes and units are those of ``stage_config``, or of a ``NAME.stage_config.json`` beside it, or
    of the ``*.scene_dataset_config.json`` of its data set (`envs.scenes.stage_config`); without any it is
    taken as Habitat's own: metres, y up, front -z. Objects come from ``NAME.semantics.json`` beside it where
    there is one, else from the names of its nodes (`envs.scenes.semantics`). A node that mirrors keeps its
    faces facing outwards.

    Args:
        path: a mesh file, or a ``NAME.stage_config.json``, which names it (``render_asset``).
        stage_config: Habitat's attributes of the stage, or a file of them.
        scene_id: what episodes call the scene; by default the path as given.

    Raises:
        FileError: the file is missing, empty, truncated, damaged, compressed or of an unknown kind, or what
            stands beside it is.
        SceneError: it has no triangles, or vertices that are not finite.
    """
    scene_id = scene_id or os.fspath(path)
    mesh_path = Path(path)
    if mesh_path.name.endswith(STAGE_SUFFIX):
        config_path, stage_config = mesh_path, stage_config or read_config(mesh_path)
        asset = read_config(config_path).get("render_asset")
        if not isinstance(asset, str) or not asset:
            raise FileError(config_path, "names no mesh file; 'render_asset' was expected to")
        mesh_path = config_path.parent / asset
    _check_file(mesh_path)
    config, config_place = resolve_config(mesh_path, stage_config)
    transform = world_from_file(config, config_place)

    nodes, vertices, triangles, node_of = _geometry(mesh_path, transform, scene_id)
    semantics = mesh_path.with_name(mesh_path.stem + SUFFIX)
    if semantics.is_file():
        instances, rooms, instance_ids = read_semantics(semantics, nodes, node_of)
    else:
        instances, instance_ids = instances_from_names(nodes, node_of)
        rooms = ()
    return Scene(
        scene_id=scene_id,
        vertices=vertices,
        triangles=triangles,
        instance_ids=instance_ids,
        instances=instances,
        rooms=rooms,
        metadata={"source": os.fspath(mesh_path)},
    )


def save_scene(scene: Scene, path: str | os.PathLike[str]) -> None:
    """Write a scene as a ``.glb`` with a named node for every instance, and its semantics as JSON beside it.

    `load_scene` gives the same instances, rooms and triangles back; the triangles are then sorted by node.

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


def _geometry(
    path: Path, transform: np.ndarray, scene_id: str
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Names of the nodes, vertices (N, 3) in the world, triangles (M, 3), and each triangle's node (M,)."""
    loaded = _load(path)
    parts = []
    for frame in loaded.graph.nodes_geometry:
        matrix, geometry_name = loaded.graph[frame]
        geometry = loaded.geometry[geometry_name]
        if hasattr(geometry, "faces") and len(geometry.faces):
            owner = frame
            if geometry.metadata.get(
                "from_gltf_primitive"
            ):  # trimesh hangs primitives below the node of the file
                owner = loaded.graph.transforms.parents.get(frame, frame)
            parts.append((owner, geometry_name, matrix, geometry))
    if not parts:
        points = sum(len(getattr(geometry, "vertices", ())) for geometry in loaded.geometry.values())
        raise SceneError(
            f"{scene_id}: the scene has no triangles ({points} points); a mesh with faces is needed,"
            " a point cloud cannot be walked on"
        )
    parts.sort(key=lambda part: part[:2])  # the order of the file's nodes is not the loader's to choose

    nodes = sorted({part[0] for part in parts})
    vertices, triangles, node_of, first = [], [], [], 0
    for owner, _, matrix, geometry in parts:
        to_world = transform @ matrix
        faces = np.asarray(geometry.faces)
        if faces.min() < 0 or faces.max() >= len(geometry.vertices):
            raise FileError(path, f"{owner!r} names vertices that it does not have; the file is damaged")
        if np.linalg.det(to_world[:3, :3]) < 0:
            faces = faces[:, ::-1]  # a mirror turns every triangle over
        points = np.asarray(geometry.vertices)
        if not np.array_equal(to_world, np.eye(4)):
            points = points @ to_world[:3, :3].T + to_world[:3, 3]
        vertices.append(points.astype(np.float32))
        triangles.append((faces + first).astype(np.int32))
        node_of.append(np.full(len(faces), nodes.index(owner), np.int32))
        first += len(points)
    return nodes, np.concatenate(vertices), np.concatenate(triangles), np.concatenate(node_of)


def _load(path: Path) -> Any:
    """The file as a `trimesh.Scene`."""
    import trimesh

    options: dict[str, Any] = {"process": False, "skip_materials": True}
    if path.suffix.lower() == ".obj":
        options |= {"split_objects": True, "group_material": False}
    try:
        return trimesh.load_scene(path, **options)
    except Exception as error:  # trimesh answers damaged files with whatever its parsers stumble over
        raise FileError(
            path,
            f"cannot be read as {path.suffix.lower()}; it is damaged or incomplete"
            f" ({type(error).__name__}: {error})",
        ) from error


def _check_file(path: Path) -> None:
    """Find what is plainly wrong before the parser does, so that the message can say what to do.

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
    size = path.stat().st_size
    if size == 0:
        raise FileError(path, "the file is empty")
    try:
        if path.suffix.lower() == ".glb":
            _check_gltf(path, _glb_header(path, size))
        elif path.suffix.lower() == ".gltf":
            _check_gltf(path, json.loads(path.read_text(encoding="utf-8")))
        elif path.suffix.lower() == ".ply" and path.open("rb").read(3) != b"ply":
            raise FileError(path, "does not begin as a .ply does; it is another kind of file")
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise FileError(path, f"its description of the scene is not JSON ({error}); it is damaged") from error


def _glb_header(path: Path, size: int) -> Any:
    """The JSON of a binary glTF 2.0 file (Khronos, glTF 2.0 specification, section 4.4)."""
    with path.open("rb") as stream:
        head = stream.read(20)
        if head[:4] != b"glTF":
            start = stream.read(200)
            pointer = b"git-lfs" in head + start
            hint = " (a Git LFS pointer: fetch it with git lfs pull)" if pointer else ""
            raise FileError(path, f"does not begin as a .glb does; it is another kind of file{hint}")
        if len(head) < 20:
            raise FileError(path, f"is truncated: only {size} bytes")
        _, version, length, json_length, _ = struct.unpack("<5I", head)
        if version != 2:
            raise FileError(path, f"is glTF {version}; glTF 2 was expected: {_CONVERSION}")
        if size < length:
            raise FileError(path, f"is truncated: {size} of {length} bytes; fetch it again")
        return json.loads(stream.read(json_length).decode("utf-8"))


def _check_gltf(path: Path, header: Any) -> None:
    """Refuse compressed geometry: the loader would answer it with zeros."""
    if not isinstance(header, dict):
        raise FileError(path, "its description of the scene is no JSON object; it is damaged")
    named = {*header.get("extensionsUsed", ()), *header.get("extensionsRequired", ())}
    for extension, compression in _COMPRESSIONS.items():
        if extension in named:
            raise FileError(
                path,
                f"its geometry is compressed with {compression} ({extension}), which is not read;"
                f" {_CONVERSION}",
            )
    accessors = header.get("accessors", ())
    for mesh in header.get("meshes", ()):
        for primitive in mesh.get("primitives", ()):
            position = primitive.get("attributes", {}).get("POSITION")
            if position is not None and position < len(accessors) and accessors[position].get("normalized"):
                raise FileError(
                    path,
                    f"its positions are quantised (KHR_mesh_quantization), which is not read; {_CONVERSION}",
                )
