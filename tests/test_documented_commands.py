"""Every command that the documents and help texts show is one that the command line takes."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from pomagym.main import COMMANDS, _parse, _parts

ROOT = Path(__file__).parents[1]
PAGES = (
    "*.md",
    "docs/*.md",
    "policies/pretrained/*/*.md",
    "poma3d/src/poma3d/pretrained/*.md",
    "pomagym/*.py",
)
CUT_SHORT = re.compile(r"\.\.\.|\\\||--help")
"""What stands in a command that is shown in part, as a choice, or that asks for help."""


def shown_in(text: str) -> list[str]:
    """The command lines of a text: those that begin a line, joined where they go on, and those in back quotes."""
    joined = re.sub(r"\\+\n\s*", " ", text)
    alone = re.findall(
        r"^\s*(?:\$ |conda run -n \w+ )?pomagym ([a-z].*?)(?: #.*|\"\"\")?$", joined, re.MULTILINE
    )
    within = re.findall(r"`pomagym ([a-z][^`]*)`", joined.replace("\n", " "))
    return [re.sub(r"[\[\]]", "", line) for line in (*alone, *within) if not CUT_SHORT.search(line)]


SHOWN = {
    line: path.name
    for page in PAGES
    for path in sorted(ROOT.glob(page))
    for line in shown_in(path.read_text())
}


@pytest.mark.parametrize(("line", "place"), SHOWN.items(), ids=[line[:70] for line in SHOWN])
def test_it_parses(line: str, place: str) -> None:
    name, *rest = shlex.split(line.replace("$head", "specialist"))
    assert name in COMMANDS, place
    config = importlib.import_module(f"pomagym.{name.replace('-', '_')}").Config
    parts = _parts(config)
    if rest and (rest[1:] or not parts):
        _parse(name, config, rest)
    elif rest:  # a part is spoken of, not called
        assert rest[0] in parts, place


def test_commands_are_found() -> None:
    """Well over a hundred are shown; a page whose commands are written in another way would drop out unnoticed."""
    assert len(SHOWN) > 100
    assert {"README.md", "msnn.md", "policies.md", "scenepoint.md", "localization.md"} <= set(SHOWN.values())
