"""Living rooms: a sofa that faces the television over a coffee table, seats and shelves around."""

from __future__ import annotations

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.floorplan import Rect
from envs.scenes.houses.furniture import decor, electronics, lamps, seating, storage, tables
from envs.scenes.houses.hanging import hang
from envs.scenes.houses.rooms.dining import dining_set
from envs.scenes.houses.rooms.dressing import (
    TABLE_THINGS,
    cushions,
    greenery,
    in_corner,
    in_middle,
    pictures,
    set_on,
    shelf_things,
    strew,
)  # fmt: skip
from envs.scenes.houses.rooms.study import furnish_desk
from envs.scenes.houses.space import SIDE_YAW, Placed, RoomSpace, footprint, local_point


def _facing(space: RoomSpace, side: int, along: float, off: float) -> tuple[float, float]:
    """The point at a distance ``off`` from one side of the room."""
    r = space.room.rect
    wall = (r.z0, r.x0, r.z1, r.x1)[side]
    point = wall + off if side < 2 else wall - off
    return (along, point) if side % 2 == 0 else (point, along)


def _sofa_and_tv(space: RoomSpace, dice: Dice, compact: bool) -> tuple[Placed, Placed] | None:
    """The television against a wall and the sofa opposite: at the other wall or, in a deep room, free-standing."""
    stand = storage.tv_stand(dice, dice.choice([1.1, 1.3] if compact else [1.4, 1.6, 1.8]))
    sofas = [seating.sofa(dice.fork(i), compact) for i in range(2)]
    r = space.room.rect
    options = []
    for side, along, gap in _tv_spots(space, dice, stand):
        deep = r.depth if side % 2 == 0 else r.width
        for distance, liking in ((deep - 0.06, 0.6), (deep - 0.14, 0.4), (4.1, 0.2), (3.7, 0.2), (3.3, 0.1)):
            for sofa in sofas:
                seat = distance - sofa.depth
                if 1.55 <= seat <= 4.4 and (deep - distance < 0.2 or deep - distance > 0.75):
                    for shift in (0.0, -0.4, 0.4, -0.8, 0.8) if compact else (0.0, -0.3, 0.3):
                        score = liking + dice.random() - 0.12 * abs(distance - 3.8) - 0.6 * abs(shift)
                        options.append((score, side, along, shift, gap, distance, sofa))
    options.sort(key=lambda option: -option[0])
    for _, side, along, shift, gap, distance, sofa in options[:120]:
        tx, tz = _facing(space, side, along, gap + stand.depth / 2)
        sx, sz = _facing(space, side, along + shift, distance - sofa.depth / 2)
        tv_rect = footprint(stand.width, stand.depth, tx, tz, SIDE_YAW[side])
        sofa_rect = footprint(sofa.width, sofa.depth, sx, sz, SIDE_YAW[side])
        low = all(not sofa_rect.overlaps(w.front(r, 0.2)) or w.low > 0.6 for w in space.windows)
        if low and space.fits(tv_rect, sofa_rect):
            tv = space.put(stand, round(tx, 4), round(tz, 4), SIDE_YAW[side], essential=True)
            seat = space.put(sofa, round(sx, 4), round(sz, 4), SIDE_YAW[(side + 2) % 4], essential=True)
            return tv, seat
    return None


def _tv_spots(space: RoomSpace, dice: Dice, stand) -> list[tuple[int, float, float]]:
    spots = space.wall_spots(stand.width, stand.depth, 1.2, front=1.2, gap=0.04)
    if not len(spots.x):
        return []
    score = dice.array(len(spots.x)) + 0.3 * spots.end.clip(0.0, 2.0)
    r = space.room.rect
    out = []
    for k in sorted(range(len(score)), key=lambda i: -score[i])[:24]:
        side = int(spots.side[k])
        along = float(spots.x[k] if side % 2 == 0 else spots.z[k])
        off = (spots.z[k] - r.z0, spots.x[k] - r.x0, r.z1 - spots.z[k], r.x1 - spots.x[k])[side]
        out.append((side, along, float(off) - stand.depth / 2))
    return out


