"""The contract's lines about the surface: points, steps, distances, paths, islands.

Detour searches corridors of polygons and then pulls them tight, so its distances (Habitat's) may be a little
longer than the shortest and differ a little between the two directions; the bars leave room for that and for
nothing more.
"""

from __future__ import annotations

import numpy as np

from envs.simulators.contract import Line, Probe, host, require

_HIGH = np.array([0.0, 100.0, 0.0])
_CLOSE = 1e-3
"""Metres: the same point."""
_ON_TRACK = 0.02
"""Metres: how far a walk may stray from its straight line or from free going."""
_SAME_LENGTH = 0.01
"""Metres: the same path measured twice."""
_DETOUR = (0.25, 0.10)
"""Metres or share, whichever is more, by which a distance may miss the shortest."""
_MOST = 0.95
"""Share of whatever is tried that must be right, where Detour itself is not always."""
_BOTH_WAYS = 0.90
"""Share of the distances that must be the same there and back, within `_DETOUR`."""


def _snap(probe: Probe) -> str:
    surface, points = probe.simulator.surface, probe.points
    near = points + probe.rng(2).uniform(-0.3, 0.3, points.shape)
    snapped = host(surface.snap_point(near))
    require(snapped.shape == near.shape, f"snap_point must answer (B, 3), found {snapped.shape}")
    require(
        np.isfinite(snapped).all(),
        "snap_point finds nothing within half a metre of points on the surface; Habitat looks 2 m around, 4"
        " m up and down",
    )
    require(
        host(surface.is_navigable(snapped)).all(),
        "a snapped point is not navigable; snap onto the surface itself",
    )
    moved = float(np.abs(host(surface.snap_point(snapped)) - snapped).max())
    require(
        moved <= _CLOSE,
        f"snapping twice moves a point by {moved:.3g} m; the first answer must stay",
        f"{moved:.1e} m",
    )
    far = host(surface.snap_point(np.array([[1e4, 0.0, 1e4]])))
    require(
        np.isnan(far).all(),
        f"a point 10 km away snaps to {far[0].tolist()}; answer NaN where there is no surface",
    )
    return f"{moved:.1e} m"


def _navigable(probe: Probe) -> str:
    surface, points = probe.simulator.surface, probe.points
    on = host(surface.is_navigable(points))
    require(on.shape == (len(points),) and on.dtype == np.bool_, "is_navigable must answer (B,) bool")
    require(
        on.all(), f"only {on.mean():.0%} of the surface's own random points are navigable", f"{on.mean():.0%}"
    )
    require(
        not host(surface.is_navigable(points + _HIGH)).any(),
        "points 100 m above the surface are navigable; max_y_delta bounds the height",
    )
    outside = host(surface.bounds)[1] + 5.0
    require(
        not host(surface.is_navigable(outside[None])).any(), "a point 5 m outside the bounds is navigable"
    )
    return f"{on.mean():.0%}"


def _random(probe: Probe) -> str:
    surface = probe.simulator.surface
    before = repr(np.random.get_state()[1:3])  # noqa: NPY002 - only looked at
    draws = [
        [host(surface.random_navigable_point(rng)) for _ in range(5)] for rng in (probe.rng(3), probe.rng(3))
    ]
    require(
        before == repr(np.random.get_state()[1:3]),  # noqa: NPY002
        "random_navigable_point drew from NumPy's global generator; use the one that is given",
    )
    require(
        np.array_equal(draws[0], draws[1]),
        "the same generator state draws different points; use nothing but the given rng (no own seed, no"
        " clock)",
    )
    require(
        len(np.unique(np.round(draws[0], 6), axis=0)) > 1,
        "random_navigable_point always draws the same point",
    )
    island = int(host(surface.island(probe.points[:1]))[0])
    rng = probe.rng(4)
    drawn = np.array([host(surface.random_navigable_point(rng, island=island)) for _ in range(20)])
    require(
        (host(surface.island(drawn)) == island).all(),
        f"random_navigable_point(island={island}) draws points of other islands",
    )
    return "rng only"


