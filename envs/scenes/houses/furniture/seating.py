"""Things to sit on: chairs, armchairs, sofas, stools, benches, office chairs."""

from __future__ import annotations

import numpy as np

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.furniture.piece import LEG_STYLES, Piece, Top, corner_legs, padded
from envs.scenes.houses.shapes import (
    Mesh,
    boxes,
    circle,
    cylinder,
    direction,
    extrude,
    join,
    lathe,
    loft,
    mirrored,
    moved,
    pitched,
    soft,
    strip,
    tube,
    yawed,
)


def _curved_back(w: float, y0: float, y1: float, z: float, bend: float, lean: float, thick: float) -> Mesh:
    """A back rest that curves around the sitter: its middle lies ``bend`` behind its sides."""
    across, up = np.linspace(-1.0, 1.0, 7), np.linspace(0.0, 1.0, 4)
    s, t = np.meshgrid(across, up, indexing="ij")
    front = np.stack(
        [s * w / 2, y0 + t * (y1 - y0) - 0.03 * s * s * t, z - bend * (1 - s * s) - lean * t], axis=-1
    )
    return strip(front, front - np.array([0.0, 0.0, thick]))


def chair(dice: Dice) -> Piece:
    """A dining chair: with slats, rungs, a curved board or a padded back."""
    w, d = dice.uniform(0.40, 0.48), dice.uniform(0.42, 0.50)
    seat, top, leg = dice.uniform(0.44, 0.47), dice.uniform(0.80, 1.02), dice.uniform(0.030, 0.042)
    style = dice.choice(["slats", "rungs", "board", "padded"])
    back = -d / 2 + leg / 2
    x = w / 2 - leg / 2
    lean = dice.uniform(0.02, 0.07)
    if style == "padded":
        parts = [corner_legs(w, d, seat - 0.06, leg, dice.choice(LEG_STYLES))]
        parts.append(padded(dice, 0, seat - 0.07, 0, w, 0.08, d))
        rest = soft(0, seat - 0.02, -d / 2 + 0.035, w * 0.94, top - seat + 0.02, 0.07, 0.03, 2)
        parts.append(rest)
        return Piece("chair", join(*parts))
    parts = [
        boxes(
            (-x, 0, d / 2 - leg / 2, leg, seat - 0.02, leg), (x, 0, d / 2 - leg / 2, leg, seat - 0.02, leg)
        ),
        *(
            tube(
                [(s, 0, back), (s, seat, back + 0.01), (s, top, back - lean + 0.02)],
                (leg / 2, leg / 2, leg * 0.4),
                6,
            )
            for s in (-x, x)
        ),
        boxes(
            (0, seat - 0.07, d / 2 - leg / 2, w - 2 * leg, 0.05, 0.02),
            (0, seat - 0.07, back, w - 2 * leg, 0.05, 0.02),
        ),
        soft(0, seat - 0.025, 0.01, w, 0.03, d - 0.02, 0.012),
    ]
    rows = []
    if style == "slats":
        count = dice.integer(3, 6)
        for i in range(count):
            at = -x + 2 * x * (i + 1) / (count + 1)
            parts.append(
                tube([(at, seat - 0.01, back + 0.01), (at, top - 0.04, back - lean + 0.02)], leg * 0.25, 6)
            )
        rows.append((0, top - 0.07, back - lean + 0.02, w - leg, 0.06, 0.022))
    elif style == "rungs":
        count = dice.integer(2, 4)
        for i in range(count):
            t = (i + 1) / count
            rows.append((0, seat + (top - seat) * t - 0.075, back - lean * t + 0.02, w - leg, 0.055, 0.018))
    else:
        parts.append(_curved_back(w, seat + 0.16, top, back + 0.035, 0.035, lean - 0.01, 0.018))
    if dice.chance(0.4):
        rows += [(s, 0.18, 0.0, 0.018, 0.025, d - leg) for s in (-x, x)]
    if rows:
        parts.append(boxes(*rows))
    return Piece("chair", join(*parts))


def stool(dice: Dice, seat: float | None = None) -> Piece:
    """A round stool on three or four legs with a ring to rest the feet on."""
    h = seat or dice.uniform(0.44, 0.50)
    r = dice.uniform(0.15, 0.19)
    count = dice.integer(3, 4)
    feet = circle(count)
    parts = [
        tube([(x * r, 0, z * r), (x * r * 0.6, h - 0.03, z * r * 0.6)], (0.014, 0.018), 6) for x, z in feet
    ]
    parts.append(
        lathe([(0, h - 0.04), (r * 0.92, h - 0.04), (r, h - 0.02), (r * 0.96, h), (0, h + 0.004)], 14)
    )
    ring = r * 0.93
    turn = circle(12)
    bar = [(0.009 + ring, 0.0), (ring, 0.009), (ring - 0.009, 0.0), (ring, -0.009)]
    hoop = np.stack(
        [np.stack([turn[:, 0] * a, np.full(12, 0.2 * h / 0.45 + b), turn[:, 1] * a], axis=1) for a, b in bar]
    )
    parts.append(loft(hoop, closed=True))
    return Piece("stool", join(*parts))


