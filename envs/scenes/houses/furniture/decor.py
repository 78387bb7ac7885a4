"""What makes a home: plants, vases, pictures, curtains, rugs, cushions, books, cups and bowls."""

from __future__ import annotations

import numpy as np

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.furniture.piece import Piece
from envs.scenes.houses.shapes import (
    Mesh,
    boxes,
    circle,
    cylinder,
    direction,
    join,
    lathe,
    loft,
    mirrored,
    moved,
    pitched,
    rectangle_ring,
    soft,
    strip,
    tube,
    yawed,
)


def _leaf(length: float, w: float, rise: float, droop: float, n: int = 5) -> Mesh:
    """A thin leaf from the origin outwards along +x: it rises, bends and droops, with a keel along its middle."""
    t = np.linspace(0.0, 1.0, n)
    x = length * t
    y = rise * t - droop * t * t
    half = w / 2 * np.array([0.12, 0.75, 1.0, 0.7, 0.04]) if n == 5 else w / 2 * (1 - (2 * t - 1) ** 2)
    grid = np.empty((n, 3, 3))
    for j, side in enumerate((1.0, 0.0, -1.0)):
        grid[:, j] = np.stack([x, y + abs(side) * half * 0.3, side * half], axis=1)
    return strip(grid, grid - np.array([0.0, 0.005, 0.0]))


def plant(dice: Dice, small: bool = False) -> Piece:
    """A plant in a pot: arching leaves, a tree with a ball of leaves, or a cactus."""
    size = dice.uniform(0.22, 0.36) if small else dice.uniform(0.75, 1.5)
    r = size * 0.22 if small else dice.uniform(0.14, 0.19)
    pot_height = r * dice.uniform(1.2, 1.8)
    profile = dice.choice(
        [
            [(0, 0), (r * 0.7, 0), (r * 0.95, pot_height * 0.85), (r, pot_height * 0.86), (r, pot_height)],
            [
                (0, 0),
                (r * 0.6, 0),
                (r * 0.95, pot_height * 0.4),
                (r * 0.9, pot_height * 0.85),
                (r * 0.8, pot_height),
            ],
            [(0, 0), (r * 0.95, 0), (r, pot_height)],
        ]
    )
    rim = profile[-1][0]
    soil = pot_height - 0.03 * r / 0.15
    parts = [lathe([*profile, (rim - 0.012, pot_height), (rim - 0.016, soil), (0, soil)], 14)]
    kind = dice.choice(["leaves", "leaves", "tree", "cactus" if small else "tree"])
    top = size - soil
    if kind == "leaves":
        count = dice.integer(9, 16)
        for i in range(count):
            length = (size - pot_height) * dice.uniform(0.35, 0.62)
            rise = top * dice.uniform(0.55, 1.0) + 0.02
            leaf = _leaf(
                min(length, 0.42), length * dice.uniform(0.16, 0.3), rise, rise * dice.uniform(0.05, 0.5)
            )
            parts.append(moved(yawed(leaf, 137 * i % 360), 0, soil - 0.01, 0))
        spread = min((size - pot_height) * 0.62, 0.42)
    elif kind == "tree":
        bend = dice.uniform(-0.05, 0.05) * size
        crown = size * 0.72
        parts.append(
            tube(
                [(0, soil - 0.02, 0), (bend, (soil + crown) / 2, 0), (0, crown, 0)],
                (0.022 * size, 0.017 * size, 0.012 * size),
                6,
            )
        )
        spread = size * 0.3
        for i in range(dice.integer(22, 34)):
            leaf = _leaf(
                spread * dice.uniform(0.6, 1.0),
                spread * 0.38,
                spread * dice.uniform(-0.35, 0.85),
                spread * 0.3,
            )
            parts.append(
                moved(
                    yawed(leaf, 137 * i % 360), 0, crown - spread * 0.25 + dice.uniform(0.0, 0.55) * spread, 0
                )
            )
    else:
        body = [
            (0, 0),
            (r * 0.5, 0),
            (r * 0.62, top * 0.3),
            (r * 0.6, top * 0.7),
            (r * 0.35, top * 0.95),
            (0, top),
        ]
        parts.append(lathe(body, 10, 0, soil - 0.005, 0))
        spread = r * 0.62
    return Piece("plant", join(*parts))


