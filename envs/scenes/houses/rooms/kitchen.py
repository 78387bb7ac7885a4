"""Kitchens: counters along a wall or around a corner, with sink, stove, hood, refrigerator and wall cabinets."""

from __future__ import annotations

from typing import NamedTuple

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.floorplan import Rect
from envs.scenes.houses.furniture import decor, electronics, kitchen, seating, storage, tables
from envs.scenes.houses.furniture.kitchen import COUNTER_DEPTH, COUNTER_HEIGHT
from envs.scenes.houses.furniture.piece import HANDLE_STYLES, Piece
from envs.scenes.houses.openings import side_of
from envs.scenes.houses.rooms.dining import dining_set, table_at_wall
from envs.scenes.houses.rooms.dressing import greenery, in_corner, in_middle, pictures, strew
from envs.scenes.houses.space import SIDE_YAW, Placed, RoomSpace, local_point, wall_strip

_BEHIND = 0.02
_RUN_DEPTH = COUNTER_DEPTH + _BEHIND


def _strip(space: RoomSpace, side: int, a: float, b: float, depth: float) -> Rect:
    return wall_strip(space.room.rect, side, a, b, depth)


def _free_runs(space: RoomSpace, side: int) -> list[tuple[float, float]]:
    """Stretches of a wall along which counters fit: no door behind or too near, no low window."""
    r = space.room.rect
    a, b = (r.x0, r.x1) if side % 2 == 0 else (r.z0, r.z1)
    strip = _strip(space, side, a, b, _RUN_DEPTH)
    before = _strip(space, side, a, b, _RUN_DEPTH + 0.55)
    taken = [rect for rect in space.ways if rect.overlaps(strip)] + [
        rect for rect in space.solids if rect.overlaps(before)
    ]
    taken += [
        w.front(r, 0.4, 0.05)
        for w in space.windows
        if side_of(w, r) == side and w.low < COUNTER_HEIGHT + 0.05
    ]
    free = [(a + _BEHIND, b - _BEHIND)]
    for rect in taken:
        low, high = (rect.x0, rect.x1) if side % 2 == 0 else (rect.z0, rect.z1)
        free = [
            part for p, q in free for part in ((p, min(q, low)), (max(p, high), q)) if part[1] - part[0] > 0.5
        ]
    return free


def _put(
    space: RoomSpace,
    piece: Piece,
    side: int,
    middle: float,
    *,
    y: float = 0.0,
    solid: bool = True,
    depth: float | None = None,
) -> Placed:
    r = space.room.rect
    off = _BEHIND + (piece.depth if depth is None else depth) / 2
    wall = (r.z0, r.x0, r.z1, r.x1)[side]
    point = wall + off if side < 2 else wall - off
    x, z = (middle, point) if side % 2 == 0 else (point, middle)
    return space.put(piece, round(x, 4), round(z, 4), SIDE_YAW[side], y=y, solid=solid, essential=True)


_WIDTHS = {"stove": 0.6, "sink": 0.8, "dishwasher": 0.6}


def _modules(dice: Dice, length: float, needed: list[str], fridge: Piece) -> list[tuple[str, float]]:
    """What stands along a run of this length, from its corner on; takes from ``needed`` what finds a place."""
    widths = {**_WIDTHS, "fridge": round(fridge.width + 0.04, 4)}
    order: list[tuple[str, float]] = []
    left = length
    for name in list(needed):
        if left >= widths[name]:
            order.append((name, widths[name]))
            left -= widths[name]
            needed.remove(name)
    fillers = []
    while left >= 0.4:
        w = dice.choice([w for w in (0.4, 0.5, 0.6, 0.8, 0.9) if w <= left])
        fillers.append(("counter", w))
        left -= w
    out: list[tuple[str, float]] = []
    for item in [
        item for item in order if item[0] != "fridge"
    ]:  # a worktop between the fixtures where there is one
        if fillers:
            out.append(fillers.pop())
        out.append(item)
    out += fillers + [item for item in order if item[0] == "fridge"]
    for i, (name, w) in enumerate(out):
        if name == "counter":  # the rest widens a cabinet
            out[i] = (name, round(w + left, 4))
            break
    return out


class _Style:
    def __init__(self, dice: Dice) -> None:
        self.handle, self.framed = dice.choice(HANDLE_STYLES), dice.chance(0.35)
        self.upper_height = dice.uniform(0.6, 0.8)
        self.upper_low = dice.uniform(1.42, 1.5)


