"""Checks of the types of settings, so that a wrong one is told by its name."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from poma3d.errors import SettingError


def check_whole_number(name: str, value: Any, *, least: int = 0) -> None:
    """Raise `SettingError` unless it is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise SettingError(f"{name} must be a whole number of at least {least}, found {value!r}")


def whole_number(name: str, value: Any, *, least: int = 0) -> int:
    """A whole number of any type (Python's, NumPy's, an array of no dimensions) as a plain one.

    Raises:
        SettingError: it is none (text, a flag, a number with a fraction), or below ``least``.
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise SettingError(f"{name} must be a whole number of at least {least}, found {value!r}") from None
    check_whole_number(name, number, least=least)
    return number


def check_range(name: str, value: Any) -> None:
    """Raise `SettingError` unless it is two numbers (near, far), metres, with 0 <= near < far; far may be infinite."""
    numbers = list(value) if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) else []
    kinds = [isinstance(one, int | float | np.number) and not isinstance(one, bool) for one in numbers]
    if kinds != [True, True] or not 0 <= numbers[0] < numbers[1]:
        raise SettingError(f"{name} must be (near, far) with 0 <= near < far, found {value!r}")


def check_number(name: str, value: Any) -> None:
    """Raise `SettingError` unless it is a finite number."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise SettingError(f"{name} must be a finite number, found {value!r}")


def check_flag(name: str, value: Any) -> None:
    """Raise `SettingError` unless it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise SettingError(f"{name} must be True or False, found {value!r}")


def check_path(name: str, value: Any, others: str = "") -> None:
    """Raise `SettingError` unless it is None or a path; ``others`` says what else the setting may be."""
    if value is not None and not isinstance(value, str | os.PathLike):
        raise SettingError(f"{name} must be a path{others} or None, found {value!r}")