def vase(dice: Dice) -> Piece:
    """A hollow turned vase, sometimes with a few stems."""
    h, r = dice.uniform(0.16, 0.34), dice.uniform(0.05, 0.085)
    outer = dice.choice(
        [
            [(0.55, 0.0), (1.0, 0.35), (0.9, 0.6), (0.4, 0.85), (0.55, 1.0)],
            [(0.7, 0.0), (0.8, 0.2), (1.0, 0.7), (0.75, 0.92), (0.8, 1.0)],
            [(0.6, 0.0), (0.65, 0.5), (0.9, 1.0)],
        ]
    )
    up = [(r * a, h * b) for a, b in outer]
    parts = [lathe([(0, 0), *up, (up[-1][0] - 0.008, h), (up[-2][0] * 0.8, h * 0.8), (0, h * 0.45)], 14)]
    height = h
    if dice.chance(0.5):
        for _ in range(dice.integer(3, 6)):
            c, s = direction(dice.integer(0, 359))
            reach, tall = dice.uniform(0.03, 0.1), h + dice.uniform(0.1, 0.24)
            parts.append(
                tube(
                    [(0, h * 0.5, 0), (c * reach * 0.3, h, s * reach * 0.3), (c * reach, tall, s * reach)],
                    0.004,
                    4,
                )
            )
            parts.append(soft(c * reach, tall - 0.015, s * reach, 0.045, 0.04, 0.045, 0.5, 1))
            height = max(height, tall + 0.02)
    return Piece("vase", join(*parts))


def picture(dice: Dice, w: float, h: float) -> Piece:
    """A framed picture on the wall; its middle at y = 0, its back on the wall."""
    edge = dice.uniform(0.018, 0.04)
    mesh = boxes(
        (0, -h / 2 + edge / 2, -0.006, w - edge, h - edge, 0.014),
        (0, -h / 2, 0.0, w, edge, 0.03),
        (0, h / 2 - edge, 0.0, w, edge, 0.03),
        (-w / 2 + edge / 2, -h / 2 + edge, 0.0, edge, h - 2 * edge, 0.03),
        (w / 2 - edge / 2, -h / 2 + edge, 0.0, edge, h - 2 * edge, 0.03),
    )
    return Piece("picture", mesh)


def standing_mirror(dice: Dice) -> Piece:
    """A tall mirror on a foot that leans back."""
    w, h = dice.uniform(0.45, 0.6), dice.uniform(1.5, 1.7)
    edge = 0.035
    frame = boxes(
        (0, 0, -0.006, w, h, 0.012),
        (0, 0, 0.004, w, edge, 0.024),
        (0, h - edge, 0.004, w, edge, 0.024),
        (-w / 2 + edge / 2, edge, 0.004, edge, h - 2 * edge, 0.024),
        (w / 2 - edge / 2, edge, 0.004, edge, h - 2 * edge, 0.024),
    )
    prop = pitched(boxes((0, 0, 0, 0.04, h * 0.8, 0.02)), 8)
    return Piece("mirror", join(moved(pitched(frame, -6), 0, 0.004, 0.06), moved(prop, 0, 0.003, -0.16)))


def _drape(x0: float, x1: float, y0: float, y1: float, folds: int, swing: float, gather: float) -> Mesh:
    """A hanging cloth with vertical folds from x0 to x1, drawn together by ``gather`` of its width at half height."""
    m = folds * 4 + 1
    s = np.linspace(0.0, 1.0, m)
    wave = np.array([direction(90.0 * (i % 4))[1] for i in range(m)]) * swing
    heights = np.array([0.0, 0.45, 0.75, 1.0])
    pull = np.array([0.35, 1.0, 0.4, 0.0]) * gather
    x = x0 + (x1 - x0) * s[:, None] * (1 - pull[None])
    front = np.stack(
        [
            x,
            y0 + (y1 - y0) * heights[None] + np.zeros((m, 1)),
            wave[:, None] * np.array([1.0, 0.9, 0.8, 0.7])[None] + 0.004,
        ],
        axis=-1,
    )
    return strip(front, front - np.array([0.0, 0.0, 0.008]))


