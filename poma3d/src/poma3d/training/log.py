"""The log of a stage: JSON lines, and TensorBoard's events where TensorBoard is installed.

The lines are what counts. TensorBoard's file is written anew from them when a run is resumed: a kill takes the events
of its last minutes, and what it does about steps that come twice depends on the names of the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poma3d.errors import FileError
from poma3d.files import write_text


class Log:
    """Writes one line a report; lines after ``step`` that a cut-off run left are taken away first.

    Args:
        folder: the stage's.
        step: steps done so far.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "log.jsonl"
        self._board: Any = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(folder, f"cannot be made ({error.strerror})") from error
        kept: list[dict[str, Any]] = []
        if self.path.exists():
            kept = [line for line in read_log(folder) if line["step"] <= step]
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            return
        events = folder / "tensorboard"
        for old in events.glob("events.out.tfevents.*"):
            old.unlink()
        self._board = SummaryWriter(str(events), purge_step=0)
        for line in kept:
            self._show(line)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record that has a ``step``.

        Raises:
            FileError: it cannot be written.
        """
        try:
            with open(self.path, "a") as stream:
                stream.write(json.dumps(record) + "\n")
        except OSError as error:
            raise FileError(self.path, f"cannot be written ({error.strerror})") from error
        self._show(record)

    def _show(self, record: Mapping[str, Any]) -> None:
        if self._board is None:
            return
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                self._board.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """End TensorBoard's file."""
        if self._board is not None:
            self._board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The records of a stage's log; a last line that a kill cut short is left out."""
    records = []
    for line in (folder / "log.jsonl").read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records
