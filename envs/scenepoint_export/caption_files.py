"""Captions of exported scenes: a small file each while the export runs, joined to the authors' files at its end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from poma3d.scenepoint.captions import (
    RetrievalQuery,
    ViewCaption,
    ViewCaptions,
    read_retrieval,
    read_scene_captions,
    write_retrieval,
    write_scene_captions,
    write_view_captions,
)
from poma3d.scenepoint.folder import (
    ANNOTATIONS,
    retrieval_path,
    scene_captions_path,
    scene_path,
    source_folder,
    view_captions_path,
)


def parts_folder(root: Path) -> Path:
    """Where captions wait, a file a scene, until the export ends."""
    return root / ANNOTATIONS / ".parts"


def captioned_scans(root: Path, sources: set[str]) -> set[str]:
    """Scans whose captions are joined already."""
    paths = (view_captions_path(root, source) for source in sources)
    return {scan for path in paths if path.is_file() for scan in ViewCaptions(path)}


def join_captions(root: str | os.PathLike[str], sources: set[str]) -> None:
    """Join the captions of single scenes to the files that the authors' readers look for.

    Captions that are there of other scenes stay. The small files that were joined go once all is written; those of
    other sources, which an export that was killed has left, wait for theirs.
    """
    root = Path(root)
    joined: set[Path] = set()
    parts = sorted(parts_folder(root).glob("*.json"))
    if not parts:
        return
    scenes = scene_captions_path(root)
    captions = read_scene_captions(scenes) if scenes.is_file() else {}
    for source in sorted(sources):
        own = [part for part in parts if scene_path(root, source, part.stem).is_file()]
        joined.update(own)
        fresh = {part.stem: json.loads(part.read_text(encoding="utf-8")) for part in own}
        captions |= {scan: found["scene"] for scan, found in fresh.items()}
        write_view_captions(view_captions_path(root, source), _view_lines(root, source, fresh))
        write_retrieval(retrieval_path(root, source), _queries(root, source, fresh))
    write_scene_captions(scenes, dict(sorted(captions.items())))
    for part in joined:
        part.unlink()
    if len(joined) == len(parts):
        parts_folder(root).rmdir()


def _view_lines(root: Path, source: str, fresh: dict[str, dict]) -> Iterator[ViewCaption]:
    """Captions of the views of a source's scenes, by scan: the fresh ones, and those that are there."""
    path = view_captions_path(root, source)
    kept = ViewCaptions(path) if path.is_file() else None
    for scan in sorted({*fresh, *(kept or ())}):
        if scan in fresh:
            texts = [tuple(view) for view in fresh[scan]["views"]]
        else:
            assert kept is not None
            texts = kept.utterances(scan, kept.views(scan))
        file = f"{source_folder(source)}/{scan}.safetensors"
        for view, utterance in enumerate(texts):
            yield ViewCaption(scan, file, utterance, view)


def _queries(root: Path, source: str, fresh: dict[str, dict]) -> list[RetrievalQuery]:
    path = retrieval_path(root, source)
    queries = [q for q in (read_retrieval(path) if path.is_file() else []) if q.scan_id not in fresh]
    for scan, found in fresh.items():
        queries += [RetrievalQuery(scan, text, tuple(views)) for text, views in found["queries"]]
    return sorted(queries, key=lambda query: query.scan_id)
