"""Bathrooms: tub or shower, toilet, washbasin with a mirror over it, towels, perhaps a washing machine."""

from __future__ import annotations

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.furniture import bathroom, decor, storage
from envs.scenes.houses.hanging import hang
from envs.scenes.houses.rooms.dressing import in_corner, strew
from envs.scenes.houses.space import Placed, RoomSpace, footprint, local_point


def _wet(space: RoomSpace, dice: Dice, compact: bool) -> Placed | None:
    """A tub, else a shower."""
    if dice.chance(0.65) and not compact:
        for length in (1.7, 1.6, 1.5):
            tub = space.against_wall(
                dice, bathroom.bathtub(dice, length), front=0.5, gap=0.02, like=in_corner, essential=True
            )
            if tub is not None:
                return tub
    return space.against_wall(
        dice, bathroom.shower(dice), front=0.5, gap=0.02, like=lambda s: 4.0 * (s.end < 0.05), essential=True
    )


def furnish_bathroom(space: RoomSpace, dice: Dice, density: float, compact: bool) -> None:
    """Furnish one bathroom."""
    side, front = (0.56, 0.4) if compact else (0.7, 0.5)
    wet = None if compact else _wet(space, dice, compact)
    space.against_wall(
        dice,
        bathroom.toilet(dice),
        front=front,
        gap=0.02,
        like=in_corner if compact else None,
        essential=True,
        width=side,
    )
    basin = space.against_wall(
        dice,
        bathroom.washbasin(dice),
        front=front,
        gap=0.02,
        like=in_corner if compact else None,
        essential=True,
        width=side,
    )
    if compact:  # in the smallest bathrooms the shower takes what is left
        wet = _wet(space, dice, compact)
    if basin is None:
        small = bathroom.washbasin(dice.fork("small"))
        basin = space.against_wall(dice, small, front=0.45, gap=0.02, essential=True)
    if basin is not None:
        strew(space, dice, basin, (decor.cup, decor.bottle, decor.candle), 1)
        for width in (min(basin.piece.width, 1.0), 0.5, 0.4):
            mirror = bathroom.mirror(dice, width)
            if (
                hang(space, dice, mirror, max(1.5, basin.piece.height + 0.12 + mirror.height), above=basin)
                is not None
            ):
                break
    if wet is not None and wet.piece.category == "bathtub" and dice.chance(0.7 * density):
        mat = decor.rug(dice, 0.8, 0.5)
        x, z = local_point(wet, 0.0, wet.piece.depth / 2 + 0.36)
        if not any(footprint(0.8, 0.5, x, z, wet.yaw).overlaps(solid) for solid in space.solids):
            space.put(mat, round(x, 4), round(z, 4), wet.yaw, solid=False)
    extras = (
        (bathroom.washing_machine, 0.5, 0.5),
        (storage.basket, 0.6, 0.0),
        (decor.bin_, 0.7, 0.0),
        (storage.cupboard, 0.4, 0.4),
    )
    for maker, likely, front in extras:
        if dice.chance(likely * density):
            item = space.against_wall(dice, maker(dice), front=front, gap=0.03, like=in_corner)
            if item is not None and item.piece.tops and item.piece.category != "bookshelf":
                strew(space, dice, item, (decor.bottle, decor.cup), 1)
    for _ in range(dice.integer(1, 2)):
        hang(space, dice, bathroom.towel(dice), 1.25)
