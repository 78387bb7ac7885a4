"""Where an object counts as reached: places around it that are in reach of it and from which it is seen.

As in the ObjectNav data sets of Habitat (Habitat Challenge 2020-2023: within 1 m of the object, which an
oracle that turns its camera can see), on a dense grid, so that no place in reach is far from a view point.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import KDTree

from envs.episodes.episode import AgentState, Goal, ViewPoint
from envs.episodes.ground import GroundSettings, on_ground
from envs.scenes.scene import Scene
from envs.simulators.protocol import Simulator
from poma3d.errors import SettingError
from poma3d.pointmap import Camera

_BATCH = 128
_SAMPLE_SPACING = 0.1
_MOST_SAMPLES = 4096
_OFF_GRID = 0.37
"""Moves the places off the corners of surfaces, which lie on whole cells of 5 cm."""


@dataclass(frozen=True)
class ViewPointSettings:
    """Which places count; defaults follow the Habitat Challenge."""

    reach: float = 1.0
    """Farthest horizontal distance from the object's surface, metres."""
    cell: float = 0.1
    """Spacing of the grid of places, metres."""
    min_coverage: float = 0.001
    """Share of a square view of 90 degrees that the object must at least take."""
    pixels: int = 64
    """Rows and columns of that view."""
    spacing: float = _SAMPLE_SPACING
    """Distance of the points that stand for the object's surface, metres."""
    max_drop: float = 1.6
    """How far above the floor an object may begin, metres: things on a wall or a table."""
    ground: GroundSettings = field(default_factory=GroundSettings)
    """Which parts of the surface places lie on."""

    def __post_init__(self) -> None:
        if not (self.reach > 0 and self.cell > 0 and self.spacing > 0):
            raise SettingError(
                f"reach, cell and spacing must be above 0 m, found {self.reach!r}, {self.cell!r} and {self.spacing!r}"
            )


def scene_of(simulator: Simulator) -> Scene:
    """The scene of a simulator that keeps it.

    Raises:
        SettingError: it keeps none, or one without objects.
    """
    scene = getattr(simulator, "scene", None)
    if not isinstance(scene, Scene):
        raise SettingError(
            f"object goals need the scene's triangles, which {type(simulator).__name__} does not keep;"
            " generate the episodes with the simulator 'raycast'"
        )
    if not scene.instances:
        raise SettingError(
            f"{scene.scene_id}: the scene has no named objects; ObjectNav needs nodes such as 'sofa.00'"
            " or a JSON beside the mesh that names them"
        )
    return scene


def surface_samples(scene: Scene, instance_id: int, spacing: float = _SAMPLE_SPACING) -> np.ndarray:
    """Points (K, 3) on the triangles of one object, at most about ``spacing`` metres apart, world frame."""
    triangles = scene.triangles[scene.instance_ids == instance_id]
    corners = scene.vertices[triangles].astype(np.float64)  # (T, 3 corners, 3)
    if not len(corners):
        return np.zeros((0, 3))
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    rows = np.ceil(edges / spacing).astype(int) + 1
    samples = []
    for count in np.unique(rows):
        u, v = np.meshgrid(np.linspace(0, 1, count), np.linspace(0, 1, count))
        inside = u + v <= 1 + 1e-9
        weights = np.stack([1 - u - v, u, v], axis=-1)[inside]  # (S, 3)
        samples.append((weights @ corners[rows == count]).reshape(-1, 3))  # (T', S, 3) -> (K', 3)
    points = np.concatenate(samples)
    points = points[_first_of_cells(points, spacing / 2)]
    return points[:: math.ceil(len(points) / _MOST_SAMPLES)]


def view_points(
    simulator: Simulator, instance_id: int, settings: ViewPointSettings | None = None
) -> tuple[ViewPoint, ...]:
    """The places from which an object is in reach and in sight; ``iou`` is the share of the view it takes.

    Raises:
        SettingError: as `scene_of`.
    """
    settings = settings or ViewPointSettings()
    samples = surface_samples(scene_of(simulator), instance_id, settings.spacing)
    if not len(samples):
        return ()
    places = _places(simulator, samples, settings)
    if not len(places):
        return ()
    eyes = places + np.array([0.0, simulator.agent.camera_height, 0.0])
    targets = samples[KDTree(samples).query(eyes)[1]]
    look = Camera(settings.pixels, settings.pixels, 90.0)
    batches = [slice(first, first + _BATCH) for first in range(0, len(places), _BATCH)]
    coverage = np.concatenate(
        [_coverage(simulator, eyes[batch], targets[batch], instance_id, look) for batch in batches]
    )
    found = []
    for place, target, share in zip(places, targets, coverage, strict=True):
        if share >= settings.min_coverage:
            angle = math.atan2(-(target[0] - place[0]), -(target[2] - place[2]))
            rotation = (0.0, math.sin(angle / 2), 0.0, math.cos(angle / 2))
            found.append(ViewPoint(AgentState(tuple(place.tolist()), rotation), float(share)))
    return tuple(found)


