"""Small ScenePoint data that the tests of several rooms read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from poma3d.scenepoint.captions import (
    ViewCaption,
    write_scene_captions,
    write_view_captions,
)
from poma3d.scenepoint.folder import (
    scene_captions_path,
    scene_path,
    view_captions_path,
)
from poma3d.scenepoint.scene_file import SceneWords, StoredViews, write_scene

SIZE = 12


def make_views(seed: int, views: int = 4, size: int = SIZE, categories: int = 3) -> StoredViews:
    """Random points, a quarter of them not valid."""
    rng = np.random.default_rng(seed)
    valid = rng.random((views, size, size)) < 0.75
    points = np.where(valid[..., None], rng.uniform(-3, 3, (views, size, size, 3)), 0).astype(np.float32)
    poses = np.tile(np.eye(4, dtype=np.float32), (views, 1, 1))
    poses[:, :3, 3] = rng.uniform(-3, 3, (views, 3))
    return StoredViews(
        points,
        valid,
        images=rng.integers(0, 256, (views, 6, 8, 3)).astype(np.uint8),
        category_ids=rng.integers(-1, categories, (views, size, size)).astype(np.int16),
        room_type_ids=rng.integers(-1, 2, views).astype(np.int16),
        scene_from_camera=poses,
    )


WORDS = SceneWords(("bed", "chair", "wall"), ("bedroom", "kitchen"))


def rewrite(path: Path, **changes) -> None:
    """Change tensors of a file; None takes one away, ``metadata=None`` the metadata."""
    with safe_open(path, framework="np") as stored:
        metadata = changes.pop("metadata", stored.metadata())
    tensors = {k: v for k, v in (load_file(path) | changes).items() if v is not None}
    save_file(tensors, path, metadata)


def make_folder(root: Path, sources: dict[str, int] | None = None, views: int = 4) -> Path:
    """A whole data set: two sources, captions of views and of scenes."""
    scene_captions = {}
    for source, count in (sources or {"scannet": 3, "houses": 2}).items():
        lines = []
        for number in range(count):
            scan = f"{source}_{number}"
            write_scene(scene_path(root, source, scan), make_views(number, views), WORDS)
            for view in range(views):
                texts = tuple(f"{scan} view {view} text {i}" for i in range(5))
                lines.append(ViewCaption(scan, f"light_{source}/{scan}.safetensors", texts))
            scene_captions[scan] = [f"{scan} as a whole, {i}" for i in range(3)]
        write_view_captions(view_captions_path(root, source), lines)
    write_scene_captions(scene_captions_path(root), scene_captions)
    return root
