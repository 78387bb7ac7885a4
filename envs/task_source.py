"""From what a person gives an environment (a scene, episodes, a simulator) to a data set and its scenes."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from envs.embodiment import AgentSpec, agent_preset
from envs.episodes.dataset import EpisodeDataset, read_episodes
from envs.episodes.episode import Episode
from envs.episodes.generated import GeneratedEpisodes
from envs.episodes.locate import PROCEDURAL_PREFIX, locate_scene
from envs.scene_choice import GivenScenes
from envs.scenes.scene import Scene
from envs.setting_types import check_number, check_path, check_range, whole_number
from envs.simulators.open import SceneSpec
from envs.simulators.protocol import Simulator
from poma3d.errors import SettingError
from poma3d.pointmap import Camera

DEFAULT_SCENES = "procedural:val:5"
"""What is used where nothing is given: five furnished houses."""
DEFAULT_COUNT = 100
"""How many episodes are generated where neither a file nor a number is given."""

LARGEST_IMAGE = 4096 * 4096
"""Most pixels of an environment's point map: 0.2 GB in every observation."""

SceneChoice = SceneSpec | Sequence[SceneSpec] | None
_EPISODE_CHOICES = (str, os.PathLike, int, Sequence, EpisodeDataset, type(None))
EpisodeChoice = str | os.PathLike[str] | int | Sequence[Episode] | EpisodeDataset | None


def body_of(
    agent: str | AgentSpec,
    *,
    size: int | Sequence[int] | None = None,
    hfov: float | None = None,
    depth_range: tuple[float, float] | None = None,
    max_steps: int | None = None,
    success_distance: float | None = None,
) -> AgentSpec:
    """The body of that name, or the one given, with what is not None changed.

    Args:
        agent: a preset's name or a body.
        size: pixels, (H, W) or one number for a square.
        hfov: horizontal field of view, degrees.
        depth_range: nearest and farthest valid z-depth, metres.
        max_steps: step limit.
        success_distance: STOP nearer than this (geodesic) is a success, metres.

    Raises:
        SettingError: a setting out of its range.
    """
    body = agent_preset(agent) if isinstance(agent, str) else agent
    if not isinstance(body, AgentSpec):
        raise SettingError(f"agent must be the name of a preset or an AgentSpec, found {agent!r}")
    height, width = body.camera.height, body.camera.width
    if size is not None:
        height, width = _height_and_width(size)
    if height * width > LARGEST_IMAGE:
        gigabytes = height * width * 13 / 1e9  # three float32 and a bool a pixel
        raise SettingError(
            f"size {height} x {width} is {height * width} pixels, a point map of {gigabytes:.1f} GB in every"
            f" observation; at most {LARGEST_IMAGE} pixels (such as 4096 x 4096) can be asked for"
        )
    body = replace(body, camera=Camera(height, width, body.camera.hfov if hfov is None else hfov))
    if depth_range is not None:
        check_range("depth_range", depth_range)
        body = replace(body, depth_range=(float(depth_range[0]), float(depth_range[1])))
    steps = body.max_steps if max_steps is None else max_steps
    body = replace(body, max_steps=whole_number("max_steps", steps, least=1))
    if success_distance is not None:
        body = replace(body, success_distance=success_distance)
    check_number("success_distance", body.success_distance)
    if not body.success_distance > 0:
        raise SettingError(f"success_distance must be above 0 m, found {body.success_distance!r}")
    return body


def _height_and_width(size: Any) -> tuple[int, int]:
    """Rows and columns of a size, (H, W) or one number for a square."""
    try:
        sides = list(size) if isinstance(size, Sequence | np.ndarray) and np.ndim(size) == 1 else [size] * 2
        if len(sides) != 2 or any(isinstance(side, str | bool | np.bool_) for side in sides):
            raise TypeError
        return operator.index(sides[0]), operator.index(sides[1])
    except (TypeError, ValueError):
        raise SettingError(
            f"size must be (height, width) or one number, in whole pixels, found {size!r}"
        ) from None


