"""The results folder: a line an episode, appended so that a kill loses nothing, and a summary with intervals.

`episodes.jsonl` holds one finished episode a line, `config.json` the settings that decide the numbers,
`summary.json` the means with intervals. A run over the same settings goes on where the last one was stopped;
a folder with other settings is refused. Values that are not finite are written as null.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import provenance
from poma3d.errors import FileError, SettingError
from poma3d.files import write_text

Record = dict[str, Any]
"""One finished episode, flat: names to strings, numbers, booleans or None."""

NOT_MEASURED = frozenset({"episode_id", "scene_id", "policy", "seed"})
"""Fields of a record that name the episode; the numbers among the others are its measures."""

CONFIG_FILE = "config.json"
"""What the settings of a results folder are written to."""

RESAMPLES = 2000
"""Bootstrap resamples behind an interval."""


def canonical_key(record: Mapping[str, Any]) -> tuple:
    """Sorts records by scene, then episode; digits in an id count as numbers: 2 before 10."""

    def natural(text: str) -> tuple:
        parts = re.split(r"(\d+)", text)
        return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts if part)

    return natural(str(record["scene_id"])), natural(str(record["episode_id"])), str(record["episode_id"])


def config_sha256(config: Mapping[str, Any]) -> str:
    """sha256 (hex) of settings: of their JSON with sorted keys, so that their order changes nothing."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, allow_nan=False).encode()).hexdigest()


