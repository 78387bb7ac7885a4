"""Storage: wardrobes, dressers, shelves, cabinets, stands for shoes and coats, baskets."""

from __future__ import annotations

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.furniture.piece import (
    HANDLE_STYLES,
    LEG_STYLES,
    Piece,
    Top,
    corner_legs,
    fronts,
    handle,
)
from envs.scenes.houses.shapes import Mesh, boxes, circle, cylinder, join, lathe, soft, tube


def wardrobe(dice: Dice, doors: int) -> Piece:
    """A wardrobe with hinged or sliding doors, sometimes with drawers below."""
    w, d, h = doors * dice.uniform(0.44, 0.54), dice.uniform(0.56, 0.62), dice.uniform(1.95, 2.25)
    style, framed = dice.choice(HANDLE_STYLES), dice.chance(0.4)
    parts = [boxes((0, 0.08, -0.015, w, h - 0.08, d - 0.03), (0, 0, -0.03, w - 0.04, 0.09, d - 0.1))]
    if dice.chance(0.5):
        parts.append(boxes((0, h - 0.02, 0, w + 0.05, 0.05, d + 0.03)))
    face = d / 2 - 0.03
    if doors >= 3 and dice.chance(0.35):
        wide = w / 2
        parts.append(
            boxes(
                (-wide / 2, 0.1, face + 0.012, wide + 0.03, h - 0.14, 0.022),
                (wide / 2, 0.1, face + 0.034, wide + 0.0, h - 0.14, 0.022),
            )
        )
        parts.append(handle(-w / 2 + 0.08, 1.0, face + 0.02, "bar", 0.3, upright=True))
        parts.append(handle(w / 2 - 0.08, 1.0, face + 0.042, "bar", 0.3, upright=True))
        return Piece("wardrobe", join(*parts))
    low = 0.1
    wide = w / doors
    if dice.chance(0.4):
        cells = [(-w / 2 + w / 2 * (i + 0.5), low, w / 2, 0.24) for i in range(2)]
        parts.append(fronts(cells, face, style, "drawer"))
        low += 0.25
    cells = [(-w / 2 + wide * (i + 0.5), low, wide, h - low - 0.05) for i in range(doors)]
    parts.append(fronts(cells[::2], face, style, "right" if doors > 1 else "left", framed))
    parts.append(fronts(cells[1::2], face, style, "left", framed))
    return Piece("wardrobe", join(*parts))


def dresser(dice: Dice) -> Piece:
    """A chest of drawers."""
    columns, rows = dice.choice([(1, 4), (1, 5), (2, 3), (2, 4)])
    w = dice.uniform(0.7, 0.85) if columns == 1 else dice.uniform(1.1, 1.4)
    d, tall = dice.uniform(0.42, 0.5), dice.uniform(0.19, 0.23)
    foot = dice.uniform(0.06, 0.13)
    h = foot + rows * tall + 0.04
    parts = [
        corner_legs(w, d - 0.02, foot + 0.01, 0.05, dice.choice(LEG_STYLES[:3])),
        boxes((0, foot, -0.015, w - 0.01, h - foot - 0.02, d - 0.05)),
        soft(0, h - 0.025, 0, w, 0.025, d, 0.006),
    ]
    wide = (w - 0.02) / columns
    cells = [
        ((c - (columns - 1) / 2) * wide, foot + 0.005 + r * tall, wide, tall - 0.004)
        for c in range(columns)
        for r in range(rows)
    ]
    parts.append(fronts(cells, d / 2 - 0.04, dice.choice(HANDLE_STYLES), "drawer"))
    return Piece("dresser", join(*parts), (Top(-w / 2 + 0.04, -d / 2 + 0.04, w / 2 - 0.04, d / 2 - 0.06, h),))


def books(
    dice: Dice, x0: float, x1: float, y: float, z: float, headroom: float, fill: float = 0.7
) -> Mesh | None:
    """A row of upright books on a shelf board from x0 to x1, backs near depth z; None where there is no room."""
    row, at = [], x0 + dice.uniform(0.0, 0.06)
    end = x0 + (x1 - x0) * fill
    while True:
        thick = dice.uniform(0.018, 0.05)
        if at + thick > end:
            break
        tall, deep = min(dice.uniform(0.17, 0.30), headroom - 0.015), dice.uniform(0.13, 0.2)
        row.append((at + thick / 2, y, z - deep / 2, thick - 0.002, tall, deep))
        at += thick
        if dice.chance(0.08):
            at += dice.uniform(0.03, 0.12)
    return boxes(*row) if row else None


