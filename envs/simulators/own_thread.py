"""A thread of one's own for a library whose state belongs to the thread that made it, such as OpenGL."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class OwnThread:
    """Runs functions on one thread, one after the other, whoever asks.

    The thread is a daemon that waits for work, so that it never keeps a process alive; unlike the threads of
    ``concurrent.futures`` it still answers while the interpreter runs its exit handlers, which is when a
    forgotten OpenGL context must be given back on the thread that owns it.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """The result of ``function(*arguments)``, run on the thread; what it raises is raised here.

        Raises:
            RuntimeError: the thread has been stopped.
        """
        if threading.current_thread() is self._thread:
            return function(*arguments)
        if not self._thread.is_alive():
            raise RuntimeError("the thread has been stopped, or did not survive a fork of its process")
        done = threading.Event()
        outcome: list[Any] = []

        def job() -> None:
            try:
                outcome.append((function(*arguments), None))
            except BaseException as error:  # it belongs to whoever asked
                outcome.append((None, error))
            finally:
                done.set()

        self._jobs.put(job)
        done.wait()
        result, error = outcome[0]
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        """End the thread once the work that was asked for is done. May be called twice."""
        self._jobs.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # it holds whoever asked, who could not be forgotten while the thread waits