class ResultsFolder:
    """A results folder that is being filled.

    Args:
        folder: made where it is absent.
        config: the settings that decide the numbers, as JSON values.
        resume: keep the finished episodes of the same settings; otherwise begin anew.
        overwrite: throw away what an earlier run of any settings left.

    Raises:
        SettingError: the folder holds the results of other settings.
        FileError: the folder cannot be written, or what it holds is damaged.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        config: Mapping[str, Any],
        *,
        resume: bool = True,
        overwrite: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.config = dict(config)
        self.sha256 = config_sha256(config)
        self.episodes_path = self.folder / "episodes.jsonl"
        self.records: list[Record] = []
        self._config_path = self.folder / CONFIG_FILE
        if not overwrite and (self.episodes_path.exists() or self._config_path.exists()):
            found = read_config(self._config_path)
            same = found is not None and config_sha256(found) == self.sha256
            if same and resume:
                self.records = read_episodes(self.episodes_path, mend=True)
                return
            if not same:
                raise SettingError(
                    f"{self.folder} holds results of other settings ({_difference(found, self.config)});"
                    " name another --out, or throw them away with --overwrite"
                )
        self._clear()
        write_text(self._config_path, json.dumps(self.config, indent=2, sort_keys=True) + "\n")

    def finished(self) -> set[tuple[str, str]]:
        """(scene_id, episode_id) of the episodes that are done."""
        return {(record["scene_id"], record["episode_id"]) for record in self.records}

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one finished episode; its line is on the disk when this returns, whole, or not at all.

        Raises:
            FileError: the line cannot be written, as on a full disk; the lines before it stay.
        """
        clean = {name: plain(value) for name, value in record.items()}
        line = (json.dumps(clean, allow_nan=False) + "\n").encode()
        before = 0
        try:
            handle = os.open(self.episodes_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                before = os.fstat(handle).st_size
                try:
                    written = os.write(handle, line)
                    while written < len(line):  # the disk took a part: the next call says why
                        written += os.write(handle, line[written:])
                    os.fsync(handle)
                except OSError:
                    os.ftruncate(handle, before)
                    raise
            finally:
                os.close(handle)
        except OSError as error:
            raise FileError(
                self.episodes_path,
                f"an episode could not be added ({error.strerror or error});"
                f" the {len(self.records)} finished before it are kept",
            ) from error
        self.records.append(clean)

    def finish(self, asked: int, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Put the episodes in canonical order and write the summary of what is finished.

        Args:
            asked: how many episodes were to be run.
            facts: further entries of the summary (``weights_sha256``, ``retried``, ...).

        Returns:
            What `summary.json` holds.
        """
        self.records = read_episodes(self.episodes_path, mend=True)  # Ctrl-C may fall between line and list
        self.records.sort(key=canonical_key)
        write_text(
            self.episodes_path, "".join(json.dumps(record, allow_nan=False) + "\n" for record in self.records)
        )
        summary = {
            "measures": summarize(self.records),
            "episodes": {"asked": asked, "finished": len(self.records)},
            "config": self.config,
            "config_sha256": self.sha256,
            "weights_sha256": None,
            **provenance(),
            **facts,
        }
        write_text(self.folder / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
        return summary

    def abandon(self) -> None:
        """Leave nothing behind of a run that finished no episode."""
        self._clear()
        with contextlib.suppress(OSError):  # absent, or a person keeps other things in it
            self.folder.rmdir()

    def _clear(self) -> None:
        """Remove what runs write here, and nothing else that a person may have put beside it."""
        if not self.folder.is_dir():
            return
        try:
            for name in ("episodes.jsonl", CONFIG_FILE, "summary.json", "recording.rrd", "index.html"):
                (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise FileError(self.folder / name, f"cannot be removed ({error.strerror})") from error
        shutil.rmtree(self.folder / "videos", ignore_errors=True)


def read_episodes(path: str | os.PathLike[str], *, mend: bool = False) -> list[Record]:
    """The finished episodes of an `episodes.jsonl`; empty where there is no such file.

    A last line without its end was cut off by a kill and counts as absent; ``mend`` cuts it from the file. Of
    lines of the same episode the first counts.

    Raises:
        FileError: a whole line is not a record.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    end = data.rfind(b"\n") + 1
    if mend and end < len(data):
        os.truncate(path, end)
    records: dict[tuple[str, str], Record] = {}
    for number, line in enumerate(data[:end].splitlines(), start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise FileError(path, f"line {number} is not JSON: {error}; remove that line") from error
        if not isinstance(record, dict) or not {"episode_id", "scene_id"} <= record.keys():
            raise FileError(path, f"line {number} is no episode (it lacks episode_id or scene_id)")
        records.setdefault((record["scene_id"], record["episode_id"]), record)
    return list(records.values())


def summarize(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean, 95 % interval and number of every measure of the records; values of None are left out."""
    names = sorted(
        {
            name
            for record in records
            for name, value in record.items()
            if name not in NOT_MEASURED and not name.startswith("time_") and isinstance(value, int | float)
        }
    )
    measures = {}
    for name in names:
        values = np.array([record[name] for record in records if record.get(name) is not None], np.float64)
        low, high = bootstrap_interval(values)
        measures[name] = {"mean": float(values.mean()), "ci95": [low, high], "n": len(values)}
    return measures


def bootstrap_interval(values: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles of the mean over resampled values (N,), the same for the same seed.

    Percentile bootstrap (Efron 1979). One value gives no interval: both ends are that value.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    chunk = max(1, 4_000_000 // len(values))  # resamples drawn at once, to bound memory
    means = [
        values[rng.integers(0, len(values), (min(chunk, RESAMPLES - done), len(values)))].mean(axis=1)
        for done in range(0, RESAMPLES, chunk)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def plain(value: Any) -> Any:
    """The JSON value of a number of NumPy's or Python's; None for one that is not finite."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_config(path: Path) -> dict[str, Any] | None:
    """The settings in a `config.json`; None where there is no such file, or it holds none.

    Raises:
        FileError: it cannot be read as JSON.
    """
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be read as JSON ({error}); name another --out") from error
    return found if isinstance(found, dict) else None


def _difference(found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> str:
    """The first settings that differ, for the message of a refusal."""
    if found is None:
        return "which ones is not written there"
    before, now = found.get("scenes"), wanted.get("scenes")
    if isinstance(before, dict) and isinstance(now, dict):
        changed = [name for name in now if name in before and before[name] != now[name]]
        if changed:
            return f"the scene {changed[0]} has changed since: {before[changed[0]]}, now {now[changed[0]]}"
    names = [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]
    shown = [f"{name} was {found.get(name)!r}, is {wanted.get(name)!r}" for name in names[:3]]
    return "; ".join(shown) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")
