"""Walkable surfaces on disk, so that a scene is voxelised once: by geometry, settings and version of the
builder.

The folder is ``POMAGYM_CACHE``, else ``~/.cache/pomagym``. The cache only ever saves time: a damaged file is
built again and replaced, and a folder that cannot be written means that nothing is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from envs.embodiment import NavmeshSettings
from envs.scenes.scene import Scene
from envs.simulators.walkable.build import build_navmesh
from envs.simulators.walkable.navmesh import BORDER, MAX_CORNERS, Navmesh
from poma3d.errors import FileError, SceneError
from poma3d.files import atomic_path

FORMAT_VERSION = 1
"""Raise this whenever the same triangles would give another surface, or the files another layout."""
_ARRAYS = {
    "vertices": (np.float32, (3,)),
    "polygons": (np.int32, (MAX_CORNERS,)),
    "neighbours": (np.int32, (MAX_CORNERS,)),
    "detail_vertices": (np.float32, (3,)),
    "detail_triangles": (np.int32, (3,)),
    "detail_offsets": (np.int32, ()),
    "bounds": (np.float32, (3,)),
}


def cache_path(geometry_hash: str, settings: NavmeshSettings) -> Path:
    """The file that holds, or would hold, the surface of this geometry for these settings.

    Raises:
        RuntimeError: ``POMAGYM_CACHE`` is not set and there is no home folder.
    """
    folder = os.environ.get("POMAGYM_CACHE") or Path.home() / ".cache" / "pomagym"
    values = sorted((name, float(value)) for name, value in asdict(settings).items())
    key = hashlib.sha256(repr((FORMAT_VERSION, geometry_hash, values)).encode()).hexdigest()
    return Path(folder) / "navmeshes" / f"{key}.npz"


def _is_sound(arrays: dict[str, np.ndarray]) -> bool:
    """Whether the arrays have the shapes of a `Navmesh` and every index names something."""
    for name, (dtype, shape) in _ARRAYS.items():
        if (
            arrays[name].dtype != dtype
            or arrays[name].ndim != 1 + len(shape)
            or arrays[name].shape[1:] != shape
        ):
            return False
    polygons, offsets, triangles = arrays["polygons"], arrays["detail_offsets"], arrays["detail_triangles"]
    return bool(
        len(polygons) > 0
        and len(arrays["bounds"]) == 2
        and len(arrays["neighbours"]) == len(polygons)
        and len(offsets) == len(polygons) + 1
        and (polygons[:, :3] >= 0).all()
        and polygons.min() >= BORDER
        and polygons.max() < len(arrays["vertices"])
        and arrays["neighbours"].min() >= BORDER
        and arrays["neighbours"].max() < len(polygons)
        and offsets[0] == 0
        and offsets[-1] == len(triangles)
        and (np.diff(offsets) >= 0).all()
        and triangles.min(initial=0) >= 0
        and triangles.max(initial=0) < len(arrays["detail_vertices"])
        and np.isfinite(arrays["vertices"]).all()
        and np.isfinite(arrays["detail_vertices"]).all()
    )


def load_navmesh(geometry_hash: str, settings: NavmeshSettings) -> Navmesh | None:
    """The stored surface of this geometry, or None where there is none that can be read."""
    try:
        with np.load(cache_path(geometry_hash, settings), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in _ARRAYS}
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return Navmesh(**arrays, settings=settings) if _is_sound(arrays) else None


def store_navmesh(geometry_hash: str, navmesh: Navmesh) -> bool:
    """Store the surface of this geometry for next time. Returns whether that was possible."""
    with contextlib.suppress(FileError, RuntimeError):
        with (
            atomic_path(cache_path(geometry_hash, navmesh.settings)) as temporary,
            open(temporary, "wb") as file,
        ):
            np.savez(file, allow_pickle=False, **{name: getattr(navmesh, name) for name in _ARRAYS})
        return True
    return False


def scene_navmesh(scene: Scene, settings: NavmeshSettings) -> Navmesh:
    """The walkable surface of a scene: from the cache where it is there, else built and stored.

    Raises:
        SceneError: see `build_navmesh`; the message starts with the scene's id.
        SettingError: see `build_navmesh`.
    """
    stored = load_navmesh(scene.geometry_hash, settings)
    if stored is not None:
        return stored
    try:
        built = build_navmesh(scene.vertices, scene.triangles, settings)
    except SceneError as error:
        raise SceneError(f"{scene.scene_id}: {error}") from error
    store_navmesh(scene.geometry_hash, built)
    return built
