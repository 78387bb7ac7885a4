"""Lamps: on the floor, on tables, from the ceiling."""

from __future__ import annotations

import numpy as np

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.furniture.piece import Piece
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
    tube,
    yawed,
)


def _shade(dice: Dice, r: float, h: float, y: float, style: str, n: int = 16) -> Mesh:
    """A hollow shade whose lower edge lies at y: ``drum``, ``cone``, ``bell`` or ``globe``."""
    if style == "globe":
        profile = [
            (r * a, y + h / 2 - r * b)
            for a, b in (
                (0.0, 1.0),
                (0.5, 0.87),
                (0.87, 0.5),
                (1.0, 0.0),
                (0.87, -0.5),
                (0.5, -0.87),
                (0.0, -1.0),
            )
        ]
        return lathe(profile, n)
    outer = {
        "drum": [(1.0, 0.0), (0.94, 1.0)],
        "cone": [(1.0, 0.0), (0.5, 1.0)],
        "bell": [(1.0, 0.0), (0.88, 0.18), (0.66, 0.5), (0.5, 0.8), (0.42, 1.0)],
    }[style]
    line = [(r * a, y + h * b) for a, b in outer] + [(r * a - 0.006, y + h * b) for a, b in reversed(outer)]
    unit = circle(n)
    rings = [np.stack([unit[:, 0] * out, np.full(n, up), unit[:, 1] * out], axis=1) for out, up in line]
    return loft(np.stack(rings), closed=True)


_SHADES = ("drum", "cone", "bell")


def floor_lamp(dice: Dice) -> Piece:
    """A standing lamp: straight, on three legs, or arched over a seat."""
    style = dice.choice(["straight", "tripod", "arc"], (5, 3, 2))
    h = dice.uniform(1.45, 1.7)
    shade, r, tall = dice.choice(_SHADES), dice.uniform(0.17, 0.23), dice.uniform(0.22, 0.3)
    if style == "tripod":
        legs = [
            tube([(0.24 * x, 0, 0.24 * z), (0.02 * x, h - tall, 0.02 * z)], (0.013, 0.015), 6)
            for x, z in circle(3)
        ]
        mesh = join(
            *legs, cylinder(0, h - tall - 0.03, 0, 0.03, 0.12, 8), _shade(dice, r, tall, h - tall, shade)
        )
        return Piece("floor lamp", mesh)
    if style == "arc":
        path = [
            (-0.32, 0.03, 0),
            (-0.34, 0.6, 0),
            (-0.3, 1.2, 0),
            (-0.16, 1.62, 0),
            (0.06, 1.76, 0),
            (0.24, 1.7, 0),
            (0.3, 1.56, 0),
        ]
        mesh = join(
            cylinder(-0.32, 0, 0, 0.15, 0.04, 16),
            tube(path, 0.013, 6),
            moved(_shade(dice, 0.16, 0.18, 1.36, "bell"), 0.3),
            cylinder(0.3, 1.5, 0, 0.03, 0.06, 8),
        )
        return Piece("floor lamp", mesh)
    foot = lathe(
        [(0, 0), (0.14, 0), (0.14, 0.02), (0.02, 0.035), (0.012, 0.06), (0.012, h - 0.05), (0, h - 0.04)], 14
    )
    spokes = [tube([(0, h - 0.06, 0), (r * 0.6 * x, h - 0.06, r * 0.6 * z)], 0.004, 4) for x, z in circle(3)]
    return Piece("floor lamp", join(foot, *spokes, _shade(dice, r, tall, h - tall, shade)))


def table_lamp(dice: Dice) -> Piece:
    """A lamp with a turned foot and a shade."""
    h, r = dice.uniform(0.36, 0.55), dice.uniform(0.11, 0.16)
    tall = h * dice.uniform(0.38, 0.48)
    neck = h - tall
    body = dice.choice(["urn", "stick", "ball"])
    if body == "urn":
        foot = [
            (0, 0),
            (0.06, 0),
            (0.06, 0.012),
            (0.03, 0.03),
            (0.065, neck * 0.35),
            (0.06, neck * 0.6),
            (0.02, neck * 0.9),
            (0.012, h - 0.05),
            (0, h - 0.05),
        ]
    elif body == "stick":
        foot = [(0, 0), (0.075, 0), (0.075, 0.014), (0.012, 0.024), (0.01, h - 0.05), (0, h - 0.05)]
    else:
        foot = [
            (0, 0),
            (0.05, 0),
            (0.05, 0.012),
            (0.08, neck * 0.25),
            (0.09, neck * 0.45),
            (0.075, neck * 0.65),
            (0.02, neck * 0.85),
            (0.012, h - 0.05),
            (0, h - 0.05),
        ]
    return Piece("table lamp", join(lathe(foot, 12), _shade(dice, r, tall, neck, dice.choice(_SHADES), 14)))


