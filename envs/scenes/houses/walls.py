"""The shell of a house: walls with thickness, floors and ceilings, cut out of one irregular grid of boxes.

The coordinates of all wall faces and of all edges of openings span a grid. Every box of it is solid or free; a face is
made wherever solid meets free, and neighbouring faces of one room are merged. So nothing overlaps and nothing gapes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.scenes.houses.floorplan import Layout
from envs.scenes.houses.openings import Opening

_LAP = 0.01
"""How far ceilings reach over the walls, metres, so that no ray slips out between the two."""
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
    faces = []  # columns: part, room, axis, faces up the axis, line, cell along the next axis, cell along the last

    def note(
        part: int, axis: int, up: bool, cell: tuple[np.ndarray, ...], line: np.ndarray, room: np.ndarray
    ) -> None:
        b, c = cell[(axis + 1) % 3], cell[(axis + 2) % 3]
        same = [np.full(len(b), value) for value in (part, axis, int(up))]
        faces.append(np.stack([same[0], room, same[1], same[2], line, b, c], axis=1))

    for axis in range(3):
        first, second = [slice(None)] * 3, [slice(None)] * 3
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        a, b = solid[tuple(first)], solid[tuple(second)]
        for up, where in ((True, a & ~b), (False, ~a & b)):
            cell = np.nonzero(where)
            beyond = list(cell)
            beyond[axis] = cell[axis] + (1 if up else 0)
            note(0, axis, up, cell, cell[axis] + 1, free[tuple(beyond)])
    top = owner.shape[1]
    for part, level, up in ((1, 0, True), (2, top - 1, False)):
        x, z = np.nonzero(owner[:, level] >= 0)
        cell = (x, np.full(len(x), level), z)
        note(part, 1, up, cell, np.full(len(x), 0 if up else top), free[cell])
    # walls have no upper ends: above the ceilings nobody sees them, and one could walk there
    return _rectangles(_merged(np.concatenate(faces)), lines)


def _merged(faces: np.ndarray) -> np.ndarray:
    """Neighbouring faces as few rectangles: (Q, 9), the last four columns being first and end of both extents."""
    table = np.concatenate(
        [faces[:, :5], faces[:, 5:6], faces[:, 5:6] + 1, faces[:, 6:7], faces[:, 6:7] + 1], axis=1
    )
    for low, high, others in ((7, 8, (0, 1, 2, 3, 4, 5, 6)), (5, 6, (0, 1, 2, 3, 4, 7, 8))):
        table = table[np.lexsort((table[:, low], *(table[:, k] for k in reversed(others))))]
        alike = (table[1:, others] == table[:-1, others]).all(axis=1) & (table[1:, low] == table[:-1, high])
        start = np.flatnonzero(np.concatenate([[True], ~alike]))
        end = np.append(start[1:], len(table)) - 1
        run = table[start]
        run[:, high] = table[end, high]
        table = run
    return table


def _rectangles(table: np.ndarray, lines: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Shell:
    corners = np.zeros((len(table), 4, 3))
    for axis in range(3):
        these = table[:, 2] == axis
        rows = table[these]
        b, c = (axis + 1) % 3, (axis + 2) % 3
        quad = np.zeros((len(rows), 4, 3))
        quad[:, :, axis] = lines[axis][rows[:, 4]][:, None]
        for k, (kb, kc) in enumerate(((5, 7), (6, 7), (6, 8), (5, 8))):
            quad[:, k, b], quad[:, k, c] = lines[b][rows[:, kb]], lines[c][rows[:, kc]]
        quad[rows[:, 0] == 2] += _LAP * np.array([[-1, 0, -1], [-1, 0, 1], [1, 0, 1], [1, 0, -1]])
        down = rows[:, 3] == 0
        quad[down] = quad[down][:, ::-1]
        corners[these] = quad
    start = 4 * np.arange(len(table), dtype=np.int32)[:, None]
    triangles = np.concatenate([start + np.array([[0, 1, 2]]), start + np.array([[0, 2, 3]])], axis=1)
    return Shell(
        corners.reshape(-1, 3),  # (Q, 4, 3) -> (4 Q, 3)
        triangles.reshape(-1, 3).astype(np.int32),  # (Q, 6) -> (2 Q, 3)
        np.repeat(table[:, 0], 2),
        np.repeat(table[:, 1], 2),
    )
