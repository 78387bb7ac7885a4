"""The built-in simulator: ray casting on the processor with Intel Embree, and our own walkable surface."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


class _Errand:
    """The work of one render, which several threads may share: whoever comes takes the next job until none is left.

    Args:
        work: traces job after job.
        counter: (1,) int64, the next job; kept here, since ``work`` knows its address alone.
    """

    def __init__(self, work: Callable[[], None], counter: np.ndarray) -> None:
        self.work = work
        self._counter = counter
        self._state = threading.Condition()
        self._helping = 0
        self._over = False

    def help(self) -> None:
        """Work along, unless it is over: a helper may come late, or when its render has long been given up."""
        with self._state:
            if self._over:
                return
            self._helping += 1
        try:
            self.work()
        finally:
            with self._state:
                self._helping -= 1
                self._state.notify_all()

    def finish(self) -> None:
        """Wait until nobody helps any more, however often Ctrl-C is pressed: a job takes microseconds."""
        interrupt: KeyboardInterrupt | None = None
        while True:
            try:
                with self._state:
                    self._over = True
                    self._state.wait_for(lambda: self._helping == 0)
                break
            except KeyboardInterrupt as pressed:
                interrupt = pressed
        if interrupt is not None:
            raise interrupt


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
        errand = _Errand(lambda: trace_views(*arguments), counter)
        self._errands.add(errand)
        try:
            for _ in range(min(self.threads, jobs // _JOBS_A_THREAD) - 1):
                # Python takes no work for other threads any more once the main one has ended, nor where none can start.
                with suppress(RuntimeError):
                    _crew(os.getpid()).submit(errand.help)
            errand.work()
        except SystemError as error:
            # what comes of an interrupt at the very moment that numba's code returns
            if isinstance(error.__cause__, KeyboardInterrupt):
                raise error.__cause__ from None
            raise
        finally:
            errand.finish()  # even on Ctrl-C nobody may still trace when the scene or the arrays go
            self._errands.discard(errand)

    def renew_after_fork(self) -> None:
        """Make the locks anew, and forget the threads that were rendering."""
        super().renew_after_fork()
        self._errands: set[_Errand] = set()

    def _geometry_bytes(self) -> int:
        return self._triangles.memory_bytes() + self._instance_of.nbytes

    def _release(self) -> None:
        for errand in list(self._errands):
            # of a render that a signal interrupted, whose handler closes perhaps
            errand.finish()
        self._triangles.close()
        self._instance_of = np.zeros(0, np.int32)