def _between(space: RoomSpace, dice: Dice, tv: Placed, sofa: Placed, density: float) -> Placed | None:
    """Coffee table and rug between sofa and television."""
    depth = sofa.piece.depth / 2
    for _ in range(3):
        table = tables.coffee_table(dice)
        shift = 0.36 + table.depth / 2
        x, z = local_point(sofa, 0.0, min(depth, 0.5) + shift)
        if sofa.piece.depth > 1.15:  # beside the long seat
            x, z = local_point(sofa, 0.12, depth - 0.1 + table.depth / 2 + 0.3)
        rect = footprint(table.width, table.depth, x, z, sofa.yaw)
        if not space.fits(rect, ignore_access=True):
            continue
        item = space.put(table, round(x, 4), round(z, 4), sofa.yaw)
        strew(
            space,
            dice,
            item,
            (*TABLE_THINGS, tables.tray, electronics.laptop),
            dice.integer(1, 3) if dice.chance(density) else 1,
        )
        if dice.chance(0.75):
            w, d = dice.uniform(1.9, 2.7), dice.uniform(1.4, 1.9)
            rug = decor.rug(dice, w, w if dice.chance(0.2) else d, round_=False)
            rr = footprint(rug.width, rug.depth, x, z, sofa.yaw)
            r = space.room.rect
            if rr.x0 > r.x0 + 0.05 and rr.z0 > r.z0 + 0.05 and rr.x1 < r.x1 - 0.05 and rr.z1 < r.z1 - 0.05:
                space.put(rug, item.x, item.z, sofa.yaw, solid=False)
        return item
    return None


def _armchairs(space: RoomSpace, dice: Dice, sofa: Placed, table: Placed, density: float) -> None:
    """Armchairs beside the coffee table, turned towards it."""
    chair = seating.armchair(dice)
    for side in dice.shuffled([-1, 1])[: 2 if dice.chance(0.35 * density) else 1]:
        out = max(table.piece.width / 2 + 0.42, sofa.piece.width / 2 - 0.2) + chair.depth / 2
        x, z = local_point(sofa, side * out, sofa.piece.depth / 2 + 0.25 + chair.width / 2)
        yaw = (sofa.yaw - 90 * side) % 360
        rect = footprint(chair.width, chair.depth, x, z, yaw)
        if space.fits(rect, ignore_access=False):
            item = space.put(chair, round(x, 4), round(z, 4), yaw)
            if chair.tops and dice.chance(0.6):
                cushions(space, dice, item, 1)


def _beside_sofa(space: RoomSpace, dice: Dice, sofa: Placed) -> None:
    """A side table with a lamp, or a floor lamp, at an end of the sofa."""
    for side in dice.shuffled([-1, 1]):
        piece = tables.side_table(dice) if dice.chance(0.6) else lamps.floor_lamp(dice)
        x, z = local_point(
            sofa,
            side * (sofa.piece.width / 2 + piece.width / 2 + 0.06),
            -sofa.piece.depth / 2 + piece.depth / 2 + 0.04,
        )
        rect = footprint(piece.width, piece.depth, x, z, sofa.yaw)
        tall = any(rect.overlaps(w.front(space.room.rect, 0.3)) for w in space.windows) and piece.height > 0.8
        if not tall and space.fits(rect, ignore_access=True):
            item = space.put(piece, round(x, 4), round(z, 4), sofa.yaw)
            if piece.tops:
                strew(space, dice, item, (lamps.table_lamp,), 1)
                strew(space, dice, item, TABLE_THINGS, 1)
            if dice.chance(0.6) or piece.category == "floor lamp":
                return


def _piano(space: RoomSpace, dice: Dice) -> None:
    piano = space.against_wall(dice, storage.piano(dice), front=0.6, like=in_middle, front_taken=True)
    if piano is None:
        return
    strew(space, dice, piano, (decor.vase, decor.photo, decor.candle), 2)
    bench = seating.bench(dice, 0.7)
    x, z = local_point(piano, 0.0, piano.piece.depth / 2 + bench.depth / 2 + 0.02)
    space.put(bench, round(x, 4), round(z, 4), piano.yaw)


_ALONG_WALLS = (
    ("bookshelf", 0.75),
    ("bookshelf", 0.35),
    ("cabinet", 0.55),
    ("lamp", 0.65),
    ("piano", 0.15),
    ("plant", 0.75),
    ("speaker", 0.3),
    ("basket", 0.3),
    ("ottoman", 0.35),
    ("plant", 0.5),
    ("cabinet", 0.3),
    ("armchair", 0.45),
    ("desk", 0.15),
    ("console", 0.2),
    ("fan", 0.1),
)
"""What may stand along the walls, and how often."""

