"""Doors and windows: which rooms are joined, where the walls are cut, which way the doors swing."""

from __future__ import annotations

from dataclasses import dataclass

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.floorplan import Layout, PlanRoom, Rect
from envs.scenes.houses.settings import HouseSettings

DOOR_HEAD = 2.06
"""Height of the upper edge of door openings, metres."""


@dataclass(frozen=True)
class Opening:
    """A cut through a wall, a box from face to face."""

    kind: str
    """``door`` (with a leaf or bare), ``arch`` (wide and bare), ``entrance`` (with a closed leaf) or ``window``."""
    rect: Rect
    """Its footprint; as deep as the wall is thick."""
    along_x: bool
    """Whether the wall runs along x."""
    low: float
    """Lower edge, metres above the floor."""
    high: float
    """Upper edge, metres."""
    rooms: tuple[int, ...]
    """Index of the room on the side of the lower coordinate and of the other, or of the only one."""
    swing: int | None = None
    """Index of the room into which a leaf stands open."""
    hinge_low: bool = False
    """Whether the hinges are at the end with the lower coordinate."""

    @property
    def start(self) -> float:
        """Lower coordinate along the wall."""
        return self.rect.x0 if self.along_x else self.rect.z0

    @property
    def end(self) -> float:
        """Upper coordinate along the wall."""
        return self.rect.x1 if self.along_x else self.rect.z1

    def front(self, room: Rect, depth: float, side: float = 0.0) -> Rect:
        """The floor before it inside a room: ``depth`` deep and ``side`` wider at either end."""
        x0, z0, x1, z1 = self.rect
        if self.along_x:
            inside = (z1, z1 + depth) if room.z0 >= z1 - 0.01 else (z0 - depth, z0)
            return Rect(x0 - side, inside[0], x1 + side, inside[1])
        inside = (x1, x1 + depth) if room.x0 >= x1 - 0.01 else (x0 - depth, x0)
        return Rect(inside[0], z0 - side, inside[1], z1 + side)

    def leaf(self, room: Rect) -> Rect:
        """The floor under the open leaf, which stands at a right angle to the wall."""
        front = self.front(room, (self.end - self.start) - 0.02)
        if self.along_x:
            at = front.x0 if self.hinge_low else front.x1
            return Rect(at - 0.06, front.z0, at + 0.06, front.z1)
        at = front.z0 if self.hinge_low else front.z1
        return Rect(front.x0, at - 0.06, front.x1, at + 0.06)


@dataclass(frozen=True)
class _Shared:
    """The stretch of wall between two rooms."""

    a: int
    b: int
    along_x: bool
    start: float
    end: float
    low_face: float
    high_face: float


_COST = {
    ("hallway", "living room"): 0,
    ("bathroom", "hallway"): 1,
    ("bedroom", "hallway"): 1,
    ("hallway", "study"): 1,
    ("hallway", "kitchen"): 2,
    ("dining room", "hallway"): 3,
    ("kitchen", "living room"): 1,
    ("dining room", "living room"): 1,
    ("dining room", "kitchen"): 2,
    ("bedroom", "living room"): 4,
    ("living room", "study"): 4,
    ("bathroom", "living room"): 5,
    ("bathroom", "bedroom"): 6,
    ("bedroom", "study"): 8,
    ("kitchen", "study"): 8,
    ("bathroom", "kitchen"): 9,
    ("bedroom", "kitchen"): 12,
}
"""How odd a door between two kinds of room is; the cheapest doors that join all rooms are made."""

_PUBLIC = ("living room", "kitchen", "dining room")


def _pair(rooms: tuple[PlanRoom, ...], wall: _Shared) -> tuple[str, str]:
    first, second = sorted((rooms[wall.a].category, rooms[wall.b].category))
    return first, second


def _shared_walls(layout: Layout) -> list[_Shared]:
    """Every stretch of at least a metre of wall between two rooms."""
    out = []
    gap = layout.inner_wall
    for a, first in enumerate(layout.rooms):
        for b, second in enumerate(layout.rooms):
            r, s = first.rect, second.rect
            if a == b:
                continue
            for along_x in (True, False):
                face, other = (r.z1, s.z0) if along_x else (r.x1, s.x0)
                start = max(r.x0, s.x0) if along_x else max(r.z0, s.z0)
                end = min(r.x1, s.x1) if along_x else min(r.z1, s.z1)
                if abs(other - face - gap) < 0.01 and end - start >= 1.0:
                    out.append(_Shared(a, b, along_x, start, end, face, other))
    return out