def bench(dice: Dice, width: float | None = None) -> Piece:
    """A slatted bench."""
    w, d, h = width or dice.uniform(0.9, 1.3), dice.uniform(0.34, 0.42), dice.uniform(0.42, 0.47)
    count = dice.integer(3, 5)
    pitch = d / count
    rows = [(0, h - 0.03, -d / 2 + pitch * (i + 0.5), w, 0.03, pitch - 0.015) for i in range(count)]
    rows += [(s * (w / 2 - 0.12), h - 0.07, 0, 0.05, 0.04, d * 0.9) for s in (-1, 1)]
    parts = [boxes(*rows), corner_legs(w - 0.1, d, h - 0.05, 0.05, dice.choice(LEG_STYLES[:3]))]
    return Piece("bench", join(*parts))


def ottoman(dice: Dice) -> Piece:
    """A padded footstool, square or round."""
    w, h = dice.uniform(0.42, 0.6), dice.uniform(0.36, 0.44)
    if dice.chance(0.5):
        mesh = join(
            lathe(
                [
                    (0, 0.04),
                    (w * 0.46, 0.04),
                    (w * 0.5, 0.09),
                    (w * 0.5, h - 0.1),
                    (w * 0.46, h - 0.03),
                    (w * 0.3, h),
                    (0, h + 0.005),
                ],
                18,
            ),
            cylinder(0, 0, 0, w * 0.4, 0.05, 14),
        )
    else:
        mesh = join(padded(dice, 0, 0.1, 0, w, h - 0.1, w), corner_legs(w, w, 0.13, 0.04, "tapered", 0.04))
    return Piece("ottoman", mesh)


def _arm(style: str, w: float, y: float, h: float, d: float) -> Mesh:
    """The left arm of a sofa, its outer side at x = 0, its inner one at x = w."""
    if style == "rolled":
        turn = [direction(-60.0 + 30.0 * i) for i in range(9)]
        r = w * 0.62
        profile = [(w * 0.15, y), (w * 0.9, y)] + [(w * 0.5 + r * c, h - r + r * s) for c, s in turn]
        return extrude(profile, -d / 2, d / 2)
    if style == "slim":
        return soft(w / 2, y, 0, w * 0.7, h - y, d, 0.03, 1)
    return soft(w / 2, y, 0, w, h - y, d, w * 0.35, 2)


def _couch(dice: Dice, category: str, seats: int, chaise: int) -> Piece:
    seat_width = dice.uniform(0.56, 0.74)
    arm = dice.uniform(0.12, 0.22)
    style = dice.choice(["block", "rolled", "slim"])
    d, h, seat = dice.uniform(0.82, 0.98), dice.uniform(0.74, 0.92), dice.uniform(0.40, 0.46)
    w = seats * seat_width + 2 * arm
    foot = dice.uniform(0.06, 0.14)
    back = dice.uniform(0.14, 0.22)
    arm_height = seat + dice.uniform(0.12, 0.22)
    inner = w - 2 * arm
    reach = d - 0.02
    long = d + dice.uniform(0.5, 0.7) if chaise else d
    mid = -(long - d) / 2  # the footprint's centre is the middle of the longest part
    parts = [
        soft(0, foot, mid + 0.01, inner + 0.04, seat - 0.13 - foot, reach, 0.03),
        soft(0, foot + 0.02, mid - d / 2 + back / 2, w - arm * 0.6, h - foot - 0.06, back, back * 0.4, 2),
        moved(_arm(style, arm, foot, arm_height, reach), -w / 2, 0, mid),
        moved(mirrored(_arm(style, arm, foot, arm_height, reach)), w / 2, 0, mid),
        moved(
            corner_legs(w - 0.08, d - 0.08, foot + 0.03, 0.05, dice.choice(["round", "tapered", "square"])),
            0,
            0,
            mid,
        ),
    ]
    tilt = dice.integer(8, 15)
    for i in range(seats):
        x = -inner / 2 + seat_width * (i + 0.5)
        z0 = mid - d / 2 + back * 0.85
        extra = long - d if chaise and i == (0 if chaise < 0 else seats - 1) else 0.0
        length = mid + d / 2 - z0 + extra
        parts.append(
            soft(x, seat - 0.15, z0 + length / 2, seat_width - 0.008, 0.16, length, (0.04, 0.05, 0.05), 2)
        )
        if extra:
            parts.append(
                soft(
                    x,
                    foot,
                    mid + d / 2 + extra / 2 - 0.03,
                    seat_width - 0.02,
                    seat - 0.14 - foot,
                    extra + 0.04,
                    0.03,
                )
            )
            parts.append(
                moved(corner_legs(seat_width, 0.3, foot + 0.02, 0.05, "round"), x, 0, long / 2 - 0.19)
            )
        pillow = soft(0, 0, 0, seat_width - 0.02, h - seat + 0.03, 0.17, (0.07, 0.08, 0.08), 2)
        parts.append(moved(pitched(pillow, -tilt), x, seat - 0.01, z0 + 0.10))
    sitting = Top(-inner / 2, mid - d / 2 + back + 0.16, inner / 2, mid + d / 2 - 0.05, seat + 0.005)
    return Piece(category, join(*parts), (sitting,))


