"""Floor plans: which rooms a house has, their rectangles, and the walls between them.

Two ways to lay out a home: around the living room (small flats), and along a hallway with rooms on one or both sides
and the living room at its end. Rooms of a row differ in depth and rows differ in length, which gives L-shaped and
stepped footprints; mirroring and turning give the rest of the variety.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from typing import NamedTuple

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.settings import HouseSettings


class Rect(NamedTuple):
    """An axis-aligned rectangle on the floor, metres."""

    x0: float
    z0: float
    x1: float
    z1: float

    @property
    def width(self) -> float:
        """Extent along x."""
        return self.x1 - self.x0

    @property
    def depth(self) -> float:
        """Extent along z."""
        return self.z1 - self.z0

    def grown(self, by: float) -> Rect:
        """Larger by this much on every side."""
        return Rect(self.x0 - by, self.z0 - by, self.x1 + by, self.z1 + by)

    def overlaps(self, other: Rect) -> bool:
        """Whether the two share more than a border."""
        return self.x0 < other.x1 and other.x0 < self.x1 and self.z0 < other.z1 and other.z0 < self.z1


@dataclass(frozen=True)
class PlanRoom:
    """A room of the plan: a free rectangle between its walls."""

    name: str
    """Such as ``bedroom.01``."""
    category: str
    """Such as ``bedroom``."""
    rect: Rect
    """Between the inner faces of its walls."""


@dataclass(frozen=True)
class Layout:
    """Rooms and walls of one house."""

    rooms: tuple[PlanRoom, ...]
    """In the order of their names' first appearance."""
    inner_wall: float
    """Thickness of the walls between rooms, metres."""
    outer_wall: float
    """Thickness of the walls to the outside, metres."""
    ceiling: float
    """Height of the ceiling, metres."""


_PROGRAMMES: dict[int, tuple[tuple[str, ...], ...]] = {
    3: (("bedroom", "bathroom"), ("kitchen", "bathroom"), ("kitchen", "bedroom")),
    4: (("kitchen", "bedroom", "bathroom"),),
    5: (
        ("kitchen", "bedroom", "bathroom", "bedroom"),
        ("kitchen", "bedroom", "bathroom", "study"),
        ("kitchen", "bedroom", "bathroom", "dining room"),
        ("kitchen", "bedroom", "bathroom", "hallway"),
    ),
    6: (
        ("kitchen", "bedroom", "bathroom", "bedroom", "hallway"),
        ("kitchen", "bedroom", "bathroom", "study", "hallway"),
        ("kitchen", "bedroom", "bathroom", "dining room", "hallway"),
    ),
    7: (
        ("kitchen", "bedroom", "bathroom", "bedroom", "dining room", "hallway"),
        ("kitchen", "bedroom", "bathroom", "bedroom", "study", "hallway"),
        ("kitchen", "bedroom", "bathroom", "bedroom", "bathroom", "hallway"),
    ),
    8: (
        ("kitchen", "bedroom", "bathroom", "bedroom", "dining room", "study", "hallway"),
        ("kitchen", "bedroom", "bathroom", "bedroom", "bathroom", "study", "hallway"),
        ("kitchen", "bedroom", "bathroom", "bedroom", "bedroom", "dining room", "hallway"),
        ("kitchen", "bedroom", "bathroom", "bedroom", "bedroom", "bathroom", "hallway"),
    ),
}
"""What a home of so many rooms holds beside its living room."""

_WIDTHS = {
    "bedroom": (3.0, 4.2),
    "bathroom": (2.05, 2.8),
    "kitchen": (2.6, 3.8),
    "study": (2.4, 3.4),
    "dining room": (3.0, 4.0),
}
"""Narrowest and widest room of a kind along its row, metres between the walls' middles."""
_DEPTHS = {
    "bedroom": (3.2, 4.4),
    "bathroom": (2.3, 3.1),
    "kitchen": (2.8, 4.0),
    "study": (2.6, 3.6),
    "dining room": (3.1, 4.2),
}
"""Shallowest and deepest room of a kind across its row, metres."""


