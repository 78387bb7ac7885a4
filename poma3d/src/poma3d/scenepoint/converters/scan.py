"""What every RGB-D scan comes down to: frames with a depth, a picture, a camera matrix and a pose."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from poma3d.errors import FileError

_TO_CENTRES = np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])


@dataclass(frozen=True)
class RgbdFrame:
    """One frame; depth and picture are read when they are asked for."""

    name: str
    """What messages call it."""
    scene_from_camera: np.ndarray
    """(4, 4) float64 camera-to-world pose, metres, z up; OpenCV's camera axes (x right, y down, z forward)."""
    intrinsics: np.ndarray
    """(3, 3) float64 camera matrix for the pixels of the depth, centres at +0.5."""
    read_depth: Callable[[], np.ndarray]
    """(H, W) float32 metres along the optical axis, 0 where nothing was measured."""
    read_image: Callable[[], np.ndarray]
    """(H', W', 3) uint8 RGB of the same view."""


@dataclass(frozen=True)
class Scan:
    """One scan: a camera led through a room."""

    scan_id: str
    """Its name."""
    folder: Path
    """Where it lies."""
    frames: tuple[RgbdFrame, ...]
    """Frames that have a pose, in order of time."""


def with_centres(intrinsics: np.ndarray) -> np.ndarray:
    """A camera matrix (3, 3) whose pixel centres are whole numbers, as data sets count, for centres at +0.5."""
    return np.asarray(intrinsics, dtype=np.float64)[:3, :3] + _TO_CENTRES


def read_matrix(path: str | os.PathLike[str], rows: int = 4) -> np.ndarray:
    """A matrix (rows, 4) written as text; entries may be infinite, as ScanNet marks lost poses.

    Raises:
        FileError: missing, or not that many numbers.
    """
    try:
        numbers = [float(word) for word in Path(path).read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise FileError(path, f"a matrix of {rows} x 4 numbers was expected ({error})") from error
    if len(numbers) != rows * 4:
        raise FileError(path, f"a matrix of {rows} x 4 numbers was expected, found {len(numbers)} numbers")
    return np.array(numbers).reshape(rows, 4)


def read_depth(path: str | os.PathLike[str], unit: float) -> np.ndarray:
    """A 16-bit depth picture (PNG or PGM) as (H, W) float32 metres.

    Args:
        path: the file.
        unit: how many of its steps make a metre: 1000 for millimetres.

    Raises:
        FileError: missing, damaged, or of several channels or 8 bits.
    """
    with _picture(path) as picture:
        steps = np.asarray(picture)
    if steps.ndim != 2 or steps.dtype.itemsize < 2:
        raise FileError(
            path, f"a depth picture of one 16-bit channel was expected, found {steps.dtype} {steps.shape}"
        )
    return steps.astype(np.float32) / np.float32(unit)


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """A colour picture as (H, W, 3) uint8.

    Raises:
        FileError: missing or damaged.
    """
    with _picture(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _picture(path: str | os.PathLike[str]) -> Image.Image:
    try:
        picture = Image.open(path)
        picture.load()
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise FileError(path, f"is no whole picture ({error})") from error
    return picture
