"""Checks of the types of settings, so that a wrong one is told by its name."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from poma3d.errors import SettingError


def check_whole_number(name: str, value: Any, *, least: int = 0) -> None:
    """Raise `SettingError` unless it is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise SettingError(f"{name} must be a whole number of at least {least}, found {value!r}")


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
