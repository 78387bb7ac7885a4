"""The flags that every command has which runs navigation episodes, and the run that they describe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.navigation_run import NavigationRun


@dataclass(frozen=True)
class NavigationFlags:
    """Which episodes are run, where, by what body, and how."""

    scene: str | None = None
    """A mesh file (.glb, .gltf, .obj, .ply), or procedural:SPLIT[:N] for the first N houses of train, val or
    test; not needed where an episode file names its scenes. Without both: procedural:val:5, or
    :20 for a comparison."""
    episodes: str = "20"
    """An episode file of Habitat's (.json.gz), or how many episodes to generate, over all scenes together."""
    task: str = "pointnav"
    """pointnav (go to a point) or objectnav (find an object of a category)."""
    simulator: str = "raycast"
    """raycast (built in), warp (ray casting on an NVIDIA GPU, where Warp is installed) or habitat (real Habitat,
    where it is installed)."""
    workers: int = 1
    """Processes that run episodes; results are the same from any number."""
    seed: int = 0
    """Whole number that decides, with an episode's id, everything random."""
    videos: int = 0
    """Of how many episodes a video is made, the first ones."""
    agent: str | None = None
    """The body, pointnav-gibson or objectnav-hm3d; default: that of the task's published benchmark."""
    frame: str = "agent"
    """Frame of the point maps: world, scene, episode, agent or camera."""
    size: tuple[int, ...] = ()
    """Rows and columns of the point maps, or one number for a square, pixels; default: the agent's own."""
    hfov: float | None = None
    """Horizontal field of view, degrees; default: the agent's own."""
    max_steps: int | None = None
    """Most steps of an episode; default: the agent's own (500)."""
    navmesh: str | None = None
    """Habitat's navmesh to walk on: a .navmesh file, a folder that holds NAME.navmesh for each scene, or
    beside for those beside the scenes; default: a surface is built from each mesh."""
    scenes_dir: Path | None = None
    """Folder below which the scenes named in an episode file lie, such as data/scene_datasets."""
    semantic: bool = False
    """In ObjectNav, also observe which category each pixel shows, as a perfect recogniser would tell."""
    resume: bool = True
    """Keep the finished episodes of the same settings; with --no-resume they are thrown away and run again."""
    overwrite: bool = False
    """Throw away results of other settings in the folder."""
    timeout: float = 600.0
    """Seconds after which a worker that is still at one episode is taken for hung and replaced."""
    json: bool = False
    """Print the results as JSON, alone on standard output."""

    def navigation_run(self, policy: str, houses: int) -> NavigationRun:
        """The settings that decide the numbers.

        Args:
            policy: who acts.
            houses: how many procedural houses are taken where neither a scene nor an episode file is named.
        """
        from benchmarks.navigation_run import NavigationRun, episode_source, height_and_width

        episodes = episode_source(self.episodes)
        default = f"procedural:val:{houses}" if isinstance(episodes, int) else None
        return NavigationRun(
            scene=default if self.scene is None else self.scene,
            episodes=episodes,
            task=self.task,
            policy=policy,
            seed=self.seed,
            simulator=self.simulator,
            agent=self.agent,
            frame=self.frame,
            size=height_and_width(self.size),
            hfov=self.hfov,
            max_steps=self.max_steps,
            navmesh=self.navmesh,
            scenes_dir=None if self.scenes_dir is None else str(self.scenes_dir),
            semantic=self.semantic,
        )

    def how(self) -> dict[str, Any]:
        """What does not decide the numbers, as `benchmarks.evaluation.evaluate` takes it."""
        return {
            "workers": self.workers,
            "videos": self.videos,
            "resume": self.resume,
            "overwrite": self.overwrite,
            "timeout": self.timeout,
        }
