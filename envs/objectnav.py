"""ObjectNav: find any object of a category, as in the Habitat Challenge."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence

import numpy as np
from gymnasium import spaces

from envs import sensors
from envs.embodiment import AgentSpec
from envs.episode_env import Observation
from envs.episodes.dataset import EpisodeDataset
from envs.episodes.episode import Episode
from envs.episodes.objectnav_generator import (
    HM3D_CATEGORIES,
    ObjectNavGenerator,
    ObjectNavSettings,
    names_of,
)
from envs.episodes.tasks import refuse_pointnav
from envs.measures import SLACK_REWARD, SUCCESS_REWARD
from envs.navigation import NavigationEnv
from envs.schedule import EpisodeSchedule
from envs.setting_types import check_flag, check_path, check_whole_number
from envs.simulators.protocol import Simulator, Views
from envs.simulators.shelf import Shelf
from envs.task_source import EpisodeChoice, SceneChoice, body_of, open_source
from poma3d.errors import EpisodeError, SettingError
from poma3d.pointmap import Frame

NO_CATEGORY = -1
"""What ``semantic`` reads where a pixel shows nothing that is searched."""


class ObjectNavEnv(NavigationEnv):
    """``pomagym/ObjectNav-v0``: get within reach and sight of an object of a category and call STOP there.

    Observations: ``point_map`` (H, W, 3) float32 metres in ``frame``, ``valid`` (H, W) bool, ``objectgoal``
    (1,) int64 (the category's id), ``gps`` (2,), ``compass`` (1,), with Habitat's conventions
    (`envs.sensors`). Distances go to the nearest view point. All else is `NavigationEnv`'s.

    With ``semantic`` there is also ``semantic`` (H, W) int32: the category's id, as ``objectgoal`` reads it, where
    a pixel shows an object of one of the categories, and `NO_CATEGORY` (-1) elsewhere. It stands for a perfect
    recogniser: results with it and without it do not belong in one table.

    Args:
        scene: a mesh file with named objects, a scene, ``procedural:SPLIT:N`` (the first N houses of a
            split), or a list of scenes. With recorded episodes it picks those of the scene; leave it out to
            run them all.
        episodes: an ObjectNav-v1 file, how many to generate, or a list of episodes.
        categories: what is searched, in the order of the ids, unless a file has its own table; by default
            the six of ObjectNav-HM3D.
        simulator: ``raycast``, ``warp``, ``habitat``, or a simulator, which stays open when the environment is
            closed.
        agent: a preset's name or a body; the settings below change it.
        size: pixels of the point map, (H, W) or one number for a square.
        hfov: horizontal field of view, degrees.
        frame: of the point map: world, scene, episode, agent or camera.
        depth_range: nearest and farthest z-depth that is valid, metres.
        max_steps: step limit.
        success_distance: STOP nearer than this (geodesic) to a view point is a success, metres.
        shuffle: order the episodes anew in every round, by the seed of `reset`; False keeps their own order.
        seed: of generated episodes.
        settings: which episodes are generated.
        navmesh: Habitat's navmesh to walk on instead of a surface made from the scene: a ``.navmesh`` file, a
            folder of them, or ``beside`` for the one beside each scene.
        scenes_dir: folder in which the scenes of recorded episodes are looked for.
        slack_reward: reward of every step.
        success_reward: reward of success.
        render_mode: ``rgb_array`` or None.
        semantic: also observe ``semantic``; the scenes need named objects.

    Raises:
        UserError: a setting, a file or a scene is wrong; the message says how.
    """

    def __init__(
        self,
        scene: SceneChoice = None,
        episodes: EpisodeChoice = None,
        *,
        categories: Sequence[str] = HM3D_CATEGORIES,
        simulator: str | Simulator = "raycast",
        agent: str | AgentSpec = "objectnav-hm3d",
        size: int | Sequence[int] | None = None,
        hfov: float | None = None,
        frame: str | Frame = Frame.AGENT,
        depth_range: tuple[float, float] | None = None,
        max_steps: int | None = None,
        success_distance: float | None = None,
        shuffle: bool = True,
        seed: int = 0,
        settings: ObjectNavSettings | None = None,
        navmesh: str | os.PathLike[str] | None = None,
        scenes_dir: str | os.PathLike[str] | None = None,
        slack_reward: float = SLACK_REWARD,
        success_reward: float = SUCCESS_REWARD,
        render_mode: str | None = None,
        semantic: bool = False,
    ) -> None:
        check_flag("semantic", semantic)
        if (
            isinstance(categories, str)
            or not categories
            or not all(isinstance(one, str) for one in categories)
        ):
            raise SettingError(
                f"categories must be a list of one or more names, such as ['chair', 'bed'], found {categories!r}"
            )
        self._sees_instances = bool(semantic)
        self._category_of: tuple[Simulator | None, np.ndarray] = (None, np.zeros(0, np.int32))
        body = body_of(
            agent,
            size=size,
            hfov=hfov,
            depth_range=depth_range,
            max_steps=max_steps,
            success_distance=success_distance,
        )
        generators: dict[str, ObjectNavGenerator] = {}

        def make(scene_id: str, index: int) -> Episode:
            opened = shelf.simulator(scene_id)
            if scene_id not in generators:
                generators[scene_id] = ObjectNavGenerator(opened, categories, settings, scene_id=scene_id)
            generators[scene_id].simulator = opened  # the shelf may have closed and opened it again
            return generators[scene_id].episode(index, seed)

        check_whole_number("seed", seed)
        check_path("navmesh", navmesh)
        dataset, locate = open_source(scene, episodes, simulator, scenes_dir, make)
        if dataset.first_in_memory is not None:
            source = dataset.path or "the list of episodes"
            refuse_pointnav(dataset.first_in_memory.object_category, source)
        shelf = Shelf(body, simulator, locate, navmesh=navmesh)
        self.category_ids = _category_ids(dataset, categories)
        """Task id of every category, what ``objectgoal`` reads."""
        super().__init__(
            EpisodeSchedule(dataset, shuffle=shuffle),
            shelf,
            agent=body,
            frame=frame,
            slack_reward=slack_reward,
            success_reward=success_reward,
            render_mode=render_mode,
        )

    def _sensor_spaces(self) -> dict[str, spaces.Space]:
        highest = max(1, *self.category_ids.values())  # a Box needs more than one value
        sensed = {"objectgoal": spaces.Box(0, highest, (1,), np.int64), **super()._sensor_spaces()}
        if self._sees_instances:
            shape = (self.camera.height, self.camera.width)
            sensed["semantic"] = spaces.Box(NO_CATEGORY, highest, shape, np.int32)
        return sensed

    def _sense(self, views: Views) -> Observation:
        sensed = {"objectgoal": sensors.objectgoal(self._category_id), **super()._sense(views)}
        if self._sees_instances:
            sensed["semantic"] = self._recognise(views)
        return sensed

    def _terms(self) -> dict[str, Hashable]:
        ids = tuple(self.category_ids.items())
        return {**super()._terms(), "categories": ids, "semantic": self._sees_instances}

    def _recognise(self, views: Views) -> np.ndarray:
        """Category id (H, W) int32 of what each pixel shows."""
        known, table = self._category_of
        if known is not self._simulator:
            table = self._category_table(self._simulator)
            self._category_of = self._simulator, table
        if views.instance_ids is None:
            raise SettingError(
                f"{type(self._simulator).__name__} renders no instance ids, which semantic=True needs"
            )
        return table[views.instance_ids[0]]

    def _category_table(self, simulator: Simulator) -> np.ndarray:
        """Category id of every instance, and `NO_CATEGORY` for the last index, which `NO_INSTANCE` (-1) reads."""
        if not simulator.instances:
            raise SettingError(
                f"{simulator.scene_id}: the scene has no named objects, so that semantic=True has nothing to show;"
                " leave it out, or name the objects (nodes such as 'sofa.00', or a JSON beside the mesh)"
            )
        ids = {name: number for category, number in self.category_ids.items() for name in names_of(category)}
        found = [ids.get(instance.category, NO_CATEGORY) for instance in simulator.instances]
        return np.array([*found, NO_CATEGORY], np.int32)

    def _begin(self, episode: Episode) -> None:
        refuse_pointnav(episode.object_category, f"episode {episode.episode_id!r}")
        if episode.object_category not in self.category_ids:
            raise EpisodeError(
                f"episode {episode.episode_id!r} searches {episode.object_category!r}, which is none of the"
                f" categories {', '.join(self.category_ids)}"
            )
        super()._begin(episode)
        self._category_id = self.category_ids[episode.object_category]


def _category_ids(dataset: EpisodeDataset, categories: Sequence[str]) -> dict[str, int]:
    """Ids by the table of a file that was read, else by the order given."""
    if dataset.categories is not None:
        return dict(dataset.categories.task_ids)
    return {name: number for number, name in enumerate(categories)}