def _spanning(layout: Layout, walls: list[_Shared]) -> list[_Shared] | None:
    """The cheapest walls to cut so that every room can be reached; None where some cannot."""
    group = list(range(len(layout.rooms)))
    chosen = []
    order = sorted(range(len(walls)), key=lambda i: (_COST.get(_pair(layout.rooms, walls[i]), 20), i))
    for i in order:
        a, b = group[walls[i].a], group[walls[i].b]
        if a != b:
            chosen.append(walls[i])
            group = [a if g == b else g for g in group]
    return chosen if len(set(group)) == 1 else None


def _door(dice: Dice, layout: Layout, wall: _Shared, settings: HouseSettings) -> Opening:
    length = wall.end - wall.start
    names = _pair(layout.rooms, wall)
    public = (names[0] in _PUBLIC and names[1] in _PUBLIC) or names == ("hallway", "living room")
    if public and dice.chance(0.7):
        limit = length - 0.4 if names[0] in _PUBLIC else length - 0.16
        width = max(0.95, min(dice.length(1.2, 2.2), limit))
        kind = "arch"
    else:
        width, kind = dice.choice([0.9, 0.92, 0.95]), "door"
    spare = length - width
    margin = min(0.12, spare / 2)  # for the casing and the open leaf
    low_end = dice.chance(0.5)
    start = wall.start + margin if low_end else wall.end - margin - width
    if kind == "arch" or dice.chance(0.15):
        start = wall.start + margin + (spare - 2 * margin) * dice.uniform(0.2, 0.8)
    start = round(start, 3)
    swing = None
    if kind == "door" and dice.chance(settings.open_doors):
        rank = ["hallway", "living room", "dining room", "kitchen", "study", "bedroom", "bathroom"]
        swing = max((wall.a, wall.b), key=lambda i: (rank.index(layout.rooms[i].category), i))
    high = DOOR_HEAD if kind == "door" else min(dice.choice([DOOR_HEAD, 2.2]), layout.ceiling - 0.12)
    cut = _cut(wall.along_x, start, start + width, wall.low_face, wall.high_face)
    return Opening(kind, cut, wall.along_x, 0.0, high, (wall.a, wall.b), swing, low_end)


def _cut(along_x: bool, start: float, end: float, low: float, high: float) -> Rect:
    a, b, c, d = (round(v, 4) for v in (start, end, low, high))
    return Rect(a, c, b, d) if along_x else Rect(c, a, d, b)


def cut_doors(dice: Dice, layout: Layout, settings: HouseSettings) -> list[Opening] | None:
    """Openings that join all rooms, with a few more between public rooms; None where some room has no neighbour."""
    walls = _shared_walls(layout)
    chosen = _spanning(layout, walls)
    if chosen is None:
        return None
    for wall in walls:
        names = _pair(layout.rooms, wall)
        likely = (
            0.75
            if names[0] in _PUBLIC and names[1] in _PUBLIC
            else 0.25
            if names == ("hallway", "kitchen")
            else 0.0
        )
        if wall not in chosen and dice.chance(likely):
            chosen.append(wall)
    doors = [_door(dice.fork("door", i), layout, wall, settings) for i, wall in enumerate(chosen)]
    return [_without_clash(layout, door, doors) for door in doors]


def _without_clash(layout: Layout, door: Opening, doors: list[Opening]) -> Opening:
    """The door without its leaf where the open leaf would stand before another door."""
    if door.swing is None:
        return door
    room = layout.rooms[door.swing].rect
    leaf = door.leaf(room)
    for other in doors:
        if other is door or door.swing not in other.rooms:
            continue
        if leaf.overlaps(other.front(room, 1.0, 0.1)):
            return Opening(door.kind, door.rect, door.along_x, door.low, door.high, door.rooms)
    return door


def outer_runs(layout: Layout, index: int) -> list[tuple[int, float, float]]:
    """Stretches (side, start, end) of a room's walls with nothing but the outside behind them.

    Sides: 0 and 2 run along x at the lower and the upper z, 1 and 3 along z at the lower and the upper x.
    """
    room = layout.rooms[index].rect
    reach = layout.outer_wall + 0.5
    out = []
    for side in range(4):
        x0, z0, x1, z1 = room
        strip = (
            Rect(x0, z0 - reach, x1, z0),
            Rect(x0 - reach, z0, x0, z1),
            Rect(x0, z1, x1, z1 + reach),
            Rect(x1, z0, x1 + reach, z1),
        )[side]
        along_x = side % 2 == 0
        free = [(x0, x1) if along_x else (z0, z1)]
        for other in layout.rooms:
            if other is layout.rooms[index]:
                continue
            wide = other.rect.grown(layout.outer_wall + 0.1)
            if not strip.overlaps(wide):
                continue
            low, high = (wide.x0, wide.x1) if along_x else (wide.z0, wide.z1)
            free = [
                part
                for a, b in free
                for part in ((a, min(b, low)), (max(a, high), b))
                if part[1] - part[0] > 0.5
            ]
        out += [(side, a, b) for a, b in free]
    return out


