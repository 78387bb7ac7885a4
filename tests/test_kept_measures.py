"""Measures that the table of encoders keeps: found again for the same scenes, not for others of the same sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_scenepoint import TINY, write_tiny

from poma3d.checkpoints import save_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.evaluation import table as table_module
from poma3d.evaluation.intervals import Measure
from poma3d.evaluation.table import Row, make_table
from poma3d.evaluation.table_data import TableData


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The data that were measured, in order; the measures themselves are the number of the measurement."""
    seen: list[str] = []

    def measure(encoder: Any, text: Any, data: TableData, on_scene: Any) -> dict[str, Measure]:
        seen.append(data.contents.scenes_sha256)
        return {"count": Measure(float(len(seen)), np.zeros(3))}

    monkeypatch.setattr(table_module, "measure_checkpoint", measure)
    return seen


def test_other_scenes_of_the_same_sizes_are_measured_on_their_own(
    measured: list[str], tmp_path: Path
) -> None:
    save_encoder(PointMapEncoder(TINY, seed=0), tmp_path / "encoder.safetensors")
    rows, kept = [Row("a", (str(tmp_path / "encoder.safetensors"),))], tmp_path / "kept"

    def count(folder: Path) -> float:
        table = make_table(rows, TableData([str(folder)], {}, 16, views=2), kept, random_seeds=0)
        return next(row["measures"]["count"]["mean"] for row in table["rows"] if row["row"] == "a")

    old = write_tiny(tmp_path / "old", scenes=2)
    new = write_tiny(tmp_path / "new", scenes=2, seed=5)
    assert TableData([str(old)], {}, 16).contents.sha256 == TableData([str(new)], {}, 16).contents.sha256
    assert [count(old), count(old)] == [1, 1]
    assert [count(new), count(new)] == [2, 2]
    assert count(old) == 1
    assert len(set(measured)) == len(measured) == 2


def test_measures_kept_before_contents_were_noted_stay_valid(measured: list[str], tmp_path: Path) -> None:
    save_encoder(PointMapEncoder(TINY, seed=0), tmp_path / "encoder.safetensors")
    rows, kept = [Row("a", (str(tmp_path / "encoder.safetensors"),))], tmp_path / "kept"
    data = TableData([str(write_tiny(tmp_path / "data", scenes=2))], {}, 16, views=2)
    make_table(rows, data, kept, random_seeds=0)
    (note,) = kept.glob("*.scenes")
    note.unlink()
    make_table(rows, data, kept, random_seeds=0)
    assert len(measured) == 1
