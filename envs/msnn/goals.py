"""Goals of a scene that can be named, seen and reached, and the way to them: the first leg of the shortest path."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.episodes.view_points import ViewPointSettings, view_points
from envs.msnn.names import Name, Names
from envs.msnn.settings import MsnnSettings
from envs.scenepoint_export.sightings import Boxes
from envs.simulators.protocol import DistanceField, Simulator

NOT_GOALS = frozenset(
    {
        "window", "door", "picture", "portrait", "curtain", "ceiling lamp", "chandelier", "light", "upper cabinet",
        "range hood", "rangehood", "radiator", "rug", "carpet", "towel", "handle", "board", "airconditioner",
        "cushion",
    }
)  # fmt: skip
"""What hangs, is a part of the building or lies underfoot: nobody is sent there."""


@dataclass(frozen=True)
class Goal:
    """An object to go to."""

    instance: int
    """Which object of the scene."""
    name: Name
    """What only it is called."""
    field: DistanceField
    """Ways to the places at which it is reached."""
    centre: np.ndarray
    """(3,) middle of its box, world frame."""


@dataclass(frozen=True)
class Way:
    """How a way begins."""

    angle: float
    """Direction of the first leg in the scene's frame, radians, 0 along +x, counter-clockwise."""
    leg: float
    """Length of the first leg, metres."""
    length: float
    """Length of the whole way, metres; infinite where there is none."""


def goal_of(
    simulator: Simulator, index: int, name: Name, boxes: Boxes, settings: MsnnSettings
) -> Goal | None:
    """The goal that an object makes; None where there is no place to reach it at."""
    looks = ViewPointSettings(reach=settings.reach, cell=0.25, pixels=32, spacing=0.25)
    seen_from = view_points(simulator, index, looks)
    if not seen_from:
        return None
    places = np.array([view.agent_state.position for view in seen_from])
    centre = (boxes.low[index] + boxes.high[index]) / 2
    return Goal(index, name, simulator.surface.distance_field(places), centre)


def goals_of(
    simulator: Simulator, names: Names, boxes: Boxes, settings: MsnnSettings, rng: np.random.Generator
) -> list[Goal]:
    """Goals of a scene, at most as many as the settings say, drawn anew from those there are."""
    size = np.linalg.norm(np.where(np.isfinite(boxes.low), boxes.high - boxes.low, 0.0), axis=1)
    named = [
        (index, name)
        for index in range(len(size))
        if size[index] >= settings.goal_size
        and (name := names.of(index)) is not None
        and name.category not in NOT_GOALS
    ]
    goals: list[Goal] = []
    for which in rng.permutation(len(named)):
        goal = goal_of(simulator, *named[which], boxes, settings)
        if goal is not None:
            goals.append(goal)
        if len(goals) == settings.goals:
            break
    return sorted(goals, key=lambda goal: goal.instance)


def way_to(goal: Goal, place: np.ndarray, *, straight: bool = False) -> Way:
    """How the way from a place to a goal begins.

    Args:
        goal: where to.
        place: (3,) the agent's base, world frame.
        straight: take the straight line to the middle of the goal instead of the shortest path; the length is
            the path's either way.
    """
    path = goal.field.path(place)
    if not math.isfinite(path.length) or len(path.points) < 2:
        return Way(0.0, 0.0, path.length)
    leg = np.asarray(goal.centre if straight else path.points[1], dtype=np.float64) - path.points[0]
    return Way(math.atan2(-leg[2], leg[0]), math.hypot(leg[0], leg[2]), float(path.length))
