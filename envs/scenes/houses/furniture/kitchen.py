"""Kitchens: counters, sinks, stoves, hoods, wall cabinets, refrigerators, small machines."""

from __future__ import annotations

import numpy as np

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.furniture.piece import Piece, Top, fronts, handle
from envs.scenes.houses.shapes import (
    Mesh,
    boxes,
    cylinder,
    join,
    lathe,
    loft,
    moved,
    pitched,
    rectangle_ring,
    soft,
    tube,
)

COUNTER_HEIGHT = 0.9
COUNTER_DEPTH = 0.62


def _cabinet_under(w: float, top: float) -> Mesh:
    d = COUNTER_DEPTH
    return boxes((0, 0.1, -0.02, w, top - 0.1, d - 0.06), (0, 0, -0.06, w, 0.11, d - 0.14))


def counter(dice: Dice, w: float, style: str, framed: bool) -> Piece:
    """A base cabinet with doors or drawers under a worktop."""
    d, h = COUNTER_DEPTH, COUNTER_HEIGHT
    parts = [_cabinet_under(w, h - 0.04), boxes((0, h - 0.04, 0, w, 0.04, d))]
    face = d / 2 - 0.05
    if w <= 0.65 and dice.chance(0.45):
        heights = [0.30, 0.30, 0.155]
        y = 0.105
        for tall in heights:
            parts.append(fronts([(0, y, w, tall - 0.004)], face, style, "drawer"))
            y += tall
    else:
        count = 1 if w <= 0.65 else 2
        wide = w / count
        x = [(i - (count - 1) / 2) * wide for i in range(count)]
        parts.append(fronts([(at, h - 0.04 - 0.15, wide, 0.145) for at in x], face, style, "drawer"))
        kinds = ["right", "left"] if count == 2 else [dice.choice(["left", "right"])]
        for at, kind in zip(x, kinds, strict=True):
            parts.append(fronts([(at, 0.105, wide, h - 0.04 - 0.15 - 0.11)], face, style, kind, framed))
    return Piece(
        "counter", join(*parts), (Top(-w / 2 + 0.04, -d / 2 + 0.06, w / 2 - 0.04, d / 2 - 0.1, h, 0.45),)
    )


def corner_counter(w: float) -> Piece:
    """A plain block of worktop that fills the corner between two runs."""
    d, h = COUNTER_DEPTH, COUNTER_HEIGHT
    mesh = join(_cabinet_under(w, h - 0.04), boxes((0, h - 0.04, 0, w, 0.04, d)))
    return Piece("counter", mesh, (Top(-w / 2 + 0.06, -d / 2 + 0.06, w / 2 - 0.06, d / 2 - 0.1, h, 0.45),))


def _faucet(x: float, y: float, z: float, tall: float, reach: float) -> Mesh:
    spout = [
        (x, y, z),
        (x, y + tall * 0.75, z),
        (x, y + tall, z + reach * 0.35),
        (x, y + tall * 0.95, z + reach * 0.8),
        (x, y + tall * 0.72, z + reach),
    ]
    lever = tube([(x + 0.02, y + 0.05, z), (x + 0.07, y + 0.08, z)], (0.008, 0.006), 5)
    return join(cylinder(x, y, z, 0.024, 0.05, 8), tube(spout, (0.014, 0.013, 0.012, 0.012, 0.012), 7), lever)


def basin_in_top(
    w: float, d: float, y0: float, y1: float, bowl: tuple[float, float, float], z: float, corner: float
) -> Mesh:
    """A slab from y0 to y1 with a bowl (width, depth, deep) let into it at depth z."""
    bw, bd, deep = bowl
    rings = [
        rectangle_ring(bw * 0.7, bd * 0.7, corner * 0.5, y1 - deep - 0.02, 24, z=z),
        rectangle_ring(bw + 0.02, bd + 0.02, corner, min(y0, y1 - deep * 0.8), 24, z=z),
        rectangle_ring(bw + 0.02, bd + 0.02, corner, y0, 24, z=z),
        rectangle_ring(w, d, 0.0, y0, 24),
        rectangle_ring(w, d, 0.0, y1, 24),
        rectangle_ring(bw + 0.03, bd + 0.03, corner, y1, 24, z=z),
        rectangle_ring(bw + 0.02, bd + 0.02, corner, y1 + 0.006, 24, z=z),
        rectangle_ring(bw, bd, corner, y1, 24, z=z),
        rectangle_ring(bw - 0.04, bd - 0.04, corner * 0.9, y1 - deep * 0.9, 24, z=z),
        rectangle_ring(bw * 0.6, bd * 0.6, corner * 0.5, y1 - deep, 24, z=z),
    ]
    return loft(np.stack(rings))


