"""What the frozen backbone says of each scene, kept on disk, with where each patch lies.

One file a scene below a folder named after the hash of the weights, the placing and, where it is not float32 on a
processor, how it was encoded: tokens and view embeddings as float16, centres in the scene's frame. Files are read when
they are asked for; a bounded number stays in memory.
Shapes: V views, P patches, K = V P patches of a scene, C width, D embedding, W categories.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policies.situated.first_leg import Plan, draw_plan
from poma3d.errors import FileError, SettingError
from poma3d.files import atomic_path
from poma3d.pointmap import resize
from poma3d.pointmap.resize import sample_pixels
from poma3d.scenepoint.folder import ScenePointFolder
from poma3d.scenepoint.scene_file import NO_ID, SceneFile, StoredViews

_FORMAT = "pomagym.scene_features/1"
_IN_MEMORY = 768 * 2**20
"""Bytes of features that stay in memory."""
_THIN = 2
"""Every so many pixels of a view draw the plan."""
_ARRAYS = ("tokens", "cls", "centres", "feet", "seen", "counts")
"""Fields of `SceneFeatures` that a file holds as they are."""


@dataclass(frozen=True)
class SceneFeatures:
    """One scene to a head."""

    scan_id: str
    tokens: np.ndarray
    """(K, C) float16 patch tokens."""
    cls: np.ndarray
    """(V, D) float16 view embeddings, not normalised."""
    centres: np.ndarray
    """(K, 3) float32 mean of each patch's points, scene frame, metres."""
    feet: np.ndarray
    """(K, 2) float32 where one would stand to be at the patch: its centre, moved a little towards its camera."""
    seen: np.ndarray
    """(K,) bool: the patch has a point."""
    counts: np.ndarray
    """(K, W) uint8: pixels of each category in a patch; W = 0 where the scene knows none."""
    categories: tuple[str, ...]
    """Names of the W categories."""
    floor: float
    """Height of the floor, metres, where a sample does not say."""
    plan: Plan
    """What blocks the way, drawn from all points."""

    @property
    def nbytes(self) -> int:
        """Bytes it holds."""
        return sum(getattr(self, name).nbytes for name in _ARRAYS) + self.plan.cells.nbytes


