"""From a path or a procedural id to a scene and a simulator: the one place that chooses a backend."""

from __future__ import annotations

import os

from envs.embodiment import AgentSpec
from envs.episodes.locate import PROCEDURAL_PREFIX, locate_scene
from envs.scenes.scene import Scene
from envs.simulators.habitat_install import require_habitat_sim
from envs.simulators.protocol import Simulator, Surface
from poma3d.errors import SettingError

BACKENDS = ("raycast", "habitat", "warp")
"""Names of the simulators: the built-in one; where they are installed, real Habitat and ray casting on a GPU."""

SceneSpec = str | os.PathLike[str] | Scene
"""A mesh file, ``procedural:SPLIT:SEED``, or a scene."""


def open_scene(spec: SceneSpec, scenes_dir: str | os.PathLike[str] | None = None) -> Scene:
    """Load or generate a scene.

    Args:
        spec: a mesh file, ``procedural:SPLIT:SEED``, or a scene, which is returned as it is.
        scenes_dir: where relative paths are looked for, as `envs.episodes.locate.locate_scene` says.

    Raises:
        EpisodeError: the scene is absent.
        FileError, SceneError: it cannot be used.
        SettingError: a procedural id of another form.
    """
    if isinstance(spec, Scene):
        return spec
    name = os.fspath(spec)
    if name.startswith(PROCEDURAL_PREFIX):
        from envs.scenes.houses import house

        return house(name)
    from envs.scenes.mesh import load_scene

    return load_scene(locate_scene(name, scenes_dir=scenes_dir))


def open_simulator(
    spec: SceneSpec,
    agent: AgentSpec | None = None,
    backend: str = "raycast",
    *,
    navmesh: str | os.PathLike[str] | None = None,
    scenes_dir: str | os.PathLike[str] | None = None,
) -> Simulator:
    """Make a simulator of a scene.

    Args:
        spec: what `open_scene` takes.
        agent: the body that walks; habitat-lab's by default.
        backend: one of `BACKENDS`.
        navmesh: Habitat's navmesh to walk on instead of a surface made from the scene: a ``.navmesh`` file, a
            folder that holds ``NAME.navmesh``, or ``beside`` for the one beside the scene.
        scenes_dir: where relative paths are looked for.

    Raises:
        SettingError: an unknown backend.
        MissingDependencyError: the backend is not installed; the message holds the command that installs it.
        EpisodeError, FileError, SceneError: as `open_scene`.
    """
    agent = agent or AgentSpec()
    if backend == "raycast":
        from envs.simulators.raycast import RaycastSimulator

        scene = open_scene(spec, scenes_dir)
        return RaycastSimulator(scene, agent, surface=_read_surface(navmesh, scene))
    if backend == "warp":
        from envs.simulators.warp_install import choose_device
        from envs.simulators.warp_raycast import WarpSimulator

        device = choose_device()  # before a large scene is read for nothing
        scene = open_scene(spec, scenes_dir)
        return WarpSimulator(scene, agent, surface=_read_surface(navmesh, scene), device=device)
    if backend == "habitat":
        return _open_habitat(spec, agent, navmesh, scenes_dir)
    raise SettingError(f"unknown simulator {backend!r}; the simulators are {', '.join(BACKENDS)}")


def _read_surface(navmesh: str | os.PathLike[str] | None, scene: Scene) -> Surface | None:
    if navmesh is None:
        return None
    from envs.simulators.navmesh_choice import chosen_surface

    return chosen_surface(navmesh, scene)


def _open_habitat(
    spec: SceneSpec,
    agent: AgentSpec,
    navmesh: str | os.PathLike[str] | None,
    scenes_dir: str | os.PathLike[str] | None,
) -> Simulator:
    require_habitat_sim()
    from envs.simulators.habitat import HabitatSimulator

    if isinstance(spec, Scene):
        raise SettingError("the simulator 'habitat' needs the path of a scene file, not a scene in memory")
    name = os.fspath(spec)
    path = name if name.startswith(PROCEDURAL_PREFIX) else locate_scene(name, scenes_dir=scenes_dir)
    if navmesh is not None:
        from envs.simulators.navmesh_choice import navmesh_file

        navmesh = navmesh_file(navmesh, path)
    return HabitatSimulator(path, agent, navmesh=navmesh)
