"""A thread that is in the middle of something, for tests of what others do meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Busy:
    """Another thread that is in the middle of something."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def wait(self, *_: Any) -> None:
        self.begun.set()
        assert self.go_on.wait(60)

    def __call__(self, work: Callable[[], Any]) -> threading.Thread:
        thread = threading.Thread(target=work)
        thread.start()
        assert self.begun.wait(60)
        return thread
