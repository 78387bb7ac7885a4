"""Where an agent can walk, answered by habitat-sim's own path finder."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from envs.simulators.protocol import Path
from envs.simulators.surface_arguments import point_batch
from poma3d.errors import SceneError, SettingError

if TYPE_CHECKING:
    import habitat_sim

_MOST_TRIES = 1000
RAND_LOCK = threading.Lock()
"""habitat-sim seeds and draws from C's ``rand``, of which a process has one."""


class HabitatSurface:
    """`envs.simulators.protocol.Surface` on ``habitat_sim.PathFinder``, asked point by point.

    Detour's queries share scratch memory, so a lock lets in one thread at a time. Islands are numbered by
    area, largest first, as the protocol asks; habitat-sim numbers them as it finds them.

    Args:
        pathfinder: with a navmesh loaded.

    Raises:
        SceneError: the navmesh has no area to stand on.
    """

    def __init__(self, pathfinder: habitat_sim.PathFinder) -> None:
        if not pathfinder.is_loaded:
            raise SceneError("no navmesh could be loaded or computed: the scene has no floor to stand on")
        self._pathfinder = pathfinder
        self._lock = threading.RLock()
        areas = np.array([pathfinder.island_area(index) for index in range(pathfinder.num_islands)])
        order = np.argsort(-areas, kind="stable")
        order = order[areas[order] > 0]
        if not len(order):
            raise SceneError("the navmesh has no area: the scene has no floor that the agent could stand on")
        self._habitat_islands = order
        """habitat-sim's number of each of ours."""
        self._islands = {int(theirs): ours for ours, theirs in enumerate(order)}
        self._areas = areas[order].astype(np.float64)
        self.bounds = np.array([np.array(corner) for corner in pathfinder.get_bounds()], np.float32)

    def is_navigable(self, points: np.ndarray, max_y_delta: float = 0.5) -> np.ndarray:
        """Whether each point (B, 3) stands on the surface."""
        points = point_batch(points, "points")
        with self._lock:
            ask = self._pathfinder.is_navigable
            answers = [bool(ask(point, max_y_delta)) for point in np.nan_to_num(points)]
        return np.array(answers, np.bool_) & np.isfinite(points).all(axis=1)

    def snap_point(self, points: np.ndarray) -> np.ndarray:
        """The nearest points (B, 3) on the surface; NaN where there is none within Habitat's search box."""
        points = point_batch(points, "points")
        snapped = np.full(points.shape, np.nan, np.float32)
        with self._lock:
            for index in _finite(points):
                snapped[index] = np.array(self._pathfinder.snap_point(points[index]))
        snapped[~np.isfinite(snapped).all(axis=1)] = np.nan
        return snapped

    def try_step(self, start: np.ndarray, end: np.ndarray, *, sliding: bool = True) -> np.ndarray:
        """Where walks from ``start`` (B, 3) straight to ``end`` (B, 3) come to: (B, 3).

        Raises:
            SettingError: the shapes differ or a coordinate is not finite.
        """
        starts, ends = point_batch(start, "start"), point_batch(end, "end")
        if starts.shape != ends.shape:
            raise SettingError(
                f"start and end must have the same shape, found {starts.shape} and {ends.shape}"
            )
        if not (np.isfinite(starts).all() and np.isfinite(ends).all()):
            raise SettingError("start and end must be finite, found NaN or infinity among their coordinates")
        reached = np.empty_like(starts)
        with self._lock:
            step = self._pathfinder.try_step if sliding else self._pathfinder.try_step_no_sliding
            for index in range(len(starts)):
                reached[index] = np.array(step(starts[index], ends[index]))
        return reached

    def distance_field(self, goals: np.ndarray) -> HabitatField:
        """Prepare path lengths to the nearest of ``goals`` (G, 3); see `HabitatField`."""
        return HabitatField(self, goals)

    def geodesic_distance(self, start: np.ndarray, goals: np.ndarray) -> np.ndarray:
        """Length (B,) of the path from each start (B, 3) to the nearest of the goals (G, 3); inf: none."""
        return HabitatField(self, goals).distance(start)

    def shortest_path(self, start: np.ndarray, goals: np.ndarray) -> Path:
        """The path from ``start`` (3,) to the nearest of the goals (G, 3)."""
        return HabitatField(self, goals).path(start)

    def random_navigable_point(self, rng: np.random.Generator, *, island: int | None = None) -> np.ndarray:
        """A point (3,) that depends on ``rng`` alone: one number of it seeds habitat-sim's generator.

        Raises:
            SettingError: there is no such island.
            SceneError: no point was found.
        """
        theirs = -1
        if island is not None:
            if not 0 <= island < len(self._habitat_islands):
                raise SettingError(
                    f"there is no island {island}; the surface has {len(self._habitat_islands)}"
                )
            theirs = int(self._habitat_islands[island])
        seed = int(rng.integers(1 << 31))
        with self._lock, RAND_LOCK:
            self._pathfinder.seed(seed)
            point = np.array(self._pathfinder.get_random_navigable_point(_MOST_TRIES, theirs), np.float32)
        if not np.isfinite(point).all():
            raise SceneError(f"habitat-sim found no navigable point in {_MOST_TRIES} tries")
        return point

    def distance_to_closest_obstacle(self, points: np.ndarray, max_radius: float = 2.0) -> np.ndarray:
        """Distance (B,) to the border, metres, at most ``max_radius``; 0 where not navigable.

        Raises:
            SettingError: ``max_radius`` is negative or not finite.
        """
        if not 0 <= max_radius < np.inf:
            raise SettingError(f"max_radius must be at least 0 m and finite, found {max_radius!r}")
        points = point_batch(points, "points")
        distances = np.zeros(len(points))
        with self._lock:
            for index in _finite(points):
                distances[index] = self._pathfinder.distance_to_closest_obstacle(points[index], max_radius)
        return np.where(np.isfinite(distances), distances.clip(0, max_radius), 0.0)

    def island(self, points: np.ndarray) -> np.ndarray:
        """Index (B,) int64 of the connected part of each snapped point, largest part first; -1 where off."""
        points = point_batch(points, "points")
        islands = np.full(len(points), -1, np.int64)
        with self._lock:
            for index in _finite(points):
                islands[index] = self._islands.get(int(self._pathfinder.get_island(points[index])), -1)
        return islands

    def island_radius(self, points: np.ndarray) -> np.ndarray:
        """Radius (B,) in metres of the island of each snapped point, as Habitat measures it; 0 where off."""
        points = point_batch(points, "points")
        radii = np.zeros(len(points))
        with self._lock:
            for index in _finite(points):
                radii[index] = self._pathfinder.island_radius(points[index])
        return radii

    @property
    def island_areas(self) -> np.ndarray:
        """Area (I,) of every island in square metres, largest first."""
        return self._areas

    def topdown_map(self, height: float, cell: float = 0.05, max_y_delta: float = 0.5) -> np.ndarray:
        """Navigability (rows along z, columns along x) bool at the low corners of the cells of ``bounds``.

        Raises:
            SettingError: ``cell`` is not above 0.
        """
        if not cell > 0:
            raise SettingError(f"cell must be above 0 m, found {cell!r}")
        with self._lock:
            return np.array(self._pathfinder.get_topdown_view(cell, height, max_y_delta), np.bool_)


