"""Real Habitat as a simulator: habitat-sim 0.3.4 renders the depth and finds the paths.

Every name of habitat-sim that is used stands, with the file its signature was checked in, in
``docs/habitat_calls.md`` and in the type stubs ``typings/habitat_sim``. What needs no habitat-sim is in
`envs.simulators.habitat_arguments` and `envs.simulators.habitat_install`.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from envs.embodiment import AgentSpec
from envs.episodes.locate import PROCEDURAL_PREFIX
from envs.scenes.scene import NO_INSTANCE, Instance
from envs.simulators.habitat_arguments import (
    HabitatScene,
    describe_scene,
    instance_ids_from_semantics,
    instances_from_objects,
    navmesh_fields,
    positions_and_rotations,
    views_from_depth,
)
from envs.simulators.habitat_install import choose_gpu_device, require_habitat_sim
from envs.simulators.habitat_surface import RAND_LOCK, HabitatSurface
from envs.simulators.own_thread import OwnThread
from envs.simulators.protocol import Surface, Views
from envs.simulators.render_arguments import SimulatorClosedError, checked_depth_range, rigid_transforms
from poma3d.errors import FileError, SceneError
from poma3d.pointmap import Camera

if TYPE_CHECKING:
    import habitat_sim

_BODIES = 16
"""Bodies put into every scene: a sensor cannot be taken away, so each camera gets a body of its own, and only
the body that is asked draws. Beyond this many cameras bodies are shared, which costs time alone. One more body
has a camera that never draws, since habitat-sim chooses what it loads by the cameras it starts with."""

_SensorKey = tuple[Camera, bool]


class HabitatSimulator:
    """`envs.simulators.protocol.Simulator` on habitat-sim: one scene, one kind of agent.

    habitat-sim's OpenGL context belongs to the thread that made it, so every simulator has a thread of its
    own on which it renders; any thread may ask, one is served at a time. The world is that of our own loader,
    also for a ``.glb`` without a stage configuration. Instances are those of habitat-sim's semantic scene:
    HM3D, Matterport3D, Gibson and Replica have them; the names of nodes, which our loader reads, it does not.

    Args:
        scene: a mesh file, a ``.stage_config.json``, a ``.scene_instance.json`` or ``procedural:SPLIT:SEED``.
        agent: the body; habitat-lab's by default.
        navmesh: the ``.navmesh`` to walk on. None takes the one that belongs to the scene if it was made with
            the agent's settings, and else has habitat-sim compute one, as habitat-lab does.
        gpu_device_id: CUDA device to render on, -1 for the processor; None decides
            (`envs.simulators.habitat_install.choose_gpu_device`).

    Raises:
        MissingDependencyError: habitat-sim is not installed; the message holds the command that installs it.
        FileError: a file is missing or damaged.
        SceneError: habitat-sim cannot use the scene.
        SettingError: no such device can be.
    """

    def __init__(
        self,
        scene: str | os.PathLike[str],
        agent: AgentSpec | None = None,
        *,
        navmesh: str | os.PathLike[str] | None = None,
        gpu_device_id: int | None = None,
    ) -> None:
        require_habitat_sim()
        self.scene_id: str = os.fspath(scene)
        self.agent = agent or AgentSpec()
        self.gpu_device_id = choose_gpu_device(gpu_device_id)
        """What habitat-sim was told to render on; -1 is the processor."""
        if navmesh is not None and not Path(navmesh).is_file():
            raise FileError(navmesh, "there is no such file")
        self._folder = tempfile.TemporaryDirectory(prefix="pomagym-habitat-")
        self._thread = OwnThread(f"habitat-sim {self.scene_id}")
        self._lock = threading.Lock()
        self._bodies: dict[_SensorKey, int] = {}
        self._sim: habitat_sim.Simulator | None = None
        self._surface: HabitatSurface | None = None
        started: list[habitat_sim.Simulator] = []
        self._finalizer = weakref.finalize(self, _close, self._thread, started, self._folder)
        before = psutil.Process().memory_info().rss
        try:
            described = describe_scene(
                _file_of(self.scene_id, Path(self._folder.name)), Path(self._folder.name)
            )
            self._sim = self._thread.call(_open, described, self.agent, self.gpu_device_id)
            started.append(self._sim)
            found = self._thread.call(_semantic_objects, self._sim)
            self.instances: Sequence[Instance]
            self.instances, self._index_of = instances_from_objects(found)
            pathfinder = self._thread.call(_load_navmesh, self._sim, self.agent, described.navmesh, navmesh)
            self._surface = HabitatSurface(pathfinder)
        except BaseException:
            self._finalizer()
            raise
        grown = psutil.Process().memory_info().rss - before
        self._bytes = max(grown, described.file_bytes)

    @property
    def surface(self) -> Surface:
        """Where the agent can walk, by habitat-sim's path finder.

        Raises:
            SimulatorClosedError: the simulator has been closed.
        """
        if self._surface is None:
            raise self._closed_error()
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
        """Render point maps; see `envs.simulators.protocol.Simulator.render`.

        habitat-sim cuts at its near plane, 1 cm, and reads nothing beyond its far plane, 1 km.

        Raises:
            SettingError: poses or transforms of another shape or not finite or no rigid motion, or a depth
                range that is none.
            SimulatorClosedError: the simulator has been closed.
        """
        poses = rigid_transforms("world_from_camera", world_from_camera)
        to_frame = None
        if frame_from_world is not None:
            to_frame = rigid_transforms("frame_from_world", frame_from_world, len(poses))
        kept = checked_depth_range(depth_range)
        with self._lock:
            if self._sim is None:
                raise self._closed_error()
            depth = self._thread.call(self._draw, poses, camera, False)
            semantic = self._thread.call(self._draw, poses, camera, True) if self._sees(instances) else None
        point_map, valid = views_from_depth(depth, camera, poses, to_frame, kept)
        ids = None
        if semantic is not None:
            ids = instance_ids_from_semantics(semantic, valid, self._index_of)
        elif instances:
            ids = np.full(valid.shape, NO_INSTANCE, np.int32)
        return Views(point_map, valid, ids)

    def memory_bytes(self) -> int:
        """How much the process grew while the scene was loaded, at least the size of its file; 0 when closed.

        habitat-sim does not say what it holds.
        """
        return 0 if self._sim is None else self._bytes

    def close(self) -> None:
        """Give everything back. May be called twice."""
        with self._lock:
            self._sim = self._surface = None
            self._finalizer()

    def __enter__(self) -> HabitatSimulator:
        """The simulator itself; it is closed when the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the simulator."""
        self.close()

    def _closed_error(self) -> SimulatorClosedError:
        return SimulatorClosedError(
            f"the simulator of {self.scene_id} has been closed; make a new one to go on"
        )

    def _sees(self, instances: bool) -> bool:
        return instances and len(self.instances) > 0

    def _draw(self, poses: np.ndarray, camera: Camera, semantic: bool) -> np.ndarray:
        """What the camera sees from every pose (B, H, W): z-depth float32 or semantic ids; on our thread."""
        import habitat_sim

        assert self._sim is not None
        key = (camera, semantic)
        if key not in self._bodies:
            self._bodies[key] = len(self._bodies) % _BODIES
            self._sim.add_sensor(_sensor(key), self._bodies[key])
        body, uuid = self._bodies[key], _uuid(key)
        seen = np.empty((len(poses), camera.height, camera.width), np.uint32 if semantic else np.float32)
        agent = self._sim.get_agent(body)
        for index, (position, rotation) in enumerate(zip(*positions_and_rotations(poses), strict=True)):
            agent.set_state(habitat_sim.AgentState(position=position, rotation=rotation))
            seen[index] = self._sim.get_sensor_observations(body)[uuid]
        return seen


def _file_of(scene: str, folder: Path) -> Path:
    """The file of a scene; a procedural house is written to ``folder``."""
    if not scene.startswith(PROCEDURAL_PREFIX):
        return Path(scene)
    from envs.scenes.houses import house
    from envs.scenes.mesh import save_scene

    path = folder / "house.glb"
    save_scene(house(scene), path)
    return path


def _open(scene: HabitatScene, agent: AgentSpec, gpu_device_id: int) -> habitat_sim.Simulator:
    """Start habitat-sim on a scene, with a body for every camera to come."""
    import habitat_sim

    backend = habitat_sim.SimulatorConfiguration()
    backend.scene_id = scene.scene_id
    backend.scene_dataset_config_file = scene.dataset
    backend.gpu_device_id = gpu_device_id
    backend.enable_physics = False
    backend.allow_sliding = agent.allow_sliding
    backend.load_semantic_mesh = True
    bodies = [
        habitat_sim.AgentConfiguration(height=agent.height, radius=agent.radius) for _ in range(_BODIES)
    ]
    first = _sensor((Camera(8, 8), False), "first")
    if scene.textures:
        first.sensor_type = habitat_sim.SensorType.COLOR
    bodies.append(habitat_sim.AgentConfiguration(sensor_specifications=[first]))
    try:
        with RAND_LOCK:  # a new simulator seeds and draws
            return habitat_sim.Simulator(habitat_sim.Configuration(backend, bodies))
    except Exception as error:  # pybind11 hands on whatever C++ throws
        raise SceneError(f"habitat-sim cannot load {scene.scene_id}: {error}") from error


def _sensor(key: _SensorKey, uuid: str | None = None) -> habitat_sim.CameraSensorSpec:
    """A camera at its body's origin, looking along the body's -z: the body's pose is the camera's."""
    import habitat_sim

    camera, semantic = key
    spec = habitat_sim.CameraSensorSpec()
    spec.uuid = uuid or _uuid(key)
    spec.sensor_type = habitat_sim.SensorType.SEMANTIC if semantic else habitat_sim.SensorType.DEPTH
    spec.resolution = [int(camera.height), int(camera.width)]
    spec.hfov = float(camera.hfov)
    spec.position = [0.0, 0.0, 0.0]
    spec.orientation = [0.0, 0.0, 0.0]
    return spec


def _uuid(key: _SensorKey) -> str:
    camera, semantic = key
    return f"{'semantic' if semantic else 'depth'}-{camera.height}x{camera.width}-{camera.hfov!r}"


def _semantic_objects(sim: habitat_sim.Simulator) -> list[tuple[int, str, str | None]]:
    """Semantic id, category and region of every object that habitat-sim knows by name."""
    found: list[tuple[int, str, str | None]] = []
    scene = sim.semantic_scene
    for thing in scene.objects if scene is not None else []:
        if thing is not None and thing.category is not None:
            region = thing.region.id if thing.region is not None else None
            found.append((int(thing.semantic_id), thing.category.name(), region))
    return found


def _load_navmesh(
    sim: habitat_sim.Simulator, agent: AgentSpec, own: Path | None, given: str | os.PathLike[str] | None
) -> habitat_sim.PathFinder:
    """Load the navmesh that was given, or the scene's own if it fits the body, else compute one."""
    import habitat_sim

    pathfinder = sim.pathfinder
    if given is not None:
        if not pathfinder.load_nav_mesh(os.fspath(given)):
            raise FileError(given, "habitat-sim cannot read it as a navmesh")
        return pathfinder
    settings = habitat_sim.NavMeshSettings()
    settings.set_defaults()
    for name, value in navmesh_fields(agent.navmesh_settings).items():
        setattr(settings, name, value)
    if (
        own is not None
        and pathfinder.load_nav_mesh(os.fspath(own))
        and pathfinder.nav_mesh_settings == settings
    ):
        return pathfinder
    if not sim.recompute_navmesh(pathfinder, settings):
        raise SceneError("habitat-sim finds no floor in the scene that the agent could stand on")
    return pathfinder


def _close(
    thread: OwnThread, started: list[habitat_sim.Simulator], folder: tempfile.TemporaryDirectory[str]
) -> None:
    """Close habitat-sim on its own thread, then everything else."""
    while started:
        thread.call(started.pop().close)
    thread.stop()
    folder.cleanup()
