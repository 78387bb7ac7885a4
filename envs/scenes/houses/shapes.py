"""Closed meshes to build furniture from: boxes, rounded boxes, lofts, lathes, tubes, strips.

All are solids whose triangles wind counter-clockwise seen from outside. Local frame: metres, x to the right, y up, z
towards the viewer (the front). Every result is made of sums, products and square roots, which all processors round
alike; angles come from tables rounded to 12 digits, because sine and cosine differ from one C library to the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Mesh(NamedTuple):
    """Triangles in a local frame."""

    vertices: np.ndarray
    """(N, 3) float64 metres."""
    triangles: np.ndarray
    """(M, 3) int32."""


def join(*meshes: Mesh) -> Mesh:
    """All meshes as one."""
    if len(meshes) == 1:
        return meshes[0]
    triangles = []
    count = 0
    for mesh in meshes:
        triangles.append(mesh.triangles + count)
        count += len(mesh.vertices)
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(triangles))


@lru_cache(maxsize=512)
def direction(degrees: float) -> tuple[float, float]:
    """Cosine and sine of an angle, rounded to 12 digits."""
    angle = math.radians(degrees)
    return round(math.cos(angle), 12) + 0.0, round(math.sin(angle), 12) + 0.0


def moved(mesh: Mesh, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Mesh:
    """The mesh moved."""
    return Mesh(mesh.vertices + np.array([x, y, z]), mesh.triangles)


def _rotated(mesh: Mesh, a: int, b: int, c: float, s: float) -> Mesh:
    """Turned from axis ``a`` towards axis ``b`` by the angle of cosine c and sine s."""
    vertices = mesh.vertices.copy()
    first, second = mesh.vertices[:, a], mesh.vertices[:, b]
    vertices[:, a] = c * first - s * second
    vertices[:, b] = s * first + c * second
    return Mesh(vertices, mesh.triangles)


def yawed(mesh: Mesh, degrees: float) -> Mesh:
    """Turned about y, counter-clockwise seen from above."""
    if degrees % 360 == 0:
        return mesh
    c, s = direction(degrees % 360)
    return _rotated(mesh, 2, 0, c, s)


def pitched(mesh: Mesh, degrees: float) -> Mesh:
    """Turned about x: the top comes to the front (+z) for positive angles."""
    c, s = direction(degrees % 360)
    return _rotated(mesh, 1, 2, c, s)


def rolled(mesh: Mesh, degrees: float) -> Mesh:
    """Turned about z, counter-clockwise seen from the front."""
    c, s = direction(degrees % 360)
    return _rotated(mesh, 0, 1, c, s)


def mirrored(mesh: Mesh) -> Mesh:
    """Left and right exchanged."""
    return Mesh(mesh.vertices * np.array([-1.0, 1.0, 1.0]), np.ascontiguousarray(mesh.triangles[:, ::-1]))


_BOX_BOTTOM = np.array([[-0.5, 0, -0.5], [0.5, 0, -0.5], [0.5, 0, 0.5], [-0.5, 0, 0.5]])
_BOX_CORNERS = np.concatenate([_BOX_BOTTOM, _BOX_BOTTOM + np.array([0, 1, 0])])
_BOX_TRIANGLES = np.array(
    [
        *([0, 1, 2], [0, 2, 3], [4, 6, 5], [4, 7, 6], [0, 4, 1], [1, 4, 5]),
        *([1, 5, 2], [2, 5, 6], [2, 6, 3], [3, 6, 7], [3, 7, 0], [0, 7, 4]),
    ],
    dtype=np.int32,
)


@lru_cache(maxsize=256)
def _box_triangles(count: int) -> np.ndarray:
    return (_BOX_TRIANGLES + 8 * np.arange(count, dtype=np.int32)[:, None, None]).reshape(-1, 3)


def boxes(*rows: Sequence[float]) -> Mesh:
    """Boxes given as (x, y, z, width, height, depth): x and z of the centre, y of the bottom."""
    row = np.array(rows, dtype=np.float64)
    vertices = row[:, None, :3] + _BOX_CORNERS * row[:, None, 3:]
    return Mesh(vertices.reshape(-1, 3), _box_triangles(len(rows)))  # (K, 8, 3) -> (8 K, 3)


@lru_cache(maxsize=8)
def _rounded_template(steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions (N, 3), corner signs (N, 3) and triangles of a cube with ``steps`` segments an eighth of a circle."""
    ticks = np.array(
        [
            direction(90.0 * i / (2 * steps))[1] / direction(90.0 * i / (2 * steps))[0]
            for i in range(steps + 1)
        ]
    )
    half = np.concatenate([-ticks[::-1], ticks])  # the middle is doubled: one for either corner
    sign = np.concatenate([-np.ones(steps + 1), np.ones(steps + 1)])
    n = len(half)
    u, v = np.meshgrid(half, half, indexing="ij")
    su, sv = np.meshgrid(sign, sign, indexing="ij")
    one = np.ones_like(u)
    points, signs, triangles = [], [], []
    cell = np.arange(n * n, dtype=np.int32).reshape(n, n)
    a, b, c, d = cell[:-1, :-1].ravel(), cell[1:, :-1].ravel(), cell[1:, 1:].ravel(), cell[:-1, 1:].ravel()
    face = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    for axis in range(3):
        for side in (1.0, -1.0):
            order = [0, 0, 0]
            order[axis], order[(axis + 1) % 3], order[(axis + 2) % 3] = 0, 1, 2
            point = np.stack([side * one, u, v], axis=-1)[..., order]
            corner = np.stack([side * one, su, sv], axis=-1)[..., order]
            triangles.append((face if side > 0 else face[:, ::-1]) + len(points) * n * n)
            points.append(point.reshape(-1, 3))
            signs.append(corner.reshape(-1, 3))
    vectors = np.concatenate(points)
    vectors = vectors / np.sqrt(vectors[:, :1] ** 2 + vectors[:, 1:2] ** 2 + vectors[:, 2:] ** 2)
    return vectors, np.concatenate(signs), np.concatenate(triangles).astype(np.int32)