def sink(dice: Dice, w: float, style: str) -> Piece:
    """A base cabinet with a hollow basin and a tap."""
    d, h = COUNTER_DEPTH, COUNTER_HEIGHT
    bowl = (min(w - 0.12, dice.uniform(0.46, 0.56)), 0.4, dice.uniform(0.15, 0.19))
    parts = [
        boxes((0, 0.1, -0.02, w, 0.58, d - 0.06), (0, 0, -0.06, w, 0.11, d - 0.14)),
        boxes(
            (0, 0.66, d / 2 - 0.06, w, 0.2, 0.02),
            (-w / 2 + 0.01, 0.66, -0.02, 0.02, 0.2, d - 0.06),
            (w / 2 - 0.01, 0.66, -0.02, 0.02, 0.2, d - 0.06),
        ),
        basin_in_top(w, d, h - 0.04, h, bowl, 0.03, 0.09),
        _faucet(0, h - 0.005, -d / 2 + 0.07, dice.uniform(0.24, 0.36), 0.2),
    ]
    parts.append(fronts([(-w / 4, 0.105, w / 2, 0.72)], d / 2 - 0.05, style, "right"))
    parts.append(fronts([(w / 4, 0.105, w / 2, 0.72)], d / 2 - 0.05, style, "left"))
    return Piece("sink", join(*parts))


def stove(dice: Dice) -> Piece:
    """An oven with a hob of four rings, knobs and a towel bar."""
    w, d, h = 0.6, COUNTER_DEPTH, COUNTER_HEIGHT
    parts = [
        boxes(
            (0, 0.1, -0.01, w, h - 0.12, d - 0.04),
            (0, 0, -0.05, w - 0.02, 0.11, d - 0.12),
            (0, h - 0.03, 0, w, 0.035, d - 0.01),
        )
    ]
    face = d / 2 - 0.03
    parts.append(
        boxes((0, 0.13, face + 0.012, w - 0.02, 0.13, 0.024), (0, 0.28, face + 0.012, w - 0.02, 0.44, 0.024))
    )
    parts.append(
        tube(
            [
                (-0.22, 0.68, face + 0.01),
                (-0.22, 0.68, face + 0.06),
                (0.22, 0.68, face + 0.06),
                (0.22, 0.68, face + 0.01),
            ],
            0.009,
            6,
        )
    )
    for i in range(5):
        knob = pitched(cylinder(0, 0, 0, 0.02, 0.028, 8, 0.016), 90)
        parts.append(moved(knob, -0.22 + 0.11 * i, 0.79, face))
    grate = dice.chance(0.5)
    for x, z, r in ((-0.15, -0.14, 0.08), (0.15, -0.14, 0.1), (-0.15, 0.14, 0.1), (0.15, 0.14, 0.08)):
        parts.append(
            lathe(
                [(0, 0), (r, 0), (r, 0.01), (r - 0.015, 0.012), (r - 0.02, 0.004), (0, 0.004)],
                14,
                x,
                h + 0.004,
                z,
            )
        )
        if grate:
            parts.append(boxes((x, h + 0.004, z, 0.012, 0.025, 0.24), (x, h + 0.004, z, 0.24, 0.0251, 0.012)))
    return Piece("stove", join(*parts), (Top(-0.27, -0.25, 0.27, 0.25, h + (0.03 if grate else 0.016), 0.5),))


