"""What views show, in facts to make sentences of: which objects, where in the picture, how far, in which relation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from envs.covering_views import distances
from envs.scenes.scene import NO_INSTANCE, Scene

STRUCTURE = frozenset({"wall", "walls", "floor", "ceiling", "outside", "ground", "roof"})
"""Last words of categories that enclose rooms and are not worth a mention."""
LEAST_SHARE = 0.004
"""Share of a view's pixels from which an object counts as seen."""
_DULL = {
    "picture": 0.3,
    "portrait": 0.3,
    "window": 0.5,
    "door": 0.5,
    "ceiling lamp": 0.6,
    "radiator": 0.6,
    "curtain": 0.5,
}
"""What is seen often says little: it comes later in a list than its size asks for."""

RELATIONS = ("on", "above", "next to")
"""How one object can stand to another in the scene."""


def is_structure(category: str) -> bool:
    """Whether a category is a part of the building."""
    words = category.replace("_", " ").split()
    return not words or words[-1] in STRUCTURE


@dataclass(frozen=True)
class Sighting:
    """One object in one view."""

    instance: int
    """Which object of the scene."""
    category: str
    """What it is."""
    share: float
    """Share of the view's pixels, 0 to 1."""
    column: float
    """Middle of what is seen of it, 0 at the left edge to 1 at the right one."""
    distance: float
    """Mean distance from the camera, metres."""

    @property
    def weight(self) -> float:
        """How much it is worth a mention."""
        return np.sqrt(self.share) * _DULL.get(self.category, 1.0)

    @property
    def side(self) -> str:
        """``left``, ``middle`` or ``right`` of the picture."""
        return "left" if self.column < 0.36 else "right" if self.column > 0.64 else "middle"


@dataclass(frozen=True)
class ViewFacts:
    """What one view shows."""

    room: str | None
    """Category of the room that most of it shows; None where unknown."""
    sightings: tuple[Sighting, ...]
    """The objects, those most worth a mention first."""
    depth: float
    """Mean distance of all that is seen, metres."""


def look(
    scene: Scene, points: np.ndarray, valid: np.ndarray, instance_ids: np.ndarray, eyes: np.ndarray
) -> list[ViewFacts]:
    """The facts of views.

    Args:
        scene: what is seen.
        points: (V, H, W, 3) metres, in any frame.
        valid: (V, H, W) bool.
        instance_ids: (V, H, W).
        eyes: (V, 3) where the cameras are, in that frame.
    """
    count, height, width = valid.shape
    slots = len(scene.instances) + 1  # the first for what belongs to none
    away = distances(points, eyes)
    key = (np.arange(count)[:, None, None] * slots + instance_ids + 1)[valid]  # one number a view and object
    pixels = np.bincount(key, minlength=count * slots).reshape(count, slots)
    columns = np.broadcast_to((np.arange(width) + 0.5) / width, valid.shape)[valid]
    column = np.bincount(key, columns, count * slots).reshape(count, slots) / np.maximum(pixels, 1)
    distance = np.bincount(key, away[valid], count * slots).reshape(count, slots) / np.maximum(pixels, 1)
    depth = (distance * pixels).sum(axis=1) / np.maximum(pixels.sum(axis=1), 1)
    facts = []
    for view in range(count):
        found = np.flatnonzero(pixels[view, 1:] >= LEAST_SHARE * height * width)
        sightings = [
            Sighting(
                int(index),
                scene.instances[index].category,
                float(pixels[view, index + 1]) / (height * width),
                float(column[view, index + 1]),
                float(distance[view, index + 1]),
            )
            for index in found
            if not is_structure(scene.instances[index].category)
        ]
        sightings.sort(key=lambda seen: (-seen.weight, seen.instance))
        facts.append(ViewFacts(_room_of(scene, pixels[view, 1:]), tuple(sightings), float(depth[view])))
    return facts


def _room_of(scene: Scene, pixels: np.ndarray) -> str | None:
    """Category of the room whose things fill the most pixels."""
    category = {room.name: room.category for room in scene.rooms}
    votes: dict[str, int] = {}
    for index in np.flatnonzero(pixels):
        room = scene.instances[index].room
        if room in category:
            votes[room] = votes.get(room, 0) + int(pixels[index])
    return category[max(votes, key=lambda room: (votes[room], room))] if votes else None


class Boxes:
    """Axis-aligned boxes of a scene's objects and how they stand to each other.

    Args:
        scene: the scene; boxes are in its world frame (y up).
    """

    def __init__(self, scene: Scene) -> None:
        self.low = np.full((len(scene.instances), 3), np.inf)
        self.high = np.full((len(scene.instances), 3), -np.inf)
        order = np.argsort(scene.instance_ids, kind="stable")
        order = order[np.searchsorted(scene.instance_ids[order], NO_INSTANCE + 1) :]
        if not len(order):
            return
        owners, first = np.unique(scene.instance_ids[order], return_index=True)
        corners = scene.vertices[scene.triangles[order]]  # (M, 3 corners, 3)
        self.low[owners] = np.minimum.reduceat(corners.min(axis=1), first)
        self.high[owners] = np.maximum.reduceat(corners.max(axis=1), first)

    @cached_property
    def _pairs(self) -> np.ndarray:
        """(I, I) int8: which of `RELATIONS` the first of two objects has to the second; -1 for none."""
        known = np.isfinite(self.low).all(axis=1)
        low, high = (np.where(known[:, None], edge, 0.0) for edge in (self.low, self.high))
        centre, size = (low + high) / 2, high - low
        flat = centre[:, None, [0, 2]]
        within = ((flat >= low[:, [0, 2]]) & (flat <= high[:, [0, 2]])).all(axis=-1)
        bottom, top, floor, tall = low[:, None, 1], high[:, None, 1], low[:, 1], size[:, 1]
        ceiling = floor + tall
        smaller = (size[:, 0] * size[:, 2])[:, None] < size[:, 0] * size[:, 2]
        resting = (bottom >= floor + 0.25 * tall) & (bottom <= ceiling + 0.08)
        on = within & resting & smaller & (tall > 0.15)
        above = within & (bottom > ceiling + 0.08) & (bottom < ceiling + 1.2)
        gap = np.maximum(np.maximum(low[:, None] - high, low - high[:, None]), 0.0)  # (I, I, 3)
        apart = np.hypot(gap[..., 0], gap[..., 2])
        beside = (bottom < ceiling) & (floor < top) & (apart > 0) & (apart < 0.6)
        pairs = np.select([on, above, beside & ~(within & resting)], [0, 1, 2], -1).astype(np.int8)
        pairs[~known] = -1
        pairs[:, ~known] = -1
        np.fill_diagonal(pairs, -1)
        return pairs

    def relations(self, instances: Sequence[int]) -> list[tuple[int, str, int]]:
        """What can be said of pairs of these objects, in their order."""
        chosen = np.asarray(instances, dtype=np.int64)
        pairs = self._pairs[np.ix_(chosen, chosen)]
        return [
            (int(chosen[one]), RELATIONS[pairs[one, other]], int(chosen[other]))
            for one, other in np.argwhere(pairs >= 0)
        ]