def _outer_cut(layout: Layout, index: int, side: int, start: float, end: float) -> Rect:
    x0, z0, x1, z1 = layout.rooms[index].rect
    t = layout.outer_wall
    low, high = ((z0 - t, z0), (x0 - t, x0), (z1, z1 + t), (x1, x1 + t))[side]
    return _cut(side % 2 == 0, start, end, low, high)


_WINDOWS = {
    "living room": (1.2, 2.4, 0.75, 3),
    "kitchen": (1.0, 1.5, 1.12, 1),
    "dining room": (1.2, 2.0, 0.85, 2),
    "hallway": (0.6, 0.9, 1.0, 1),
    "bedroom": (1.0, 1.8, 0.9, 2),
    "study": (1.0, 1.6, 0.9, 2),
    "bathroom": (0.5, 0.8, 1.4, 1),
}
"""Narrowest and widest window of a room, its sill, and the most windows."""


def cut_outside(dice: Dice, layout: Layout, doors: list[Opening]) -> list[Opening]:
    """The entrance and the windows."""
    out: list[Opening] = []
    runs = {i: outer_runs(layout, i) for i in range(len(layout.rooms))}
    rank = ["hallway", "living room", "dining room", "kitchen", "study", "bedroom", "bathroom"]
    for i in sorted(runs, key=lambda i: (rank.index(layout.rooms[i].category), i)):
        rect = layout.rooms[i].rect
        width = dice.choice([0.92, 0.98])
        spots = []
        for side, a, b in runs[i]:
            for start in (a + 0.25, b - 0.25 - width, (a + b - width) / 2):
                cut = _outer_cut(layout, i, side, start, start + width)
                door = Opening("entrance", cut, side % 2 == 0, 0.0, DOOR_HEAD, (i,), None, dice.chance(0.5))
                zone = door.front(rect, 1.0, 0.1)
                leaves = [d.leaf(rect) for d in doors if d.swing == i]
                clear = not any(zone.overlaps(d.front(rect, 0.8)) for d in doors if i in d.rooms)
                if b - a >= width + 0.4 and clear and not any(zone.overlaps(leaf) for leaf in leaves):
                    spots.append(door)
        if spots:
            out.append(dice.choice(spots))
            break
    for i, room in enumerate(layout.rooms):
        narrow, wide, sill, most = _WINDOWS[room.category]
        sill = dice.choice([sill, sill, sill - 0.1, 0.12]) if room.category == "living room" else sill
        long_first = sorted(runs[i], key=lambda run: (run[1] - run[2], run[0]))
        made = 0
        style = dice.length(narrow, wide)
        for side, a, b in long_first:
            if made >= most:
                break
            taken = [o for o in out if i in o.rooms and side_of(o, room.rect) == side]
            for o in taken:
                a, b = (o.end + 0.1, b) if o.start - a < b - o.end else (a, o.start - 0.1)
            width = min(style, b - a - 0.5)
            if width < narrow or (room.category == "hallway" and dice.chance(0.5)):
                continue
            pieces = 2 if most > 1 and b - a > 2 * width + 2.2 and made + 2 <= most else 1
            for k in range(pieces):
                middle = a + (b - a) * (k + 0.5) / pieces
                start = round(
                    middle - width / 2 + dice.uniform(-0.2, 0.2) * min(1.0, (b - a) / pieces - width - 0.3), 3
                )
                cut = _outer_cut(layout, i, side, start, start + width)
                out.append(Opening("window", cut, side % 2 == 0, sill, DOOR_HEAD, (i,)))
                made += 1
    return out


def side_of(opening: Opening, room: Rect) -> int:
    """Which side of a room an opening lies in: 0 and 2 at the lower and upper z, 1 and 3 at the lower and upper x."""
    if opening.along_x:
        return 0 if opening.rect.z1 <= room.z0 + 0.01 else 2
    return 1 if opening.rect.x1 <= room.x0 + 0.01 else 3
