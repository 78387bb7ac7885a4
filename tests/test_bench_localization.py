"""The benchmark of localisation: rows and folders, workers change nothing, it goes on, bad input in one line."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
from flat_room import room_scene

from envs.scenes.mesh import save_scene
from pomagym.main import main


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("scenes") / "room.glb"
    save_scene(room_scene(), path)
    return str(path)


def bench(capfd: pytest.CaptureFixture[str], *flags: object) -> tuple[int, str, str]:
    capfd.readouterr()
    code = main(["bench", "localization", "--encoder", "random", *map(str, flags)])
    out, err = capfd.readouterr()
    return code, out, err


def untimed(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("time_")} for line in lines]


def test_rows_folders_pictures_and_workers(capfd, tmp_path, house) -> None:
    flags = ["--scene", house, "--episodes", 3, "--memory-views", 12, "--json"]
    code, out, err = bench(capfd, *flags, "--out", tmp_path / "1", "--pictures", 1)
    assert code == 0, err
    summary = json.loads(out)
    assert summary == json.loads((tmp_path / "1" / "summary.json").read_text())
    rows = {row["policy"]: row for row in summary["rows"]}
    assert {"full", "registration", "retrieval", "retrieval-random-weights", "chance"} <= rows.keys()
    assert [name for name, row in rows.items() if not row["control"]] == ["full"]
    assert all(row["measures"]["success"]["n"] == 3 for row in rows.values())
    assert rows["full"]["measures"]["success"]["mean"] > rows["chance"]["measures"]["success"]["mean"]
    errors = [record["position_error"] for record in untimed(tmp_path / "1" / "chance")]
    assert rows["chance"]["medians"]["position_error"] == statistics.median(errors)
    [picture] = (tmp_path / "1" / "full" / "pictures").glob("room_0-*.png")
    assert picture.stat().st_size > 1000
    assert json.loads((tmp_path / "1" / "full" / "summary.json").read_text())["weights_sha256"]
    # Untrained weights are the same weights, whichever row asks for them.
    random = untimed(tmp_path / "1" / "retrieval-random-weights")
    assert [r["position_error"] for r in random] == [
        r["position_error"] for r in untimed(tmp_path / "1" / "retrieval")
    ]
    code, _, err = bench(
        capfd, *flags, "--out", tmp_path / "2", "--workers", 2, "--policies", "chance", "full", "retrieval"
    )
    assert code == 0, err
    for policy in ("chance", "full", "retrieval"):
        assert untimed(tmp_path / "1" / policy) == untimed(tmp_path / "2" / policy)


def test_it_goes_on_where_it_was_stopped(capfd, tmp_path, house) -> None:
    flags = ["--scene", house, "--episodes", 6, "--out", tmp_path, "--policies", "chance", "retrieval"]
    assert bench(capfd, *flags)[0] == 0
    whole = untimed(tmp_path / "chance")
    path = tmp_path / "chance" / "episodes.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]) + '{"cut')
    code, out, _ = bench(capfd, *flags)
    assert code == 0
    assert "chance" in out
    assert untimed(tmp_path / "chance") == whole
    assert "other settings" in bench(capfd, *flags, "--seed", 1)[2]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--query", "smell"], "unknown query 'smell'; localisation is asked by pose or text"),
        (["--policies", "dance"], "unknown localisation policy 'dance'"),
        (["--policies", "chance", "chance"], "named twice"),
        (["--episodes", "0"], "at least 1 episode"),
        (["--memory-views", "0"], "memory_views"),
        (["--scene", "absent.glb"], "absent.glb"),
        (["--encoder", "absent.safetensors"], "absent.safetensors"),
        (["--pictures", "-1"], "pictures"),
        (["--query", "text"], "--data"),
    ],
)
def test_bad_input_ends_in_one_line(capfd, tmp_path, monkeypatch, flags, says) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = bench(capfd, *flags)
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert says in err
    assert not any(tmp_path.rglob("*.json*"))