def list_scenes(choice: SceneChoice) -> list[SceneSpec]:
    """The scenes that were chosen.

    ``procedural:SPLIT:N`` are the first N houses of a split, ``procedural:SPLIT`` the first few; a number
    that begins with 0 is the seed of one house (`envs.scenes.houses.names`). In a list each is one scene.

    Raises:
        SettingError: nothing, or a procedural choice of another form.
    """
    if choice is None:
        choice = DEFAULT_SCENES
    if isinstance(choice, Scene):
        return [choice]
    if isinstance(choice, str | os.PathLike):
        name = os.fspath(choice)
        if not name.startswith(PROCEDURAL_PREFIX):
            return [choice]
        from envs.scenes.houses import parse_procedural

        return list(parse_procedural(name))
    wanted = "scene must be a mesh file, a Scene, procedural:SPLIT:N or a list of these"
    if not isinstance(choice, Sequence):
        raise SettingError(f"{wanted}, found {choice!r}")
    scenes = list(choice)
    if not scenes:
        raise SettingError("the list of scenes is empty")
    for spec in scenes:
        if not isinstance(spec, str | os.PathLike | Scene):
            raise SettingError(f"{wanted}, found {spec!r} in the list")
    return scenes


def open_source(
    scene: SceneChoice,
    episodes: EpisodeChoice,
    simulator: str | Simulator,
    scenes_dir: str | os.PathLike[str] | None,
    make: Callable[[str, int], Episode],
) -> tuple[EpisodeDataset, Callable[[str], SceneSpec]]:
    """The episodes, and from their scene ids to scenes.

    Args:
        scene: the scenes; with recorded episodes they choose among these (`envs.scene_choice`), and None
            keeps them all.
        episodes: a file, a number to generate, or episodes.
        simulator: a backend's name, or a simulator that serves as the scene.
        scenes_dir: where the scenes of recorded episodes are looked for.
        make: generates an episode, from (scene id, index).

    Raises:
        UserError: a file is damaged, no episode fits the scene, or a setting is none.
    """
    check_path("scenes_dir", scenes_dir)
    if not isinstance(simulator, str) and not hasattr(simulator, "render"):
        raise SettingError(f"simulator must be a backend's name or a Simulator, found {simulator!r}")
    if isinstance(episodes, np.integer):
        episodes = int(episodes)
    if isinstance(episodes, bool) or not isinstance(episodes, _EPISODE_CHOICES):
        raise SettingError(f"episodes must be a file, a number or a list of episodes, found {episodes!r}")
    if episodes is None or isinstance(episodes, int):
        count = DEFAULT_COUNT if episodes is None else episodes
        if not isinstance(simulator, str):
            return EpisodeDataset.of(GeneratedEpisodes(count, [simulator.scene_id], make)), lambda name: name
        scenes = GivenScenes(list_scenes(scene), scenes_dir)
        return EpisodeDataset.of(GeneratedEpisodes(count, scenes.ids, make)), scenes.open_by_id
    if isinstance(episodes, EpisodeDataset):
        dataset = episodes
    elif isinstance(episodes, str | os.PathLike):
        dataset = read_episodes(episodes, unique_ids=True)
    else:
        dataset = EpisodeDataset.of(tuple(episodes))
        if not all(isinstance(episode, Episode) for episode in dataset) or not len(dataset):
            raise SettingError("episodes must be a file, a number or a list of at least one Episode")
    if scene is None or not isinstance(simulator, str):
        return dataset, lambda name: locate_scene(name, scenes_dir=scenes_dir, episode_file=dataset.path)
    scenes = GivenScenes(list_scenes(scene), scenes_dir)
    source = dataset.path or "the list of episodes"

    def choose(scene_ids: Collection[str]) -> Collection[str]:
        meant = scenes.meant(scene_ids, source)
        scenes.warn_of_replaced(meant, dataset.path)
        return meant

    return dataset.of_scenes(scenes.names, choose), scenes.of_recorded
