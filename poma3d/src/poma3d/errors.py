"""The errors that people see: what was wrong, what was found, what to do.

Every failure that a user can cause ends in one of these; the command line prints the message alone and exits
with code 2. A traceback therefore always means a defect of this project.
"""

from __future__ import annotations

import os
from typing import Any


class UserError(Exception):
    """Something a person can mend: the message says what was wrong, what was found and what to do."""

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, whatever the constructor takes: an error in a worker must reach the process that waits for it."""
        return _restored, (type(self), self.args, self.__dict__)


class SettingError(UserError, ValueError):
    """A setting or an argument is out of its range or contradicts another one."""


class FileError(UserError):
    """A file is missing, damaged or of another format.

    Args:
        path: the file.
        problem: what was found and what was expected, in one sentence.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str) -> None:
        self.path = os.fspath(path)
        super().__init__(f"{self.path}: {problem}")


class SceneError(UserError):
    """A scene cannot be used: no triangles, no floor to stand on, vertices that are not numbers."""


class EpisodeError(UserError):
    """An episode cannot be run: its scene is absent, its start is off the surface, its goal is unreachable."""


class MissingDependencyError(UserError):
    """An optional part is not installed; the message holds the command that installs it."""


class SceneWarning(UserWarning):
    """A scene can be used, but may not be what was meant; the message says why, and what would settle it."""


def _restored(kind: type[UserError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> UserError:
    error = kind.__new__(kind, *arguments)  # args are set there; the constructor has made them already
    error.__dict__.update(attributes)
    return error
