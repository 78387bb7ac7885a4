"""Screens and machines: televisions, monitors, laptops, keyboards, computers, speakers, fans."""

from __future__ import annotations

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.furniture.piece import Piece
from envs.scenes.houses.shapes import Mesh, boxes, cylinder, join, lathe, moved, pitched, soft, tube, yawed


def _screen(w: float, h: float, y: float, z: float, edge: float) -> Mesh:
    """A flat screen: a slab with a raised edge and a bulge at the back."""
    return join(
        boxes(
            (0, y, z, w, h, 0.02),
            (0, y, z + 0.012, w, edge, 0.01),
            (0, y + h - edge, z + 0.012, w, edge, 0.01),
            (-w / 2 + edge / 2, y + edge, z + 0.012, edge, h - 2 * edge, 0.01),
            (w / 2 - edge / 2, y + edge, z + 0.012, edge, h - 2 * edge, 0.01),
        ),
        soft(0, y + h * 0.15, z - 0.02, w * 0.6, h * 0.6, 0.04, 0.015),
    )


def tv(dice: Dice, w: float) -> Piece:
    """A television on two feet or on one plate."""
    h = w * 0.57
    if dice.chance(0.5):
        feet = boxes(
            *((s * w * 0.32, 0, 0, 0.03, 0.012, 0.22) for s in (-1, 1)),
            *((s * w * 0.32, 0.01, 0, 0.025, 0.06, 0.025) for s in (-1, 1)),
        )
    else:
        feet = join(soft(0, 0, 0, w * 0.36, 0.014, 0.22, 0.006), boxes((0, 0.01, -0.01, 0.08, 0.07, 0.03)))
    return Piece("tv", join(feet, _screen(w, h, 0.06, 0.0, 0.014)))


def monitor(dice: Dice) -> Piece:
    """A computer screen on a foot."""
    w = dice.uniform(0.5, 0.68)
    h = w * 0.58
    y = dice.uniform(0.1, 0.14)
    foot = join(
        soft(0, 0, 0, 0.24, 0.014, 0.18, 0.006), tube([(0, 0.01, -0.03), (0, y + h * 0.35, -0.04)], 0.018, 8)
    )
    return Piece("monitor", join(foot, _screen(w, h, y, 0.0, 0.01)))


def laptop(dice: Dice) -> Piece:
    """An open laptop."""
    w, d = dice.uniform(0.31, 0.36), dice.uniform(0.21, 0.24)
    keys = boxes(
        *(
            (-w * 0.4 + w * 0.8 * (i + 0.5) / 10, 0.016, -d * 0.32 + 0.026 * j, w * 0.07, 0.003, 0.02)
            for i in range(10)
            for j in range(4)
        )
    )
    lid = moved(pitched(boxes((0, 0, 0, w, d, 0.008)), -dice.integer(10, 25)), 0, 0.012, -d / 2 + 0.004)
    return Piece("laptop", join(soft(0, 0, 0, w, 0.017, d, 0.006), keys, lid))


def keyboard(dice: Dice) -> Piece:
    """A keyboard with a mouse beside it."""
    w = dice.uniform(0.36, 0.44)
    keys = boxes(
        *(
            (-w * 0.46 + w * 0.92 * (i + 0.5) / 14, 0.016, -0.05 + 0.025 * j, w * 0.055, 0.006, 0.019)
            for i in range(14)
            for j in range(5)
        )
    )
    mouse = soft(w / 2 + 0.09, 0, 0.01, 0.06, 0.035, 0.1, (0.03, 0.02, 0.05), 2)
    return Piece("keyboard", join(boxes((0, 0.0, 0, w, 0.018, 0.14)), keys, mouse))