def soft(
    x: float,
    y: float,
    z: float,
    w: float,
    h: float,
    d: float,
    radius: float | Sequence[float],
    steps: int = 1,
) -> Mesh:
    """A box with rounded edges, placed like a row of `boxes`.

    Args:
        x, y, z: centre in x and z, bottom in y.
        w, h, d: outer size.
        radius: of the edges, one number or one an axis; shortened where the box is too small for it.
        steps: segments an eighth of a circle; 1 is a bevel, 2 round.
    """
    vectors, signs, triangles = _rounded_template(steps)
    half = np.array([w / 2, h / 2, d / 2])
    edge = np.minimum(np.broadcast_to(np.asarray(radius, dtype=np.float64), (3,)), half)
    vertices = signs * (half - edge) + vectors * edge + np.array([x, y + h / 2, z])
    return Mesh(vertices, triangles)


@lru_cache(maxsize=1024)
def _loft_triangles(rings: int, n: int, closed: bool) -> np.ndarray:
    start = (np.arange(rings if closed else rings - 1, dtype=np.int32) * n)[:, None]
    i = np.arange(n, dtype=np.int32)[None]
    j = (i + 1) % n
    up = (start + n) % (rings * n)
    a, b, c, d = start + i, start + j, up + j, up + i
    sides = np.concatenate([np.stack([a, b, c], axis=-1), np.stack([a, c, d], axis=-1)]).reshape(-1, 3)
    if closed:
        return sides
    bottom, top, last = rings * n, rings * n + 1, (rings - 1) * n
    i, j = i[0], j[0]
    caps = [
        np.stack([np.full(n, bottom), j, i], axis=1),
        np.stack([np.full(n, top), last + i, last + j], axis=1),
    ]
    return np.concatenate([sides, *caps]).astype(np.int32)