def sofa(dice: Dice, small: bool = False) -> Piece:
    """A sofa for two or three, sometimes with a long seat at one end unless ``small``."""
    if small:
        return _couch(dice, "sofa", 2, 0)
    return _couch(dice, "sofa", dice.choice([2, 3, 3]), dice.choice([0, 0, 0, -1, 1]))


def armchair(dice: Dice) -> Piece:
    """A padded armchair, or a lounge chair of bent bars."""
    if dice.chance(0.65):
        return _couch(dice, "armchair", 1, 0)
    w, d, h, seat = dice.uniform(0.64, 0.72), dice.uniform(0.72, 0.82), dice.uniform(0.82, 0.95), 0.40
    x = w / 2 - 0.025
    side = [
        (x, 0.0, d / 2 - 0.04),
        (x, 0.56, d / 2 - 0.10),
        (x, 0.60, d / 2 - 0.16),
        (x, 0.57, -d / 2 + 0.12),
        (x, 0.0, -d / 2 + 0.03),
    ]
    bar = tube(side, 0.02, 6)
    parts = [
        bar,
        mirrored(bar),
        boxes(
            (0, seat - 0.12, d / 2 - 0.1, w - 0.04, 0.04, 0.03),
            (0, seat - 0.16, -d / 2 + 0.12, w - 0.04, 0.04, 0.03),
        ),
    ]
    parts.append(moved(pitched(soft(0, 0, 0, w - 0.08, 0.13, d - 0.16, 0.05, 2), -6), 0, seat - 0.11, 0.04))
    parts.append(
        moved(pitched(soft(0, 0, 0, w - 0.08, h - seat, 0.13, 0.05, 2), -14), 0, seat - 0.02, -d / 2 + 0.22)
    )
    return Piece("armchair", join(*parts))


def office_chair(dice: Dice) -> Piece:
    """A swivel chair: five castors, a gas spring, arms and a curved back."""
    seat, top = dice.uniform(0.45, 0.50), dice.uniform(0.92, 1.12)
    r = 0.29
    parts = [cylinder(0, 0.07, 0, 0.03, seat - 0.1, 8), cylinder(0, 0.06, 0, 0.05, 0.06, 8)]
    foot = join(
        tube([(0.02, 0.10, 0), (r, 0.075, 0)], (0.024, 0.015), 6),
        moved(pitched(cylinder(0, -0.02, 0, 0.03, 0.04, 8), 90), r, 0.03, 0),
        cylinder(r, 0.04, 0, 0.008, 0.03, 6),
    )
    parts += [yawed(foot, 18 + 72 * i) for i in range(5)]
    w = dice.uniform(0.46, 0.52)
    parts.append(soft(0, seat - 0.05, 0.02, w, 0.08, 0.48, (0.03, 0.04, 0.06), 2))
    parts.append(_curved_back(w - 0.04, seat + 0.12, top, -0.16, 0.06, 0.05, 0.035))
    parts.append(tube([(0, seat - 0.06, -0.05), (0, seat - 0.05, -0.27), (0, seat + 0.25, -0.27)], 0.018, 6))
    if dice.chance(0.7):
        arm = tube(
            [
                (w / 2 - 0.06, seat - 0.03, 0.0),
                (w / 2 + 0.03, seat - 0.02, 0.0),
                (w / 2 + 0.03, seat + 0.19, 0.0),
            ],
            0.014,
            6,
        )
        pad = soft(w / 2 + 0.03, seat + 0.18, 0.02, 0.07, 0.03, 0.26, 0.012)
        parts += [arm, pad, mirrored(arm), mirrored(pad)]
    return Piece("office chair", join(*parts))
