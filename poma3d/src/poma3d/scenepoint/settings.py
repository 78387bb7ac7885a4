"""What a person can set about the reading of ScenePoint data. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from poma3d.errors import SettingError

BAD_SCENES = ("refuse", "skip")
MIXES = ("equal", "proportional")


@dataclass(frozen=True)
class AugmentSettings:
    """Random changes of a whole scene, the same for all its views.

    The ranges are those of the authors' follow-up (UniScene3D); the paper of POMA-3D does not state any.

    Raises:
        SettingError: a range that is none.
    """

    turns: Literal["none", "quarter", "any"] = "quarter"
    """Turn about z round the centroid of the valid points: not at all, by 0, 90, 180 or 270 degrees, by any angle."""
    scale: tuple[float, float] = (0.75, 1.25)
    """Smallest and largest factor about that centroid; (1, 1) leaves the size alone."""
    translation: float = 1.0
    """Farthest move along x and y either way, metres; 0 leaves the place alone."""
    lift: float = 1.0
    """Farthest move along z either way, metres."""
    agent_share: float = 0.0
    """Share of the draws that are seen by an agent instead: the origin lies on the floor below one of the views'
    cameras, x goes its way, off by 0.2 m and 10 degrees (one standard deviation). Needs files with cameras, of a
    scene whose floor is at 0. An encoder that policies will feed egocentric point maps should have seen some."""

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high:
            raise SettingError(f"scale must be (smallest, largest) above 0, found {self.scale!r}")
        for name in ("translation", "lift"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise SettingError(f"{name} must be at least 0 m, found {getattr(self, name)!r}")
        if self.turns not in ("none", "quarter", "any") or not 0 <= self.agent_share <= 1:
            raise SettingError(
                "turns must be none, quarter or any and agent_share lie in [0, 1],"
                f" found {self.turns!r} and {self.agent_share!r}"
            )


@dataclass(frozen=True)
class DataSettings:
    """How scenes are drawn.

    Raises:
        SettingError: a number out of its range or an unknown word.
    """

    views: int = 32
    """Views of a scene, V: of more this many are drawn, of fewer all are taken and some repeated at random."""
    size: int | None = None
    """Rows and columns of a point map, pixels; other sizes are sampled down or up to it. None: as on disk."""
    single_views: bool = False
    """Take every view of every file as a scene of its own (V = 1): what the warm-up trains on."""
    augment: AugmentSettings | None = None
    """Random changes; None leaves scenes as they are, as evaluation wants them."""
    captions: int = 1
    """Most captions of a view that are joined to one text, in random order; a random number up to this many. The
    authors draw one; several say more of a view, and a small model learns from fewer views."""
    images: bool = False
    """Also read the colour pictures."""
    image_size: int = 224
    """Rows and columns of the pictures, pixels."""
    labels: bool = False
    """Also read categories of pixels, room types and poses, where a file has them."""
    bad_scenes: str = "refuse"
    """What to do about a scene that cannot be used: ``refuse`` stops, ``skip`` leaves it out and says so."""

    def __post_init__(self) -> None:
        for name in ("views", "size", "image_size", "captions"):
            number = getattr(self, name)
            if name == "size" and number is None:
                continue
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise SettingError(f"{name} must be a whole number of at least 1, found {number!r}")
        if self.bad_scenes not in BAD_SCENES:
            raise SettingError(
                f"bad_scenes must be one of {', '.join(BAD_SCENES)}, found {self.bad_scenes!r}"
            )
