"""The authors' file ``msnn_scannet.json``, read strictly and written: ``{scan_id: {sample_id: sample}}``.

Every refusal names the sample and the field. Labels are recomputed from the angle and compared.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from envs.msnn.sample import (
    ACTION_KEYS,
    BORDER_TOLERANCE,
    DIRECTION_TEXTS,
    DIRECTIONS,
    MsnnSample,
    direction_label,
)
from poma3d.errors import FileError
from poma3d.files import keep_other, write_bytes, write_text

_UNIT_TOLERANCE = 1e-2
"""How far the length of an orientation may be from 1: files round their numbers."""


def read_msnn(path: str | os.PathLike[str], scans: Collection[str] | None = None) -> list[MsnnSample]:
    """The samples of a file, in its order.

    Args:
        path: a file in the schema of ``msnn_scannet.json``.
        scans: only the samples of these scenes; by default all. All samples are checked either way.

    Raises:
        FileError: not such a file; the message names the sample and the field, what was found and expected.
    """
    path = Path(path)
    scenes = read_json(path)
    if not isinstance(scenes, dict):
        raise FileError(
            path, f"{{scan_id: {{sample_id: sample}}}} was expected, found {_a(scenes)} at the top"
        )
    samples = []
    for scan_id, entries in scenes.items():
        if not isinstance(entries, dict):
            raise FileError(
                path, f"scene {scan_id!r}: {{sample_id: sample}} was expected, found {_a(entries)}"
            )
        for sample_id, entry in entries.items():
            sample = _Entry(path, scan_id, sample_id, entry).sample()
            if scans is None or scan_id in scans:
                samples.append(sample)
    if not samples and scenes and scans is not None:
        raise FileError(
            path,
            f"holds {len(scenes)} scenes (such as {next(iter(scenes))!r}), none of the {len(scans)} asked for;"
            " is the split list that of another data set?",
        )
    return samples


def write_msnn(
    path: str | os.PathLike[str], samples: Iterable[MsnnSample], *, overwrite: bool = True
) -> None:
    """Write samples as one file, in their order, scenes in the order of their first sample.

    Args:
        path: the file.
        samples: what it gets.
        overwrite: replace a file that holds anything else.

    Raises:
        FileError: two samples of a scene have one id, or the file cannot be written.
        SettingError: a file that is kept.
    """
    scenes: dict[str, dict[str, Any]] = {}
    for sample in samples:
        entries = scenes.setdefault(sample.scan_id, {})
        if sample.sample_id in entries:
            raise FileError(path, f"two samples of {sample.scan_id} are called {sample.sample_id!r}")
        entries[sample.sample_id] = sample.as_json()
    data = (json.dumps(scenes, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    if not overwrite:
        keep_other(path, data)
    write_bytes(path, data)


def read_scan_list(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The scenes of a split, such as ``scannetv2_val.txt``: a name a line.

    Raises:
        FileError: it cannot be read, is empty, names a scene twice, or a line holds no name.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise FileError(path, f"a text with a scene a line was expected ({error})") from error
    scans: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        scan = line.strip()
        if not scan:
            continue
        if len(scan.split()) > 1:
            raise FileError(
                path, f"line {number}: one scene was expected, such as scene0011_00; found {scan!r}"
            )
        if scan in scans:
            raise FileError(path, f"line {number}: {scan!r} stands on line {scans[scan]} already")
        scans[scan] = number
    if not scans:
        raise FileError(path, "holds no scene; a name a line was expected, such as scene0011_00")
    return tuple(scans)


def write_scan_list(path: str | os.PathLike[str], scans: Iterable[str]) -> None:
    """Write the scenes of a split, a name a line."""
    write_text(path, "".join(f"{scan}\n" for scan in scans))


def read_json(path: Path) -> Any:
    """The content of a JSON file in which no object has a name twice.

    Raises:
        FileError: it cannot be read, is no JSON, or repeats a name, so that entries would be lost.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise FileError(path, f"the name {twice!r} stands twice in one object; each was expected once")
        return found

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise FileError(path, f"JSON was expected, but it is damaged ({error})") from error


