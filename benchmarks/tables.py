"""Result tables for people: a row a policy, a measure a column, each mean with its 95 % interval."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

SHOWN = ("success", "spl", "soft_spl", "distance_to_goal", "collisions", "steps")
"""The measures shown first, in this order, where a run has them."""


def measures_table(
    title: str, rows: Mapping[str, Mapping[str, Mapping[str, Any]]], *, note: str = ""
) -> Table:
    """A table of measures.

    Args:
        title: stands above.
        rows: for each name of a row, the ``measures`` of a summary.
        note: stands below.
    """
    names = [name for name in SHOWN if any(name in measures for measures in rows.values())]
    table = Table(title=title, caption=note or None, title_justify="left", caption_justify="left")
    table.add_column("policy")
    table.add_column("episodes", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    for row, measures in rows.items():
        episodes = max((measure["n"] for measure in measures.values()), default=0)
        table.add_row(row, str(episodes), *(_cell(measures.get(name)) for name in names))
    return table


def rows_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, note: str = "") -> Table:
    """A table of cells that are words already: the first column to the left, the others to the right."""
    table = Table(title=title, caption=note or None, title_justify="left", caption_justify="left")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def percent(measure: Mapping[str, Any] | None) -> str:
    """A share as percent, with its interval where it has one: ``40.4 [38.1, 42.9]``."""
    if measure is None:
        return "-"
    if "ci95" not in measure:
        return f"{100 * measure['mean']:.1f}"
    low, high = measure["ci95"]
    return f"{100 * measure['mean']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def throughput_table(result: Mapping[str, Any]) -> Table:
    """A table of what `benchmarks.throughput.measure_throughput` returned."""
    hardware, versions = result["hardware"], result["versions"]
    note = (
        f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['system']};"
        f" Python {versions['python']}, embreex {versions['embreex']}, numba {versions['numba']}"
    )
    for device in sorted({row["device"] for row in result["rows"] if "device" in row}):
        note += f", rendered by warp-lang {versions['warp-lang']} on {device}"
    table = Table(title="throughput", caption=note, title_justify="left", caption_justify="left")
    for name in ("scene", "what"):
        table.add_column(name)
    for name in ("triangles", "size", "per second", "threads", "peak memory"):
        table.add_column(name, justify="right")
    for row in result["rows"]:
        table.add_row(
            row["scene"],
            row["what"],
            f"{row['triangles']:,}",
            f"{row['size']} x {row['size']}",
            f"{row['per_second']:,.0f}",
            str(row["threads"]),
            f"{row['peak_rss_mb']:,.0f} MiB",
        )
    return table


def encoding_table(result: Mapping[str, Any]) -> Table:
    """A table of what `benchmarks.encoding.measure_encoding` returns."""
    ratio, ratio_cpu = result["outside_over_inside"], result["outside_over_inside_cpu"]
    note = f"learning, no cache: outside is {ratio:.1f} times as fast as inside ({ratio_cpu:.1f} by processor time)"
    table = Table(title="steps a second", caption=note)
    for name in ("what", "encoded", "cache"):
        table.add_column(name)
    for name in ("steps a second", "processor ms a step", "hit rate"):
        table.add_column(name, justify="right")
    for row in result["rows"]:
        table.add_row(
            row["what"],
            row["encoded"] or "-",
            row["cache"],
            f"{row['per_second']:,.1f}",
            f"{row['cpu_ms']:.2f}",
            "-" if row["hit_rate"] is None else f"{row['hit_rate']:.0%}",
        )
    return table


def markdown_parts(text: str) -> Iterator[Table | str]:
    """The tables and the other lines of a Markdown text, in order, so that its tables can be fitted to a terminal."""
    for lined, lines in itertools.groupby(text.splitlines(), lambda line: line.startswith("|")):
        if lined:
            head, _, *rows = (line[2:-2].split(" | ") for line in lines)
            yield rows_table("", head, rows)
        else:
            yield "\n".join(lines)


def print_table(table: Table, *, to_stderr: bool = False) -> None:
    """Print a table so that it fits (see `fitted`); on standard error where standard output carries JSON."""
    console = Console(stderr=to_stderr, emoji=False)
    if not console.is_terminal:  # a file or a pipe has no width; do not fold the columns
        console = Console(stderr=to_stderr, width=160, emoji=False)
    console.print(fitted(table, console.width))


def fitted(table: Table, width: int) -> Table:
    """The table in the first of these layouts that is at most ``width`` columns of characters wide.

    As it is; with intervals below their means; with rows and columns exchanged; both; with heads and first cells
    folded between words as well; each row as a list of its own cells. Where none fits, the last, whose cells fold.
    """
    heads = [str(column.header) for column in table.columns]
    rows = [list(map(str, row)) for row in zip(*(column.cells for column in table.columns), strict=True)]
    if not rows or _width(table) <= width:
        return table
    exchanged = [list(row) for row in zip(heads[1:], *(row[1:] for row in rows), strict=True)]
    corner = [heads[0], *(row[0] for row in rows)]
    pairs = [
        [f"{row[0]}: {name}", value] for row in rows for name, value in zip(heads[1:], row[1:], strict=True)
    ]
    stacked = [list(map(_stacked, row)) for row in rows]
    layouts = [
        (heads, stacked),
        (corner, exchanged),
        (corner, [list(map(_stacked, row)) for row in exchanged]),
        (
            [heads[0], *(_folded(head, 12) for head in heads[1:])],
            [[_folded(row[0], 20), *row[1:]] for row in stacked],
        ),
        ([heads[0], "value"], pairs),
    ]
    for columns, cells in layouts:
        other = rows_table(str(table.title or ""), columns, cells, note=str(table.caption or ""))
        if _width(other) <= width:
            break
    return other


def _width(table: Table) -> int:
    """Columns of characters that a table takes when nothing in it is folded."""
    console = Console(width=10_000)
    return console.measure(table).maximum


def _stacked(cell: str) -> str:
    """A mean with its interval on a line of its own."""
    return cell.replace(" [", "\n[")


def _folded(words: str, width: int) -> str:
    """Words on lines of ``width`` characters, longer ones on lines of their own."""
    return textwrap.fill(words, width, break_long_words=False)


def _cell(measure: Mapping[str, Any] | None) -> str:
    if measure is None:
        return "-"
    low, high = measure["ci95"]
    return f"{_number(measure['mean'])} [{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
