"""ScanNet scans as its SensReader extracts them: ``color/N.jpg``, ``depth/N.png``, ``pose/N.txt``, ``intrinsic/``.

Depth is in millimetres, 16 bits; poses are camera to world, metres, z up; a lost pose is written as ``-inf``
(github.com/ScanNet/ScanNet, SensReader). Where the scan's own ``SCAN.txt`` is there, its ``axisAlignment`` turns the
walls along the axes; whether POMA-3D's authors did so is not stated.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from poma3d.errors import FileError
from poma3d.scenepoint.converters.scan import (
    RgbdFrame,
    Scan,
    read_depth,
    read_image,
    read_matrix,
    with_centres,
)

UNIT = 1000.0
"""Steps of the depth picture in a metre."""
_INTRINSICS = ("intrinsic/intrinsic_depth.txt", "intrinsic_depth.txt", "intrinsic/intrinsics_depth.txt")


def is_scan(folder: Path) -> bool:
    """Whether a folder looks like an extracted ScanNet scan."""
    return (folder / "depth").is_dir() and (folder / "pose").is_dir()


def read_scan(folder: Path) -> Scan:
    """The frames of a scan that have a pose.

    Raises:
        FileError: the camera matrix or a pose is missing or no matrix.
    """
    known = [folder / name for name in _INTRINSICS if (folder / name).is_file()]
    if not known:
        raise FileError(folder, f"no camera matrix was found, {_INTRINSICS[0]} was expected")
    intrinsics = with_centres(read_matrix(known[0]))
    aligned = _axis_alignment(folder / f"{folder.name}.txt")
    frames = []
    for depth in sorted((folder / "depth").glob("*.png"), key=lambda path: (len(path.stem), path.stem)):
        pose = read_matrix(folder / "pose" / f"{depth.stem}.txt")
        if np.isfinite(pose).all():
            read_colour = partial(read_image, _colour(folder, depth.stem))
            frames.append(
                RgbdFrame(
                    depth.stem, aligned @ pose, intrinsics, partial(read_depth, depth, UNIT), read_colour
                )
            )
    return Scan(folder.name, folder, tuple(frames))


def _colour(folder: Path, stem: str) -> Path:
    """The picture of a frame: .jpg as the SensReader writes it, .png as others do."""
    jpeg, png = (folder / "color" / f"{stem}{ending}" for ending in (".jpg", ".png"))
    return png if png.is_file() else jpeg


def _axis_alignment(path: Path) -> np.ndarray:
    """The (4, 4) ``axisAlignment`` of a scan's text file; the identity where there is none."""
    if not path.is_file():
        return np.eye(4)
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "axisAlignment":
            try:
                return np.array([float(word) for word in value.split()]).reshape(4, 4)
            except ValueError as error:
                raise FileError(path, f"axisAlignment must be 16 numbers ({error})") from error
    return np.eye(4)
