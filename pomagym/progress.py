"""Progress bars on standard error, for whatever takes longer than a moment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from typing_extensions import Self


MOST_LINES = 10
"""Lines about single episodes before the rest is only counted."""


class Bar:
    """A bar while the ``with`` block runs; only on a terminal, so that logs and pipes stay clean.

    Args:
        what: stands before the bar.
        total: number of things; can be given later by `start`.
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[latest]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task(what, total=total, latest="")

    def __enter__(self) -> Self:
        """Show the bar."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        self._progress.stop()

    def start(self, total: int, done: int = 0) -> None:
        """Say how many things there are, and how many of them are done."""
        self._progress.update(self._task, total=total, completed=done)

    def advance(self, latest: str = "") -> None:
        """One more is done; ``latest`` says a word on it."""
        self._progress.update(self._task, advance=1, latest=latest)


class EpisodeBar(Bar):
    """A bar over episodes that shows the running success rate, and a line for each worker that was lost."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self._seen = self._succeeded = 0

    def rename(self, what: str) -> None:
        """Begin with other episodes: what stands before the bar changes, the rate starts anew."""
        self._progress.update(self._task, description=what, latest="")
        self._seen = self._succeeded = 0

    def episode(self, record: Mapping[str, Any]) -> None:
        """One more episode is finished."""
        self._seen += 1
        self._succeeded += bool(record.get("success"))
        self.advance(f"success {self._succeeded / self._seen:.0%}")

    def there_already(self, evaluation: Any) -> None:
        """Say how many episodes had been finished before: their policy may have changed where nobody looks."""
        if evaluation.already:
            asked = evaluation.summary["episodes"]["asked"]
            print(
                f"pomagym: {evaluation.already} of {asked} episodes in {evaluation.folder} were there already;"
                " --no-resume runs them again",
                file=sys.stderr,
            )

    def left_out(self, evaluation: Any) -> None:
        """Say, once the bar is gone, which episodes have no record or no video, a line each for the first ten."""
        lines = [(m, "") for m in evaluation.outcome.refused]
        lines += [(m, "its video or recording is missing: ") for m in evaluation.unrecorded]
        for misfortune, what in lines[:MOST_LINES]:
            scene, episode = misfortune.job
            reason = " ".join(misfortune.reason.split())
            print(f"pomagym: episode {episode} of {scene}: {what}{reason}", file=sys.stderr)
        if len(lines) > MOST_LINES:
            print(f"pomagym: and {len(lines) - MOST_LINES} more, see summary.json", file=sys.stderr)

    def misfortune(self, misfortune: Any) -> None:
        """A worker was lost."""
        scene, episode = misfortune.job
        print(f"pomagym: episode {episode} of {scene}: {misfortune.reason}", file=sys.stderr)
