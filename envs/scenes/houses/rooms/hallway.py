"""Hallways: what narrow rooms hold: shoes, coats, a console table with a mirror, a runner."""

from __future__ import annotations

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.furniture import bathroom, decor, lamps, seating, storage, tables
from envs.scenes.houses.hanging import hang
from envs.scenes.houses.rooms.dressing import TABLE_THINGS, in_corner, in_middle, pictures, strew
from envs.scenes.houses.space import RoomSpace


def furnish_hallway(space: RoomSpace, dice: Dice, density: float) -> None:
    """Furnish one hallway."""
    r = space.room.rect
    console = None
    for name, likely in (
        ("console", 0.65),
        ("shoes", 0.7),
        ("coats", 0.6),
        ("bench", 0.3),
        ("cabinet", 0.25),
    ):
        if not dice.chance(likely * density):
            continue
        if name == "console":
            console = space.against_wall(dice, tables.console_table(dice), front=0.3, like=in_middle)
            if console is not None:
                strew(
                    space, dice, console, (*TABLE_THINGS, lamps.table_lamp, decor.photo), dice.integer(1, 3)
                )
                mirror = bathroom.mirror(dice, 0.6)
                hang(space, dice, mirror, 1.6, above=console)
            continue
        maker = {
            "shoes": storage.shoe_rack,
            "coats": storage.coat_rack,
            "bench": seating.bench,
            "cabinet": storage.cabinet,
        }[name]
        space.against_wall(dice, maker(dice), front=0.3, like=in_corner if name == "coats" else in_middle)
    if dice.chance(0.6 * density):
        long, short = max(r.width, r.depth), min(r.width, r.depth)
        w, d = min(long - 0.8, dice.uniform(1.8, 3.4)), min(short - 0.3, 0.75)
        if w > 0.8:
            rug = decor.rug(dice, w, d)
            space.put(
                rug,
                round((r.x0 + r.x1) / 2, 3),
                round((r.z0 + r.z1) / 2, 3),
                0 if r.width > r.depth else 90,
                solid=False,
            )
    pictures(space, dice, dice.integer(1, 3))
