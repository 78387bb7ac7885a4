"""The coordinate frames of the project, always named, and the exact transforms between them."""

from __future__ import annotations

from enum import Enum

import numpy as np

from poma3d.errors import SettingError
from poma3d.pointmap.arrays import Array, is_torch, like
from poma3d.pointmap.pose import invert


class Frame(str, Enum):
    """Where the XYZ of a point map are measured.

    | frame | origin | axes | use |
    |---|---|---|---|
    | `WORLD` | the scene file's | Habitat's: y up, an agent at rest looks along -z | poses, episode files |
    | `SCENE` | the same | z up: (x, -z, y) of `WORLD` | ScenePoint, POMA-3D's canonical space |
    | `EPISODE` | the episode's start position | z up, x along the start heading | no absolute position |
    | `AGENT` | the agent's base now | x forward, y left, z up | egocentric policies, MSNN |
    | `CAMERA` | the camera's centre | OpenCV's: x right, y down, z forward | geometry |
    """

    WORLD = "world"
    SCENE = "scene"
    EPISODE = "episode"
    AGENT = "agent"
    CAMERA = "camera"

    @classmethod
    def parse(cls, name: str | Frame) -> Frame:
        """The frame of that name.

        Raises:
            SettingError: there is none; the message lists those there are.
        """
        try:
            return cls(name)
        except ValueError:
            known = ", ".join(frame.value for frame in cls)
            raise SettingError(f"unknown frame {name!r}; the frames are {known}") from None

    @property
    def reveals_pose(self) -> bool:
        """Whether a point map in this frame gives the agent's absolute pose away (a leak in localisation)."""
        return self in (Frame.WORLD, Frame.SCENE)


# Rows are the new axes in the old ones.
_SCENE_FROM_WORLD = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
_ROBOT_FROM_BODY = np.array(
    [[0.0, 0, -1, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
)  # x forward, y left, z up
_OPENCV_FROM_BODY = np.diag([1.0, -1, -1, 1])


def frame_from_world(
    frame: str | Frame,
    *,
    world_from_start: Array | None = None,
    world_from_agent: Array | None = None,
    world_from_camera: Array | None = None,
) -> Array:
    """The rigid transforms (..., 4, 4) from the world to ``frame``.

    Args:
        frame: where to.
        world_from_start: pose (..., 4, 4) of the agent's base at the episode's start, for `Frame.EPISODE`.
        world_from_agent: pose (..., 4, 4) of the agent's base now, for `Frame.AGENT`.
        world_from_camera: pose (..., 4, 4) of the camera with Habitat's body axes (it looks along -z), for
            `Frame.CAMERA`.

    Returns:
        (..., 4, 4), float64 for NumPy input and where no pose is needed.

    Raises:
        SettingError: an unknown frame, or the pose that the frame needs is not given.
    """
    frame = Frame.parse(frame)
    if frame is Frame.WORLD:
        return np.eye(4)
    if frame is Frame.SCENE:
        return _SCENE_FROM_WORLD.copy()
    needs = {
        Frame.EPISODE: ("world_from_start", world_from_start, _ROBOT_FROM_BODY),
        Frame.AGENT: ("world_from_agent", world_from_agent, _ROBOT_FROM_BODY),
        Frame.CAMERA: ("world_from_camera", world_from_camera, _OPENCV_FROM_BODY),
    }
    name, pose, axes = needs[frame]
    if pose is None:
        raise SettingError(f"frame {frame.value!r} needs {name}")
    pose = pose if is_torch(pose) else np.asarray(pose, dtype=np.float64)
    return like(axes, pose) @ invert(pose)