def loft(rings: np.ndarray, *, closed: bool = False) -> Mesh:
    """The skin over rings (K, n, 3), which run counter-clockwise seen from where they lead to.

    The first and the last ring are capped by fans about their middle, or joined with each other where ``closed``.
    """
    k, n, _ = rings.shape
    vertices = rings.reshape(-1, 3)  # (K, n, 3) -> (K n, 3)
    if not closed:
        vertices = np.concatenate(
            [vertices, (rings[:1, 0] + rings[:1, n // 2]) / 2, (rings[-1:, 0] + rings[-1:, n // 2]) / 2]
        )
    return Mesh(vertices, _loft_triangles(k, n, closed))


@lru_cache(maxsize=64)
def circle(n: int) -> np.ndarray:
    """(n, 2) points (x, z) of the unit circle, counter-clockwise seen from above, from +x on."""
    return np.array([[direction(360.0 * i / n)[0], -direction(360.0 * i / n)[1]] for i in range(n)])


@lru_cache(maxsize=64)
def _square(n: int) -> np.ndarray:
    """(n, 2) points of the square of half side 1, counter-clockwise from above; n a multiple of 8, corners kept."""
    t = np.arange(n) * (8.0 / n)
    z = np.select([t <= 1, t <= 3, t <= 5, t <= 7], [-t, -np.ones(n), t - 4, np.ones(n)], t - 8 + 0.0)
    z = np.where(t > 7, 8 - t, z)
    x = np.select([t <= 1, t <= 3, t <= 5, t <= 7], [np.ones(n), 2 - t, -np.ones(n), t - 6], np.ones(n))
    return np.stack([x, z], axis=1)


def rectangle_ring(
    w: float, d: float, radius: float, y: float, n: int = 16, x: float = 0.0, z: float = 0.0
) -> np.ndarray:
    """A level ring (n, 3) around a rectangle with rounded corners, for lofts; n a multiple of 8."""
    half = np.array([w / 2, d / 2])
    radius = min(radius, float(half.min()))
    square, round_ = _square(n), circle(n)
    # a blend of square and circle keeps the corners of rings of different radius in line
    corner = np.clip(square * half, -(half - radius), half - radius)
    points = corner + radius * round_ if radius > 0 else square * half
    return np.stack([points[:, 0] + x, np.full(n, y), points[:, 1] + z], axis=1)


def lathe(
    profile: Sequence[Sequence[float]],
    n: int = 12,
    x: float = 0.0,
    y: float = 0.0,
    z: float = 0.0,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> Mesh:
    """A turned solid about the vertical through (x, z).

    Args:
        profile: (radius, height) pairs; upwards on the outside. A cup goes up outside, then down inside.
        n: corners of the circle.
        x, y, z: where height 0 of the axis lies.
        stretch: of the circle along x and z.
    """
    line = np.array(profile, dtype=np.float64)
    unit = circle(n)
    rings = np.empty((len(line), n, 3))
    rings[..., 0] = line[:, :1] * unit[:, 0] * stretch[0] + x
    rings[..., 1] = line[:, 1:] + y
    rings[..., 2] = line[:, :1] * unit[:, 1] * stretch[1] + z
    return loft(rings)


def cylinder(
    x: float, y: float, z: float, radius: float, height: float, n: int = 12, top: float | None = None
) -> Mesh:
    """An upright cylinder (a cone where ``top`` is another radius) standing at (x, y, z)."""
    return lathe([(radius, 0.0), (radius if top is None else top, height)], n, x, y, z)


def tube(points: Sequence[Sequence[float]], radius: float | Sequence[float], n: int = 6) -> Mesh:
    """A round bar along a line of points (K, 3); the radius may differ at each point."""
    line = [tuple(float(v) for v in point) for point in points]
    steps = [_unit(q[0] - p[0], q[1] - p[1], q[2] - p[2]) for p, q in pairwise(line)]
    tangents = [
        steps[0],
        *(_unit(p[0] + q[0], p[1] + q[1], p[2] + q[2]) for p, q in pairwise(steps)),
        steps[-1],
    ]
    side = (1.0, 0.0, 0.0) if abs(steps[0][0]) < 0.9 else (0.0, 0.0, 1.0)
    frames = []
    for t in tangents:  # carried along without twisting: the part along the new direction is taken out
        along = side[0] * t[0] + side[1] * t[1] + side[2] * t[2]
        side = _unit(side[0] - t[0] * along, side[1] - t[1] * along, side[2] - t[2] * along)
        other = (
            t[1] * side[2] - t[2] * side[1],
            t[2] * side[0] - t[0] * side[2],
            t[0] * side[1] - t[1] * side[0],
        )
        frames.append((side, other))
    frame = np.array(frames)  # (K, 2, 3)
    width = (
        np.full((len(line), 1, 1), radius) if isinstance(radius, float) else np.array(radius)[:, None, None]
    )
    unit = circle(n)
    return loft(
        np.array(line)[:, None]
        + width * (unit[None, :, :1] * frame[:, :1] - unit[None, :, 1:] * frame[:, 1:])
    )


def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


def extrude(profile: Sequence[Sequence[float]], z0: float, z1: float) -> Mesh:
    """A profile (N, 2) of (x, y), counter-clockwise seen from the front and star-shaped about the middle of its first
    and its opposite point, drawn from z0 to z1."""
    line = np.array(profile, dtype=np.float64)
    rings = np.empty((2, len(line), 3))
    rings[..., :2] = line
    rings[0, :, 2], rings[1, :, 2] = z0, z1
    return loft(rings)


@lru_cache(maxsize=64)
def _strip_triangles(m: int, n: int) -> np.ndarray:
    front = np.arange(m * n, dtype=np.int32).reshape(m, n)
    back = front + m * n

    def quads(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
        a, b, c, d = a.ravel(), b.ravel(), c.ravel(), d.ravel()
        return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])

    return np.concatenate(
        [
            quads(front[:-1, :-1], front[1:, :-1], front[1:, 1:], front[:-1, 1:]),
            quads(back[:-1, :-1], back[:-1, 1:], back[1:, 1:], back[1:, :-1]),
            quads(front[:-1, 0], back[:-1, 0], back[1:, 0], front[1:, 0]),
            quads(front[1:, -1], back[1:, -1], back[:-1, -1], front[:-1, -1]),
            quads(front[0, 1:], back[0, 1:], back[0, :-1], front[0, :-1]),
            quads(front[-1, :-1], back[-1, :-1], back[-1, 1:], front[-1, 1:]),
        ]
    )


def strip(front: np.ndarray, back: np.ndarray) -> Mesh:
    """A sheet with thickness: two grids (m, n, 3) with the first axis to the right and the second up, seen from the
    front, and the edges between them."""
    m, n, _ = front.shape
    return Mesh(np.concatenate([front.reshape(-1, 3), back.reshape(-1, 3)]), _strip_triangles(m, n))


def volume(mesh: Mesh) -> float:
    """Signed volume in cubic metres; positive for a closed mesh that winds outwards."""
    a, b, c = (mesh.vertices[mesh.triangles[:, i]] for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)