class HabitatField:
    """Path lengths to the nearest of some goals by habitat-sim's ``MultiGoalShortestPath``.

    Nothing is prepared: every question is a search of its own, over hundreds of view points as slow as it is in
    habitat-lab. A search object that is used again, as habitat-lab does, keeps bounds from the questions before and
    may miss the nearer goal by centimetres; a new one each time makes the answer depend on the question alone.
    Goals off the surface are infinitely far.

    Args:
        surface: what is walked on.
        goals: (G, 3).

    Raises:
        SettingError: ``goals`` is not (G, 3).
    """

    def __init__(self, surface: HabitatSurface, goals: np.ndarray) -> None:
        self._surface = surface
        goals = point_batch(goals, "goals")
        self._kept = np.flatnonzero(np.isfinite(surface.snap_point(goals)).all(axis=1))
        """Which of the goals are on the surface."""
        self._goals = goals[self._kept]

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Path length (B,) in metres from points (B, 3) to the nearest goal; infinite where there is none."""
        points = point_batch(points, "points")
        lengths = np.full(len(points), np.inf)
        if len(self._kept):
            for index in _finite(points):
                with self._surface._lock:
                    search = self._find(points[index])
                if search is not None:
                    lengths[index] = search.geodesic_distance
        return lengths

    def path(self, point: np.ndarray) -> Path:
        """The path from a point (3,) to the nearest goal."""
        start = point_batch(np.asarray(point)[None], "point")
        if len(self._kept) and np.isfinite(start).all():
            with self._surface._lock:
                search = self._find(start[0])
            if search is not None:
                goal = int(search.closest_end_point_index)
                corners = np.array([np.array(corner) for corner in search.points], np.float32)
                if len(corners) < 2:  # start and goal are the same point
                    corners = self._surface.snap_point(np.stack([start[0], self._goals[goal]]))
                return Path(corners, float(search.geodesic_distance), int(self._kept[goal]))
        return Path(np.empty((0, 3), np.float32), np.inf, -1)

    def _find(self, start: np.ndarray) -> habitat_sim.MultiGoalShortestPath | None:
        """The search from ``start`` (3,); None where there is no path."""
        import habitat_sim

        search = habitat_sim.MultiGoalShortestPath()
        search.requested_start = start
        search.requested_ends = self._goals
        found = self._surface._pathfinder.find_path(search)
        return search if found and np.isfinite(search.geodesic_distance) else None


def _finite(points: np.ndarray) -> np.ndarray:
    """Indices of the points (B, 3) that Detour can be asked about."""
    return np.flatnonzero(np.isfinite(points).all(axis=1))
