"""What a simulator owes: point maps for many poses at once, and a surface to walk on. It knows no task.

Everything is batch-first: B poses in, arrays of B out. Positions are (B, 3) in Habitat's world frame (metres, y up);
rotations are quaternions (x, y, z, w). Backends whose arrays live on a device may answer with torch tensors.
`envs.simulators.check.check_simulator` tests this contract on any backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from envs.embodiment import AgentSpec
from envs.scenes.scene import Instance
from poma3d.pointmap import Camera


@dataclass(frozen=True)
class Views:
    """A batch of rendered views."""

    point_map: np.ndarray
    """(B, H, W, 3) float32 metres in the frame asked for; 0 where not valid."""
    valid: np.ndarray
    """(B, H, W) bool: a surface was hit within the depth range."""
    instance_ids: np.ndarray | None = None
    """(B, H, W) int32 index of `Simulator.instances` (`NO_INSTANCE` = -1 for none), where asked for."""


@dataclass(frozen=True)
class Path:
    """A shortest path on the surface."""

    points: np.ndarray
    """(N, 3) corners from start to goal; empty (0, 3) where unreachable."""
    length: float
    """Metres; infinite where unreachable."""
    goal_index: int
    """Which of the goals it leads to; -1 where unreachable."""


class DistanceField(Protocol):
    """Geodesic distances to fixed goals, prepared once so that each query is cheap."""

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Geodesic distance (B,) in metres from points (B, 3) to the nearest goal; infinite where unreachable."""
        ...

    def path(self, point: np.ndarray) -> Path:
        """Shortest path from a point (3,) to the nearest goal."""
        ...


class Surface(Protocol):
    """Where an agent of one size can be, and how it gets around: Habitat's ``PathFinder``, batched."""

    bounds: np.ndarray
    """(2, 3): lowest and highest corner of the surface, metres."""

    def is_navigable(self, points: np.ndarray, max_y_delta: float = 0.5) -> np.ndarray:
        """Whether each point (B, 3) stands on the surface, at most ``max_y_delta`` metres above or below: (B,)."""
        ...

    def snap_point(self, points: np.ndarray) -> np.ndarray:
        """The nearest points (B, 3) on the surface, within Habitat's search box; NaN where there is none."""
        ...

    def try_step(self, start: np.ndarray, end: np.ndarray, *, sliding: bool = True) -> np.ndarray:
        """Where walks from ``start`` (B, 3) straight to ``end`` (B, 3) come to, held back by the border: (B, 3).

        With ``sliding`` the walk slides along the border, without it stops there.
        """
        ...

    def distance_field(self, goals: np.ndarray) -> DistanceField:
        """Prepare geodesic distances to the nearest of ``goals`` (G, 3)."""
        ...

    def geodesic_distance(self, start: np.ndarray, goals: np.ndarray) -> np.ndarray:
        """Length (B,) of the shortest path from each start (B, 3) to the nearest of the goals (G, 3); inf: none."""
        ...

    def shortest_path(self, start: np.ndarray, goals: np.ndarray) -> Path:
        """The shortest path from ``start`` (3,) to the nearest of the goals (G, 3)."""
        ...

    def random_navigable_point(self, rng: np.random.Generator, *, island: int | None = None) -> np.ndarray:
        """A point (3,) drawn uniformly by area, on one island if given."""
        ...

    def distance_to_closest_obstacle(self, points: np.ndarray, max_radius: float = 2.0) -> np.ndarray:
        """Distance (B,) to the border of the surface, metres, at most ``max_radius``; 0 where not navigable."""
        ...

    def island(self, points: np.ndarray) -> np.ndarray:
        """Index (B,) int of the connected part each point (B, 3) stands on, largest part first; -1 where off."""
        ...

    def island_radius(self, points: np.ndarray) -> np.ndarray:
        """Radius (B,) in metres of the island each point stands on, as Habitat measures it; 0 where off."""
        ...

    @property
    def island_areas(self) -> np.ndarray:
        """Area (I,) of every island in square metres, largest first."""
        ...

    def topdown_map(self, height: float, cell: float = 0.05, max_y_delta: float = 0.5) -> np.ndarray:
        """Navigability (rows along z, columns along x) bool of the cells of ``bounds`` at world y = ``height``."""
        ...


@runtime_checkable
class Simulator(Protocol):
    """One scene that can be seen and walked in by one kind of agent."""

    scene_id: str
    """What episodes call the scene."""
    instances: Sequence[Instance]
    """The objects that instance ids index; empty without semantics."""
    agent: AgentSpec
    """The body that the surface was made for."""

    @property
    def surface(self) -> Surface:
        """Where that body can walk."""
        ...

    def render(
        self,
        world_from_camera: np.ndarray,
        camera: Camera,
        *,
        frame_from_world: np.ndarray | None = None,
        depth_range: tuple[float, float] = (0.0, float("inf")),
        instances: bool = False,
    ) -> Views:
        """Render point maps.

        Args:
            world_from_camera: (B, 4, 4) camera poses with Habitat's body axes (x right, y up, looking along -z).
            camera: pixels and field of view, the same for the batch.
            frame_from_world: (4, 4) or (B, 4, 4) rigid transforms from the world to the frame of the answer
                (`poma3d.pointmap.frame_from_world`); None = world.
            depth_range: nearest and farthest z-depth kept, metres.
            instances: also return instance ids.
        """
        ...

    def memory_bytes(self) -> int:
        """Bytes that the scene holds: geometry, ray-tracing structure and surface."""
        ...

    def close(self) -> None:
        """Give everything back; the simulator cannot be used afterwards. May be called twice."""
        ...