class _Entry:
    """One entry of a file on its way to a sample."""

    def __init__(self, path: Path, scan_id: str, sample_id: str, entry: Any) -> None:
        self._path, self._scan_id, self._sample_id = path, scan_id, sample_id
        if not isinstance(entry, dict):
            raise FileError(path, f"{self._where}: an object of fields was expected, found {_a(entry)}")
        self._entry = entry

    @property
    def _where(self) -> str:
        return f"sample {self._sample_id!r} of {self._scan_id!r}"

    def _bad(self, field: str, expected: str, found: str) -> FileError:
        return FileError(
            self._path, f"{self._where}: field {field!r}: {expected} was expected, found {found}"
        )

    def sample(self) -> MsnnSample:
        """The sample, all fields checked."""
        scan_id = self._text("scan_id")
        if scan_id != self._scan_id:
            raise self._bad("scan_id", f"{self._scan_id!r}, under which the sample stands,", repr(scan_id))
        location = self._numbers("location", 3)
        orientation = self._numbers("orientation", 4)
        length = math.sqrt(sum(value * value for value in orientation))
        if abs(length - 1) > _UNIT_TOLERANCE:
            raise self._bad(
                "orientation",
                "a quaternion (x, y, z, w) of length 1",
                f"{list(orientation)} of length {length:.4g}",
            )
        multimodal = self._get("situation_multimodal")
        if not isinstance(multimodal, str | list):
            raise self._bad("situation_multimodal", "a text or a list of texts and pictures", _a(multimodal))
        instruction = self._get("instruction")
        if not isinstance(instruction, str):
            raise self._bad("instruction", "a text", _a(instruction))
        return MsnnSample(
            scan_id=scan_id,
            sample_id=self._sample_id,
            location=location,
            orientation=orientation,
            situation_text=self._text("situation_text"),
            interaction=self._text("interaction"),
            angle=self._angle(),
            situation_multimodal=multimodal,
            instruction=instruction,
            insts=self._insts(),
            meta_data=self._meta(),
        )

    def _get(self, field: str) -> Any:
        if field not in self._entry:
            raise FileError(
                self._path, f"{self._where}: field {field!r} is missing; found are {', '.join(self._entry)}"
            )
        return self._entry[field]

    def _text(self, field: str) -> str:
        value = self._get(field)
        if not isinstance(value, str) or not value.strip():
            raise self._bad(field, "a text that is not empty", _a(value))
        return value

    def _numbers(self, field: str, count: int) -> tuple[Any, ...]:
        value = self._get(field)
        if not isinstance(value, list) or len(value) != count or not all(map(_is_number, value)):
            raise self._bad(field, f"a list of {count} finite numbers", _a(value))
        return tuple(float(number) for number in value)

    def _insts(self) -> tuple[int, ...]:
        value = self._get("insts")
        if not isinstance(value, list):
            raise self._bad("insts", "a list of object ids", _a(value))
        for inst in value:  # the authors' reader turns texts into numbers as well
            if isinstance(inst, bool) or not (
                isinstance(inst, int) or (isinstance(inst, str) and inst.strip().isdecimal())
            ):
                raise self._bad("insts", "whole numbers", f"{inst!r} among them")
        return tuple(int(inst) for inst in value)

    def _meta(self) -> dict[str, Any]:
        value = self._get("meta_data")
        return value if isinstance(value, dict) else {"meta_data": value}

    def _angle(self) -> float:
        """The angle, after the codes and their texts were compared with it."""
        action = self._get("action")
        if not isinstance(action, dict):
            raise self._bad("action", "an object of four_direction, eight_direction and angle", _a(action))
        for key in ("angle", *ACTION_KEYS.values()):
            if key not in action:
                raise self._bad("action", f"a {key!r} in it", f"only {', '.join(action) or 'nothing'}")
        angle = action["angle"]
        if not _is_number(angle) or not -360 <= angle <= 360:
            raise self._bad("action.angle", "degrees between -360 and 360", _a(angle))
        for directions in DIRECTIONS:
            self._check_code(
                f"action.{ACTION_KEYS[directions]}", action[ACTION_KEYS[directions]], angle, directions
            )
        return float(angle)

    def _check_code(self, field: str, value: Any, angle: float, directions: int) -> None:
        """Refuse a code or a text that is not that of the angle."""
        if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], str):
            raise self._bad(field, "[code, text]", _a(value))
        code, text = value
        if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code <= directions:
            raise self._bad(field, f"a code from 0 to {directions}", repr(code))
        right = {
            direction_label(angle + nudge, directions) for nudge in (-BORDER_TOLERANCE, BORDER_TOLERANCE)
        }
        if code % directions not in right:
            rule = f"round({angle:g} / {360 // directions})"
            raise self._bad(field, f"code {min(right)}, which the angle gives ({rule}),", f"code {code}")
        label = text_label(text, directions)
        if label is not None and label != code % directions:
            wanted = DIRECTION_TEXTS[directions][code % directions]
            raise self._bad(field, f"{wanted!r}, the text of code {code},", repr(text))


def text_label(text: str, directions: int) -> int | None:
    """The class that one of the authors' texts names, "foward" or "forward"; None where it is none of them."""
    plain = {
        name.replace("foward", "forward"): label for label, name in enumerate(DIRECTION_TEXTS[directions])
    }
    return plain.get(" ".join(text.lower().replace("foward", "forward").split()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _a(value: Any) -> str:
    """A value in short, for a message."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 80 else text[:77] + '...'}"
