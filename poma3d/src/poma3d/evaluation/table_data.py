"""The scenes that a table of encoders is measured on, and what names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from poma3d.errors import FileError
from poma3d.evaluation.features import Placing
from poma3d.evaluation.suite import Suite
from poma3d.evaluation.synonyms import SYNONYMS
from poma3d.scenepoint.folder import ScenePointFolder
from poma3d.scenepoint.scene_file import SceneFile

PROTOCOL = 1
"""Counts the changes of what is measured; kept measures of another number are not used."""


class FolderContents:
    """What names the data in some ScenePoint folders.

    Args:
        folders: their paths.
        facts: how they are used, as JSON can hold it.
    """

    def __init__(self, folders: Sequence[str], *facts: Any) -> None:
        self._folders = [Path(folder) for folder in folders]
        contents = [_content(folder) for folder in self._folders]
        self.sha256 = hashlib.sha256(json.dumps([PROTOCOL, *facts, contents]).encode()).hexdigest()
        """Of captions and of the sizes of scene files."""

    @cached_property
    def scenes_sha256(self) -> str:
        """Of what the scene files hold; they are read whole, about a second a GB."""
        digests = [
            [str(number), path.relative_to(folder).as_posix(), _sha256(path)]
            for number, folder in enumerate(self._folders)
            for path in _files(folder)
            if path.suffix == ".safetensors"
        ]
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


class TableData:
    """The scenes of a table.

    Args:
        validation: ScenePoint folders that no encoder was trained on.
        transfer: other scenes by name, a ScenePoint folder each.
        size: rows and columns of a point map that the encoders take.
        views: views of a scene.
        rooms: ScenePoint folders whose scenes are single rooms, as most scans of ScanNet are; there scenes are
            found by text once more.

    Raises:
        UserError: folders that cannot be used.
    """

    def __init__(
        self,
        validation: Sequence[str],
        transfer: Mapping[str, str],
        size: int,
        *,
        views: int = 32,
        rooms: Sequence[str] = (),
    ) -> None:
        self.size, self.views = size, views
        self.validation = Suite(validation, size, views=views)
        names = {
            "categories": self.validation.dataset.categories,
            "room_types": self.validation.dataset.room_types,
        }
        # of one scene every view counts
        self.transfer = {
            name: Suite([folder], size, views=_most_views(folder), aliases=SYNONYMS, **names)
            for name, folder in transfer.items()
        }
        self.contents = FolderContents((*validation, *transfer.values()), size, views, list(transfer))
        """What names these data."""
        self.rooms: Suite | None = None
        """The single rooms, where there are any."""
        self.room_contents: FolderContents | None = None
        """What names them."""
        if rooms:
            most = max(_most_views(folder) for folder in rooms)
            self.rooms = Suite(rooms, size, views=most)
            if not self.rooms.has_queries:
                raise FileError(
                    rooms[0],
                    "says nothing that its rooms could be found by: retrieval/*.jsonl or scene captions of them were"
                    " expected",
                )
            self.room_contents = FolderContents(rooms, size, most, "rooms")

        suites = (self.validation, *self.transfer.values())
        self.placings: tuple[Placing, ...] = ("scene",)
        """As agents see them as well, where all scenes have cameras."""
        if all(suite.has_cameras for suite in suites):
            self.placings = ("scene", "agent")

    @property
    def encodings(self) -> int:
        """Scenes that are encoded for one checkpoint beside the rooms, once for each placing."""
        suites = (self.validation, *self.transfer.values())
        return len(self.placings) * sum(len(suite.dataset) for suite in suites)


def _most_views(folder: str) -> int:
    return max(SceneFile(scene.path).views for scene in ScenePointFolder(folder).scenes)


def _content(folder: Path) -> list[list[str]]:
    """What tells a folder's data from others': the sizes of scene files, the hashes of captions."""
    return [
        [
            path.relative_to(folder).as_posix(),
            str(path.stat().st_size) if path.suffix == ".safetensors" else _sha256(path),
        ]
        for path in _files(folder)
    ]


def _files(folder: Path) -> list[Path]:
    """The files of a ScenePoint folder, in order."""
    kinds = (".safetensors", ".json", ".jsonl")
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in kinds and path.name[0] != "."
    ]


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
