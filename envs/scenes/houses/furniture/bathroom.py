"""Bathrooms: toilets, bathtubs, showers, washbasins, mirrors, towels, washing machines."""

from __future__ import annotations

import numpy as np

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.furniture.kitchen import basin_in_top
from envs.scenes.houses.furniture.piece import HANDLE_STYLES, Piece, Top, fronts
from envs.scenes.houses.shapes import (
    Mesh,
    boxes,
    circle,
    cylinder,
    join,
    lathe,
    loft,
    moved,
    pitched,
    rectangle_ring,
    soft,
    strip,
    tube,
)


def _egg(rx: float, rz: float, y: float, z: float, n: int = 20) -> np.ndarray:
    """A level ring like a toilet bowl: round in front, straighter behind."""
    unit = circle(n)
    back = np.where(unit[:, 1] < 0, 0.72, 1.0)
    return np.stack([unit[:, 0] * rx, np.full(n, y), unit[:, 1] * rz * back + z], axis=1)


def toilet(dice: Dice) -> Piece:
    """A bowl with rim, seat and cistern; the cistern at the back."""
    d, w = dice.uniform(0.66, 0.72), dice.uniform(0.36, 0.40)
    h = dice.uniform(0.40, 0.43)
    tank = dice.uniform(0.17, 0.2)
    zc = -d / 2 + tank + 0.23
    rz = d / 2 - zc
    bowl = [
        _egg(w * 0.30, rz * 0.62, 0.0, zc - 0.04),
        _egg(w * 0.27, rz * 0.58, 0.10, zc - 0.04),
        _egg(w * 0.36, rz * 0.78, 0.26, zc - 0.01),
        _egg(w * 0.47, rz * 0.96, h - 0.05, zc),
        _egg(w * 0.48, rz * 0.98, h - 0.01, zc),
        _egg(w * 0.36, rz * 0.80, h - 0.01, zc),
        _egg(w * 0.30, rz * 0.66, h - 0.10, zc),
        _egg(w * 0.14, rz * 0.30, h - 0.22, zc),
    ]
    seat = [
        _egg(w * 0.5, rz, h - 0.012, zc),
        _egg(w * 0.5, rz, h + 0.012, zc),
        _egg(w * 0.31, rz * 0.70, h + 0.012, zc),
        _egg(w * 0.31, rz * 0.70, h - 0.012, zc),
    ]
    back = -d / 2 + tank / 2
    parts = [
        loft(np.stack(bowl)),
        boxes((0, 0.02, -d / 2 + tank / 2 + 0.06, w * 0.5, h - 0.04, tank + 0.12)),
        soft(0, h - 0.03, back, w + 0.02, 0.36, tank, 0.03, 2),
        soft(0, h + 0.325, back, w + 0.04, 0.035, tank + 0.015, 0.012),
        cylinder(0, h + 0.355, back, 0.022, 0.012, 8),
    ]
    lid = loft(
        np.stack(
            [
                _egg(w * 0.5, rz, 0.0, 0.0),
                _egg(w * 0.5, rz, 0.014, 0.0),
                _egg(w * 0.42, rz * 0.85, 0.022, 0.0),
            ]
        )
    )
    if dice.chance(0.5):
        parts.append(moved(lid, 0, h + 0.012, zc))
    else:
        parts.append(loft(np.stack(seat), closed=True))
        parts.append(moved(pitched(moved(lid, 0, 0, 0.28), -95), 0, h + 0.02, -d / 2 + tank + 0.05))
    return Piece("toilet", join(*parts))


def bathtub(dice: Dice, length: float) -> Piece:
    """A hollow tub, built in behind a panel or free-standing on feet; its long side at the back."""
    d, h = dice.uniform(0.70, 0.80), dice.uniform(0.54, 0.6)
    rim, n = 0.06, 24
    inner = [
        rectangle_ring(length - 2 * rim, d - 2 * rim, 0.22, h, n),
        rectangle_ring(length - 2 * rim - 0.04, d - 2 * rim - 0.04, 0.22, h - 0.06, n),
        rectangle_ring(length - 2 * rim - 0.22, d - 2 * rim - 0.12, 0.2, 0.2, n),
        rectangle_ring(length - 2 * rim - 0.4, d - 2 * rim - 0.26, 0.15, 0.15, n),
    ]
    if dice.chance(0.6):
        outer = [
            rectangle_ring(length, d, 0.0, 0.0, n),
            rectangle_ring(length, d, 0.0, h - 0.01, n),
            rectangle_ring(length - 0.01, d - 0.01, 0.0, h, n),
        ]
        feet: list[Mesh] = []
    else:
        outer = [
            rectangle_ring(length - 0.5, d - 0.34, 0.18, 0.1, n),
            rectangle_ring(length - 0.28, d - 0.18, 0.25, 0.17, n),
            rectangle_ring(length - 0.06, d - 0.06, 0.3, h - 0.08, n),
            rectangle_ring(length, d, 0.3, h - 0.02, n),
            rectangle_ring(length - 0.02, d - 0.02, 0.3, h + 0.005, n),
        ]
        feet = [
            cylinder(sx * length * 0.27, 0, sz * d * 0.2, 0.03, 0.16, 8, 0.045)
            for sx in (-1, 1)
            for sz in (-1, 1)
        ]
    x = -length / 2 + 0.05
    tap = join(
        tube(
            [
                (x - 0.02, h - 0.02, 0),
                (x - 0.02, h + 0.16, 0),
                (x + 0.03, h + 0.19, 0),
                (x + 0.13, h + 0.15, 0),
            ],
            0.016,
            7,
        ),
        *(
            join(
                cylinder(x - 0.02, h - 0.01, s, 0.018, 0.05, 8),
                boxes((x - 0.02, h + 0.035, s, 0.05, 0.012, 0.012)),
            )
            for s in (-0.09, 0.09)
        ),
    )
    return Piece("bathtub", join(loft(np.stack(outer + inner)), *feet, tap))


