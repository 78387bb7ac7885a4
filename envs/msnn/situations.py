"""Situations an agent can be in: beside, between, sitting on, facing things that have names of their own.

A situation holds facts only; `envs.msnn.wording` puts them into words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.msnn.names import Name, Names
from envs.msnn.settings import MsnnSettings
from envs.msnn.surroundings import Surroundings, to_boxes
from envs.scenepoint_export.sightings import Boxes
from envs.scenes.scene import Scene

NOT_LANDMARKS = frozenset(
    {
        "picture", "portrait", "desk portrait", "curtain", "ceiling lamp", "chandelier", "light", "upper cabinet",
        "towel", "handle", "board", "cushion",
    }
)  # fmt: skip
"""What nobody tells his place by."""
SEATS = frozenset({"sofa", "armchair", "bed", "ottoman", "bench", "toilet", "bathtub", "office chair"})
"""What one can sit on with the floor before one's feet."""
_BESIDE = 0.55
"""Metres to an object that one stands beside."""
_BETWEEN = 1.1
"""Metres to each of two objects that one stands between."""
_SEAT = 0.45
"""Metres from the place before a seat to the seat."""
_STANDS_ON_FLOOR = 0.45
"""How far above the floor an object may begin for one to stand beside it, metres."""
_LOWEST = 0.3
"""How high above the floor it must end: nobody stands beside a rug."""
SEEN = 0.002
"""Share of all around that a landmark takes at least."""
_NEAR, _FAR = 0.6, 6.0
"""Metres to what one faces."""
_MOST_FACED = 6
"""Of what is seen from a place only the most conspicuous is spoken of."""
_JITTER = math.radians(8.0)
"""A direction in words is right within this."""
_TURN = math.radians(100.0)
"""How far one turns on a seat."""
SIDES = {"facing": 0.0, "back": math.pi, "left": math.pi / 2, "right": -math.pi / 2}
"""Where a landmark is against the heading, radians counter-clockwise."""


@dataclass(frozen=True)
class Landmark:
    """An object that a situation speaks of."""

    instance: int
    """Which object of the scene."""
    name: Name
    """What only it is called."""
    local: bool = False
    """Whether the name holds in the room of the situation alone."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Where an agent is and how it stands to named things."""

    place: int
    """Which of the places it is at."""
    kind: str
    """``in`` a room, ``beside`` or ``seated`` on the first of ``at``, ``between`` both of them."""
    at: tuple[Landmark, ...]
    """What ``kind`` is about."""
    side: str
    """Where `seen` is: a key of `SIDES`."""
    seen: Landmark
    """What tells the heading."""
    room: str | None
    """Category of the room, where it is the only one of its kind."""
    yaw: float
    """Heading in the scene's frame, radians."""

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """All objects it speaks of."""
        return (*self.at, self.seen)

    @property
    def signature(self) -> str:
        """All that its words can tell: two situations of one signature are worded alike."""
        at = "+".join(sorted(mark.name.text for mark in self.at))
        return f"{self.kind} {at}; {self.side} {self.seen.name.text}; in {self.room}"


