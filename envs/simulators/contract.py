"""What `check_simulator` is made of: a line of the contract, how it fails, and what it is tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from envs.simulators.protocol import Simulator, Views
from poma3d.pointmap import Camera, rotation_from_heading, world_from_pose


class BrokenContractError(AssertionError):
    """A line of the contract does not hold.

    Args:
        advice: what is wrong and how to mend it.
        measured: what was found, in a word or two for the table.
    """

    def __init__(self, advice: str, measured: str = "no") -> None:
        super().__init__(advice)
        self.measured = measured


def require(condition: object, advice: str, measured: str = "no") -> None:
    """Raise `BrokenContractError` unless ``condition`` holds."""
    if not condition:
        raise BrokenContractError(advice, measured)


@dataclass(frozen=True)
class Line:
    """One line of the contract."""

    what: str
    """What is promised, in a few words."""
    bar: str
    """What is asked of the measured value."""
    check: Callable[[Probe], str]
    """Answers the measured value, or raises `BrokenContractError`."""


class Probe:
    """A simulator under test, with poses and points to try it on, drawn from one seed.

    Args:
        simulator: the backend.
        seed: of everything that is drawn.
        count: how many points are tried.
    """

    def __init__(self, simulator: Simulator, seed: int = 0, count: int = 100) -> None:
        self.simulator = simulator
        self.seed = seed
        self.count = count
        self.camera = Camera(20, 28, 79.0)

    def rng(self, stream: int) -> np.random.Generator:
        """A fresh generator; the same stream draws the same numbers."""
        return np.random.default_rng([self.seed, stream])

    @cached_property
    def points(self) -> np.ndarray:
        """(count, 3) points that the surface itself says can be stood on."""
        rng = self.rng(0)
        draw = self.simulator.surface.random_navigable_point
        return np.array([host(draw(rng)) for _ in range(self.count)], dtype=np.float64).reshape(-1, 3)

    @cached_property
    def world_from_agent(self) -> np.ndarray:
        """(6, 4, 4) upright poses on the surface."""
        headings = self.rng(1).uniform(-np.pi, np.pi, 6)
        return world_from_pose(self.points[:6], rotation_from_heading(headings))

    @cached_property
    def world_from_camera(self) -> np.ndarray:
        """(6, 4, 4) poses of the agent's camera there, the last one tilted, so that no axis is special."""
        poses = self.world_from_agent.copy()
        poses[:, 1, 3] += self.simulator.agent.camera_height
        tilt = world_from_pose(np.zeros(3), np.array([-0.25, 0.1, 0.15, 0.95]))
        poses[-1] = poses[-1] @ tilt
        return poses

    def render(self, **changes: Any) -> Views:
        """The views of `world_from_camera` in NumPy, with ``changes`` of the arguments of ``render``."""
        arguments: dict[str, Any] = {
            "world_from_camera": self.world_from_camera,
            "camera": self.camera,
        } | changes
        views = self.simulator.render(
            arguments.pop("world_from_camera"), arguments.pop("camera"), **arguments
        )
        ids = None if views.instance_ids is None else host(views.instance_ids)
        return Views(host(views.point_map), host(views.valid), ids)


def host(array: Any) -> np.ndarray:
    """``array`` as a NumPy array: backends may answer with tensors on a device."""
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    return np.asarray(array)
