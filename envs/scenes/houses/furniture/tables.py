"""Tables: dining tables, coffee tables, side tables, desks, console tables."""

from __future__ import annotations

import numpy as np

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.furniture.piece import HANDLE_STYLES, LEG_STYLES, Piece, Top, corner_legs, fronts
from envs.scenes.houses.shapes import (
    Mesh,
    boxes,
    cylinder,
    join,
    lathe,
    loft,
    mirrored,
    rectangle_ring,
    soft,
    tube,
)


def _oval_top(w: float, d: float, y: float, thick: float, corner: float) -> Mesh:
    """A table top with rounded corners and eased edges; ``corner`` of half the width makes it round."""
    rings = [
        rectangle_ring(w - 0.02, d - 0.02, corner, y, 24),
        rectangle_ring(w, d, corner, y + 0.008, 24),
        rectangle_ring(w, d, corner, y + thick - 0.004, 24),
        rectangle_ring(w - 0.01, d - 0.01, corner, y + thick, 24),
    ]
    return loft(np.stack(rings))


def _round_top(r: float, y: float, thick: float, n: int = 24) -> Mesh:
    return lathe(
        [
            (0, y),
            (r - 0.012, y),
            (r, y + thick * 0.4),
            (r, y + thick * 0.8),
            (r - 0.006, y + thick),
            (0, y + thick),
        ],
        n,
    )


def _pedestal(r: float, h: float) -> Mesh:
    """One turned column on a round foot."""
    return lathe(
        [
            (0, 0),
            (r * 0.62, 0),
            (r * 0.6, 0.02),
            (r * 0.2, 0.06),
            (0.045, 0.14),
            (0.04, h * 0.5),
            (0.055, h * 0.7),
            (0.04, h - 0.08),
            (0.12, h),
            (0, h),
        ],
        14,
    )


def _round_tops(r: float, h: float) -> tuple[Top, ...]:
    side = r * 0.68
    return (Top(-side, -side, side, side, h),)


def dining_table(dice: Dice, w: float, d: float, *, round_: bool) -> Piece:
    """A dining table of the given size: round on a column or on legs, else with legs or trestles."""
    h, thick = dice.uniform(0.73, 0.77), dice.uniform(0.025, 0.045)
    if round_:
        r = w / 2
        under = (
            _pedestal(r, h - thick)
            if dice.chance(0.6)
            else corner_legs(w * 0.74, w * 0.74, h - thick, 0.06, dice.choice(LEG_STYLES[1:]))
        )
        return Piece("dining table", join(under, _round_top(r, h - thick, thick)), _round_tops(r, h))
    parts = [
        soft(0, h - thick, 0, w, thick, d, 0.008)
        if dice.chance(0.6)
        else _oval_top(w, d, h - thick, thick, 0.12)
    ]
    if dice.chance(0.75):
        leg = dice.uniform(0.055, 0.085)
        parts.append(corner_legs(w, d, h - thick, leg, dice.choice(LEG_STYLES[:3]), 0.05))
        apron, inset = 0.08, 0.05 + leg / 2
        y = h - thick - apron
        parts.append(
            boxes(
                (0, y, d / 2 - inset, w - 2 * inset, apron, 0.02),
                (0, y, inset - d / 2, w - 2 * inset, apron, 0.02),
                (w / 2 - inset, y, 0, 0.02, apron, d - 2 * inset),
                (inset - w / 2, y, 0, 0.02, apron, d - 2 * inset),
            )
        )
    else:
        side = w / 2 - 0.28
        trestle = join(
            tube([(side, 0, -d * 0.38), (side, h - thick, d * 0.22)], 0.03, 6),
            tube([(side, 0, d * 0.38), (side, h - thick, -d * 0.22)], 0.03, 6),
        )
        parts += [trestle, mirrored(trestle), boxes((0, h * 0.42, 0, 2 * side, 0.06, 0.03))]
    return Piece(
        "dining table", join(*parts), (Top(-w / 2 + 0.08, -d / 2 + 0.08, w / 2 - 0.08, d / 2 - 0.08, h),)
    )


