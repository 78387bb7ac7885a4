"""The walkable surface behind the `Surface` protocol: habitat-sim's ``PathFinder``, batched."""

from __future__ import annotations

import numpy as np

from envs.simulators.protocol import Path
from envs.simulators.surface_arguments import point_batch
from envs.simulators.walkable.index import SurfaceIndex, index_navmesh
from envs.simulators.walkable.navmesh import Navmesh
from envs.simulators.walkable.paths import path_between, path_lengths
from envs.simulators.walkable.queries import border_distances, height_on, snap, try_steps
from envs.simulators.walkable.wavefront import find_topology, nearest_goals, spread_from
from poma3d.errors import SceneError, SettingError

_ON_SURFACE = np.float32(1e-2)
"""How far beside the surface a point may lie and still stand on it, metres (habitat-sim's ``isNavigable``)."""
_INWARDS = 1e-4
"""How far into its polygon a goal is moved before a wave is sent from it, metres."""
_MOST_CELLS = 1 << 28
_MOST_DRAWS = 1000


class NavmeshSurface:
    """Answers the questions of `envs.simulators.protocol.Surface` on a `Navmesh`, as habitat-sim 0.3.4 does.

    Points are those of Habitat's world frame, metres; answers are float32 points and float64 lengths. As in
    Habitat, a point belongs to the nearest polygon within 2 m sideways and 4 m up or down; a point with none
    is off the surface. Nothing changes after construction, so threads may share a surface; the kernels
    release the interpreter's lock.

    Not taken over from Habitat: an empty leaf of Detour's tree, by which points off the surface near the lowest
    corner of the bounds snap to polygon 0 from any distance; paths given up beyond 256 polygons or 2048 searched.

    Args:
        navmesh: built by `envs.simulators.walkable.build.build_navmesh` or read by
            `envs.simulators.walkable.detour_file.read_navmesh`.

    Raises:
        SceneError: the navmesh has no polygon that can be stood on.
    """

    def __init__(self, navmesh: Navmesh) -> None:
        if len(navmesh.polygons) == 0:
            raise SceneError(
                "the navmesh has no polygons: the scene has no floor that the agent could stand on"
            )
        self.navmesh = navmesh
        self._index = index_navmesh(navmesh)
        if not self._index.usable.any():
            raise SceneError("the navmesh has no area: the scene has no floor that the agent could stand on")
        self._topology = find_topology(self._index)
        self._places = self._index.places
        self._samples = _fans(self._index)
        bounds = navmesh.bounds
        if bounds is None:
            bounds = np.stack([navmesh.vertices.min(axis=0), navmesh.vertices.max(axis=0)])
        self.bounds = np.array(bounds, np.float32)

    def is_navigable(self, points: np.ndarray, max_y_delta: float = 0.5) -> np.ndarray:
        """Whether each point (B, 3) stands on the surface: 1 cm sideways, ``max_y_delta`` metres up or down."""
        points = point_batch(points, "points")
        polygons, snapped = snap(self._places, points)
        offset = np.abs(snapped - points)
        beside = np.sqrt(offset[:, 0] * offset[:, 0] + offset[:, 2] * offset[:, 2])
        return (polygons >= 0) & (offset[:, 1] <= np.float32(max_y_delta)) & (beside <= _ON_SURFACE)

    def snap_point(self, points: np.ndarray) -> np.ndarray:
        """The nearest points (B, 3) on the surface; NaN where there is none within the search box."""
        return snap(self._places, point_batch(points, "points"))[1]

    def try_step(self, start: np.ndarray, end: np.ndarray, *, sliding: bool = True) -> np.ndarray:
        """Where walks from ``start`` (B, 3) straight to ``end`` (B, 3) come to: (B, 3).

        A walk that cannot begin (its start or end is off the surface, or they lie on different islands) stays
        at ``start``.

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
        index = self._index
        return try_steps(self._places, index.links, index.islands, starts, ends, bool(sliding))

    def distance_field(self, goals: np.ndarray) -> PathField:
        """Prepare path lengths to the nearest of ``goals`` (G, 3); see `PathField`."""
        return PathField(self, goals)

    def geodesic_distance(self, start: np.ndarray, goals: np.ndarray) -> np.ndarray:
        """Length (B,) of the path from each start (B, 3) to the nearest of the goals (G, 3); inf where there
        is none.

        For goals that stay, prepare a `distance_field` once.
        """
        return PathField(self, goals).distance(start)

    def shortest_path(self, start: np.ndarray, goals: np.ndarray) -> Path:
        """The path from ``start`` (3,) to the nearest of the goals (G, 3)."""
        return PathField(self, goals).path(start)

    def random_navigable_point(self, rng: np.random.Generator, *, island: int | None = None) -> np.ndarray:
        """A point (3,) drawn uniformly by horizontal area, on one island if given.

        Raises:
            SettingError: there is no such island.
        """
        triangles, owners, cumulated, first_of_island = self._samples
        low, high = 0.0, cumulated[-1]
        if island is not None:
            if not 0 <= island < len(first_of_island) - 1:
                raise SettingError(f"there is no island {island}; the surface has {len(first_of_island) - 1}")
            low, high = cumulated[first_of_island[[island, island + 1]]]
            if not low < high:
                raise SettingError(f"island {island} has no area to draw a point from")
        for _ in range(_MOST_DRAWS):
            along, s, t = rng.random(3)
            chosen = int(np.searchsorted(cumulated, low + along * (high - low), side="right")) - 1
            chosen = min(chosen, len(owners) - 1)
            a, b, c = triangles[chosen]
            s = np.sqrt(s)
            point = ((1 - s) * a + s * (1 - t) * b + s * t * c).astype(np.float32)
            point[1] = height_on(self._places, owners[chosen], point[0], point[2])
            # rounding may put a point on an edge outside, where Habitat, too, draws again
            if np.isfinite(point[1]) and self.is_navigable(point[None])[0]:
                return point
        raise SceneError(
            "no navigable point found: every polygon is thinner than the precision of its coordinates"
        )

    def distance_to_closest_obstacle(self, points: np.ndarray, max_radius: float = 2.0) -> np.ndarray:
        """Horizontal distance (B,) from the snapped points to the border, at most ``max_radius``; 0 where
        off.

        Raises:
            SettingError: ``max_radius`` is negative or not finite.
        """
        if not 0 <= max_radius < np.inf:
            raise SettingError(f"max_radius must be at least 0 m and finite, found {max_radius!r}")
        polygons, snapped = snap(self._places, point_batch(points, "points"))
        index = self._index
        distances = border_distances(
            index.corners, index.counts, index.links, polygons, snapped, np.float32(max_radius)
        )
        return distances.astype(np.float64)

    def island(self, points: np.ndarray) -> np.ndarray:
        """Index (B,) int64 of the connected part of each snapped point, largest part first; -1 where off."""
        polygons, _ = snap(self._places, point_batch(points, "points"))
        return np.where(polygons >= 0, self._index.islands[polygons], -1).astype(np.int64)

    def island_radius(self, points: np.ndarray) -> np.ndarray:
        """Radius (B,) in metres of the island of each snapped point, as Habitat measures it; 0 where off."""
        polygons, _ = snap(self._places, point_batch(points, "points"))
        return np.where(polygons >= 0, self._index.island_radii[self._index.islands[polygons]], 0.0)

    @property
    def island_areas(self) -> np.ndarray:
        """Area (I,) of every island in square metres, largest first."""
        return self._index.island_areas

    def topdown_map(self, height: float, cell: float = 0.05, max_y_delta: float = 0.5) -> np.ndarray:
        """Navigability (rows along z, columns along x) bool at the low corners of the cells of ``bounds``.

        Raises:
            SettingError: ``cell`` is not above 0, or so small that the map would not fit into memory.
        """
        if not cell > 0:
            raise SettingError(f"cell must be above 0 m, found {cell!r}")
        step = np.float32(cell)
        extent = (self.bounds[1] - self.bounds[0])[[0, 2]] / step
        if float(extent[0]) * float(extent[1]) > _MOST_CELLS:
            raise SettingError(
                f"a map of {extent[1]:.0f} x {extent[0]:.0f} cells is too large; make cell larger"
            )
        columns, rows = extent.astype(int)
        # sums of steps, not multiples: Habitat's own rounding
        xs = np.cumsum(np.concatenate([self.bounds[:1, 0], np.full(columns, step)]), dtype=np.float32)[
            :columns
        ]
        zs = np.cumsum(np.concatenate([self.bounds[:1, 2], np.full(rows, step)]), dtype=np.float32)[:rows]
        points = np.empty((rows, columns, 3), np.float32)
        points[..., 0], points[..., 1], points[..., 2] = xs, height, zs[:, None]
        return self.is_navigable(points.reshape(-1, 3), max_y_delta).reshape(rows, columns)

    @property
    def nbytes(self) -> int:
        """Bytes that the surface holds."""
        holders = (self._index, self._topology)
        arrays = [
            value for holder in holders for value in vars(holder).values() if isinstance(value, np.ndarray)
        ]
        arrays += [array for array in self._samples if isinstance(array, np.ndarray)]
        return self.navmesh.nbytes + sum(array.nbytes for array in arrays)


class PathField:
    """Path lengths to the nearest of some goals, as Habitat's ``find_path`` measures them.

    One goal: the path that Habitat finds. Many goals: an exact wave from all of them says which is nearest,
    and the length is that of Habitat's path there, so that hundreds of goals cost what one costs. (Habitat
    searches to every goal and takes the least; as its paths are not always shortest, that goal is another one
    in less than 1 % of cases.) Points off the surface are infinitely far, as are goals off it.

    Raises:
        SettingError: ``goals`` is not (G, 3).
    """

    def __init__(self, surface: NavmeshSurface, goals: np.ndarray) -> None:
        self._surface = surface
        self._goals = point_batch(goals, "goals")
        self._goal_polygons, self._snapped = snap(surface._places, self._goals)
        self._wave = None
        if len(self._goals) > 1:
            sources = _into_polygons(surface._index, self._goal_polygons, self._snapped)
            self._wave = spread_from(surface._index, surface._topology, self._goal_polygons, sources)

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Path length (B,) in metres from points (B, 3) to the nearest goal; infinite: there is none."""
        points = point_batch(points, "points")
        index = self._surface._index
        polygons, snapped = snap(self._surface._places, points)
        chosen = self._choose(polygons, snapped)
        return path_lengths(
            index.corners,
            index.counts,
            index.links,
            index.islands,
            polygons,
            points,
            snapped,
            chosen,
            self._goal_polygons,
            self._goals,
            self._snapped,
        )

    def path(self, point: np.ndarray) -> Path:
        """The path from a point (3,) to the nearest goal."""
        start = point_batch(np.asarray(point)[None], "point")
        index = self._surface._index
        polygons, snapped = snap(self._surface._places, start)
        goal = int(self._choose(polygons, snapped)[0])
        polygon = polygons[0]
        if polygon < 0 or goal < 0 or index.islands[polygon] != index.islands[self._goal_polygons[goal]]:
            return Path(np.empty((0, 3), np.float32), np.inf, -1)
        corridor = np.empty(len(index.counts), np.int32)
        points = np.empty((len(index.counts) + 2, 3), np.float32)
        number, length = path_between(
            index.corners,
            index.counts,
            index.links,
            polygon,
            self._goal_polygons[goal],
            start[0],
            self._goals[goal],
            snapped[0],
            self._snapped[goal],
            corridor,
            points,
        )
        return Path(points[:number].copy(), length, goal if number else -1)

    def _choose(self, polygons: np.ndarray, snapped: np.ndarray) -> np.ndarray:
        """The nearest goal (B,) of each point; -1 where there is none."""
        if self._wave is None:
            only = 0 if len(self._goals) and self._goal_polygons[0] >= 0 else -1
            return np.full(len(polygons), only, np.int32)
        topology, wave = self._surface._topology, self._wave
        return nearest_goals(
            topology.corners,
            self._surface._index.counts,
            topology.points,
            wave.windows,
            wave.sources,
            wave.offsets,
            wave.corner_distances,
            wave.corner_goals,
            polygons,
            snapped,
        )[1]