def _islands(probe: Probe) -> str:
    surface, points = probe.simulator.surface, probe.points
    areas = host(surface.island_areas)
    island = host(surface.island(points))
    require(
        (areas > 0).all() and (np.diff(areas) <= 1e-6).all(),
        "island_areas must be above 0 m2 and sorted, largest first",
    )
    require(
        ((island >= 0) & (island < len(areas))).all(),
        f"islands of navigable points must lie in 0..{len(areas) - 1}, found {island.min()}..{island.max()}",
    )
    away = points[:1] + _HIGH
    require(host(surface.island(away))[0] == -1, "the island of a point off the surface must be -1")
    require(
        (host(surface.island_radius(points)) > 0).all(), "island_radius of a navigable point must be above 0"
    )
    require(host(surface.island_radius(away))[0] == 0, "island_radius of a point off the surface must be 0")
    return f"{len(areas)} islands"


def _distances(probe: Probe) -> str:
    surface, points = probe.simulator.surface, probe.points
    starts, goals = points, np.roll(points, 1, axis=0)
    island = host(surface.island(points))
    there = np.array(
        [host(surface.geodesic_distance(s[None], g[None]))[0] for s, g in zip(starts, goals, strict=True)]
    )
    back = np.array(
        [host(surface.geodesic_distance(g[None], s[None]))[0] for s, g in zip(starts, goals, strict=True)]
    )
    require(not np.isnan(there).any(), "geodesic_distance answers NaN; unreachable is inf")
    reachable = island == np.roll(island, 1)
    require(
        np.array_equal(np.isfinite(there), reachable),
        "geodesic_distance must be finite within an island and inf between islands",
    )
    straight = np.linalg.norm(starts - goals, axis=1)
    require(
        (there >= straight - _CLOSE - 1e-5 * straight).all(),
        "a geodesic distance is shorter than the straight line",
    )
    own = np.array([host(surface.geodesic_distance(p[None], p[None]))[0] for p in points[:10]])
    require(
        (own <= _CLOSE).all(), f"the distance from a point to itself is {own.max():.3g} m; 0 was expected"
    )
    unreachable = host(surface.geodesic_distance(points[:2], np.array([[1e4, 0.0, 1e4]])))
    require(np.isinf(unreachable).all(), "the distance to a goal off the surface must be inf")
    if not reachable.any():
        return "no pairs"
    share = _agreeing(there[reachable], back[reachable])
    require(
        share >= _BOTH_WAYS,
        f"only {share:.0%} of distances are the same in both directions within {_DETOUR[0]} m or"
        f" {_DETOUR[1]:.0%}",
        f"{share:.1%}",
    )
    return f"{share:.1%}"


def _goals(probe: Probe) -> str:
    surface, points = probe.simulator.surface, probe.points
    starts, goals = points[:20], points[20:24]
    field = surface.distance_field(goals)
    nearest = host(field.distance(starts))
    single = np.stack([host(surface.geodesic_distance(starts, goal[None])) for goal in goals]).min(axis=0)
    require(
        np.array_equal(np.isfinite(nearest), np.isfinite(single)),
        "a distance field says unreachable where one of its goals is reachable, or the other way round",
    )
    finite = np.isfinite(single)
    if not finite.any():
        return "no pairs"
    share = _agreeing(nearest[finite], single[finite])
    require(
        share >= _MOST,
        f"only {share:.0%} of a field's distances to several goals are those to the nearest of them",
        f"{share:.1%}",
    )
    together = host(surface.geodesic_distance(starts, goals))
    require(
        np.allclose(together[finite], nearest[finite], atol=_SAME_LENGTH, rtol=1e-3),
        "geodesic_distance and distance_field(goals).distance disagree about the same goals",
    )
    return f"{share:.1%}"


