"""What a person can set about the objectives. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from poma3d.errors import SettingError


@dataclass(frozen=True)
class AlignmentSettings:
    """What point maps are aligned with, and how hard.

    Raises:
        SettingError: nothing to align, a negative weight, or a temperature outside (0, 1].
    """

    view_weight: float = 1.0
    """Weight of L_view; 0 leaves it out."""
    scene_weight: float = 1.0
    """Weight of L_scene; 0 leaves it out. A single view is a scene of its own, so the warm-up leaves it out."""
    region_weight: float = 0.0
    """Weight of the alignment of patches with words (`poma3d.objectives.regions`), which is ours and not the
    paper's; it needs data whose pixels have categories."""
    temperature: float = 0.07
    """At the start, as in CLIP; the scale is its inverse and is learned."""
    largest_scale: float = 100.0
    """The scale does not grow beyond this; CLIP's bound."""

    def __post_init__(self) -> None:
        weights = (self.view_weight, self.scene_weight, self.region_weight)
        if min(weights) < 0 or self.view_weight + self.scene_weight == 0:
            raise SettingError(
                "the weights of L_view and L_scene must not be negative nor both 0, that of regions not negative,"
                f" found {', '.join(map(str, weights))}"
            )
        if not 0 < self.temperature <= 1 or not self.largest_scale >= 1 / self.temperature:
            raise SettingError(
                f"the temperature must lie in (0, 1] and its inverse below largest_scale,"
                f" found {self.temperature} and {self.largest_scale}"
            )


@dataclass(frozen=True)
class MaskSettings:
    """The shape of the masks; the paper states none, these are I-JEPA's.

    Raises:
        SettingError: shares outside (0, 1) or ranges that are none.
    """

    share: float = 0.5
    """Share of the patches of a view that is masked; four blocks of I-JEPA cover about half."""
    scale: tuple[float, float] = (0.15, 0.2)
    """Area of a block over that of the view, from and to."""
    aspect: tuple[float, float] = (0.75, 1.5)
    """Height of a block over its width, from and to."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise SettingError(f"the masked share must lie between 0 and 1, found {self.share}")
        if not 0 < self.scale[0] <= self.scale[1] <= 1 or not 0 < self.aspect[0] <= self.aspect[1]:
            raise SettingError(f"mask blocks need ascending ranges, found {self.scale} and {self.aspect}")

    def masked(self, patches: int) -> int:
        """Masked patches of a view of ``patches``; at least one is masked and one is seen."""
        return min(max(round(self.share * patches), 1), patches - 1)


@dataclass(frozen=True)
class JepaSettings:
    """POMA-JEPA's settings; the defaults are those for the ``base`` encoder.

    Raises:
        SettingError: a choice that there is not, a weight that is not above 0, or sizes that do not fit.
    """

    weight: float = 1.0
    """Weight of the loss beside alignment; the log's gradient_jepa says how hard it pulls at the encoder."""
    loss: Literal["chamfer", "smooth_l1"] = "chamfer"
    """``chamfer`` compares sets; ``smooth_l1`` patch by patch, the ablation."""
    sets: Literal["scene", "view"] = "scene"
    """Whose tokens form one set."""
    width: int = 384
    """Channels of the predictor, W."""
    depth: int = 6
    """Layers of the predictor."""
    heads: int = 12
    """Attention heads of the predictor; they divide its width."""
    masks: MaskSettings = field(default_factory=MaskSettings)
    """Which patches are predicted."""

    def __post_init__(self) -> None:
        if self.loss not in ("chamfer", "smooth_l1") or self.sets not in ("scene", "view"):
            raise SettingError(
                f"the JEPA loss is chamfer or smooth_l1 over sets of a scene or a view,"
                f" found {self.loss!r} and {self.sets!r}"
            )
        if not self.weight > 0:
            raise SettingError(f"the weight of the JEPA loss must be above 0, found {self.weight}")
        if min(self.width, self.depth, self.heads) < 1 or self.width % (4 * self.heads):
            raise SettingError(
                f"the predictor needs a width that 4 times its heads divide, and a depth of at least 1,"
                f" found {self.width}, {self.heads} heads, {self.depth} layers"
            )
