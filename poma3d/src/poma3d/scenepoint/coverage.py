"""The few of many views that see most of a scene: greedy maximum coverage over voxels.

POMA-3D takes the 32 frames of each scan that cover it best; how it measures cover is not stated. Here a view covers
the voxels that its points lie in. Each choice adds the most voxels that no chosen view has, which is at least
1 - 1/e of the best possible (Nemhauser, Wolsey and Fisher 1978).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poma3d.errors import SettingError

VOXEL = 0.2
"""Edge of a voxel, metres: smaller than furniture, larger than the noise of depth cameras."""


def choose_views(points: Sequence[np.ndarray], count: int, *, voxel: float = VOXEL) -> np.ndarray:
    """Choose views by greedy maximum coverage.

    Once everything is covered, the scene is covered a second time, and so on; of equally good views the first wins.

    Args:
        points: for each candidate the valid points (N, 3) it sees, metres, in one frame; a few hundred are enough.
        count: how many to choose.
        voxel: edge of a voxel, metres.

    Returns:
        Indices (min(count, candidates with points),) int64 in the order of their choice.

    Raises:
        SettingError: ``count`` or ``voxel`` are out of range, or no candidate has points.
    """
    if count < 1 or not voxel > 0:
        raise SettingError(f"count must be at least 1 and voxel above 0 m, found {count} and {voxel}")
    sees = _cover(points, voxel)
    able = sees.any(axis=1)
    if not able.any():
        raise SettingError("no candidate view has a valid point")
    chosen: list[int] = []
    open_voxels = np.ones(sees.shape[1], dtype=bool)
    gains = sees.sum(axis=1, dtype=np.int64)
    wanted = min(count, int(able.sum()))
    while len(chosen) < wanted:
        best = int(np.argmax(np.where(able, gains, -1)))
        if gains[best] <= 0:  # all is seen: cover it once more
            open_voxels[:] = True
            gains = sees.sum(axis=1, dtype=np.int64)
            best = int(np.argmax(np.where(able, gains, -1)))
        newly = np.flatnonzero(sees[best] & open_voxels)
        open_voxels[newly] = False
        gains -= sees[:, newly].sum(axis=1, dtype=np.int64)
        able[best] = False
        chosen.append(best)
    return np.array(chosen, dtype=np.int64)


def coverage(
    points: Sequence[np.ndarray], chosen: Sequence[int] | np.ndarray, *, voxel: float = VOXEL
) -> float:
    """Share (0 to 1) of the voxels that any candidate sees which the chosen ones see."""
    sees = _cover(points, voxel)
    return float(sees[np.asarray(chosen, dtype=np.int64)].any(axis=0).mean())


def _cover(points: Sequence[np.ndarray], voxel: float) -> np.ndarray:
    """Which candidate sees which voxel: (candidates, voxels) bool."""
    owner = np.repeat(np.arange(len(points)), [len(seen) for seen in points])
    if not len(owner):
        return np.zeros((len(points), 1), dtype=bool)
    cells = np.floor(np.concatenate([np.asarray(seen).reshape(-1, 3) for seen in points]) / voxel).astype(
        np.int64
    )
    cells -= cells.min(axis=0)
    _, extent_y, extent_z = cells.max(axis=0) + 1
    codes = (cells[:, 0] * extent_y + cells[:, 1]) * extent_z + cells[:, 2]
    _, index = np.unique(codes, return_inverse=True)
    sees = np.zeros((len(points), int(index.max()) + 1), dtype=bool)
    sees[owner, index] = True
    return sees
