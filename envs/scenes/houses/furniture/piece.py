"""A piece of furniture in its own frame, and the parts that many pieces share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.shapes import Mesh, boxes, cylinder, join, moved, pitched, soft, tube


class Top(NamedTuple):
    """A level rectangle of a piece on which small things can stand, in the frame of the piece."""

    x0: float
    z0: float
    x1: float
    z1: float
    y: float
    """Height, metres."""
    headroom: float = 1.0
    """Free height above, metres."""


@dataclass(frozen=True, eq=False)
class Piece:
    """One object. Frame: x right, y up, front towards +z; the footprint's centre at x = z = 0, the floor at y = 0."""

    category: str
    """Lower case, such as ``sofa``."""
    mesh: Mesh
    """Closed parts, winding outwards."""
    tops: tuple[Top, ...] = ()
    """Where small things can stand."""

    @cached_property
    def _reach(self) -> list[float]:
        return np.concatenate(
            [np.abs(self.mesh.vertices).max(axis=0), self.mesh.vertices.max(axis=0)]
        ).tolist()

    @property
    def width(self) -> float:
        """Extent along x of the smallest footprint around the origin, metres."""
        return 2 * self._reach[0]

    @property
    def depth(self) -> float:
        """Extent along z of the smallest footprint around the origin, metres."""
        return 2 * self._reach[2]

    @property
    def height(self) -> float:
        """Top of the piece, metres."""
        return self._reach[4]


def corner_legs(w: float, d: float, h: float, thick: float, style: str, inset: float = 0.02) -> Mesh:
    """Four legs under a w x d top: ``square``, ``round``, ``tapered`` or ``splayed``."""
    x, z = w / 2 - inset - thick / 2, d / 2 - inset - thick / 2
    corners = [(-x, -z), (x, -z), (x, z), (-x, z)]
    if style == "square":
        return boxes(*((a, 0, b, thick, h, thick) for a, b in corners))
    if style == "round":
        return join(*(cylinder(a, 0, b, thick / 2, h, 8) for a, b in corners))
    if style == "tapered":
        return join(*(cylinder(a, 0, b, thick * 0.3, h, 8, thick * 0.55) for a, b in corners))
    return join(
        *(tube([(a, 0, b), (a * 0.86, h, b * 0.86)], (thick * 0.3, thick * 0.5), 8) for a, b in corners)
    )


LEG_STYLES = ("square", "round", "tapered", "splayed")
"""What `corner_legs` knows."""


def handle(x: float, y: float, z: float, style: str, length: float = 0.12, upright: bool = False) -> Mesh:
    """A handle on a front at depth z: ``knob``, ``bar`` or ``bow``."""
    half = length / 2
    if style == "knob":
        knob = pitched(cylinder(0, 0, 0, 0.008, 0.022, 6, 0.016), 90)
        return moved(knob, x, y, z)
    along = (lambda t: (x, y + t, 0.0)) if upright else (lambda t: (x + t, y, 0.0))
    if style == "bar":
        a, b = along(-half), along(half)
        size = (0.012, length, 0.012) if upright else (length, 0.012, 0.012)
        posts = [
            (p[0], p[1] - 0.004, z + 0.012, 0.008, 0.008, 0.024)
            for p in (along(-half * 0.7), along(half * 0.7))
        ]
        return boxes((x, min(a[1], b[1]) - (0.0 if upright else 0.006), z + 0.028, *size), *posts)
    line = [
        (t * half, depth)
        for t, depth in ((-1.0, -0.002), (-0.9, 0.022), (0.0, 0.03), (0.9, 0.022), (1.0, -0.002))
    ]
    return tube([(along(t)[0], along(t)[1], z + depth) for t, depth in line], 0.006, 5)


HANDLE_STYLES = ("knob", "bar", "bow")
"""What `handle` knows."""


def fronts(cells: Sequence[Sequence[float]], z: float, style: str, kind: str, framed: bool = False) -> Mesh:
    """Doors or drawers on the plane at depth z, with handles.

    Args:
        cells: (x, y, w, h) with x of the centre and y of the bottom.
        z: depth of the carcass' front.
        style: of the handles.
        kind: ``drawer``, ``left`` or ``right`` (where a door's handle is).
        framed: a raised frame around each panel.
    """
    gap, thick = 0.003, 0.018
    rows = [(x, y + gap, z + thick / 2, w - 2 * gap, h - 2 * gap, thick) for x, y, w, h in cells]
    if framed:
        bar, lift = 0.05, 0.008
        for x, y, w, h in cells:
            front = z + thick + lift / 2 - 0.001
            rows += [
                (x, y + gap, front, w - 2 * gap, bar, lift),
                (x, y + h - gap - bar, front, w - 2 * gap, bar, lift),
                (x - w / 2 + gap + bar / 2, y + gap + bar, front, bar, h - 2 * gap - 2 * bar, lift),
                (x + w / 2 - gap - bar / 2, y + gap + bar, front, bar, h - 2 * gap - 2 * bar, lift),
            ]
    parts = [boxes(*rows)]
    face = z + thick + (0.007 if framed else 0.0)
    for x, y, w, h in cells:
        if kind == "drawer":
            parts.append(handle(x, y + h * 0.62, face, style, min(0.16, w * 0.4)))
        else:
            side = (w / 2 - 0.045) * (1 if kind == "right" else -1)
            at = y + h * 0.5 if h > 1.0 else (y + h - 0.14 if y < 1.0 else y + 0.12)
            parts.append(handle(x + side, at, face, style, 0.14, upright=True))
    return join(*parts)


def padded(dice: Dice, x: float, y: float, z: float, w: float, h: float, d: float) -> Mesh:
    """An upholstered block with generously rounded edges."""
    return soft(x, y, z, w, h, d, dice.uniform(0.25, 0.45) * min(w, h, d), 2)
