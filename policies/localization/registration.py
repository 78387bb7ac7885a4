"""From a scan and a rough idea of where it was taken to poses: search over places and yaws, climb, register, judge.

Gravity and the floor leave four unknowns, x, y, yaw and the floor's height. The search lays the scan on the voxels
of the memory at every place of a lattice and every yaw and counts what falls on surfaces, less what falls into air
(the idea of correlative scan matching, Olson 2009, in three dimensions); the best poses that differ climb on a finer
scale and are registered to the surface points, point to plane (`small_gicp`, Koide 2024). The judgement of each takes
both sides: points that the memory calls air, and rays of the scan that pass through what the memory calls solid.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from policies.localization.planar import from_matrix, place_points, to_matrix, wrap
from policies.localization.scene_map import CELL, SceneMap
from policies.localization.voxels import obstructed, worth_of_places, worth_of_poses

YAWS = 72
"""Yaws that are tried at each place."""
FIRST_POINTS, COARSE_POINTS, FINE_POINTS = 60, 240, 600
"""Points of the scan that the search takes everywhere, where it promises most, and the judgement."""
PROMISING = 8000
"""Poses that the search looks at with more points."""
KEPT, REGISTERED = 64, 10
"""Poses that climb, and the best of those that are registered."""
DISTINCT = (0.5, math.radians(20.0))
"""Poses nearer to each other than this (metres, radians) count as one."""
ABOVE_FLOOR = 0.1
"""Points higher than this tell something, metres: the base may stand a voxel above the floor."""
_ON_SURFACE = 0.12
_IN_AIR = 0.25
_SHORT = 0.4
"""Rays are followed up to so far before their end, metres."""


@dataclass(frozen=True)
class Hypothesis:
    """Where the agent may be."""

    pose: np.ndarray
    """(3,): x, y, metres, and yaw, radians, in the scene's frame."""
    floor: float
    """Height of the floor there, metres."""
    score: float
    """Share of the scan's points on known surfaces, less the shares that contradict the memory; at most 1."""


def register(scene: SceneMap, points: np.ndarray, eyes: np.ndarray, places: np.ndarray) -> list[Hypothesis]:
    """Where a scan may have been taken.

    Args:
        scene: the map to register to.
        points: (N, 3) the scan in the agent's frame.
        eyes: (N, 3) from where each point was seen, in the same frame.
        places: (M, 3) where the agent may stand, scene frame (`SceneMap.cells`).

    Returns:
        Distinct hypotheses, best first; none where there is nothing to go by.
    """
    telling = points[:, 2] > ABOVE_FLOOR  # the floor looks the same everywhere
    rough = _sample(points[telling], COARSE_POINTS)
    if len(rough) < 20 or not len(places):
        return []
    fine = _evenly(len(points), FINE_POINTS)
    points, eyes = points[fine], eyes[fine]
    climbed = []
    for start, floor in _search(scene, rough, places):
        pose = _climb(scene, rough, start, floor)
        climbed.append(Hypothesis(pose, floor, judge(scene, points, eyes, pose, floor)))
    best = _distinct(sorted(climbed, key=lambda one: -one.score))[:REGISTERED]
    judged = []
    for one in best:
        pose, floor = _align(scene, points, one.pose, one.floor)
        judged.append(Hypothesis(pose, floor, judge(scene, points, eyes, pose, floor)))
    return _distinct(sorted(judged, key=lambda one: -one.score))


def judge(scene: SceneMap, points: np.ndarray, eyes: np.ndarray, pose: np.ndarray, floor: float) -> float:
    """How well a scan fits the memory at a pose: `Hypothesis.score`."""
    placed = place_points(pose, points, floor)
    index = scene.voxels(placed)
    inside = ((index >= 0) & (index < scene.solid.shape)).all(axis=-1)
    at = tuple(np.where(inside[:, None], index, 0).T)
    distance = np.where(inside, scene.distance[at], np.inf)
    on_surface = distance < _ON_SURFACE
    in_air = inside & scene.free[at] & (distance > _IN_AIR)
    blocked = obstructed(scene.solid, scene.origin, CELL, place_points(pose, eyes, floor), placed, _SHORT)
    return float((on_surface & ~blocked).mean() - in_air.mean() - blocked.mean())