def _paths(probe: Probe) -> str:
    surface, points = probe.simulator.surface, probe.points
    worst = 0.0
    for start, goals in zip(points[:20], points[20:80].reshape(20, 3, 3), strict=True):
        path = surface.shortest_path(start, goals)
        corners = host(path.points)
        distance = float(host(surface.geodesic_distance(start[None], goals))[0])
        if not np.isfinite(distance):
            require(
                np.isinf(path.length) and path.goal_index == -1 and corners.shape == (0, 3),
                "an unreachable goal must give Path(points (0, 3), length inf, goal_index -1)",
            )
            continue
        require(
            0 <= path.goal_index < len(goals),
            f"goal_index {path.goal_index} is not one of {len(goals)} goals",
        )
        measured = float(np.linalg.norm(np.diff(corners, axis=0), axis=1).sum())
        error = max(abs(path.length - measured), abs(path.length - distance))
        worst = max(worst, error)
        require(
            error <= _SAME_LENGTH + 1e-3 * distance,
            f"a path says {path.length:.3f} m, its segments sum to {measured:.3f} m, and geodesic_distance"
            " says"
            f" {distance:.3f} m; they must be the same",
            f"{error:.3f} m",
        )
        ends = np.abs(
            corners[[0, -1]] - host(surface.snap_point(np.stack([start, goals[path.goal_index]])))
        ).max()
        require(ends <= 0.05, f"a path begins or ends {ends:.2f} m beside its start or goal", f"{ends:.2f} m")
    return f"{worst:.1e} m"


def _steps(probe: Probe) -> str:
    surface, start = probe.simulator.surface, probe.points
    angle = probe.rng(5).uniform(0, 2 * np.pi, len(start))
    step = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], axis=1)
    length = probe.simulator.agent.forward_step
    reached = 0.0
    for scale in (length, 4 * length):
        target = start + scale * step
        slid = host(surface.try_step(start, target, sliding=True)).astype(np.float64)
        stopped = host(surface.try_step(start, target, sliding=False)).astype(np.float64)
        for name, end in (("with sliding", slid), ("without sliding", stopped)):
            require(end.shape == start.shape, f"try_step {name} must answer (B, 3), found {end.shape}")
            require(np.isfinite(end).all(), f"try_step {name} answers values that are not finite")
            on = host(surface.is_navigable(end))
            require(
                on.all(),
                f"{np.mean(~on):.0%} of steps {name} end off the surface; hold them back at its border",
                f"{on.mean():.0%}",
            )
            farther = (_flat(end - target) - _flat(start - target)).max()
            require(
                farther <= _ON_TRACK,
                f"a step {name} ends {farther:.2f} m farther from its target than it began",
            )
        straight = float(np.mean(_beside(stopped, start, target) <= _ON_TRACK))
        require(
            straight >= _MOST,  # on long walks Detour now and then rounds a corner, even without sliding
            f"only {straight:.0%} of steps without sliding end on their line; they must stop where they meet"
            " the border",
            f"{straight:.0%}",
        )
        nearer = (_flat(stopped - target) - _flat(slid - target)).min()
        require(
            nearer >= -_ON_TRACK,
            f"a step without sliding comes {-nearer:.2f} m nearer to its target than with sliding",
        )
        alone = np.concatenate(
            [host(surface.try_step(s[None], t[None])) for s, t in zip(start[:9], target[:9], strict=True)]
        )
        require(np.allclose(alone, slid[:9], atol=1e-6), "steps taken in a batch end elsewhere than alone")
        reached = float(np.mean(_flat(slid - target) <= _ON_TRACK))
    still = _flat(host(surface.try_step(start, start)) - start).max()
    require(still <= _CLOSE, f"a step to where the agent stands moves it by {still:.3g} m")
    return f"{reached:.0%} free"


