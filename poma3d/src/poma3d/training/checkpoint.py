"""Checkpoints of a training run: folders that are whole or absent, and the newest of them.

A checkpoint is Accelerate's save-state folder (``model.safetensors``, ``optimizer.bin``, ``random_states_*.pkl``)
with our ``state.json``. It is written beside its place, flushed, and renamed, after all ranks have written.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from poma3d.errors import FileError

_NAME = re.compile(r"step_(\d{8})")
STATE = "state.json"


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint after ``step`` steps lies in the folder of a stage."""
    return folder / "checkpoints" / f"step_{step:08d}"


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a stage, oldest first."""
    found = (folder / "checkpoints").glob("step_*")
    return sorted(path for path in found if _NAME.fullmatch(path.name) and path.is_dir())


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What `state.json` of a checkpoint says.

    Raises:
        FileError: it is missing or damaged.
    """
    path = checkpoint / STATE
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FileError(
            path, f"cannot be read ({error}); remove the folder {checkpoint} to resume from the one before"
        ) from error


def unfinished(path: Path) -> Path:
    """The folder that is written before it is renamed to ``path``: the same in all processes."""
    return path.with_name(f".{path.name}.unfinished")


def finish(temporary: Path, path: Path) -> None:
    """Flush a folder to the disk and rename it; an older ``path`` gives way."""
    for file in temporary.iterdir():
        with open(file, "rb+") as stream:
            os.fsync(stream.fileno())
    if path.exists():
        remove(path)
    os.replace(temporary, path)
    with contextlib.suppress(OSError):  # some systems cannot flush folders
        handle = os.open(path.parent, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a checkpoint: renamed first, so that a kill leaves no half of one under its name."""
    gone = path.with_name(f".{path.name}.removed")
    shutil.rmtree(gone, ignore_errors=True)
    os.replace(path, gone)
    shutil.rmtree(gone, ignore_errors=True)
