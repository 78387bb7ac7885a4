"""Sentences that refer to things in scenes, from the files that they are published in.

============  ===============================================================================================
``.jsonl``    a line a sentence with ``scan_id`` and ``utterance``, and ``view_ground_truth`` where views are known:
              the retrieval files of POMA-3D's authors and of `pomagym scenes export`, SceneVerse's ``refer`` files
``.json``     ScanRefer (arXiv 1912.08830): a list of objects with ``scene_id`` and ``description``
              (``object_id``, ``object_name``, ``ann_id`` and ``token`` are not needed)
``.csv``      ReferIt3D's Nr3D and Sr3D (ECCV 2020): columns ``scan_id`` and ``utterance``, others are not needed
============  ===============================================================================================
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from poma3d.errors import FileError
from poma3d.scenepoint.captions import RetrievalQuery, read_retrieval


def read_referring(path: str | Path) -> list[RetrievalQuery]:
    """The sentences of a file, in its order; empty ones are left out.

    Raises:
        FileError: another ending, a file that cannot be read, an entry without scene or sentence (the message
            says which), or no sentence at all.
    """
    path = Path(path)
    readers = {".jsonl": read_retrieval, ".json": _scanrefer, ".csv": _referit3d}
    if path.suffix.lower() not in readers:
        raise FileError(
            path, f"sentences are read from {', '.join(readers)}, found {path.suffix or 'no ending'}"
        )
    queries = [query for query in readers[path.suffix.lower()](path) if query.utterance.strip()]
    if not queries:
        raise FileError(path, "holds no sentence")
    return queries


def utterances_of(queries: list[RetrievalQuery]) -> dict[str, list[str]]:
    """The sentences by scene, both in the order of their first appearance."""
    said: dict[str, list[str]] = {}
    for query in queries:
        said.setdefault(query.scan_id, []).append(query.utterance.strip())
    return said


def _scanrefer(path: Path) -> list[RetrievalQuery]:
    try:
        entries = json.loads(_read(path))
    except ValueError as error:
        raise FileError(path, f"is no JSON ({error})") from error
    if not isinstance(entries, list):
        raise FileError(
            path, f"a list of objects was expected, as in ScanRefer, found {type(entries).__name__}"
        )
    return [_query(path, f"entry {n}", entry, "scene_id", "description") for n, entry in enumerate(entries)]


def _referit3d(path: Path) -> list[RetrievalQuery]:
    try:
        rows = list(csv.DictReader(io.StringIO(_read(path), newline=""), strict=True))
    except csv.Error as error:
        raise FileError(path, f"is no CSV ({error})") from error
    return [_query(path, f"row {n}", row, "scan_id", "utterance") for n, row in enumerate(rows, 1)]


def _query(path: Path, where: str, entry: Any, scene: str, sentence: str) -> RetrievalQuery:
    if not isinstance(entry, dict):
        raise FileError(path, f"{where}: an object was expected, found {type(entry).__name__}")
    for name in (scene, sentence):
        if not isinstance(entry.get(name), str):
            found = ", ".join(map(str, entry)) or "nothing"
            raise FileError(
                path, f"{where}: {name} must be a text, found {entry.get(name)!r} (there is {found})"
            )
    if not entry[scene].strip():
        raise FileError(path, f"{where}: {scene} is empty")
    return RetrievalQuery(entry[scene], entry[sentence])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise FileError(path, f"is no UTF-8 text ({error})") from error