def object_goals(
    simulator: Simulator,
    category: str,
    settings: ViewPointSettings | None = None,
    *,
    names: Collection[str] = (),
) -> tuple[Goal, ...]:
    """The goals of a category: its objects that have at least one view point, in the order of the scene.

    Args:
        simulator: the scene.
        category: what the goals call it.
        settings: where an object counts as reached.
        names: what the scene calls it; by default the same.

    Raises:
        SettingError: as `scene_of`.
    """
    scene = scene_of(simulator)
    goals = []
    for index, instance in enumerate(scene.instances):
        if instance.category not in (names or (category,)):
            continue
        seen_from = view_points(simulator, index, settings)
        if not seen_from:
            continue
        corners = scene.instance_vertices(index).astype(np.float64)
        centre = (corners.min(axis=0) + corners.max(axis=0)) / 2
        goals.append(
            Goal(
                position=tuple(centre.tolist()),
                object_id=index,
                object_name=instance.name,
                object_category=category,
                room_name=instance.room,
                view_points=seen_from,
            )
        )
    return tuple(goals)


def _places(simulator: Simulator, samples: np.ndarray, settings: ViewPointSettings) -> np.ndarray:
    """Places (N, 3) of the grid on the surface within reach of the samples, on a floor below the object."""
    surface, cell, reach = simulator.surface, settings.cell, settings.reach
    low, high = samples.min(axis=0), samples.max(axis=0)
    x, z = (
        (np.arange(math.floor((low[axis] - reach) / cell), (high[axis] + reach) / cell + 1) + _OFF_GRID)
        * cell
        for axis in (0, 2)
    )
    grid = np.stack(np.meshgrid(x, z), axis=-1).reshape(-1, 2)  # (Z, X, 2) -> (N, 2)
    beside = KDTree(samples[:, [0, 2]]).query(grid)[0] <= settings.reach
    grid = grid[beside]
    found = []
    for drop in (0.0, settings.max_drop / 2, settings.max_drop):
        asked = np.stack([grid[:, 0], np.full(len(grid), low[1] - drop), grid[:, 1]], axis=1)
        snapped = np.asarray(surface.snap_point(asked))
        moved = np.hypot(*(snapped - asked)[:, [0, 2]].T)
        below = (snapped[:, 1] <= high[1]) & (snapped[:, 1] >= low[1] - settings.max_drop)
        found.append(snapped[(moved < 1e-3) & below])
    places = np.concatenate(found)
    if not len(places):
        return places
    places = places[_first_of_cells(places, 0.05)]
    return places[on_ground(surface, places, settings.ground)]


def _first_of_cells(points: np.ndarray, cell: float) -> np.ndarray:
    """Indices, ascending, of the first of the points (N, 3) in each cell of a grid; N must be at least 1."""
    cells = np.round(points / cell).astype(np.int64)
    cells -= cells.min(axis=0)
    _, rows, columns = cells.max(axis=0) + 1
    # one number a cell sorts much faster than rows of three
    return np.sort(
        np.unique((cells[:, 0] * rows + cells[:, 1]) * columns + cells[:, 2], return_index=True)[1]
    )


def _coverage(
    simulator: Simulator, eyes: np.ndarray, targets: np.ndarray, instance_id: int, look: Camera
) -> np.ndarray:
    """Share (N,) of the view from each eye (N, 3) towards its target (N, 3) that the object takes."""
    back = eyes - targets
    back /= np.maximum(np.linalg.norm(back, axis=1, keepdims=True), 1e-9)
    right = np.stack([back[:, 2], np.zeros(len(back)), -back[:, 0]], axis=1)  # up x back
    length = np.linalg.norm(right, axis=1, keepdims=True)
    right = np.where(length > 1e-6, right / np.maximum(length, 1e-9), (1.0, 0.0, 0.0))
    pose = np.tile(np.eye(4), (len(eyes), 1, 1))
    pose[:, :3, 0], pose[:, :3, 1], pose[:, :3, 2], pose[:, :3, 3] = right, np.cross(back, right), back, eyes
    ids = simulator.render(pose, look, instances=True).instance_ids
    if ids is None:
        raise SettingError(f"{type(simulator).__name__} renders no instance ids, which object goals need")
    return (np.asarray(ids) == instance_id).mean(axis=(1, 2))
