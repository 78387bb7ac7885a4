"""Looks that `pomagym doctor` takes in a process of their own: what they try may print, or end its process."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

_PATIENCE = 180.0


class LookError(Exception):
    """Something that was looked at does not work: the message says what."""


def require_module(module: str) -> None:
    """Raise `LookError` unless a module can be found."""
    if importlib.util.find_spec(module) is None:
        raise LookError("not installed")


def last_line(code: str) -> str:
    """What ``code`` prints last, run by this Python in another process; `LookError` where it fails."""
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise LookError(f"no answer within {_PATIENCE:.0f} s") from None
    said = [
        line for line in (answer.stdout, answer.stderr)[answer.returncode != 0].splitlines() if line.strip()
    ]
    if answer.returncode == 0 and said:
        return said[-1]
    how = (
        f"ended by signal {-answer.returncode}" if answer.returncode < 0 else f"exit code {answer.returncode}"
    )
    raise LookError(f"{how}: {said[-1].strip() if said else 'nothing was said'}")
