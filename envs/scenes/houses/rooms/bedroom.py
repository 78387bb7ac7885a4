"""Bedrooms: a bed against a wall between nightstands, a wardrobe, a chest, perhaps a place to work or to play."""

from __future__ import annotations

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.furniture import beds, decor, electronics, lamps, seating, storage
from envs.scenes.houses.furniture.piece import Piece
from envs.scenes.houses.hanging import hang
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
from envs.scenes.houses.space import Placed, RoomSpace, local_point


def _bed(space: RoomSpace, dice: Dice, small: bool) -> Placed | None:
    sizes = [1.0, 0.9] if small else dice.choice([[1.6, 1.4, 1.0], [1.8, 1.6, 1.4, 1.0], [1.4, 1.2, 0.9]])
    for size in sizes:
        piece = beds.bed(dice, size)
        if size > 1.3:
            wide = piece.width + 2 * 0.56
            found = space.against_wall(dice, piece, front=0.55, like=in_middle, essential=True, width=wide)
            if found is not None:
                return found
            continue
        found = space.against_wall(dice, piece, front=0.4, like=in_corner, essential=True)
        if found is not None:
            return found
    return space.against_wall(dice, beds.bed(dice, 0.9), front=0.0, essential=True)


def _nightstands(space: RoomSpace, dice: Dice, bed: Placed, density: float) -> None:
    sides = [-1, 1] if bed.piece.width > 1.25 else dice.shuffled([-1, 1])
    lamp = lamps.table_lamp(dice)
    stand = beds.nightstand(dice)
    placed = 0
    for side in sides:
        if placed and bed.piece.width <= 1.25:
            break
        x = side * (bed.piece.width / 2 + stand.width / 2 + 0.03)
        wx, wz = local_point(bed, x, -bed.piece.depth / 2 + stand.depth / 2 + 0.01)
        item = Placed(stand, round(wx, 4), 0.0, round(wz, 4), bed.yaw, space.index)
        low = all(
            not item.rect.overlaps(w.front(space.room.rect, 0.3)) or stand.height < w.low - 0.02
            for w in space.windows
        )
        if not low or not space.fits(item.rect, ignore_access=True):
            continue
        item = space.put(stand, item.x, item.z, bed.yaw)
        placed += 1
        if dice.chance(0.85):
            set_on(space, item, lamp, side * 0.03, -0.04, stand.height)
        if dice.chance(0.6 * density):
            strew(space, dice, item, (decor.cup, decor.candle, decor.photo), 1, stand.tops[:1])
        if len(stand.tops) > 1 and dice.chance(0.6 * density):
            strew(space, dice, item, (decor.book_pile,), 1, stand.tops[1:])


def _carpet(space: RoomSpace, dice: Dice, bed: Placed) -> None:
    w = bed.piece.width + dice.uniform(0.7, 1.1)
    d = dice.uniform(1.3, 1.7)
    rug = decor.rug(dice, w, d)
    x, z = local_point(bed, 0.0, bed.piece.depth / 2 + 0.45 - d / 2)
    r = space.room.rect
    item = Placed(rug, x, 0.0, z, bed.yaw, space.index)
    if (
        item.rect.x0 > r.x0 + 0.02
        and item.rect.x1 < r.x1 - 0.02
        and item.rect.z0 > r.z0 + 0.02
        and item.rect.z1 < r.z1 - 0.02
    ):
        space.put(rug, round(x, 4), round(z, 4), bed.yaw, solid=False)


def _bed_cushions(space: RoomSpace, dice: Dice, bed: Placed) -> None:
    size = dice.uniform(0.36, 0.44)
    height = float(bed.piece.mesh.vertices[:, 1].max())
    sides = [-1, 1] if bed.piece.width > 1.3 else [0]
    for s in sides:
        piece = Piece("cushion", decor.cushion(dice, size))
        set_on(
            space,
            bed,
            piece,
            s * bed.piece.width * 0.22,
            -bed.piece.depth / 2 + 0.66,
            min(0.52, height - 0.4),
        )