def dishwasher(dice: Dice) -> Piece:
    """A dishwasher under the worktop."""
    w, d, h = 0.6, COUNTER_DEPTH, COUNTER_HEIGHT
    parts = [_cabinet_under(w, h - 0.04), boxes((0, h - 0.04, 0, w, 0.04, d))]
    face = d / 2 - 0.05
    parts.append(
        boxes((0, 0.11, face + 0.012, w - 0.01, 0.6, 0.024), (0, 0.72, face + 0.012, w - 0.01, 0.13, 0.024))
    )
    parts.append(handle(0, 0.68, face + 0.02, "bar", 0.4))
    parts.append(
        boxes(*((-0.2 + 0.05 * i, 0.78, face + 0.026, 0.02, 0.012, 0.012) for i in range(dice.integer(3, 6))))
    )
    return Piece("dishwasher", join(*parts), (Top(-0.26, -0.25, 0.26, 0.2, h, 0.45),))


def refrigerator(dice: Dice) -> Piece:
    """A tall refrigerator: freezer above or below, or two doors side by side."""
    kind = dice.choice(["below", "above", "double"])
    w = dice.uniform(0.86, 0.92) if kind == "double" else dice.uniform(0.58, 0.7)
    d, h = dice.uniform(0.64, 0.72), dice.uniform(1.68, 1.95)
    body = d - 0.07
    parts = [
        soft(0, 0.04, -0.035, w, h - 0.04, body, 0.012),
        boxes((0, 0, -0.04, w - 0.06, 0.05, body - 0.06)),
    ]
    face = d / 2 - 0.045
    if kind == "double":
        cells = [(-w / 4, 0.06, w / 2 - 0.004, h - 0.07, 0.05), (w / 4, 0.06, w / 2 - 0.004, h - 0.07, -0.05)]
        if dice.chance(0.5):
            cells = [(x, 0.62, cw, h - 0.63, side) for x, _, cw, _, side in cells] + [
                (0, 0.06, w - 0.004, 0.55, 0.0)
            ]
    else:
        split = dice.uniform(0.62, 0.75) if kind == "below" else h - dice.uniform(0.42, 0.52)
        side = (w / 2 - 0.06) * dice.choice([-1, 1])
        cells = [(0, 0.06, w - 0.004, split - 0.066, side), (0, split, w - 0.004, h - split - 0.01, side)]
    for x, y, cw, ch, side in cells:
        parts.append(soft(x, y, face, cw, ch, 0.055, 0.015, 2))
        reach = min(0.5, ch * 0.6)
        if side == 0.0:
            parts.append(handle(x, y + ch - 0.07, face + 0.025, "bar", cw * 0.7))
        else:
            at = x + (side if abs(side) > 0.1 else (cw / 2 - 0.05) * (1 if side > 0 else -1))
            mid = y + ch - reach / 2 - 0.08 if y < 0.1 and ch < 1.0 else y + reach / 2 + 0.08
            parts.append(handle(at, mid, face + 0.025, "bar", reach, upright=True))
    return Piece("refrigerator", join(*parts))


def upper_cabinet(dice: Dice, w: float, tall: float, style: str, framed: bool) -> Piece:
    """A wall cabinet; its underside at y = 0."""
    d = 0.34
    count = 1 if w <= 0.55 else 2
    wide = w / count
    parts = [boxes((0, 0, -0.01, w, tall, d - 0.02))]
    for i in range(count):
        x = (i - (count - 1) / 2) * wide
        kind = ("right", "left")[i] if count == 2 else dice.choice(["left", "right"])
        parts.append(fronts([(x, 0.0, wide, tall)], d / 2 - 0.02, style, kind, framed))
    return Piece("upper cabinet", join(*parts))


def range_hood(dice: Dice, ceiling: float) -> Piece:
    """A hood over the stove with its duct up to the ceiling; its underside at y = 0.

    Args:
        ceiling: height of the ceiling above the underside, metres.
    """
    w, d = 0.6, 0.48
    if dice.chance(0.6):
        rings = [
            rectangle_ring(w, d, 0, 0, 8),
            rectangle_ring(w, d, 0, 0.05, 8),
            rectangle_ring(0.26, 0.26, 0, 0.26, 8, z=-0.1),
            rectangle_ring(0.26, 0.26, 0, ceiling - 0.01, 8, z=-0.1),
        ]
        mesh = loft(np.stack(rings))
    else:
        mesh = join(soft(0, 0, 0, w, 0.1, d, 0.02), boxes((0, 0.08, -0.1, 0.28, ceiling - 0.09, 0.26)))
    return Piece("range hood", mesh)


