"""Caption files of ScenePoint: one line a view, one entry a scene, and the queries of scene retrieval.

==============================================  ===================================================================
``annotations/per_view_captions_SOURCE_v1.jsonl``  a line a view: ``scan_id``, ``safetensors_path``,
                                                ``utterance`` (up to five texts); the n-th line of a scan is its
                                                n-th view, unless ``view`` (ours) says another
``annotations/scene_cap.json``                  ``{scan_id: {"captions": [...]}}``
``retrieval/SOURCE_retrieval.jsonl``            ``scan_id``, ``utterance``, ``view_ground_truth`` (views that show it)
==============================================  ===================================================================

The layout is that of POMA-3D's authors (read from their follow-up's public loaders, github.com/Yebulabula/UniScene3D).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poma3d.errors import FileError
from poma3d.files import atomic_path, write_text

VIEW_CAPTIONS = "per_view_captions_{source}_v1.jsonl"
SCENE_CAPTIONS = "scene_cap.json"
RETRIEVAL = "{source}_retrieval.jsonl"
MOST = 5
"""Captions of a view that count; the authors' loader takes the first five."""


@dataclass(frozen=True)
class ViewCaption:
    """What one line says about one view."""

    scan_id: str
    """Which scene."""
    safetensors_path: str
    """Its file, from the data set's root."""
    utterance: tuple[str, ...]
    """Up to five texts."""
    view: int | None = None
    """Which view of the scene; None: as many as lines of this scan came before."""


@dataclass(frozen=True)
class RetrievalQuery:
    """One sentence that describes something in a scene."""

    scan_id: str
    """Which scene."""
    utterance: str
    """The sentence."""
    view_ground_truth: tuple[int, ...] = ()
    """The views that show what it speaks of, best first."""


class ViewCaptions:
    """View captions of a ``.jsonl`` file; only where each line begins is kept in memory.

    Args:
        path: the file.

    Raises:
        FileError: it cannot be read, or a line is not as the layout says (the message names it).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.files: dict[str, str] = {}
        """The safetensors file that lines name, for every scan."""
        self._offsets: dict[str, dict[int, int]] = {}
        self._said: dict[str, set[int]] = {}
        offset = 0
        try:
            with open(self.path, "rb") as stream:
                for number, line in enumerate(stream, 1):
                    if line.strip():
                        self._index(line, number, offset)
                    offset += len(line)
        except OSError as error:
            raise FileError(self.path, f"cannot be read ({error.strerror})") from error

    def _index(self, line: bytes, number: int, offset: int) -> None:
        caption = _view_caption(self.path, line, number)
        views = self._offsets.setdefault(caption.scan_id, {})
        view = len(views) if caption.view is None else caption.view
        if view in views:
            raise FileError(self.path, f"line {number}: view {view} of {caption.scan_id} has a line already")
        views[view] = offset
        if caption.utterance:
            self._said.setdefault(caption.scan_id, set()).add(view)
        self.files.setdefault(caption.scan_id, caption.safetensors_path)

    def __contains__(self, scan_id: str) -> bool:
        """Whether a scan has lines here."""
        return scan_id in self._offsets

    def __iter__(self) -> Iterator[str]:
        """The scans that have lines here."""
        return iter(self._offsets)

    def views(self, scan_id: str) -> list[int]:
        """The views of a scan that have a line, in order."""
        return sorted(self._offsets.get(scan_id, ()))

    def said(self, scan_id: str) -> list[int]:
        """The views of a scan whose line says anything, in order."""
        return sorted(self._said.get(scan_id, ()))

    def utterances(self, scan_id: str, views: Iterable[int]) -> list[tuple[str, ...]]:
        """The captions of each of some views of a scan; empty for a view without.

        Raises:
            FileError: the file has changed or gone.
        """
        offsets = self._offsets.get(scan_id, {})
        read: dict[int, tuple[str, ...]] = {}
        answers = []
        try:
            with open(self.path, "rb") as stream:
                for view in views:
                    if view not in offsets:
                        answers.append(())
                        continue
                    if view not in read:
                        stream.seek(offsets[view])
                        read[view] = _view_caption(self.path, stream.readline(), None).utterance
                    answers.append(read[view])
        except OSError as error:
            raise FileError(self.path, f"cannot be read ({error.strerror})") from error
        return answers


def _view_caption(path: Path, line: bytes, number: int | None) -> ViewCaption:
    where = "a line that was whole before" if number is None else f"line {number}"
    try:
        entry = json.loads(line)
        texts = [entry["utterance"]] if isinstance(entry["utterance"], str) else entry["utterance"]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("utterance holds something that is no text")
        view = entry.get("view")
        return ViewCaption(
            str(entry["scan_id"]),
            str(entry.get("safetensors_path", "")),
            tuple(text for text in texts[:MOST] if text.strip()),
            None if view is None else int(view),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(
            path, f"{where}: an object with scan_id and utterance was expected ({error!r})"
        ) from error


def write_view_captions(path: str | os.PathLike[str], captions: Iterable[ViewCaption]) -> None:
    """Write view captions, whole or not at all."""
    _write_lines(
        path,
        (
            {
                "scan_id": caption.scan_id,
                "safetensors_path": caption.safetensors_path,
                "utterance": list(caption.utterance),
                **({} if caption.view is None else {"view": caption.view}),
            }
            for caption in captions
        ),
    )


def read_scene_captions(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Captions of whole scenes by scan.

    Raises:
        FileError: the file cannot be read or is not as the layout says.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
        captions = {str(scan): list(entry["captions"]) for scan, entry in entries.items()}
        if not all(isinstance(text, str) for texts in captions.values() for text in texts):
            raise TypeError("captions hold something that is no text")
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(path, f'{{scan_id: {{"captions": [...]}}}} was expected ({error!r})') from error
    return {scan: [text for text in texts if text.strip()] for scan, texts in captions.items()}


def write_scene_captions(path: str | os.PathLike[str], captions: dict[str, Sequence[str]]) -> None:
    """Write captions of whole scenes, whole or not at all."""
    entries = {scan: {"captions": list(texts)} for scan, texts in captions.items()}
    write_text(path, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")


def read_retrieval(path: str | os.PathLike[str]) -> list[RetrievalQuery]:
    """The queries of a retrieval file, in its order.

    Raises:
        FileError: the file cannot be read, or a line is not as the layout says (the message names it).
    """
    queries = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(path, f"cannot be read as text ({error})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            views = tuple(int(view) for view in entry.get("view_ground_truth") or ())
            queries.append(RetrievalQuery(str(entry["scan_id"]), str(entry["utterance"]), views))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileError(
                path, f"line {number}: an object with scan_id and utterance was expected ({error!r})"
            ) from error
    return queries


def write_retrieval(path: str | os.PathLike[str], queries: Iterable[RetrievalQuery]) -> None:
    """Write retrieval queries, whole or not at all."""
    _write_lines(
        path,
        (
            {"scan_id": q.scan_id, "utterance": q.utterance, "view_ground_truth": list(q.view_ground_truth)}
            for q in queries
        ),
    )


def _write_lines(path: str | os.PathLike[str], entries: Iterable[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        for entry in entries:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
