"""What is told where Warp is missing or cannot be used, and that nobody starts it unasked; runs without Warp."""

from __future__ import annotations

import os
import subprocess
import sys
import types

import pytest

from envs.simulators import warp_install
from envs.simulators.open import open_simulator
from envs.simulators.warp_install import choose_device, refuse_forked, require_warp
from poma3d.errors import MissingDependencyError, SettingError


def stand_in(monkeypatch: pytest.MonkeyPatch, *devices: str) -> types.SimpleNamespace:
    """Warp with these devices and nothing else."""
    warp = types.SimpleNamespace(
        LOG_INFO=20,
        LOG_WARNING=30,
        config=types.SimpleNamespace(log_level=20),
        init=lambda: None,
        get_devices=lambda: list(devices),
    )
    monkeypatch.setattr(warp_install.importlib, "import_module", lambda name: warp)
    monkeypatch.setattr(warp_install, "_started_by", None)
    return warp


@pytest.mark.parametrize(
    "failure", [ModuleNotFoundError("No module named 'warp'"), RuntimeError("no library")]
)
def test_a_missing_warp_names_the_command(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def missing(name: str) -> None:
        raise failure

    monkeypatch.setattr(warp_install.importlib, "import_module", missing)
    for ask in (require_warp, choose_device, lambda: open_simulator("procedural:val:0", backend="warp")):
        with pytest.raises(MissingDependencyError, match=r"pip install 'pomagym\[gpu\]'") as told:
            ask()
        assert str(failure) in str(told.value)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("devices", "asked", "chosen"),
    [
        (("cpu",), None, "cpu"),
        (("cpu", "cuda:0", "cuda:1"), None, "cuda:0"),
        (("cpu", "cuda:0", "cuda:1"), "cuda:1", "cuda:1"),
        (("cpu", "cuda:0"), "cuda", "cuda:0"),
        (("cpu", "cuda:0"), "cpu", "cpu"),
    ],
)
def test_the_device_is_the_one_asked_for_else_a_gpu(
    monkeypatch: pytest.MonkeyPatch, devices: tuple[str, ...], asked: str | None, chosen: str
) -> None:
    stand_in(monkeypatch, *devices)
    assert choose_device(asked) == chosen


@pytest.mark.parametrize("asked", ["cuda", "cuda:2", "gpu", ""])
def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    stand_in(monkeypatch, "cpu", *(["cuda:0"] if asked == "cuda:2" else []))
    with pytest.raises(SettingError, match=rf"no device '{asked}' here; it has cpu"):
        choose_device(asked)


def test_chatter_is_silenced_but_not_what_a_person_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    warp = stand_in(monkeypatch, "cpu")
    assert require_warp().config.log_level == 30
    warp.config.log_level = 10
    assert require_warp().config.log_level == 10


def test_a_forked_process_is_told_that_cuda_does_not_survive(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_forked("cuda:0", os.getpid())
    refuse_forked("cpu", os.getpid() + 1)
    with pytest.raises(SettingError, match=r"cuda:0 .* forked .* spawn"):
        refuse_forked("cuda:0", os.getpid() + 1)
    stand_in(monkeypatch, "cpu", "cuda:0")
    assert choose_device() == "cuda:0"
    monkeypatch.setattr(warp_install, "_started_by", os.getpid() + 1)
    with pytest.raises(SettingError, match="forked"):
        choose_device()


def test_nothing_starts_warp_unasked() -> None:
    code = (
        "import sys, pomagym, envs.simulators.open, envs.simulators.warp_raycast, envs.simulators.warp_install;"
        "sys.exit('warp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