def curtain(dice: Dice, w: float, y0: float, y1: float) -> Piece:
    """Two drapes on a rod beside a window of width w, from y0 up to the rod at y1; its back towards the wall."""
    rod = w + dice.uniform(0.36, 0.56)
    part = dice.uniform(0.24, 0.36) * (1.0 if w < 1.6 else 1.25)
    folds, gather = max(2, round(part / 0.09)), dice.choice([0.0, 0.0, 0.35])
    left = _drape(0.0, part, y0, y1 - 0.012, folds, 0.03, gather)
    x = rod / 2 - 0.03
    parts = [moved(left, -x), moved(mirrored(left), x), tube([(-rod / 2, y1, 0), (rod / 2, y1, 0)], 0.012, 6)]
    parts += [soft(s * rod / 2, y1 - 0.022, 0, 0.044, 0.044, 0.044, 0.022, 1) for s in (-1, 1)]
    parts += [boxes((s * (rod / 2 - 0.05), y1 - 0.01, -0.025, 0.014, 0.02, 0.06)) for s in (-1, 1)]
    return Piece("curtain", join(*parts))


def rug(dice: Dice, w: float, d: float, round_: bool = False) -> Piece:
    """A thin rug with a raised border; round where asked."""
    n = 32 if round_ else 16
    corner = min(w, d) / 2 if round_ else dice.choice([0.0, 0.06])
    edge = dice.uniform(0.05, 0.12)
    sizes = [(0.0, 0.0), (0.0, 0.012), (2 * edge, 0.012), (2 * edge + 0.02, 0.009)]
    rings = []
    for shrink, y in sizes:
        if round_:
            unit = circle(n)
            rings.append(
                np.stack(
                    [unit[:, 0] * (w - shrink) / 2, np.full(n, y), unit[:, 1] * (d - shrink) / 2], axis=1
                )
            )
        else:
            rings.append(rectangle_ring(w - shrink, d - shrink, corner, y, n))
    return Piece("rug", loft(np.stack(rings)))


def cushion(dice: Dice, size: float) -> Mesh:
    """A square cushion standing on its lower edge at y = 0, leaning back."""
    thick = dice.uniform(0.1, 0.14)
    return pitched(
        soft(0, 0, 0, size, size, thick, (size * 0.3, size * 0.3, thick / 2), 2), -dice.integer(14, 24)
    )


def book_pile(dice: Dice) -> Piece:
    """A few books lying on each other."""
    parts, y = [], 0.0
    for _ in range(dice.integer(1, 4)):
        tall = dice.uniform(0.015, 0.04)
        parts.append(
            yawed(
                boxes((0, y, 0, dice.uniform(0.14, 0.2), tall, dice.uniform(0.2, 0.27))),
                dice.integer(-18, 18),
            )
        )
        y += tall
    return Piece("book", join(*parts))


def bowl(dice: Dice) -> Piece:
    """A bowl, sometimes full of fruit."""
    r, h = dice.uniform(0.11, 0.16), dice.uniform(0.06, 0.09)
    parts = [
        lathe(
            [
                (0, 0),
                (r * 0.45, 0),
                (r * 0.8, h * 0.45),
                (r, h),
                (r - 0.008, h),
                (r * 0.74, h * 0.5),
                (r * 0.4, 0.012),
                (0, 0.012),
            ],
            16,
        )
    ]
    if dice.chance(0.65):
        fruit = dice.uniform(0.034, 0.042)
        for x, z in circle(5):
            parts.append(soft(x * r * 0.52, h * 0.5, z * r * 0.52, 2 * fruit, 2 * fruit, 2 * fruit, fruit, 1))
        parts.append(soft(0, h * 0.95, 0, 2 * fruit, 2 * fruit, 2 * fruit, fruit, 1))
    return Piece("bowl", join(*parts))


