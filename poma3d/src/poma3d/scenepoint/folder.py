"""A ScenePoint folder: which scenes it holds, and which captions belong to them.

``ROOT/light_SOURCE/SCAN.safetensors`` with ``ROOT/annotations`` beside, as the authors publish it; a folder that
holds the ``.safetensors`` themselves does as well. Captions may also lie in ``ROOT/ANYTHING/annotations``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from poma3d.errors import FileError
from poma3d.scenepoint.captions import (
    RETRIEVAL,
    SCENE_CAPTIONS,
    VIEW_CAPTIONS,
    ViewCaptions,
    read_scene_captions,
)

SUFFIX = ".safetensors"
LIGHT = "light_"
"""What the authors' folders of scenes begin with: ``light_scannet``, ``light_3rscan``, ``light_arkitscenes``."""
ANNOTATIONS = "annotations"


def source_folder(source: str) -> str:
    """The folder of a source's scenes below the root: ``light_scannet`` for ``scannet``."""
    return LIGHT + source


def scene_path(root: Path, source: str, scan_id: str) -> Path:
    """Where a scan's file belongs."""
    return root / source_folder(source) / f"{scan_id}{SUFFIX}"


def view_captions_path(root: Path, source: str) -> Path:
    """Where a source's view captions belong."""
    return root / ANNOTATIONS / VIEW_CAPTIONS.format(source=source)


def scene_captions_path(root: Path) -> Path:
    """Where the captions of whole scenes belong."""
    return root / ANNOTATIONS / SCENE_CAPTIONS


def retrieval_path(root: Path, source: str) -> Path:
    """Where a source's retrieval queries belong."""
    return root / "retrieval" / RETRIEVAL.format(source=source)


@dataclass(frozen=True)
class SceneEntry:
    """One scene of a folder."""

    scan_id: str
    """The file's name without its ending."""
    path: Path
    """Its file."""
    source: str
    """The name of the folder it lies in, such as ``light_scannet``."""
    captions: ViewCaptions | None
    """The file that holds captions of its views; None without."""
    scene_captions: tuple[str, ...]
    """Captions of the whole scene."""


class ScenePointFolder:
    """The scenes below one root and their captions.

    Args:
        root: the folder.

    Raises:
        FileError: no folder, no scenes in it, or a caption file that cannot be read.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileError(self.root, "is no folder")
        files = sorted(self.root.glob(f"{LIGHT}*/*{SUFFIX}")) or sorted(self.root.glob(f"*{SUFFIX}"))
        files = [path for path in files if not path.name.startswith(".")]  # half-written ones
        if not files:
            raise FileError(self.root, f"holds no scenes: {LIGHT}SOURCE/SCAN{SUFFIX} was expected")
        self.view_captions = [ViewCaptions(path) for path in self._annotations("per_view_captions_*.jsonl")]
        self.scene_captions: dict[str, list[str]] = {}
        """Captions of whole scenes by scan."""
        for path in self._annotations(SCENE_CAPTIONS):
            for scan, texts in read_scene_captions(path).items():
                self.scene_captions.setdefault(scan, []).extend(texts)
        owner = {scan: captions for captions in reversed(self.view_captions) for scan in captions}
        self.scenes = tuple(
            SceneEntry(
                path.stem,
                path,
                path.parent.name,
                owner.get(path.stem),
                tuple(self.scene_captions.get(path.stem, ())),
            )
            for path in files
        )

    def _annotations(self, pattern: str) -> list[Path]:
        places = (self.root / ANNOTATIONS, self.root, *sorted(self.root.glob(f"*/{ANNOTATIONS}")))
        return [path for place in places for path in sorted(place.glob(pattern))]

    def captions_without_scene(self) -> list[tuple[Path, str]]:
        """The caption file and the scan of captions that no scene's file goes with."""
        scans = {scene.scan_id for scene in self.scenes}
        lost = [(captions.path, scan) for captions in self.view_captions for scan in captions]
        lost += [
            (path, scan) for path in self._annotations(SCENE_CAPTIONS) for scan in read_scene_captions(path)
        ]
        return [(path, scan) for path, scan in lost if scan not in scans]
