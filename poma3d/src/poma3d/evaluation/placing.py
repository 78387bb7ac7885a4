"""Views of a scene as an agent at each camera sees them: what policies feed the encoder, and what ScenePoint is not.

`poma3d.pointmap.Frame.AGENT`: the origin on the floor below the camera, x the way it looks, z up. ScenePoint does not
say how high a camera stands, so the floor is taken to be where the lowest points of the view are: 0 in one-storey
scenes whose floor is at 0, and right as well upstairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from poma3d.errors import SettingError
from poma3d.scenepoint import SceneSample

_LOWEST = 0.01
"""Share of a view's points that may lie below its floor."""


def agent_frame(sample: SceneSample) -> Tensor:
    """The point map of a sample (V, H, W, 3), each view in its own agent's frame, 0 where not valid.

    Raises:
        SettingError: the scene has no cameras.
    """
    if sample.poses is None:
        raise SettingError(
            f"{sample.scan_id} has no cameras, so nobody knows how its views are seen by an agent"
        )
    views = []
    for points, valid, pose in zip(sample.point_map, sample.valid, sample.poses, strict=True):
        ahead = pose[:2, 2] / pose[:2, 2].norm().clamp(min=1e-6)  # OpenCV's cameras look along +z
        floor = points[..., 2][valid].kthvalue(1 + int(_LOWEST * int(valid.sum()))).values
        x, y = points[..., 0] - pose[0, 3], points[..., 1] - pose[1, 3]
        turned = torch.stack(
            [x * ahead[0] + y * ahead[1], y * ahead[0] - x * ahead[1], points[..., 2] - floor], -1
        )
        views.append(turned.masked_fill(~valid[..., None], 0.0))
    return torch.stack(views)
