"""Settings of the generator of MSNN samples."""

from __future__ import annotations

from dataclasses import dataclass

from envs.setting_types import check_flag, check_whole_number
from poma3d.errors import SettingError


@dataclass(frozen=True)
class MsnnSettings:
    """Which samples are made.

    Raises:
        SettingError: a number out of its range.
    """

    straight: bool = False
    """Ask for the straight line to the goal instead of the first leg of the shortest path."""
    places: int = 80
    """Places tried in each scene."""
    goals: int = 14
    """Most goals of each scene."""
    situations: int = 2400
    """Most situations of each scene."""
    far_candidates: int = 3000
    """Most candidates of each scene with a goal out of sight; those in sight are fewer and are all kept."""
    goal_size: float = 0.5
    """Smallest diagonal of an object that can be a goal, metres."""
    landmark_size: float = 0.4
    """Smallest diagonal of an object that a situation may speak of, metres."""
    reach: float = 0.8
    """A goal is reached at places that see it and are at most this far from it, metres."""
    least_way: float = 1.5
    """Shortest way to a goal, metres."""
    least_leg: float = 0.5
    """Shortest first leg, metres: of a shorter one the direction is a matter of centimetres."""
    near_share: float = 0.6
    """Share of the samples whose goal can be seen from the agent's place, as far as the scenes offer them: most rooms
    of MSNN are scanned alone."""
    margin: float = 3.0
    """Angles nearer than this to the border of two directions are left out, degrees."""
    seed: int = 0
    """Another seed, other samples."""

    def __post_init__(self) -> None:
        check_flag("straight", self.straight)
        for name in ("places", "situations", "far_candidates", "goals"):
            check_whole_number(name, getattr(self, name), least=1)
        for name in ("goal_size", "landmark_size", "reach", "least_way", "least_leg"):
            if not 0 < getattr(self, name) < float("inf"):
                raise SettingError(f"{name} must be above 0 m, found {getattr(self, name)!r}")
        if not 0 <= self.near_share <= 1:
            raise SettingError(f"near_share must lie in [0, 1], found {self.near_share!r}")
        if not 0 <= self.margin < 11:
            raise SettingError(f"margin must lie in [0, 11) degrees, found {self.margin!r}")
        check_whole_number("seed", self.seed)
