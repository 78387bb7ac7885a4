"""The shell of a house: walls with thickness, floors and ceilings, cut out of one irregular grid of boxes.

The coordinates of all wall faces and of all edges of openings span a grid. Every box of it is solid or free; a face is
made wherever solid meets free. So nothing overlaps, neighbouring faces share whole edges and no ray slips through.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.scenes.houses.floorplan import Layout
from envs.scenes.houses.openings import Opening

_FREE_OPENING = 1000
_OUTSIDE = -1
_WALL = -2


class Shell(NamedTuple):
    """Faces of the shell, each with what it belongs to."""

    vertices: np.ndarray
    """(N, 3) float64."""
    triangles: np.ndarray
    """(M, 3) int32, counter-clockwise seen from the free side."""
    part: np.ndarray
    """(M,) 0 wall, 1 floor, 2 ceiling."""
    room: np.ndarray
    """(M,) index of the room on the free side; the number of rooms for the outside."""


def _lines(values: np.ndarray) -> np.ndarray:
    return np.unique(np.round(values, 4))


def build_shell(layout: Layout, openings: list[Opening]) -> Shell:
    """Walls, floors and ceilings of a layout with its openings cut."""
    t = layout.outer_wall
    rooms = np.array([room.rect for room in layout.rooms])  # (R, 4)
    cuts = np.array([opening.rect for opening in openings])  # (O, 4)
    xs, zs = (
        # the outermost lines lie in the open, so that the outer faces have a free side
        _lines(
            np.concatenate(
                [low, low - t, high, high + t, cuts[:, k], cuts[:, k + 2], [low.min() - 1, high.max() + 1]]
            )
        )
        for k, low, high in ((0, rooms[:, 0], rooms[:, 2]), (1, rooms[:, 1], rooms[:, 3]))
    )
    ys = _lines(np.array([0.0, layout.ceiling, *(v for o in openings for v in (o.low, o.high))]))
    cx, cz, cy = ((a[1:] + a[:-1]) / 2 for a in (xs, zs, ys))

    plan = np.full((len(cx), len(cz)), _OUTSIDE)
    for x0, z0, x1, z1 in rooms:
        plan[np.ix_((cx > x0 - t) & (cx < x1 + t), (cz > z0 - t) & (cz < z1 + t))] = _WALL
    for i, (x0, z0, x1, z1) in enumerate(rooms):
        plan[np.ix_((cx > x0) & (cx < x1), (cz > z0) & (cz < z1))] = i
    # owner[x, y, z] of the free boxes: a room, or _OUTSIDE; _WALL where solid
    owner = np.repeat(plan[:, None], len(cy), axis=1)
    for opening in openings:
        x0, z0, x1, z1 = opening.rect
        box = np.ix_((cx > x0) & (cx < x1), (cy > opening.low) & (cy < opening.high), (cz > z0) & (cz < z1))
        owner[box] = opening.rooms[0] + _FREE_OPENING
    return _faces(owner, (xs, ys, zs), len(rooms))


def _faces(owner: np.ndarray, lines: tuple[np.ndarray, np.ndarray, np.ndarray], rooms: int) -> Shell:
    solid = owner == _WALL
    free = np.where(owner >= _FREE_OPENING, owner - _FREE_OPENING, np.where(owner < 0, rooms, owner))
    quads, part, room = [], [], []

    def emit(
        axis: int, cell: tuple[np.ndarray, ...], line: np.ndarray, up: bool, kind: int, who: np.ndarray
    ) -> None:
        """Faces across ``axis`` at ``line``, over the other two extents of ``cell``, facing up or down the axis."""
        b, c = (axis + 1) % 3, (axis + 2) % 3
        corner = np.zeros((len(line), 4, 3))
        corner[:, :, axis] = lines[axis][line][:, None]
        for k, (db, dc) in enumerate(((0, 0), (1, 0), (1, 1), (0, 1))):
            corner[:, k, b] = lines[b][cell[b] + db]
            corner[:, k, c] = lines[c][cell[c] + dc]
        quads.append(corner if up else corner[:, ::-1])
        part.append(np.full(len(line), kind))
        room.append(who)

    for axis in range(3):
        first, second = [slice(None)] * 3, [slice(None)] * 3
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        a, b = solid[tuple(first)], solid[tuple(second)]
        for up, where in ((True, a & ~b), (False, ~a & b)):
            cell = np.nonzero(where)
            beyond = list(cell)
            beyond[axis] = cell[axis] + (1 if up else 0)
            emit(axis, cell, cell[axis] + 1, up, 0, free[tuple(beyond)])
    for level, up, kind in ((0, True, 1), (owner.shape[1] - 1, False, 2)):
        x, z = np.nonzero(owner[:, level] >= 0)
        cell = (x, np.full(len(x), level), z)
        emit(1, cell, np.full(len(x), 0 if up else len(lines[1]) - 1), up, kind, free[cell])
    x, z = np.nonzero(solid[:, -1])  # the walls' upper ends, seen from above
    cell = (x, np.full(len(x), owner.shape[1] - 1), z)
    emit(1, cell, np.full(len(x), len(lines[1]) - 1), True, 0, np.full(len(x), rooms))
    corners = np.concatenate(quads).reshape(-1, 3)  # (Q, 4, 3) -> (4 Q, 3)
    start = 4 * np.arange(len(corners) // 4, dtype=np.int32)[:, None]
    triangles = np.concatenate(
        [start + np.array([[0, 1, 2]]), start + np.array([[0, 2, 3]])], axis=1
    ).reshape(-1, 3)
    return Shell(
        corners,
        triangles.astype(np.int32),
        np.repeat(np.concatenate(part), 2),
        np.repeat(np.concatenate(room), 2),
    )
