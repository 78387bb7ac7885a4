"""From what habitat-lab's depth sensor says to point maps, without habitat-lab."""

from __future__ import annotations

import numpy as np

from poma3d.errors import SettingError
from poma3d.pointmap import (
    Camera,
    Frame,
    depth_to_points,
    frame_from_world,
    resize,
    transform_points,
    world_from_pose,
)

_BODY_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


def metric_depth(observed: np.ndarray, nearest: float, farthest: float, *, normalised: bool) -> np.ndarray:
    """Z-depth (H, W) in metres, 0 where habitat-lab's sensor does not tell it.

    habitat-lab clips depth to its range, after habitat-sim wrote 0 where nothing was hit, so what reads the
    nearest or the farthest value was nearer, farther or nothing.

    Args:
        observed: (H, W) or (H, W, 1) of the depth sensor.
        nearest: ``min_depth``, metres.
        farthest: ``max_depth``, metres.
        normalised: whether 0..1 stands for the range (``normalize_depth``).
    """
    depth = np.asarray(observed, np.float64).reshape(observed.shape[:2])  # (H, W, 1) -> (H, W)
    inside = (depth > 0) & (depth < 1) if normalised else (depth > nearest) & (depth < farthest)
    metres = nearest + depth * (farthest - nearest) if normalised else depth
    return np.where(inside, metres, 0.0)


def body_pose(position: np.ndarray, rotation: object) -> np.ndarray:
    """World-from-body (4, 4) of habitat's position (3,) and ``numpy-quaternion`` (fields x, y, z, w)."""
    quaternion = np.array([getattr(rotation, name) for name in "xyzw"], np.float64)
    return world_from_pose(np.asarray(position, np.float64), quaternion)


def point_map(
    depth: np.ndarray,
    camera: Camera,
    frame: Frame,
    world_from_start: np.ndarray,
    world_from_agent: np.ndarray,
    world_from_camera: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Point map (H, W, 3) float32 in ``frame`` and validity (H, W) of metric depth (H, W).

    Args:
        depth: metres, 0 where unknown.
        camera: the camera that took it.
        frame: of the answer.
        world_from_start: (4, 4) pose of the agent's base at the episode's start.
        world_from_agent: (4, 4) pose of its base now.
        world_from_camera: (4, 4) pose of the camera, Habitat's body axes.
    """
    to_frame = frame_from_world(
        frame,
        world_from_start=world_from_start,
        world_from_agent=world_from_agent,
        world_from_camera=world_from_camera,
    )
    points, valid = depth_to_points(depth, camera)
    moved = transform_points(to_frame @ world_from_camera @ _BODY_FROM_OPENCV, points, valid)
    return moved.astype(np.float32), valid


def fitted(
    points: np.ndarray, valid: np.ndarray, size: tuple[int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """The point map and validity at ``size`` (H, W); None keeps them."""
    return (points, valid) if size is None else resize(points, valid, *size)


def reach(camera: Camera, farthest: float, camera_offset: float, frame: Frame) -> float:
    """Bound on the coordinates of a point map, metres; infinite in frames that depend on the place."""
    if frame not in (Frame.AGENT, Frame.CAMERA):
        return float("inf")
    corner = float(np.linalg.norm(camera.rays().reshape(-1, 3), axis=1).max())
    return farthest * corner + (camera_offset if frame is Frame.AGENT else 0.0)


def checked_size(size: object) -> tuple[int, int] | None:
    """A configuration's ``size`` as (H, W); None where it is empty.

    Raises:
        SettingError: it is something else.
    """
    values = [] if size is None else list(size)  # type: ignore[call-overload]
    if not values:
        return None
    if len(values) != 2 or not all(isinstance(value, int) and value > 0 for value in values):
        raise SettingError(f"size must be (height, width) in pixels or empty, found {values!r}")
    return values[0], values[1]