def _over(space: RoomSpace, dice: Dice, side: int, name: str, middle: float, w: float, style: _Style) -> None:
    """A wall cabinet or a hood over one module, where no window is."""
    r = space.room.rect
    blocked = any(
        side_of(o, r) == side and o.start - 0.06 < middle + w / 2 and middle - w / 2 < o.end + 0.06
        for o in space.openings
    )
    along = (r.x0, r.x1) if side % 2 == 0 else (r.z0, r.z1)
    for other in space.windows + space.doors:  # round the corner
        near = side_of(other, r) % 2 != side % 2
        reach = other.front(r, 0.4)
        strip = _strip(space, side, middle - w / 2, middle + w / 2, 0.4)
        blocked |= near and reach.overlaps(strip)
    if blocked or middle - w / 2 < along[0] or middle + w / 2 > along[1]:
        return
    if name == "stove":
        low = style.upper_low + 0.12
        _put(space, kitchen.range_hood(dice, space.ceiling - low), side, middle, y=low, solid=False)
    elif name != "fridge" and style.upper_low + style.upper_height < space.ceiling - 0.03:
        _put(
            space,
            kitchen.upper_cabinet(dice, w, style.upper_height, style.handle, style.framed),
            side,
            middle,
            y=style.upper_low,
            solid=False,
        )


def counters(space: RoomSpace, dice: Dice, most: float = 9.0) -> None:
    """Build the kitchen itself along the longest free wall, on a second one where something found no place."""
    style, fridge = _Style(dice), kitchen.refrigerator(dice)
    needed = [*dice.shuffled(["stove", "sink"]), "fridge", "dishwasher"]
    for shortest in (2.1, 0.6):
        runs = [(b - a, side, a, b) for side in range(4) for a, b in _free_runs(space, side)]
        for length, side, a, b in sorted(runs, key=lambda run: (-round(run[0], 2), run[1])):
            if needed not in ([], ["dishwasher"]) and length >= shortest:
                _build(space, dice, side, a, b, min(length, most), needed, style, fridge)


def _build(
    space: RoomSpace,
    dice: Dice,
    side: int,
    a: float,
    b: float,
    length: float,
    needed: list[str],
    style: _Style,
    fridge: Piece,
) -> None:
    """One run along a wall and perhaps around its corner; takes from ``needed`` what finds a place."""
    r = space.room.rect
    low, high = (r.x0, r.x1) if side % 2 == 0 else (r.z0, r.z1)
    # the run starts at whichever end touches a corner; the refrigerator stands at the other
    at_corner = a - low < 0.1, high - b < 0.1
    forward = at_corner[0] or not at_corner[1]
    start, sign = (a, 1) if forward else (b, -1)
    whole = _strip(
        space, side, min(start, start + sign * length), max(start, start + sign * length), _RUN_DEPTH
    )
    if not space.fits(whole, ignore_access=True):
        length = min(length, 1.7)  # less in the way
        whole = _strip(
            space, side, min(start, start + sign * length), max(start, start + sign * length), _RUN_DEPTH
        )
        if not space.fits(whole, ignore_access=True):
            return
    second = _second_run(space, side, start, at_corner[0 if forward else 1])
    if second is not None and (
        (length + second.length < 3.4 and dice.chance(0.5)) or not space.fits(whole, second.rect)
    ):
        second = None
    here: list[tuple[str, float]] = []
    if second is not None:
        here.append(("corner", COUNTER_DEPTH))
        first = [name for name in needed if name == "fridge"] + [name for name in needed if name != "fridge"][
            : dice.integer(1, 2)
        ]
        taken = list(first)
        here += _modules(dice, length - COUNTER_DEPTH, taken, fridge)
        needed[:] = [name for name in needed if name not in first or name in taken]
    else:
        here = _modules(dice, length, needed, fridge)
    at = start
    for name, w in here:
        _module(space, dice, side, name, at + sign * w / 2, w, style, fridge)
        at += sign * w
    space.access.append(_strip(space, side, min(start, at), max(start, at), _RUN_DEPTH + 0.7))
    if second is not None:
        at = second.begin
        for name, w in _modules(dice, second.length, needed, fridge):
            _module(space, dice, second.side, name, at + second.direction * w / 2, w, style, fridge)
            at += second.direction * w


class _Turn(NamedTuple):
    """A run around the corner."""

    side: int
    length: float
    rect: Rect
    begin: float
    """Coordinate along its wall where it begins beyond the corner."""
    direction: int


