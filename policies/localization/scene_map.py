"""The metric map that a memory amounts to: what is solid, what is free, what was never seen, and its surfaces."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from envs.scene_memory import SceneMemory
from policies.localization.voxels import carve

CELL = 0.1
"""Edge of a voxel, metres."""
SURFACE_CELL = 0.06
"""Spacing of the surface points that scans are registered to, metres."""
_BELOW, _ABOVE = 0.4, 2.6
"""What is kept of the points: from so far below the lowest floor to so far above the highest, metres."""
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

    def cells_near(self, places: np.ndarray, radius: float, step: float, height: float) -> np.ndarray:
        """Where a body may stand near places (N, 3): (M, 3) on a lattice of ``step`` metres.

        At the height of its camera the memory must have seen air, or nothing.

        Args:
            places: on floors, scene frame.
            radius: how near, metres, in the plane.
            step: of the lattice.
            height: of the camera above the floor.
        """
        count = int(radius / step)
        offsets = np.stack(np.meshgrid(*[np.arange(-count, count + 1)] * 2, indexing="ij"), -1).reshape(-1, 2)
        offsets = offsets[(offsets**2).sum(-1) <= count**2]  # (K, 2)
        lattice = np.round(places[:, :2] / step).astype(np.int64)  # (N, 2)
        level = np.round(places[:, 2] / 0.3).astype(np.int64)
        around = np.concatenate(
            [
                np.column_stack([cell + offsets, np.full(len(offsets), high)])
                for cell, high in zip(lattice, level, strict=True)
            ]
        )
        z_of = {int(high): float(z) for high, z in zip(level[::-1], places[::-1, 2], strict=True)}
        around = np.unique(around, axis=0)
        found = np.column_stack([around[:, :2] * step, [z_of[int(high)] for high in around[:, 2]]])
        eye = self.voxels(found + np.array([0.0, 0.0, height]))
        inside = ((eye >= 0) & (eye < self.solid.shape)).all(axis=-1)
        index = tuple(np.where(inside[:, None], eye, 0).T)
        return found[inside & self.free[index]]

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
