"""How far a surface agrees with a recording of real Habitat, line by line of the agreement asked of it.

A recording is what ``golden/NAME.npz`` holds (see its README): paths, navigability, snapped points, single
steps and rollouts that habitat-sim 0.3.4 answered on one scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from envs.embodiment import AgentSpec
from envs.simulators.protocol import Surface

_FORWARD = 1
"""The action that moves; the others turn."""


@dataclass(frozen=True)
class Row:
    """One line of the comparison: a share of agreement and the least that is asked."""

    what: str
    """What is compared."""
    measured: float
    """Share, 0..1, of the recorded answers that agree."""
    bar: float
    """The least share asked for."""
    explanation: str
    """When an answer counts as agreeing."""

    @property
    def passed(self) -> bool:
        """Whether the bar is reached."""
        return self.measured >= self.bar


def surface_agreement(
    surface: Surface, recording: Mapping[str, np.ndarray], agent: AgentSpec, *, same_navmesh: bool = False
) -> list[Row]:
    """Compare a surface with a recording.

    Args:
        surface: of the recorded scene, for the recorded agent. recording: the arrays of a golden ``.npz``.
        agent: whose ``forward_step`` the rollouts walk (turns are taken from the recording). same_navmesh:
        the surface was read from Habitat's own navmesh, so that only arithmetic can differ: stricter
            bars, and two lines more (distance to the border, top-down map).
    """
    rows = [*_path_rows(surface, recording, same_navmesh), *_point_rows(surface, recording, same_navmesh)]
    for sliding, key in ((True, "slide"), (False, "stop")):
        name = "sliding" if sliding else "stopping"
        ends = surface.try_step(recording["step_start"], recording["step_end"], sliding=sliding)
        near = _distances(ends, recording[f"step_{key}"]) <= 0.02
        rows.append(
            Row(f"single steps, {name}", _share(near), 0.99 if same_navmesh else 0.95, "end within 2 cm")
        )
    for sliding, key in ((True, "slide"), (False, "stop")):
        name = "sliding" if sliding else "stopping"
        ends = _roll_out(surface, recording, agent.forward_step, sliding)
        near = _distances(ends, recording[f"rollout_{key}_position"][:, -1]) <= 0.25
        steps = recording["rollout_actions"].shape[1]
        rows.append(
            Row(
                f"rollouts, {name}",
                _share(near),
                0.95 if same_navmesh else 0.9,
                f"{steps} actions end within 0.25 m",
            )
        )
    return rows


def _path_rows(surface: Surface, recording: Mapping[str, np.ndarray], same_navmesh: bool) -> list[Row]:
    """Lengths of paths and whether there is one."""
    pairs = zip(recording["path_start"], recording["path_end"], strict=True)
    ours = np.array([surface.geodesic_distance(start[None], end[None])[0] for start, end in pairs])
    theirs = recording["path_geodesic"]
    reachable = np.isfinite(theirs)
    both = reachable & np.isfinite(ours)
    difference = np.abs(ours[both] - theirs[both])
    if same_navmesh:
        length = Row(
            "path length", _share(difference <= 0.01 * theirs[both]), 0.99, "within 1 %, reachable pairs"
        )
    else:
        near = difference <= np.maximum(0.1, 0.02 * theirs[both])
        length = Row("path length", _share(near), 0.98, "within max(0.10 m, 2 %), reachable pairs")
    return [length, Row("reachability", _share(np.isfinite(ours) == reachable), 0.99, "path or none: same")]


def _point_rows(surface: Surface, recording: Mapping[str, np.ndarray], same_navmesh: bool) -> list[Row]:
    """Questions of single points."""
    bar = 0.99 if same_navmesh else 0.97
    query, theirs = recording["query"], recording["query_snap"]
    same = surface.is_navigable(query) == recording["query_navigable"]
    ours = surface.snap_point(query)
    absent = np.isnan(theirs).any(axis=1)
    near = np.where(absent, np.isnan(ours).any(axis=1), _distances(ours, theirs) <= 0.1)
    rows = [
        Row("navigable", _share(same), bar, "same"),
        Row("snapped point", _share(near), bar, "within 0.10 m, or none for both"),
    ]
    if same_navmesh:
        clearance = surface.distance_to_closest_obstacle(recording["clearance_point"], 2.0)
        near = np.abs(clearance - recording["clearance"]) <= 0.01
        rows.append(Row("distance to the border", _share(near), 0.99, "within 1 cm"))
        ours, theirs = surface.topdown_map(float(recording["topdown_height"])), recording["topdown"]
        agreeing = _share(ours == theirs) if ours.shape == theirs.shape else 0.0
        rows.append(Row("top-down map", agreeing, 0.99, "cells that are the same"))
    return rows


def _roll_out(
    surface: Surface, recording: Mapping[str, np.ndarray], forward_step: float, sliding: bool
) -> np.ndarray:
    """Where the recorded rollouts end (R, 3) on this surface.

    Heading and position are float32, as in habitat-sim: along a wall one rounding decides between moving and
    sticking.
    """
    position = recording["rollout_start"].astype(np.float32)
    rotations = recording["rollout_slide_rotation"]  # (R, T, 4): after each action
    for step, actions in enumerate(recording["rollout_actions"].T):
        target = position + np.float32(forward_step) * _heading(rotations[:, step])
        moved = surface.try_step(position, target, sliding=sliding)
        position = np.where((actions == _FORWARD)[:, None], moved, position).astype(np.float32)
    return position


def _heading(rotation: np.ndarray) -> np.ndarray:
    """Unit vectors (B, 3) float32 along which agents of rotation (B, 4) (x, y, z, w) walk: their -z axes."""
    x, y, z, w = rotation.astype(np.float32).T
    one, two = np.float32(1), np.float32(2)
    return -np.stack([two * (x * z + w * y), two * (y * z - w * x), one - two * (x * x + y * y)], axis=1)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances (B,) between points; NaN where either is."""
    return np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b, np.float64), axis=-1)


def _share(agreeing: np.ndarray) -> float:
    """The share of True; 1 of nothing."""
    return float(np.mean(agreeing)) if agreeing.size else 1.0
