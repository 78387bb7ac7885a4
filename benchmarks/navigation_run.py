"""What a navigation run is: the settings that decide its numbers, its environment and its episodes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.results import config_sha256
from benchmarks.workers import Job
from envs.scene_digests import scene_digests
from policies.loading import open_policy, policy_label, policy_sha256
from poma3d.errors import FileError, SettingError

TASKS = {"pointnav": "pomagym/PointNav-v0", "objectnav": "pomagym/ObjectNav-v0"}
"""Environment of each task."""
AGENTS = {"pointnav": "pointnav-gibson", "objectnav": "objectnav-hm3d"}
"""The body that the published benchmark of each task uses."""


@dataclass(frozen=True)
class NavigationRun:
    """What decides the numbers of a run, and nothing else: its hash is that of the results."""

    scene: str | None = None
    """A mesh file or ``procedural:SPLIT[:N]``; None where the episodes name their scenes."""
    episodes: str | int = 20
    """An episode file, or how many to generate."""
    task: str = "pointnav"
    """One of `TASKS`."""
    policy: str = "oracle"
    """A policy by name, the folder of a trained one, or ``FILE.py:CLASS`` or ``MODULE:CLASS``."""
    seed: int = 0
    """With an episode's id it decides everything random."""
    simulator: str = "raycast"
    """Name of the backend."""
    agent: str | None = None
    """Name of a preset; None = the task's own."""
    frame: str = "agent"
    """Frame of the point maps."""
    size: tuple[int, int] | None = None
    """Rows and columns of the point maps, pixels; None = the agent's own camera."""
    hfov: float | None = None
    """Horizontal field of view, degrees; None = the agent's own camera."""
    max_steps: int | None = None
    """Step limit; None = the agent's own."""
    navmesh: str | None = None
    """Habitat's navmesh to walk on, a file, a folder or ``beside``; None = a surface built from the mesh."""
    scenes_dir: str | None = None
    """Folder that scene paths in the episode file are looked up in."""
    semantic: bool = False
    """In ObjectNav, observe the category of each pixel as well."""

    def __post_init__(self) -> None:
        """Refuse what would only fail later."""
        if self.task not in TASKS:
            raise SettingError(f"unknown task {self.task!r}; the tasks are {', '.join(TASKS)}")
        if isinstance(self.episodes, int) and self.episodes < 1:
            raise SettingError(f"at least 1 episode is needed, found {self.episodes}")
        if isinstance(self.episodes, int) and self.scene is None:
            raise SettingError("to generate episodes a scene is needed: name one with --scene")
        if self.semantic and self.task != "objectnav":
            raise SettingError(
                f"categories of pixels (--semantic) are observed in objectnav alone, not in {self.task}"
            )

    def as_config(self) -> dict[str, Any]:
        """The settings as JSON values, with hashes of the files in place of trust in their names."""
        config = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }
        config["agent"] = self.agent or AGENTS[self.task]
        if isinstance(self.episodes, str):
            try:
                config["episodes_sha256"] = hashlib.sha256(Path(self.episodes).read_bytes()).hexdigest()
            except OSError as error:
                raise FileError(
                    self.episodes,
                    f"cannot be read ({error.strerror}); an episode file (.json.gz) or a number was expected",
                ) from None
        if (own := policy_sha256(self.policy)) is not None:
            config["policy_sha256"] = own
        config["scenes"] = _scene_digests(self)
        return config


def spelled_as(run: NavigationRun, config: Mapping[str, Any] | None) -> NavigationRun:
    """The run with its paths written as in the settings of an earlier one, where they are the same.

    Settings, and the scene ids of generated episodes, hold paths as a person wrote them; so the same run, begun from
    another spelling, goes on as it was begun.
    """
    theirs = {name: (config or {}).get(name) for name in ("scene", "episodes", "navmesh", "scenes_dir")}
    same = {
        name: path
        for name, path in theirs.items()
        if isinstance(path, str) and _same_place(path, getattr(run, name))
    }
    return replace(run, **same)


def _same_place(first: str, second: Any) -> bool:
    """Whether two paths are one place that exists. A link to a file is another place: other files lie beside it."""
    if not isinstance(second, str) or not os.path.exists(first) or not os.path.exists(second):
        return False
    if os.path.isdir(first):
        return os.path.realpath(first) == os.path.realpath(second)
    places = [(os.path.realpath(os.path.dirname(path)), os.path.basename(path)) for path in (first, second)]
    return places[0] == places[1]


def make_environment(run: NavigationRun, size: int | None = None) -> Any:
    """The environment of a run; scenes are loaded when an episode needs them.

    ``size`` is what the policy wants of its point maps, pixels; what the run says comes first.
    """
    import gymnasium

    import envs  # noqa: F401  (makes the names of the environments known)

    return gymnasium.make(
        TASKS[run.task],
        scene=run.scene,
        episodes=run.episodes,
        simulator=run.simulator,
        agent=run.agent or AGENTS[run.task],
        frame=run.frame,
        size=run.size or size,
        hfov=run.hfov,
        max_steps=run.max_steps,
        navmesh=run.navmesh,
        scenes_dir=run.scenes_dir,
        seed=run.seed,
        **({"semantic": True} if run.semantic else {}),
        render_mode="rgb_array",
        disable_env_checker=True,
    )


def check_settings(run: NavigationRun) -> None:
    """Refuse bad settings before anything is written or a worker is started."""
    if run.scenes_dir is not None and not Path(run.scenes_dir).is_dir():
        raise SettingError(f"the folder of scenes, {run.scenes_dir}, is not there (--scenes-dir)")
    open_policy(run.policy)
    make_environment(run).close()


def list_jobs(run: NavigationRun) -> list[Job]:
    """The episodes of a run, in the order of their set."""
    return list(_open_source(run)[0].keys())


def _open_source(run: NavigationRun) -> tuple[Any, Callable[[str], Any]]:
    from envs.task_source import open_source

    def no_episode(scene_id: str, index: int) -> Any:
        raise AssertionError("keys are listed without making episodes")

    return open_source(run.scene, run.episodes, run.simulator, run.scenes_dir, no_episode)


def _scene_digests(run: NavigationRun) -> dict[str, str | None]:
    dataset, find = _open_source(run)
    return scene_digests((job[0] for job in dataset.keys()), find, run.navmesh)  # noqa: SIM118


def default_folder(run: NavigationRun) -> Path:
    """Where results go unless a person says otherwise: settings of their own have a folder of their own."""
    return Path("results") / f"{run.task}-{policy_label(run.policy)}-{config_sha256(run.as_config())[:8]}"


def episode_source(text: str) -> str | int:
    """What a person wrote for episodes: a number of them, else the path of a file."""
    return int(text) if text.lstrip("+-").isdigit() else text


def height_and_width(size: Sequence[int]) -> tuple[int, int] | None:
    """What a person wrote for a size, (), (N,) or (H, W), as (H, W).

    Raises:
        SettingError: more numbers, or a size below 1.
    """
    if not size:
        return None
    if len(size) > 2 or min(size) < 1:
        raise SettingError(f"a size is one number or rows and columns, each at least 1, found {tuple(size)}")
    return size[0], size[-1]
