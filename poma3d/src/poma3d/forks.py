"""What is put right in a forked process: torch's threads, and locks that other threads held.

A fork copies the thread that forks and no other. torch (OpenMP) then waits for ever for the threads it had, and a lock
that one of the others held stays locked. Gymnasium's `AsyncVectorEnv` and Python's `multiprocessing` fork on Linux
where nothing else is said (Python 3.14's do not). `poma3d` imports this module, so it is in place before a fork.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import weakref
from typing import Protocol


class Renewable(Protocol):
    """Something with locks that can be made anew, or with notes of what its threads are doing."""

    def renew_after_fork(self) -> None:
        """Make the locks anew, and forget the threads that are no more. Called in the child, which has one thread."""
        ...


_renewables: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_forks(thing: Renewable) -> None:
    """Have ``thing.renew_after_fork()`` called in every process that is forked from this one, while it lives."""
    _renewables.add(thing)


class Lock(Protocol):
    """Of what can be held."""

    def acquire(self) -> object:
        """Wait until nobody holds it, and hold it."""
        ...

    def release(self) -> object:
        """Let go."""
        ...


def hold_across_forks(lock: Lock) -> None:
    """Take a lock (one that its owner may take twice) before a fork and let go on both sides, so that no child finds
    what it guards half done. Of several, the one given last is taken first.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


def _in_the_child() -> None:
    for thing in list(_renewables):
        thing.renew_after_fork()
    _keep_torch_on_one_thread()


def _keep_torch_on_one_thread() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):  # else it is not loaded, or half
        torch.set_num_threads(1)


def _forked_before_this_was_imported() -> bool:
    """Whether multiprocessing forked this process; one that it spawned is in order."""
    how = getattr(multiprocessing.current_process(), "_start_method", None)
    how = how or multiprocessing.get_start_method(allow_none=True)
    return multiprocessing.parent_process() is not None and how == "fork"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_the_child)
    if _forked_before_this_was_imported():
        _keep_torch_on_one_thread()
