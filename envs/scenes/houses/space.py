"""The free floor of one room: where things fit, what must stay clear, whether one can still walk from door to door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import label

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.floorplan import PlanRoom, Rect
from envs.scenes.houses.furniture.piece import Piece
from envs.scenes.houses.openings import Opening
from envs.scenes.houses.shapes import direction

CELL = 0.05
"""Edge of a cell of the walking grid, metres."""
SIDE_YAW = (0, 90, 180, 270)
"""How far a piece is turned that stands with its back to each side of the room."""
_POCKET = 0.2
"""Free floor that may be cut off behind furniture, square metres."""
_ENOUGH = 0.25
"""Free floor that must remain, square metres."""


@dataclass(eq=False)
class Placed:
    """A piece at its place in the world frame."""

    piece: Piece
    x: float
    y: float
    z: float
    yaw: int
    """Degrees about y, counter-clockwise seen from above."""
    room: int
    """Index of its room."""
    on: Placed | None = None
    """What it stands on, if not on the floor, a wall or the ceiling."""
    solid: bool = True
    """Whether it stands in the way of an agent."""
    essential: bool = False
    """Whether it is among the last to be taken away again."""

    @property
    def rect(self) -> Rect:
        """Its footprint."""
        return footprint(self.piece.width, self.piece.depth, self.x, self.z, self.yaw)


def evenly(low: float, high: float, step: float) -> np.ndarray:
    """low, low + step, ... up to high; `numpy.arange` may round otherwise on other processors."""
    return low + step * np.arange(max(0, int((high - low) / step + 1e-6) + 1))


def wall_strip(room: Rect, side: int, start: float, end: float, depth: float) -> Rect:
    """The strip of floor along a stretch of one side of a room."""
    return (
        Rect(start, room.z0, end, room.z0 + depth),
        Rect(room.x0, start, room.x0 + depth, end),
        Rect(start, room.z1 - depth, end, room.z1),
        Rect(room.x1 - depth, start, room.x1, end),
    )[side]


def footprint(width: float, depth: float, x: float, z: float, yaw: int) -> Rect:
    """The axis-aligned rectangle around a piece of this size."""
    c, s = (abs(v) for v in direction(yaw % 360))
    width, depth = c * width + s * depth, s * width + c * depth
    return Rect(x - width / 2, z - depth / 2, x + width / 2, z + depth / 2)


@dataclass(frozen=True)
class Spots:
    """Candidate places, K of them, for one piece."""

    side: np.ndarray
    """(K,) the wall behind it, -1 where it stands free."""
    x: np.ndarray
    """(K,) centre."""
    z: np.ndarray
    """(K,) centre."""
    end: np.ndarray
    """(K,) distance of its nearer flank from the end of the wall."""
    rect: np.ndarray
    """(K, 4) footprints."""
    front: np.ndarray
    """(K, 4) floor kept clear before it."""


Liking = Callable[[Spots], np.ndarray]
"""A preference: higher is better, about one point a strong reason."""


def _hits(rects: np.ndarray, obstacles: Sequence[Rect]) -> np.ndarray:
    """Whether each of the rects (K, 4) overlaps any obstacle: (K,)."""
    if not len(obstacles):
        return np.zeros(len(rects), dtype=bool)
    o = np.array(obstacles)[None]
    r = rects[:, None]
    slack = 1e-6
    apart = (r[..., 0] >= o[..., 2] - slack) | (o[..., 0] >= r[..., 2] - slack)
    apart |= (r[..., 1] >= o[..., 3] - slack) | (o[..., 1] >= r[..., 3] - slack)
    return np.asarray(~apart.all(axis=1))


@dataclass
class RoomSpace:
    """One room while it is being furnished."""

    index: int
    """Index of the room in the layout."""
    room: PlanRoom
    openings: list[Opening]
    """Those in the walls of this room."""
    ceiling: float
    """Metres."""
    passage: float
    """Width of the ways kept free, metres."""
    placed: list[Placed] = field(default_factory=list)
    """Everything in the room so far."""
    solids: list[Rect] = field(default_factory=list)
    """Footprints of what stands in the way."""
    access: list[Rect] = field(default_factory=list)
    """Floor kept clear before drawers, seats and the like."""
    hung: list[tuple[int, float, float, float, float]] = field(default_factory=list)
    """What hangs on the walls: side, start, end, low, high."""

    def __post_init__(self) -> None:
        rect = self.room.rect
        self.doors = [o for o in self.openings if o.kind != "window"]
        self.windows = [o for o in self.openings if o.kind == "window"]
        self.ways = [
            door.front(rect, 0.92 if door.swing == self.index or door.kind == "entrance" else 0.72, 0.02)
            for door in self.doors
        ]
        self.solids += [door.leaf(rect) for door in self.doors if door.swing == self.index]
        shape = (int(rect.width / CELL), int(rect.depth / CELL))
        self._blocked = np.zeros(shape, dtype=bool)
        edge = int(self.passage / 2 / CELL) + 1
        self._blocked[:edge], self._blocked[-edge:] = True, True
        self._blocked[:, :edge], self._blocked[:, -edge:] = True, True
        for solid in self.solids:
            self._block(self._blocked, solid)
        self._goals = []
        for door in self.doors:
            x0, z0, x1, z1 = door.front(rect, 0.52 + 2 * CELL)
            if door.along_x:
                z0, z1 = (
                    (z1 - 2 * CELL, z1)
                    if z0 >= rect.z0 - 0.01 and abs(z0 - rect.z0) < 0.01
                    else (z0, z0 + 2 * CELL)
                )
                middle = (x0 + x1) / 2
                self._goals.append(self._cell(middle, (z0 + z1) / 2))
            else:
                x0, x1 = (x1 - 2 * CELL, x1) if abs(x0 - rect.x0) < 0.01 else (x0, x0 + 2 * CELL)
                self._goals.append(self._cell((x0 + x1) / 2, (z0 + z1) / 2))

    def _cell(self, x: float, z: float) -> tuple[int, int]:
        rect = self.room.rect
        i, j = int((x - rect.x0) / CELL), int((z - rect.z0) / CELL)
        return min(max(i, 0), self._blocked.shape[0] - 1), min(max(j, 0), self._blocked.shape[1] - 1)

    def _block(self, grid: np.ndarray, rect: Rect) -> None:
        room = self.room.rect
        wide = rect.grown(self.passage / 2)
        i0, i1 = int((wide.x0 - room.x0) / CELL), int((wide.x1 - room.x0) / CELL) + 1
        j0, j1 = int((wide.z0 - room.z0) / CELL), int((wide.z1 - room.z0) / CELL) + 1
        grid[max(i0, 0) : max(i1, 0), max(j0, 0) : max(j1, 0)] = True

    def passable(self, *extra: Rect) -> bool:
        """Whether all doors stay joined, and no large pocket is cut off, with these rectangles in the way as well."""
        grid = self._blocked
        if extra:
            grid = grid.copy()
            for rect in extra:
                self._block(grid, rect)
        parts, count = label(~grid)  # type: ignore[misc]
        if count == 0:
            return False
        reached = {int(parts[goal]) for goal in self._goals}
        if len(reached) != 1 or 0 in reached:
            return False
        main = reached.pop()
        walk, reached = int((parts > 0).sum()), int((parts == main).sum())
        return (walk - reached) * CELL * CELL <= _POCKET and reached * CELL * CELL >= _ENOUGH

    @property
    def area(self) -> float:
        """Square metres."""
        return self.room.rect.width * self.room.rect.depth

    def put(
        self,
        piece: Piece,
        x: float,
        z: float,
        yaw: int,
        *,
        y: float = 0.0,
        on: Placed | None = None,
        solid: bool = True,
        essential: bool = False,
    ) -> Placed:
        """Place a piece without asking whether it fits."""
        item = Placed(piece, x, y, z, yaw, self.index, on, solid, essential)
        self.placed.append(item)
        if solid:
            self.solids.append(item.rect)
            self._block(self._blocked, item.rect)
        return item

    def state(self) -> tuple:
        """Everything that placing changes, for `restore`."""
        return list(self.placed), list(self.solids), list(self.access), list(self.hung), self._blocked.copy()

    def restore(self, state: tuple) -> None:
        """Undo what was placed since `state`."""
        self.placed, self.solids, self.access, self.hung, self._blocked = state

    def fits(self, *rects: Rect, ignore_access: bool = False) -> bool:
        """Whether footprints lie inside the room, clear of everything, with the ways still open."""
        array = np.array(rects)
        r = self.room.rect
        inside = (array[:, :2] >= (r.x0 - 1e-6, r.z0 - 1e-6)).all() and (
            array[:, 2:] <= (r.x1 + 1e-6, r.z1 + 1e-6)
        ).all()
        taken = self.solids + self.ways + ([] if ignore_access else self.access)
        return bool(inside) and not _hits(array, taken).any() and self.passable(*rects)

    def wall_spots(
        self,
        width: float,
        depth: float,
        height: float,
        *,
        front: float,
        gap: float,
        sides: Sequence[int] = (0, 1, 2, 3),
    ) -> Spots:
        """Every free place with the back to a wall, every 10 cm and in both corners."""
        r = self.room.rect
        columns: list[tuple[int, np.ndarray, float]] = []
        for side in sides:
            a, b = (r.x0, r.x1) if side % 2 == 0 else (r.z0, r.z1)
            low, high = a + width / 2 + gap, b - width / 2 - gap
            if high < low:
                continue
            steps = np.append(evenly(low, high, 0.1), high)
            columns += [(side, steps, gap), (side, steps, 0.13)] if self.windows else [(side, steps, gap)]
        if not columns:
            empty = np.zeros((0, 4))
            return Spots(np.zeros(0, int), np.zeros(0), np.zeros(0), np.zeros(0), empty, empty)
        side = np.concatenate([np.full(len(s), k) for k, s, _ in columns])
        along = np.concatenate([s for _, s, _ in columns])
        off = np.concatenate([np.full(len(s), g) for _, s, g in columns])
        flat = side % 2 == 0
        low, high = np.where(flat, r.x0, r.z0), np.where(flat, r.x1, r.z1)
        end = np.minimum(along - width / 2 - low, high - along - width / 2)
        wall = np.array([r.z0, r.x0, r.z1, r.x1])[side]
        inward = np.where(side < 2, 1.0, -1.0)
        near, far, clear = (
            wall + inward * off,
            wall + inward * (off + depth),
            wall + inward * (off + depth + front),
        )

        def around(p: np.ndarray, q: np.ndarray, half: float) -> np.ndarray:
            lo, hi = np.minimum(p, q), np.maximum(p, q)
            a, b = along - half, along + half
            return np.stack(
                [np.where(flat, a, lo), np.where(flat, lo, a), np.where(flat, b, hi), np.where(flat, hi, b)],
                axis=1,
            )

        rect, before = around(near, far, width / 2), around(far, clear, width / 2)
        middle = (near + far) / 2
        taken = self.solids + self.ways + self.access
        taken += [w.front(r, 0.3) for w in self.windows if height > w.low - 0.02]
        inside = (rect[:, 0] >= r.x0) & (rect[:, 1] >= r.z0) & (rect[:, 2] <= r.x1) & (rect[:, 3] <= r.z1)
        inside &= (before[:, 0] >= r.x0 - 0.01) & (before[:, 1] >= r.z0 - 0.01)
        inside &= (before[:, 2] <= r.x1 + 0.01) & (before[:, 3] <= r.z1 + 0.01)
        keep = inside & ~_hits(rect, taken) & ~_hits(before, self.solids)
        x, z = np.where(flat, along, middle), np.where(flat, middle, along)
        return Spots(side[keep], x[keep], z[keep], end[keep], rect[keep], before[keep])

    def against_wall(
        self,
        dice: Dice,
        piece: Piece,
        *,
        front: float = 0.5,
        gap: float = 0.03,
        like: Liking | None = None,
        sides: Sequence[int] = (0, 1, 2, 3),
        essential: bool = False,
        width: float = 0.0,
        front_taken: bool = False,
        height: float | None = None,
    ) -> Placed | None:
        """Place a piece with its back to a wall where it is liked best; None where it fits nowhere.

        Args:
            front: floor before it that later pieces leave clear, metres.
            gap: from the wall, metres.
            like: what makes a place good.
            sides: the walls that may be used.
            width: room it needs along the wall, where more than its own.
            front_taken: the floor before it will hold something too, such as the chair of a desk.
            height: how much of it may not stand before a window, metres; all of it by default.
        """
        wide = max(width, piece.width)
        spots = self.wall_spots(wide, piece.depth, height or piece.height, front=front, gap=gap, sides=sides)
        if not len(spots.x):
            return None
        score = 0.4 * dice.array(len(spots.x))
        if like is not None:
            score = score + like(spots)
        order = np.argsort(-score, kind="stable")
        for k in order[:24:3] if len(order) > 24 else order[:8]:
            taken = Rect(*spots.rect[k].tolist())
            if front_taken:
                b = Rect(*spots.front[k].tolist())
                taken = Rect(
                    min(taken.x0, b.x0), min(taken.z0, b.z0), max(taken.x1, b.x1), max(taken.z1, b.z1)
                )
            if self.passable(taken):
                self.access.append(Rect(*spots.front[k].tolist()))
                yaw = SIDE_YAW[int(spots.side[k])]
                return self.put(
                    piece, round(float(spots.x[k]), 4), round(float(spots.z[k]), 4), yaw, essential=essential
                )
        return None

    def standing_free(
        self, dice: Dice, width: float, depth: float, margin: float, like: Liking | None = None
    ) -> tuple[float, float] | None:
        """The best centre for a free-standing rectangle with a clear margin around it; None where there is none."""
        r = self.room.rect
        wide, deep = width / 2 + margin, depth / 2 + margin
        if r.width < 2 * wide or r.depth < 2 * deep:
            return None
        xs = evenly(r.x0 + wide, r.x1 - wide, 0.1)
        zs = evenly(r.z0 + deep, r.z1 - deep, 0.1)
        x, z = (a.ravel() for a in np.meshgrid(xs, zs, indexing="ij"))
        outer = np.stack([x - wide, z - deep, x + wide, z + deep], axis=1)
        inner = np.stack([x - width / 2, z - depth / 2, x + width / 2, z + depth / 2], axis=1)
        keep = ~_hits(outer, self.solids) & ~_hits(inner, self.ways + self.access)
        if not keep.any():
            return None
        spots = Spots(
            np.full(int(keep.sum()), -1),
            x[keep],
            z[keep],
            np.zeros(int(keep.sum())),
            inner[keep],
            outer[keep],
        )
        off = np.abs(spots.x - (r.x0 + r.x1) / 2) + np.abs(spots.z - (r.z0 + r.z1) / 2)
        score = (
            0.2 * dice.array(len(spots.x))
            - (off if like is None else 0.0)
            + (like(spots) if like is not None else 0.0)
        )
        for k in np.argsort(-score, kind="stable")[:12]:
            if self.passable(Rect(*spots.rect[k].tolist())):
                return round(float(spots.x[k]), 4), round(float(spots.z[k]), 4)
        return None


def local_point(item: Placed, x: float, z: float) -> tuple[float, float]:
    """World (x, z) of a point in the frame of a placed piece turned by quarter turns."""
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[item.yaw // 90 % 4]
    return item.x + c * x + s * z, item.z + c * z - s * x
