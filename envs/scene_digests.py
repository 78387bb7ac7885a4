"""What is in the scenes of a run, as digests: a changed scene is another setting, and its results are others.

A mesh file counts with what lies beside it and decides what is loaded (stage configuration, objects, buffers)
and with the navmesh that was chosen; a composed scene with all that it is put together from; a procedural house
with the version of its generator. The files are read once in a process, whole: about a second a GB.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from poma3d.errors import UserError


def scene_digests(
    scene_ids: Iterable[str], find: Callable[[str], Any], navmesh: str | None = None
) -> dict[str, str | None]:
    """A digest (16 hex digits) for each scene; None for one that is absent or cannot be read.

    Args:
        scene_ids: what episodes call the scenes.
        find: from there to the file, or to a procedural id.
        navmesh: what was chosen to walk on (`envs.simulators.navmesh_choice.navmesh_file`).
    """
    from envs.scenes.houses import GENERATOR_VERSION

    digests: dict[str, str | None] = {}
    for scene_id in dict.fromkeys(scene_ids):
        try:
            name = str(find(scene_id))
        except UserError:
            digests[scene_id] = None
            continue
        if not name.startswith("procedural:"):
            digests[scene_id] = _digest(Path(name), navmesh)
            continue
        digests["procedural"] = f"generator {GENERATOR_VERSION}"
        if navmesh is not None:
            digests["procedural"] += f", navmesh {_digest(Path(navmesh), None)}"
    return digests


def _digest(path: Path, navmesh: str | None) -> str | None:
    total = hashlib.sha256()
    try:
        for file in _files(path, navmesh):
            status = file.stat()
            content = _sha256(str(file.resolve()), status.st_size, status.st_mtime_ns)
            total.update(os.fsencode(file.name) + f" {content}\n".encode())
    except (OSError, UserError):  # the run says what is wrong with it, when it comes to it
        return None
    return total.hexdigest()[:16]


def _files(path: Path, navmesh: str | None) -> Iterator[Path]:
    """The files that decide what is loaded of a scene, in a fixed order."""
    from envs.scenes.datasets.scene_instance import files_of_instance
    from envs.scenes.mesh import SCENE_INSTANCE_SUFFIX
    from envs.simulators.navmesh_choice import navmesh_file

    parts = files_of_instance(path) if path.name.endswith(SCENE_INSTANCE_SUFFIX) else (path,)
    yield from dict.fromkeys(file for part in parts for file in _with_companions(part))
    if navmesh is not None:
        yield navmesh_file(navmesh, path)


def _with_companions(path: Path) -> Iterator[Path]:
    """A file and those beside it that are loaded with it."""
    from envs.scenes.datasets.stage import stage_of
    from envs.scenes.stage_config import STAGE_SUFFIX, read_config

    yield path
    mesh = path
    if path.name.endswith(STAGE_SUFFIX):
        mesh = path.parent / str(read_config(path).get("render_asset"))
        yield mesh
    if mesh.suffix.lower() in (".glb", ".gltf", ".obj", ".ply"):
        stage = stage_of(mesh)
        origin = stage.origin if isinstance(stage.origin, Path) else None
        beside = (
            origin,
            stage.semantic_mesh,
            stage.descriptor,
            mesh.with_name(mesh.stem + ".semantics.json"),
        )
        yield from dict.fromkeys(file for file in beside if file is not None and file.is_file())
    if mesh.suffix.lower() == ".gltf":
        yield from _buffers(mesh)


def _buffers(mesh: Path) -> Iterator[Path]:
    try:
        buffers = json.loads(mesh.read_bytes()).get("buffers", [])
        names = [str(buffer["uri"]) for buffer in buffers if "uri" in buffer]
    except (ValueError, AttributeError, TypeError):
        return  # damaged: the loader says how
    yield from (mesh.parent / unquote(name) for name in names if not name.startswith("data:"))


@functools.lru_cache(maxsize=4096)
def _sha256(path: str, size: int, changed: int) -> str:
    """sha256 (hex) of a file; its size and time only keep one read of it apart from another."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