def desk_lamp(dice: Dice) -> Piece:
    """A jointed lamp for a desk."""
    bend = dice.uniform(0.08, 0.14)
    arm = tube([(0, 0.02, -0.06), (0, 0.24, -0.06 - bend), (0, 0.44, 0.04)], 0.008, 6)
    shade = moved(pitched(_shade(dice, 0.075, 0.1, -0.1, "cone", 12), -25), 0, 0.45, 0.04)
    mesh = join(cylinder(0, 0, -0.06, 0.08, 0.022, 14), arm, shade, cylinder(0, 0.42, 0.035, 0.022, 0.04, 8))
    return Piece("table lamp", yawed(mesh, dice.integer(-40, 40)))


def ceiling_lamp(dice: Dice, over_table: bool, plain: bool = False) -> Piece:
    """A lamp under the ceiling, which lies at y = 0: a disc, a pendant, or a chandelier of globes.

    Args:
        over_table: it may hang low, because nobody walks there.
        plain: a disc or spots, as in bathrooms.
    """
    style = dice.choice(
        ["disc", "pendant", "chandelier", "spots"],
        (1, 5, 2, 0) if over_table else (3, 0, 0, 1) if plain else (4, 3, 1, 1),
    )
    if style == "disc":
        r = dice.uniform(0.17, 0.28)
        mesh = lathe(
            [(0, -0.11), (r * 0.5, -0.105), (r * 0.85, -0.08), (r, -0.04), (r, -0.002), (0, -0.002)], 20
        )
        return Piece("ceiling lamp", mesh)
    if style == "spots":
        w = dice.uniform(0.6, 0.9)
        parts = [boxes((0, -0.035, 0, w, 0.033, 0.06))]
        for x in (-w * 0.36, 0.0, w * 0.36):
            spot = pitched(
                lathe([(0, -0.12), (0.04, -0.12), (0.03, -0.02), (0, 0.0)], 10), dice.integer(-35, 35)
            )
            parts.append(moved(spot, x, -0.035))
        return Piece("ceiling lamp", join(*parts))
    drop = dice.uniform(0.75, 0.95) if over_table else dice.uniform(0.3, 0.42)
    rose = cylinder(0, -0.025, 0, 0.05, 0.024, 10)
    if style == "pendant":
        r, tall = dice.uniform(0.16, 0.26), dice.uniform(0.15, 0.24)
        shade = dice.choice(("bell", "drum", "cone"))
        spokes = [
            tube([(0, tall - drop - 0.012, 0), (r * 0.5 * x, tall - drop - 0.012, r * 0.5 * z)], 0.004, 4)
            for x, z in circle(3)
        ]
        mesh = join(
            rose,
            cylinder(0, tall - drop - 0.02, 0, 0.006, drop - tall + 0.02, 5),
            _shade(dice, r, tall, -drop, shade),
            cylinder(0, tall - drop - 0.09, 0, 0.03, 0.08, 8),
            *spokes,
        )
        return Piece("ceiling lamp", mesh)
    arms, reach = dice.integer(3, 6), dice.uniform(0.22, 0.34)
    arm = join(
        tube(
            [
                (0.01, -drop + 0.1, 0),
                (reach * 0.5, -drop + 0.04, 0),
                (reach, -drop + 0.06, 0),
                (reach, -drop + 0.1, 0),
            ],
            0.008,
            5,
        ),
        lathe(
            [(0, 0.0), (0.035, 0.015), (0.055, 0.055), (0.035, 0.095), (0, 0.11)], 10, reach, -drop + 0.09, 0
        ),
    )
    mesh = join(
        rose,
        cylinder(0, -drop + 0.06, 0, 0.012, drop - 0.07, 6),
        *(yawed(arm, 360 // arms * i) for i in range(arms)),
    )
    return Piece("ceiling lamp", mesh)
