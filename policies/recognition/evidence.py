"""How well a word fits each place, over all views: what was seen from near counts most."""

from __future__ import annotations

import numpy as np

from policies.mapping.metric_map import CELL

_CELLS = 3
"""Edge of a voxel in cells of the map."""
VOXEL = _CELLS * CELL
"""Edge of a voxel, metres; one of 8 patches across 79 degrees spans 0.2 m at 1 m."""
_FARTHEST = 5.0
"""Points farther off are left out: a patch there shows many things at once, metres."""
_NEAREST = 0.5
"""Points nearer than this count as if they were so near, metres."""
_LEVELS = 16
"""Voxels above the floor: 2.4 m, to a little below the ceiling."""
_FLOOR = 0.12
"""Points lower than this above the floor are floor, metres."""
_FEWEST_VIEWS = 3
"""Views that a voxel must have been seen in."""
_FEWEST_NEIGHBOURS = 4
"""Voxels of the 27 about one, itself among them, that must have been seen so often."""
_MARGIN = 16
_NEIGHBOURS = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(27, 3)
"""A voxel and those around it."""


class Evidence:
    """Means of fits over views, in voxels of 15 cm that grow with what is seen.

    Each view gives a voxel the mean over its points there, weighted with one over the square of their distance: a patch
    seen from near shows one thing, from afar many, and a later look from near overrules what was taken for the object
    from afar. A place's evidence is the mean over a voxel and those around it, and of a column its best voxel's.
    """

    def __init__(self) -> None:
        self._origin = np.zeros(2, np.int64)  # of the voxels, counted from the start
        self._sums = np.zeros((0, 0, _LEVELS), np.float32)
        self._weights = np.zeros_like(self._sums)
        self._views = np.zeros(self._sums.shape, np.uint16)

    def add(self, points: np.ndarray, fits: np.ndarray, position: tuple[float, float], floor: float) -> None:
        """Enter a view.

        Args:
            points: (N, 3) in the map, metres.
            fits: (N,) in [0, 1].
            position: the agent's, metres.
            floor: height of the floor there, metres.
        """
        distance = np.hypot(*(points[:, :2] - position).T)
        height = points[:, 2] - floor
        kept = (height > _FLOOR) & (height < _LEVELS * VOXEL) & (distance < _FARTHEST)
        if not kept.any():
            return
        voxels = np.floor(points[kept] / VOXEL).astype(np.int64)
        voxels[:, 2] = np.floor(height[kept] / VOXEL)
        self._hold(voxels[:, :2].min(axis=0), voxels[:, :2].max(axis=0))
        voxels[:, :2] -= self._origin
        flat, which, count = np.unique(
            np.ravel_multi_index(tuple(voxels.T), self._sums.shape), return_inverse=True, return_counts=True
        )
        mean = np.bincount(which, fits[kept], len(flat)) / count
        off = np.bincount(which, distance[kept], len(flat)) / count
        weight = 1.0 / np.maximum(off, _NEAREST) ** 2
        self._sums.reshape(-1)[flat] += (weight * mean).astype(np.float32)
        self._weights.reshape(-1)[flat] += weight.astype(np.float32)
        self._views.reshape(-1)[flat] += 1

    def columns(self, least: float) -> np.ndarray:
        """The evidence (I, J) float32 of each column of voxels; 0 where no voxel that was seen has ``least``."""
        out = np.zeros(self._sums.shape[:2], np.float32)
        if not out.size:
            return out
        means = self._sums / np.maximum(self._weights, 1e-9)
        seen = self._views >= _FEWEST_VIEWS
        voxels = np.argwhere(seen & (means >= least))  # (N, 3), never at the grid's edge but above and below
        around = voxels[:, None] + _NEIGHBOURS  # (N, 27, 3)
        inside = (around[..., 2] >= 0) & (around[..., 2] < _LEVELS)
        at = (around[..., 0], around[..., 1], np.clip(around[..., 2], 0, _LEVELS - 1))
        known = seen[at] & inside  # (N, 27)
        count = known.sum(axis=1)
        mean = np.where(known, means[at], 0.0).sum(axis=1) / np.maximum(count, 1)
        enough = count >= _FEWEST_NEIGHBOURS
        np.maximum.at(out, tuple(voxels[enough, :2].T), mean[enough])
        return out

    def cells_of(self, chosen: np.ndarray) -> np.ndarray:
        """The map's cells (K, 2), counted from the start, in the middle of the columns that are ``chosen`` (I, J)."""
        return (np.argwhere(chosen) + self._origin) * _CELLS + _CELLS // 2

    def _hold(self, low: np.ndarray, high: np.ndarray) -> None:
        """Widen the grid so that these voxels (2,), counted from the start, lie inside and not at its edge."""
        shape = np.array(self._sums.shape[:2])
        if shape.all():
            if (low > self._origin).all() and (high < self._origin + shape - 1).all():
                return
            low, high = np.minimum(low, self._origin), np.maximum(high, self._origin + shape - 1)
        low, high = low - _MARGIN, high + _MARGIN
        i, j = self._origin - low if shape.all() else (0, 0)
        for name in ("_sums", "_weights", "_views"):
            old = getattr(self, name)
            grid = np.zeros((*(high - low + 1), _LEVELS), old.dtype)
            grid[i : i + old.shape[0], j : j + old.shape[1]] = old
            setattr(self, name, grid)
        self._origin = low
