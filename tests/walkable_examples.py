"""Hand-made navmeshes for tests: polygons given by their corners, linked where they share edges; points on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.embodiment import NavmeshSettings
from envs.simulators.walkable.navmesh import BORDER, MAX_CORNERS, Navmesh


def navmesh_of(outlines: Sequence[Sequence[tuple[float, ...]]]) -> Navmesh:
    """A navmesh of convex outlines of (x, z) or (x, y, z) corners; y = 0 where not given."""
    vertices: dict[tuple[float, float, float], int] = {}
    polygons = np.full((len(outlines), MAX_CORNERS), -1, np.int32)
    neighbours = np.full((len(outlines), MAX_CORNERS), BORDER, np.int32)
    edges: dict[tuple[int, int], tuple[int, int]] = {}
    detail_vertices, detail_triangles, offsets = [], [], [0]
    for p, outline in enumerate(outlines):
        corners = [(c[0], 0.0, c[1]) if len(c) == 2 else tuple(c) for c in outline]
        x, z = np.array(corners)[:, 0], np.array(corners)[:, 2]
        if x @ np.roll(z, -1) - z @ np.roll(x, -1) > 0:  # Detour's polygons go round from z to x
            corners.reverse()
        indices = [vertices.setdefault(corner, len(vertices)) for corner in corners]
        polygons[p, : len(indices)] = indices
        for k, a in enumerate(indices):
            edges[a, indices[(k + 1) % len(indices)]] = (p, k)
        base = len(detail_vertices)
        detail_vertices += corners
        detail_triangles += [(base, base + k, base + k + 1) for k in range(1, len(corners) - 1)]
        offsets.append(len(detail_triangles))
    for (a, b), (p, k) in edges.items():
        if (b, a) in edges:
            neighbours[p, k] = edges[b, a][0]
    return Navmesh(
        vertices=np.array(list(vertices), np.float32),
        polygons=polygons,
        neighbours=neighbours,
        detail_vertices=np.array(detail_vertices, np.float32),
        detail_triangles=np.array(detail_triangles, np.int32),
        detail_offsets=np.array(offsets, np.int32),
        settings=NavmeshSettings(),
    )


def points(*rows: tuple[float, float, float]) -> np.ndarray:
    """(N, 3) points of the world."""
    return np.array(rows, np.float64).reshape(-1, 3)


def rectangle(x0: float, z0: float, x1: float, z1: float) -> list[tuple[float, float]]:
    """Corners of a rectangle."""
    return [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]


def square() -> Navmesh:
    """One polygon of 10 m x 10 m."""
    return navmesh_of([rectangle(0, 0, 10, 10)])


def l_shape() -> Navmesh:
    """Two arms, 2 m wide and 6 m long, that meet at the origin; paths from arm to arm turn at (2, 0, 2)."""
    return navmesh_of([rectangle(0, 0, 2, 2), rectangle(2, 0, 6, 2), rectangle(0, 2, 2, 6)])


def two_islands() -> Navmesh:
    """A floor of 4 m x 4 m and one of 2 m x 4 m that touches it at x = 4 behind a thin wall."""
    near, far = rectangle(0, 0, 4, 4), rectangle(4, 0, 6, 4)
    navmesh = navmesh_of([near, far])
    object.__setattr__(navmesh, "neighbours", np.full_like(navmesh.neighbours, BORDER))
    return navmesh


def cells(free: np.ndarray) -> Navmesh:
    """One polygon for each True cell (rows along z, columns along x) of 1 m x 1 m."""
    return navmesh_of([rectangle(c, r, c + 1, r + 1) for r, c in np.argwhere(free).tolist()])