def _hub(dice: Dice, others: list[str]) -> list[tuple[str, Rect]]:
    """The living room in the middle, the others in stacks at its left and right."""
    living = Rect(0.0, 0.0, dice.length(4.4, 6.2), dice.length(4.2, 5.8))
    left, right = ([], []) if len(others) > 2 else (others, [])
    if len(others) > 2:
        private = [name for name in others if name in ("bedroom", "bathroom")]
        public = [name for name in others if name not in ("bedroom", "bathroom")]
        left, right = private[:2], public + private[2:]
    rooms = [("living room", living)]
    for side, stack in ((-1, left), (1, right)):
        if not stack:
            continue
        depths = [dice.length(*_DEPTHS[name]) for name in stack]
        if len(stack) == 1:
            depths = (
                [max(depths[0], living.depth - dice.choice([0.0, 0.0, 1.2]))]
                if depths[0] > living.depth - 1.0
                else depths
            )
        else:
            spare = living.depth - fsum(depths)
            if -0.8 < spare < 0.8:
                depths[0] += spare
        total = fsum(depths)
        z = round(dice.choice([0.0, living.depth - total]), 4)
        for name, depth in zip(dice.shuffled(stack) if side > 0 else stack, depths, strict=True):
            width = dice.length(*_WIDTHS[name]) + (0.4 if name == "bathroom" else 0.0)
            x0, x1 = (-width, 0.0) if side < 0 else (living.x1, living.x1 + width)
            rooms.append((name, Rect(x0, z, x1, z + depth)))
            z += depth
    return rooms


def _row(dice: Dice, names: list[str], flush: bool) -> list[tuple[str, float, float]]:
    """Width and depth of each room of a row; depths alike where ``flush``."""
    common = dice.length(3.2, 4.2)
    out = []
    for name in names:
        depth = dice.length(*_DEPTHS[name])
        if flush or abs(depth - common) < 0.7:
            depth = common
        out.append((name, dice.length(*_WIDTHS[name]), depth))
    return out