def shower(dice: Dice) -> Piece:
    """A tray with a shower head on a rail and a glass screen on its left; its back in a corner."""
    w, d = dice.uniform(0.85, 1.0), dice.uniform(0.8, 0.95)
    tray = basin_in_top(w, d, 0.0, 0.08, (w - 0.12, d - 0.12, 0.05), 0.0, 0.12)
    z = -d / 2 + 0.05
    rail = tube([(0, 0.95, z), (0, 2.0, z)], 0.011, 6)
    arm = tube([(0, 1.98, z), (0, 2.06, z + 0.06), (0, 2.06, z + 0.26)], 0.011, 6)
    head = lathe([(0, -0.05), (0.1, -0.05), (0.1, -0.035), (0.02, -0.01), (0, 0.0)], 14, 0, 2.06, z + 0.26)
    valve = join(
        boxes((0, 1.0, z, 0.26, 0.045, 0.05)),
        *(moved(pitched(cylinder(0, 0, 0, 0.02, 0.03, 8), 90), s * 0.1, 1.02, z + 0.02) for s in (-1, 1)),
    )
    side = -w / 2 + 0.02
    screen = boxes(
        (side, 0.08, -0.005, 0.012, 1.86, d - 0.02),
        (side, 1.93, -0.005, 0.03, 0.03, d - 0.01),
        (side, 0.08, d / 2 - 0.02, 0.03, 1.88, 0.03),
    )
    parts = [tray, rail, arm, head, valve, screen, cylinder(0, 0.03, 0, 0.04, 0.006, 10)]
    if dice.chance(0.4):
        parts.append(
            boxes(
                (w * 0.25 - 0.0, 0.08, d / 2 - 0.02, w * 0.45, 1.86, 0.012),
                (w * 0.25, 1.93, d / 2 - 0.02, w * 0.47, 0.03, 0.03),
            )
        )
    return Piece("shower", join(*parts))


def _basin_tap(x: float, y: float, z: float) -> Mesh:
    return join(
        cylinder(x, y, z, 0.022, 0.03, 8),
        tube([(x, y, z), (x, y + 0.12, z), (x, y + 0.145, z + 0.04), (x, y + 0.12, z + 0.12)], 0.012, 6),
        boxes((x, y + 0.14, z - 0.01, 0.014, 0.012, 0.07)),
    )


def washbasin(dice: Dice) -> Piece:
    """A basin on a column or let into a cabinet."""
    h = dice.uniform(0.82, 0.87)
    if dice.chance(0.5):
        w, d = dice.uniform(0.52, 0.62), dice.uniform(0.44, 0.5)
        rings = [
            rectangle_ring(w * 0.4, d * 0.5, 0.1, h - 0.2, 24, z=-0.06),
            rectangle_ring(w * 0.9, d * 0.9, 0.18, h - 0.09, 24, z=-0.01),
            rectangle_ring(w, d, 0.2, h - 0.03, 24),
            rectangle_ring(w - 0.01, d - 0.01, 0.2, h, 24),
            rectangle_ring(w - 0.12, d * 0.62, 0.15, h, 24, z=0.05),
            rectangle_ring(w - 0.18, d * 0.52, 0.13, h - 0.09, 24, z=0.05),
            rectangle_ring(w * 0.3, d * 0.2, 0.05, h - 0.14, 24, z=0.03),
        ]
        column = lathe(
            [(0, 0), (0.11, 0), (0.1, 0.05), (0.075, 0.2), (0.07, 0.5), (0.1, h - 0.15), (0, h - 0.15)],
            12,
            0,
            0,
            -d / 2 + 0.15,
        )
        return Piece("washbasin", join(loft(np.stack(rings)), column, _basin_tap(0, h - 0.01, -d / 2 + 0.06)))
    double = dice.chance(0.25)
    w, d = (dice.uniform(1.1, 1.3) if double else dice.uniform(0.6, 0.85)), dice.uniform(0.46, 0.52)
    foot = dice.choice([0.08, 0.28])
    body = h - 0.16
    parts = [boxes((0, foot, -0.01, w - 0.02, body - foot, d - 0.04))]
    if foot < 0.1:
        parts.append(boxes((0, 0, -0.04, w - 0.06, 0.09, d - 0.12)))
    style = dice.choice(HANDLE_STYLES)
    kind = dice.choice(["drawer", "right"])
    count = 2 if w > 0.7 else 1
    wide = (w - 0.02) / count
    x = [(i - (count - 1) / 2) * wide for i in range(count)]
    if kind == "drawer":
        tall = (body - foot) / 2
        parts.append(
            fronts(
                [(at, foot + i * tall, wide, tall - 0.002) for at in x for i in (0, 1)],
                d / 2 - 0.03,
                style,
                "drawer",
            )
        )
    else:
        parts.append(fronts([(at, foot, wide, body - foot) for at in x], d / 2 - 0.03, style, "right"))
    units = [-w / 4, w / 4] if double else [0.0]
    each = w / len(units)
    for at in units:
        parts.append(
            moved(basin_in_top(each, d, body, h, (min(0.5, each - 0.12), d - 0.2, 0.13), 0.03, 0.14), at)
        )
        parts.append(_basin_tap(at, h - 0.005, -d / 2 + 0.06))
    tops = (Top(-w / 2 + 0.01, -d / 2 + 0.03, -w / 2 + 0.09, d / 2 - 0.05, h, 0.3),)
    return Piece("washbasin", join(*parts), tops)


