"""The page of a training: the log's numbers are its curves, whatever is damaged, unfinished or odd is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.training_page import read_curves, write_training_page
from poma3d.errors import FileError
from pomagym.view import Config, execute

EVIL = "<script>alert('x')</script>"


def write_log(folder: Path, records: list[dict], end: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records) + end)


def curves_of(page: Path) -> list[list[tuple[float, float]]]:
    """The points of every curve on a page, as they are drawn."""
    found = re.findall(r'<polyline points="([^"]*)"', page.read_text())
    pairs = [[pair.split(",") for pair in points.split()] for points in found]
    return [[(float(x), float(y)) for x, y in points] for points in pairs]


def test_stages_of_a_pretraining_are_shown_in_their_order(tmp_path):
    write_log(tmp_path / "main", [{"step": s, "loss": 8.0 - s, "rank_views": 50.0} for s in (1, 2, 3)])
    write_log(tmp_path / "warm-up", [{"step": 10 * s, "loss": 4.0 / s} for s in (1, 2, 4)])
    (tmp_path / "warm-up" / "done.json").write_text(json.dumps({"step": 40, "measures": {"R@1-1": 0.25}}))
    (tmp_path / "settings.json").write_text(json.dumps({"recipe": {"seed": 7, "note": EVIL}}))
    shown = write_training_page(tmp_path).read_text()
    assert (tmp_path / "training.html").is_file()
    headings = re.findall("<h2>(.*?)</h2>", shown)
    assert headings == ["warm-up", "main", "measured once", "settings"]
    assert "not finished, or still running: main" in shown
    assert "<b>5</b><span>main: loss</span><i>7 at first</i><i>step 3</i>" in shown
    assert "R@1-1" in shown
    assert "0.25" in shown
    assert EVIL not in shown


def test_a_curve_goes_where_its_numbers_go(tmp_path):
    write_log(tmp_path, [{"step": s, "loss": loss} for s, loss in ((0, 3.0), (5, 1.0), (10, 2.0))])
    [curve] = curves_of(write_training_page(tmp_path))
    (x0, high), (x1, low), (x2, middle) = curve
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)  # to a tenth of a pixel
    assert high < middle < low  # pixels count downwards
    assert middle == pytest.approx((low + high) / 2, abs=0.11)


def test_parts_of_a_nested_number_share_a_chart(tmp_path):
    answers = [{"epoch": e, "accuracy": {"four": e / 10, "eight": e / 20}} for e in (1, 2)]
    write_log(tmp_path, answers)
    shown = write_training_page(tmp_path).read_text()
    assert len(curves_of(tmp_path / "training.html")) == 2
    assert shown.count("<figure>") == 1
    assert re.findall("</svg>(four|eight)</li>", shown) == ["four", "eight"]


def test_what_is_no_number_is_left_out_and_what_is_damaged_is_named(tmp_path):
    lines = [
        {"step": 1, "loss": 2.0, "unit": "learn"},
        {"step": 2, "loss": float("nan")},
        {"step": 3, "loss": 1.0},
    ]
    write_log(tmp_path, lines, end='broken\n{"step": 4, "loss": 0.5}\n{"step": 5, "lo')
    damage: list[str] = []
    clock, curves = read_curves(tmp_path / "log.jsonl", damage)
    assert clock == "step"
    assert curves == {"loss": [(1, 2.0), (3, 1.0), (4, 0.5)]}
    assert damage == [
        "log.jsonl line 4 is no record and left out",
        "loss is no number, or too large a one, in 1 records, first at step 2",
    ]
    assert "line 4 is no record" in write_training_page(tmp_path).read_text()


@pytest.mark.parametrize(
    ("records", "told"),
    [
        (
            [{"step": 1, "loss": float("nan")}, {"step": 2, "loss": float("nan")}],
            "in 2 records, first at step 1",
        ),
        ([{"step": None, "loss": 1.0}], "step is None"),
        ([{"step": "x", "loss": 1.0}], "step is 'x'"),
        ([{"step": 1, "loss": 10**400}], "too large"),
        ([], "no line in a log.jsonl"),
    ],
)
def test_a_log_that_cannot_be_drawn_says_why(tmp_path, records, told):
    write_log(tmp_path, records)
    with pytest.raises(FileError, match="holds no training that could be drawn") as error:
        write_training_page(tmp_path)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "records",
    [
        [{"step": 3, "loss": 1.0}, {"step": 3, "loss": 1.0}],  # killed behind the line, and resumed
        [{"step": 1, "loss": 1e29}, {"step": 2, "loss": -1e29}],
        [{"step": 1, "loss": 0}, {"step": 2, "loss": 0}],
    ],
)
def test_odd_numbers_are_drawn(tmp_path, records):
    write_log(tmp_path, records)
    (tmp_path / "done.json").write_text(json.dumps({"measures": ["no", "mapping"]}))
    [curve] = curves_of(write_training_page(tmp_path))
    assert len(curve) == 2


def test_the_log_of_another_library_is_told_by_its_loss(tmp_path):
    numbers = {
        "env_steps": 10,
        "train/loss": 2.0,
        "train/clip_range": 0.2,
        "held_out_success": 0.5,
        "held_out_spl": 0.4,
    }
    write_log(tmp_path, [{"step": s, **numbers} for s in (1, 2)])
    shown = write_training_page(tmp_path).read_text()
    assert "<span>train/loss</span>" in shown
    assert re.findall(r"<figcaption><b>(.*?)</b>", shown) == [
        "env steps",
        "train/loss",
        "train/clip range",
        "held out",
    ]
    assert re.findall("</svg>([a-z]+)</li>", shown) == ["success", "spl"]


def test_a_long_log_is_drawn_by_means(tmp_path):
    write_log(tmp_path, [{"step": s, "loss": s % 2} for s in range(3000)])
    [curve] = curves_of(write_training_page(tmp_path))
    assert len(curve) == 300
    assert len({y for _, y in curve}) == 1  # ten zeros and ones each: all means are one half


def test_what_was_measured_once_is_a_table(tmp_path):
    rows = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 3, "success": 0.975}]
    write_log(tmp_path, rows)
    shown = write_training_page(tmp_path).read_text()
    assert len(curves_of(tmp_path / "training.html")) == 1
    assert re.search(r'data-key="success">success</td><td[^>]*data-key="0.975"', shown)


def test_view_knows_a_training(tmp_path, capsys):
    write_log(tmp_path / "run", [{"step": s, "loss": 1.0} for s in (1, 2)])
    assert execute(Config(str(tmp_path / "run"), out=tmp_path / "page.html")) == 0
    assert str(tmp_path / "page.html") in capsys.readouterr().out
    assert curves_of(tmp_path / "page.html")
    write_log(tmp_path / "begun", [])
    with pytest.raises(FileError, match="holds no training that could be drawn"):
        execute(Config(str(tmp_path / "begun")))


def test_numbers_beside_an_axis_are_told_apart(tmp_path):
    write_log(tmp_path, [{"step": s, "scale": scale} for s, scale in ((1, 14.281), (2, 14.285), (3, 14.279))])
    shown = write_training_page(tmp_path).read_text()
    labels = re.findall(r'text-anchor="end">([^<]+)</text>', shown)
    assert len(labels) >= 3
    assert len(set(labels)) == len(labels)
