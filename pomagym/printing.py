"""How the commands hand over what they measured: a table or JSON on standard output, a JSON file, a word beside."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def print_result(
    result: Mapping[str, Any], table: Callable[[Any], Table], *, as_json: bool, out: Path | None = None
) -> None:
    """Write and print a result.

    Args:
        result: JSON values.
        table: makes a table of it for people.
        as_json: print the JSON, alone, instead of the table.
        out: a JSON file to write as well.
    """
    from benchmarks.tables import print_table
    from poma3d.files import write_text

    text = json.dumps(result, indent=2, allow_nan=False)
    if out is not None:
        write_text(out, text + "\n")
    if as_json:
        print(text)
    else:
        print_table(table(result))


def name_missing(scans: Sequence[str], what: str) -> None:
    """Say on standard error, where there are any, that ``what`` of some scenes is left out."""
    if scans:
        some = ", ".join(scans[:5]) + (", ..." if len(scans) > 5 else "")
        print(
            f"pomagym: the {what} of {len(scans)} scenes are left out, no folder holds them: {some}",
            file=sys.stderr,
        )


def say_done_already(folder: str | Path) -> None:
    """Say on standard error that the run in a folder had nothing left to train."""
    print(f"pomagym: the run in {folder} was done already; nothing was trained now", file=sys.stderr)