def mirror(dice: Dice, w: float) -> Piece:
    """A framed mirror on the wall, round or rectangular; its middle at y = 0."""
    if dice.chance(0.35):
        r = min(w, 0.75) / 2
        frame = pitched(
            lathe([(0, 0), (r, 0), (r, 0.025), (r - 0.025, 0.028), (r - 0.03, 0.014), (0, 0.014)], 24), 90
        )
        return Piece("mirror", moved(frame, 0, 0, -0.014))
    h, edge = dice.uniform(0.65, 0.95), dice.uniform(0.02, 0.045)
    mesh = boxes(
        (0, -h / 2, -0.004, w, h, 0.016),
        (0, -h / 2, 0.004, w, edge, 0.022),
        (0, h / 2 - edge, 0.004, w, edge, 0.022),
        (-w / 2 + edge / 2, -h / 2 + edge, 0.004, edge, h - 2 * edge, 0.022),
        (w / 2 - edge / 2, -h / 2 + edge, 0.004, edge, h - 2 * edge, 0.022),
    )
    return Piece("mirror", mesh)


def towel(dice: Dice) -> Piece:
    """A towel over a rail on the wall; the rail at y = 0."""
    w = dice.uniform(0.45, 0.7)
    wide, z = w * dice.uniform(0.6, 0.85), 0.03
    rail = tube([(-w / 2, 0, -0.05), (-w / 2, 0, z), (w / 2, 0, z), (w / 2, 0, -0.05)], 0.008, 6)
    front, back = dice.uniform(0.38, 0.55), dice.uniform(0.2, 0.4)
    side = [
        (z + 0.022, -front),
        (z + 0.018, -front * 0.5),
        (z + 0.016, 0.0),
        (z, 0.016),
        (z - 0.016, 0.0),
        (z - 0.018, -back * 0.5),
        (z - 0.02, -back),
    ]
    across = np.linspace(-wide / 2, wide / 2, 6)
    wave = (dice.array(6) - 0.5) * 0.01
    grid = np.array([[(x, y, depth + dz) for depth, y in side] for x, dz in zip(across, wave, strict=True)])
    inner = np.array(
        [
            [
                (x, y - (0.008 if 1 < i < 5 else 0.0), depth + dz + (z - depth) * 0.4)
                for i, (depth, y) in enumerate(side)
            ]
            for x, dz in zip(across, wave, strict=True)
        ]
    )
    return Piece("towel", join(rail, strip(grid, inner)))


def washing_machine(dice: Dice) -> Piece:
    """A front loader with a round door, a dial and a drawer."""
    w, d, h = 0.6, dice.uniform(0.56, 0.62), 0.85
    face = d / 2 - 0.05
    r = dice.uniform(0.16, 0.19)
    door = pitched(
        lathe(
            [(0, 0), (r, 0), (r, 0.03), (r - 0.035, 0.045), (r - 0.05, 0.025), (r * 0.4, 0.012), (0, 0.01)],
            20,
        ),
        90,
    )
    parts = [
        soft(0, 0.015, -0.025, w, h - 0.015, d - 0.05, 0.015),
        moved(door, 0, 0.42, face),
        boxes(
            (0, h - 0.13, face, w - 0.01, 0.11, 0.016),
            (-w / 2 + 0.1, h - 0.12, face + 0.008, 0.16, 0.085, 0.016),
            (0, 0.02, face, w - 0.03, 0.09, 0.01),
        ),
        moved(pitched(cylinder(0, 0, 0, 0.035, 0.03, 12, 0.03), 90), 0.08, h - 0.075, face + 0.006),
        boxes(*((sx * 0.25, 0, sz * 0.2, 0.05, 0.02, 0.05) for sx in (-1, 1) for sz in (-1, 1))),
    ]
    return Piece("washing machine", join(*parts), (Top(-0.26, -0.24, 0.26, 0.2, h, 0.6),))
