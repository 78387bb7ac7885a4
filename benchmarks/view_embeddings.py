"""Scenes of ScenePoint folders as the embeddings of their views, by an encoder of point maps or a tower of pictures.

Shapes: V views of a scene, D embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from benchmarks.machine import provenance
from benchmarks.results import config_sha256
from poma3d.errors import FileError, SettingError
from poma3d.pointmap import resize
from poma3d.scenepoint.folder import ScenePointFolder
from poma3d.scenepoint.scene_file import IMAGES, SceneFile, StoredViews

if TYPE_CHECKING:
    from agent.backbone import FrozenBackbone
    from poma3d.towers import ImageTower, TextTower


@dataclass(frozen=True)
class ViewSettings:
    """Which scenes are encoded by what: shared by the measures that compare texts with views.

    Raises:
        SettingError: a number out of its range.
    """

    scenes: tuple[str, ...]
    """ScenePoint folders."""
    encoder: str
    """What `poma3d.checkpoints.load_encoder` takes."""
    text: str | None = None
    """What `poma3d.towers.loading.load_text` takes; None = the tower that the encoder is aligned with."""
    views: int = 32
    """Views of a scene, the first ones."""
    seed: int = 0
    """Of the random weights that serve as control."""

    def __post_init__(self) -> None:
        if self.views < 1:
            raise SettingError(f"views must be at least 1, found {self.views}")

    def config_with(self, what: str, files: Sequence[str | Path]) -> dict[str, Any]:
        """The settings as JSON values, with the hash of the files that questions are read from as ``WHAT_sha256``.

        Raises:
            FileError: one cannot be read.
        """
        digest = hashlib.sha256()
        for file in files:
            try:
                digest.update(Path(file).read_bytes())
            except OSError as error:
                raise FileError(file, f"cannot be read ({error.strerror})") from error
        return {**asdict(self), "scenes": list(self.scenes), f"{what}_sha256": digest.hexdigest()}


class ViewEncoder(Protocol):
    """Stored views to embeddings."""

    @property
    def pictures(self) -> bool:
        """Whether it reads the pictures and not the point maps."""
        ...

    def embed(self, views: StoredViews) -> np.ndarray:
        """The embeddings (V, D) float32 of views, not normalised."""
        ...


@dataclass(frozen=True)
class PointMapViews:
    """Views by their point maps."""

    backbone: FrozenBackbone
    """The encoder; one that gives the same numbers whatever is encoded together."""
    pictures: bool = False

    def embed(self, views: StoredViews) -> np.ndarray:
        """See `ViewEncoder.embed`."""
        size = self.backbone.image_size
        points, valid = views.point_map, views.valid
        if points.shape[1:3] != (size, size):
            points, valid = resize(points, valid, size, size)
        return self.backbone.encode(points, valid)["cls"]


@dataclass(frozen=True)
class PictureViews:
    """Views by their pictures, as FG-CLIP on RGB in the paper's tables."""

    tower: ImageTower
    """The tower of pictures."""
    pictures: bool = True

    def embed(self, views: StoredViews) -> np.ndarray:
        """See `ViewEncoder.embed`."""
        return self.tower.encode(views.images).cpu().numpy()


@dataclass(frozen=True)
class Contestants:
    """What is compared: an encoder, its control, and the text tower that speaks to both."""

    rows: dict[str, tuple[str, ViewEncoder]]
    """By the name of its row: ``measured`` or ``control``, and the encoder."""
    text: TextTower
    """The text tower."""
    weights_sha256: str
    """Of the measured encoder."""

    def facts(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What a result tells beside its numbers: text tower, settings, hashes, versions, hardware and command."""
        return {
            "text": self.text.name,
            "config": dict(config),
            "config_sha256": config_sha256(config),
            "weights_sha256": self.weights_sha256,
            "text_sha256": self.text.weights_sha256(),
            **provenance(),
        }


def open_contestants(
    encoder: str, text: str | None, *, pictures: bool = False, seed: int = 0, device: str = "cpu"
) -> Contestants:
    """Load an encoder and its text tower; an encoder of the same shape with random weights is the control.

    Args:
        encoder: what `poma3d.checkpoints.load_encoder` takes; with ``pictures`` FG-CLIP.
        text: what `poma3d.towers.loading.load_text` takes; None: the tower that the encoder is aligned with.
        pictures: encode pictures and not point maps.
        seed: of the random weights.
        device: where the encoders run, as torch names it; ``auto``: a GPU where there is one.

    Raises:
        UserError: nothing of that name, or damaged files.
    """
    import torch

    from agent.backbone import FrozenBackbone
    from poma3d.checkpoints import load_encoder
    from poma3d.encoder import PointMapEncoder
    from poma3d.towers.loading import load_text, text_beside

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = load_encoder(encoder)
    tower = load_text(text or text_beside(encoder, loaded.config.embedding))
    weights = loaded.weights_sha256()
    both = {encoder: loaded, "random weights": PointMapEncoder(loaded.config, seed=seed).eval()}
    rows: dict[str, tuple[str, ViewEncoder]] = {}
    for name, network in both.items():
        if pictures:
            from poma3d.towers.fgclip import FgClipImage

            views: ViewEncoder = PictureViews(FgClipImage(network, name).to(device))
        else:
            views = PointMapViews(FrozenBackbone(network, precision="float32", device=device))
        rows[name] = ("measured" if network is loaded else "control", views)
    return Contestants(rows, tower, weights)


def check_channels(texts: int, views: int) -> None:
    """Refuse to compare texts and views that were not aligned with each other.

    Raises:
        SettingError: they have other numbers of channels.
    """
    if texts != views:
        raise SettingError(
            f"texts of {texts} channels cannot be compared with views of {views};"
            " name the text tower that the encoder was aligned with (--text)"
        )


def find_scenes(roots: Sequence[str]) -> dict[str, Path]:
    """The file of every scene of some ScenePoint folders, by its scan id, in the order of the folders.

    Raises:
        FileError: a folder without scenes.
        SettingError: no folder, or two scenes of one name.
    """
    if not roots:
        raise SettingError("no scenes: name a ScenePoint folder (pomagym scenes export or convert makes one)")
    found: dict[str, Path] = {}
    for root in roots:
        for scene in ScenePointFolder(root).scenes:
            other = found.setdefault(scene.scan_id, scene.path)
            if other != scene.path:
                raise SettingError(f"{other} and {scene.path} are scenes of one name; leave one of them out")
    return found


def read_views(path: Path, most: int, *, pictures: bool = False, cameras: bool = False) -> StoredViews:
    """The first ``most`` views of a scene's file, as the authors' runners take them.

    Args:
        path: the file.
        most: views at most; a scene of fewer has fewer.
        pictures: also the pictures.
        cameras: also the camera poses.

    Raises:
        FileError: the file cannot be read, or lacks what is asked for.
    """
    if most < 1:
        raise SettingError(f"a scene needs at least 1 view, found {most}")
    file = SceneFile(path)
    if pictures and IMAGES not in file.keys:
        raise FileError(path, f"has no {IMAGES}, which an encoder of pictures reads")
    views = file.read(range(min(most, file.views)), images=pictures, labels=cameras)
    if cameras and views.scene_from_camera is None:
        raise FileError(
            path, "does not say where its cameras stood (scene_from_camera); export or convert it again"
        )
    return views
