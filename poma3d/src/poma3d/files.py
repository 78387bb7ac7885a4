"""Files that are either whole or absent: written beside their place, then renamed over it."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from poma3d.errors import FileError, SettingError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors that say that no more can be written."""


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path`` that becomes ``path`` when the block ends well.

    The file is flushed to the disk before it is renamed, so neither a kill nor a power cut leaves half a file
    under the real name; if the block raises, the temporary file is removed and an older ``path`` stays as it was.

    Raises:
        FileError: the folder cannot be made or written, or the disk is full.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=target.suffix)
        os.close(handle)
    except OSError as error:
        raise FileError(target, f"cannot be written ({error.strerror})") from error
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp made it private; the user's own default is meant
        os.replace(temporary, target)
    except OSError as error:
        raise FileError(target, f"cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all (see `atomic_path`)."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all (see `atomic_path`)."""
    write_bytes(path, text.encode())


def check_folder(path: str | os.PathLike[str]) -> None:
    """Refuse, before hours of work, a folder that could not be made or written to at their end.

    Raises:
        FileError: a file stands in its place or above it, or it may not be written to.
    """
    wanted = Path(path).absolute()
    there = next(place for place in (wanted, *wanted.parents) if os.path.lexists(place))
    if not os.path.isdir(there):
        raise FileError(there, "is no folder; one is needed there: name another --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise FileError(there, "may not be written to; name another --out")


def keep_other(path: str | os.PathLike[str], data: bytes) -> None:
    """Refuse to put ``data`` in the place of anything else.

    Raises:
        SettingError: there is something at ``path`` that is not a file of this very content.
    """
    if not os.path.lexists(path):
        return
    try:
        same = Path(path).read_bytes() == data
    except OSError:
        same = False
    if not same:
        raise SettingError(f"{path} holds something else; name another --out, or give --overwrite")
