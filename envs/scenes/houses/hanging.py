"""Hanging things on the free stretches of a room's walls: pictures, mirrors, towels, shelves, clocks."""

from __future__ import annotations

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.floorplan import Rect
from envs.scenes.houses.furniture.piece import Piece
from envs.scenes.houses.openings import side_of
from envs.scenes.houses.space import SIDE_YAW, Placed, RoomSpace, evenly, wall_strip

_FLAT = 0.1
"""What stands out less from the wall may hang beside a door, metres."""


def hang(space: RoomSpace, dice: Dice, piece: Piece, y: float, above: Placed | None = None) -> Placed | None:
    """Hang a piece with its origin at height y; over the middle of ``above`` where given; None if nothing is free."""
    low, high = float(piece.mesh.vertices[:, 1].min()) + y, float(piece.mesh.vertices[:, 1].max()) + y
    r = space.room.rect
    half = piece.width / 2
    spots: list[tuple[float, int]] = []
    likings = []
    for side in range(4):
        a, b = (r.x0, r.x1) if side % 2 == 0 else (r.z0, r.z1)
        if above is None:
            steps = evenly(a + half + 0.12, b - half - 0.12, 0.15).tolist()
        elif SIDE_YAW[side] == above.yaw:
            steps = [above.x if side % 2 == 0 else above.z]
        else:
            continue
        taken = _taken(space, side, low, high)
        for at in steps:
            inside = a + half <= at <= b - half
            if not inside or any(at - half < end and at + half > start for start, end in taken):
                continue
            strip = wall_strip(r, side, at - half, at + half, piece.depth)
            if piece.depth < _FLAT or not any(way.overlaps(strip) for way in space.ways):
                spots.append((at, side))
                likings.append(1.0 / (0.4 + abs(at - (a + b) / 2)))
    if not spots:
        return None
    at, side = dice.choice(spots, likings)
    depth = -float(piece.mesh.vertices[:, 2].min()) + 0.002
    wall = (r.z0, r.x0, r.z1, r.x1)[side]
    off = wall + depth if side < 2 else wall - depth
    x, z = (at, off) if side % 2 == 0 else (off, at)
    space.hung.append((side, at - half, at + half, low, high))
    return space.put(piece, round(x, 4), round(z, 4), SIDE_YAW[side], y=y, solid=False)


def _taken(space: RoomSpace, side: int, low: float, high: float) -> list[tuple[float, float]]:
    """Stretches of one wall that are not free between two heights."""
    r = space.room.rect
    taken = [
        (o.start - 0.14, o.end + 0.14) for o in space.openings if side_of(o, r) == side and o.high + 0.1 > low
    ]
    taken += [
        (start - 0.06, end + 0.06)
        for wall, start, end, bottom, top in space.hung
        if wall == side and bottom < high + 0.05 and top > low - 0.05
    ]
    near = [
        item.rect
        for item in space.placed
        if item.solid and item.on is None and item.y < high and item.piece.height + item.y > low - 0.03
    ]
    near += [door.leaf(r) for door in space.doors if door.swing == space.index]
    for rect in near:
        if _off_wall(r, rect, side) < 0.3:
            taken.append((rect.x0, rect.x1) if side % 2 == 0 else (rect.z0, rect.z1))
    return taken


def _off_wall(room: Rect, rect: Rect, side: int) -> float:
    return (rect.z0 - room.z0, rect.x0 - room.x0, room.z1 - rect.z1, room.x1 - rect.x1)[side]
