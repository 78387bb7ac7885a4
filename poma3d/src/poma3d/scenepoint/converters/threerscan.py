"""3RScan scans: ``sequence/_info.txt`` and ``sequence/frame-NNNNNN.{color.jpg,depth.pgm,pose.txt}``.

Depth has ``m_depthShift`` steps a metre (1000) and is registered to the colour camera, whose pose the text files give:
camera to world, metres, z up (github.com/WaldJohannaU/3RScan, FAQ). Phones were held upright, so that pictures lie on
their side; they are left as they are, as nothing says that the authors turned them.
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

INFO = "_info.txt"


def _sequence(folder: Path) -> Path:
    """The folder that holds the frames: the scan's ``sequence``, or the scan's own."""
    return folder / "sequence" if (folder / "sequence").is_dir() else folder


def is_scan(folder: Path) -> bool:
    """Whether a folder looks like an unpacked 3RScan scan."""
    return (_sequence(folder) / INFO).is_file()


def read_scan(folder: Path) -> Scan:
    """The frames of a scan that have a pose.

    Raises:
        FileError: ``_info.txt`` or a pose is missing or not as documented.
    """
    sequence = _sequence(folder)
    intrinsics, unit = _read_info(sequence / INFO)
    frames = []
    for depth in sorted(sequence.glob("frame-*.depth.pgm")):
        name = depth.name.removesuffix(".depth.pgm")
        pose = read_matrix(sequence / f"{name}.pose.txt")
        if np.isfinite(pose).all():
            colour = partial(read_image, sequence / f"{name}.color.jpg")
            frames.append(RgbdFrame(name, pose, intrinsics, partial(read_depth, depth, unit), colour))
    return Scan(folder.name, folder, tuple(frames))


def _read_info(path: Path) -> tuple[np.ndarray, float]:
    """The depth's camera matrix (3, 3), centres at +0.5, and its steps in a metre."""
    try:
        lines = [line.partition("=") for line in path.read_text(encoding="utf-8").splitlines()]
        facts = {name.strip(): value.strip() for name, _, value in lines}
        matrix = np.array([float(word) for word in facts["m_calibrationDepthIntrinsic"].split()])
        unit = float(facts["m_depthShift"])
        if matrix.size != 16 or not unit > 0:
            raise ValueError(f"{matrix.size} numbers and a depth shift of {unit}")
    except (OSError, KeyError, ValueError) as error:
        raise FileError(
            path, f"m_depthShift and the 16 numbers of m_calibrationDepthIntrinsic were expected ({error})"
        ) from error
    return with_centres(matrix.reshape(4, 4)), unit