def microwave(dice: Dice) -> Piece:
    """A microwave oven with door, handle and dial."""
    w, d, h = dice.uniform(0.46, 0.52), 0.36, dice.uniform(0.27, 0.31)
    face = d / 2 - 0.025
    dial = moved(pitched(cylinder(0, 0, 0, 0.022, 0.025, 8), 90), w / 2 - 0.06, h * 0.35, face)
    parts = [
        soft(0, 0.012, -0.015, w, h - 0.012, d - 0.03, 0.01),
        boxes((-0.055, 0.025, face, w - 0.14, h - 0.04, 0.024)),
        handle(w / 2 - 0.15, h / 2, face + 0.01, "bar", h * 0.6, upright=True),
        dial,
        boxes(*((sx * (w / 2 - 0.05), 0, sz * 0.12, 0.03, 0.015, 0.03) for sx in (-1, 1) for sz in (-1, 1))),
    ]
    return Piece("microwave", join(*parts))


def kettle(dice: Dice) -> Piece:
    """A kettle with spout, handle and lid."""
    r, h = dice.uniform(0.07, 0.085), dice.uniform(0.19, 0.24)
    parts = [
        lathe(
            [(0, 0), (r, 0), (r * 1.04, 0.03), (r * 0.72, h * 0.86), (r * 0.6, h * 0.9), (0, h * 0.92)], 12
        ),
        cylinder(0, h * 0.9, 0, 0.012, 0.035, 6),
        tube(
            [(r * 0.75, h * 0.55, 0), (r * 1.3, h * 0.72, 0), (r * 1.45, h * 0.86, 0)],
            (0.022, 0.015, 0.012),
            6,
        ),
        tube(
            [
                (-r * 0.7, h * 0.8, 0),
                (-r * 1.5, h * 0.8, 0),
                (-r * 1.55, h * 0.4, 0),
                (-r * 0.9, h * 0.25, 0),
            ],
            0.011,
            6,
        ),
    ]
    return Piece("kettle", join(*parts))


def pot(dice: Dice) -> Piece:
    """A cooking pot with lid and two handles, or a pan."""
    r, h = dice.uniform(0.09, 0.12), dice.uniform(0.09, 0.16)
    if dice.chance(0.35):
        parts = [
            lathe([(0, 0), (r, 0), (r * 1.15, 0.045), (r * 1.12, 0.045), (r * 0.97, 0.006), (0, 0.006)], 14),
            tube([(0, 0.035, r), (0, 0.06, r + 0.2)], (0.008, 0.012), 6),
        ]
        return Piece("pan", join(*parts))
    parts = [
        lathe(
            [
                (0, 0),
                (r, 0),
                (r, h),
                (r * 1.04, h),
                (r * 1.02, h + 0.008),
                (r * 0.5, h + 0.03),
                (0, h + 0.034),
            ],
            14,
        ),
        cylinder(0, h + 0.03, 0, 0.012, 0.025, 8, 0.018),
    ]
    for s in (-1, 1):
        parts.append(
            tube(
                [
                    (s * (r - 0.005), h * 0.75, -0.03),
                    (s * (r + 0.035), h * 0.78, -0.02),
                    (s * (r + 0.035), h * 0.78, 0.02),
                    (s * (r - 0.005), h * 0.75, 0.03),
                ],
                0.006,
                5,
            )
        )
    return Piece("pot", join(*parts))


def toaster(dice: Dice) -> Piece:
    """A toaster with two slots and a lever."""
    w, d, h = dice.uniform(0.27, 0.31), dice.uniform(0.16, 0.19), dice.uniform(0.17, 0.2)
    parts = [soft(0, 0.01, 0, w, h - 0.03, d, 0.04, 2), boxes((0, 0, 0, w - 0.06, 0.015, d - 0.05))]
    parts += [
        boxes((0, h - 0.03, s * 0.03, w - 0.1, 0.02, 0.012), (0, h - 0.03, s * 0.055, w - 0.1, 0.02, 0.012))
        for s in (-1, 1)
    ]
    parts.append(boxes((w / 2 + 0.008, h * 0.55, 0, 0.03, 0.015, 0.03)))
    return Piece("toaster", join(*parts))