def coffee_table(dice: Dice) -> Piece:
    """A low table: rectangular with a shelf, oval, or round."""
    h = dice.uniform(0.36, 0.46)
    style = dice.choice(["shelf", "oval", "round", "drawers"])
    if style == "round":
        r = dice.uniform(0.36, 0.45)
        parts = [
            _round_top(r, h - 0.03, 0.03),
            corner_legs(r * 1.5, r * 1.5, h - 0.03, 0.045, dice.choice(LEG_STYLES[1:])),
        ]
        return Piece("coffee table", join(*parts), _round_tops(r, h))
    w, d = dice.uniform(0.85, 1.2), dice.uniform(0.48, 0.62)
    tops = (Top(-w / 2 + 0.06, -d / 2 + 0.06, w / 2 - 0.06, d / 2 - 0.06, h),)
    if style == "oval":
        parts = [
            _oval_top(w, d, h - 0.028, 0.028, d / 2),
            corner_legs(w * 0.78, d * 0.78, h - 0.02, 0.045, "splayed"),
        ]
        return Piece("coffee table", join(*parts), (Top(-w * 0.33, -d * 0.33, w * 0.33, d * 0.33, h),))
    leg = dice.uniform(0.04, 0.06)
    parts = [
        soft(0, h - 0.035, 0, w, 0.035, d, 0.008),
        corner_legs(w, d, h - 0.03, leg, dice.choice(LEG_STYLES[:2])),
    ]
    if style == "shelf":
        parts.append(boxes((0, 0.12, 0, w - 2 * leg, 0.02, d - 2 * leg)))
    else:
        parts.append(boxes((0, h - 0.15, 0, w - 2 * leg, 0.12, d - 2 * leg)))
        cells = [(s * (w / 4 - leg / 2), h - 0.15, w / 2 - leg - 0.02, 0.115) for s in (-1, 1)]
        parts.append(fronts(cells, d / 2 - leg, dice.choice(HANDLE_STYLES), "drawer"))
    return Piece("coffee table", join(*parts), tops)


def side_table(dice: Dice) -> Piece:
    """A small table beside a seat."""
    h = dice.uniform(0.48, 0.58)
    if dice.chance(0.6):
        r = dice.uniform(0.2, 0.27)
        under = (
            _pedestal(r * 0.9, h - 0.025)
            if dice.chance(0.5)
            else corner_legs(r * 1.4, r * 1.4, h - 0.025, 0.035, dice.choice(LEG_STYLES[1:]))
        )
        return Piece("side table", join(under, _round_top(r, h - 0.025, 0.025, 18)), _round_tops(r, h))
    w = dice.uniform(0.4, 0.5)
    parts = [
        soft(0, h - 0.03, 0, w, 0.03, w, 0.008),
        corner_legs(w, w, h - 0.02, 0.04, dice.choice(LEG_STYLES[:3])),
        boxes((0, 0.16, 0, w - 0.08, 0.018, w - 0.08)),
    ]
    return Piece(
        "side table", join(*parts), (Top(-w / 2 + 0.05, -w / 2 + 0.05, w / 2 - 0.05, w / 2 - 0.05, h),)
    )