def cup(dice: Dice) -> Piece:
    """A mug with a handle."""
    r, h = dice.uniform(0.036, 0.044), dice.uniform(0.08, 0.1)
    body = lathe(
        [(0, 0), (r * 0.85, 0), (r, h * 0.3), (r, h), (r - 0.005, h), (r - 0.006, 0.01), (0, 0.01)], 12
    )
    grip = tube(
        [
            (r - 0.003, h * 0.8, 0),
            (r + 0.024, h * 0.75, 0),
            (r + 0.026, h * 0.4, 0),
            (r - 0.003, h * 0.25, 0),
        ],
        0.005,
        5,
    )
    return Piece("cup", yawed(join(body, grip), dice.integer(0, 359)))


def plate(dice: Dice) -> Piece:
    """A plate with fork and knife beside it, facing +z."""
    r = dice.uniform(0.115, 0.135)
    disc = lathe([(0, 0), (r * 0.6, 0), (r, 0.018), (r - 0.004, 0.021), (r * 0.58, 0.006), (0, 0.006)], 18)
    tools = boxes((-r - 0.03, 0, 0, 0.014, 0.004, 0.19), (r + 0.03, 0, 0, 0.016, 0.004, 0.2))
    return Piece("plate", join(disc, tools))


def bottle(dice: Dice) -> Piece:
    """A bottle."""
    r, h = dice.uniform(0.032, 0.04), dice.uniform(0.22, 0.31)
    return Piece(
        "bottle",
        lathe(
            [
                (0, 0),
                (r, 0),
                (r, h * 0.58),
                (r * 0.4, h * 0.75),
                (r * 0.36, h * 0.96),
                (r * 0.42, h * 0.97),
                (r * 0.4, h),
                (0, h),
            ],
            12,
        ),
    )


def candle(dice: Dice) -> Piece:
    """Two or three candles on a tray."""
    parts = [lathe([(0, 0), (0.09, 0), (0.1, 0.012), (0.095, 0.012), (0.088, 0.005), (0, 0.005)], 14)]
    for x, z in circle(dice.integer(2, 3)):
        parts.append(cylinder(x * 0.045, 0.004, z * 0.045, 0.024, dice.uniform(0.06, 0.15), 10))
    return Piece("candle", join(*parts))


def photo(dice: Dice) -> Piece:
    """A small framed picture that stands on its edge and leans back."""
    w, h = dice.choice([(0.13, 0.18), (0.18, 0.13), (0.2, 0.25)])
    frame = picture(dice, w, h).mesh
    prop = boxes((0, 0, -0.05, 0.03, 0.006, 0.07))
    return Piece("picture", join(moved(pitched(moved(frame, 0, h / 2), -12), 0, 0.002, 0), prop))


def toys(dice: Dice) -> Piece:
    """A ball and some blocks on the floor."""
    parts = []
    for i in range(dice.integer(3, 5)):
        size = dice.uniform(0.06, 0.09)
        parts.append(
            yawed(soft(0.16, 0, 0, size, size, size, dice.choice([0.008, 0.5]), 2 if i else 1), 72 * i)
        )
    return Piece("toy", join(*parts))


def bin_(dice: Dice) -> Piece:
    """A waste bin: open, or with a lid and a pedal."""
    r, h = dice.uniform(0.12, 0.16), dice.uniform(0.26, 0.42)
    if dice.chance(0.5):
        mesh = lathe([(0, 0), (r * 0.8, 0), (r, h), (r - 0.008, h), (r * 0.78, 0.012), (0, 0.012)], 16)
    else:
        lid = lathe([(0, h), (r * 1.03, h), (r * 0.98, h + 0.03), (r * 0.6, h + 0.055), (0, h + 0.06)], 16)
        mesh = join(cylinder(0, 0, 0, r, h + 0.004, 16), lid, boxes((0, 0.012, r, 0.05, 0.014, 0.07)))
    return Piece("bin", mesh)
