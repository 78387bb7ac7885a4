"""Generating ObjectNav episodes: find any object of a category (Batra et al., "ObjectNav Revisited", 2020).

Goals are the objects of the category with their view points (`envs.episodes.view_points`); starts are drawn
like PointNav's, against the nearest view point. As there, each episode depends on (seed, index) and the scene
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from envs.episodes.dataset import Categories
from envs.episodes.episode import Episode, Goal
from envs.episodes.generated import episode_generator, generate
from envs.episodes.pointnav_generator import PointNavSettings, difficulty, keep_probability, random_rotation
from envs.episodes.view_points import ViewPointSettings, object_goals, scene_of
from envs.simulators.protocol import Simulator
from poma3d.errors import EpisodeError, SettingError

HM3D_CATEGORIES = ("chair", "bed", "plant", "toilet", "tv_monitor", "sofa")
"""The categories of ObjectNav-HM3D in the order of their task ids."""

ALIASES = {
    "plant": ("potted plant", "potted_plant", "houseplant"),
    "sofa": ("couch",),
    "tv_monitor": ("tv", "television"),
}
"""Other names that scenes give to a category."""

_STARTS = 10


@dataclass(frozen=True)
class ObjectNavSettings:
    """Which episodes suit."""

    starts: PointNavSettings = field(default_factory=lambda: PointNavSettings(ratio=1.05, trivial_ratio=0.0))
    """Distances and ratios of the starts; a straight way is not trivial here, since the goal is not given."""
    view_points: ViewPointSettings = field(default_factory=ViewPointSettings)
    """Where an object counts as reached."""


def names_of(category: str) -> frozenset[str]:
    """What scenes may call the objects of a category."""
    return frozenset((category, *ALIASES.get(category, ())))


def category_tables(categories: Sequence[str]) -> Categories:
    """The tables of a data set whose task ids are the order of ``categories``."""
    ids = {name: number for number, name in enumerate(categories)}
    return Categories(ids, dict(ids))


class ObjectNavGenerator:
    """Makes the ObjectNav episodes of one scene; goals of a category are looked for once.

    Args:
        simulator: the scene and the body that walks.
        categories: what may be searched; a scene need not have them all.
        settings: which episodes suit.
        scene_id: what the episodes call the scene; by default the simulator's.

    Raises:
        SettingError: no such objects in the scene.
    """

    def __init__(
        self,
        simulator: Simulator,
        categories: Sequence[str] = HM3D_CATEGORIES,
        settings: ObjectNavSettings | None = None,
        *,
        scene_id: str | None = None,
    ) -> None:
        present = scene_of(simulator).categories
        self.categories = tuple(name for name in categories if not names_of(name).isdisjoint(present))
        """What may be searched in this scene."""
        if not self.categories:
            raise SettingError(
                f"{simulator.scene_id}: the scene has none of the categories"
                f" {', '.join(categories) or '(none)'}; it has {', '.join(present)}"
            )
        self.simulator = simulator
        """The scene; may be replaced by another simulator of the same scene."""
        self._settings = settings or ObjectNavSettings()
        self._scene_id = scene_id or simulator.scene_id
        self._goals: dict[str, tuple[Goal, ...]] = {}

    def goals(self, category: str) -> tuple[Goal, ...]:
        """The objects of a category that can be reached and seen."""
        if category not in self._goals:
            self._goals[category] = object_goals(
                self.simulator, category, self._settings.view_points, names=names_of(category)
            )
        return self._goals[category]

    def episode(self, index: int, seed: int = 0) -> Episode:
        """Generate the episode of that index; it depends on (seed, index) and the scene's content alone.

        Raises:
            EpisodeError: no category gives a suitable episode.
        """
        rng = episode_generator(seed, index)
        for which in rng.permutation(len(self.categories)):
            episode = self._episode_of(self.categories[which], index, rng)
            if episode is not None:
                return episode
        raise EpisodeError(
            f"{self.simulator.scene_id}: no object of {', '.join(self.categories)} can be reached,"
            " seen and started for from far enough away"
        )

    def _episode_of(self, category: str, index: int, rng: np.random.Generator) -> Episode | None:
        goals = self.goals(category)
        if not goals:
            return None
        settings, surface = self._settings.starts, self.simulator.surface
        places = np.array([view.agent_state.position for goal in goals for view in goal.view_points or ()])
        to_goals = surface.distance_field(places)
        for _ in range(settings.max_goals):
            starts = np.stack([surface.random_navigable_point(rng) for _ in range(_STARTS)])
            luck = rng.random(_STARTS)
            rotation = random_rotation(rng)
            distances = np.asarray(to_goals.distance(starts))
            for which in np.flatnonzero(np.isfinite(distances)):
                distance = float(distances[which])
                if not settings.min_distance <= distance <= settings.max_distance:
                    continue
                straight = float(np.linalg.norm(places - starts[which], axis=1).min())
                if luck[which] >= keep_probability(distance / max(straight, 1e-9), settings):
                    continue
                return Episode(
                    episode_id=str(index),
                    scene_id=self._scene_id,
                    start_position=tuple(starts[which].tolist()),
                    start_rotation=rotation,
                    goals=goals,
                    info={"geodesic_distance": distance, "difficulty": difficulty(distance)},
                    object_category=category,
                )
        return None


def generate_objectnav(
    simulator: Simulator,
    count: int,
    seed: int = 0,
    categories: Sequence[str] = HM3D_CATEGORIES,
    settings: ObjectNavSettings | None = None,
    *,
    scene_id: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Episode]:
    """Generate the episodes 0 to ``count`` - 1 of a scene; `category_tables` makes the tables to write with
    them.

    Args:
        simulator: the scene, with named objects, and the body that walks.
        count: how many.
        seed: another seed, other episodes.
        categories: what may be searched; a scene need not have them all.
        settings: which episodes suit.
        scene_id: what the episodes call the scene; by default the simulator's.
        progress: told how many are done.

    Raises:
        SettingError: no such objects in the scene, or a count below 1.
        EpisodeError: no category gives a suitable episode.
    """
    generator = ObjectNavGenerator(simulator, categories, settings, scene_id=scene_id)
    return generate(count, lambda index: generator.episode(index, seed), progress)
