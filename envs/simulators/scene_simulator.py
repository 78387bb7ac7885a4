"""What our own simulators share: a scene, where one walks in it, what `render` refuses, and an orderly end."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from envs.embodiment import AgentSpec
from envs.scenes.scene import Instance, Scene
from envs.simulators.pinhole import BODY_FROM_OPENCV
from envs.simulators.protocol import Surface, Views
from envs.simulators.render_arguments import SimulatorClosedError, checked_depth_range, rigid_transforms
from envs.simulators.walkable.cache import scene_navmesh
from envs.simulators.walkable.surface import NavmeshSurface
from poma3d.errors import SettingError
from poma3d.forks import renew_after_forks
from poma3d.pointmap import Camera

Kind = TypeVar("Kind", bound="SceneSimulator")


@dataclass(frozen=True)
class Shot:
    """A batch of views to trace, its arguments checked."""

    camera: Camera
    """Pixels and field of view."""
    world_from_camera: np.ndarray
    """(B, 4, 4) float64, from cameras with OpenCV's axes."""
    frame_from_camera: np.ndarray
    """(B, 4, 4) float64, from the same to the frame of the answer."""
    depth_range: tuple[float, float]
    """Nearest and farthest z-depth kept, metres."""


class SceneSimulator(ABC):
    """One scene, seen and walked in by one kind of agent. A ray caster fills in how views are traced.

    Args:
        scene: geometry and semantics.
        agent: the body; the surface is made for its size.
        surface: where it can walk; None builds (or loads from the cache) the surface when it is first asked
            for.
        cull_back_faces: surfaces are invisible from behind, as in Habitat.
    """

    def __init__(
        self, scene: Scene, agent: AgentSpec | None, surface: Surface | None, cull_back_faces: bool
    ) -> None:
        self.scene_id: str = scene.scene_id
        self.instances: Sequence[Instance] = scene.instances
        self.agent = agent or AgentSpec()
        self.cull_back_faces = cull_back_faces
        self._scene: Scene | None = scene
        self._surface = surface
        self._closed = False
        self.renew_after_fork()
        renew_after_forks(self)

    def renew_after_fork(self) -> None:
        """Make the locks anew, and forget the threads that were rendering."""
        self._surface_lock = threading.Lock()
        self._state = threading.Condition()
        self._rendering: set[int] = set()  # idents of threads

    @abstractmethod
    def _trace(self, shot: Shot, views: Views) -> None:
        """Fill the arrays of ``views``, of at least one view; the simulator stays open meanwhile."""

    @abstractmethod
    def _geometry_bytes(self) -> int:
        """Bytes of the triangles and what was built to trace them."""

    @abstractmethod
    def _release(self) -> None:
        """Give the geometry back; nobody renders any more. May be called twice."""

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
        shot = checked_shot(world_from_camera, camera, frame_from_world, depth_range)
        batch = len(shot.world_from_camera)
        height, width = camera.height, camera.width
        views = Views(
            np.empty((batch, height, width, 3), np.float32),
            np.empty((batch, height, width), np.bool_),
            np.empty((batch, height, width), np.int32) if instances else None,
        )
        if batch:
            with self._held_open():
                self._trace(shot, views)
        return views

    def __copy__(self: Kind) -> Kind:
        """Itself, as by `copy.deepcopy`."""
        return self

    def __deepcopy__(self: Kind, memo: dict) -> Kind:
        """Itself: settings that hold a simulator may be copied (Gymnasium's checker does), threads cannot be."""
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse `pickle`: another process opens the scene for itself."""
        raise SettingError(
            f"the simulator of {self.scene_id} cannot be pickled; open the scene in the process that uses it, or"
            " give the environment the scene instead of a simulator"
        )

    def memory_bytes(self) -> int:
        """Bytes held: geometry, ray-tracing structure, and the surface once it is built; 0 when closed."""
        if self._scene is None:
            return 0
        return self._geometry_bytes() + self._scene.vertices.nbytes + getattr(self._surface, "nbytes", 0)

    def close(self) -> None:
        """Give everything back, once the renders under way have ended. May be called twice."""
        with self._state:
            self._closed = True
            # Whoever closes does not render: what its thread left behind when it was interrupted does not count.
            self._state.wait_for(lambda: self._rendering <= {threading.get_ident()})
            self._release()
        with self._surface_lock:
            self._scene = self._surface = None

    def __enter__(self: Kind) -> Kind:
        """The simulator itself; it is closed when the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the simulator."""
        self.close()

    @contextmanager
    def _held_open(self) -> Iterator[None]:
        """A block during which `close` waits."""
        with self._state:
            if self._closed:
                raise self._closed_error()
            self._rendering.add(threading.get_ident())
        try:
            yield
        finally:
            with self._state:
                self._rendering.discard(threading.get_ident())
                self._state.notify_all()

    def _closed_error(self) -> SimulatorClosedError:
        return SimulatorClosedError(
            f"the simulator of {self.scene_id} has been closed; make a new one to go on"
        )


def checked_shot(
    world_from_camera: np.ndarray,
    camera: Camera,
    frame_from_world: np.ndarray | None,
    depth_range: tuple[float, float],
) -> Shot:
    """The arguments of ``render``, checked, with both transforms from the camera composed in float64.

    Raises:
        SettingError: poses or transforms of another shape or not finite, or a depth range that is none.
    """
    poses = rigid_transforms("world_from_camera", world_from_camera)
    nearest_farthest = checked_depth_range(depth_range)
    from_camera = poses @ BODY_FROM_OPENCV
    if frame_from_world is None:
        to_frame = from_camera
    else:
        to_frame = rigid_transforms("frame_from_world", frame_from_world, len(poses)) @ from_camera
    return Shot(camera, from_camera, to_frame, nearest_farthest)
