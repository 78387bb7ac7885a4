"""What can be asked of a procedural house."""

from __future__ import annotations

from dataclasses import dataclass

from poma3d.errors import SettingError

GENERATOR_VERSION = "2"
"""Named in every house's metadata: raise it with every change that alters houses (2: walls without upper ends)."""
DRAW_VERSION = "1"
"""Part of every seed: raise it where plans and furniture may be drawn anew."""


@dataclass(frozen=True)
class HouseSettings:
    """The ranges that houses are drawn from.

    Raises:
        SettingError: a range is empty or outside what the generator can build.
    """

    rooms: tuple[int, int] = (3, 8)
    """Fewest and most rooms, hallways counted; within 3 to 8."""
    density: float = 1.0
    """Share of the optional furniture and small things, 0 to 1; beds, sofas, toilets and the like are always there."""
    ceiling_height: tuple[float, float] = (2.4, 2.9)
    """Lowest and highest ceiling, metres; within 2.3 to 4."""
    passage: float = 0.54
    """Width kept free between furniture along the ways from door to door, metres; within 0.4 to 0.8."""
    open_doors: float = 0.75
    """Share of the inner doors that have a leaf, which always stands open; the others are bare openings, 0 to 1."""

    def __post_init__(self) -> None:
        low, high = self.rooms
        if not 3 <= low <= high <= 8:
            raise SettingError(f"rooms must be (fewest, most) within 3 to 8, found {self.rooms!r}")
        low, high = self.ceiling_height
        if not 2.3 <= low <= high <= 4.0:
            raise SettingError(
                f"ceiling_height must be (lowest, highest) within 2.3 to 4 m, found {self.ceiling_height!r}"
            )
        if not 0.4 <= self.passage <= 0.8:
            raise SettingError(f"passage must lie within 0.4 to 0.8 m, found {self.passage!r}")
        for name in ("density", "open_doors"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"{name} must lie within 0 to 1, found {getattr(self, name)!r}")
