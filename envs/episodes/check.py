"""Checking episodes against the surfaces they are to be run on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.episodes.episode import Episode
from envs.locomotion import upright_heading
from envs.simulators.protocol import Simulator, Surface
from poma3d.errors import EpisodeError, UserError

START_TOLERANCE = 0.25
"""How far beside the surface a recorded start may lie, metres: recorded starts come from other navmeshes."""

SCENE_PROBLEMS = ("scene absent", "scene unusable")
"""Kinds of problems that all episodes of a scene share."""


@dataclass(frozen=True)
class EpisodeCheck:
    """What was found about one episode."""

    episode_id: str
    scene_id: str
    problems: tuple[str, ...]
    """Each begins with its kind: ``scene absent``, ``start off the surface``, ``goal unreachable``, ..."""
    recorded_distance: float | None = None
    """Length of the shortest path by the file, metres."""
    measured_distance: float | None = None
    """Length of the shortest path on this surface, metres; None where it could not be measured."""

    @property
    def valid(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.problems

    def row(self) -> dict[str, Any]:
        """The check as a row of a table, in plain values."""
        return {
            "episode_id": self.episode_id,
            "scene_id": self.scene_id,
            "valid": self.valid,
            "problems": list(self.problems),
            "recorded_distance": self.recorded_distance,
            "measured_distance": self.measured_distance,
        }


def start_offset(surface: Surface, start: np.ndarray) -> float:
    """How far the start (3,) lies from the surface, metres; 0 on it, infinite where nothing is near."""
    if surface.is_navigable(start[None])[0]:
        return 0.0
    offset = float(np.linalg.norm(np.asarray(surface.snap_point(start[None]))[0] - start))
    return offset if math.isfinite(offset) else math.inf


def describe_offset(offset: float) -> str:
    """The offset in words."""
    return f"the nearest place to stand is {offset:.2f} m away" if math.isfinite(offset) else "no place near"


def check_episodes(
    episodes: Iterable[Episode],
    simulator_of: Callable[[str], Simulator],
    *,
    tolerance: float = 0.02,
    margin: float = 0.1,
) -> Iterator[EpisodeCheck]:
    """Check episodes one after another.

    Args:
        episodes: what to check, such as an `EpisodeDataset`.
        simulator_of: from a scene id to its simulator, such as `envs.simulators.shelf.Shelf.simulator`.
        tolerance: how much the recorded distance may differ from the measured one, as a share of it ...
        margin: ... or in metres, whichever is more.

    Yields:
        A finding for each episode, in order; an episode that cannot even be opened is one with a problem.
    """
    surfaces = {"": lambda scene_id: simulator_of(scene_id).surface}
    for found in check_on_surfaces(episodes, surfaces, tolerance=tolerance, margin=margin):
        yield found[""]


def check_on_surfaces(
    episodes: Iterable[Episode],
    surfaces: Mapping[str, Callable[[str], Surface]],
    *,
    tolerance: float = 0.02,
    margin: float = 0.1,
) -> Iterator[dict[str, EpisodeCheck]]:
    """Check episodes on several surfaces side by side, such as our own and Habitat's navmesh.

    Args:
        episodes: what to check.
        surfaces: by name, from a scene id to its surface.
        tolerance, margin: as in `check_episodes`.

    Yields:
        The findings for each episode, in order, by the names of the surfaces.
    """
    seen: set[tuple[str, str]] = set()
    for episode in episodes:
        name = (episode.scene_id, episode.episode_id)
        repeated = ("id repeated: another episode of the scene has it too",) if name in seen else ()
        seen.add(name)
        found = {}
        for kind, surface_of in surfaces.items():
            problems, distance = _check_on(episode, surface_of, tolerance, margin)
            found[kind] = EpisodeCheck(
                episode.episode_id,
                episode.scene_id,
                (*repeated, *problems),
                episode.geodesic_distance,
                distance,
            )
        yield found


def _check_on(
    episode: Episode, surface_of: Callable[[str], Surface], tolerance: float, margin: float
) -> tuple[list[str], float | None]:
    """As `_check`, on a surface that may not be there."""
    try:
        surface = surface_of(episode.scene_id)
    except UserError as error:
        kind = SCENE_PROBLEMS[0 if isinstance(error, EpisodeError) else 1]
        return [f"{kind}: {error}"], None
    return _check(episode, surface, tolerance, margin)


def _check(
    episode: Episode, surface: Surface, tolerance: float, margin: float
) -> tuple[list[str], float | None]:
    """The problems of an episode on its surface, and the measured distance."""
    problems = []
    try:
        upright_heading(np.array(episode.start_rotation))
    except UserError as error:
        problems.append(f"start leans: {error}")
    start = np.array(episode.start_position, dtype=np.float64)
    offset = start_offset(surface, start)
    if offset > START_TOLERANCE:
        problems.append(f"start off the surface: {describe_offset(offset)}")
    try:
        goals = episode.goal_positions()
    except EpisodeError as error:
        return [*problems, f"no goal: {error}"], None
    if not np.isfinite(np.asarray(surface.snap_point(goals))).all(axis=1).any():
        return [*problems, f"goal off the surface: none of {len(goals)} is near a place to stand"], None
    if offset > START_TOLERANCE:
        return problems, None
    distance = float(surface.geodesic_distance(start[None], goals)[0])
    if not math.isfinite(distance):
        return [*problems, "goal unreachable: no path leads from the start to any goal"], distance
    recorded = episode.geodesic_distance
    if recorded is not None and not abs(recorded - distance) <= max(tolerance * distance, margin):
        share = f" ({abs(recorded - distance) / distance:.1%} off)" if distance > 0 else ""
        problems.append(f"distance differs: recorded {recorded:.2f} m, measured {distance:.2f} m{share}")
    return problems, distance
