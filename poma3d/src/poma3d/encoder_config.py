"""What an encoder is made of: its sizes, its LoRA adapters, the two presets. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from poma3d.errors import SettingError


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of a CLIP vision tower that reads point maps; the defaults are ViT-B/16 at 224, the paper's.

    Raises:
        SettingError: sizes that do not fit together.
    """

    image_size: int = 224
    """Rows and columns of a point map, pixels; the encoder takes no other size."""
    patch_size: int = 16
    """Side of a patch, pixels; it divides ``image_size``."""
    width: int = 768
    """Channels of a token, C; the heads divide it."""
    depth: int = 12
    """Number of transformer layers."""
    heads: int = 12
    """Number of attention heads."""
    mlp_width: int = 3072
    """Hidden channels of the two-layer perceptron in each layer."""
    embedding: int = 512
    """Channels of a view's embedding (``cls``) and of a scene's, D."""
    activation: str = "quick_gelu"
    """The perceptron's activation by transformers' name; FG-CLIP, like CLIP, was trained with quick_gelu."""
    layer_norm_eps: float = 1e-5
    """Added to the variance in every layer norm."""
    mask_invalid: bool = False
    """Hide patches without one valid pixel from attention; the paper lets every patch take part."""
    coordinates: str = "raw"
    """What the patch embedding reads: ``raw`` metres, the paper's; or ``patch``, each point relative to the middle of
    its patch, enlarged, and the middle made small. The embedding has the same weights and could learn either from the
    other, but from random weights it does not in reasonable time: where a patch lies moves its raw coordinates by
    metres, its shape by centimetres."""

    def __post_init__(self) -> None:
        whole = ("image_size", "patch_size", "width", "depth", "heads", "mlp_width", "embedding")
        for name in whole:
            size = getattr(self, name)
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise SettingError(f"encoder {name} must be a whole number of at least 1, found {size!r}")
        if self.image_size % self.patch_size:
            raise SettingError(
                f"patches of {self.patch_size} pixels do not tile a point map of {self.image_size} pixels:"
                " choose a patch_size that divides image_size"
            )
        if self.width % self.heads:
            raise SettingError(f"{self.heads} heads do not divide a width of {self.width} channels")
        if self.coordinates not in ("raw", "patch"):
            raise SettingError(f"encoder coordinates must be 'raw' or 'patch', found {self.coordinates!r}")
        if not self.layer_norm_eps > 0:
            raise SettingError(f"encoder layer_norm_eps must be above 0, found {self.layer_norm_eps!r}")

    @property
    def grid(self) -> int:
        """Patches along one side of a point map; P is its square."""
        return self.image_size // self.patch_size

    @property
    def patches(self) -> int:
        """Patches of a view, P."""
        return self.grid**2

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EncoderConfig:
        """The inverse of `as_dict`.

        Raises:
            SettingError: a field that this version does not know, or values that do not fit together.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise SettingError(f"unknown encoder settings: {', '.join(unknown)}")
        return cls(**values)


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters (LoRA, arXiv 2106.09685) on a frozen encoder; the defaults are POMA-3D's.

    Raises:
        SettingError: a rank below 1 or a dropout outside [0, 1).
    """

    rank: int = 32
    """Rank r of each adapter's product B A."""
    alpha: float = 64.0
    """The product is scaled by alpha / r before it is added to the frozen weight."""
    dropout: float = 0.05
    """Share of an adapter's inputs that training sets to 0."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "fc1", "fc2")
    """The linear layers that get an adapter; POMA-3D leaves ``out_proj`` out."""

    def __post_init__(self) -> None:
        if isinstance(self.rank, bool) or not isinstance(self.rank, int) or self.rank < 1:
            raise SettingError(f"LoRA rank must be a whole number of at least 1, found {self.rank!r}")
        if not 0.0 <= self.dropout < 1.0:
            raise SettingError(f"LoRA dropout must lie in [0, 1), found {self.dropout!r}")
        if not self.targets:
            raise SettingError("LoRA needs at least one target layer, found none")


PRESETS: dict[str, EncoderConfig] = {
    "base": EncoderConfig(),
    "mini": EncoderConfig(
        image_size=112,
        patch_size=14,
        width=192,
        depth=8,
        heads=3,
        mlp_width=768,
        embedding=256,
        activation="gelu",
        coordinates="patch",
    ),
}
"""``base`` is the paper's tower. ``mini`` is small enough for a laptop and for the repository.

Why these sizes of ``mini``: 3.7 million weights make a float32 file of 15 MB. 112 pixels are every second pixel of a
224-pixel render, so shrinking samples true points; 8 x 8 patches cost a third of 14 x 14, whose finer grid (47
views a CPU second, against 159) bought nothing that a laptop can afford. 8 layers of 192 channels are 22 % faster
than 5 layers of 256 and deeper; 12 layers of 192 are 40 % slower. ``gelu`` is one kernel and quick_gelu three:
159 against 110 views a CPU second. (Forward, one core of an AMD EPYC, batch 16, best of three.)
"""


def preset(name: str) -> EncoderConfig:
    """The preset of that name.

    Raises:
        SettingError: there is none; the message lists those there are.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise SettingError(f"unknown encoder preset {name!r}; there are {', '.join(PRESETS)}") from None
