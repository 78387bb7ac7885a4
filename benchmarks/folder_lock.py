"""One run at a time in a results folder: a lock that the system gives back when its holder dies."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from poma3d.errors import FileError, SettingError
from poma3d.files import check_folder

NAME = ".lock"
"""The file that is locked; it holds the process id of the run, and is gone when no run is going on."""


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a folder, made where it is absent, while the block runs; one that is left empty is removed.

    Where the system or the file system knows no locks, nothing is held.

    Raises:
        SettingError: another run holds it.
        FileError: the folder cannot be made or written.
    """
    folder = Path(folder)
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _acquire(folder / NAME)
    except OSError as error:
        raise FileError(folder, f"cannot be written ({error.strerror or error})") from error
    try:
        yield
    finally:
        (folder / NAME).unlink(missing_ok=True)  # while it is still held: nobody else's is removed
        os.close(handle)
        with contextlib.suppress(OSError):  # most often there are results in it
            folder.rmdir()


def _acquire(path: Path) -> int:
    try:
        import fcntl
    except ImportError:  # Windows
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return handle
            holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise SettingError(
                f"another run (pid {holder}) is writing to {path.parent}; wait for it, or name another --out"
            ) from None
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(handle).st_ino:
                os.ftruncate(handle, 0)
                with contextlib.suppress(OSError):  # a full disk: the lock holds without a name on it
                    os.write(handle, f"{os.getpid()}\n".encode())
                return handle
        os.close(handle)  # its holder removed the file between our two calls