def desk(dice: Dice) -> Piece:
    """A writing desk with drawers at one side or both."""
    w, d, h = dice.uniform(1.1, 1.6), dice.uniform(0.6, 0.75), dice.uniform(0.73, 0.76)
    parts = [soft(0, h - 0.03, 0, w, 0.03, d, 0.008)]
    style = dice.choice(HANDLE_STYLES)
    box = 0.4
    sides = [-1, 1] if w > 1.45 and dice.chance(0.5) else [dice.choice([-1, 1])]
    for side in (-1, 1):
        x = side * (w / 2 - box / 2 - 0.02)
        if side in sides:
            parts.append(
                boxes((x, 0.05, -0.01, box, h - 0.08, d - 0.06), (x, 0.0, -0.02, box - 0.06, 0.06, d - 0.14))
            )
            tall = (h - 0.09) / 3 - 0.013
            cells = [(x, 0.055 + i * (tall + 0.008), box, tall) for i in range(3)]
            parts.append(fronts(cells, d / 2 - 0.04, style, "drawer"))
        else:
            x = side * (w / 2 - 0.05)
            parts.append(
                boxes((x, 0, d / 2 - 0.06, 0.05, h - 0.03, 0.05), (x, 0, 0.06 - d / 2, 0.05, h - 0.03, 0.05))
            )
    parts.append(boxes((0, h - 0.35, 0.04 - d / 2, w - 0.1, 0.32, 0.018)))
    return Piece("desk", join(*parts), (Top(-w / 2 + 0.05, -d / 2 + 0.05, w / 2 - 0.05, d / 2 - 0.05, h),))


def console_table(dice: Dice) -> Piece:
    """A narrow table for a hallway."""
    w, d, h = dice.uniform(0.7, 1.1), dice.uniform(0.26, 0.34), dice.uniform(0.76, 0.86)
    parts = [
        soft(0, h - 0.03, 0, w, 0.03, d, 0.008),
        corner_legs(w, d, h - 0.02, 0.04, dice.choice(LEG_STYLES[:3])),
    ]
    parts.append(boxes((0, h - 0.14, 0, w - 0.08, 0.115, d - 0.06)))
    cells = [(s * (w - 0.1) / 4, h - 0.14, (w - 0.1) / 2 - 0.01, 0.105) for s in (-1, 1)]
    parts.append(fronts(cells, d / 2 - 0.03, dice.choice(HANDLE_STYLES), "drawer"))
    if dice.chance(0.5):
        parts.append(boxes((0, 0.18, 0, w - 0.08, 0.02, d - 0.08)))
    return Piece(
        "console table", join(*parts), (Top(-w / 2 + 0.04, -d / 2 + 0.04, w / 2 - 0.04, d / 2 - 0.04, h),)
    )


def kitchen_island(dice: Dice, w: float, d: float) -> Piece:
    """A free-standing block with a worktop that overhangs on the back, where stools stand."""
    h = dice.uniform(0.89, 0.93)
    depth = d - 0.26
    z = d / 2 - depth / 2 - 0.04
    parts = [
        boxes((0, 0.09, z, w - 0.08, h - 0.13, depth), (0, 0, z - 0.03, w - 0.14, 0.1, depth - 0.1)),
        soft(0, h - 0.04, 0, w, 0.04, d, 0.006),
    ]
    count = max(2, round(w / 0.55))
    wide = (w - 0.1) / count
    cells = [(-(w - 0.1) / 2 + wide * (i + 0.5), 0.1, wide, h - 0.16) for i in range(count)]
    style = dice.choice(HANDLE_STYLES)
    parts.append(fronts(cells[::2], z + depth / 2, style, "right"))
    parts.append(fronts(cells[1::2], z + depth / 2, style, "left"))
    return Piece(
        "kitchen island", join(*parts), (Top(-w / 2 + 0.1, -d / 2 + 0.1, w / 2 - 0.1, d / 2 - 0.1, h),)
    )


def tray(dice: Dice) -> Piece:
    """A turning tray for the middle of a table."""
    r = dice.uniform(0.14, 0.2)
    mesh = join(
        cylinder(0, 0, 0, r * 0.4, 0.02, 10),
        lathe([(0, 0.018), (r, 0.018), (r, 0.034), (r - 0.01, 0.034), (r - 0.012, 0.026), (0, 0.026)], 18),
    )
    return Piece("tray", mesh)
