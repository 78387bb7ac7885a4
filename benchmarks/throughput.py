"""How fast the simulator renders and the environment steps: measured, each scene in a process of its own.

Rendering is timed at poses drawn on the walkable surface with random headings, whole batches, after a
warm-up; stepping is timed as `env.step` with everything an observation holds, over random walks. Each
figure is the median over repeats. Peak memory is that of the scene's process from its start to its end,
loading and building the surface included.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.machine import provenance
from benchmarks.workers import WorkerError
from poma3d.errors import SettingError, UserError

MAIN_BATCH = 16
"""Poses a call of the row that is called ``render``; other batch sizes are ``render_batch_N``."""


@dataclass(frozen=True)
class ThroughputSettings:
    """What to measure on one scene."""

    scene: str
    """A mesh file or ``procedural:SPLIT:SEED``."""
    size: int = 224
    """Height and width of the point maps, pixels."""
    batches: tuple[int, ...] = (MAIN_BATCH, 1)
    """Poses that one call renders."""
    poses: int = 128
    """Different poses drawn."""
    repeats: int = 5
    """Times every figure is measured; the median counts."""
    seconds: float = 1.0
    """Least duration of one repeat."""
    subdivide_to: int = 0
    """Split triangles until there are at least this many; 0 leaves the mesh as it is."""
    seed: int = 0
    """Of poses and walks."""
    simulator: str = "raycast"
    """One of `envs.simulators.open.BACKENDS` that takes a scene in memory."""

    def __post_init__(self) -> None:
        """Refuse numbers that nothing can be measured with."""
        for name in ("size", "poses", "repeats"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not self.batches or min(self.batches) < 1:
            raise SettingError(f"batches must be at least 1, found {self.batches}")
        if not self.seconds > 0:
            raise SettingError(f"seconds must be above 0, found {self.seconds}")


def measure_throughput(
    settings: Sequence[ThroughputSettings], on_scene: Callable[[str], None] = lambda scene: None
) -> dict[str, Any]:
    """Measure scenes one after another, each in a fresh process.

    Args:
        settings: one for each scene.
        on_scene: told of each scene that is done.

    Returns:
        ``{"rows": [...], "versions": ..., "hardware": ..., "command": ...}``, rows as `measure_scene` gives them.

    Raises:
        UserError: a scene cannot be used, or its process died.
    """
    rows: list[dict[str, Any]] = []
    context = multiprocessing.get_context("spawn")
    for one in settings:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_measure_and_send, args=(theirs, one), daemon=True)
        process.start()
        theirs.close()
        try:
            kind, content = ours.recv()
        except EOFError:
            process.join()
            raise UserError(
                f"{one.scene}: the process that measured it died (exit code {process.exitcode});"
                " is there memory enough?"
            ) from None
        finally:
            if process.is_alive():
                process.join(5.0)
                process.kill()
        if kind == "error":
            raise UserError(content)
        if kind == "defect":
            raise WorkerError(f"{one.scene} could not be measured:\n{content}")
        rows += content
        on_scene(one.scene)
    return {"rows": rows, **provenance()}


def measure_scene(settings: ThroughputSettings) -> list[dict[str, Any]]:
    """Measure one scene in this process.

    Returns:
        Rows with ``scene, triangles, size, what, batch, per_second, threads, peak_rss_mb``: point maps a
        second where ``what`` is ``render`` or ``render_batch_N`` (``render_tensors`` and so on where they stay on
        the device as torch tensors), environment steps a second where it is ``step``. Where the simulator is not
        the built-in one, ``simulator`` names it, and ``device`` what it rendered on, where it says so.
    """
    from envs.embodiment import agent_preset
    from envs.simulators.open import open_scene, open_simulator
    from poma3d.pointmap import Camera

    scene = open_scene(settings.scene)
    if settings.subdivide_to:
        scene = subdivided(scene, settings.subdivide_to)
    camera = Camera(settings.size, settings.size, 90.0)
    agent = agent_preset("pointnav-gibson", camera=camera)
    simulator: Any = open_simulator(scene, agent, settings.simulator)
    kinds = {"render": simulator.render}
    if hasattr(simulator, "render_tensors"):
        kinds["render_tensors"] = lambda *given, **more: _waited_for(simulator.render_tensors(*given, **more))
    with contextlib.closing(simulator):
        rng = np.random.Generator(np.random.Philox(settings.seed))
        poses = random_camera_poses(simulator.surface, settings.poses, agent.camera_height, rng)
        speeds = {}
        for kind, batch in itertools.product(kinds, settings.batches):
            name = kind if batch == MAIN_BATCH else f"{kind}_batch_{batch}"
            parts = [
                poses.take(range(k, k + batch), axis=0, mode="wrap") for k in range(0, len(poses), batch)
            ]

            def render(see: Callable = kinds[kind], parts: list[np.ndarray] = parts) -> tuple[int, float]:
                start = time.perf_counter()
                for part in parts:
                    see(part, camera, depth_range=agent.depth_range)
                return sum(map(len, parts)), time.perf_counter() - start

            speeds[name, batch] = _per_second(render, settings)
        speeds["step", 1] = _per_second(_walk(simulator, agent, settings), settings)
    peak = peak_rss_mb()
    other = {} if settings.simulator == "raycast" else {"simulator": settings.simulator}
    if hasattr(simulator, "device"):
        other["device"] = simulator.device
    return [
        {
            "scene": Path(settings.scene).name,
            "triangles": len(scene.triangles),
            "size": settings.size,
            "what": what,
            "batch": batch,
            "per_second": round(speed, 1),
            "threads": getattr(simulator, "threads", 1),
            "peak_rss_mb": round(peak, 1),
            **other,
        }
        for (what, batch), speed in speeds.items()
    ]


def _waited_for(views: Any) -> None:
    """Return once a GPU has filled what it was asked for; the processor has by then."""
    if views.valid.is_cuda:
        import torch

        torch.cuda.synchronize(views.valid.device)


def subdivided(scene: Any, least: int) -> Any:
    """The scene with its largest triangles split in four, at the middles of their edges.

    The surface stays the same; the number of triangles grows to at least ``least``.
    """
    from dataclasses import replace

    vertices, triangles, owners = scene.vertices, scene.triangles, scene.instance_ids
    while len(triangles) < least:
        corners = vertices[triangles].astype(np.float64)  # (M, 3, 3)
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
        wanted = min(len(triangles), -(-(least - len(triangles)) // 3))  # a split adds three
        split = np.zeros(len(triangles), bool)
        split[np.argsort(-area, kind="stable")[:wanted]] = True
        a, b, c = triangles[split].T  # (K,) each
        edges = np.sort(np.stack([a, b, b, c, c, a], -1).reshape(-1, 2), axis=-1)  # (K, 6) -> (3K, 2)
        unique, middle = np.unique(edges, axis=0, return_inverse=True)
        ab, bc, ca = (len(vertices) + middle.reshape(-1, 3)).T  # (3K,) -> (K, 3) -> (K,) each
        vertices = np.concatenate([vertices, vertices[unique].mean(axis=1, dtype=np.float64)]).astype(
            np.float32
        )
        quarters = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], -1).reshape(
            -1, 3
        )  # (K, 12) -> (4K, 3)
        triangles = np.concatenate([triangles[~split], quarters]).astype(np.int32)
        owners = np.concatenate([owners[~split], np.repeat(owners[split], 4)]).astype(np.int32)
    return replace(scene, vertices=vertices, triangles=triangles, instance_ids=owners)


def random_camera_poses(
    surface: Any, count: int, camera_height: float, rng: np.random.Generator
) -> np.ndarray:
    """Camera poses (count, 4, 4) of an agent at random places of the surface, with random headings."""
    from poma3d.pointmap import rotation_from_heading, world_from_pose

    positions = np.stack([surface.random_navigable_point(rng) for _ in range(count)])
    positions[:, 1] += camera_height
    return world_from_pose(positions, rotation_from_heading(rng.uniform(-np.pi, np.pi, count)))


def peak_rss_mb() -> float:
    """Most memory that this process has held at once, MiB."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):  # ru_maxrss would also count the parent's memory at the fork
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return psutil.Process().memory_info().rss / 2**20


