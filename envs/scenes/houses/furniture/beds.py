"""Where people sleep: beds, cots and nightstands."""

from __future__ import annotations

import numpy as np

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.furniture.piece import HANDLE_STYLES, LEG_STYLES, Piece, Top, corner_legs, fronts
from envs.scenes.houses.shapes import Mesh, boxes, cylinder, extrude, join, moved, pitched, soft, strip, tube


def _headboard(dice: Dice, w: float, h: float, z: float) -> Mesh:
    style = dice.choice(["panel", "padded", "bars", "arch"])
    if style == "panel":
        return join(soft(0, 0.1, z, w, h - 0.1, 0.05, 0.012), boxes((0, h - 0.03, z, w + 0.04, 0.04, 0.07)))
    if style == "padded":
        count = max(2, round(w / 0.45))
        wide = w / count
        pads = [
            soft(-w / 2 + wide * (i + 0.5), 0.3, z + 0.02, wide - 0.004, h - 0.3, 0.08, 0.035, 2)
            for i in range(count)
        ]
        return join(boxes((0, 0.05, z - 0.015, w, h - 0.08, 0.03)), *pads)
    if style == "arch":
        top = [(w / 2 - t * w, h - 0.22 + 0.22 * (1 - (2 * t - 1) ** 2)) for t in np.linspace(0, 1, 13)]
        profile = [(0.0, 0.2), (w / 2, 0.2), *top, (-w / 2, 0.2)]
        return extrude(profile, z - 0.025, z + 0.025)
    bars = [
        cylinder(x, 0.3, z, 0.014, h - 0.36, 6)
        for x in np.linspace(-w / 2 + 0.12, w / 2 - 0.12, max(4, round(w / 0.18)))
    ]
    posts = [cylinder(s * (w / 2 - 0.03), 0, z, 0.03, h + 0.03, 8) for s in (-1, 1)]
    return join(
        *bars, *posts, boxes((0, h - 0.08, z, w - 0.04, 0.04, 0.03), (0, 0.28, z, w - 0.04, 0.04, 0.03))
    )


def _duvet(dice: Dice, w: float, length: float, y: float, z0: float, drop: float) -> Mesh:
    """A blanket over the mattress that hangs down at both sides, with soft folds."""
    across = np.array([-1.0, -1.0, -0.97, -0.9, -0.5, 0.0, 0.5, 0.9, 0.97, 1.0, 1.0])
    fall = np.array([drop, 0.04, 0.01, 0.0, -0.012, -0.018, -0.012, 0.0, 0.01, 0.04, drop])
    along = np.linspace(0.0, 1.0, 9)
    fold = (dice.array(11 * 9).reshape(9, 11) - 0.5) * 0.016  # (99,) -> (9, 11)
    x = across[:, None] * (w / 2) + np.zeros(9)[None]
    height = y + 0.05 - fall[:, None] + fold.T
    z = z0 + length * (1 - along)[None] + np.zeros(11)[:, None]
    front = np.stack([x, height, z], axis=-1)
    back = front.copy()
    back[2:-2, :, 1] -= 0.04
    back[:2, :, 0] += 0.02
    back[-2:, :, 0] -= 0.02
    back[1, :, 1] -= 0.04
    back[-2, :, 1] -= 0.04
    return strip(front, back)


def bed(dice: Dice, width: float) -> Piece:
    """A bed with head board, mattress, pillows and a blanket; head at the back."""
    w, length = width + 0.06, dice.uniform(2.02, 2.12)
    frame, mattress = dice.uniform(0.26, 0.34), dice.uniform(0.18, 0.24)
    top = frame + mattress - 0.04
    head = dice.uniform(0.92, 1.2)
    back = -length / 2
    parts = [_headboard(dice, w, head, back + 0.04)]
    inner = length - 0.1
    mid = back + 0.08 + inner / 2
    if dice.chance(0.5):
        parts.append(soft(0, 0.1, mid, w, frame - 0.1, inner, 0.02))
        parts.append(moved(corner_legs(w, inner, 0.13, 0.07, dice.choice(LEG_STYLES[:3]), 0.05), 0, 0, mid))
    else:
        rail = 0.16
        parts.append(
            boxes(
                (w / 2 - 0.015, frame - rail, mid, 0.03, rail, inner),
                (0.015 - w / 2, frame - rail, mid, 0.03, rail, inner),
                (0, frame - rail, mid + inner / 2 - 0.015, w - 0.06, rail + 0.02, 0.03),
                (0, frame - 0.06, mid, w - 0.06, 0.02, inner - 0.06),
            )
        )
        parts.append(moved(corner_legs(w, inner, frame, 0.07, dice.choice(LEG_STYLES[:2]), 0.0), 0, 0, mid))
    if dice.chance(0.35):
        parts.append(soft(0, 0.08, length / 2 - 0.03, w, frame + 0.16, 0.05, 0.02))
    parts.append(soft(0, top - mattress, mid, width, mattress, inner - 0.06, 0.05, 2))
    pillows = 2 if width > 1.3 else 1
    for i in range(pillows):
        x = (i - (pillows - 1) / 2) * width * 0.48
        pillow = soft(0, 0, 0, min(0.66, width * 0.8 / pillows + 0.02), 0.15, 0.42, (0.2, 0.075, 0.16), 2)
        parts.append(moved(pitched(pillow, dice.integer(8, 20)), x, top + 0.005, back + 0.36))
    start = back + dice.uniform(0.62, 0.85)
    parts.append(_duvet(dice, width + 0.05, length / 2 - 0.06 - start, top, start, dice.uniform(0.18, 0.26)))
    return Piece("bed", join(*parts))


