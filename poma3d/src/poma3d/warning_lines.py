"""How a command line shows our own warnings: a line on standard error each, without the place in the code."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

from poma3d.errors import SceneWarning


@contextlib.contextmanager
def warning_lines() -> Iterator[None]:
    """While it lasts, a `SceneWarning` is shown as ``pomagym: ...``; warnings of others as Python shows them."""
    before = warnings.formatwarning

    def shown(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if issubclass(category, SceneWarning):
            return "pomagym: " + " ".join(str(message).split()) + "\n"
        return before(message, category, filename, lineno, line)

    warnings.formatwarning = shown
    try:
        yield
    finally:
        warnings.formatwarning = before
