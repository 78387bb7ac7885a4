"""ARKitScenes scans: ``lowres_wide``, ``lowres_depth``, ``lowres_wide_intrinsics/*.pincam`` and ``lowres_wide.traj``.

Frames are called ``VIDEO_TIMESTAMP``. Depth is in millimetres; a ``.pincam`` holds width, height, focal lengths and
principal point; a line of the ``.traj`` holds a time, an axis-angle rotation (radians) and a translation (metres)
**from world to camera**, z up (github.com/apple/ARKitScenes, DATA.md and tenFpsDataLoader.py). Poses come ten times a
second; a frame farther than 5 ms from all of them is left out, as the makers' own loader does.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np

from poma3d.errors import FileError
from poma3d.pointmap import invert
from poma3d.scenepoint.converters.scan import RgbdFrame, Scan, read_depth, read_image, with_centres

UNIT = 1000.0
"""Steps of the depth picture in a metre."""
_TOLERANCE = 0.005
_TRAJECTORY = "lowres_wide.traj"


def _frames_folder(folder: Path) -> Path:
    """The folder that holds the frames: ``VIDEO/VIDEO_frames`` of the 3DOD download, else the scan's own."""
    nested = folder / f"{folder.name}_frames"
    return nested if nested.is_dir() else folder


def is_scan(folder: Path) -> bool:
    """Whether a folder looks like a scan of ARKitScenes."""
    return (_frames_folder(folder) / _TRAJECTORY).is_file()


def read_scan(folder: Path) -> Scan:
    """The frames of a scan that have a pose.

    Raises:
        FileError: the trajectory or a camera file is missing or not as documented.
    """
    inside = _frames_folder(folder)
    times, poses = _read_trajectory(inside / _TRAJECTORY)
    frames = []
    for depth in sorted((inside / "lowres_depth").glob("*.png"), key=_time_of):
        nearest = int(np.argmin(np.abs(times - _time_of(depth))))
        if abs(times[nearest] - _time_of(depth)) <= _TOLERANCE:
            frames.append(
                RgbdFrame(
                    depth.stem,
                    poses[nearest],
                    _read_pincam(_pincam(inside / "lowres_wide_intrinsics", depth)),
                    partial(read_depth, depth, UNIT),
                    partial(read_image, inside / "lowres_wide" / depth.name),
                )
            )
    return Scan(folder.name, folder, tuple(frames))


def _time_of(path: Path) -> float:
    """The time in a frame's name, seconds."""
    try:
        return float(path.stem.rpartition("_")[2])
    except ValueError:
        raise FileError(path, "a name such as 47333462_1234.567.png was expected") from None


def _read_trajectory(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,) in seconds and camera-to-world poses (N, 4, 4)."""
    try:
        rows = np.array(
            [[float(word) for word in line.split()] for line in path.read_text().splitlines() if line]
        )
        if rows.ndim != 2 or rows.shape[1] != 7 or not np.isfinite(rows).all():
            raise ValueError(f"found an array of shape {rows.shape}")
    except (OSError, ValueError) as error:
        raise FileError(path, f"lines of 7 numbers were expected ({error})") from error
    camera_from_world = np.tile(np.eye(4), (len(rows), 1, 1))
    camera_from_world[:, :3, :3] = np.stack([_rotation(row[1:4]) for row in rows])
    camera_from_world[:, :3, 3] = rows[:, 4:]
    return rows[:, 0], invert(camera_from_world)


def _rotation(axis_angle: np.ndarray) -> np.ndarray:
    """The matrix (3, 3) of a rotation vector (3,), by Rodrigues' formula."""
    angle = float(np.linalg.norm(axis_angle))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = axis_angle / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def _pincam(folder: Path, depth: Path) -> Path:
    """The camera file of a frame; its time may differ by a millisecond."""
    video = depth.stem.rpartition("_")[0]
    names = [f"{depth.stem}.pincam"]
    names += [f"{video}_{_time_of(depth) + shift:.3f}.pincam" for shift in (-0.001, 0.001)]
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[0])


def _read_pincam(path: Path) -> np.ndarray:
    """The camera matrix (3, 3), centres at +0.5."""
    try:
        _, _, fx, fy, cx, cy = (float(word) for word in path.read_text().split())
    except (OSError, ValueError) as error:
        raise FileError(path, f"width, height, fx, fy, cx and cy were expected ({error})") from error
    return with_centres(np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]))
