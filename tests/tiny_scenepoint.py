"""A tiny ScenePoint folder for tests: each scene is a wall at its own place, and its captions say which; a tiny encoder
for its views."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from poma3d.encoder_config import EncoderConfig
from poma3d.scenepoint.captions import (
    RetrievalQuery,
    ViewCaption,
    write_retrieval,
    write_scene_captions,
    write_view_captions,
)
from poma3d.scenepoint.folder import retrieval_path, scene_captions_path, scene_path, view_captions_path
from poma3d.scenepoint.scene_file import SceneWords, StoredViews, write_scene

TINY = EncoderConfig(image_size=16, patch_size=4, width=32, depth=2, heads=2, mlp_width=64, embedding=16)
WORDS = ("red", "green", "blue", "white", "black", "brown", "grey", "pink")


def write_tiny(
    root: Path, scenes: int = 8, views: int = 4, size: int = 16, seed: int = 0, *, cameras: bool = False
) -> Path:
    """Write the folder; half of each view is a ``wall``, half a ``floor``, and the even views show a ``kitchen``.

    With ``cameras`` those are written too, all at the origin and looking along z, as OpenCV's do.
    """
    rng = np.random.default_rng(seed)
    captions, whole, queries = [], {}, []
    for number in range(scenes):
        scan = f"scene{number:02d}"
        word = WORDS[number % len(WORDS)]
        base = rng.uniform((-4, -4, 2), (4, 4, 4))
        points = (base + rng.normal(0, 0.3, (views, size, size, 3))).astype(np.float32)
        points[:, size // 2 :, :, 2] = -1.0
        valid = np.ones((views, size, size), bool)
        valid[:, 0, 0] = False
        points[~valid] = 0
        categories = np.zeros((views, size, size), np.int16)
        categories[:, size // 2 :] = 1
        path = scene_path(root, "tiny", scan)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_scene(
            path,
            StoredViews(
                points,
                valid,
                category_ids=categories,
                room_type_ids=(np.arange(views) % 2).astype(np.int16),
                scene_from_camera=np.tile(np.eye(4, dtype=np.float32), (views, 1, 1)) if cameras else None,
            ),
            SceneWords(("wall", "floor"), ("kitchen", "bath")),
        )
        file = path.relative_to(root).as_posix()
        captions += [ViewCaption(scan, file, (f"a {word} wall", f"view {v} of {word}")) for v in range(views)]
        whole[scan] = [f"a room with {word} walls", f"everything is {word}"]
        queries += [RetrievalQuery(scan, f"a room with {word} walls, {part}") for part in range(5)]
    for path in (view_captions_path(root, "tiny"), retrieval_path(root, "tiny")):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_view_captions(view_captions_path(root, "tiny"), captions)
    write_scene_captions(scene_captions_path(root), whole)
    write_retrieval(retrieval_path(root, "tiny"), queries)
    return root
