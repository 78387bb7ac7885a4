"""Rooms with a lamp and a sofa as ScenePoint files, and MSNN samples whose answer is the straight way to one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from agent.backbone import FrozenBackbone
from envs.msnn import MsnnSample
from envs.msnn.sample import orientation_of
from poma3d.encoder import PointMapEncoder
from poma3d.encoder_config import EncoderConfig
from poma3d.scenepoint.folder import scene_path
from poma3d.scenepoint.scene_file import SceneWords, StoredViews, write_scene

TINY = EncoderConfig(
    image_size=16, patch_size=8, width=16, depth=1, heads=2, mlp_width=32, embedding=8, activation="gelu"
)
HEIGHT = {"lamp": 2.2, "sofa": 0.5}
SIZE = 16


def tiny_backbone() -> FrozenBackbone:
    """A frozen encoder with random weights that takes 16 x 16 pixels and has 2 x 2 patches."""
    return FrozenBackbone(PointMapEncoder(TINY, seed=3), output="both", device="cpu")


def write_rooms(root: Path, rooms: int = 6, per_room: int = 16, seed: int = 0) -> list[MsnnSample]:
    """Rooms of 6 x 6 m as ``room00`` and so on; two views each, whose first two patches show lamp and sofa."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(rooms):
        scan = f"room{number:02d}"
        places = {name: rng.uniform(0.5, 5.5, 2) for name in HEIGHT}
        points = np.zeros((2, SIZE, SIZE, 3), np.float32)
        points[..., :2] = rng.uniform(0, 6, (2, SIZE, SIZE, 2))
        categories = np.full((2, SIZE, SIZE), 2, np.int16)
        for k, (name, place) in enumerate(places.items()):
            part = (slice(None), slice(0, 8), slice(8 * k, 8 * k + 8))
            points[part][..., :2] = place + rng.normal(0, 0.05, (2, 8, 8, 2))
            points[part][..., 2] = HEIGHT[name] + rng.normal(0, 0.05, (2, 8, 8))
            categories[part] = k
        path = scene_path(root, "rooms", scan)
        path.parent.mkdir(parents=True, exist_ok=True)
        views = StoredViews(points, np.ones((2, SIZE, SIZE), bool), category_ids=categories)
        write_scene(path, views, SceneWords((*HEIGHT, "floor")))
        for index in range(per_room):
            goal = list(HEIGHT)[index % 2]
            location, yaw = rng.uniform(1, 5, 2), float(rng.uniform(-math.pi, math.pi))
            way = places[goal] - location
            samples.append(
                MsnnSample(
                    scan_id=scan,
                    sample_id=f"{index:03d}",
                    location=(float(location[0]), float(location[1]), 0.0),
                    orientation=orientation_of(yaw),
                    situation_text="I am in a room.",
                    interaction=f"I want to go to the {goal}.",
                    angle=math.degrees(math.atan2(way[1], way[0]) - yaw) % 360.0,
                )
            )
    return samples
