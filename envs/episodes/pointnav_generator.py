"""Generating PointNav episodes by the habits of habitat-lab's ``pointnav_generator.py``.

A goal is drawn on the surface, then starts until one suits it: on the same storey and connected, neither too
near nor too far, and with a way around something. Ways that are almost straight are only kept now and then,
by Habitat's rule.

Differences from habitat-lab: each episode has a random stream of its own from (seed, index), so that it does
not depend on how many are made or in which order; ways that are straight (trivial episodes) are never kept; and
an island must also have a share of the largest one's area, or agents would start on top of walls.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from envs.episodes.episode import Episode, Goal
from envs.episodes.generated import episode_generator, generate
from envs.episodes.ground import GroundSettings, on_ground
from envs.simulators.protocol import Simulator
from poma3d.errors import EpisodeError, SettingError

DIFFICULTIES = ((3.0, "easy"), (5.0, "medium"), (math.inf, "hard"))
"""Length of the shortest path up to which an episode has that difficulty, metres (the classes of NRNS, Hahn
et al. 2021, arXiv 2110.09470)."""

_STOREY = 0.5
_STARTS_PER_GOAL = 10


@dataclass(frozen=True)
class PointNavSettings:
    """Which episodes suit; defaults are habitat-lab's."""

    min_distance: float = 1.0
    """Shortest path at least this long, metres."""
    max_distance: float = 30.0
    """Shortest path at most this long, metres."""
    ratio: float = 1.1
    """Below this ratio of shortest path to straight line an episode is kept only now and then."""
    trivial_ratio: float = 1.005
    """Below this ratio it is never kept: one could walk straight. At most 1 keeps them all."""
    ground: GroundSettings = field(default_factory=GroundSettings)
    """Which parts of the surface starts and goals lie on."""
    goal_radius: float = 0.2
    """Radius noted with the goal, metres."""
    max_goals: int = 500
    """How many goals are tried for one episode before giving up."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_distance < self.max_distance:
            raise SettingError(
                f"distances must be 0 <= min < max, found {self.min_distance!r} and {self.max_distance!r}"
            )
        if self.max_goals < 1:
            raise SettingError(f"max_goals must be at least 1, found {self.max_goals!r}")


def difficulty(distance: float) -> str:
    """``easy``, ``medium`` or ``hard`` by the length of the shortest path in metres (`DIFFICULTIES`)."""
    return next(name for limit, name in DIFFICULTIES if distance <= limit)


def keep_probability(ratio: float, settings: PointNavSettings) -> float:
    """How likely a pair with that ratio of shortest path to straight line is kept (habitat-lab's rule)."""
    if ratio < settings.trivial_ratio:
        return 0.0
    return 20 * (ratio - 0.98) ** 2 if ratio < settings.ratio else 1.0


def random_rotation(rng: np.random.Generator) -> tuple[float, ...]:
    """An upright rotation (x, y, z, w) drawn uniformly."""
    angle = rng.uniform(0, 2 * math.pi)
    return (0.0, math.sin(angle / 2), 0.0, math.cos(angle / 2))


def pointnav_episode(
    simulator: Simulator,
    index: int,
    seed: int = 0,
    settings: PointNavSettings | None = None,
    *,
    scene_id: str | None = None,
) -> Episode:
    """Generate the episode of that index; it depends on (seed, index) and the scene's content alone.

    Raises:
        EpisodeError: no suitable pair was found.
    """
    settings = settings or PointNavSettings()
    surface = simulator.surface
    rng = episode_generator(seed, index)
    unfit: Counter[str] = Counter()
    for _ in range(settings.max_goals):
        goal = surface.random_navigable_point(rng)
        starts = np.stack([surface.random_navigable_point(rng) for _ in range(_STARTS_PER_GOAL)])
        luck = rng.random(_STARTS_PER_GOAL)
        rotation = random_rotation(rng)
        if not on_ground(surface, goal[None], settings.ground)[0]:
            unfit["off the ground"] += _STARTS_PER_GOAL
            continue
        near = np.abs(starts[:, 1] - goal[1]) <= _STOREY
        distances = surface.geodesic_distance(starts, goal[None])
        straight = np.linalg.norm(starts - goal, axis=1)
        connected = near & np.isfinite(distances)
        unfit["not connected on one storey"] += int((~connected).sum())
        for which in np.flatnonzero(connected):
            distance = float(distances[which])
            if not settings.min_distance <= distance <= settings.max_distance:
                unfit["too far" if distance > settings.max_distance else "too near"] += 1
                continue
            ratio = distance / max(float(straight[which]), 1e-9)
            if luck[which] >= keep_probability(ratio, settings):
                unfit["almost straight"] += 1
                continue
            return Episode(
                episode_id=str(index),
                scene_id=scene_id or simulator.scene_id,
                start_position=tuple(starts[which].tolist()),
                start_rotation=rotation,
                goals=(Goal(tuple(goal.tolist()), settings.goal_radius),),
                info={"geodesic_distance": distance, "difficulty": difficulty(distance)},
            )
    pairs = settings.max_goals * _STARTS_PER_GOAL
    counts = ", ".join(f"{count} {why}" for why, count in unfit.most_common() if count)
    raise EpisodeError(
        f"{simulator.scene_id}: none of {pairs} pairs of points suits ({counts}): a shortest path of"
        f" {settings.min_distance:g} to {settings.max_distance:g} m around something (ratio at least"
        f" {settings.trivial_ratio:g}) is asked for, on islands of at least {settings.ground.min_radius:g} m"
        " radius; is the up axis y, and the unit metres? If so, allow other distances or a lower trivial_ratio"
        " (PointNavSettings), on the command line with pomagym episodes generate --max-distance 100 --ratio 1,"
        " whose --out is what pomagym run takes as --episodes"
    )


def generate_pointnav(
    simulator: Simulator,
    count: int,
    seed: int = 0,
    settings: PointNavSettings | None = None,
    *,
    scene_id: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Episode]:
    """Generate the episodes 0 to ``count`` - 1 of a scene.

    Args:
        simulator: the scene and the body that walks.
        count: how many.
        seed: another seed, other episodes.
        settings: which suit.
        scene_id: what the episodes call the scene; by default the simulator's.
        progress: told how many are done.

    Raises:
        SettingError: a negative count.
        EpisodeError: the scene gives no suitable episode.
    """
    return generate(
        count, lambda index: pointnav_episode(simulator, index, seed, settings, scene_id=scene_id), progress
    )
