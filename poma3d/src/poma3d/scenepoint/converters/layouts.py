"""Which layouts there are, and which scans a folder holds in one of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from poma3d.errors import FileError, SettingError
from poma3d.scenepoint.converters import arkitscenes, scannet, threerscan, vggt
from poma3d.scenepoint.converters.scan import Scan


class Layout(NamedTuple):
    """One published form of RGB-D scans."""

    is_scan: Callable[[Path], bool]
    """Whether a path is one scan of this form."""
    read_scan: Callable[[Path], Scan]
    """Its frames."""


LAYOUTS: dict[str, Layout] = {
    "scannet": Layout(scannet.is_scan, scannet.read_scan),
    "3rscan": Layout(threerscan.is_scan, threerscan.read_scan),
    "arkitscenes": Layout(arkitscenes.is_scan, arkitscenes.read_scan),
    "vggt": Layout(vggt.is_scan, vggt.read_scan),
}
"""By the name of the source that their scenes are filed under."""


def layout_of(name: str) -> Layout:
    """The layout of that name.

    Raises:
        SettingError: there is none; the message lists those there are.
    """
    if name not in LAYOUTS:
        raise SettingError(f"unknown layout {name!r}; the layouts are {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def find_scans(name: str, folder: str | os.PathLike[str]) -> list[Path]:
    """The scans of one layout that a folder is, or holds up to two levels deep, sorted.

    Raises:
        FileError: there is no such folder, or no scan in it.
    """
    layout, root = layout_of(name), Path(folder)
    if not root.exists():
        raise FileError(root, "there is no such folder")
    if layout.is_scan(root):
        return [root]
    found = sorted(path for path in root.glob("*") if layout.is_scan(path))
    found = found or sorted(path for path in root.glob("*/*") if layout.is_scan(path))
    if not found:
        raise FileError(root, f"holds no scan in the layout of {name} (docs/scenepoint.md shows it)")
    return found