def bookshelf(dice: Dice) -> Piece:
    """Open shelves full of books, with gaps for other things."""
    w, d = dice.uniform(0.7, 1.2), dice.uniform(0.27, 0.34)
    shelves = dice.integer(4, 6)
    pitch = dice.uniform(0.31, 0.37)
    h = 0.07 + shelves * pitch + 0.02
    side = 0.022
    rows = [(s * (w - side) / 2, 0, 0, side, h, d) for s in (-1, 1)]
    rows.append((0, 0.0, -d / 2 + 0.006, w - 2 * side, h, 0.012))
    rows += [(0, 0.05 + i * pitch, 0.004, w - 2 * side, 0.02, d - 0.02) for i in range(shelves + 1)]
    rows.append((0, 0, d / 2 - 0.03, w - 2 * side, 0.05, 0.02))
    parts = [boxes(*rows)]
    tops = []
    inner = w / 2 - side
    for i in range(shelves):
        y = 0.07 + i * pitch
        room = pitch - 0.02
        filled = dice.uniform(0.35, 1.0) if dice.chance(0.85) else 0.0
        run = books(dice, -inner, inner, y, d / 2 - 0.04, room, filled)
        if run is not None:
            parts.append(run)
        left = -inner + 2 * inner * filled + 0.12
        if inner - left > 0.15:
            tops.append(Top(left, -d / 2 + 0.06, inner - 0.02, d / 2 - 0.03, y, room))
    return Piece("bookshelf", join(*parts), tuple(tops))


def tv_stand(dice: Dice, w: float) -> Piece:
    """A low board for a television with doors and open compartments."""
    d, h = dice.uniform(0.38, 0.46), dice.uniform(0.42, 0.55)
    foot = dice.uniform(0.08, 0.14)
    third = w / 3
    side = 0.02
    y = foot
    parts = [
        corner_legs(w, d - 0.02, foot + 0.01, 0.045, dice.choice(LEG_STYLES[:3])),
        soft(0, h - 0.03, 0, w, 0.03, d, 0.006),
        boxes(
            (0, y, 0, w - 0.01, 0.02, d - 0.02),
            (0, y, -d / 2 + 0.02, w - 0.02, h - y - 0.02, 0.014),
            *(
                (x, y + 0.01, 0, side, h - y - 0.03, d - 0.03)
                for x in (-w / 2 + 0.015, -third / 2, third / 2, w / 2 - 0.015)
            ),
            (0, (y + h) / 2, 0, third - side, 0.016, d - 0.06),
        ),
        boxes(*((s * third, y + 0.015, -0.01, third - 0.03, h - y - 0.04, d - 0.07) for s in (-1, 1))),
    ]
    style = dice.choice(HANDLE_STYLES)
    kind = dice.choice(["drawer", "right"])
    if kind == "drawer":
        tall = (h - y - 0.05) / 2
        cells = [
            (s * third, y + 0.02 + i * tall, third - 0.03, tall - 0.004) for s in (-1, 1) for i in (0, 1)
        ]
    else:
        cells = [(s * third, y + 0.02, third - 0.03, h - y - 0.055) for s in (-1, 1)]
    parts.append(fronts(cells, d / 2 - 0.045, style, kind))
    tops = (
        Top(-w / 2 + 0.04, -d / 2 + 0.05, w / 2 - 0.04, d / 2 - 0.04, h),
        Top(-third / 2 + 0.03, -d / 2 + 0.05, third / 2 - 0.03, d / 2 - 0.06, y + 0.02, (h - y) / 2 - 0.02),
    )
    return Piece("tv stand", join(*parts), tops)


def cabinet(dice: Dice) -> Piece:
    """A sideboard with doors and a row of drawers."""
    count = dice.integer(2, 4)
    w, d, h = count * dice.uniform(0.4, 0.5), dice.uniform(0.38, 0.46), dice.uniform(0.76, 0.95)
    foot = dice.uniform(0.08, 0.16)
    style = dice.choice(HANDLE_STYLES)
    wide = (w - 0.02) / count
    parts = [
        corner_legs(w, d - 0.02, foot + 0.01, 0.05, dice.choice(LEG_STYLES[:3])),
        boxes((0, foot, -0.015, w - 0.01, h - foot - 0.02, d - 0.05)),
        soft(0, h - 0.03, 0, w, 0.03, d, 0.006),
    ]
    x = [(i - (count - 1) / 2) * wide for i in range(count)]
    drawer = 0.15
    doors = [(at, foot + 0.005, wide, h - foot - drawer - 0.045) for at in x]
    parts.append(fronts(doors[::2], d / 2 - 0.04, style, "right", dice.chance(0.5)))
    parts.append(fronts(doors[1::2], d / 2 - 0.04, style, "left"))
    parts.append(fronts([(at, h - 0.035 - drawer, wide, drawer) for at in x], d / 2 - 0.04, style, "drawer"))
    return Piece("cabinet", join(*parts), (Top(-w / 2 + 0.05, -d / 2 + 0.05, w / 2 - 0.05, d / 2 - 0.06, h),))