def _corridor(dice: Dice, others: list[str]) -> list[tuple[str, Rect]]:
    """A hallway along x with rooms above and below; the living room (and the kitchen or dining room) at its end."""
    hall = dice.length(1.2, 1.6)
    rest = [name for name in others if name != "hallway"]
    beside = (
        [name for name in ("dining room", "kitchen") if name in rest][:1]
        if len(rest) >= 5 or dice.chance(0.5)
        else []
    )
    for name in beside:
        rest.remove(name)
    if "kitchen" in rest:  # the kitchen lies next to the living room
        rest.remove("kitchen")
        rest = [*dice.shuffled(rest), "kitchen"]
    else:
        rest = dice.shuffled(rest)
    single = len(rest) <= 3 and dice.chance(0.35)
    above, below = (rest, []) if single else (rest[1::2], rest[0::2])
    if len(rest) % 2 == 0 and not single:
        above, below = rest[0::2], rest[1::2]
    upper, lower = _row(dice, above, dice.chance(0.5)), _row(dice, below, dice.chance(0.5))
    reach = [fsum(width for _, width, _ in row) for row in (upper, lower)]
    if lower and abs(reach[0] - reach[1]) < 0.9:  # no sliver of outer wall at the far end
        row, missing = (upper, reach[1] - reach[0]) if reach[0] < reach[1] else (lower, reach[0] - reach[1])
        name, width, depth = row[0]
        row[0] = (name, round(width + missing, 4), depth)
        reach = [max(reach)] * 2
    # long enough for a door to every room; the rooms at the far end may reach beyond it
    needed = max(total - row[0][1] + 1.35 for total, row in zip(reach, (upper, lower), strict=True) if row)
    length = round(dice.choice([max(reach), needed]), 4)
    rooms: list[tuple[str, Rect]] = []
    for row, side in ((upper, -1), (lower, 1)):
        x = 0.0  # rows grow from the living room at x = 0 towards -x
        for name, width, depth in reversed(row):
            z0, z1 = (-depth, 0.0) if side < 0 else (hall, hall + depth)
            rooms.append((name, Rect(round(x - width, 4), round(z0, 4), round(x, 4), round(z1, 4))))
            x -= width
    rooms.append(("hallway", Rect(-length, 0.0, 0.0, hall)))
    width = dice.length(4.4, 6.0)
    top = dice.choice([-upper[-1][2], -dice.length(1.6, 3.0)]) if upper else 0.0
    bottom = hall + (dice.choice([lower[-1][2], dice.length(1.6, 3.0)]) if lower else dice.length(2.0, 4.0))
    if bottom - top < 4.0:
        bottom = top + 4.0
    bottom = min(bottom, top + 7.0)
    if not beside:
        rooms.append(("living room", Rect(0.0, round(top, 4), width, round(bottom, 4))))
        return rooms
    name = beside[0]
    depth = dice.length(*_DEPTHS[name])
    if bottom - top - depth < 3.6:  # beyond the living room
        other = dice.length(*_WIDTHS[name])
        deep = dice.choice([bottom - top, min(bottom - top, depth)])
        rooms.append(("living room", Rect(0.0, round(top, 4), width, round(bottom, 4))))
        rooms.append((name, Rect(width, round(top, 4), round(width + other, 4), round(top + deep, 4))))
        return rooms
    if top + depth < 0.0:  # the hallway ends at the living room
        rooms.append((name, Rect(0.0, round(top, 4), width - dice.choice([0.0, 0.8]), round(top + depth, 4))))
        rooms.append(("living room", Rect(0.0, round(top + depth, 4), width, round(bottom, 4))))
    else:
        split = max(bottom - depth, hall)
        bottom = max(bottom, split + 2.8)
        rooms.append(("living room", Rect(0.0, round(top, 4), width, round(split, 4))))
        rooms.append((name, Rect(0.0, round(split, 4), width - dice.choice([0.0, 0.8]), round(bottom, 4))))
    return rooms


def _oriented(dice: Dice, rooms: list[tuple[str, Rect]]) -> list[tuple[str, Rect]]:
    """One of the eight mirrored and turned variants, its lower corner at the origin."""
    flip_x, flip_z, swap = dice.chance(0.5), dice.chance(0.5), dice.chance(0.5)
    out = []
    for name, (x0, z0, x1, z1) in rooms:
        if flip_x:
            x0, x1 = -x1, -x0
        if flip_z:
            z0, z1 = -z1, -z0
        if swap:
            x0, z0, x1, z1 = z0, x0, z1, x1
        out.append((name, Rect(x0, z0, x1, z1)))
    left, near = min(rect.x0 for _, rect in out), min(rect.z0 for _, rect in out)
    return [
        (name, Rect(*(round(v, 4) for v in (r.x0 - left, r.z0 - near, r.x1 - left, r.z1 - near))))
        for name, r in out
    ]


def lay_out(dice: Dice, settings: HouseSettings) -> Layout:
    """Draw the rooms of a house."""
    count = dice.integer(*settings.rooms)
    others = list(dice.choice(_PROGRAMMES[count]))
    rooms = _corridor(dice, others) if "hallway" in others else _hub(dice, others)
    inner, outer = dice.choice([0.1, 0.12, 0.14]), dice.choice([0.2, 0.24, 0.28])
    order = ["living room", "kitchen", "dining room", "hallway", "bedroom", "study", "bathroom"]
    named, counts = [], dict.fromkeys(order, 0)
    for category, rect in sorted(_oriented(dice, rooms), key=lambda item: (order.index(item[0]), item[1])):
        named.append(PlanRoom(f"{category}.{counts[category]:02d}", category, rect.grown(-inner / 2)))
        counts[category] += 1
    return Layout(tuple(named), inner, outer, dice.length(*settings.ceiling_height))
