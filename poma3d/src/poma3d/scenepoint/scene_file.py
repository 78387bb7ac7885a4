"""One scene as a file: the authors' tensors, ours beside them, read view by view without loading the rest.

A ``.safetensors`` file of POMA-3D's authors holds ``point_map`` (V, H, W, 3), H = W = 224 there, and ``color_images``
(V, H', W', 3). Their readers take these two by name, so what this project adds stands under other names and does no
harm: ``valid`` (V, H, W), ``category_ids`` (V, H, W), ``room_type_ids`` (V,), ``scene_from_camera`` (V, 4, 4) and
``intrinsics`` (V, 3, 3). The words that ids stand for are JSON in the file's metadata, under ``scenepoint``. The dtype
of the authors' tensors is not published: float16, float32 and float64 points and uint8 or floating pictures are read.

Dimensions: V views, H x W pixels.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from poma3d.errors import FileError, SettingError
from poma3d.files import atomic_path

POINT_MAP, IMAGES = "point_map", "color_images"
VALID, CATEGORY_IDS, ROOM_TYPE_IDS = "valid", "category_ids", "room_type_ids"
POSES, INTRINSICS = "scene_from_camera", "intrinsics"
METADATA = "scenepoint"
NO_ID = -1
"""Category or room type of what belongs to none."""
_POINT_DTYPES = ("F16", "F32", "F64")


@dataclass(frozen=True)
class StoredViews:
    """Views of one scene, as they stand in its file or go into it."""

    point_map: np.ndarray
    """(V, H, W, 3) float32, metres, z up; 0 where not valid."""
    valid: np.ndarray
    """(V, H, W) bool."""
    images: np.ndarray | None = None
    """(V, H', W', 3) uint8 RGB."""
    category_ids: np.ndarray | None = None
    """(V, H, W) int16 indices of the file's categories, `NO_ID` for none."""
    room_type_ids: np.ndarray | None = None
    """(V,) int16 indices of the file's room types, `NO_ID` for none."""
    scene_from_camera: np.ndarray | None = None
    """(V, 4, 4) float32 camera poses, OpenCV's axes (x right, y down, z forward)."""
    intrinsics: np.ndarray | None = None
    """(V, 3, 3) float32 camera matrices for the pixels of the point map, centres at +0.5."""


@dataclass(frozen=True)
class SceneWords:
    """What the numbers in a scene's file stand for."""

    categories: tuple[str, ...] = ()
    """Names that ``category_ids`` index."""
    room_types: tuple[str, ...] = ()
    """Names that ``room_type_ids`` index."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Anything else worth keeping, such as where the scene came from."""


def write_scene(
    path: str | os.PathLike[str], views: StoredViews, words: SceneWords | None = None, *, half: bool = False
) -> None:
    """Write one scene, whole or not at all.

    Args:
        path: the ``.safetensors`` file.
        views: at least one view.
        words: what ids stand for.
        half: store points as float16: half the size, each coordinate rounded by at most 1 mm below 4 m, 2 mm below
            8 m, 4 mm below 16 m.

    Raises:
        SettingError: shapes that do not fit, points that are not finite, ids without names, or points too far away
            for float16.
        FileError: the file cannot be written.
    """
    words = words or SceneWords()
    tensors = _tensors(views, words, half)
    facts = {"categories": words.categories, "room_types": words.room_types, "frame": "scene", **words.facts}
    with atomic_path(path) as temporary:
        # one entry alone: safetensors writes several in an order of its own, other bytes each time
        save_file(tensors, str(temporary), metadata={METADATA: json.dumps(facts)})


