"""Worker processes for scenes that do not depend on one another, ended cleanly whatever happens."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from poma3d.errors import UserError


@contextmanager
def spawned_pool(workers: int, *, remedy: str) -> Iterator[ProcessPoolExecutor]:
    """Freshly started processes that leave Ctrl-C to their parent; what still waits at the end is given up.

    Args:
        workers: processes.
        remedy: what to do where one was killed, in words.

    Raises:
        UserError: a worker was killed.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_interrupts)
    try:
        yield pool
    except BrokenProcessPool:
        raise UserError(f"a worker was killed, as happens when memory runs out; {remedy}") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches the whole group; the parent decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
