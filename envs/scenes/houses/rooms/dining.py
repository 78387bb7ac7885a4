"""Dining rooms, and dining tables in kitchens and living rooms: a table with chairs around it."""

from __future__ import annotations

import numpy as np

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.floorplan import Rect
from envs.scenes.houses.furniture import decor, lamps, seating, storage, tables
from envs.scenes.houses.furniture.piece import Piece
from envs.scenes.houses.rooms.dressing import (
    TABLE_THINGS,
    greenery,
    in_corner,
    in_middle,
    pictures,
    set_on,
    shelf_things,
    strew,
)
from envs.scenes.houses.shapes import direction
from envs.scenes.houses.space import Placed, RoomSpace, Spots, local_point


def dining_set(
    space: RoomSpace, dice: Dice, seats: int, density: float, in_center: bool = True
) -> Placed | None:
    """A table with chairs that face it and things on it; smaller where it does not fit. None where nothing fits."""
    r = space.room.rect
    chair = seating.chair(dice)
    round_ = seats <= 5 and dice.chance(0.4)
    turn = dice.integer(0, 1) if abs(r.width - r.depth) < 0.8 else int(r.depth > r.width)
    wall = dice.chance(0.5) and not in_center
    for count in range(seats, 1, -1 if round_ else -2):
        w, d = (0.8 + 0.1 * count,) * 2 if round_ else (0.45 + 0.52 * ((count + 1) // 2), 0.86)
        if not round_ and count >= 6:
            w -= 0.4  # two sit at the ends
        across = (w, d) if turn == 0 else (d, w)

        def by_wall(spots: Spots, across: tuple[float, float] = across) -> np.ndarray:
            x = np.minimum(spots.x - r.x0, r.x1 - spots.x) - across[0] / 2
            z = np.minimum(spots.z - r.z0, r.z1 - spots.z) - across[1] / 2
            return -np.abs(np.minimum(x, z) - 0.85)

        spot = space.standing_free(dice, across[0] + 0.4, across[1] + 0.4, 0.42, by_wall if wall else None)
        if spot is None:
            continue
        table = tables.dining_table(dice, w, d, round_=round_)
        before = space.state()
        item = space.put(table, *spot, 90 * turn, essential=in_center)
        if _seated(space, dice, item, chair, _seats(count, w, d, round_)) < min(count, max(2, count - 1)):
            space.restore(before)
            continue
        top = table.tops[0]
        if dice.chance(0.75):
            set_on(
                space,
                item,
                dice.choice((decor.vase, decor.bowl, decor.candle, tables.tray))(dice),
                0.0,
                0.0,
                top.y,
            )
        if dice.chance(0.3 * density):
            plate = decor.plate(dice)
            for x, z, yaw in _seats(count, w, d, round_):
                reach = 0.24
                c, s = direction(yaw)
                set_on(space, item, plate, x - s * reach * 1.0, z - c * reach, top.y, yaw)
        else:
            strew(space, dice, item, (*TABLE_THINGS, decor.cup, decor.bottle), round(2 * density))
        return item
    return None


def _seats(count: int, w: float, d: float, round_: bool) -> list[tuple[float, float, int]]:
    """Where the table's edge is before each sitter, in the table's frame, and how far the place is turned."""
    if round_:
        step = 360 // count
        out = []
        for i in range(count):
            c, s = direction(step * i)
            out.append((s * w / 2, c * w / 2, step * i))
        return out
    ends = count >= 6
    along = (count - 2) // 2 if ends else (count + 1) // 2
    pitch = (w - 0.1) / along
    places = []
    for i in range(along):
        x = (i - (along - 1) / 2) * pitch
        places += [(x, d / 2, 0), (x, -d / 2, 180)]
    if ends:
        places += [(w / 2, 0.0, 90), (-w / 2, 0.0, 270)]
    return places[:count]


def _seated(
    space: RoomSpace, dice: Dice, table: Placed, chair: Piece, places: list[tuple[float, float, int]]
) -> int:
    """Put chairs at the places of a table where they fit, facing it; how many."""
    placed = 0
    r = space.room.rect
    for x, z, yaw in places:
        c, s = direction(yaw)
        out = chair.depth / 2 - dice.uniform(0.10, 0.24)
        if dice.chance(0.12):
            out += 0.2
        wx, wz = local_point(table, x + s * out, z + c * out)
        turn = (table.yaw + yaw + 180 + (dice.integer(-6, 6) if dice.chance(0.5) else 0)) % 360
        item = Placed(chair, round(wx, 4), 0.0, round(wz, 4), turn, space.index)
        tight = _core(item)
        inside = (
            tight.x0 > r.x0 + 0.02
            and tight.z0 > r.z0 + 0.02
            and tight.x1 < r.x1 - 0.02
            and tight.z1 < r.z1 - 0.02
        )
        others = space.ways + [solid for solid in space.solids if solid != table.rect]
        if inside and not any(tight.overlaps(o) for o in others) and space.passable(tight):
            space.put(chair, item.x, item.z, item.yaw)
            placed += 1
    return placed


def _core(item: Placed) -> Rect:
    half = max(item.piece.width, item.piece.depth) / 2
    return Rect(item.x - half, item.z - half, item.x + half, item.z + half)


def table_at_wall(space: RoomSpace, dice: Dice) -> Placed | None:
    """A small table with its long side to a wall and a chair at either end; None where it fits nowhere."""
    table, chair = tables.dining_table(dice, dice.uniform(0.8, 1.1), 0.7, round_=False), seating.chair(dice)
    before = space.state()
    item = space.against_wall(dice, table, front=0.5, like=in_middle, width=table.width + 0.9)
    if item is None:
        return None
    if _seated(space, dice, item, chair, [(s * table.width / 2, 0.0, 90 * s % 360) for s in (-1, 1)]) < 1:
        space.restore(before)
        return None
    strew(space, dice, item, (decor.vase, decor.bowl, decor.cup, decor.plate), 3)
    return item


def furnish_dining_room(space: RoomSpace, dice: Dice, density: float) -> Placed | None:
    """Furnish one dining room; returns the table."""
    table = dining_set(space, dice, dice.choice([4, 6, 6, 8]), density)
    if table is None:
        table = table_at_wall(space, dice)
    elif dice.chance(0.5 * density):
        r = space.room.rect
        w, d = table.rect.width + 1.3, table.rect.depth + 1.3
        rug = decor.rug(dice, min(w, r.width - 0.3), min(d, r.depth - 0.3))
        if (
            r.x0 + rug.width / 2 < table.x < r.x1 - rug.width / 2
            and r.z0 + rug.depth / 2 < table.z < r.z1 - rug.depth / 2
        ):
            space.put(rug, table.x, table.z, 0, solid=False)
    board = space.against_wall(dice, storage.cabinet(dice), front=0.45, like=in_middle)
    if board is not None:
        strew(
            space,
            dice,
            board,
            (*TABLE_THINGS, lamps.table_lamp, decor.photo, decor.bottle),
            dice.integer(2, 4),
        )
    if dice.chance(0.35 * density):
        shelf = space.against_wall(dice, storage.bookshelf(dice), front=0.4, like=in_corner)
        if shelf is not None:
            shelf_things(space, dice, shelf, density)
    if dice.chance(0.3 * density):
        space.against_wall(dice, lamps.floor_lamp(dice), front=0.0, gap=0.05, like=in_corner)
    greenery(space, dice, 0.6 * density)
    pictures(space, dice, dice.integer(1, 3), [board])
    return table
