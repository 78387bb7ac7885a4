"""TensorBoard beside a pretraining: the scalars of the log, all of them, also after a kill and a resume."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_scenepoint import TINY, write_tiny

from poma3d.objectives.settings import JepaSettings
from poma3d.training.log import Log, read_log
from poma3d.training.pretrain import pretrain
from poma3d.training.settings import PretrainSettings, RunSettings, StageSettings


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard would show: step and value of every scalar."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events: Any = accumulator.EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def test_tensorboard_shows_what_the_log_says(tmp_path: Path) -> None:
    data = write_tiny(tmp_path / "houses", scenes=4)
    settings = PretrainSettings(
        data=(str(data),),
        out=str(tmp_path / "run"),
        encoder=TINY,
        warm_up=StageSettings(steps=0, batch=2, objective="alignment"),
        main=StageSettings(steps=4, batch=2, objective="chamfer", views=2),
        jepa=JepaSettings(width=32, depth=1, heads=2),
        validation=(str(data),),
        run=RunSettings(device="cpu", save_every=2, log_every=1),
    )

    class StopError(Exception):
        pass

    def stop(at) -> None:
        if at.step == 3:  # one step after the checkpoint: it will be taken and logged again
            raise StopError

    with pytest.raises(StopError):
        pretrain(settings, report=stop)
    pretrain(settings)
    folder = tmp_path / "run" / "main"
    shown, told = scalars(folder), read_log(folder)
    names = {name for line in told for name in line} - {"step"}
    assert {"loss", "loss_jepa", "rank_patches", "rank_views", "learning_rate", "patch_linear_miou"} <= names
    assert shown.keys() == names
    for name in names:
        expected = [(line["step"], line[name]) for line in told if name in line]
        assert [step for step, _ in shown[name]] == [step for step, _ in expected], name
        for (_, seen), (_, said) in zip(shown[name], expected, strict=True):
            assert seen == pytest.approx(said, rel=1e-5), name


KILLED = """
import sys, pathlib, time
from poma3d.training.log import Log
log = Log(pathlib.Path(sys.argv[1]), 0)
for step in (1, 2, 3):
    log.write({"step": step, "loss": 1.0 / step})
print("written", flush=True)
time.sleep(60)
"""


def test_a_kill_loses_no_scalar_and_a_resume_takes_back_what_is_done_again(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    log = Log(tmp_path, 2)
    log.write({"step": 3, "loss": 5.0, "word": "left out", "gap": math.nan})
    log.close()
    shown = scalars(tmp_path)
    assert shown["loss"] == [(1, 1.0), (2, 0.5), (3, 5.0)]
    assert "word" not in shown
    assert read_log(tmp_path)[-1]["loss"] == 5.0
