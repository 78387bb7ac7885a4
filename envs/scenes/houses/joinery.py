"""What closes and trims openings: door frames and leaves, window frames and sills, baseboards."""

from __future__ import annotations

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.floorplan import Layout, Rect
from envs.scenes.houses.openings import Opening, side_of
from envs.scenes.houses.shapes import Mesh, boxes, join, moved, pitched, soft, tube, yawed

_LINING = 0.018
_LEAF = 0.04


def _placed(mesh: Mesh, opening: Opening, yaw: int) -> Mesh:
    x0, z0, x1, z1 = opening.rect
    return moved(yawed(mesh, yaw), (x0 + x1) / 2, 0.0, (z0 + z1) / 2)


def _frame(w: float, low: float, high: float, thick: float, casing: float) -> Mesh:
    """A lining in the cut and casings around it on both faces of the wall; x along the wall, z across."""
    h = high - low
    rows = [
        (-w / 2 + _LINING / 2, low, 0, _LINING, h, thick + 0.004),
        (w / 2 - _LINING / 2, low, 0, _LINING, h, thick + 0.004),
        (0, high - _LINING, 0, w, _LINING, thick + 0.004),
    ]
    for face in (-1, 1):
        z = face * (thick / 2 + 0.007)
        rows += [(s * (w / 2 + casing / 2 - 0.01), low, z, casing, h + casing - 0.01, 0.014) for s in (-1, 1)]
        rows.append((0, high - 0.01, z, w + 2 * casing - 0.02, casing, 0.0141))
    return boxes(*rows)


def _handle(x: float, z: float) -> Mesh:
    """Lever handles on both faces of a leaf."""
    parts = []
    for face in (-1, 1):
        parts.append(boxes((x, 0.94, face * (z + 0.005), 0.035, 0.2, 0.01)))
        lever = tube([(0, 0, 0.005), (0, 0, 0.05), (-0.115, 0, 0.05)], 0.009, 6)
        parts.append(moved(lever if face > 0 else pitched(lever, 180), x, 1.05, face * z))
    return join(*parts)


def _leaf(dice: Dice, w: float, h: float) -> Mesh:
    """A door leaf with panels; hinges at x = 0, handle near x = w."""
    rows = [(w / 2, 0.008, 0, w, h - 0.008, _LEAF)]
    style = dice.choice(["plain", "two", "four", "three"])
    cells = {
        "plain": [],
        "two": [(0.5, 0.1, 0.7, 0.34), (0.5, 0.52, 0.7, 0.4)],
        "four": [
            (0.29, 0.1, 0.3, 0.34),
            (0.71, 0.1, 0.3, 0.34),
            (0.29, 0.52, 0.3, 0.4),
            (0.71, 0.52, 0.3, 0.4),
        ],
        "three": [(0.5, 0.08, 0.7, 0.22), (0.5, 0.38, 0.7, 0.22), (0.5, 0.68, 0.7, 0.24)],
    }[style]
    for x, y, cw, ch in cells:
        rows.append((x * w, y * h, 0, cw * w, ch * h, _LEAF + 0.014))
        rows.append((x * w, y * h + 0.04, 0, cw * w - 0.08, ch * h - 0.08, _LEAF + 0.024))
    return join(boxes(*rows), _handle(w - 0.07, _LEAF / 2))


