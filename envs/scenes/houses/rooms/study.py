"""Studies: a desk with chair and screen, shelves, a seat to read in."""

from __future__ import annotations

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.furniture import decor, electronics, lamps, seating, storage, tables
from envs.scenes.houses.openings import side_of
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
from envs.scenes.houses.space import Placed, RoomSpace, Spots, local_point


def furnish_desk(space: RoomSpace, dice: Dice, density: float, small: bool = False) -> Placed | None:
    """A desk with its chair in front, a screen or a laptop, a lamp."""
    piece = tables.desk(dice)
    for _ in range(3):
        if small and piece.width > 1.3:
            piece = tables.desk(dice)

    def by_window(spots: Spots):
        at_window = [s for s in range(4) if any(side_of(w, space.room.rect) == s for w in space.windows)]
        return in_middle(spots) + 0.5 * sum((spots.side == s) for s in at_window)

    desk = space.against_wall(dice, piece, front=0.62, like=by_window, essential=not small, front_taken=True)
    if desk is None:
        return None
    top = piece.tops[0]
    back = top.z0
    if dice.chance(0.65):
        screens = 2 if piece.width > 1.4 and dice.chance(0.4) else 1
        monitor = electronics.monitor(dice)
        for i in range(screens):
            set_on(space, desk, monitor, (i - (screens - 1) / 2) * (monitor.width + 0.03), back + 0.12, top.y)
        set_on(space, desk, electronics.keyboard(dice), 0.05, back + 0.36, top.y)
    else:
        set_on(space, desk, electronics.laptop(dice), 0.0, back + 0.3, top.y)
    if dice.chance(0.7):
        set_on(space, desk, lamps.desk_lamp(dice), top.x0 + 0.13, back + 0.16, top.y)
    strew(space, dice, desk, (decor.book_pile, decor.cup, *TABLE_THINGS), round(2 * density))
    chair = seating.office_chair(dice) if dice.chance(0.8) else seating.chair(dice)
    x, z = local_point(desk, 0.0, piece.depth / 2 + chair.depth / 2 - 0.14)
    turn = dice.integer(-20, 20) if chair.category == "office chair" else 0
    item = Placed(chair, round(x, 4), 0.0, round(z, 4), (desk.yaw + 180 + turn) % 360, space.index)
    r = space.room.rect
    if (
        item.rect.x0 > r.x0
        and item.rect.z0 > r.z0
        and item.rect.x1 < r.x1
        and item.rect.z1 < r.z1
        and space.passable(item.rect)
    ):
        space.put(chair, item.x, item.z, item.yaw)
    return desk


def furnish_study(space: RoomSpace, dice: Dice, density: float) -> None:
    """Furnish one study."""
    desk = furnish_desk(space, dice, density)
    for _ in range(dice.integer(1, 3)):
        shelf = space.against_wall(dice, storage.bookshelf(dice), front=0.45, like=in_corner)
        if shelf is not None:
            shelf_things(space, dice, shelf, density)
    for name, likely in (
        ("armchair", 0.55),
        ("cabinet", 0.4),
        ("computer", 0.4),
        ("lamp", 0.45),
        ("basket", 0.4),
        ("bin", 0.5),
        ("speaker", 0.2),
        ("fan", 0.2),
    ):
        if not dice.chance(likely * density):
            continue
        if name == "armchair":
            seat = space.against_wall(
                dice, seating.armchair(dice), front=0.45, gap=0.06, like=in_corner, essential=False
            )
            if seat is not None and seat.piece.tops and dice.chance(0.5):
                cushions(space, dice, seat, 1)
        elif name == "cabinet":
            item = space.against_wall(dice, storage.cabinet(dice), front=0.5, like=in_middle)
            if item is not None:
                strew(space, dice, item, TABLE_THINGS, dice.integer(1, 3))
        else:
            maker = {
                "computer": electronics.computer,
                "lamp": lamps.floor_lamp,
                "basket": storage.basket,
                "bin": decor.bin_,
                "speaker": electronics.speaker,
                "fan": electronics.fan,
            }[name]
            space.against_wall(dice, maker(dice), front=0.0, gap=0.05, like=in_corner)
    r = space.room.rect
    if dice.chance(0.4 * density):
        spot = (round((r.x0 + r.x1) / 2, 3), round((r.z0 + r.z1) / 2, 3))
        space.put(decor.rug(dice, min(2.0, r.width - 1.0), min(1.6, r.depth - 1.0)), *spot, 0, solid=False)
    greenery(space, dice, 0.5 * density)
    pictures(space, dice, dice.integer(0, 2), [desk])
