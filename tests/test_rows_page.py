"""The page of a benchmark's table: every row and measure is in it, controls apart, pictures and sources beside."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.rows_page import find_table, write_rows_page
from poma3d.errors import FileError
from pomagym.view import Config, execute

EVIL = "<script>alert('x')</script>"


def row(name: str, value: float, **more: object) -> dict:
    measured = {"mean": value, "ci95": [value - 0.05, value + 0.05], "n": 9}
    return {"head": name, "control": name == "chance", "directions": 4, "accuracy": measured, **more}


def write_table(folder: Path, rows: list[dict], **more: object) -> Path:
    folder.mkdir()
    table = {"rows": rows, "command": "pomagym bench msnn", "versions": {"python": "3.11"}, **more}
    (folder / "summary.json").write_text(json.dumps(table))
    return folder


def rows_of(shown: str) -> list[list[str]]:
    """The words of the first table on a page, row by row."""
    body = re.search(r"<tbody>(.*?)</tbody>", shown, re.DOTALL)
    assert body
    return [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in re.findall(r"<tr.*?</tr>", body[1])]


def test_rows_stand_beside_their_controls(tmp_path: Path) -> None:
    folder = write_table(tmp_path / "msnn", [row("situated", 0.8), row("chance", 0.25)])
    shown = write_rows_page(folder).read_text()
    assert (folder / "index.html").is_file()
    assert rows_of(shown) == [
        ["situated, 4 directions", "0.800 [0.750, 0.850]"],
        ["chance, 4 directions", "0.250 [0.200, 0.300]"],
    ]
    assert shown.count('<tr class="control">') == 1
    assert "pomagym bench msnn" in shown
    # One chart, a dot for each row, the better one further right.
    dots = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', shown)]
    assert len(dots) == 2
    assert dots[0] > dots[1]


def test_more_measures_than_rows_go_downwards(tmp_path: Path) -> None:
    measures = {f"measure_{number}": {"mean": number / 10, "ci95": [0.0, 1.0]} for number in range(5)}
    measures["metres"] = {"median": 12.5, "ci95": [12.0, 13.0]}
    folder = write_table(tmp_path / "encoder", [{"row": "mini", "measures": measures}])
    (folder / "summary.json").rename(folder / "table.json")
    shown = write_rows_page(folder).read_text()
    assert rows_of(shown)[-1] == ["metres", "12.500 [12.000, 13.000]"]
    assert shown.count("<figure>") == 5  # metres are no share


def test_what_others_published_is_apart_and_theirs(tmp_path: Path) -> None:
    published = [{"row": "Theirs", "directions": 4, "accuracy": 0.229}]
    folder = write_table(
        tmp_path / "m", [row("ours", 0.5)], published=published, published_source="their paper"
    )
    shown = write_rows_page(folder).read_text()
    theirs = shown[shown.index("published by others") :]
    assert "their paper" in theirs
    assert "Theirs, 4 directions" in theirs
    assert "0.229" in theirs
    assert "Theirs" not in shown[: shown.index("published by others")]


def test_pictures_of_the_folder_are_shown_and_half_ones_are_not(tmp_path: Path) -> None:
    folder = write_table(tmp_path / "m", [row(EVIL, 0.5)])
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder / "confusion_4.png")
    (folder / "half.png").write_bytes((folder / "confusion_4.png").read_bytes()[:30])
    shown = write_rows_page(folder).read_text()
    assert re.findall(r'<img[^>]* alt="([^"]*)"', shown) == ["confusion_4"]
    assert EVIL not in shown


def test_what_is_odd_in_a_table_is_left_out(tmp_path: Path) -> None:
    odd = [
        row("ours", 0.5),
        3,
        None,
        {"head": "halves", "accuracy": {"mean": 0.5, "ci95": [None, float("nan")]}},
    ]
    shown = write_rows_page(
        write_table(tmp_path / "m", odd, published=["x", {"row": "t", "accuracy": 0.1}])
    ).read_text()
    assert rows_of(shown) == [["ours, 4 directions", "0.500 [0.450, 0.550]"], ["halves", "0.500"]]


def test_view_finds_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_table(tmp_path / "m", [row("ours", 0.5)])
    assert execute(Config(str(folder))) == 0
    assert execute(Config(str(folder / "summary.json"), out=tmp_path / "one.html")) == 0
    told = capsys.readouterr().out.split()
    assert [Path(page).name for page in told] == ["index.html", "one.html"]
    assert rows_of((tmp_path / "one.html").read_text()) == rows_of((folder / "index.html").read_text())


@pytest.mark.parametrize("content", ["", "[]", '{"rows": []}', '{"rows": [{"head": "ours"}]}', '{"rows": 3}'])
def test_what_is_no_table_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "summary.json").write_text(content)
    assert find_table(tmp_path) is None
    with pytest.raises(FileError, match="holds no table of a benchmark"):
        write_rows_page(tmp_path)
    with pytest.raises(FileError, match="no table of a benchmark and no training"):
        execute(Config(str(tmp_path)))
