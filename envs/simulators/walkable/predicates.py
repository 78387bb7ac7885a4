"""Exact tests on points of the integer grid: which side of a line, do segments cross, is a diagonal inside.

After Joseph O'Rourke, "Computational Geometry in C" (1994), with the orientation that Recast uses (x right, z
down): an area below zero is a left turn.
"""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def turn(ax, az, bx, bz, cx, cz):
    """Twice the signed area of the triangle abc: below zero where c lies left of ab, 0 where on the line."""
    return (bx - ax) * (cz - az) - (cx - ax) * (bz - az)


@njit(cache=True, nogil=True)
def _between(ax, az, bx, bz, cx, cz):
    """Whether c lies on the closed segment ab."""
    if turn(ax, az, bx, bz, cx, cz) != 0:
        return False
    if ax != bx:
        return min(ax, bx) <= cx <= max(ax, bx)
    return min(az, bz) <= cz <= max(az, bz)


@njit(cache=True, nogil=True)
def segments_cross(ax, az, bx, bz, cx, cz, dx, dz):
    """Whether the segments ab and cd cross at a point inside both."""
    abc = turn(ax, az, bx, bz, cx, cz)
    abd = turn(ax, az, bx, bz, dx, dz)
    if abc == 0 or abd == 0 or (abc < 0) == (abd < 0):
        return False
    cda = turn(cx, cz, dx, dz, ax, az)
    cdb = turn(cx, cz, dx, dz, bx, bz)
    return cda != 0 and cdb != 0 and (cda < 0) != (cdb < 0)


@njit(cache=True, nogil=True)
def segments_meet(ax, az, bx, bz, cx, cz, dx, dz):
    """Whether the segments ab and cd cross, or an end of one lies on the other."""
    return (
        segments_cross(ax, az, bx, bz, cx, cz, dx, dz)
        or _between(ax, az, bx, bz, cx, cz)
        or _between(ax, az, bx, bz, dx, dz)
        or _between(cx, cz, dx, dz, ax, az)
        or _between(cx, cz, dx, dz, bx, bz)
    )


@njit(cache=True, nogil=True)
def in_cone(px, pz, x, z, nx, nz, tx, tz, slack):
    """Whether the way from corner (x, z), between its neighbours p and n, to t starts inside the polygon.

    With a ``slack`` of 1, not 0, a way along one of the corner's own edges counts as inside.
    """
    if turn(px, pz, x, z, nx, nz) <= 0:
        return turn(x, z, tx, tz, px, pz) < slack and turn(tx, tz, x, z, nx, nz) < slack
    return not (turn(x, z, tx, tz, nx, nz) <= 0 and turn(tx, tz, x, z, px, pz) <= 0)
