"""What every room gets: curtains, radiators, ceiling lamps, pictures, plants, and small things on its furniture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.floorplan import Rect
from envs.scenes.houses.furniture import decor, electronics, lamps, storage
from envs.scenes.houses.furniture.piece import Piece, Top
from envs.scenes.houses.hanging import hang
from envs.scenes.houses.openings import side_of
from envs.scenes.houses.shapes import moved
from envs.scenes.houses.space import SIDE_YAW, Placed, RoomSpace, Spots, footprint, local_point

Maker = Callable[[Dice], Piece]


def in_corner(spots: Spots):
    """A liking for corners."""
    return 0.8 * (spots.end < 0.15)


def in_middle(spots: Spots):
    """A liking for the middle of a wall."""
    return 0.25 * spots.end.clip(0.0, 3.0)


def dress_windows(space: RoomSpace, dice: Dice, likely: float) -> None:
    """Curtains beside the windows, radiators under them; before the furniture, which keeps clear of both."""
    r = space.room.rect
    long = dice.chance(0.65)
    drawn = dice.chance(likely)
    for i, window in enumerate(space.windows):
        side = side_of(window, r)
        middle, width = (window.start + window.end) / 2, window.end - window.start
        own = dice.fork("window", i)
        wall = (r.z0, r.x0, r.z1, r.x1)[side]
        a, b = (r.x0, r.x1) if side % 2 == 0 else (r.z0, r.z1)
        reach = min(middle - a, b - middle)
        rod = min(window.high + 0.12, space.ceiling - 0.05)

        def at(
            off: float, along: float = middle, wall: float = wall, side: int = side
        ) -> tuple[float, float]:
            point = wall + off if side < 2 else wall - off
            return (along, point) if side % 2 == 0 else (point, along)

        full = False
        if drawn and width > 0.75:
            floor = 0.03 if long or window.low < 0.5 else window.low - 0.12
            piece = decor.curtain(own, width, floor, rod)
            x, z = at(0.07)
            rect = footprint(piece.width, 0.13, x, z, SIDE_YAW[side])
            if reach > piece.width / 2 + 0.02 and not any(
                rect.overlaps(taken) for taken in space.solids + space.ways
            ):
                full = floor < 0.1
                item = space.put(piece, x, z, SIDE_YAW[side], solid=False)
                if full:
                    item.solid = True
                    space.solids.append(rect)
        if not full and window.low > 0.8 and own.chance(0.55):
            piece = storage.radiator(own, min(width, own.choice([0.7, 0.9, 1.1])))
            x, z = at(0.075)
            rect = footprint(piece.width, 0.13, x, z, SIDE_YAW[side])
            if reach > piece.width / 2 and not any(
                rect.overlaps(taken) for taken in space.solids + space.ways
            ):
                item = space.put(piece, x, z, SIDE_YAW[side], solid=False)
                item.solid = True
                space.solids.append(rect)


def ceiling_light(space: RoomSpace, dice: Dice, over: Placed | None = None) -> None:
    """A lamp in the middle of the ceiling, or over a table."""
    r = space.room.rect
    piece = lamps.ceiling_lamp(
        dice, over is not None, space.room.category in ("bathroom", "hallway", "kitchen")
    )
    x, z = (
        (over.x, over.z) if over is not None else (round((r.x0 + r.x1) / 2, 3), round((r.z0 + r.z1) / 2, 3))
    )
    space.put(piece, x, z, SIDE_YAW[0 if r.width > r.depth else 1], y=space.ceiling - 0.002, solid=False)
    if over is None and max(r.width, r.depth) > 5.5 and dice.chance(0.6):
        shift = max(r.width, r.depth) * 0.28
        space.placed.pop()
        for s in (-shift, shift):
            dx, dz = (s, 0.0) if r.width > r.depth else (0.0, s)
            space.put(piece, round(x + dx, 3), round(z + dz, 3), 0, y=space.ceiling - 0.002, solid=False)


def pictures(space: RoomSpace, dice: Dice, count: int, above: Sequence[Placed | None] = ()) -> None:
    """Pictures on the walls, first over the given pieces, and sometimes a clock."""
    for item in above:
        if item is None or not dice.chance(0.75):
            continue
        w = dice.uniform(0.5, min(1.3, max(0.6, item.piece.width * 0.7)))
        h = dice.uniform(0.4, 0.7)
        y = max(1.5, item.piece.height + 0.2 + h / 2)
        if y + h / 2 < space.ceiling - 0.1:
            hang(space, dice, decor.picture(dice, w, h), round(y, 3), above=item)
    for _ in range(count):
        shape = dice.choice([(0.4, 0.5), (0.5, 0.7), (0.7, 0.5), (0.9, 0.6), (0.3, 0.3)])
        scale = dice.uniform(0.8, 1.2)
        hang(space, dice, decor.picture(dice, shape[0] * scale, shape[1] * scale), 1.55)
    if dice.chance(0.25):
        hang(space, dice, electronics.clock(dice), 1.85)


def greenery(space: RoomSpace, dice: Dice, likely: float) -> None:
    """A plant in a corner or beside a window."""
    if dice.chance(likely):
        space.against_wall(dice, decor.plant(dice), front=0.0, gap=0.05, like=in_corner)


def set_on(
    space: RoomSpace, item: Placed, piece: Piece, x: float, z: float, y: float, yaw: int = 0
) -> Placed:
    """Stand a small piece on another at a point of its frame."""
    wx, wz = local_point(item, x, z)
    return space.put(
        piece, round(wx, 4), round(wz, 4), (item.yaw + yaw) % 360, y=item.y + y, on=item, solid=False
    )


def strew(
    space: RoomSpace,
    dice: Dice,
    item: Placed,
    makers: Sequence[Maker],
    count: int,
    tops: Sequence[Top] | None = None,
) -> None:
    """Small things at random on the tops of a piece, none touching another."""
    for top in item.piece.tops if tops is None else tops:
        taken = [
            Rect(*footprint(o.piece.width, o.piece.depth, *_inverse(item, o.x, o.z), o.yaw - item.yaw)).grown(
                0.02
            )
            for o in space.placed
            if o.on is item and abs(o.y - item.y - top.y) < 0.05
        ]
        for _ in range(count):
            piece = dice.choice(makers)(dice)
            if piece.height > top.headroom or piece.width > top.x1 - top.x0 or piece.depth > top.z1 - top.z0:
                continue
            for _ in range(4):
                x = dice.uniform(top.x0 + piece.width / 2, top.x1 - piece.width / 2)
                z = dice.uniform(top.z0 + piece.depth / 2, top.z1 - piece.depth / 2)
                rect = footprint(piece.width, piece.depth, x, z, 0)
                if not any(rect.overlaps(other) for other in taken):
                    taken.append(rect.grown(0.02))
                    set_on(space, item, piece, x, z, top.y)
                    break


def _inverse(item: Placed, x: float, z: float) -> tuple[float, float]:
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[item.yaw // 90 % 4]
    dx, dz = x - item.x, z - item.z
    return c * dx - s * dz, s * dx + c * dz


def cushions(space: RoomSpace, dice: Dice, item: Placed, count: int) -> None:
    """Cushions that lean on the back of a sofa or an armchair."""
    top = item.piece.tops[0]
    size = dice.uniform(0.38, 0.46)
    slots = [top.x0 + size / 2, top.x1 - size / 2, (top.x0 + top.x1) / 2]
    for x in dice.shuffled(slots[:2] if top.x1 - top.x0 < 1.5 else slots)[:count]:
        mesh = moved(decor.cushion(dice, size), 0.0, 0.01, 0.0)
        set_on(space, item, Piece("cushion", mesh), x, top.z0 + 0.06, top.y)


def shelf_things(space: RoomSpace, dice: Dice, item: Placed, density: float) -> None:
    """Vases, bowls and books in the gaps of shelves."""
    makers = (decor.vase, decor.bowl, decor.book_pile, decor.photo, _small_plant, decor.candle)
    for top in item.piece.tops:
        if dice.chance(0.75 * density):
            strew(space, dice, item, makers, 1 if top.x1 - top.x0 < 0.5 else 2, [top])


def _small_plant(dice: Dice) -> Piece:
    return decor.plant(dice, small=True)


TABLE_THINGS: tuple[Maker, ...] = (
    decor.vase,
    decor.book_pile,
    decor.bowl,
    decor.cup,
    decor.candle,
    _small_plant,
)
"""What lies about on tables and chests."""
