"""The procedural houses that the tests look at, each made once, and what stands in them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from envs.scenes.houses import generate_house
from envs.scenes.scene import Instance, Scene

HOUSES = 30
"""How many houses of the split val are looked at: seeds 0 to 29."""
SHELL = {"wall", "floor", "ceiling", "door", "window"}
"""Categories of what encloses the rooms; all others are things."""


@lru_cache(maxsize=HOUSES)
def val(seed: int) -> Scene:
    """A house of the split val."""
    return generate_house(seed, split="val")


@lru_cache(maxsize=HOUSES)
def extents(seed: int) -> np.ndarray:
    """(instances, 2, 3): lowest and highest corner of every instance."""
    scene = val(seed)
    corners = scene.vertices[scene.triangles].astype(np.float64)  # (M, 3, 3)
    low = np.full((len(scene.instances), 3), np.inf)
    high = -low
    np.minimum.at(low, scene.instance_ids, corners.min(axis=1))
    np.maximum.at(high, scene.instance_ids, corners.max(axis=1))
    return np.stack([low, high], axis=1)


def things(seed: int) -> Iterator[tuple[int, Instance, np.ndarray]]:
    """Number, instance and extent of all but the shell of a house."""
    scene = val(seed)
    for k, instance in enumerate(scene.instances):
        if instance.category not in SHELL:
            yield k, instance, extents(seed)[k]