def cot(dice: Dice) -> Piece:
    """A child's bed with bars around it."""
    w, d, h = 0.7, dice.uniform(1.26, 1.4), dice.uniform(0.84, 0.92)
    rows = [(s * (w / 2 - 0.02), y, 0, 0.03, 0.04, d - 0.08) for s in (-1, 1) for y in (0.26, h - 0.08)]
    rows += [(0, y, s * (d / 2 - 0.02), w - 0.08, 0.04, 0.03) for s in (-1, 1) for y in (0.26, h - 0.08)]
    rows.append((0, 0.28, 0, w - 0.06, 0.02, d - 0.06))
    bars = []
    for z in np.linspace(-d / 2 + 0.12, d / 2 - 0.12, 10):
        bars += [cylinder(s * (w / 2 - 0.02), 0.27, float(z), 0.009, h - 0.33, 5) for s in (-1, 1)]
    for x in np.linspace(-w / 2 + 0.12, w / 2 - 0.12, 5):
        bars += [cylinder(float(x), 0.27, s * (d / 2 - 0.02), 0.009, h - 0.33, 5) for s in (-1, 1)]
    parts = [
        corner_legs(w, d, h, 0.045, "square", 0.0),
        boxes(*rows),
        *bars,
        soft(0, 0.3, 0, w - 0.1, 0.12, d - 0.1, 0.03, 2),
    ]
    return Piece("cot", join(*parts))


def nightstand(dice: Dice) -> Piece:
    """A small chest beside the bed: with drawers, or open with one drawer."""
    w, d, h = dice.uniform(0.40, 0.52), dice.uniform(0.36, 0.42), dice.uniform(0.46, 0.58)
    style = dice.choice(HANDLE_STYLES)
    foot = 0.1
    tops = (Top(-w / 2 + 0.03, -d / 2 + 0.03, w / 2 - 0.03, d / 2 - 0.03, h),)
    legs = corner_legs(w, d - 0.02, foot + 0.01, 0.04, dice.choice(LEG_STYLES[:3]))
    top = soft(0, h - 0.025, 0, w, 0.025, d, 0.006)
    if dice.chance(0.6):
        count = dice.integer(2, 3)
        tall = (h - 0.03 - foot) / count
        cells = [(0, foot + 0.004 + i * tall, w - 0.02, tall - 0.006) for i in range(count)]
        mesh = join(
            legs,
            top,
            boxes((0, foot, -0.015, w - 0.01, h - foot - 0.02, d - 0.05)),
            fronts(cells, d / 2 - 0.04, style, "drawer"),
        )
        return Piece("nightstand", mesh, tops)
    drawer = 0.14
    y = h - 0.025 - drawer
    shell = boxes(
        (0.009 - w / 2 + 0.005, foot, -0.01, 0.018, h - foot - 0.02, d - 0.03),
        (w / 2 - 0.014, foot, -0.01, 0.018, h - foot - 0.02, d - 0.03),
        (0, foot, -0.01, w - 0.03, 0.02, d - 0.03),
        (0, foot, 0.015 - d / 2, w - 0.03, h - foot - 0.02, 0.012),
        (0, y, -0.015, w - 0.03, drawer, d - 0.05),
    )
    mesh = join(
        legs, top, shell, fronts([(0, y + 0.004, w - 0.04, drawer - 0.01)], d / 2 - 0.04, style, "drawer")
    )
    inside = Top(-w / 2 + 0.04, -d / 2 + 0.04, w / 2 - 0.04, d / 2 - 0.06, foot + 0.02, y - foot - 0.02)
    return Piece("nightstand", mesh, (*tops, inside))


def clothes_rack(dice: Dice) -> Piece:
    """A clothes rail on two stands."""
    w, h = dice.uniform(0.9, 1.2), dice.uniform(1.5, 1.65)
    x = w / 2 - 0.03
    parts = [tube([(-x, 0.03, 0), (-x, h, 0), (x, h, 0), (x, 0.03, 0)], 0.015, 6)]
    parts += [boxes((s * x, 0, 0, 0.04, 0.035, 0.42)) for s in (-1, 1)]
    for t in np.linspace(-0.75, 0.75, dice.integer(5, 8)):
        at = float(t) * x
        drop, wide = dice.uniform(0.6, 0.85), dice.uniform(0.36, 0.44)
        cloth = soft(at, h - 0.07 - drop, 0, 0.035, drop, wide, (0.015, 0.16, 0.16), 1)
        parts += [cloth, tube([(at, h - 0.09, 0), (at, h + 0.012, 0), (at, h + 0.012, 0.012)], 0.003, 4)]
    return Piece("clothes rack", join(*parts))
