"""Images with a depth and a camera, as VGGT predicts them: ``predictions.npz`` with the arrays of its demo.

``depth`` (S, H, W, 1), ``extrinsic`` (S, 3, 4) world to camera, ``intrinsic`` (S, 3, 3), ``images`` (S, 3, H, W) in
[0, 1], or uint8; the world is the first camera, in OpenCV's axes, and pixel centres are whole numbers
(github.com/facebookresearch/vggt, demo_gradio.py and utils/geometry.py). Here the world is turned so that z is up for a
camera held level, y where it looks. VGGT's unit of length is its own: ``median_depth`` in `ConvertSettings` brings it
to a scale; how POMA-3D's authors did is not stated.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from poma3d.errors import FileError
from poma3d.pointmap import invert
from poma3d.scenepoint.converters.scan import RgbdFrame, Scan, with_centres

_KEYS = ("depth", "extrinsic", "intrinsic", "images")
SCENE_FROM_OPENCV = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""From a level camera's axes to z up: x right, y forward."""


def is_scan(path: Path) -> bool:
    """Whether this is such a file, or a folder that holds one."""
    return path.suffix == ".npz" or (path / "predictions.npz").is_file()


def read_scan(path: Path) -> Scan:
    """The images of a file as frames of one scan.

    Args:
        path: the ``.npz``, or the folder that holds ``predictions.npz``.

    Raises:
        FileError: missing, damaged, without one of the arrays, with cameras that are no numbers, or pictures in
            another range.
    """
    file = path / "predictions.npz" if path.is_dir() else path
    found = _read_arrays(file)
    depth, images = found["depth"][..., 0] if found["depth"].ndim == 4 else found["depth"], found["images"]
    count = len(depth) if depth.ndim == 3 else 0
    shapes = {
        "extrinsic": (count, 3, 4),
        "intrinsic": (count, 3, 3),
        "images": (count, 3, *depth.shape[1:]),
    }
    bad = [name for name, shape in shapes.items() if found[name].shape != shape]
    if not count or bad:
        seen = ", ".join(f"{name} {found[name].shape}" for name in _KEYS)
        raise FileError(file, f"arrays of one size as VGGT writes them were expected, found {seen}")
    if not (np.isfinite(found["extrinsic"]).all() and np.isfinite(found["intrinsic"]).all()):
        raise FileError(file, "has cameras that are not finite numbers (NaN or infinite)")
    camera_from_world = np.tile(np.eye(4), (count, 1, 1))
    camera_from_world[:, :3] = found["extrinsic"]
    poses = SCENE_FROM_OPENCV @ invert(camera_from_world)
    pictures = np.moveaxis(_as_bytes(file, images), 1, -1)
    frames = tuple(
        RgbdFrame(
            str(index),
            poses[index],
            with_centres(found["intrinsic"][index]),
            lambda index=index: np.nan_to_num(depth[index].astype(np.float32), posinf=0, neginf=0),
            lambda index=index: pictures[index],
        )
        for index in range(count)
    )
    return Scan(path.name if path.is_dir() else path.stem, path, frames)


def _as_bytes(file: Path, images: np.ndarray) -> np.ndarray:
    """Pictures as uint8, of uint8 or of floats in [0, 1]; a little beyond is what resizing leaves."""
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating) or not ((images > -0.1) & (images < 1.1)).all():
        found = f"{images.dtype} from {images.min():g} up to {images.max():g}"
        raise FileError(file, f"images of uint8, or of floats from 0 to 1, were expected, found {found}")
    return np.clip(np.rint(images * 255), 0, 255).astype(np.uint8)


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            missing = [name for name in _KEYS if name not in stored]
            if missing:
                raise FileError(file, f"has no {', '.join(missing)}, found {', '.join(stored.files)}")
            return {name: stored[name] for name in _KEYS}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise FileError(file, f"is no whole .npz of plain arrays ({error})") from error
