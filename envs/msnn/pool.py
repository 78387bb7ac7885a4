"""All that one scene offers: situations, goals and the directions between them, from which samples are chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.embodiment import AgentSpec
from envs.episodes.ground import GroundSettings, on_ground
from envs.episodes.view_points import scene_of
from envs.msnn.goals import Way, goals_of, way_to
from envs.msnn.names import Name, Names
from envs.msnn.settings import MsnnSettings
from envs.msnn.situations import NOT_LANDMARKS, SEEN, Situation, SituationFinder
from envs.msnn.surroundings import look_around
from envs.scenepoint_export.export import scan_id_of
from envs.scenepoint_export.sightings import Boxes
from envs.scenepoint_export.words import dice
from envs.scenes.scene import Scene
from envs.simulators.protocol import Simulator
from envs.simulators.raycast import RaycastSimulator
from envs.simulators.walkable.build import build_navmesh
from envs.simulators.walkable.surface import NavmeshSurface
from poma3d.errors import SceneError

_STEP = 22.5
_DRAWS = 20
_BESIDE, _BROAD = 0.5, 0.4
"""Metres: from a thing to places beside it, and the least width of such a thing."""


@dataclass(frozen=True)
class Pool:
    """The candidates of one scene: candidate c is situation ``situation[c]`` with goal ``goal[c]``."""

    scene_id: str
    """What the world calls the scene."""
    scan_id: str
    """What ScenePoint files call it."""
    places: np.ndarray
    """(P, 3) float64, world frame."""
    situations: list[Situation]
    """Where an agent can be."""
    goals: list[tuple[int, Name]]
    """Where it can go: the object and its name."""
    ways: list[list[Way]]
    """From each place to each goal."""
    situation: np.ndarray
    """(C,) int32."""
    goal: np.ndarray
    """(C,) int32."""
    angle: np.ndarray
    """(C,) float64 degrees in [0, 360): the answers."""
    in_sight: np.ndarray
    """(C,) bool: the goal can be seen from the place, wherever the agent looks."""


def scene_pool(scene: Scene, settings: MsnnSettings) -> Pool:
    """The candidates of a scene; they depend on the scene and the settings alone.

    Raises:
        SettingError: the scene has no named objects.
        SceneError: there is no floor, or nothing to speak of or to go to.
    """
    agent = AgentSpec()
    # not through the disk cache: hundreds of houses are seen once each
    navmesh = build_navmesh(scene.vertices, scene.triangles, agent.navmesh_settings)
    with RaycastSimulator(scene, agent, surface=NavmeshSurface(navmesh), threads=1) as simulator:
        return simulator_pool(simulator, settings)


def simulator_pool(simulator: Simulator, settings: MsnnSettings) -> Pool:
    """As `scene_pool`, of a scene that is open."""
    scene = scene_of(simulator)
    scan_id = scan_id_of(scene.scene_id)
    rng = dice("msnn", settings.seed, scan_id)
    names, boxes = Names(scene), Boxes(scene)
    places = _places(simulator, names, boxes, settings.places, rng)
    goals = goals_of(simulator, names, boxes, settings, rng)
    around = look_around(simulator, places)
    finder = SituationFinder(scene, names, boxes, places, around, settings)
    found = [situation for place in range(len(places)) for situation in finder.at(place, rng)]
    situations = _varied(found, settings.situations, rng)
    if not goals or not situations:
        raise SceneError(
            f"{scene.scene_id}: {'no goal that can be named and reached' if not goals else 'nothing to speak of'};"
            " MSNN samples need objects that are the only one of their category in the scene or in a room"
        )
    ways = [[way_to(goal, place, straight=settings.straight) for goal in goals] for place in places]
    taken = _spoken_of(situations, [goal.instance for goal in goals])
    situation, goal, angle = _candidates(situations, taken, ways, settings)
    instances = np.array([goal_.instance for goal_ in goals])[goal]
    in_sight = around.share[np.array([found_.place for found_ in situations])[situation], instances] >= SEEN
    far = rng.permutation(np.flatnonzero(~in_sight))[: settings.far_candidates]
    kept = np.sort(np.concatenate([np.flatnonzero(in_sight), far]))
    named = [(goal_.instance, goal_.name) for goal_ in goals]
    return Pool(
        scene.scene_id,
        scan_id,
        places,
        situations,
        named,
        ways,
        situation[kept],
        goal[kept],
        angle[kept],
        in_sight[kept],
    )


def _places(
    simulator: Simulator, names: Names, boxes: Boxes, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Places (P, 3) on floors, half of them beside things that are the only ones of their kind.

    Coordinates are whole tenths of a millimetre, as files keep them.
    """
    surface = simulator.surface
    known = np.isfinite(boxes.low).all(axis=1)
    things = [
        index
        for index in np.flatnonzero(known)
        if (name := names.of(int(index))) is not None
        and name.room is None
        and name.category not in NOT_LANDMARKS
        and (boxes.high[index] - boxes.low[index])[[0, 2]].max() >= _BROAD
    ]
    found = []
    for wanted, beside in ((count // 2 if things else 0, True), (count, False)):
        points = np.zeros((0, 3))
        for _ in range(_DRAWS if wanted else 0):
            drawn = np.stack([surface.random_navigable_point(rng) for _ in range(wanted)]).astype(np.float64)
            if beside:
                thing = rng.choice(things, wanted)
                low, high = boxes.low[thing] - _BESIDE, boxes.high[thing] + _BESIDE
                drawn[:, [0, 2]] = (low + (high - low) * rng.random((wanted, 3)))[:, [0, 2]]
            drawn = drawn.round(4)
            good = np.asarray(surface.is_navigable(drawn)) & on_ground(surface, drawn, GroundSettings())
            points = np.concatenate([points, drawn[good]])
            if len(points) >= wanted:
                break
        found.append(points[:wanted])
    places = np.concatenate(found)[:count]
    if not len(places):
        raise SceneError(f"{simulator.scene_id}: has no floor large enough to walk about on")
    return places


def _varied(found: list[Situation], most: int, rng: np.random.Generator) -> list[Situation]:
    """At most so many of the situations, of every kind as equally many as there are, facing thrice as often."""
    if not found:
        return []
    groups: dict[tuple[str, str], list[int]] = {}
    for index in rng.permutation(len(found)):
        groups.setdefault((found[index].kind, found[index].side), []).append(int(index))
    turn = sorted(
        (rank // (3 if side == "facing" else 1), index)
        for (_, side), group in groups.items()
        for rank, index in enumerate(group)
    )
    return [found[index] for index in sorted(index for _, index in turn[:most])]


def _spoken_of(situations: list[Situation], goals: list[int]) -> np.ndarray:
    """Whether a situation (S, G) speaks of a goal already."""
    spoken = [{mark.instance for mark in situation.landmarks} for situation in situations]
    return np.array([[goal in marks for goal in goals] for marks in spoken], dtype=bool)


def _candidates(
    situations: list[Situation], taken: np.ndarray, ways: list[list[Way]], settings: MsnnSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Situation (C,), goal (C,) and angle (C,) of every pair whose answer is beyond doubt."""
    place = np.array([situation.place for situation in situations])
    yaw = np.array([situation.yaw for situation in situations])
    angle, leg, length = np.array([[(way.angle, way.leg, way.length) for way in row] for row in ways])[
        place
    ].transpose(2, 0, 1)  # (P, G, 3) -> (S, G, 3) -> three of (S, G)
    answer = np.degrees(angle - np.round(yaw, 5)[:, None]) % 360.0
    # multiples of 22.5 degrees are borders of the four or the eight, but for the middles of the four
    off = np.abs((answer + _STEP / 2) % _STEP - _STEP / 2)
    at_middle = np.round(answer / _STEP) % 4 == 0
    good = ~taken & np.isfinite(length) & (length >= settings.least_way) & (leg >= settings.least_leg)
    situation, goal = np.nonzero(good & (at_middle | (off >= settings.margin)))
    return situation.astype(np.int32), goal.astype(np.int32), answer[situation, goal]
