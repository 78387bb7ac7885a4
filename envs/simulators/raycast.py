"""The built-in simulator: ray casting on the processor with Intel Embree, and our own walkable surface."""

from __future__ import annotations

import functools
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from envs.embodiment import AgentSpec
from envs.scenes.scene import Scene
from envs.simulators.embree import TriangleScene
from envs.simulators.packets import jobs_per_view, view_tracer
from envs.simulators.pinhole import ray_slopes
from envs.simulators.protocol import Surface, Views
from envs.simulators.render_arguments import SimulatorClosedError as SimulatorClosedError  # known here too
from envs.simulators.scene_simulator import SceneSimulator, Shot
from poma3d.errors import SettingError

_JOBS_A_THREAD = 8
"""Fewest jobs worth another thread: a job takes some 25 microseconds, waking a thread twice that."""


THREADS_VARIABLE = "POMAGYM_THREADS"
"""Environment variable with the most threads that rendering takes, for processes that share a machine."""


def available_cores() -> int:
    """Processor cores that this process may use; at most `THREADS_VARIABLE`, where that is set."""
    limit = os.environ.get(THREADS_VARIABLE, "")
    if limit.isdigit() and int(limit) > 0:
        return min(int(limit), _cores())
    return _cores()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


@functools.cache
def _crew(process_id: int) -> ThreadPoolExecutor:
    """The threads that help to render, shared by every simulator of the process; started when first needed.

    Threads do not survive a fork, hence one crew for each process id.
    """
    return ThreadPoolExecutor(max_workers=max(64, available_cores()), thread_name_prefix="raycast")


class RaycastSimulator(SceneSimulator):
    """One scene, seen and walked in by one kind of agent. Implements `envs.simulators.protocol.Simulator`.

    Rays see what habitat-sim's depth camera sees: surfaces from their front only, so that a two-sided wall is
    two triangles, one wound each way. Any number of Python threads may render at once, and several simulators
    may live in one process.

    Args:
        scene: geometry and semantics.
        agent: the body; the surface is made for its size.
        surface: where it can walk; None builds (or loads from the cache) the surface when it is first asked
            for.
        threads: most threads that one call of `render` runs on; None takes every core the process may use.
        cull_back_faces: surfaces are invisible from behind, as in Habitat; False shows both sides.

    Raises:
        MissingDependencyError: there is no Embree for this machine; the message holds the command that
            installs it.
        SceneError: the triangles do not fit in memory.
        SettingError: a number of threads below 1.
    """

    def __init__(
        self,
        scene: Scene,
        agent: AgentSpec | None = None,
        *,
        surface: Surface | None = None,
        threads: int | None = None,
        cull_back_faces: bool = True,
    ) -> None:
        if threads is not None and threads < 1:
            raise SettingError(f"a simulator needs at least 1 thread, found threads={threads}")
        super().__init__(scene, agent, surface, cull_back_faces)
        self.threads = threads or available_cores()
        self._instance_of = np.ascontiguousarray(scene.instance_ids, dtype=np.int32)
        self._triangles = TriangleScene(scene.vertices, scene.triangles, cull_back_faces=cull_back_faces)

    def _trace(self, shot: Shot, views: Views) -> None:
        """Fill ``views`` on this thread and as many of the crew as there is work for."""
        traced = self._triangles
        camera, ids = shot.camera, views.instance_ids
        counter = np.zeros(1, np.int64)
        arguments = (
            counter.ctypes.data,
            traced.scene_address,
            traced.trace_address,
            traced.arguments_address,
            *ray_slopes(camera),
            shot.world_from_camera,
            shot.frame_from_camera,
            *shot.depth_range,
            self._instance_of,
            views.point_map,
            views.valid,
            np.empty((0, 1, 1), np.int32) if ids is None else ids,
        )
        trace_views = view_tracer(traced.packet_size)
        jobs = len(views.valid) * jobs_per_view(traced.packet_size, camera.height, camera.width)
        helpers: list[Future[None]] = []
        try:
            for _ in range(min(self.threads, jobs // _JOBS_A_THREAD) - 1):
                # Python takes no work for other threads any more once the main one has ended, nor where none can start.
                with suppress(RuntimeError):
                    helpers.append(_crew(os.getpid()).submit(trace_views, *arguments))
            trace_views(*arguments)
        except (
            SystemError
        ) as error:  # what comes of an interrupt at the very moment that numba's code returns
            if isinstance(error.__cause__, KeyboardInterrupt):
                raise error.__cause__ from None
            raise
        finally:  # even on Ctrl-C nobody may still trace when the scene or the arrays go
            for helper in helpers:
                if not helper.cancel():  # one that has not begun would find no job left
                    helper.result()

    def _geometry_bytes(self) -> int:
        return self._triangles.memory_bytes() + self._instance_of.nbytes

    def _release(self) -> None:
        self._triangles.close()
        self._instance_of = np.zeros(0, np.int32)
