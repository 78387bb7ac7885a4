"""`pomagym episodes`: make episode files in Habitat's format, and check them; make MSNN samples."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pomagym.msnn_samples import GenerateMsnn
from pomagym.msnn_samples import generate as generate_msnn

if TYPE_CHECKING:
    from envs.episodes import Episode
    from envs.episodes.check import EpisodeCheck
    from envs.simulators.protocol import Surface
    from envs.simulators.shelf import Shelf


@dataclass(frozen=True)
class Generate:
    """Make episodes of scenes and write them as Habitat's PointNav-v1 or ObjectNav-v1 file.

    Starts and goals are drawn by habitat-lab's rules: connected, on one storey, around something; trivial and
    unreachable ones are left out. Episode i depends on the scene, the seed and i alone.

    For example:

        pomagym episodes generate --scene house.glb --count 100 --out val.json.gz
        pomagym episodes generate --task objectnav --scene procedural:val:3 --count 50 --out val.json.gz
    """

    scene: tyro.conf.UseAppendAction[tuple[str, ...]]
    """A mesh file, or procedural:SPLIT[:N] for the first N houses; may be given several times."""
    out: Path
    """The file to write, ending in .json.gz."""
    count: int = 100
    """Episodes of each scene (the number that --episodes of pomagym run takes is the total)."""
    task: str = "pointnav"
    """pointnav or objectnav."""
    categories: tuple[str, ...] = ()
    """What is searched in objectnav, in the order of the ids; default: the six categories of HM3D."""
    seed: int = 0
    """Another seed, other episodes."""
    agent: str | None = None
    """The body that walks; default pointnav-gibson, for objectnav objectnav-hm3d."""
    min_distance: float = 1.0
    """Shortest path at least this long, metres."""
    max_distance: float = 30.0
    """Shortest path at most this long, metres."""
    ratio: float | None = None
    """Ways with a smaller ratio of shortest path to straight line are kept only now and then, in pointnav straight
    ones never; 1 keeps them all, as an empty hall needs. Default 1.1, for objectnav 1.05."""
    scenes_dir: Path | None = None
    """Folder that scene paths are below; the file then names the scenes by their path in it."""
    by_scene: bool = False
    """Write a file for each scene into content/ beside the main one."""
    overwrite: bool = False
    """Replace a file of other episodes; one of the same episodes is never in the way."""
    json: bool = False
    """Print what was written as JSON, alone on standard output."""


@dataclass(frozen=True)
class Check:
    """Check the episodes of a file: scene there, start on the surface, goal reachable, distance right.

    With --navmesh they are checked on both surfaces, the one built from the mesh and Habitat's, side by side.
    Exit code 0 when all are sound, 1 when some are not.

    For example:

        pomagym episodes check val.json.gz
        pomagym episodes check val.json.gz --scenes-dir data/scene_datasets --navmesh beside --json
    """

    file: tyro.conf.Positional[Path]
    """The episode file (.json.gz)."""
    scene: str | None = None
    """A mesh file to check against in place of the scenes that the file names."""
    scenes_dir: Path | None = None
    """Folder that the scenes named in the file lie below; default: the usual places."""
    agent: str | None = None
    """The body that walks: pointnav-gibson or objectnav-hm3d; default: that of the file's task."""
    navmesh: str | None = None
    """Habitat's navmesh to check on as well: a .navmesh file, a folder that holds NAME.navmesh for each scene,
    or beside for those beside the scenes."""
    tolerance: float = 0.02
    """Share by which a recorded distance may differ from the measured one."""
    json: bool = False
    """Print every finding as JSON, alone on standard output."""


Config = (
    Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[GenerateMsnn, tyro.conf.subcommand("msnn")]
)


def execute(config: Generate | Check | GenerateMsnn) -> int:
    """Make or check episodes."""
    if isinstance(config, GenerateMsnn):
        return generate_msnn(config)
    return _generate(config) if isinstance(config, Generate) else _check(config)


