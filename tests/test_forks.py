"""Forked processes go on: torch, the locks of simulators and of their pool, errors that come back from workers."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import signal
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
from flat_room import FlatSurface, room_scene, room_simulator
from numba.core.compiler_lock import global_compiler_lock

from envs.pointnav import PointNavEnv
from envs.scenes.datasets.labels import UnreadableLabelsError
from envs.simulators import embree, raycast, scene_simulator
from envs.simulators.raycast import RaycastSimulator
from envs.simulators.shelf import SHARED_SIMULATORS, SimulatorPool
from poma3d.errors import FileError, SettingError, UserError
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


class Busy:
    """Another thread that is in the middle of something."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def wait(self, *_: Any) -> None:
        self.begun.set()
        assert self.go_on.wait(60)

    def __call__(self, work: Callable[[], Any]) -> threading.Thread:
        thread = threading.Thread(target=work)
        thread.start()
        assert self.begun.wait(60)
        return thread


@pytest.fixture
def busy() -> Any:
    found = Busy()
    yield found
    found.go_on.set()


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


@pytest.mark.parametrize(
    "ending",
    ["import atexit; atexit.register(look)", "import threading; threading.Thread(target=look).start()"],
    ids=["atexit", "thread"],
)
def test_rendering_works_when_the_main_thread_has_ended(ending: str) -> None:
    program = (
        "import threading, time, numpy as np; from test_forks import POSE, Camera, RaycastSimulator, room_scene\n"
        "simulator = RaycastSimulator(room_scene(), threads=4)\n"
        "expected = simulator.render(POSE, Camera(224, 224)).point_map\n"
        "def look():\n"
        "    while threading.main_thread().is_alive() and threading.current_thread() is not threading.main_thread():\n"
        "        time.sleep(0.01)\n"
        "    time.sleep(0.2)\n"
        "    print(np.array_equal(simulator.render(POSE, Camera(224, 224)).point_map, expected), flush=True)\n"
        f"{ending}\n"
    )
    settings = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=settings, capture_output=True, text=True, timeout=240, check=True
    )
    assert done.stdout == "True\n", done.stderr


def test_an_environment_that_nobody_closed_gives_its_simulators_back() -> None:
    gc.collect()
    before = len(SHARED_SIMULATORS)
    forgotten = PointNavEnv("procedural:train:1", size=(12, 16), episodes=1)
    forgotten.reset(seed=0)
    kept = forgotten.simulator
    assert len(SHARED_SIMULATORS) == before + 1
    del forgotten
    gc.collect()
    assert len(SHARED_SIMULATORS) == before
    assert kept.render(POSE, CAMERA).valid.shape == (1, 8, 8)  # whoever kept it may use it
    kept.close()


def test_a_copy_of_a_simulator_is_the_simulator() -> None:
    simulator = room_simulator()
    assert copy.copy(simulator) is simulator
    assert copy.deepcopy(simulator) is simulator
    with pytest.raises(SettingError, match="flat_room cannot be pickled; open the scene in the process that"):
        pickle.dumps(simulator)
    simulator.close()


def test_closing_does_not_wait_for_a_render_of_its_own_thread_that_was_interrupted() -> None:
    simulator = room_simulator()
    simulator._rendering.add(threading.get_ident())  # an interrupt where the block is left may leave it so
    simulator.close()
    assert simulator.memory_bytes() == 0


def test_a_build_that_is_interrupted_gives_its_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    counters = []
    build = embree.TriangleScene._build

    def interrupted(self: embree.TriangleScene, *arguments: Any) -> None:
        build(self, *arguments)
        counters.append(self._structure_bytes)
        assert self._structure_bytes[0] > 0
        raise KeyboardInterrupt

    monkeypatch.setattr(embree.TriangleScene, "_build", interrupted)
    with pytest.raises(KeyboardInterrupt):
        RaycastSimulator(room_scene())
    gc.collect()
    assert counters[0][0] == 0


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


def test_what_the_collector_finds_waits_for_no_lock() -> None:
    pool = SimulatorPool()
    simulator = pool.borrow(("scene",), room_simulator)
    ends: list[str] = []

    def collect() -> None:  # as on a thread that holds who knows what
        pool.forget(("scene",))
        ends.append("forgotten")

    with pool._lock, embree._at_work:
        thread = threading.Thread(target=collect)
        thread.start()
        thread.join(20)
        assert ends == ["forgotten"]
    assert len(pool) == 0
    simulator.close()


def test_a_scene_dropped_while_another_is_built_is_given_back_after_it() -> None:
    dropped = RaycastSimulator(room_scene())
    bytes_held = dropped._triangles._structure_bytes
    assert bytes_held[0] > 0
    holding, go_on = threading.Event(), threading.Event()

    def build() -> None:
        with embree._at_work:
            holding.set()
            assert go_on.wait(60)
            RaycastSimulator(room_scene()).close()

    thread = threading.Thread(target=build)
    thread.start()
    assert holding.wait(60)
    del dropped
    gc.collect()  # does not wait for the builder
    assert bytes_held[0] > 0
    go_on.set()
    thread.join()
    assert bytes_held[0] == 0


def test_a_helper_that_comes_late_finds_nothing_to_do() -> None:
    worked: list[int] = []
    errand = raycast._Errand(lambda: worked.append(1), np.zeros(1, np.int64))
    errand.help()
    errand.finish()
    errand.help()
    assert worked == [1]


def test_a_render_waits_for_its_helpers_and_then_tells_of_the_interrupt(busy: Busy) -> None:
    errand = raycast._Errand(busy.wait, np.zeros(1, np.int64))
    thread = busy(errand.help)
    threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
    threading.Timer(0.6, busy.go_on.set).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        errand.finish()
    assert time.monotonic() - began > 0.5
    assert busy.go_on.is_set()
    thread.join()
