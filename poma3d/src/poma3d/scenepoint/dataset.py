"""ScenePoint as a torch data set: any scene, its views drawn, captions drawn, changed at random, on request.

Nothing but headers is read before a scene is asked for. What is random about a draw depends on its seed alone, so
neither the number of worker processes nor a restart changes it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from poma3d.errors import FileError, SettingError, UserError
from poma3d.pointmap import resize
from poma3d.pointmap.resize import sample_pixels
from poma3d.scenepoint.augment import draw_change
from poma3d.scenepoint.batch import UNKNOWN, SceneSample
from poma3d.scenepoint.folder import SceneEntry, ScenePointFolder
from poma3d.scenepoint.order import Draw, fingerprint
from poma3d.scenepoint.scene_file import IMAGES, SceneFile, StoredViews
from poma3d.scenepoint.settings import DataSettings

_LOG = logging.getLogger(__name__)
_DOMAIN = 0x5CE7E
"""Keeps the seeds of draws apart from those of the order."""
_MOST_BAD_IN_A_ROW = 100
"""Scenes skipped one after another before the data set is taken for useless."""


class ScenePointDataset(Dataset):
    """The scenes of one or more ScenePoint folders.

    Args:
        roots: folders as `poma3d.scenepoint.folder.ScenePointFolder` takes them.
        settings: how scenes are drawn.
        scans: which scans to take; None takes all.
        categories: the names that ``semantics`` shall index; None: those of all files, sorted. A held-out data set
            gets its training set's.
        room_types: the same for ``rooms``.
        aliases: other names for categories and room types of the files, such as ``{"night stand": "nightstand"}``
            for a data set whose words are not the training set's.

    Raises:
        FileError: a folder without scenes; with ``bad_scenes="refuse"`` also a scene that cannot be used, and
            captions of a scene that is not there.
        SettingError: none of the scenes can be used.
    """

    def __init__(
        self,
        roots: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
        settings: DataSettings | None = None,
        *,
        scans: Collection[str] | None = None,
        categories: Sequence[str] | None = None,
        room_types: Sequence[str] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings or DataSettings()
        folders = [ScenePointFolder(r) for r in ([roots] if isinstance(roots, str | os.PathLike) else roots)]
        self.roots = tuple(folder.root for folder in folders)
        """The folders."""
        self.skipped: list[str] = []
        """What was left out, in words, each with its file."""
        self._scenes: list[SceneEntry] = []
        self._files: list[SceneFile] = []
        for folder in folders:
            for path, scan in folder.captions_without_scene() if scans is None else ():
                self._bad(FileError(path, f"has captions of {scan!r}, but there is no file of that scene"))
            for scene in folder.scenes:
                if scans is None or scene.scan_id in scans:
                    self._take(scene)
        if not self._scenes:
            why = f"; the first trouble: {self.skipped[0]}" if self.skipped else ""
            raise SettingError(f"no scene of {', '.join(str(f.root) for f in folders)} can be used{why}")
        self._aliases = dict(aliases or {})
        words = [file.words for file in self._files]
        self.categories = tuple(categories or sorted({n for w in words for n in self._renamed(w.categories)}))
        """Names of the categories that ``semantics`` indexes."""
        self.room_types = tuple(room_types or sorted({n for w in words for n in self._renamed(w.room_types)}))
        """Names of the room types that ``rooms`` indexes."""
        self._items = [
            (scene, view if self.settings.single_views else None)
            for scene, file in enumerate(self._files)
            for view in (range(file.views) if self.settings.single_views else (0,))
        ]

    def _take(self, scene: SceneEntry) -> None:
        try:
            file = SceneFile(scene.path)
            if self.settings.images and IMAGES not in file.keys:
                raise FileError(scene.path, f"has no {IMAGES}, which images=True asks for")
            if scene.captions is not None:
                views = scene.captions.views(scene.scan_id)
                if views != list(range(file.views)):
                    raise FileError(
                        scene.path,
                        f"has {file.views} views, but {scene.captions.path} has {len(views)} lines for it",
                    )
        except FileError as error:
            self._bad(error)
            return
        self._scenes.append(scene)
        self._files.append(file)

    def _renamed(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self._aliases.get(name, name) for name in names)

    def _bad(self, error: FileError) -> None:
        if self.settings.bad_scenes == "refuse":
            raise error
        self.skipped.append(str(error))
        _LOG.warning("skipped: %s", error)

    def __len__(self) -> int:
        """Number of scenes; of views with ``single_views``."""
        return len(self._items)

    @property
    def sources(self) -> list[str]:
        """The source of every item: what equal-mass sampling goes by."""
        return [self._scenes[scene].source for scene, _ in self._items]

    @property
    def scan_ids(self) -> list[str]:
        """The scan of every item; with ``single_views`` followed by ``#`` and the number of the view."""
        return [self._name(scene, view) for scene, view in self._items]

    @property
    def different_views(self) -> list[int]:
        """Of each scene the different views that a draw holds: those of its file, at most as many as asked for."""
        return [min(file.views, self.settings.views) for file in self._files]

    @property
    def captioned_views(self) -> int:
        """Number of views with a caption that says anything, of all scenes."""
        return sum(len(s.captions.said(s.scan_id)) for s in self._scenes if s.captions is not None)

    @property
    def captioned_scenes(self) -> int:
        """Number of scenes with a caption of the whole."""
        return sum(bool(scene.scene_captions) for scene in self._scenes)

    def fingerprint(self) -> str:
        """sha256 of which scenes there are, in order: a saved position holds for the same alone."""
        return fingerprint(list(zip(self.sources, self.scan_ids, strict=True)))

    def _name(self, scene: int, view: int | None) -> str:
        scan = self._scenes[scene].scan_id
        return scan if view is None else f"{scan}#{view}"

    def __getitem__(self, draw: Draw | int) -> SceneSample:
        """Draw a scene; a plain number draws it with a seed of its own, the same every time.

        Raises:
            FileError: the scene cannot be used (``bad_scenes="refuse"``), or a hundred in a row cannot.
        """
        if not isinstance(draw, tuple):
            draw = Draw(range(len(self))[draw], (0, range(len(self))[draw]))
        tried: UserError | None = None
        for offset in range(min(len(self), _MOST_BAD_IN_A_ROW)):  # a bad one gives way to the next one
            index = (draw.index + offset) % len(self)
            try:
                return self._sample(*self._items[index], np.random.default_rng((*draw.seed, _DOMAIN)))
            except FileError as error:
                if self.settings.bad_scenes == "refuse":
                    raise
                tried = tried or error
                _LOG.warning("skipped: %s", error)
        raise tried or SettingError("there are no scenes")

    def _sample(self, scene: int, view: int | None, rng: np.random.Generator) -> SceneSample:
        entry, file, settings = self._scenes[scene], self._files[scene], self.settings
        indices = draw_views(file.views, settings.views, rng) if view is None else np.array([view])
        cameras = settings.augment is not None and settings.augment.agent_share > 0
        views = file.read(indices, images=settings.images, labels=settings.labels, cameras=cameras)
        empty = np.flatnonzero(~views.valid.any(axis=(1, 2)))
        if len(empty):
            raise FileError(entry.path, f"view {indices[empty[0]]} has no valid pixel")
        view_captions, scene_caption = self._captions(entry, indices, view, rng)
        points, valid = views.point_map, views.valid
        size = settings.size
        if size is not None and points.shape[1:3] != (size, size):
            points, valid = resize(points, valid, size, size)
        poses = views.scene_from_camera
        if settings.augment is not None:
            change = draw_change(settings.augment, points, valid, rng, poses)
            points = change.points(points, valid)
            poses = None if poses is None else change.poses(poses)
        return SceneSample(
            point_map=torch.from_numpy(points),
            valid=torch.from_numpy(valid),
            view_captions=view_captions,
            scene_caption=scene_caption,
            scan_id=self._name(scene, view),
            source=entry.source,
            view_indices=torch.from_numpy(indices),
            images=None if views.images is None else _sized_pictures(views.images, settings.image_size),
            semantics=self._semantics(file, views) if settings.labels else None,
            rooms=self._rooms(file, views, len(indices)) if settings.labels else None,
            poses=None if poses is None or not settings.labels else torch.from_numpy(poses),
        )

    def _captions(
        self, entry: SceneEntry, indices: np.ndarray, view: int | None, rng: np.random.Generator
    ) -> tuple[list[str], str]:
        """A caption of each view, and one of the scene; a view taken as a scene has its own for both."""
        choices: list[tuple[str, ...]] = [()] * len(indices)
        if entry.captions is not None:
            choices = entry.captions.utterances(entry.scan_id, indices.tolist())
        drawn = [self._joined(texts, rng) for texts in choices]
        if view is not None:
            return drawn, drawn[0]
        texts = entry.scene_captions
        return drawn, texts[rng.integers(len(texts))] if texts else ""

    def _joined(self, texts: tuple[str, ...], rng: np.random.Generator) -> str:
        """Some of a view's captions as one text."""
        if self.settings.captions == 1 or len(texts) < 2:
            return texts[rng.integers(len(texts))] if texts else ""
        count = int(rng.integers(1, min(self.settings.captions, len(texts)) + 1))
        return " ".join(texts[index] for index in rng.permutation(len(texts))[:count])

    def _semantics(self, file: SceneFile, views: StoredViews) -> torch.Tensor:
        size = self.settings.size
        shape = views.valid.shape if size is None else (len(views.valid), size, size)
        if views.category_ids is None:
            return torch.full(shape, UNKNOWN, dtype=torch.int16)
        ids = sample_pixels(views.category_ids, *shape[1:])
        return torch.from_numpy(_translation(self._renamed(file.words.categories), self.categories)[ids])

    def _rooms(self, file: SceneFile, views: StoredViews, count: int) -> torch.Tensor:
        if views.room_type_ids is None:
            return torch.full((count,), UNKNOWN, dtype=torch.int64)
        table = _translation(self._renamed(file.words.room_types), self.room_types)
        return torch.from_numpy(table[views.room_type_ids].astype(np.int64))

    def path_of(self, scan_id: str) -> Path:
        """The file of a scan, to name it in messages; a view's number after ``#`` is passed over.

        Raises:
            SettingError: there is no such scan.
        """
        name = scan_id.split("#")[0]
        for scene in self._scenes:
            if scene.scan_id == name:
                return scene.path
        raise SettingError(f"there is no scan {scan_id!r} in this data set")


def draw_views(available: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Indices (wanted,) int64 of views, as the authors draw them.

    Of more than wanted a random selection in random order; of fewer all, then some again at random.
    """
    if available > wanted:
        return rng.permutation(available)[:wanted].astype(np.int64)
    return np.concatenate([np.arange(available), rng.integers(available, size=wanted - available)])


@lru_cache(maxsize=1024)
def _translation(names: tuple[str, ...], known: tuple[str, ...]) -> np.ndarray:
    """(len(names) + 1,) int16: from a file's ids to the data set's; the last entry serves id -1."""
    place = {name: index for index, name in enumerate(known)}
    return np.array([*(place.get(name, UNKNOWN) for name in names), UNKNOWN], dtype=np.int16)


def _sized_pictures(images: np.ndarray, size: int) -> torch.Tensor:
    """Pictures (V, H, W, 3) uint8 as (V, size, size, 3), smoothed where they shrink."""
    pictures = torch.from_numpy(images)
    if images.shape[1:3] == (size, size):
        return pictures
    planes = pictures.permute(0, 3, 1, 2).float()  # (V, H, W, 3) -> (V, 3, H, W)
    planes = interpolate(planes, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    return planes.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