def _generate(config: Generate) -> int:
    from envs.episodes import write_episodes
    from envs.episodes.objectnav_generator import HM3D_CATEGORIES, category_tables
    from envs.task_source import list_scenes
    from poma3d.errors import SettingError
    from pomagym.progress import Bar

    if config.task not in ("pointnav", "objectnav"):
        raise SettingError(f"unknown task {config.task!r}; the tasks are pointnav, objectnav")
    if not config.out.name.endswith(".json.gz"):
        raise SettingError(f"episodes are written as .json.gz, found --out {config.out}")
    if config.count < 1:
        raise SettingError(f"at least 1 episode is needed, found --count {config.count}")
    if not config.scene:
        raise SettingError("episodes are generated in scenes: name at least one with --scene")
    scenes = [str(scene) for choice in config.scene for scene in list_scenes(choice)]
    episodes: list[Episode] = []
    with Bar("episodes", config.count * len(scenes)) as bar:
        for scene in scenes:
            made = _episodes_of(config, scene, lambda done: bar.advance())
            episodes += [replace(e, episode_id=str(len(episodes) + k)) for k, e in enumerate(made)]
    categories = None
    if config.task == "objectnav":
        categories = category_tables(config.categories or HM3D_CATEGORIES)
    files = write_episodes(
        config.out,
        episodes,
        categories=categories,
        by_scene=config.by_scene,
        overwrite=config.overwrite,
    )
    distances = [episode.geodesic_distance or 0.0 for episode in episodes]
    if config.json:
        written = {"files": [str(file) for file in files], "episodes": len(episodes), "scenes": len(scenes)}
        print(json.dumps({**written, "geodesic_distance": {"min": min(distances), "max": max(distances)}}))
    else:
        print(
            f"{len(episodes)} episodes in {len(scenes)} scenes, shortest paths of {min(distances):.1f} to"
            f" {max(distances):.1f} m: {', '.join(map(str, files))}"
        )
    return 0


def _episodes_of(config: Generate, scene: str, progress: Callable[[int], None]) -> list[Episode]:
    """The episodes of one scene, which they call by its path below the scenes' folder where that is given."""
    from envs.embodiment import agent_preset
    from envs.episodes.objectnav_generator import HM3D_CATEGORIES, ObjectNavSettings, generate_objectnav
    from envs.episodes.pointnav_generator import PointNavSettings, generate_pointnav
    from envs.simulators.open import open_simulator

    distances: dict[str, Any] = {"min_distance": config.min_distance, "max_distance": config.max_distance}
    if config.ratio is not None:
        distances["ratio"] = config.ratio
    if (
        config.ratio is not None and config.ratio <= 1
    ):  # 0, since rounding puts straight ways on both sides of 1
        distances |= {"ratio": 0.0, "trivial_ratio": 0.0}
    objectnav = config.task == "objectnav"
    agent = agent_preset(config.agent or ("objectnav-hm3d" if objectnav else "pointnav-gibson"))
    simulator = open_simulator(scene, agent, scenes_dir=config.scenes_dir)
    try:
        if not objectnav:
            settings = PointNavSettings(**distances)
            return generate_pointnav(
                simulator, config.count, config.seed, settings, scene_id=scene, progress=progress
            )
        starts = replace(ObjectNavSettings().starts, **distances)
        return generate_objectnav(
            simulator,
            config.count,
            config.seed,
            config.categories or HM3D_CATEGORIES,
            ObjectNavSettings(starts=starts),
            scene_id=scene,
            progress=progress,
        )
    finally:
        simulator.close()