def _fans(index) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The usable polygons cut into triangles, island by island, to draw points from.

    Returns:
        Triangles (K, 3, 3) float64, their polygons (K,) int64, areas cumulated from 0 (K + 1,), and where
        each island's triangles begin (I + 1,).
    """
    corners = index.corners.astype(np.float64)
    triangles = np.stack(
        [np.broadcast_to(corners[:, :1], corners[:, 2:].shape), corners[:, 1:-1], corners[:, 2:]], axis=2
    )  # (P, 4, 3, 3)
    polygon, which = np.nonzero(
        index.usable[:, None] & (np.arange(2, corners.shape[1]) < index.counts[:, None])
    )
    order = np.argsort(index.islands[polygon], kind="stable")
    polygon, which = polygon[order], which[order]
    triangles = triangles[polygon, which]
    edges = np.diff(triangles[..., [0, 2]], axis=1)  # (K, 2, 2)
    areas = 0.5 * np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
    first = np.searchsorted(index.islands[polygon], np.arange(len(index.island_areas) + 1))
    return triangles, polygon, np.concatenate([[0.0], np.cumsum(areas)]), first


def _into_polygons(index: SurfaceIndex, polygons: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (G, 3) float64 moved by `_INWARDS` towards the centres of their polygons (G,).

    From a point that lies on a corner, but for rounding, a wave leaves through slivers of windows that multiply
    a hundredfold; a tenth of a millimetre inwards they are as few as from anywhere else.
    """
    used = np.arange(index.corners.shape[1]) < index.counts[polygons][:, None]  # (G, corners)
    corners = index.corners[polygons].astype(np.float64)  # (G, corners, 3)
    centres = (corners * used[..., None]).sum(axis=1) / used.sum(axis=1)[:, None]
    inwards = centres - points
    length = np.linalg.norm(inwards, axis=1, keepdims=True)
    return points + inwards * np.minimum(1.0, _INWARDS / np.maximum(length, _INWARDS))