def cupboard(dice: Dice) -> Piece:
    """A narrow tall cupboard."""
    w, d, h = dice.uniform(0.32, 0.42), 0.34, dice.uniform(1.5, 1.85)
    style = dice.choice(HANDLE_STYLES)
    split = dice.uniform(0.7, 0.9)
    mesh = join(
        boxes((0, 0.08, -0.01, w, h - 0.08, d - 0.04), (0, 0, -0.03, w - 0.04, 0.09, d - 0.1)),
        fronts([(0, 0.09, w, split - 0.1), (0, split, w, h - split - 0.01)], d / 2 - 0.03, style, "right"),
    )
    return Piece("cabinet", mesh)


def _shoe(x: float, y: float, z: float) -> Mesh:
    return join(
        soft(x, y, z, 0.085, 0.05, 0.26, (0.03, 0.02, 0.05)),
        soft(x, y + 0.02, z - 0.06, 0.075, 0.07, 0.12, 0.03),
    )


def shoe_rack(dice: Dice) -> Piece:
    """Slatted boards with shoes on them."""
    w, d = dice.uniform(0.6, 0.9), 0.3
    levels = dice.integer(2, 3)
    h = 0.1 + levels * 0.2
    rows = [(s * (w / 2 - 0.012), 0, 0, 0.024, h, d) for s in (-1, 1)]
    parts = []
    for level in range(levels):
        y = 0.08 + level * 0.2
        rows += [(0, y, -d / 2 + 0.045 + 0.07 * i, w - 0.04, 0.015, 0.045) for i in range(4)]
        pairs = dice.integer(1, int((w - 0.1) / 0.23))
        for i in range(pairs):
            x = -w / 2 + 0.14 + i * 0.23
            parts += [_shoe(x - 0.05, y + 0.015, 0.0), _shoe(x + 0.05, y + 0.015, 0.0)]
    return Piece("shoe rack", join(boxes(*rows), *parts))


def coat_rack(dice: Dice) -> Piece:
    """A coat stand with hooks, sometimes with a coat."""
    h = dice.uniform(1.68, 1.85)
    parts = [
        lathe(
            [
                (0, 0),
                (0.17, 0),
                (0.17, 0.02),
                (0.03, 0.05),
                (0.022, 0.3),
                (0.02, h - 0.04),
                (0.03, h - 0.02),
                (0, h),
            ],
            10,
        )
    ]
    for i, (c, s) in enumerate(circle(6)):
        y = h - 0.12 - 0.18 * (i % 2)
        parts.append(
            tube(
                [(0.01 * c, y, 0.01 * s), (0.1 * c, y, 0.1 * s), (0.13 * c, y + 0.07, 0.13 * s)],
                (0.01, 0.009, 0.012),
                5,
            )
        )
    if dice.chance(0.7):
        c, s = circle(6)[dice.integer(0, 5)]
        parts.append(soft(0.11 * c, h - 1.05, 0.11 * s, 0.2, 0.95, 0.2, (0.09, 0.2, 0.09), 2))
    return Piece("coat rack", join(*parts))


def wall_shelf(dice: Dice) -> Piece:
    """A board on two brackets, perhaps with books; its back hangs on the wall, its board at y = 0."""
    w, d = dice.uniform(0.6, 1.1), dice.uniform(0.18, 0.24)
    parts = [soft(0, 0, 0, w, 0.028, d, 0.006)]
    for s in (-1, 1):
        x = s * (w / 2 - 0.12)
        parts.append(
            tube(
                [(x, -0.14, -d / 2 + 0.008), (x, -0.005, -d / 2 + 0.008), (x, -0.005, d / 2 - 0.03)], 0.008, 5
            )
        )
        parts.append(tube([(x, -0.12, -d / 2 + 0.01), (x, -0.008, d / 2 - 0.06)], 0.006, 5))
    filled = dice.uniform(0.3, 0.7)
    run = books(dice, -w / 2 + 0.02, w / 2, 0.028, d / 2 - 0.02, 0.32, filled) if dice.chance(0.7) else None
    left = -w / 2 + 0.03
    if run is not None:
        parts.append(run)
        left = -w / 2 + w * filled + 0.1
    top = Top(left, -d / 2 + 0.02, w / 2 - 0.03, d / 2 - 0.01, 0.028, 0.35)
    return Piece("shelf", join(*parts), (top,) if top.x1 - top.x0 > 0.15 else ())


