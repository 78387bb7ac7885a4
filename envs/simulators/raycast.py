"""The built-in simulator: ray casting on the processor with Intel Embree, and our own walkable surface."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from envs.embodiment import AgentSpec
from envs.scenes.scene import Instance, Scene
from envs.simulators.embree import TriangleScene
from envs.simulators.packets import jobs_per_view, view_tracer
from envs.simulators.protocol import Surface, Views
from envs.simulators.render_arguments import SimulatorClosedError, checked_depth_range, rigid_transforms
from envs.simulators.walkable.cache import scene_navmesh
from envs.simulators.walkable.surface import NavmeshSurface
from poma3d.errors import SettingError
from poma3d.pointmap import Camera

_BODY_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
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


@functools.lru_cache(maxsize=64)
def _ray_slopes(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Rays at z = 1: x (W,) of every column and y (H,) of every row, which a pinhole keeps apart."""
    rays = camera.rays()
    return np.ascontiguousarray(rays[0, :, 0]), np.ascontiguousarray(rays[:, 0, 1])


class RaycastSimulator:
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
        self.scene_id: str = scene.scene_id
        self.instances: Sequence[Instance] = scene.instances
        self.agent = agent or AgentSpec()
        self.threads = threads or available_cores()
        self.cull_back_faces = cull_back_faces
        self._scene: Scene | None = scene
        self._surface = surface
        self._surface_lock = threading.Lock()
        self._instance_of = np.ascontiguousarray(scene.instance_ids, dtype=np.int32)
        self._triangles = TriangleScene(scene.vertices, scene.triangles, cull_back_faces=cull_back_faces)
        self._rendering = 0
        self._closed = False
        self._state = threading.Condition()

    @property
    def scene(self) -> Scene:
        """The scene that is simulated.

        Raises:
            SimulatorClosedError: the simulator has been closed.
        """
        if self._scene is None:
            raise self._closed_error()
        return self._scene

    @property
    def surface(self) -> Surface:
        """Where the agent can walk; built, or loaded from the cache, when first asked for.

        Raises:
            SceneError: the scene has no floor that the agent could stand on.
            SimulatorClosedError: the simulator has been closed.
        """
        with self._surface_lock:
            scene = self.scene
            if self._surface is None:
                self._surface = NavmeshSurface(scene_navmesh(scene, self.agent.navmesh_settings))
            return self._surface

    def render(
        self,
        world_from_camera: np.ndarray,
        camera: Camera,
        *,
        frame_from_world: np.ndarray | None = None,
        depth_range: tuple[float, float] = (0.0, float("inf")),
        instances: bool = False,
    ) -> Views:
        """Render point maps.

        Args:
            world_from_camera: (B, 4, 4) camera poses with Habitat's body axes (x right, y up, looking along
                -z).
            camera: pixels and field of view, the same for the batch.
            frame_from_world: (4, 4) or (B, 4, 4) rigid transforms from the world to the frame of the answer
                (`poma3d.pointmap.frame_from_world`); None = world.
            depth_range: nearest and farthest z-depth kept, metres; what lies nearer still hides what is
                behind it.
            instances: also return instance ids.

        Returns:
            `Views` of new arrays, which belong to the caller.

        Raises:
            SettingError: poses or transforms of another shape or not finite, or a depth range that is none.
            SimulatorClosedError: the simulator has been closed.
        """
        poses = rigid_transforms("world_from_camera", world_from_camera)
        batch = len(poses)
        nearest, farthest = checked_depth_range(depth_range)
        from_camera = poses @ _BODY_FROM_OPENCV
        if frame_from_world is None:
            to_frame = from_camera
        else:
            to_frame = rigid_transforms("frame_from_world", frame_from_world, batch) @ from_camera
        height, width = camera.height, camera.width
        views = Views(
            np.empty((batch, height, width, 3), np.float32),
            np.empty((batch, height, width), np.bool_),
            np.empty((batch, height, width), np.int32) if instances else None,
        )
        if batch:
            self._trace(camera, from_camera, to_frame, (nearest, farthest), views)
        return views

    def __deepcopy__(self, memo: dict) -> RaycastSimulator:
        """Itself: settings that hold a simulator may be copied (Gymnasium's checker does), threads cannot be."""
        return self

    def memory_bytes(self) -> int:
        """Bytes held: geometry, ray-tracing structure, and the surface once it is built; 0 when closed."""
        if self._scene is None:
            return 0
        shared = self._scene.vertices.nbytes + self._instance_of.nbytes
        return self._triangles.memory_bytes() + shared + getattr(self._surface, "nbytes", 0)

    def close(self) -> None:
        """Give everything back, once the renders under way have ended. May be called twice."""
        with self._state:
            self._closed = True
            self._state.wait_for(lambda: self._rendering == 0)
            self._triangles.close()
        with self._surface_lock:
            self._scene = self._surface = None
            self._instance_of = np.zeros(0, np.int32)

    def __enter__(self) -> RaycastSimulator:
        """The simulator itself; it is closed when the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the simulator."""
        self.close()

    def _closed_error(self) -> SimulatorClosedError:
        return SimulatorClosedError(
            f"the simulator of {self.scene_id} has been closed; make a new one to go on"
        )

    def _trace(
        self,
        camera: Camera,
        from_camera: np.ndarray,
        to_frame: np.ndarray,
        depth_range: tuple[float, float],
        views: Views,
    ) -> None:
        """Fill ``views`` on this thread and as many of the crew as there is work for."""
        with self._state:
            if self._closed:
                raise self._closed_error()
            self._rendering += 1
        try:
            traced = self._triangles
            counter = np.zeros(1, np.int64)
            ids = views.instance_ids
            arguments = (
                counter.ctypes.data,
                traced.scene_address,
                traced.trace_address,
                traced.arguments_address,
                *_ray_slopes(camera),
                from_camera,
                to_frame,
                *depth_range,
                self._instance_of,
                views.point_map,
                views.valid,
                np.empty((0, 1, 1), np.int32) if ids is None else ids,
            )
            trace_views = view_tracer(traced.packet_size)
            jobs = len(from_camera) * jobs_per_view(traced.packet_size, camera.height, camera.width)
            crew = _crew(os.getpid())
            helpers: list[Future[None]] = [
                crew.submit(trace_views, *arguments)
                for _ in range(min(self.threads, jobs // _JOBS_A_THREAD) - 1)
            ]
            try:
                trace_views(*arguments)
            finally:  # even on Ctrl-C nobody may still trace when the scene or the arrays go
                for helper in helpers:
                    if not helper.cancel():  # one that has not begun would find no job left
                        helper.result()
        finally:
            with self._state:
                self._rendering -= 1
                self._state.notify_all()