_CORNER_PIECES = {
    "lamp": lamps.floor_lamp,
    "plant": decor.plant,
    "speaker": electronics.speaker,
    "basket": storage.basket,
    "ottoman": seating.ottoman,
    "fan": electronics.fan,
}


def _along_walls(space: RoomSpace, dice: Dice, density: float) -> list[Placed]:
    """Shelves, chests, plants and the like; returns those that a picture can hang over."""
    above = []
    for name, likely in _ALONG_WALLS:
        lit = any(item.piece.category == "floor lamp" for item in space.placed)
        if not dice.chance(likely * density) or (name == "lamp" and lit):
            continue
        if name == "bookshelf":
            shelf = space.against_wall(dice, storage.bookshelf(dice), front=0.45, like=in_corner)
            if shelf is not None:
                shelf_things(space, dice, shelf, density)
        elif name in ("cabinet", "console"):
            piece = storage.cabinet(dice) if name == "cabinet" else tables.console_table(dice)
            item = space.against_wall(dice, piece, front=0.5, like=in_middle)
            if item is not None:
                strew(space, dice, item, (*TABLE_THINGS, lamps.table_lamp, decor.photo), dice.integer(2, 4))
                above.append(item)
        elif name == "armchair":
            seat = space.against_wall(dice, seating.armchair(dice), front=0.5, gap=0.06, like=in_corner)
            if seat is not None and seat.piece.tops:
                cushions(space, dice, seat, 1)
        elif name == "piano":
            _piano(space, dice)
        elif name == "desk":
            furnish_desk(space, dice, density, small=True)
        else:
            space.against_wall(dice, _CORNER_PIECES[name](dice), front=0.0, gap=0.05, like=in_corner)
    return above


def _between_rects(a: Rect, b: Rect, yaw: int) -> Rect:
    """The floor between two pieces that face each other, as wide as both share."""
    if yaw % 180 == 0:
        return Rect(max(a.x0, b.x0), min(a.z0, b.z0), min(a.x1, b.x1), max(a.z1, b.z1))
    return Rect(min(a.x0, b.x0), max(a.z0, b.z0), max(a.x1, b.x1), min(a.z1, b.z1))


def furnish_living_room(
    space: RoomSpace, dice: Dice, density: float, with_dining: bool, compact: bool
) -> Placed | None:
    """Furnish one living room; returns a dining table where it holds one."""
    pair = _sofa_and_tv(space, dice, compact)
    sofa = None
    if pair is not None:
        stand, sofa = pair
        width = min(stand.piece.width - 0.1, dice.uniform(1.0, 1.5))
        set_on(space, stand, electronics.tv(dice, width), 0.0, -0.02, stand.piece.tops[0].y)
        strew(space, dice, stand, (decor.book_pile, decor.candle), 1, stand.piece.tops[1:])
        if dice.chance(0.4 * density):
            strew(space, dice, stand, (decor.vase, decor.photo), 1, stand.piece.tops[:1])
        cushions(space, dice, sofa, dice.integer(1, 3))
        table = _between(space, dice, stand, sofa, density)
        if table is not None and dice.chance(0.25 + 0.6 * density):
            _armchairs(space, dice, sofa, table, density)
        _beside_sofa(space, dice, sofa)
        space.access.append(_between_rects(sofa.rect, stand.rect, sofa.yaw))  # nothing blocks the view
    else:
        sofa = space.against_wall(
            dice, seating.sofa(dice, True), front=0.5, gap=0.05, like=in_middle, essential=True, height=0.6
        )
        if sofa is not None:
            cushions(space, dice, sofa, 2)
    dining = None
    if with_dining:
        dining = dining_set(space, dice, dice.choice([4, 4, 6]), density, in_center=False)
    above = [sofa, *_along_walls(space, dice, density)]
    pictures(space, dice, dice.integer(1, 3), above)
    if dice.chance(0.4 * density):
        shelf = hang(space, dice, storage.wall_shelf(dice), 1.5)
        if shelf is not None:
            shelf_things(space, dice, shelf, 1.3)
    greenery(space, dice, 0.3 * density)
    return dining