def computer(dice: Dice) -> Piece:
    """A tower with feet, a drive, and a button."""
    w, d, h = dice.uniform(0.18, 0.22), dice.uniform(0.4, 0.46), dice.uniform(0.4, 0.48)
    button = moved(pitched(cylinder(0, 0, 0, 0.014, 0.012, 8), 90), 0, h - 0.06, d / 2 - 0.006)
    vents = boxes(
        *((0, 0.06 + 0.02 * i, d / 2, w - 0.06, 0.008, 0.012) for i in range(5)),
        (0, h - 0.14, d / 2, w - 0.05, 0.035, 0.01),
    )
    feet = boxes(*((sx * w * 0.35, 0, sz * d * 0.36, 0.03, 0.02, 0.05) for sx in (-1, 1) for sz in (-1, 1)))
    return Piece("computer", join(soft(0, 0.015, 0, w, h - 0.015, d - 0.01, 0.01), button, vents, feet))


def speaker(dice: Dice) -> Piece:
    """A loudspeaker with two cones, for the floor."""
    w, d, h = dice.uniform(0.18, 0.23), dice.uniform(0.22, 0.3), dice.uniform(0.8, 1.05)
    cones = []
    for y, r in ((h * 0.58, w * 0.32), (h * 0.78, w * 0.32), (h * 0.92, w * 0.16)):
        cone = pitched(
            lathe(
                [
                    (0, 0),
                    (r, 0),
                    (r, 0.016),
                    (r * 0.85, 0.016),
                    (r * 0.4, 0.006),
                    (r * 0.2, 0.012),
                    (0, 0.014),
                ],
                14,
            ),
            90,
        )
        cones.append(moved(cone, 0, y, d / 2 - 0.012))
    return Piece(
        "speaker",
        join(
            soft(0, 0.02, -0.01, w, h - 0.02, d - 0.02, 0.01),
            boxes((0, 0, -0.01, w + 0.04, 0.022, d)),
            *cones,
        ),
    )


def fan(dice: Dice) -> Piece:
    """A standing fan: blades behind hoops."""
    h = dice.uniform(1.05, 1.3)
    r = 0.2
    blade = soft(r * 0.45, -0.004, 0, r * 0.8, 0.008, 0.1, (0.04, 0.004, 0.05), 2)
    rotor = join(
        *(yawed(pitched(blade, 15), 120 * i) for i in range(3)), cylinder(0, -0.03, 0, 0.03, 0.06, 10)
    )
    hoops = []
    for i in range(8):
        hoops.append(
            yawed(
                tube(
                    [
                        (0.03, 0.05, 0),
                        (r * 0.8, 0.045, 0),
                        (r, 0.0, 0),
                        (r * 0.8, -0.045, 0),
                        (0.03, -0.05, 0),
                    ],
                    0.0035,
                    4,
                ),
                45 * i,
            )
        )
    head = moved(pitched(join(rotor, *hoops, cylinder(0, -0.15, 0, 0.06, 0.12, 10)), 90), 0, h - r, 0.06)
    stand = join(
        lathe([(0, 0), (0.19, 0), (0.19, 0.015), (0.03, 0.04), (0, 0.04)], 16),
        cylinder(0, 0.03, 0, 0.014, h - r - 0.06, 8),
    )
    return Piece("fan", join(stand, head))


def clock(dice: Dice) -> Piece:
    """A round wall clock with hands; its middle at y = 0."""
    r = dice.uniform(0.12, 0.18)
    face = pitched(
        lathe([(0, 0), (r, 0), (r, 0.03), (r - 0.015, 0.034), (r - 0.02, 0.02), (0, 0.02)], 20), 90
    )
    marks = [moved(boxes((0, 0, 0, 0.006, 0.02, 0.006)), 0, r * 0.72, 0.0)]
    hands = boxes((0, -0.01, 0.025, 0.009, r * 0.55, 0.005), (r * 0.3, -0.004, 0.025, r * 0.6, 0.008, 0.006))
    return Piece("clock", moved(join(face, hands, moved(join(*marks), 0, 0, 0.023)), 0, 0, -0.017))
