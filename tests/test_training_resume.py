"""A pretraining that was stopped goes on from whole checkpoints, to the bit as if it had never stopped."""

from __future__ import annotations

import pickle
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_pretraining import assert_same, lines, settings, weights
from tiny_scenepoint import write_tiny

from poma3d.checkpoints import load_encoder
from poma3d.errors import FileError, SettingError
from poma3d.training.checkpoint import checkpoint_path, checkpoints, finish, unfinished
from poma3d.training.log import Log, read_log
from poma3d.training.pretrain import pretrain
from poma3d.training.settings import OptimiserSettings, PretrainSettings, RunSettings, StageSettings

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("houses"))


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path, 3)
    for text in ("old", "new"):
        folder = unfinished(path)
        folder.mkdir(parents=True)
        (folder / "a").write_text(text)
        assert checkpoints(tmp_path) == ([] if text == "old" else [path])
        finish(folder, path)
    assert [p.name for p in path.parent.iterdir()] == ["step_00000003"]
    assert (path / "a").read_text() == "new"
    (path.parent / ".step_00000004.unfinished").mkdir()
    assert checkpoints(tmp_path) == [path]


def test_the_log_forgets_what_is_done_again(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    for step in (1, 2, 3):
        log.write({"step": step})
    with open(log.path, "a") as stream:
        stream.write('{"step": 4, "lo')
    Log(tmp_path, 2).write({"step": 3, "again": True})
    assert read_log(tmp_path) == [{"step": 1}, {"step": 2}, {"step": 3, "again": True}]


def test_only_the_newest_checkpoints_are_kept(data: Path, tmp_path: Path) -> None:
    pretrain(settings(data, tmp_path / "run"))
    assert [path.name for path in checkpoints(tmp_path / "run" / "main")] == [
        "step_00000004",
        "step_00000006",
    ]


def test_a_damaged_checkpoint_is_named(data: Path, tmp_path: Path) -> None:
    short = settings(data, tmp_path / "run")
    pretrain(short)
    (tmp_path / "run" / "main" / "done.json").unlink()
    (checkpoints(tmp_path / "run" / "main")[-1] / "state.json").write_text("{")
    with pytest.raises(FileError, match=r"state\.json"):
        pretrain(short)


SCRIPT = """
import pickle, sys
import torch
from poma3d.training.pretrain import pretrain
torch.set_num_threads(1)
settings = pickle.load(open(sys.argv[1], "rb"))
pretrain(settings, report=lambda at: print(at.step, flush=True))
"""


def start(wanted: PretrainSettings, tmp_path: Path) -> subprocess.Popen:
    recipe = tmp_path / "settings.pkl"
    recipe.write_bytes(pickle.dumps(wanted))
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(recipe)], stdout=subprocess.PIPE, text=True, bufsize=1
    )


def test_killed_at_any_step_and_resumed_the_weights_are_those_of_an_uninterrupted_run(
    data: Path, tmp_path: Path
) -> None:
    stage = StageSettings(steps=20, batch=3, accumulate=2, objective="chamfer", views=2)
    run = RunSettings(device="cpu", save_every=3, log_every=2)
    whole = settings(data, tmp_path / "whole", main=stage, run=run, lora=True)
    broken = replace(whole, out=str(tmp_path / "broken"))
    pretrain(whole)
    rng = random.Random()
    kill_at, moment = rng.randint(4, 16), rng.uniform(0, 0.1)
    process = start(broken, tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= kill_at:
            break
    time.sleep(moment)  # somewhere inside a step, or inside the writing of a checkpoint
    process.send_signal(signal.SIGKILL)
    process.wait()
    where = f"killed {moment:.3f} s after step {kill_at}"
    assert not (tmp_path / "broken" / "encoder.safetensors").exists(), where
    pretrain(broken)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert lines(tmp_path / "whole") == lines(tmp_path / "broken"), where
    hashes = [load_encoder(Path(s.out) / "encoder.safetensors").weights_sha256() for s in (whole, broken)]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("stop", ["warm-up", "main"])
def test_every_stage_resumes(data: Path, tmp_path: Path, stop: str) -> None:
    warm_up = replace(settings(data, tmp_path).warm_up, steps=4)
    whole = settings(data, tmp_path / "whole", warm_up=warm_up)
    broken = replace(whole, out=str(tmp_path / "broken"))
    pretrain(whole)

    class StopError(Exception):
        pass

    def stop_at_three(at) -> None:
        if (at.stage, at.step) == (stop, 3):
            raise StopError

    with pytest.raises(StopError):
        pretrain(broken, report=stop_at_three)
    seen = []
    pretrain(broken, report=lambda at: seen.append((at.stage, at.step)))
    assert seen[0] == (stop, 3)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def test_a_run_goes_on_with_its_own_settings_alone(data: Path, tmp_path: Path) -> None:
    first = settings(data, tmp_path / "run")
    done = pretrain(first)
    assert pretrain(first) == done  # nothing left to do
    other = replace(first, seed=3, main=replace(first.main, optimiser=OptimiserSettings(learning_rate=1.0)))
    with pytest.raises(SettingError, match=r"learning_rate was 0\.0001, now 1\.0.*seed was 0, now 3"):
        pretrain(other)
    calm = replace(first, run=replace(first.run, log_every=5))
    assert pretrain(calm).weights_sha256 == done.weights_sha256
    (tmp_path / "run" / "settings.json").write_text("{")
    with pytest.raises(FileError, match="damaged"):
        pretrain(first)