def door(dice: Dice, opening: Opening, layout: Layout) -> Mesh:
    """Frame and leaf of a door, an arch or the entrance, in the world frame."""
    w = opening.end - opening.start
    thick = opening.rect.depth if opening.along_x else opening.rect.width
    along = 0 if opening.along_x else 90
    casing = dice.uniform(0.055, 0.075) if opening.kind != "arch" else 0.05
    parts = [_placed(_frame(w, 0.0, opening.high, thick, casing), opening, along)]
    long = w - 2 * _LINING - 0.006
    if opening.kind == "entrance":
        leaf = moved(_leaf(dice, long, opening.high - _LINING - 0.004), -long / 2)
        parts.append(_placed(leaf, opening, along))
    elif opening.swing is not None:
        room = layout.rooms[opening.swing].rect
        rect = opening.leaf(room)
        inward = (270, 0, 90, 180)[side_of(opening, room)]
        leaf = yawed(_leaf(dice, long, opening.high - _LINING - 0.004), inward + dice.integer(-2, 2))
        x, z = (rect.x0 + rect.x1) / 2, (rect.z0 + rect.z1) / 2
        offset = (0.06 - 0.043) * (1 if opening.hinge_low else -1)
        if opening.along_x:
            parts.append(moved(leaf, x - offset, 0.0, rect.z0 + 0.012 if inward == 270 else rect.z1 - 0.012))
        else:
            parts.append(moved(leaf, rect.x0 + 0.012 if inward == 0 else rect.x1 - 0.012, 0.0, z - offset))
    return join(*parts)


def window(dice: Dice, opening: Opening, room: Rect, bars: bool) -> Mesh:
    """Frame, mullions and inner sill of a window, in the world frame; no pane, so rays pass to the outside."""
    w, low, high = opening.end - opening.start, opening.low, opening.high
    thick = opening.rect.depth if opening.along_x else opening.rect.width
    h = high - low
    bar, deep, z = 0.05, 0.06, -thick * 0.2
    rows = [
        (-w / 2 + bar / 2, low, z, bar, h, deep), (w / 2 - bar / 2, low, z, bar, h, deep),
        (0, low, z, w - 2 * bar, bar, deep), (0, high - bar, z, w - 2 * bar, bar, deep),
    ]  # fmt: skip
    panes = max(1, round((w - 0.1) / 0.75))
    pitch = (w - 2 * bar) / panes
    rows += [(-w / 2 + bar + pitch * i, low + bar, z, bar, h - 2 * bar, deep) for i in range(1, panes)]
    if bars:
        count = 2 if h < 1.4 else 3
        rows += [(0, low + h * i / count, z, w - 2 * bar, 0.024, 0.03) for i in range(1, count)]
    parts = [boxes(*rows)]
    reach = dice.uniform(0.03, 0.08) if low > 0.5 else 0.01
    depth = thick * 0.7 - deep / 2 + reach
    parts.append(
        soft(
            0,
            low - 0.004,
            thick / 2 + reach - depth / 2,
            w + (0.1 if low > 0.5 else -0.002),
            0.028,
            depth,
            0.006,
        )
    )
    casing = 0.05
    face = thick / 2 + 0.005
    trim = [(s * (w / 2 + casing / 2), low, face, casing, h + casing, 0.014) for s in (-1, 1)]
    parts.append(boxes(*trim, (0, high, face, w, casing, 0.0141)))
    return _placed(join(*parts), opening, (0, 90, 180, 270)[side_of(opening, room)])


def baseboards(layout: Layout, index: int, openings: list[Opening], height: float) -> Mesh:
    """A strip of wood along the foot of every wall of a room, broken by its doors."""
    r = layout.rooms[index].rect
    thick = 0.012
    rows = []
    for side in range(4):
        a, b = (r.x0, r.x1) if side % 2 == 0 else (r.z0, r.z1)
        free = [(a, b)]
        for opening in openings:
            if index in opening.rooms and side_of(opening, r) == side and opening.low < height:
                low, high = opening.start - 0.07, opening.end + 0.07
                free = [
                    part
                    for p, q in free
                    for part in ((p, min(q, low)), (max(p, high), q))
                    if part[1] - part[0] > 0.02
                ]
        wall = (r.z0, r.x0, r.z1, r.x1)[side] + (thick / 2 if side < 2 else -thick / 2)
        for p, q in free:
            middle = (p + q) / 2
            rows.append(
                (middle, 0, wall, q - p, height, thick)
                if side % 2 == 0
                else (wall, 0, middle, thick, height, q - p)
            )
    return boxes(*rows)
