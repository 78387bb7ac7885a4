"""`pomagym pretrain`: it trains, resumes and reports, a dry run writes nothing, bad input is one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_pretraining import settings
from tiny_scenepoint import write_tiny

from benchmarks.folder_lock import locked
from poma3d.checkpoints import load_encoder
from poma3d.errors import SettingError
from poma3d.objectives.settings import AlignmentSettings
from poma3d.scenepoint.folder import scene_captions_path, view_captions_path
from poma3d.training.pretrain import dry_run, pretrain
from pomagym.main import main

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("houses"))


TINY_FLAGS = """
    --encoder.image-size 16 --encoder.patch-size 4 --encoder.width 24 --encoder.depth 1 --encoder.embedding 16
    --jepa.width 24 --jepa.heads 2 --jepa.depth 1 --main.steps 3 --main.batch 2 --main.views 2
    --warm-up.steps 0 --settle.steps 3 --run.device cpu --run.log-every 1
"""


def test_the_command_trains_resumes_and_reports(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    line = ["pretrain", "mini", "--data", str(data), *TINY_FLAGS.split()]
    assert main([*line, "--run.dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"][0]["scenes"] == 8
    with locked(out):
        assert main([*line, "--out", str(out)]) == 2
        assert "another run" in capsys.readouterr().err
        assert [path.name for path in out.iterdir()] == [".lock"]
    found = []
    for already in (False, True):
        assert main([*line, "--out", str(out), "--validation", str(data), "--json"]) == 0
        told = capsys.readouterr()
        found.append(json.loads(told.out))
        assert (f"the run in {out} was done already" in told.err) == already
    assert found[0] == found[1]
    assert found[0]["measures"]["chance@1"] == pytest.approx(1 / 8)
    assert load_encoder(found[0]["encoder"]).weights_sha256() == found[0]["weights_sha256"]
    assert main([*line, "--out", str(out)]) == 0
    assert "R@1-1" in capsys.readouterr().out


def test_a_dry_run_writes_nothing_and_says_what_a_run_would_take(data: Path, tmp_path: Path) -> None:
    warm_up = replace(settings(data, tmp_path).warm_up, steps=3)
    facts = dry_run(settings(data, tmp_path / "run", warm_up=warm_up))
    assert [row["stage"] for row in facts] == ["warm-up", "main"]
    assert [row["scenes"] for row in facts] == [32, 8]
    assert all(row["seconds_per_step"] > 0 and row["peak_memory_mib"] > 0 for row in facts)
    assert not (tmp_path / "run").exists()


def without_captions(root: Path) -> Path:
    """Two scenes that say nothing: lines without words, and no file of scenes' captions."""
    write_tiny(root, scenes=2, views=2)
    scene_captions_path(root).unlink()
    path = view_captions_path(root, "tiny")
    lines = [{**json.loads(line), "utterance": []} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


@pytest.mark.parametrize(
    ("stage", "lost", "said"),
    [
        ({"warm-up": 1}, "views", r"^warm-up .*no view of .*mute has one.*--warm-up\.steps 0"),
        ({"warm-up": 0, "main": 1}, "views", r"^main .*no view or scene of .*mute has one"),
        ({"warm-up": 0, "main": 1}, "scenes", None),
        ({"warm-up": 1}, "scenes", None),
    ],
)
def test_a_stage_that_could_learn_from_nothing_is_refused(
    data: Path, tmp_path: Path, stage: dict[str, int], lost: str, said: str | None
) -> None:
    if lost == "views":
        data = without_captions(tmp_path / "mute")
    else:
        data = write_tiny(tmp_path / "houses", scenes=2)
        scene_captions_path(data).unlink()
    whole = settings(data, tmp_path / "run")
    alone = AlignmentSettings()  # views and scenes
    recipe = replace(
        whole,
        warm_up=replace(whole.warm_up, steps=stage["warm-up"], batch=2),
        main=replace(whole.main, steps=stage.get("main", 0), batch=2, objective="alignment", alignment=alone),
    )
    if said is None:
        assert dry_run(recipe)
        return
    for refuse in (dry_run, pretrain):
        with pytest.raises(SettingError, match=said):
            refuse(recipe)
    assert not (tmp_path / "run").exists()
    jepa = replace(recipe, warm_up=replace(recipe.warm_up, steps=0), main=replace(whole.main, batch=2))
    assert dry_run(jepa)  # learns without words
    with pytest.raises(SettingError, match=r"^main .*neither a text nor an image tower; --text mini"):
        dry_run(replace(jepa, text=""))


def test_a_refused_run_does_not_stand_in_the_way_of_its_correction(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mute = write_tiny(tmp_path / "mute", scenes=2, views=2)
    scene_captions_path(mute).unlink()
    out, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    line = [
        "pretrain",
        "mini",
        *TINY_FLAGS.split(),
        "--main.steps",
        "1",
        "--settle.steps",
        "1",
        "--seed",
        "3",
    ]
    absent = str(tmp_path / "absent")
    for wrong, said in (
        (["--data", str(mute)], "0 scenes have captions"),
        (["--data", str(data), "--validation", absent], absent),
        (["--data", str(mute), "--settle.steps", "0", "--start", absent], absent),
        (["--data", str(mute), "--settle.steps", "0", "--text", absent], absent),
    ):
        assert main([*line, *wrong, "--out", str(out)]) == 2
        assert said in capsys.readouterr().err
        assert not (out / "main").exists()
    found = []
    for folder in (out, elsewhere):
        assert main([*line, "--data", str(data), "--out", str(folder), "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["weights_sha256"])
    assert found[0] == found[1]
    # what was trained is not thrown away by other settings
    assert main([*line, "--data", str(data), "--out", str(out), "--seed", "4"]) == 2
    assert "seed was 3, now 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--data"),
        (["--data", "nowhere"], "--out"),
        (["--data", "nowhere", "--out", "run"], "nowhere"),
        (["--main.steps", "-1"], "steps must be at least 0"),
        (["--main.objective", "l2"], "objective"),
    ],
)
def test_bad_input_is_one_line(
    flags: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pretrain", "mini", *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
