"""Random changes of a whole scene: a quarter turn about z, a scale, a move; what is not valid stays 0.

Every view of the scene changes alike, as one rigid world scaled, so that views still agree with each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poma3d.scenepoint.settings import AugmentSettings


@dataclass(frozen=True)
class SceneChange:
    """``x' = scale * turn @ (x - centre) + centre + move``."""

    quarter_turns: int
    """Turns of 90 degrees about +z, counter-clockwise seen from above: 0 to 3."""
    scale: float
    """The factor."""
    move: np.ndarray
    """(3,) float64 metres."""
    centre: np.ndarray
    """(3,) float64 metres: what stays in place but for the move."""

    @property
    def matrix(self) -> np.ndarray:
        """The same as one transform (4, 4) float64."""
        cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[self.quarter_turns]
        matrix = np.eye(4)
        matrix[:3, :3] = self.scale * np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        matrix[:3, 3] = self.centre + self.move - matrix[:3, :3] @ self.centre
        return matrix

    def points(self, point_map: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """The points (..., 3) after the change, 0 where ``valid`` (...) is not."""
        matrix = self.matrix
        changed = np.empty_like(point_map)
        for axis in range(3):
            # of x and y each row of the matrix holds exactly one that is not 0
            source = axis if axis == 2 or self.quarter_turns % 2 == 0 else 1 - axis
            factor, offset = (point_map.dtype.type(v) for v in (matrix[axis, source], matrix[axis, 3]))
            np.multiply(point_map[..., source], factor, out=changed[..., axis])
            changed[..., axis] += offset
        changed[~valid] = 0
        return changed

    def poses(self, scene_from_camera: np.ndarray) -> np.ndarray:
        """Camera poses (..., 4, 4) after the change: what they send camera points to is changed alike."""
        return (self.matrix @ scene_from_camera).astype(scene_from_camera.dtype)


def draw_change(
    settings: AugmentSettings, point_map: np.ndarray, valid: np.ndarray, rng: np.random.Generator
) -> SceneChange:
    """Draw a change for the scene with these points (..., 3) and their validity (...).

    Four numbers are drawn whatever the settings, so that switching one part off leaves the others as they were.
    """
    turns, share, moves = int(rng.integers(4)), rng.uniform(), rng.uniform(-1.0, 1.0, 3)
    low, high = settings.scale
    # plane by plane: eight times faster than one sum over the last axis but one; points that are not valid are 0
    total = np.array([point_map[..., axis].sum(dtype=np.float64) for axis in range(3)])
    return SceneChange(
        turns if settings.quarter_turns else 0,
        low + (high - low) * share,
        settings.translation * moves,
        total / max(int(valid.sum()), 1),
    )
