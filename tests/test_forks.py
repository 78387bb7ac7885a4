"""Forked processes go on: torch, the locks of simulators and of their pool, errors that come back from workers."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from busy_thread import Busy
from flat_room import FlatSurface, room_scene, room_simulator
from numba.core.compiler_lock import global_compiler_lock

from envs.scenes.datasets.labels import UnreadableLabelsError
from envs.simulators import scene_simulator
from envs.simulators.raycast import RaycastSimulator
from envs.simulators.shelf import SimulatorPool
from poma3d.errors import FileError, UserError
from poma3d.pointmap import Camera

CAMERA = Camera(8, 8)
POSE = np.eye(4)[None] + np.array([[0, 0, 0, 0], [0, 0, 0, 1.2], [0, 0, 0, 0], [0, 0, 0, 0]])

forks = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
)


def ends_in_a_fork(work: Callable[[], Any]) -> bool:
    """Whether ``work`` comes to a good end in a forked process."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(120)
    over = child.exitcode == 0
    child.kill()
    child.join()
    return over


@forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scene_that_another_thread_opens_does_not_block_the_child(busy: Busy) -> None:
    pool = SimulatorPool()

    def slowly() -> Any:
        busy.wait()
        return room_simulator()

    def in_the_child() -> None:
        pool.borrow(("another",), room_simulator)
        pool.give_back(("another",))

    thread = busy(lambda: pool.borrow(("slow",), slowly))
    assert ends_in_a_fork(in_the_child)
    busy.go_on.set()
    thread.join()
    pool.give_back(("slow",))


@forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_surface_that_another_thread_builds_does_not_block_the_child(
    busy: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = RaycastSimulator(room_scene())
    monkeypatch.setattr(scene_simulator, "scene_navmesh", busy.wait)
    monkeypatch.setattr(scene_simulator, "NavmeshSurface", lambda navmesh: FlatSurface())
    thread = busy(lambda: simulator.surface)

    def in_the_child() -> None:
        busy.go_on.set()  # the child's own copy
        assert simulator.surface is not None

    assert ends_in_a_fork(in_the_child)
    busy.go_on.set()
    thread.join()
    simulator.close()


@forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_closing_in_the_child_does_not_wait_for_the_parents_renders(busy: Busy) -> None:
    class Slow(RaycastSimulator):
        def _trace(self, *arguments: Any) -> None:
            busy.wait()
            super()._trace(*arguments)

    simulator = Slow(room_scene(), surface=FlatSurface())
    thread = busy(lambda: simulator.render(POSE, CAMERA))
    assert ends_in_a_fork(simulator.close)
    busy.go_on.set()
    thread.join()
    simulator.close()


def torch_in_forked_processes() -> None:
    """Run by the next test in a process of its own, since it leaves threads behind."""
    import torch

    from policies.loading import open_policy
    from poma3d.checkpoints import load_encoder
    from poma3d.towers.loading import load_text

    torch.set_num_threads(2)
    torch.nn.Linear(256, 256)(torch.ones(512, 256)).exp().sum().backward()  # starts OpenMP's threads

    def all_kinds() -> None:
        torch.ones(1 << 20).exp()
        load_encoder("poma3d-mini")
        load_text("poma3d-mini")
        open_policy("pointnav-mini")

    print(ends_in_a_fork(all_kinds), torch.get_num_threads())


LATE = """
import torch
from multiprocessing import get_context
torch.set_num_threads(2)
torch.ones(1 << 20).exp()
def work():
    from poma3d.checkpoints import load_encoder
    torch.ones(1 << 20).exp()
    load_encoder("poma3d-mini")
child = get_context("fork").Process(target=work)
child.start()
child.join(120)
print(child.exitcode == 0, torch.get_num_threads())
child.kill()
"""


@forks
@pytest.mark.parametrize(
    "program", ["import test_forks; test_forks.torch_in_forked_processes()", LATE], ids=["known", "late"]
)
def test_torch_runs_in_forked_processes(program: str) -> None:
    settings = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    settings["PYTHONPATH"] = str(Path(__file__).parent)
    line = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(line, env=settings, capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout == "True 2\n", done.stderr


def every_kind(kind: type) -> list[type]:
    return [kind, *(deeper for below in kind.__subclasses__() for deeper in every_kind(below))]


def test_errors_come_back_from_workers_whole() -> None:
    for kind in every_kind(UserError):
        if kind.__module__.startswith(("test_", "conftest")):
            continue
        arguments = ("a.glb", "is empty") if issubclass(kind, FileError) else ("it is wrong",)
        error = kind(*arguments)
        back = pickle.loads(pickle.dumps(error))
        assert type(back) is kind
        assert str(back) == str(error)
        assert back.args == error.args
        assert vars(back) == vars(error)
    assert pickle.loads(pickle.dumps(UnreadableLabelsError("a.txt", "is empty"))).path == "a.txt"


@forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_function_that_another_thread_compiles_does_not_block_the_child() -> None:
    holding = threading.Event()

    def compile_for_a_while() -> None:
        with global_compiler_lock:
            holding.set()
            time.sleep(0.5)

    def in_the_child() -> None:
        assert numba.njit(lambda x: x + 1)(1) == 2

    thread = threading.Thread(target=compile_for_a_while)
    thread.start()
    assert holding.wait(60)
    assert ends_in_a_fork(in_the_child)
    thread.join()
