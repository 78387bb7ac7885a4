"""Names of procedural houses: ids of single ones, and short forms for the first N of a split.

=======================  ==========================================================
``procedural:val:0007``  one house: a number that begins with 0 and has more digits is a seed (here 7)
``procedural:val:20``    a list: a number without a leading zero is a count, here the seeds 0 to 19
``procedural:val``       a list of the first `DEFAULT_COUNT`
=======================  ==========================================================

Ids are always written with a leading zero and at least four digits (seed 12345 is ``012345``), so that an id taken from
an episode file means the same house wherever it is typed.
"""

from __future__ import annotations

from poma3d.errors import SettingError

SPLITS = ("train", "val", "test")
"""Houses of one split are in no other."""
DEFAULT_COUNT = 10
"""How many houses ``procedural:SPLIT`` stands for."""
LARGEST_COUNT = 100_000
"""Most houses that one list may name."""
PREFIX = "procedural:"
"""What every id and every list begins with."""


def check_split(split: str) -> None:
    """Raise `SettingError` unless the split exists."""
    if split not in SPLITS:
        raise SettingError(
            f"unknown split {split!r} of procedural houses; the splits are {', '.join(SPLITS)}"
        )


def check_seed(seed: int) -> None:
    """Raise `SettingError` unless the seed is a whole number of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise SettingError(
            f"the seed of a procedural house must be a whole number of at least 0, found {seed!r}"
        )


def scene_id(split: str, seed: int) -> str:
    """The id of one house, such as ``procedural:val:0007``."""
    return f"{PREFIX}{split}:0{seed:03d}"


def _parts(text: str) -> tuple[str, str | None]:
    if not isinstance(text, str) or not text.startswith(PREFIX):
        raise SettingError(
            f"a procedural house is called procedural:SPLIT:SEED, such as procedural:val:0007; found {text!r}"
        )
    split, _, number = text[len(PREFIX) :].partition(":")
    check_split(split)
    if number == "" and not text.endswith(":"):
        return split, None
    if not (number.isascii() and number.isdigit()):
        raise SettingError(f"{text!r}: after the split comes a whole number of at least 0, found {number!r}")
    return split, number


def parse_id(text: str) -> tuple[str, int]:
    """Split and seed of an id; the leading zeros may be missing, as no list can be meant.

    Raises:
        SettingError: it is not ``procedural:SPLIT:SEED``.
    """
    if "@" in str(text):
        raise SettingError(
            f"{text!r} was made with settings of its own; make it with generate_house(seed, settings=...)"
        )
    split, number = _parts(text)
    if number is None:
        raise SettingError(f"{text!r} names a split, not a house; write {text}:0007 for the house of seed 7")
    return split, int(number)


def parse_procedural(spec: str) -> tuple[str, ...]:
    """The ids that ``procedural:SPLIT``, ``procedural:SPLIT:N`` or one id stands for (see the table of this module).

    Raises:
        SettingError: it is none of these, or N is 0 or above `LARGEST_COUNT`.
    """
    split, number = _parts(spec)
    if number is not None and number.startswith("0") and len(number) > 1:
        return (scene_id(split, int(number)),)
    if (number is not None and len(number) > len(str(LARGEST_COUNT))) or int(number or 0) > LARGEST_COUNT:
        raise SettingError(
            f"{spec!r} asks for {number} houses; a list may name at most {LARGEST_COUNT}."
            f" One house of a high seed is written with a leading zero: {PREFIX}{split}:0{number}"
        )
    count = DEFAULT_COUNT if number is None else int(number)
    if count == 0:
        raise SettingError(f"{spec!r} asks for no houses; write {PREFIX}{split}:0000 for the house of seed 0")
    return tuple(scene_id(split, seed) for seed in range(count))
