"""Can an agent get from every room to every other? A walking grid over the whole house, and what gives way."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label, minimum_filter

from envs.scenes.houses.floorplan import Layout, Rect
from envs.scenes.houses.openings import Opening
from envs.scenes.houses.space import CELL, Placed, RoomSpace

_REACH = 4
"""Cells kept free on all sides of the way: for a radius of 0.18 m on a grid of 5 cm that rounds against the agent."""
_ENOUGH = 0.2
"""Floor of a room that must be reached, square metres, after the agent's radius is taken off."""
_POCKET = 0.7
"""Floor of a room that may be cut off behind furniture, square metres, likewise."""

_FIXED = ("curtain", "radiator")
"""What hangs on the walls and stays."""


def walkable(
    layout: Layout, openings: list[Opening], solids: list[Rect]
) -> tuple[np.ndarray, tuple[float, float]]:
    """Cells (X, Z) bool of the house that an agent's centre can be in, and the corner's (x, z)."""
    x0, z0 = (min(room.rect[k] for room in layout.rooms) - 0.5 for k in (0, 1))
    x1, z1 = (max(room.rect[k] for room in layout.rooms) + 0.5 for k in (2, 3))
    free = np.zeros((int((x1 - x0) / CELL) + 1, int((z1 - z0) / CELL) + 1), dtype=bool)

    def fill(rect: Rect, value: bool) -> None:
        # a cell is free only if all of it is free, and taken if any of it is
        inset = CELL / 2 - 1e-6 if value else -(CELL / 2 - 1e-6)
        i0, i1 = np.ceil(
            [(rect.x0 - x0 + inset) / CELL - 0.5, (rect.x1 - x0 - inset) / CELL - 0.5 + 1e-9]
        ).astype(int)
        j0, j1 = np.ceil(
            [(rect.z0 - z0 + inset) / CELL - 0.5, (rect.z1 - z0 - inset) / CELL - 0.5 + 1e-9]
        ).astype(int)
        free[max(i0, 0) : max(i1, 0), max(j0, 0) : max(j1, 0)] = value

    for room in layout.rooms:
        fill(room.rect, True)
    for opening in openings:
        if opening.kind in ("door", "arch"):
            r = opening.rect
            # the lining narrows the cut; the cut reaches a little into both rooms so that no cell line stays between
            wide = (
                Rect(r.x0 + 0.02, r.z0 - CELL, r.x1 - 0.02, r.z1 + CELL)
                if opening.along_x
                else Rect(r.x0 - CELL, r.z0 + 0.02, r.x1 + CELL, r.z1 - 0.02)
            )
            fill(wide, True)
    for solid in solids:
        fill(solid, False)
    window = 2 * _REACH + 1  # a square one, so corners keep a little more
    return minimum_filter(free.view(np.uint8), window, mode="constant").view(bool), (x0, z0)


def unreached_rooms(
    layout: Layout, openings: list[Opening], solids: list[Rect]
) -> dict[int, tuple[float, float]]:
    """Rooms of which too little can be reached from the largest connected part of the house.

    Returns:
        The middle (x, z) of the floor that is cut off, by the index of its room.
    """
    grid, (x0, z0) = walkable(layout, openings, solids)
    parts, count = label(grid)  # type: ignore[misc]
    main = int(np.bincount(parts.ravel())[1:].argmax()) + 1 if count else -1
    out = {}
    for i, room in enumerate(layout.rooms):
        r = room.rect
        first = int((r.x0 - x0) / CELL), int((r.z0 - z0) / CELL)
        own = parts[first[0] : int((r.x1 - x0) / CELL) + 1, first[1] : int((r.z1 - z0) / CELL) + 1]
        lost = (own > 0) & (own != main)
        if (own == main).sum() * CELL * CELL < _ENOUGH or lost.sum() * CELL * CELL > _POCKET:
            columns, rows = np.nonzero(lost) if lost.any() else np.nonzero(own == own)
            out[i] = (
                x0 + (first[0] + float(np.median(columns)) + 0.5) * CELL,
                z0 + (first[1] + float(np.median(rows)) + 0.5) * CELL,
            )
    return out


def make_way(layout: Layout, openings: list[Opening], spaces: list[RoomSpace]) -> int | None:
    """Take furniture away until every room can be reached: what is nearest to the floor cut off, essentials last.

    Returns:
        How many pieces were taken away; None where even that does not join all rooms.
    """
    removed = 0
    while True:
        leaves = [o.leaf(layout.rooms[o.swing].rect) for o in openings if o.swing is not None]
        solids = leaves + [item.rect for space in spaces for item in space.placed if item.solid]
        lost = unreached_rooms(layout, openings, solids)
        if not lost:
            return removed
        room, (x, z) = min(lost.items())
        near = {room} | {j for o in openings if room in o.rooms for j in o.rooms}
        victims = [
            item
            for space in spaces
            for item in space.placed
            if space.index in near and item.solid and item.piece.category not in _FIXED
        ]
        if not victims:
            return None
        take_away(spaces, min(victims, key=lambda item: (item.essential, _distance(item.rect, x, z))))
        removed += 1


def _distance(rect: Rect, x: float, z: float) -> float:
    """From a point to the farther of the two gaps along x and z; 0 inside."""
    return max(rect.x0 - x, x - rect.x1, rect.z0 - z, z - rect.z1, 0.0)


def take_away(spaces: list[RoomSpace], item: Placed) -> None:
    """Remove a piece and all that stands on it or hangs on it."""
    space = next(space for space in spaces if space.index == item.room)
    space.placed = [other for other in space.placed if other is not item and other.on is not item]
