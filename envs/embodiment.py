"""The agent's body: its size, its camera, its steps. Presets carry the numbers of the published benchmarks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from envs.setting_types import check_range
from poma3d.errors import SettingError
from poma3d.pointmap import Camera


@dataclass(frozen=True)
class NavmeshSettings:
    """What may be walked on, with Habitat's defaults (``habitat_sim.NavMeshSettings``)."""

    agent_height: float = 1.5
    """Free height needed, metres."""
    agent_radius: float = 0.1
    """Distance kept from obstacles, metres."""
    max_climb: float = 0.2
    """Highest step taken without a slope, metres."""
    max_slope: float = 45.0
    """Steepest slope walked, degrees."""
    cell_size: float = 0.05
    """Horizontal edge of a voxel, metres."""
    cell_height: float = 0.2
    """Vertical edge of a voxel, metres."""
    region_min_size: float = 20.0
    """Regions of fewer cells than this squared are dropped."""
    region_merge_size: float = 20.0
    """Regions of fewer cells than this squared are merged with a neighbour where possible."""
    edge_max_len: float = 12.0
    """Longest polygon edge along the border, metres."""
    edge_max_error: float = 1.3
    """How far a simplified border may stray from the voxels, cells."""
    verts_per_poly: int = 6
    """Most corners of a polygon."""
    detail_sample_dist: float = 6.0
    """Spacing of the height samples, cells."""
    detail_sample_max_error: float = 1.0
    """How far the height detail may stray from the voxels, cell heights."""

    def __post_init__(self) -> None:
        for name in ("agent_height", "cell_size", "cell_height"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} must be above 0 m, found {getattr(self, name)!r}")
        for name in ("agent_radius", "max_climb"):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} must be at least 0 m, found {getattr(self, name)!r}")
        if not 0 <= self.max_slope < 90:
            raise SettingError(f"max_slope must lie in [0, 90) degrees, found {self.max_slope!r}")


@dataclass(frozen=True)
class AgentSpec:
    """A body with one camera. Defaults are habitat-lab's."""

    height: float = 1.5
    """Metres."""
    radius: float = 0.1
    """Metres."""
    max_climb: float = 0.2
    """Metres."""
    max_slope: float = 45.0
    """Degrees."""
    forward_step: float = 0.25
    """Length of ``move_forward``, metres."""
    turn_angle: float = 10.0
    """Angle of ``turn_left`` and ``turn_right``, degrees."""
    allow_sliding: bool = True
    """Whether the agent slides along an obstacle it runs into; otherwise it stops there."""
    camera: Camera = field(default_factory=lambda: Camera(224, 224, 90.0))
    """The camera's pixels and field of view."""
    camera_height: float = 1.25
    """Height of the camera above the agent's base, metres."""
    depth_range: tuple[float, float] = (0.0, 10.0)
    """Nearest and farthest z-depth that the camera measures, metres; pixels outside are not valid."""
    max_steps: int = 500
    """Default horizon of an episode."""
    success_distance: float = 0.2
    """STOP within this geodesic distance of the goal is a success, metres."""

    def __post_init__(self) -> None:
        if not self.forward_step > 0:
            raise SettingError(f"forward_step must be above 0 m, found {self.forward_step!r}")
        if not 0 < self.turn_angle <= 180:
            raise SettingError(f"turn_angle must lie in (0, 180] degrees, found {self.turn_angle!r}")
        check_range("depth_range", self.depth_range)

    @property
    def navmesh_settings(self) -> NavmeshSettings:
        """Habitat's default navmesh settings for a body of this size."""
        return NavmeshSettings(
            agent_height=self.height,
            agent_radius=self.radius,
            max_climb=self.max_climb,
            max_slope=self.max_slope,
        )


PRESETS: dict[str, AgentSpec] = {
    "pointnav-gibson": AgentSpec(),
    "objectnav-hm3d": AgentSpec(
        height=0.88,
        radius=0.18,
        turn_angle=30.0,
        allow_sliding=False,
        camera=Camera(480, 640, 79.0),
        camera_height=0.88,
        depth_range=(0.5, 5.0),
        success_distance=0.1,
    ),
}
"""Bodies of the published benchmarks, by name."""


def agent_preset(name: str, **changes: object) -> AgentSpec:
    """The preset of that name, with some fields changed.

    Raises:
        SettingError: there is no such preset; the message lists those there are.
    """
    if name not in PRESETS:
        raise SettingError(f"unknown agent preset {name!r}; the presets are {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)
