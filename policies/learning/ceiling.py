"""A ceiling put into the view of a building that has none, or a higher one than any trained under.

Scans and models made for looking into often have no ceiling, while every house of training has one. Where the upper
half of all views is suddenly empty a learned policy turns to and fro without an end; shown a ceiling it walks on.
"""

from __future__ import annotations

import numpy as np

from envs.embodiment import AgentSpec
from poma3d.pointmap import Camera


def put_in_ceiling(
    point_map: np.ndarray, valid: np.ndarray, height: float, body: AgentSpec
) -> tuple[np.ndarray, np.ndarray]:
    """The view as it would be under a ceiling, within what the camera measures.

    Sky is what is empty from the top of the image downwards: behind a window nothing is hit either, but there is wall
    above it, and it stays as it is. Surfaces above the ceiling are hidden by it.

    Args:
        point_map: (H, W, 3) metres in `Frame.AGENT`, of a level camera.
        valid: (H, W).
        height: of the ceiling in that frame, metres; above the camera.
        body: its camera's field of view, height and range.

    Returns:
        A point map and its validity; those that were given where there is nothing to change.
    """
    rows, columns = valid.shape
    rays = Camera(rows, columns, body.camera.hfov).rays()  # (H, W, 3), OpenCV: x right, y down, z = 1
    rise = height - body.camera_height
    reached = -rays[..., 1] * body.depth_range[1] >= rise  # the ray meets the ceiling within range
    sky = np.logical_and.accumulate(~valid, axis=0)
    hidden = reached & (sky | (valid & (point_map[..., 2] > height)))
    if not hidden.any():
        return point_map, valid
    seen = rays[hidden]
    depth = rise / -seen[:, 1]
    above = np.stack([depth, -depth * seen[:, 0], np.full(len(depth), height)], -1)
    changed = point_map.copy()
    changed[hidden] = above
    return changed, valid | hidden