class SituationFinder:
    """Finds situations at the places of one scene.

    Args:
        scene: the scene.
        names: of its objects.
        boxes: of its objects.
        places: (P, 3) where the agent's base can stand, world frame.
        around: what is seen from them.
        settings: which landmarks are large enough.
    """

    def __init__(
        self,
        scene: Scene,
        names: Names,
        boxes: Boxes,
        places: np.ndarray,
        around: Surroundings,
        settings: MsnnSettings,
    ) -> None:
        self._places, self._around = places, around
        size = np.linalg.norm(np.where(np.isfinite(boxes.low), boxes.high - boxes.low, 0.0), axis=1)
        self._category = [instance.category for instance in scene.instances]
        self._large = [
            index
            for index, category in enumerate(self._category)
            if size[index] >= settings.landmark_size and category not in NOT_LANDMARKS
        ]
        self._offset = to_boxes(places, boxes)
        self._reach = np.linalg.norm(self._offset, axis=-1)
        above, top = (edge[None, :, 1] - places[:, None, 1] for edge in (boxes.low, boxes.high))
        self._stands = (above >= -0.3) & (above <= _STANDS_ON_FLOOR) & (top >= _LOWEST)
        lies_in = [room if names.room_kind(room) else None for room in rooms_of(scene, places)]
        self._room = [names.room_kind(room) for room in lies_in]
        marks = {room: self._marks(names, room) for room in set(lies_in)}
        self._marks_at = [marks[room] for room in lies_in]
        self._backs: dict[int, np.ndarray | None] = {}
        self._scene = scene

    def _marks(self, names: Names, room: str | None) -> dict[int, Landmark]:
        """What has a name for someone who is told the room."""
        named = {index: names.within(index, room) for index in self._large}
        return {
            index: Landmark(index, name, local=name != names.of(index))
            for index, name in named.items()
            if name is not None
        }

    def at(self, place: int, rng: np.random.Generator) -> list[Situation]:
        """The situations of a place, each with a heading of its own.

        Args:
            place: which.
            rng: how far the headings are off, within what the words allow.
        """
        share, distance = self._around.share[place], self._around.distance[place]
        seen = [index for index in self._marks_at[place] if share[index] >= SEEN]
        faced = [index for index in seen if _NEAR <= distance[index] <= _FAR]
        faced = sorted(faced, key=lambda index: -share[index])[:_MOST_FACED]
        near = [
            index for index in seen if self._reach[place, index] <= _BETWEEN and self._stands[place, index]
        ]
        positions: list[tuple[str, tuple[int, ...]]] = [("in", ())] if self._room[place] is not None else []
        positions += [("beside", (index,)) for index in near if 0 < self._reach[place, index] <= _BESIDE]
        positions += [("between", pair) for pair in self._pairs(place, near)]
        positions += [("seated", (index,)) for index in near if self._category[index] in SEATS]
        return [
            found
            for kind, at in positions
            for index in faced
            if index not in at
            for side in SIDES
            if (found := self._make(place, kind, at, side, index, rng)) is not None
        ]

    def _make(
        self, place: int, kind: str, at: tuple[int, ...], side: str, index: int, rng: np.random.Generator
    ) -> Situation | None:
        if kind == "seated" and side == "back":
            return None
        yaw = float(self._around.bearing[place, index]) - SIDES[side] + rng.uniform(-_JITTER, _JITTER)
        if kind == "seated" and not self._can_sit(place, at[0], yaw):
            return None
        named = self._marks_at[place]
        marks = tuple(named[one] for one in at)
        return Situation(place, kind, marks, side, named[index], self._room[place], yaw)

    def _pairs(self, place: int, near: list[int]) -> list[tuple[int, int]]:
        """Objects on opposite sides of a place."""
        ways = {
            i: self._offset[place, i] / self._reach[place, i] for i in near if self._reach[place, i] > 0.05
        }
        return [(one, two) for one in ways for two in ways if one < two and ways[one] @ ways[two] < -0.9]

    def _can_sit(self, place: int, seat: int, yaw: float) -> bool:
        """Whether the place lies before the front (or beside the bed) and the body can be turned to ``yaw``."""
        reach = self._reach[place, seat]
        if not 0 < reach <= _SEAT:
            return False
        out = -self._offset[place, seat] / reach
        if seat not in self._backs:
            self._backs[seat] = _backrest(self._scene, seat)
        back = self._backs[seat]
        if back is not None and out @ back > (0.3 if self._category[seat] == "bed" else -0.7):
            return False
        turn = (yaw - math.atan2(out[1], out[0]) + math.pi) % math.tau - math.pi
        return abs(turn) <= _TURN


def _backrest(scene: Scene, index: int) -> np.ndarray | None:
    """Horizontal unit vector (2,) in the scene's frame towards the backrest of a seat; None where it has none."""
    corners = scene.instance_vertices(index).astype(np.float64)
    low, high = corners.min(axis=0), corners.max(axis=0)
    top = corners[corners[:, 1] > low[1] + 0.75 * (high[1] - low[1])]
    middle = (top.min(axis=0) + top.max(axis=0)) / 2
    offset = ((middle - (low + high) / 2) * [1, 0, -1])[[0, 2]]
    length = float(np.linalg.norm(offset))
    return offset / length if length > 0.1 * float(np.max((high - low)[[0, 2]])) else None


def rooms_of(scene: Scene, places: np.ndarray) -> list[str | None]:
    """The name of the room each place (P, 3) lies in; None outside of all."""
    found: list[str | None] = [None] * len(places)
    for room in scene.rooms:
        inside = _inside(np.asarray(room.outline, dtype=np.float64), places[:, [0, 2]])
        level = np.abs(places[:, 1] - room.floor_height) < 0.5
        for index in np.flatnonzero(inside & level):
            found[index] = room.name
    return found


def _inside(outline: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether points (P, 2) lie within a polygon (N, 2): an odd number of its edges lies to their right."""
    x, z = points[:, None, 0], points[:, None, 1]
    (x0, z0), (x1, z1) = outline.T, np.roll(outline, -1, axis=0).T
    crosses = (z0 > z) != (z1 > z)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = x0 + (z - z0) * (x1 - x0) / (z1 - z0)
    return (crosses & (x < at)).sum(axis=1) % 2 == 1
