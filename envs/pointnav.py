"""PointNav: go to a point given by distance and direction, as in the Habitat Challenge."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
from gymnasium import spaces

from envs import sensors
from envs.embodiment import AgentSpec
from envs.episode_env import Observation
from envs.episodes.episode import Episode
from envs.episodes.pointnav_generator import PointNavSettings, pointnav_episode
from envs.episodes.tasks import refuse_objectnav
from envs.measures import SLACK_REWARD, SUCCESS_REWARD
from envs.navigation import NavigationEnv
from envs.schedule import EpisodeSchedule
from envs.setting_types import check_path, check_whole_number
from envs.simulators.protocol import Simulator, Views
from envs.simulators.shelf import Shelf
from envs.task_source import EpisodeChoice, SceneChoice, body_of, open_source
from poma3d.pointmap import Frame


class PointNavEnv(NavigationEnv):
    """``pomagym/PointNav-v0``: reach a point and call STOP there.

    Observations: ``point_map`` (H, W, 3) float32 metres in ``frame``, ``valid`` (H, W) bool,
    ``pointgoal_with_gps_compass`` (2,), ``gps`` (2,), ``compass`` (1,), with Habitat's conventions
    (`envs.sensors`). All else is `NavigationEnv`'s. Nothing needs to be given: the default are generated
    episodes in procedural houses.

    Args:
        scene: a mesh file, a scene, ``procedural:SPLIT:N`` (the first N houses of a split), or a list of
            scenes. With recorded episodes it picks those of the scene; leave it out to run them all.
        episodes: a PointNav-v1 file, how many to generate, or a list of episodes.
        simulator: ``raycast``, ``warp``, ``habitat``, or a simulator, which stays open when the environment is
            closed.
        agent: a preset's name or a body; the settings below change it.
        size: pixels of the point map, (H, W) or one number for a square.
        hfov: horizontal field of view, degrees.
        frame: of the point map: world, scene, episode, agent or camera.
        depth_range: nearest and farthest z-depth that is valid, metres.
        max_steps: step limit.
        success_distance: STOP nearer than this (geodesic) is a success, metres.
        shuffle: order the episodes anew in every round, by the seed of `reset`; False keeps their own order.
        seed: of generated episodes.
        settings: which episodes are generated.
        navmesh: Habitat's navmesh to walk on instead of a surface made from the scene: a ``.navmesh`` file, a
            folder of them, or ``beside`` for the one beside each scene.
        scenes_dir: folder in which the scenes of recorded episodes are looked for.
        slack_reward: reward of every step.
        success_reward: reward of success.
        render_mode: ``rgb_array`` or None.

    Raises:
        UserError: a setting, a file or a scene is wrong; the message says how.
    """

    def __init__(
        self,
        scene: SceneChoice = None,
        episodes: EpisodeChoice = None,
        *,
        simulator: str | Simulator = "raycast",
        agent: str | AgentSpec = "pointnav-gibson",
        size: int | Sequence[int] | None = None,
        hfov: float | None = None,
        frame: str | Frame = Frame.AGENT,
        depth_range: tuple[float, float] | None = None,
        max_steps: int | None = None,
        success_distance: float | None = None,
        shuffle: bool = True,
        seed: int = 0,
        settings: PointNavSettings | None = None,
        navmesh: str | os.PathLike[str] | None = None,
        scenes_dir: str | os.PathLike[str] | None = None,
        slack_reward: float = SLACK_REWARD,
        success_reward: float = SUCCESS_REWARD,
        render_mode: str | None = None,
    ) -> None:
        body = body_of(
            agent,
            size=size,
            hfov=hfov,
            depth_range=depth_range,
            max_steps=max_steps,
            success_distance=success_distance,
        )

        def make(scene_id: str, index: int) -> Episode:
            return pointnav_episode(shelf.simulator(scene_id), index, seed, settings, scene_id=scene_id)

        check_whole_number("seed", seed)
        check_path("navmesh", navmesh)
        dataset, locate = open_source(scene, episodes, simulator, scenes_dir, make)
        source = dataset.path or "the list of episodes"
        refuse_objectnav(dataset.known_categories, source)
        if dataset.first_in_memory is not None:
            refuse_objectnav(dataset.first_in_memory.object_category, source)
        shelf = Shelf(body, simulator, locate, navmesh=navmesh)
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
        low = np.array([0, -math.pi], np.float32)
        high = np.array([np.finfo(np.float32).max, math.pi], np.float32)
        return {
            "pointgoal_with_gps_compass": spaces.Box(low, high, (2,), np.float32),
            **super()._sensor_spaces(),
        }

    def _sense(self, views: Views) -> Observation:
        walker = self._walker
        return {
            "pointgoal_with_gps_compass": sensors.pointgoal_with_gps_compass(
                walker.position, walker.heading, self._goals[0]
            ),
            **super()._sense(views),
        }

    def _goals_of(self, episode: Episode) -> np.ndarray:
        return episode.goal_points()

    def _begin(self, episode: Episode) -> None:
        refuse_objectnav(episode.object_category, f"episode {episode.episode_id!r}")
        super()._begin(episode)