def _check(config: Check) -> int:
    from benchmarks.results import plain
    from envs.embodiment import agent_preset
    from envs.episodes import read_episodes
    from envs.episodes.check import check_on_surfaces
    from envs.episodes.locate import locate_scene
    from envs.simulators.shelf import Shelf
    from poma3d.errors import SettingError
    from pomagym.progress import Bar

    if not 0 <= config.tolerance < math.inf:
        raise SettingError(f"--tolerance must be a share of at least 0, found {config.tolerance}")
    if config.scenes_dir is not None and not config.scenes_dir.is_dir():
        raise SettingError(f"the folder of scenes, {config.scenes_dir}, is not there (--scenes-dir)")
    dataset = read_episodes(config.file)

    def locate(scene_id: str) -> str:
        if config.scene is not None:
            return config.scene
        return locate_scene(scene_id, scenes_dir=config.scenes_dir, episode_file=config.file)

    objectnav = any(episode.object_category is not None for episode in dataset)
    agent = config.agent or ("objectnav-hm3d" if objectnav else "pointnav-gibson")
    shelf = Shelf(agent_preset(agent), "raycast", locate)
    checks = []
    try:
        surfaces = _surfaces(shelf, config.navmesh)
        with Bar("checking", len(dataset)) as bar:
            for found in check_on_surfaces(dataset, surfaces, tolerance=config.tolerance):
                checks.append(found)
                bar.advance()
    finally:
        shelf.close()
    sound = {name: sum(found[name].valid for found in checks) for name in surfaces}
    on_all = sum(all(check.valid for check in found.values()) for found in checks)
    if config.json:
        rows = [
            {"surface": name, **{key: plain(value) for key, value in check.row().items()}}
            for found in checks
            for name, check in found.items()
        ]
        counts = {"episodes": len(checks), "valid": on_all, "surfaces": sound}
        print(json.dumps({**counts, "findings": rows}, indent=2, allow_nan=False))
        return 0 if on_all == len(checks) else 1
    for line in _problem_lines(checks):
        print(line)
    if len(surfaces) > 1:
        for name, count in sound.items():
            print(f"{count} of {len(checks)} episodes are sound on the {name} surface")
    print(f"{on_all} of {len(checks)} episodes are sound{' on both' * (len(surfaces) > 1)}: {config.file}")
    return 0 if on_all == len(checks) else 1


def _problem_lines(checks: list[dict[str, EpisodeCheck]]) -> list[str]:
    """A line for each unsound episode; for what is wrong with a whole scene one line, however many episodes."""
    from envs.episodes.check import SCENE_PROBLEMS

    alike: dict[tuple[str, tuple[str, ...]], list[EpisodeCheck]] = {}
    for number, found in enumerate(checks):
        for name, check in found.items():
            whole_scene = check.problems[:1] and check.problems[0].startswith(SCENE_PROBLEMS)
            key = check.problems if whole_scene else (str(number),)
            if not check.valid:
                alike.setdefault((name, key), []).append(check)
    lines = []
    for (name, _), group in alike.items():
        where = f" ({name} surface)" if len(checks[0]) > 1 else ""
        scenes = len({check.scene_id for check in group})
        which = f"{group[0].scene_id}, episode {group[0].episode_id}{where}"
        if len(group) > 1:
            some = f" of {scenes} scenes" if scenes > 1 else ""
            which = f"{len(group)} episodes{some}, the first {which}"
        lines.append(f"{which}: {'; '.join(group[0].problems)}")
    return lines


def _surfaces(shelf: Shelf, navmesh: str | None) -> dict[str, Callable[[str], Surface]]:
    """From scene ids to surfaces: those built from the meshes and, where one is chosen, Habitat's."""
    import functools

    def built(scene_id: str) -> Surface:
        return shelf.simulator(scene_id).surface

    if navmesh is None:
        return {"built": built}

    @functools.lru_cache(maxsize=4)
    def theirs(scene_id: str) -> Surface:
        from envs.simulators.navmesh_choice import chosen_surface
        from envs.simulators.raycast import RaycastSimulator

        simulator = shelf.simulator(scene_id)
        assert isinstance(simulator, RaycastSimulator)
        return chosen_surface(navmesh, simulator.scene)

    return {"built": built, "navmesh": theirs}