def basket(dice: Dice) -> Piece:
    """A woven basket: wider at the top, hollow, with two handles."""
    r, h = dice.uniform(0.17, 0.24), dice.uniform(0.26, 0.5)
    profile = [(0.0, 0.0), (r * 0.8, 0.0)]
    bands = 6
    for i in range(bands):
        y0, y1 = h * i / bands, h * (i + 1) / bands
        out = r * (0.8 + 0.2 * (i + 0.5) / bands)
        profile += [(out + 0.006, (y0 + y1) / 2), (out, y1)]
    profile += [(r - 0.012, h), (r * 0.78, 0.03), (0.0, 0.03)]
    parts = [lathe(profile, 16)]
    for s in (-1, 1):
        parts.append(
            tube(
                [
                    (s * (r - 0.006), h - 0.01, -0.06),
                    (s * r, h + 0.05, -0.03),
                    (s * r, h + 0.05, 0.03),
                    (s * (r - 0.006), h - 0.01, 0.06),
                ],
                0.009,
                5,
            )
        )
    return Piece("basket", join(*parts))


def toy_chest(dice: Dice) -> Piece:
    """An open chest with toy blocks and balls in it."""
    w, d, h = dice.uniform(0.6, 0.8), 0.4, dice.uniform(0.36, 0.44)
    rows = [
        (0, 0.03, 0, w, 0.02, d),
        (0, 0.03, d / 2 - 0.01, w, h - 0.08, 0.02),
        (0, 0.03, 0.01 - d / 2, w, h, 0.02),
    ]
    rows += [(s * (w / 2 - 0.01), 0.03, 0, 0.02, h - 0.04, d - 0.04) for s in (-1, 1)]
    parts = [boxes(*rows), corner_legs(w, d, 0.04, 0.04, "square", 0.0)]
    for _ in range(dice.integer(6, 10)):
        x, z, size = (
            dice.uniform(-w / 2 + 0.1, w / 2 - 0.1),
            dice.uniform(-0.1, 0.1),
            dice.uniform(0.08, 0.14),
        )
        y = 0.05 + dice.uniform(0.0, h - 0.22)
        parts.append(soft(x, y, z, size, size, size, dice.choice([0.01, 0.5]), 2))
    return Piece("toy chest", join(*parts))


def piano(dice: Dice) -> Piece:
    """An upright piano with keys, music stand and pedals."""
    w, d, h = dice.uniform(1.42, 1.5), 0.6, dice.uniform(1.1, 1.25)
    key, front = 0.66, d / 2
    keys = [
        (-w * 0.43 + w * 0.86 * (i + 0.5) / 36, key, front - 0.1, w * 0.86 / 36 - 0.003, 0.022, 0.15)
        for i in range(36)
    ]
    black = [
        (x + w * 0.43 / 36, key + 0.02, front - 0.13, 0.011, 0.014, 0.09)
        for i, (x, *_) in enumerate(keys[:-1])
        if i % 7 not in (2, 6)
    ]
    body = boxes(
        (0, 0.06, -0.13, w, h - 0.08, d - 0.26),
        (0, h - 0.025, -0.12, w + 0.03, 0.03, d - 0.22),
        (0, key - 0.07, 0, w, 0.07, d),
        *((s * (w / 2 - 0.03), key - 0.01, 0.02, 0.06, 0.09, d - 0.04) for s in (-1, 1)),
        (0, 0, -0.12, w - 0.04, 0.07, d - 0.3),
        *((s * 0.12, 0.05, 0.06, 0.03, 0.015, 0.16) for s in (-1, 0, 1)),
        (0, key + 0.1, 0.01, w * 0.5, 0.22, 0.015),
    )
    legs = [cylinder(s * (w / 2 - 0.06), 0, front - 0.06, 0.025, key - 0.06, 8, 0.04) for s in (-1, 1)]
    return Piece(
        "piano",
        join(body, boxes(*keys), boxes(*black), *legs),
        (Top(-w / 2 + 0.1, -d / 2 + 0.05, w / 2 - 0.1, -0.03, h + 0.005),),
    )


def radiator(dice: Dice, w: float) -> Piece:
    """A ribbed radiator on the wall, with valve and pipes; its underside at y = 0.1."""
    h = dice.uniform(0.45, 0.6)
    count = int(w / 0.07)
    pitch = w / count
    ribs = [soft(-w / 2 + pitch * (i + 0.5), 0.1, 0, pitch - 0.02, h, 0.07, 0.02) for i in range(count)]
    rails = boxes((0, 0.14, 0, w - 0.03, 0.03, 0.04), (0, 0.06 + h, 0, w - 0.03, 0.03, 0.04))
    x = w / 2 - 0.01
    valve = join(
        tube([(x, 0.15, 0), (x + 0.05, 0.15, 0), (x + 0.05, 0.0, 0)], 0.01, 6),
        cylinder(x + 0.05, 0.15, 0, 0.02, 0.06, 8),
    )
    return Piece("radiator", join(*ribs, rails, valve))
