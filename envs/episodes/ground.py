"""Which parts of a surface episodes take place on: floors, not table tops and not the tops of walls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.simulators.protocol import Surface
from poma3d.errors import SceneError

_DRAWS = 20
"""Rounds of drawing before a scene is taken to have no ground."""


@dataclass(frozen=True)
class GroundSettings:
    """How large a connected part (island) of the surface must be."""

    min_radius: float = 1.5
    """Least radius, metres, as Habitat measures it; habitat-lab's own and only rule."""
    min_share: float = 0.2
    """Least area as a share of the largest island's. A wall's top is a ring as wide as the house, of little area."""


def on_ground(surface: Surface, points: np.ndarray, settings: GroundSettings) -> np.ndarray:
    """Whether each point (N, 3) lies on an island that is large enough: (N,) bool."""
    areas = np.asarray(surface.island_areas)
    islands = np.asarray(surface.island(points))
    share = np.where(islands >= 0, areas[islands], 0.0) / areas[0]
    return (share >= settings.min_share) & (np.asarray(surface.island_radius(points)) >= settings.min_radius)


def draw_on_ground(surface: Surface, count: int, rng: np.random.Generator, scene_id: str) -> np.ndarray:
    """Places (count, 3) on the ground, drawn by area; where few are found, the same again.

    Raises:
        SceneError: the scene, which errors call ``scene_id``, has no floor large enough.
    """
    points = np.zeros((0, 3))
    for _ in range(_DRAWS):
        drawn = np.stack([surface.random_navigable_point(rng) for _ in range(count)])
        points = np.concatenate([points, drawn[on_ground(surface, drawn, GroundSettings())]])
        if len(points) >= count:
            break
    if not len(points):
        raise SceneError(f"{scene_id}: has no floor large enough to walk about on")
    return points[np.arange(count) % len(points)]
