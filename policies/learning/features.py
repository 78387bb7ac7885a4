"""From views to the numbers that a policy learns on: flat float16 rows, computed once for each view.

Four kinds: the frozen backbone's tokens, those of the same shape with random weights, a small point map for a
CNN that learns along, or nothing (blind).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from poma3d.errors import SettingError
from poma3d.pointmap import resize

CNN_SIZE = 56
"""Rows and columns of the point maps that the CNN control gets, pixels."""
RENDER_SIZE = {"backbone": None, "random-backbone": None, "cnn": 2 * CNN_SIZE, "blind": 8}
"""Pixels that a kind's views are rendered with; None = what the backbone takes."""
RANDOM_PREFIX = "random:"
"""``random:PRESET:SEED`` names a backbone of random weights."""


@dataclass(frozen=True)
class FeatureLayout:
    """What a flat row of features holds, in this order."""

    tokens: tuple[int, int] | None = None
    """(P, C) patch tokens."""
    cls: int = 0
    """D numbers of the view's embedding."""
    point_map: tuple[int, int] | None = None
    """(h, w) of a point map (h, w, 3), metres, 0 where not valid."""

    @property
    def size(self) -> int:
        """Numbers of a row, F."""
        tokens = self.tokens[0] * self.tokens[1] if self.tokens else 0
        points = 3 * self.point_map[0] * self.point_map[1] if self.point_map else 0
        return tokens + self.cls + points

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return {
            "tokens": list(self.tokens) if self.tokens else None,
            "cls": self.cls,
            "point_map": list(self.point_map) if self.point_map else None,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FeatureLayout:
        """The inverse of `as_dict`."""
        return cls(
            tokens=tuple(values["tokens"]) if values["tokens"] else None,
            cls=int(values["cls"]),
            point_map=tuple(values["point_map"]) if values["point_map"] else None,
        )


class ViewFeatures(Protocol):
    """Turns views into rows."""

    layout: FeatureLayout
    """What a row holds."""
    size: int
    """Rows and columns of the point maps it wants, pixels."""
    backbone: dict[str, Any] | None
    """``name``, ``weights_sha256`` and ``output`` of the backbone; None without one."""

    def rows(self, point_map: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """(N, F) float16 of views (N, H, W, 3) in the agent's frame with validity (N, H, W)."""
        ...


class BlindFeatures:
    """No features: the control that shows what sensors alone achieve."""

    layout = FeatureLayout()
    size = RENDER_SIZE["blind"]
    backbone: dict[str, Any] | None = None

    def rows(self, point_map: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """(N, 0)."""
        return np.zeros((len(point_map), 0), np.float16)


class PointMapFeatures:
    """The point map itself, every second pixel: what a CNN learns on without any backbone."""

    layout = FeatureLayout(point_map=(CNN_SIZE, CNN_SIZE))
    size = RENDER_SIZE["cnn"]
    backbone: dict[str, Any] | None = None

    def rows(self, point_map: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """(N, 3 h w): the point map as float16, whose steps are below 8 mm within 10 m."""
        small, _ = resize(point_map, valid, CNN_SIZE, CNN_SIZE)
        return small.reshape(len(small), -1).astype(np.float16)  # (N, h, w, 3) -> (N, h w 3)


class BackboneFeatures:
    """Tokens of a frozen backbone.

    Args:
        name: weights (`poma3d.checkpoints.load_encoder`), or ``random:PRESET:SEED``.
        output: cls, patch_tokens or both.
        precision: float32 or bf16; bf16 is twice as fast where the processor knows it, and as good to learn on.
    """

    def __init__(self, name: str, output: str = "patch_tokens", *, precision: str = "float32") -> None:
        from agent.backbone import FrozenBackbone

        source = random_encoder(name) if name.startswith(RANDOM_PREFIX) else name
        self.frozen = FrozenBackbone(source, output=output, precision=precision, device="cpu")
        """The backbone itself, for whoever encodes elsewhere (`agent.encoded_vec_env`)."""
        shapes = self.frozen.feature_shapes
        tokens, cls = shapes.get("patch_tokens"), shapes.get("cls")
        self.layout = FeatureLayout(
            tokens=(int(tokens[0]), int(tokens[1])) if tokens else None, cls=int(cls[0]) if cls else 0
        )
        self.size = int(self.frozen.image_size)
        self.backbone: dict[str, Any] | None = {
            "name": name,
            "weights_sha256": self.frozen.weights_sha256,
            "output": output,
        }

    def rows(self, point_map: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """(N, F) float16: the tokens row by row, then the embedding."""
        size = (self.size, self.size)
        if point_map.shape[1:3] != size:
            point_map, valid = resize(point_map, valid, *size)
        return flat_rows(self.frozen.encode(point_map, valid))


def flat_rows(encoded: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N, F) float16 from a backbone's ``patch_tokens`` (N, P, C), ``cls`` (N, D) or both; beyond +-60,000 cut off."""
    parts = [encoded[name] for name in ("patch_tokens", "cls") if name in encoded]
    flat = [part.reshape(len(part), -1) for part in parts]  # (N, P, C) -> (N, P C)
    return np.clip(np.concatenate(flat, 1), -6e4, 6e4).astype(np.float16)


def random_encoder(name: str) -> Any:
    """The encoder with random weights that ``random:PRESET:SEED`` names.

    Raises:
        SettingError: another form, or no such preset.
    """
    from poma3d.encoder import PointMapEncoder

    parts = name.split(":")
    if len(parts) != 3 or not parts[2].isdecimal():
        raise SettingError(f"random weights are named random:PRESET:SEED, found {name!r}")
    return PointMapEncoder(parts[1], seed=int(parts[2])).eval()


def open_features(
    kind: str, backbone: str, output: str, *, seed: int = 0, precision: str = "float32"
) -> ViewFeatures:
    """The features of that kind (`policies.learning.settings.FEATURES`)."""
    if kind == "blind":
        return BlindFeatures()
    if kind == "cnn":
        return PointMapFeatures()
    if kind == "random-backbone":
        backbone = f"{RANDOM_PREFIX}mini:{seed}"
    return BackboneFeatures(backbone, output, precision=precision)
