"""The metric map that a memory amounts to: what is solid, what is free, what was never seen, and its surfaces."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from envs.scene_memory import SceneMemory
from policies.localization.voxels import carve

CELL = 0.1
"""Edge of a voxel, metres."""
LATTICE = 0.2
"""Step of the places where the agent is looked for, metres."""
SURFACE_CELL = 0.06
"""Spacing of the surface points that scans are registered to, metres."""
_BELOW, _ABOVE = 0.4, 2.6
"""What is kept of the points: from so far below the lowest floor to so far above the highest, metres."""
_LEVEL = 0.3
"""Floors with no gap larger than this between them are one storey, metres."""
_SHORT = 0.15
"""Rays count as free up to so far before they end, metres."""
_SEEN, _EMPTY = 100, -60
"""Worth of a point on a known surface, and of one where the memory saw nothing but air."""
_TIGHT, _WIDE = 0.10, 0.25
"""How far off a point may be to be worth 61 % of one on the surface, metres: for fine and for coarse search."""


class SceneMap:
    """Voxels and surface points of a memory, in the scene's frame.

    Args:
        memory: the posed views.
    """

    def __init__(self, memory: SceneMemory) -> None:
        self.floors = memory.scene_from_agent[:, 2, 3]
        """Height of the base of each remembered view (V,), metres."""
        self._eye = memory.camera_height
        points = memory.scene_points()  # (V, H, W, 3)
        low_z, high_z = self.floors.min() - _BELOW, self.floors.max() + _ABOVE
        kept = memory.valid & (points[..., 2] > low_z) & (points[..., 2] < high_z)
        surface = points[kept]
        self.origin = np.append(surface[:, :2].min(axis=0) - 4 * CELL, low_z).astype(np.float64)
        top = np.append(surface[:, :2].max(axis=0) + 4 * CELL, high_z)
        shape = tuple(int(n) for n in np.ceil((top - self.origin) / CELL))
        self.solid = np.zeros(shape, dtype=bool)
        """(X, Y, Z): a remembered point lies in it."""
        self.solid[tuple(((surface - self.origin) / CELL).astype(np.int64).T)] = True
        self.free = self._free(memory, points, shape)
        """(X, Y, Z): a remembered view looked through it, and it is not solid."""
        distance = ndimage.distance_transform_edt(~self.solid, sampling=CELL)
        self.distance = np.asarray(distance, dtype=np.float32)
        """(X, Y, Z): metres from each voxel's centre to the nearest solid one's."""
        self.fine = self._worth(_TIGHT)
        """(X, Y, Z) int8: how well a point there agrees with the memory, for fine search."""
        self.coarse = self._worth(_WIDE)
        """The same, for coarse search."""
        self._surface = surface
        self._cloud: Any = None

    def _free(self, memory: SceneMemory, points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        free = np.zeros(shape, dtype=bool)
        eye = memory.scene_from_agent[:, :3, 3] + [0.0, 0.0, memory.camera_height]  # (V, 3)
        thin = (slice(None), slice(None, None, 2), slice(None, None, 2))
        valid = memory.valid[thin]
        view = np.nonzero(valid)[0]
        carve(eye[view], points[thin][valid].astype(np.float64), self.origin, CELL, _SHORT, free)
        return free & ~self.solid

    def _worth(self, spread: float) -> np.ndarray:
        """Worth of a point in each voxel: high near surfaces, negative in air far from them, 0 where unknown."""
        near = _SEEN * np.exp(-0.5 * (self.distance / spread) ** 2)
        air = self.free & (self.distance > 2.2 * spread)
        return np.where(air, _EMPTY, np.where(near > 5, near, 0)).astype(np.int8)

    def cells(self, places: np.ndarray | None = None, reach: float = 0.0) -> np.ndarray:
        """Where the agent may stand: where the memory saw air at the height of its camera.

        Args:
            places: (N, 3) on floors, scene frame: only what is near to one of them; None = everywhere.
            reach: how near in the plane, metres.

        Returns:
            (M, 3) on a lattice of `LATTICE` metres, at the heights of the remembered floors.
        """
        heights = np.sort(self.floors)
        found = []
        for storey in np.split(heights, np.flatnonzero(np.diff(heights) > _LEVEL) + 1):
            floor = float(storey.mean())
            high = int((floor + self._eye - self.origin[2]) / CELL)
            step = round(LATTICE / CELL)
            corner = step // 2
            free = self.free[corner::step, corner::step, min(high, self.free.shape[2] - 1)]
            index = np.argwhere(free)
            spots = self.origin[:2] + (index * step + corner + 0.5) * CELL  # (M, 2)
            if places is not None:
                away = np.linalg.norm(spots[:, None] - places[None, :, :2], axis=-1)  # (M, N)
                beside = (places[:, 2] >= storey[0]) & (places[:, 2] <= storey[-1])
                spots = spots[(away[:, beside] < reach).any(axis=1)]
            found.append(np.column_stack([spots, np.full(len(spots), floor)]))
        return np.concatenate(found)

    def voxels(self, points: np.ndarray) -> np.ndarray:
        """Indices (N, 3) int64 of the voxels of points (N, 3); may lie outside of the grid."""
        return np.floor((points - self.origin) / CELL).astype(np.int64)

    def cloud(self) -> tuple[Any, Any]:
        """The surface points with normals and their search tree, as `small_gicp` has them."""
        if self._cloud is None:
            import small_gicp

            sampled = small_gicp.voxelgrid_sampling(self._surface.astype(np.float64), SURFACE_CELL)
            tree = small_gicp.KdTree(sampled)
            small_gicp.estimate_normals_covariances(sampled, tree, num_neighbors=12, num_threads=1)
            self._cloud = sampled, tree
        return self._cloud
