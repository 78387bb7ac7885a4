"""A progress bar on standard error, for whatever takes longer than a moment."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress(what: str, total: int, done: int = 0) -> Iterator[Callable[[str], None]]:
    """Show a bar while the block runs; call what it yields, with a word on the latest, for each thing done.

    The bar goes to standard error and only where that is a terminal, so that logs and pipes stay clean.

    Args:
        what: stands before the bar.
        total: number of things.
        done: things that were done before.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[latest]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total, completed=done, latest="")
        yield lambda latest="": bar.update(task, advance=1, latest=latest)