class FeatureFolder:
    """Features of the scenes of ScenePoint folders from one frozen encoder, made once and kept on disk.

    Args:
        roots: ScenePoint folders, or one.
        backbone: what `agent.backbone.FrozenBackbone` is: ``encode``, ``image_size``, ``weights_sha256``, ``precision``
            and ``device``.
        folder: where features are kept; None keeps them in memory alone.
        placing: frame in which views are encoded, ``scene`` or ``view``.

    Raises:
        FileError: a folder without scenes.
        SettingError: two scenes of one name.
    """

    def __init__(
        self,
        roots: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
        backbone: Any,
        folder: str | os.PathLike[str] | None = None,
        *,
        placing: str = "scene",
    ) -> None:
        roots = [roots] if isinstance(roots, str | os.PathLike) else list(roots)
        self.paths: dict[str, Path] = {}
        """The file of each scan."""
        for root in roots:
            for scene in ScenePointFolder(root).scenes:
                if scene.scan_id in self.paths:
                    raise SettingError(f"{scene.path} and {self.paths[scene.scan_id]} have the same name")
                self.paths[scene.scan_id] = scene.path
        self.backbone, self.placing = backbone, placing
        name = f"{backbone.weights_sha256[:16]}-{placing}{_how(backbone)}"
        self.folder = None if folder is None else Path(folder) / name
        self._kept: OrderedDict[str, SceneFeatures] = OrderedDict()

    def require(self, scans: Iterable[str]) -> None:
        """Refuse scans that no folder holds.

        Raises:
            SettingError: some are missing; the message names the first.
        """
        lost = sorted(set(scans) - set(self.paths))
        if lost:
            raise SettingError(
                f"{len(lost)} scenes of the samples have no ScenePoint file, such as {lost[0]};"
                " export them (pomagym scenes export) or name their folder"
            )

    def prepare(self, scans: Iterable[str], on_scene: Callable[[str], None] = lambda scan: None) -> None:
        """Make what is missing on disk, one scene after another."""
        for scan in sorted(set(scans)):
            if self.folder is None or not self._file(scan).is_file():
                self[scan]
            on_scene(scan)

    def views(self, scan: str) -> StoredViews:
        """The views of a scene as they lie on disk, with categories and poses where there are any."""
        self.require([scan])
        return SceneFile(self.paths[scan]).read(labels=True)

    def __getitem__(self, scan: str) -> SceneFeatures:
        """The features of a scene, from memory, from disk or from the encoder.

        Raises:
            SettingError: no such scene.
            FileError: the scene's file or the kept features are damaged.
        """
        if scan in self._kept:
            self._kept.move_to_end(scan)
            return self._kept[scan]
        self.require([scan])
        file = None if self.folder is None else self._file(scan)
        if file is not None and file.is_file():
            features = _read(file, scan)
        else:
            features = self._make(scan)
            if file is not None:
                _write(file, features)
        self._kept[scan] = features
        held = sum(kept.nbytes for kept in self._kept.values())
        while held > _IN_MEMORY and len(self._kept) > 1:
            held -= self._kept.popitem(last=False)[1].nbytes
        return features

    def key(self, scan: str) -> str:
        """A name for the scene as it is on disk: another file, another name."""
        return f"{scan}-{_digest(self.paths[scan])[:16]}"

    def _file(self, scan: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{self.key(scan)}.safetensors"

    def _make(self, scan: str) -> SceneFeatures:
        file = SceneFile(self.paths[scan])
        stored = file.read(labels=True)
        size = self.backbone.image_size
        points, valid = stored.point_map, stored.valid
        if points.shape[1:3] != (size, size):
            points, valid = resize(points, valid, size, size)
        moved = points if self.placing == "scene" else seen_from(points, valid, stored.scene_from_camera)
        encoded = self.backbone.encode(moved, valid)
        tokens = encoded["patch_tokens"]  # (V, P, C)
        side = size // round(tokens.shape[1] ** 0.5)
        centres, seen = patch_centres(points, valid, side)  # (V, P, 3), (V, P)
        floor = float(np.quantile(points[..., 2][valid], 0.02)) if valid.any() else 0.0
        thin = stored.point_map[:, ::_THIN, ::_THIN][stored.valid[:, ::_THIN, ::_THIN]]
        return SceneFeatures(
            scan_id=scan,
            tokens=tokens.reshape(-1, tokens.shape[-1]).astype(np.float16),  # (V, P, C) -> (K, C)
            cls=encoded["cls"].astype(np.float16),
            centres=centres.reshape(-1, 3).astype(np.float32),
            feet=_feet(centres, stored.scene_from_camera).reshape(-1, 2).astype(np.float32),
            seen=seen.reshape(-1),
            counts=_category_counts(stored, size, side, len(file.words.categories)),
            categories=file.words.categories if stored.category_ids is not None else (),
            floor=floor,
            plan=draw_plan(thin, floor),
        )


def _how(backbone: Any) -> str:
    """What a folder's name says of how features were made: they differ between precisions and kinds of device."""
    how = (backbone.precision, backbone.device.type)
    return "" if how == ("float32", "cpu") else "-" + "-".join(how)


def patch_centres(points: np.ndarray, valid: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the valid points of each patch (V, P, 3), and which patches have any (V, P)."""
    V, H, W = valid.shape
    shape = (V, H // side, side, W // side, side)
    total = np.where(valid[..., None], points, 0).astype(np.float64).reshape(*shape, 3).sum((2, 4))
    count = valid.reshape(shape).sum((2, 4))  # (V, h, w)
    centres = total / np.maximum(count, 1)[..., None]
    return centres.reshape(V, -1, 3), (count > 0).reshape(V, -1)  # (V, h, w, ...) -> (V, P, ...)


def seen_from(points: np.ndarray, valid: np.ndarray, poses: np.ndarray | None) -> np.ndarray:
    """Point maps (V, H, W, 3) each from its own camera: x where it looks, the origin below it, heights the scene's.

    Without poses the origin is below the mean of the view's points, and the axes stay the scene's.
    """
    moved = points.copy()
    for view, seen in enumerate(valid):
        if poses is None:
            place, yaw = points[view][seen].mean(0)[:2] if seen.any() else np.zeros(2), 0.0
        else:
            place = poses[view][:2, 3]
            yaw = float(np.arctan2(poses[view][1, 2], poses[view][0, 2]))  # OpenCV's z axis looks forward
        moved[view] = to_agent(points[view], (float(place[0]), float(place[1]), 0.0), yaw)
        moved[view][~seen] = 0
    return moved


def to_agent(points: np.ndarray, location: Sequence[float], yaw: float) -> np.ndarray:
    """Points (..., 3) of the scene's frame in the agent's: x forward, y left, z up, metres."""
    moved = points - np.asarray(location, points.dtype)
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], points.dtype)  # row vectors times this turn by -yaw
    return moved @ turn


def _feet(centres: np.ndarray, poses: np.ndarray | None) -> np.ndarray:
    """(V, P, 2): the centres moved by 0.3 m towards the camera, off the wall that they hang on."""
    if poses is None:
        return centres[..., :2]
    towards = poses[:, None, :2, 3] - centres[..., :2]  # (V, P, 2)
    length = np.linalg.norm(towards, axis=-1, keepdims=True)
    return centres[..., :2] + towards / np.maximum(length, 1e-6) * np.minimum(0.3, length)


def _category_counts(stored: StoredViews, size: int, side: int, words: int) -> np.ndarray:
    """(K, W) uint8 pixels of each category in a patch, at most 255."""
    V, grid = len(stored.valid), size // side
    if stored.category_ids is None:
        return np.zeros((V * grid * grid, 0), np.uint8)
    ids = sample_pixels(stored.category_ids, size, size).astype(np.int64)  # (V, H, W)
    patch = np.arange(V * grid * grid).reshape(V, grid, 1, grid, 1)
    patch = np.broadcast_to(patch, (V, grid, side, grid, side)).reshape(V, size, size)  # -> (V, H, W)
    known = ids != NO_ID
    counts = np.zeros((V * grid * grid, words), np.int64)
    np.add.at(counts, (patch[known], ids[known]), 1)
    return np.minimum(counts, 255).astype(np.uint8)


_DIGESTS: dict[tuple[str, int, int], str] = {}


def _digest(path: Path) -> str:
    """sha256 of a file, looked up again only where size or time of change differ."""
    try:
        facts = path.stat()
        key = (str(path), facts.st_size, facts.st_mtime_ns)
        if key not in _DIGESTS:
            _DIGESTS[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    return _DIGESTS[key]


def _write(path: Path, features: SceneFeatures) -> None:
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(getattr(features, name)) for name in _ARRAYS}
    arrays |= {"plan_origin": features.plan.origin, "plan_cells": features.plan.cells}
    facts = {"format": _FORMAT, "categories": json.dumps(features.categories), "floor": repr(features.floor)}
    with atomic_path(path) as temporary:
        save_file(arrays, str(temporary), metadata=facts)


def _read(path: Path, scan: str) -> SceneFeatures:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            facts = file.metadata() or {}
            if facts.get("format") != _FORMAT:
                raise FileError(
                    path, f"holds {facts.get('format')}, expected {_FORMAT}; remove it to make it anew"
                )
            arrays = {name: file.get_tensor(name) for name in (*_ARRAYS, "plan_origin", "plan_cells")}
    except (SafetensorError, OSError) as error:
        raise FileError(path, f"is damaged ({error}); remove it to make it anew") from error
    plan = Plan(arrays.pop("plan_origin"), arrays.pop("plan_cells"))
    return SceneFeatures(
        scan,
        **arrays,
        categories=tuple(json.loads(facts["categories"])),
        floor=float(facts["floor"]),
        plan=plan,
    )
