"""Pretraining: schedules, checkpoints, exact resume after kill -9, two ranks, hand-over, NaN, learning at all."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scenepoint_examples import rewrite
from tiny_scenepoint import TINY, write_tiny
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from benchmarks.folder_lock import locked
from poma3d.checkpoints import load_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.errors import FileError, SettingError
from poma3d.objectives.settings import AlignmentSettings, JepaSettings
from poma3d.towers.mini_text import MiniText
from poma3d.training.checkpoint import checkpoint_path, checkpoints, finish, unfinished
from poma3d.training.log import Log, read_log
from poma3d.training.model import Pretraining
from poma3d.training.pretrain import (
    dry_run,
    hand_over,
    make_accelerator,
    make_loader,
    make_model,
    make_towers,
    pretrain,
)
from poma3d.training.schedule import learning_rate
from poma3d.training.settings import (
    PRESETS,
    OptimiserSettings,
    PretrainSettings,
    RunSettings,
    StageSettings,
)
from poma3d.training.stage import Stage, TrainingError
from pomagym.main import main


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small tensors are slower on several threads, many times so on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("houses"))


def settings(data: Path, out: Path, **changes: object) -> PretrainSettings:
    whole = PretrainSettings(
        data=(str(data),),
        out=str(out),
        encoder=TINY,
        warm_up=StageSettings(
            steps=0,
            batch=4,
            objective="alignment",
            single_views=True,
            alignment=AlignmentSettings(scene_weight=0.0),
        ),
        main=StageSettings(steps=6, batch=4, objective="chamfer", views=3),
        jepa=JepaSettings(width=32, depth=1, heads=2),
        run=RunSettings(device="cpu", save_every=2, log_every=1),
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def weights(out: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(checkpoints(out / "main")[-1] / "model.safetensors")


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


def lines(out: Path) -> list[dict]:
    """The log without what depends on the clock and the machine."""
    return [
        {k: v for k, v in line.items() if not k.startswith(("time_", "peak_"))}
        for line in read_log(out / "main")
    ]


# Schedules


def test_the_learning_rate_grows_and_falls() -> None:
    rates = [learning_rate(step, 1000, 2.0, 50) for step in range(1000)]
    assert rates[0] == pytest.approx(2 / 50)
    assert max(rates) == rates[49] == rates[50] == 2.0
    assert rates[525] == pytest.approx(1.0)
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert 0 < rates[-1] < 1e-4
    assert learning_rate(9, 100, 1.0, 500) == 1.0  # a short run does not grow for ever


# Checkpoints and logs


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


# Exact resume

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


def test_a_damaged_checkpoint_is_named(data: Path, tmp_path: Path) -> None:
    short = settings(data, tmp_path / "run")
    pretrain(short)
    (tmp_path / "run" / "main" / "done.json").unlink()
    (checkpoints(tmp_path / "run" / "main")[-1] / "state.json").write_text("{")
    with pytest.raises(FileError, match=r"state\.json"):
        pretrain(short)


def test_only_the_newest_checkpoints_are_kept(data: Path, tmp_path: Path) -> None:
    pretrain(settings(data, tmp_path / "run"))
    assert [path.name for path in checkpoints(tmp_path / "run" / "main")] == [
        "step_00000004",
        "step_00000006",
    ]


# The stages


def test_main_starts_from_the_warm_ups_context_encoder(data: Path, tmp_path: Path) -> None:
    recipe = settings(data, tmp_path)
    text, _ = make_towers(recipe, None, make_accelerator(recipe))
    assert isinstance(text, MiniText)
    before = Pretraining(PointMapEncoder(TINY, seed=1), recipe.warm_up, recipe.jepa, text)
    torch.nn.init.constant_(before.alignment.log_scale, 1.0)
    after = Pretraining(PointMapEncoder(TINY, seed=2), recipe.main, recipe.jepa, text)
    hand_over(before, after)
    for encoder in (after.context_encoder, after.target_encoder):
        assert_same(dict(before.context_encoder.state_dict()), dict(encoder.state_dict()))
    assert after.alignment.log_scale == 1.0
    assert not any(weight.requires_grad for weight in after.target_encoder.parameters())


def test_the_warm_up_has_no_jepa_and_main_has_what_it_is_told_to(data: Path, tmp_path: Path) -> None:
    recipe = settings(data, tmp_path)
    for objective, loss in (("alignment", None), ("chamfer", "chamfer"), ("smooth_l1", "smooth_l1")):
        stage = replace(recipe.main, objective=objective)
        model = Pretraining(PointMapEncoder(TINY), stage, recipe.jepa, None)
        assert (None if model.jepa is None else model.jepa.settings.loss) == loss


def test_the_target_encoder_is_what_is_left_and_it_follows_slowly(data: Path, tmp_path: Path) -> None:
    quick = OptimiserSettings(learning_rate=1e-2, ema_start=0.5)
    recipe = settings(data, tmp_path / "run")
    recipe = replace(recipe, main=replace(recipe.main, optimiser=quick))
    done = pretrain(recipe)
    left, last = load_encoder(done.encoder).weights(), weights(tmp_path / "run")
    first = PointMapEncoder(TINY).weights()
    name = "vision_model.encoder.layers.0.mlp.fc1.weight"
    assert torch.equal(left[name], last[f"target_encoder.clip.{name}"])
    assert not torch.equal(left[name], last[f"context_encoder.clip.{name}"])
    assert not torch.equal(left[name], first[name])
    assert load_encoder(done.encoder).weights_sha256() == done.weights_sha256
    assert done.text is not None
    assert MiniText.load(done.text).embedding == 16


def test_pretraining_learns_to_find_scenes(data: Path, tmp_path: Path) -> None:
    optimiser = OptimiserSettings(learning_rate=3e-3, ema_start=0.9)
    recipe = settings(data, tmp_path / "run", validation=(str(data),))
    recipe = replace(
        recipe,
        main=StageSettings(
            steps=60, batch=8, objective="chamfer", views=3, augment=False, optimiser=optimiser
        ),
        run=RunSettings(device="cpu", save_every=60, log_every=20),
    )
    measures = pretrain(recipe).measures
    assert measures["R@1-5"] >= 0.9 > measures["chance@5"]
    assert min(measures["R@1-1"], measures["R@5-1"]) >= 4 * measures["chance@1"]
    log = read_log(tmp_path / "run" / "main")
    assert log[2]["loss_scene_text"] < 0.5 * log[0]["loss_scene_text"]
    assert log[2]["rank_patches"] > 3


def test_lora_trains_adapters_alone_and_leaves_merged_weights(data: Path, tmp_path: Path) -> None:
    fast = OptimiserSettings(learning_rate=1e-2, ema_start=0.0)
    recipe = settings(data, tmp_path / "run", lora=True)
    recipe = replace(recipe, main=replace(recipe.main, optimiser=fast))
    left = load_encoder(pretrain(recipe).encoder).weights()
    first = PointMapEncoder(TINY).weights()
    changed = {name for name in first if not torch.equal(first[name], left[name])}
    assert changed
    assert all(name.split(".")[-2] in recipe.lora_settings.targets for name in changed)


# What can go wrong


def test_nan_stops_with_the_names_and_a_checkpoint_from_before(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = settings(data, tmp_path / "run")
    original: Callable = Stage.forward

    def poisoned(self: Stage, batch, number: int, **options):
        loss, metrics = original(self, batch, number, **options)
        return (loss * torch.nan if number == 3 else loss), metrics

    monkeypatch.setattr(Stage, "forward", poisoned)
    with pytest.raises(TrainingError, match=r"step 4 of main is nan on scenes scene\d\d, .*step_00000003"):
        pretrain(recipe)
    assert all(bool(tensor.isfinite().all()) for tensor in weights(tmp_path / "run").values())
    monkeypatch.setattr(Stage, "forward", original)
    pretrain(recipe)  # goes on from there
    clean = settings(data, tmp_path / "clean")
    pretrain(clean)
    assert_same(weights(tmp_path / "run"), weights(tmp_path / "clean"))


def test_a_gradient_that_is_no_number_stops_too(data: Path, tmp_path: Path) -> None:
    recipe = settings(data, tmp_path / "run")
    wild = replace(recipe.main, optimiser=OptimiserSettings(learning_rate=1e30))
    with pytest.raises(TrainingError, match="of main is"):
        pretrain(replace(recipe, main=wild))


def test_no_data_and_nothing_to_do_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--data"):
        pretrain(replace(settings(data, tmp_path / "run"), data=(), text=""))
    recipe = settings(data, tmp_path)
    with pytest.raises(SettingError, match="nothing to train"):
        replace(recipe, main=replace(recipe.main, steps=0))
    with pytest.raises(FileError):
        pretrain(settings(tmp_path / "nowhere", tmp_path / "other"))


def test_a_dry_run_writes_nothing_and_says_what_a_run_would_take(data: Path, tmp_path: Path) -> None:
    warm_up = replace(settings(data, tmp_path).warm_up, steps=3)
    facts = dry_run(settings(data, tmp_path / "run", warm_up=warm_up))
    assert [row["stage"] for row in facts] == ["warm-up", "main"]
    assert [row["scenes"] for row in facts] == [32, 8]
    assert all(row["seconds_per_step"] > 0 and row["peak_memory_mib"] > 0 for row in facts)
    assert not (tmp_path / "run").exists()


def test_presets_are_consistent() -> None:
    for name, recipe in PRESETS.items():
        assert recipe.encoder.width % recipe.encoder.heads == 0, name
        assert json.loads(json.dumps(recipe.recipe()))["main"]["objective"] == "chamfer"
        assert recipe.warm_up.alignment.scene_weight == 0


# The command

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


def test_regions_are_refused_where_nothing_has_a_category(tmp_path: Path) -> None:
    data = write_tiny(tmp_path / "houses", scenes=2)
    for path in data.rglob("*.safetensors"):
        rewrite(path, category_ids=None, room_type_ids=None, metadata=None)
    recipe = settings(data, tmp_path / "run")
    recipe = replace(recipe, main=replace(recipe.main, alignment=AlignmentSettings(region_weight=1.0)))
    with pytest.raises(SettingError, match="what its pixels show"):
        dry_run(recipe)


# Two ranks


def gradients(recipe: PretrainSettings) -> dict[str, Tensor]:
    """The gradient that this rank has after one batch, weights not yet changed."""
    accelerator = make_accelerator(recipe)
    text, _ = make_towers(recipe, None, accelerator)
    loader = make_loader(recipe, recipe.main, recipe.data, accelerator)
    model = make_model(recipe, recipe.main, loader, text, None)
    stage = Stage("main", recipe.main, recipe, model, loader, accelerator, None)
    loss, _ = stage.forward(next(iter(loader)), 0)
    accelerator.backward(loss)
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def join_ranks(rank: int, port: int) -> None:
    """Make this process the one of that number of two, as torchrun does."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        ACCELERATE_USE_CPU="true",
    )
    torch.set_num_threads(1)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _one_of_two(rank: int, recipe: PretrainSettings, port: int, out: str) -> None:
    join_ranks(rank, port)
    found = gradients(recipe)
    assert torch.distributed.get_backend() == "gloo"
    torch.save(found, f"{out}.{rank}")


@pytest.mark.parametrize("align_masked", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_two_ranks_have_the_gradients_of_one_with_the_doubled_batch(
    data: Path, tmp_path: Path, align_masked: bool
) -> None:
    recipe = settings(data, tmp_path)
    regions = AlignmentSettings(region_weight=1.0)
    recipe = replace(recipe, main=replace(recipe.main, align_masked=align_masked, batch=2, alignment=regions))
    out = str(tmp_path / "gradients")
    spawn(_one_of_two, (recipe, free_port(), out), nprocs=2)
    one, other = (torch.load(f"{out}.{rank}") for rank in (0, 1))
    assert_same(one, other)
    alone = gradients(replace(recipe, main=replace(recipe.main, batch=4)))
    assert alone.keys() == one.keys()
    largest = max(float(gradient.abs().max()) for gradient in alone.values())
    for name, gradient in alone.items():
        assert torch.allclose(one[name], gradient, rtol=1e-3, atol=1e-5 * largest), name
    assert sum(bool(gradient.abs().max() > 1e-5) for gradient in alone.values()) > 40
