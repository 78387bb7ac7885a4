"""Generating localisation episodes: poses to wake up at, anywhere on a scene's floors, looking anywhere."""

from __future__ import annotations

from envs.episodes.episode import Episode
from envs.episodes.generated import episode_generator
from envs.episodes.ground import GroundSettings, on_ground
from envs.episodes.pointnav_generator import random_rotation
from envs.simulators.protocol import Simulator
from poma3d.errors import EpisodeError

_DRAWS = 1000


def localization_episode(
    simulator: Simulator, index: int, seed: int = 0, *, scene_id: str | None = None
) -> Episode:
    """Generate the episode of that index: a start, uniform by area and heading, and no goal.

    It depends on (seed, index) and the scene's content alone. Starts that face a wall are as likely as they
    are: looking round is part of the task.

    Raises:
        EpisodeError: the scene has no floor large enough (`GroundSettings`).
    """
    rng = episode_generator(seed, index)
    for _ in range(_DRAWS):
        start = simulator.surface.random_navigable_point(rng)
        if on_ground(simulator.surface, start[None], GroundSettings())[0]:
            return Episode(
                episode_id=str(index),
                scene_id=scene_id or simulator.scene_id,
                start_position=tuple(start.tolist()),
                start_rotation=random_rotation(rng),
                goals=(),
            )
    raise EpisodeError(f"{simulator.scene_id}: has no floor large enough to walk about on")
