"""How simulators end: forgotten, interrupted, when Python ends, while other threads are at work."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from busy_thread import Busy
from flat_room import room_scene, room_simulator

from envs.pointnav import PointNavEnv
from envs.simulators import embree, raycast
from envs.simulators.raycast import RaycastSimulator
from envs.simulators.shelf import SHARED_SIMULATORS, SimulatorPool
from poma3d.errors import SettingError
from poma3d.pointmap import Camera

CAMERA = Camera(8, 8)
POSE = np.eye(4)[None] + np.array([[0, 0, 0, 0], [0, 0, 0, 1.2], [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    "ending",
    ["import atexit; atexit.register(look)", "import threading; threading.Thread(target=look).start()"],
    ids=["atexit", "thread"],
)
def test_rendering_works_when_the_main_thread_has_ended(ending: str) -> None:
    program = (
        "import threading, time, numpy as np; from test_endings import POSE, Camera, RaycastSimulator, room_scene\n"
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