def _clearance(probe: Probe) -> str:
    surface, points = probe.simulator.surface, probe.points
    clearance = host(surface.distance_to_closest_obstacle(points, 2.0)).astype(np.float64)
    require(
        ((clearance >= 0) & (clearance <= 2.0)).all(),
        "distance_to_closest_obstacle must lie in 0..max_radius, found"
        f" {clearance.min():g}..{clearance.max():g}",
    )
    capped = host(surface.distance_to_closest_obstacle(points, 0.3)).astype(np.float64)
    require(
        np.allclose(capped, clearance.clip(0, 0.3), atol=_CLOSE),
        "distance_to_closest_obstacle(max_radius=0.3) must be the same distance, but 0.3 m at most",
    )
    off = host(surface.distance_to_closest_obstacle(points[:1] + _HIGH, 2.0))
    require(off[0] == 0, "distance_to_closest_obstacle must be 0 where not navigable")
    angle = probe.rng(6).uniform(0, 2 * np.pi, len(points))
    way = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], axis=1)
    target = points + 0.9 * clearance[:, None] * way
    short = _flat(host(surface.try_step(points, target, sliding=False)) - target)
    share = float(np.mean(short <= 0.05))
    require(
        share >= _MOST,
        f"only {share:.0%} of walks of 90 % of the clearance are free; distance_to_closest_obstacle promises"
        " too much",
        f"{share:.0%}",
    )
    return f"{share:.0%} free"


def _topdown(probe: Probe) -> str:
    surface, points = probe.simulator.surface, probe.points
    cell, height = 0.05, float(points[0, 1])
    plan = host(surface.topdown_map(height, cell))
    low, high = host(surface.bounds)
    expected = (high - low)[[2, 0]] / cell
    require(
        plan.ndim == 2 and plan.dtype == np.bool_ and (np.abs(np.array(plan.shape) - expected) <= 2).all(),
        f"topdown_map must be bool of {expected[0]:.0f} rows (z) x {expected[1]:.0f} columns (x) for these"
        " bounds,"
        f" found {plan.shape} {plan.dtype}",
    )
    level = points[np.abs(points[:, 1] - height) < 0.05]
    inner = level[host(surface.distance_to_closest_obstacle(level, 2.0)) > 2 * cell]
    rows, columns = ((inner[:, [2, 0]] - low[[2, 0]]) / cell).astype(int).T
    seen = plan[rows.clip(0, plan.shape[0] - 1), columns.clip(0, plan.shape[1] - 1)]
    share = float(seen.mean()) if len(seen) else 1.0
    require(
        share >= _MOST,
        f"only {share:.0%} of navigable points lie on navigable cells of topdown_map; rows run along z,"
        " columns along x,"
        " from the lower corner of the bounds",
        f"{share:.0%}",
    )
    return f"{share:.0%}"


def _agreeing(a: np.ndarray, b: np.ndarray) -> float:
    """Share of pairs of lengths that differ by no more than `_DETOUR`."""
    return float(np.mean(np.abs(a - b) <= np.maximum(_DETOUR[0], _DETOUR[1] * np.minimum(a, b))))


def _beside(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distances (B,) seen from above from points (B, 3) to the segments from ``start`` to ``end``."""
    way, offset = (end - start)[:, [0, 2]], (points - start)[:, [0, 2]]
    share = (way * offset).sum(axis=1) / np.maximum((way * way).sum(axis=1), 1e-12)
    return np.linalg.norm(offset - share.clip(0, 1)[:, None] * way, axis=1)


def _flat(vectors: np.ndarray) -> np.ndarray:
    """Lengths (B,) of vectors (B, 3) seen from above."""
    return np.hypot(vectors[:, 0], vectors[:, 2])


SURFACE_LINES = (
    Line("surface: navigable", "100%", _navigable),
    Line("surface: snapping twice", f"{_CLOSE} m", _snap),
    Line("surface: randomness", "rng only", _random),
    Line("surface: islands", "consistent", _islands),
    Line("surface: distance there and back", f"{_BOTH_WAYS:.0%}", _distances),
    Line("surface: distance to several goals", f"{_MOST:.0%}", _goals),
    Line("surface: path length", f"{_SAME_LENGTH} m", _paths),
    Line("surface: steps", "on the surface", _steps),
    Line("surface: clearance", f"{_MOST:.0%} free", _clearance),
    Line("surface: top-down map", f"{_MOST:.0%}", _topdown),
)
"""What every backend's surface owes, in the order it is checked."""