def _search(scene: SceneMap, points: np.ndarray, places: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """The best poses and floors over all places (M, 3) and yaws, distinct from each other, best first."""
    yaws = np.arange(YAWS) * (2 * math.pi / YAWS)
    first = worth_of_places(scene.coarse, scene.origin, CELL, _sample(points, FIRST_POINTS), places, yaws)
    flat = first.ravel()  # (M, K) -> (M K,)
    if len(flat) > PROMISING:
        least = np.partition(flat, len(flat) - PROMISING)[len(flat) - PROMISING]
        candidates = np.flatnonzero(flat >= least)
    else:
        candidates = np.arange(len(flat))
    place, yaw = np.unravel_index(candidates, first.shape)
    poses, floors = np.column_stack([places[place, :2], yaws[yaw]]), np.ascontiguousarray(places[place, 2])
    worth = worth_of_poses(scene.coarse, scene.origin, CELL, points, poses, floors)
    order = np.argsort(-worth, kind="stable")
    poses, floors = poses[order], floors[order]
    open_ = np.ones(len(poses), dtype=bool)
    found = []
    while len(found) < KEPT and open_.any():
        best = int(open_.argmax())
        found.append((poses[best], float(floors[best])))
        open_ &= ~_near(poses, poses[best])
    return found


def _near(poses: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Which poses (N, 3) count as the same as one (3,): (N,) bool."""
    turn = np.abs(wrap(poses[:, 2] - pose[2]))
    return (np.hypot(*(poses[:, :2] - pose[:2]).T) < DISTINCT[0]) & (turn < DISTINCT[1])


def _distinct(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
    """Those that no earlier one is near to."""
    kept: list[Hypothesis] = []
    for one in hypotheses:
        if not any(_near(one.pose[None], other.pose)[0] for other in kept):
            kept.append(one)
    return kept


def _stencil(metres: float, degrees: float) -> np.ndarray:
    """Small moves (27, 3) in x, y and yaw, staying included."""
    turn = math.radians(degrees)
    return np.array(
        list(itertools.product((0.0, -metres, metres), (0.0, -metres, metres), (0.0, -turn, turn)))
    )


_STENCILS = (_stencil(0.1, 2.5), _stencil(0.05, 1.25), _stencil(0.025, 0.6))


def _climb(scene: SceneMap, points: np.ndarray, pose: np.ndarray, floor: float) -> np.ndarray:
    """The pose uphill of one on the fine worth."""
    worth = -math.inf
    for stencil in _STENCILS:
        floors = np.full(len(stencil), floor)
        for _ in range(8):
            around = pose + stencil  # (27, 3)
            found = worth_of_poses(scene.fine, scene.origin, CELL, points, around, floors)
            best = int(found.argmax())
            if found[best] <= worth:
                break
            worth, pose = float(found[best]), around[best]
    return pose


def _align(scene: SceneMap, points: np.ndarray, pose: np.ndarray, floor: float) -> tuple[np.ndarray, float]:
    """Register the scan to the surface points, point to plane, and stand it upright again."""
    import small_gicp

    target, tree = scene.cloud()
    source = small_gicp.PointCloud(points)
    for reach in (0.3, 0.15):
        result = small_gicp.align(
            target,
            source,
            tree,
            init_T_target_source=to_matrix(pose, floor),
            registration_type="PLANE_ICP",
            max_correspondence_distance=reach,
            num_threads=1,
            max_iterations=15,
        )
        moved, height = from_matrix(result.T_target_source)
        near = math.hypot(*(moved[:2] - pose[:2])) < 1.0 and abs(height - floor) < 0.3
        if not (near and np.isfinite(moved).all()):
            break
        pose, floor = moved, height
    return pose, floor


def _sample(points: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of the points (N, 3), evenly over their order."""
    return np.ascontiguousarray(points[_evenly(len(points), count)])


def _evenly(total: int, count: int) -> np.ndarray:
    """At most ``count`` indices below ``total``, evenly."""
    return (
        np.unique(np.linspace(0, total - 1, min(total, count)).astype(np.int64))
        if total
        else np.zeros(0, int)
    )