def _tensors(views: StoredViews, words: SceneWords, half: bool) -> dict[str, np.ndarray]:
    """The tensors of a file, checked, under their names there."""
    points, valid = np.asarray(views.point_map), np.asarray(views.valid)
    if points.ndim != 4 or points.shape[-1] != 3 or 0 in points.shape or valid.shape != points.shape[:3]:
        raise SettingError(
            "a scene needs a point map (V, H, W, 3) and its validity (V, H, W), found"
            f" {points.shape} and {valid.shape}"
        )
    count = len(points)
    with np.errstate(over="ignore"):  # found below
        stored = np.where(valid[..., None], points, 0).astype(np.float16 if half else np.float32)
    if not np.isfinite(stored).all():
        why = "more than 65 km from the origin, too far for float16" if half else "no finite numbers"
        raise SettingError(f"the point map holds valid points that are {why}")
    tensors = {POINT_MAP: stored, VALID: valid.astype(np.bool_)}
    shapes = {
        IMAGES: (views.images, np.uint8, (count, None, None, 3)),
        CATEGORY_IDS: (views.category_ids, np.int16, valid.shape),
        ROOM_TYPE_IDS: (views.room_type_ids, np.int16, (count,)),
        POSES: (views.scene_from_camera, np.float32, (count, 4, 4)),
        INTRINSICS: (views.intrinsics, np.float32, (count, 3, 3)),
    }
    for name, (values, dtype, shape) in shapes.items():
        if values is None:
            continue
        if not _fits(np.shape(values), shape):
            raise SettingError(f"{name} must have the shape {shape}, found {np.shape(values)}")
        tensors[name] = np.ascontiguousarray(values, dtype=dtype)
    for name, names in ((CATEGORY_IDS, words.categories), (ROOM_TYPE_IDS, words.room_types)):
        if name in tensors and not NO_ID <= int(tensors[name].min()) <= int(tensors[name].max()) < len(names):
            raise SettingError(f"{name} must lie in {NO_ID}..{len(names) - 1}, there are {len(names)} names")
    if CATEGORY_IDS in tensors and len(words.categories) < 255:  # one byte a pixel instead of two
        tensors[CATEGORY_IDS] = tensors[CATEGORY_IDS].astype(np.int16).astype(np.uint8)
    return tensors


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    return len(shape) == len(expected) and all(
        want is None or have == want for have, want in zip(shape, expected, strict=True)
    )


