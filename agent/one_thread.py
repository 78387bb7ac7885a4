"""Torch on one thread: sums are added in the same order on every machine and beside any other work."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_process = os.getpid()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread while the block runs: the order of sums, and so the last bits, is always the same."""
    import torch

    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_thread_if_forked() -> None:
    """Keep torch on one thread in a process that was forked from the one which imported this module.

    OpenMP's threads do not survive a fork: torch would wait for them for ever, as in the processes of an
    `AsyncVectorEnv` whose parent had run a network before. They share the machine anyway.
    """
    global _process
    if _process != os.getpid():
        import torch

        torch.set_num_threads(1)
        _process = os.getpid()
