"""Scenes of triangles in Embree: they are built on the calling thread, and a fork does not wedge the child."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from envs.simulators.embree import TriangleScene
from envs.simulators.embree_library import library
from poma3d.errors import MissingDependencyError

forks = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
)


def dust(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Twice as many triangles as points, between any three of them."""
    rng = np.random.default_rng(points)
    return rng.normal(size=(points, 3)).astype(np.float32), rng.integers(0, points, (2 * points, 3), np.int32)


def build_a_few() -> None:
    held = [TriangleScene(*dust(points)) for points in (20, 500, 5000)]
    for scene in held:
        scene.close()


@pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc, on Linux alone"
)
def test_building_and_closing_start_no_thread() -> None:
    program = (
        "import os, test_embree; test_embree.build_a_few(); test_embree.build_a_few();"
        " print(len(os.listdir('/proc/self/task')))"
    )
    alone = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=alone, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1"]


@forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_while_another_thread_builds_does_not_wedge_the_child() -> None:
    triangles, over = dust(20_000), threading.Event()

    def build_on() -> None:
        while not over.is_set():
            TriangleScene(*triangles).close()

    builders = [threading.Thread(target=build_on) for _ in range(2)]
    for builder in builders:
        builder.start()
    context = multiprocessing.get_context("fork")
    try:
        for _ in range(60):
            child = context.Process(target=build_a_few)
            child.start()
            child.join(60)
            wedged = child.exitcode is None
            child.kill()
            assert not wedged
            assert child.exitcode == 0
    finally:
        over.set()
        for builder in builders:
            builder.join()


def test_scenes_of_one_device_count_their_own_memory() -> None:
    small, large = TriangleScene(*dust(500)), TriangleScene(*dust(5000))
    alone = small.memory_bytes()
    assert large.memory_bytes() > 8 * alone
    large.close()
    assert large.memory_bytes() == 0
    assert small.memory_bytes() == alone
    small.close()


def test_missing_embree_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library.cache_clear()
    try:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingDependencyError, match=r"pip install .*embreex"):
            library()
        empty = type("Spec", (), {"submodule_search_locations": [str(tmp_path / "embreex")]})
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: empty)
        with pytest.raises(MissingDependencyError, match="holds no Embree 4 library"):
            library()
        (tmp_path / "embreex.libs").mkdir()
        (tmp_path / "embreex.libs" / "libembree4.so.4").write_bytes(b"not a library")
        with pytest.raises(MissingDependencyError, match="cannot be used as Embree 4"):
            library()
    finally:
        library.cache_clear()