class SceneFile:
    """A scene's file: its shape and words, read at once, and its views, read when asked for.

    Args:
        path: a ``.safetensors`` file in the authors' layout.

    Raises:
        FileError: the file is missing, damaged, or lacks what the layout asks for.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with _opened(self.path) as stored:
            self.keys = frozenset(stored.keys())
            if POINT_MAP not in self.keys:
                found = ", ".join(sorted(self.keys)) or "nothing"
                raise FileError(self.path, f"the tensor {POINT_MAP!r} is missing, found {found}")
            shapes = {name: tuple(stored.get_slice(name).get_shape()) for name in self.keys}
            dtype = stored.get_slice(POINT_MAP).get_dtype()
            metadata = stored.metadata() or {}
        shape = shapes[POINT_MAP]
        if not _fits(shape, (None, None, None, 3)) or 0 in shape:
            raise FileError(
                self.path, f"{POINT_MAP} of shape (views, rows, columns, 3) was expected, found {shape}"
            )
        if dtype not in _POINT_DTYPES:
            raise FileError(
                self.path, f"{POINT_MAP} of {', '.join(_POINT_DTYPES)} was expected, found {dtype}"
            )
        self.views, self.height, self.width = shape[:3]
        expected = {
            IMAGES: (self.views, None, None, 3),
            VALID: shape[:3],
            CATEGORY_IDS: shape[:3],
            ROOM_TYPE_IDS: (self.views,),
            POSES: (self.views, 4, 4),
            INTRINSICS: (self.views, 3, 3),
        }
        for name in self.keys & set(expected):
            if not _fits(shapes[name], expected[name]) or 0 in shapes[name]:
                raise FileError(
                    self.path, f"{name} must have the shape {expected[name]}, found {shapes[name]}"
                )
        self.words = self._words(metadata)

    def _words(self, metadata: dict[str, str]) -> SceneWords:
        try:
            facts = json.loads(metadata.get(METADATA, "{}"))
            categories, rooms = (tuple(map(str, facts.pop(k, ()))) for k in ("categories", "room_types"))
        except (ValueError, TypeError, AttributeError) as error:
            raise FileError(
                self.path, f"the metadata under {METADATA!r} must be a JSON object ({error})"
            ) from error
        return SceneWords(categories, rooms, facts)

    def read(
        self,
        views: Sequence[int] | None = None,
        *,
        images: bool = False,
        labels: bool = False,
        cameras: bool = False,
    ) -> StoredViews:
        """Read some views (None: all), in the order given.

        Args:
            views: indices, each from 0 to ``self.views`` - 1.
            images: also the pictures.
            labels: also categories, room types and cameras, where the file has them.
            cameras: also the cameras, where the file has them.

        Raises:
            FileError: points that are not numbers, ids without names, or a file that has changed or gone.
        """
        indices = np.arange(self.views) if views is None else np.asarray(views, dtype=np.int64)
        wanted = {POINT_MAP, VALID}
        wanted |= {IMAGES} if images else set()
        wanted |= {CATEGORY_IDS, ROOM_TYPE_IDS} if labels else set()
        wanted |= {POSES, INTRINSICS} if labels or cameras else set()
        with _opened(self.path) as stored:
            try:
                found = {name: _rows(stored, name, indices) for name in wanted & self.keys}
            except (SafetensorError, OSError, ValueError, IndexError) as error:
                raise FileError(
                    self.path, f"cannot be read, it may have changed meanwhile ({error})"
                ) from error
        points, valid = self._points(found, indices)
        names = {CATEGORY_IDS: self.words.categories, ROOM_TYPE_IDS: self.words.room_types}
        ids: dict[str, np.ndarray | None] = {
            name: self._ids(name, found[name], len(known)) if name in found else None
            for name, known in names.items()
        }
        return StoredViews(
            points,
            valid,
            images=_pictures(found[IMAGES]) if IMAGES in found else None,
            category_ids=ids[CATEGORY_IDS],
            room_type_ids=ids[ROOM_TYPE_IDS],
            scene_from_camera=found.get(POSES),
            intrinsics=found.get(INTRINSICS),
        )

    def _points(self, found: dict[str, np.ndarray], indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = found[POINT_MAP].astype(np.float32, copy=False)
        finite = np.isfinite(points)
        if not finite.all():
            bad = int(indices[np.flatnonzero(~finite.all(axis=(1, 2, 3)))[0]])
            raise FileError(self.path, f"view {bad} has points that are not finite numbers (NaN or infinite)")
        if VALID not in found:
            return points, (points != 0).any(axis=-1)
        valid = found[VALID].astype(np.bool_, copy=False)
        return points * valid[..., None], valid

    def _ids(self, name: str, stored: np.ndarray, known: int) -> np.ndarray:
        """Ids as int16; the byte 255 stands for `NO_ID`."""
        ids = stored.astype(np.int16)
        if stored.dtype == np.uint8:
            ids[stored == 255] = NO_ID
        if ids.min() < NO_ID or ids.max() >= known:
            raise FileError(
                self.path, f"{name} runs from {ids.min()} to {ids.max()}, but the metadata name {known}"
            )
        return ids


def _opened(path: Path) -> Any:
    """The file, opened by safetensors; its header is checked against the file's length on the way."""
    try:
        return safe_open(str(path), framework="np")
    except FileNotFoundError:
        raise FileError(path, "there is no such file") from None
    except (SafetensorError, OSError) as error:
        raise FileError(path, f"is no whole safetensors file ({error})") from error


def _rows(stored: Any, name: str, indices: np.ndarray) -> np.ndarray:
    """Rows of a tensor; those next to each other in one piece."""
    piece = stored.get_slice(name)
    low, high = int(indices.min()), int(indices.max()) + 1
    if high - low <= 2 * len(indices):
        rows = piece[low:high]
        return rows if len(indices) == high - low and (np.diff(indices) == 1).all() else rows[indices - low]
    return np.concatenate([piece[int(index) : int(index) + 1] for index in indices])


def _pictures(images: np.ndarray) -> np.ndarray:
    """Pictures as uint8; floats count as shares of 1 unless one is larger."""
    if images.dtype == np.uint8:
        return images
    values = np.nan_to_num(images.astype(np.float32))
    if values.max(initial=0.0) <= 1.0:
        values = values * 255.0
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