def _walk(simulator: Any, agent: Any, settings: ThroughputSettings) -> Callable[[], tuple[int, float]]:
    """A function that takes random steps in `pomagym/PointNav-v0`; new episodes begin off the clock."""
    import gymnasium

    import envs  # noqa: F401  (makes the names of the environments known)

    env = gymnasium.make(
        "pomagym/PointNav-v0",
        simulator=simulator,
        agent=agent,
        episodes=16,
        seed=settings.seed,
        disable_env_checker=True,
    )
    rng = np.random.Generator(np.random.Philox(settings.seed + 1))
    env.reset()

    def work() -> tuple[int, float]:
        actions = rng.choice([1, 2, 3], size=100, p=[0.6, 0.2, 0.2]).tolist()
        seconds = 0.0
        for action in actions:
            start = time.perf_counter()
            over = env.step(action)[3]
            seconds += time.perf_counter() - start
            if over:
                env.reset()
        return len(actions), seconds

    return work


def _per_second(work: Callable[[], tuple[int, float]], settings: ThroughputSettings) -> float:
    """Median over repeats of how much a function does in a second; it returns (how much, seconds)."""
    work()
    speeds = []
    for _ in range(settings.repeats):
        done, elapsed = 0, 0.0
        while elapsed < settings.seconds:
            count, seconds = work()
            done, elapsed = done + count, elapsed + seconds
        speeds.append(done / elapsed)
    return statistics.median(speeds)


def _measure_and_send(pipe: Any, settings: ThroughputSettings) -> None:
    """Measure in a fresh process and send ("rows", rows), ("error", message) or ("defect", traceback)."""
    try:
        with tempfile.TemporaryDirectory() as empty:
            os.environ["POMAGYM_CACHE"] = (
                empty  # building the surface counts, whether it was built before or not
            )
            answer = ("rows", measure_scene(settings))
    except UserError as error:
        answer = ("error", str(error))
    except Exception:
        answer = ("defect", traceback.format_exc())
    except KeyboardInterrupt:
        return
    pipe.send(answer)
