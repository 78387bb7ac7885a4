"""The settings in a pretraining's folder: a run that has begun goes on with its own alone.

A run has begun once there is something to go on from: a checkpoint, the end of a stage, or weights. What one leaves
that was refused before, or stopped before its first checkpoint, stands in nobody's way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from poma3d.checkpoint_layouts import ENCODER_FILE
from poma3d.errors import FileError, SettingError
from poma3d.files import write_text
from poma3d.training.checkpoint import checkpoints
from poma3d.training.settings import SETTINGS_FILE, PretrainSettings, read_recipe
from poma3d.training.stage import DONE

VOCABULARY_FILE = "vocabulary.json"
"""The words of the small text tower that trains along."""


def has_begun(out: Path) -> bool:
    """Whether a folder holds anything that a run could go on from, or ended with."""
    stages = [out / name for name in ("warm-up", "main")]
    return (out / ENCODER_FILE).exists() or any((s / DONE).exists() or checkpoints(s) for s in stages)


def refuse_other_settings(settings: PretrainSettings, out: Path) -> None:
    """Make sure that a run that has begun there is this one; writes nothing.

    Raises:
        SettingError: the folder holds a run with another recipe; the message names what differs.
        FileError: the settings there are damaged.
    """
    if not (out / SETTINGS_FILE).exists() or not has_begun(out):
        return
    differs = sorted(_differences(read_recipe(out), _recipe(settings)))
    if differs:
        raise SettingError(
            f"{out} holds a run with other settings ({'; '.join(differs)}):"
            " resume it with its own, or start anew in another folder"
        )


def keep_settings(settings: PretrainSettings, out: Path) -> None:
    """Write the resolved settings; the words that a run left which had not begun go.

    Raises:
        FileError: the folder cannot be written.
    """
    if (out / SETTINGS_FILE).exists() and not has_begun(out):  # they may be those of other data
        try:
            (out / VOCABULARY_FILE).unlink(missing_ok=True)
        except OSError as error:
            raise FileError(out / VOCABULARY_FILE, f"cannot be replaced ({error.strerror})") from error
    whole = {"recipe": _recipe(settings), "run": asdict(settings.run)}
    write_text(out / SETTINGS_FILE, json.dumps(whole, indent=2) + "\n")


def _recipe(settings: PretrainSettings) -> dict[str, Any]:
    """The recipe as it comes back from a file: lists for tuples."""
    return json.loads(json.dumps(settings.recipe()))


def _differences(found: Any, wanted: Any, name: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in {*found, *wanted}:
            yield from _differences(found.get(key), wanted.get(key), f"{name}.{key}" if name else key)
    elif found != wanted:
        yield f"{name} was {found!r}, now {wanted!r}"