def furnish_bedroom(space: RoomSpace, dice: Dice, density: float, compact: bool) -> None:
    """Furnish one bedroom."""
    second = not space.room.name.endswith(".00")
    child = second and dice.chance(0.45)
    bed = _bed(space, dice, child or compact)
    if bed is not None:
        _nightstands(space, dice, bed, density)
        if dice.chance(0.55 * density):
            _carpet(space, dice, bed)
    for doors in (dice.integer(2, 4), 3, 2):
        if space.against_wall(dice, storage.wardrobe(dice, doors), front=0.5, like=in_corner, essential=True):
            break
    wanted = [
        "dresser",
        "desk",
        "armchair",
        "bookshelf",
        "ottoman",
        "tv",
        "mirror",
        "plant",
        "lamp",
        "basket",
        "rack",
        "fan",
    ]
    if child:
        wanted = ["desk", "toys", "bookshelf", "chest", "cot", "dresser", "basket", "plant"]
    chosen = [name for name in wanted[:2] if dice.chance(0.8 * density)] + [
        name for name in wanted[2:] if dice.chance(0.32 * density)
    ]
    dresser = None
    for name in chosen:
        if name == "dresser":
            dresser = space.against_wall(dice, storage.dresser(dice), front=0.55, like=in_middle)
            if dresser is not None:
                strew(
                    space, dice, dresser, (*TABLE_THINGS, lamps.table_lamp, decor.photo), dice.integer(1, 3)
                )
        elif name == "desk":
            furnish_desk(space, dice, density, small=True)
        elif name == "armchair":
            seat = space.against_wall(dice, seating.armchair(dice), front=0.4, gap=0.06, like=in_corner)
            if seat is not None and seat.piece.tops and dice.chance(0.6):
                cushions(space, dice, seat, 1)
        elif name == "bookshelf":
            shelf = space.against_wall(dice, storage.bookshelf(dice), front=0.4, like=in_corner)
            if shelf is not None:
                shelf_things(space, dice, shelf, density)
        elif name == "tv":
            side = (bed.yaw // 90 + 2) % 4 if bed is not None else 0
            stand = space.against_wall(
                dice, storage.tv_stand(dice, 1.2), front=0.4, sides=[side], like=in_middle
            )
            if stand is not None:
                set_on(
                    space,
                    stand,
                    electronics.tv(dice, dice.uniform(0.8, 1.05)),
                    0.0,
                    0.0,
                    stand.piece.tops[0].y,
                )
        else:
            _extra(space, dice, name)
    space_left = [bed, dresser]
    pictures(space, dice, dice.integer(0, 2) if dice.chance(density) else 0, space_left)
    if dice.chance(0.4 * density):
        shelf = hang(space, dice, storage.wall_shelf(dice), 1.45)
        if shelf is not None:
            shelf_things(space, dice, shelf, 1.3)
    greenery(space, dice, 0.2 * density)


_EXTRAS = {
    "ottoman": (seating.ottoman, 0.0),
    "plant": (decor.plant, 0.0),
    "lamp": (lamps.floor_lamp, 0.0),
    "basket": (storage.basket, 0.0),
    "rack": (beds.clothes_rack, 0.4),
    "fan": (electronics.fan, 0.0),
    "chest": (storage.toy_chest, 0.4),
    "cot": (beds.cot, 0.4),
    "mirror": (decor.standing_mirror, 0.4),
}
"""What may stand along the walls, and how much floor it wants before it, metres."""


def _extra(space: RoomSpace, dice: Dice, name: str) -> None:
    if name == "toys":
        spot = space.standing_free(dice, 0.4, 0.4, 0.0)
        if spot is not None:
            space.put(decor.toys(dice), *spot, 0)
        return
    maker, front = _EXTRAS[name]
    space.against_wall(dice, maker(dice), front=front, gap=0.06, like=in_corner)