def _second_run(space: RoomSpace, side: int, start: float, at_corner: bool) -> _Turn | None:
    """The run around the corner at ``start``, where there is a corner and room for it."""
    if not at_corner:
        return None
    r = space.room.rect
    low = r.x0 if side % 2 == 0 else r.z0
    other = {0: (1, 3), 1: (0, 2), 2: (1, 3), 3: (0, 2)}[side][0 if abs(start - low) < 0.1 else 1]
    direction = 1 if side < 2 else -1
    begin = (r.z0, r.x0, r.z1, r.x1)[side] + direction * (COUNTER_DEPTH + _BEHIND)
    for a, b in _free_runs(space, other):
        if a - 0.1 <= begin <= b + 0.1:
            end = b if direction > 0 else a
            long = min(abs(end - begin), 2.6)
            if long >= 0.9:
                rect = _strip(
                    space,
                    other,
                    min(begin, begin + direction * long),
                    max(begin, begin + direction * long),
                    _RUN_DEPTH,
                )
                return _Turn(other, long, rect, begin, direction)
    return None


def _module(
    space: RoomSpace, dice: Dice, side: int, name: str, middle: float, w: float, style: _Style, fridge: Piece
) -> None:
    if name == "fridge":
        _put(space, fridge, side, middle)
        return
    if name == "corner":
        piece = kitchen.corner_counter(w)
    elif name == "stove":
        piece = kitchen.stove(dice)
    elif name == "sink":
        piece = kitchen.sink(dice, w, style.handle)
    elif name == "dishwasher":
        piece = kitchen.dishwasher(dice)
    else:
        piece = kitchen.counter(dice, w, style.handle, style.framed)
    item = _put(space, piece, side, middle, depth=COUNTER_DEPTH)
    _over(space, dice, side, name, middle, w, style)
    if name == "stove":
        if dice.chance(0.6):
            strew(space, dice, item, (kitchen.pot,), 1)
    elif name in ("counter", "dishwasher", "corner") and dice.chance(0.8):
        big = (kitchen.microwave, kitchen.toaster, kitchen.kettle)
        small = (decor.bowl, decor.bottle, decor.cup, kitchen.kettle, kitchen.pot, decor.vase)
        strew(space, dice, item, big if dice.chance(0.4) else small, 1 if w < 0.6 else 2)


def furnish_kitchen(space: RoomSpace, dice: Dice, density: float) -> Placed | None:
    """Furnish one kitchen; returns a table where it holds one."""
    counters(space, dice)
    table = None
    r = space.room.rect
    if min(r.width, r.depth) > 3.1 and space.area > 11 and dice.chance(0.5):
        table = _island(space, dice)
    if table is None and dice.chance(0.85):
        table = dining_set(space, dice, dice.choice([2, 4]), density, in_center=False)
    if table is None:
        table_at_wall(space, dice)
    for maker, likely in (
        (decor.bin_, 0.8),
        (storage.cabinet, 0.3),
        (seating.stool, 0.3),
        (storage.basket, 0.25),
        (electronics.fan, 0.05),
    ):
        if dice.chance(likely * density):
            piece = maker(dice)
            item = space.against_wall(
                dice,
                piece,
                front=0.4 if maker is storage.cabinet else 0.0,
                gap=0.05,
                like=in_middle if maker is storage.cabinet else in_corner,
            )
            if item is not None and piece.tops:
                strew(space, dice, item, (decor.bowl, decor.bottle, decor.vase, kitchen.microwave), 2)
    greenery(space, dice, 0.2 * density)
    pictures(space, dice, dice.integer(0, 1))
    return table


def _island(space: RoomSpace, dice: Dice) -> Placed | None:
    r = space.room.rect
    w, d = dice.uniform(1.2, 1.7), dice.uniform(0.85, 0.95)
    turn = 0 if r.width >= r.depth else 90
    across = (w, d) if turn == 0 else (d, w)
    spot = space.standing_free(dice, across[0], across[1], 0.8)
    if spot is None:
        return None
    item = space.put(tables.kitchen_island(dice, w, d), *spot, turn)
    strew(space, dice, item, (decor.bowl, decor.vase, decor.bottle, decor.cup), 3)
    stool = seating.stool(dice, 0.66)
    for i in range(max(2, int(w / 0.6))):
        count = max(2, int(w / 0.6))
        x, z = local_point(item, (i - (count - 1) / 2) * 0.55, -d / 2 - 0.12)
        spot_rect = Placed(stool, x, 0.0, z, turn, space.index).rect
        if space.passable(spot_rect):
            space.put(stool, round(x, 4), round(z, 4), turn)
    return item
