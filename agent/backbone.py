"""The frozen backbone: point maps in, features out, the same numbers whatever came along in the batch.

Shapes: N views, H x W pixels, P patches, C width, D embedding.

Matrix products of other sizes may add in another order, so a view encoded in a batch of seven can differ in its
last bits from the same view encoded alone. A policy amplifies that: results would depend on the number of
environments. Here a batch of some size is taken only after it was shown to give, bit for bit, what the blocks of
the reference size give; all else is cut into such blocks, the last one filled up with empty views.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from poma3d.errors import SceneWarning, SettingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from poma3d.encoder import PointMapEncoder

OUTPUTS = {"cls": ("cls",), "patch_tokens": ("patch_tokens",), "both": ("cls", "patch_tokens")}
"""What can be asked for, and the features it consists of."""

_LARGEST_ON_CPU = 8
"""Views of the largest batch on a processor; more at once are not faster (112 pixels, mini: 157 a second)."""
_FAR = 300.0
"""Metres: coordinates of rooms and houses are smaller."""
_BLOCK_ON_GPU = 32
"""Views of a block on a GPU, where filling up costs next to nothing."""


class FrozenBackbone:
    """An encoder whose weights never change, as a function from arrays to arrays.

    The features of a view depend on this view, the weights, ``precision`` and the device alone: not on the other
    views of the batch, on their number or on their order.

    Args:
        encoder: an encoder, which is copied (adapters folded in) and left as it is, or what
            `poma3d.checkpoints.load_encoder` takes: a file, a folder or a name.
        output: ``cls`` (the view's embedding), ``patch_tokens``, or ``both``.
        precision: ``float32``, ``bf16``, or ``auto``: bf16 on a GPU that has it, else float32.
        device: as torch names it, or ``auto``: a GPU where there is one.

    Raises:
        SettingError: an output, precision or device there is not, or something that is no encoder.
        FileError: the weights cannot be loaded.
    """

    def __init__(
        self,
        encoder: PointMapEncoder | str | os.PathLike[str],
        *,
        output: Literal["cls", "patch_tokens", "both"] = "cls",
        precision: Literal["auto", "float32", "bf16"] = "auto",
        device: str = "auto",
    ) -> None:
        import torch

        from poma3d.encoder import PointMapEncoder

        if output not in OUTPUTS:
            raise SettingError(f"backbone output must be one of {', '.join(OUTPUTS)}, found {output!r}")
        self.output = output
        """What was asked for."""
        self.device = _device(device)
        """Where it runs."""
        self.precision = _precision(precision, self.device)
        """``float32`` or ``bf16``."""
        if isinstance(encoder, str | os.PathLike):
            from poma3d.checkpoints import load_encoder

            encoder = load_encoder(encoder)
        elif not isinstance(encoder, PointMapEncoder):
            raise SettingError(
                "a backbone takes a name, a file or a folder (a string or a path) that load_encoder takes, or a"
                f" PointMapEncoder itself, found a {type(encoder).__name__}; PointMapEncoder.from_weights makes one of"
                " your own weights of that architecture"
            )
        self.config = encoder.config
        """The encoder's shape."""
        self.weights_sha256 = encoder.weights_sha256()
        """The hash that names the weights, whatever file they came from."""
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        weights = {
            name: tensor.to(self.device, dtype, copy=True) for name, tensor in encoder.weights().items()
        }
        self._dtype = dtype
        self._encoder = PointMapEncoder.from_weights(self.config, weights).eval().requires_grad_(False)
        if self.device.type == "cpu":
            self._encoder.clip.visual_projection.register_forward_hook(_project_each_row)
        self._block = 1 if self.device.type == "cpu" else _BLOCK_ON_GPU
        self._largest = _LARGEST_ON_CPU if self.device.type == "cpu" else _BLOCK_ON_GPU
        self._far = False  # whether far-off points have been warned of
        self._same: dict[tuple[int, int], bool] = {}  # (views, threads) -> whether they give what blocks give

    @property
    def identity(self) -> bytes:
        """A digest (16 bytes) of all that decides the features of a view: weights, shape, precision, device, torch."""
        import torch

        how = [
            self.weights_sha256,
            json.dumps(self.config.as_dict(), sort_keys=True),
            self.precision,
            self.device.type if self.device.type == "cpu" else torch.cuda.get_device_name(self.device),
            torch.__version__,
        ]
        return hashlib.sha256(json.dumps(how).encode()).digest()[:16]

    @property
    def image_size(self) -> int:
        """Rows and columns of the point maps it takes."""
        return self.config.image_size

    @property
    def feature_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each feature of one view: ``cls`` (D,), ``patch_tokens`` (P, C)."""
        shapes = {"cls": (self.config.embedding,), "patch_tokens": (self.config.patches, self.config.width)}
        return {name: shapes[name] for name in OUTPUTS[self.output]}

    def encode(self, point_map: np.ndarray | Tensor, valid: np.ndarray | Tensor) -> dict[str, np.ndarray]:
        """The features of views.

        Args:
            point_map: (N, H, W, 3) metres, z up, floats.
            valid: (N, H, W) bool.

        Returns:
            ``cls`` (N, D) and ``patch_tokens`` (N, P, C) as asked for, float32, in new arrays.

        Raises:
            SettingError: shapes or types that do not fit, or coordinates so large that no features come out.
            SceneWarning: once, where points lie so far away that they can hardly be metres of a room.
        """
        import torch

        points, present = _tensor(point_map), _tensor(valid)
        size = self.image_size
        if points.ndim != 4 or tuple(points.shape[1:]) != (size, size, 3) or not points.is_floating_point():
            raise SettingError(
                f"this backbone takes point maps (N, {size}, {size}, 3) of floats, found"
                f" {tuple(points.shape)} of {points.dtype}; environments are made for it with size={size}"
            )
        if present.dtype != torch.bool or present.shape != points.shape[:-1]:
            raise SettingError(
                f"validity must be bool of shape {tuple(points.shape[:-1])},"
                f" found {present.dtype} of shape {tuple(present.shape)}"
            )
        features = {
            name: np.empty((len(points), *shape), np.float32) for name, shape in self.feature_shapes.items()
        }
        points, present = points.to(self.device, torch.float32), present.to(self.device)
        # The cheap look comes first; what is not valid may hold anything, NaN too.
        if not self._far and len(points) and not points.abs().max() <= _FAR:
            farthest = _farthest(points, present)
            self._far = farthest > _FAR
            if self._far:
                warnings.warn(
                    f"a valid point lies as far away as {farthest:.0f}; point maps are in metres, and the encoder knows"
                    " rooms: divide millimetres by 1000, move far-off scenes to the origin",
                    SceneWarning,
                    stacklevel=2,
                )
        for start in range(0, len(points), self._largest):
            part = slice(start, start + self._largest)
            for name, values in self._encode_part(points[part], present[part]).items():
                if not np.isfinite(values).all():
                    raise SettingError(
                        f"the backbone's {name} of views {start} to {start + len(values) - 1} are no numbers: a valid"
                        f" point lies as far away as {_farthest(points[part], present[part]):.3g}; point maps are"
                        " in metres"
                    )
                features[name][part] = values
        return features

    def patch_embeddings(self, patch_tokens: np.ndarray) -> np.ndarray:
        """Patch tokens (N, P, C) of `encode` through the norm and projection of CLS, (N, P, D) float32.

        Not normalised; to be compared with the embeddings of words. Each view is projected on its own.
        """
        import torch

        tokens = torch.as_tensor(patch_tokens).to(self.device, self._dtype)
        with torch.inference_mode():
            rows = [self._encoder.patch_embeddings(view) for view in tokens]
        if not rows:
            return np.empty((0, self.config.patches, self.config.embedding), np.float32)
        return torch.stack(rows).float().cpu().numpy()

    def _encode_part(self, points: Tensor, valid: Tensor) -> dict[str, np.ndarray]:
        """At most the largest batch, at once where that is the same, else in blocks."""
        if self._gives_the_same(len(points)):
            return self._forward(points, valid)
        return self._in_blocks(points, valid)

    def _in_blocks(self, points: Tensor, valid: Tensor) -> dict[str, np.ndarray]:
        rows = [
            self._forward(
                *(_filled(array[start : start + self._block], self._block) for array in (points, valid))
            )
            for start in range(0, len(points), self._block)
        ]
        return {name: np.concatenate([row[name] for row in rows])[: len(points)] for name in rows[0]}

    def _gives_the_same(self, count: int) -> bool:
        """Whether ``count`` views at once give what blocks give; tried once for each count."""
        import torch

        if self._block > 1 or count == self._block:
            return count == self._block
        how = count, torch.get_num_threads()
        if how not in self._same:
            draws = torch.Generator().manual_seed(count)
            points = torch.randn(count, self.image_size, self.image_size, 3, generator=draws)
            valid = torch.rand(points.shape[:-1], generator=draws) < 0.9
            together, alone = self._forward(points, valid), self._in_blocks(points, valid)
            self._same[how] = all(np.array_equal(together[name], alone[name]) for name in together)
        return self._same[how]

    def _forward(self, points: Tensor, valid: Tensor) -> dict[str, np.ndarray]:
        """One pass of the encoder."""
        import torch

        with torch.inference_mode():
            found = self._encoder(points, valid)
        return {name: getattr(found, name).float().cpu().numpy() for name in OUTPUTS[self.output]}


def _tensor(array: np.ndarray | Tensor) -> Tensor:
    """A tensor of an array, which may be mirrored, only to be read, or of another machine's byte order."""
    import torch

    if isinstance(array, np.ndarray):
        array = np.require(array, array.dtype.newbyteorder("="), ("C", "W"))
    return torch.as_tensor(array)


def _farthest(points: Tensor, valid: Tensor) -> float:
    """The largest coordinate of a valid point, of those that are numbers."""
    import torch

    sizes = torch.where(valid[..., None] & points.isfinite(), points, 0.0).abs()
    return float(sizes.max())


def _filled(rows: Tensor, count: int) -> Tensor:
    """``rows`` and behind them as many zeros as make ``count``."""
    if len(rows) == count:
        return rows
    import torch

    return torch.cat([rows, rows.new_zeros(count - len(rows), *rows.shape[1:])])


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise SettingError(
            f"device {name!r} cannot be used here ({first}); auto, cpu and cuda are known"
        ) from None
    return device


def _precision(name: str, device: torch.device) -> str:
    import torch

    if name not in ("auto", "float32", "bf16"):
        raise SettingError(f"precision must be auto, float32 or bf16, found {name!r}")
    if name != "auto":
        return name
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def _project_each_row(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A forward hook for a linear layer: row by row, since (N, C) by (C, D) adds otherwise for each N."""
    import torch
    from torch.nn import functional

    rows = inputs[0]
    return torch.stack([functional.linear(row, module.weight, module.bias) for row in rows])
