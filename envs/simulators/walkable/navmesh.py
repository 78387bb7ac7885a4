"""The walkable surface as data: convex polygons, which edges they share, and triangles for the heights.

The layout is Recast's (and so Detour's): what `build_navmesh` makes and what a Habitat ``.navmesh`` file
holds are the same thing, and everything that asks questions of a surface takes either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.embodiment import NavmeshSettings

MAX_CORNERS = 6
"""Most corners of a polygon: Detour's ``DT_VERTS_PER_POLYGON``."""
BORDER = -1
"""Neighbour of an edge that has none, and padding of unused corners."""


@dataclass(frozen=True, eq=False)
class Navmesh:
    """Polygons to walk on, in Habitat's world frame (metres, y up).

    V vertices, P polygons, D detail vertices, T detail triangles.
    """

    vertices: np.ndarray
    """(V, 3) float32 corners of the polygons; x and z lie on the grid of cells, y on that of cell heights."""
    polygons: np.ndarray
    """(P, `MAX_CORNERS`) int32 vertices in Detour's winding, padded with -1; convex seen from above."""
    neighbours: np.ndarray
    """(P, `MAX_CORNERS`) int32 polygon across edge k (from corner k to k + 1), `BORDER` where none."""
    detail_vertices: np.ndarray
    """(D, 3) float32: for each polygon its corners in order, as in `vertices`, then its height samples."""
    detail_triangles: np.ndarray
    """(T, 3) int32 indices into `detail_vertices`, the triangles of each polygon together."""
    detail_offsets: np.ndarray
    """(P + 1,) int32: polygon p has ``detail_triangles[detail_offsets[p]:detail_offsets[p + 1]]``."""
    settings: NavmeshSettings
    """What the surface was made for."""
    bounds: np.ndarray | None = None
    """(2, 3) float32 lowest and highest corner of what it was built from: Habitat's ``get_bounds`` and the
    extent of its top-down maps; None where unknown, then the vertices' own extent serves.
    """

    @property
    def corner_counts(self) -> np.ndarray:
        """(P,) int32: corners of each polygon."""
        return (self.polygons >= 0).sum(axis=1, dtype=np.int32)

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays hold."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))
