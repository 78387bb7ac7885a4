"""The point-map encoder: a CLIP vision tower that reads XYZ where CLIP read RGB (POMA-3D, arXiv 2511.16567).

Shapes: B scenes, V views, N = B V views in one batch, H x W pixels, P patches, K patches kept, C width,
D embedding.

Differences from the paper:

- The patch embedding and the first layer norm are computed in float32 even where the rest is bfloat16. The
  authors' code casts the coordinates themselves to bfloat16, whose steps are 3 to 6 cm at 10 m: walls turn to
  stairs. In float32 with float32 weights the two agree.
- A point that is not finite, or that the caller marks as not valid, enters as (0, 0, 0), and (0, 0, 0) is no
  point. The paper states the zeros; what it does with NaN is unknown.
- ``keep`` counts patches from 0 and the CLS token always stays, so that one pass serves the alignment and the
  JEPA objective. How the authors index CLS is unknown.
- ``EncoderConfig.coordinates = "patch"`` is ours, for encoders that start from random weights (``mini``): see there.
- ``EncoderConfig.mask_invalid`` is ours and off by default. It is an attention mask and not a learned token:
  it adds no weight, so published weights load whole, and a view without invalid patches is encoded the same
  with it and without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from poma3d.encoder_config import EncoderConfig, LoraSettings, preset
from poma3d.errors import SettingError
from poma3d.lora import add_lora, merged_state_dict
from poma3d.weights import describe_mismatch, weights_sha256

_DETAIL, _PLACE = 2.0, 0.25
"""With ``coordinates="patch"``: factors of a point relative to the middle of its patch and of that middle, both then
about 1 in rooms (a patch spans half a metre, a room some metres)."""


class Encoding(NamedTuple):
    """What the encoder says about views, grouped (B, V) as they came in or flat (N)."""

    cls: Tensor
    """(B, V, D) or (N, D): the projected CLS token of each view, not normalised."""
    patch_tokens: Tensor
    """(B, V, P, C) or (N, P, C): the last layer's patch tokens before any norm; K of them under ``keep``."""
    valid_patches: Tensor
    """(B, V, P) or (N, P) bool: the patch has at least one valid pixel; K of them under ``keep``."""
    scene: Tensor | None
    """(B, D): the mean of each scene's view embeddings; None for views that came in flat."""


def retrieval_embedding(cls: Tensor) -> Tensor:
    """Pool view embeddings (..., V, D) to (..., D) for retrieval: normalise, average, normalise, in float32."""
    return functional.normalize(functional.normalize(cls.float(), dim=-1).mean(-2), dim=-1)


class QuickGelu(nn.Module):
    """CLIP's x sigmoid(1.702 x), written silu(1.702 x) / 1.702: less memory is touched, and less is kept."""

    def forward(self, hidden: Tensor) -> Tensor:
        """The activation of every element of ``hidden``."""
        if torch.is_grad_enabled() and hidden.requires_grad:
            return functional.silu(hidden * 1.702) / 1.702
        return functional.silu(hidden * 1.702, inplace=True).div_(1.702)


class Gelu(nn.Module):
    """The exact GELU, in place where nothing is differentiated: the same bits, and up to a ninth less time for `mini`
    on a CPU, because what the layer before has just written is still in the cache.
    """

    def forward(self, hidden: Tensor) -> Tensor:
        """The activation of every element of ``hidden``, which may be overwritten."""
        if torch.is_grad_enabled() and hidden.requires_grad:
            return functional.gelu(hidden)
        return torch.ops.aten.gelu_(hidden)


class PointMapEncoder(nn.Module):
    """A CLIP vision transformer with projection on point maps; every view is encoded on its own.

    Its weights carry the names of transformers' ``CLIPVisionModelWithProjection`` under ``clip.``. New weights
    are CLIP's random initialisation from ``seed``; for trained ones see `poma3d.checkpoints.load_encoder`.

    Args:
        config: the shape, or the name of a preset ("base", "mini").
        seed: of the random weights; torch's global generator is left alone.
    """

    def __init__(self, config: EncoderConfig | str = "base", *, seed: int = 0) -> None:
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        from poma3d import attention

        super().__init__()
        self.config = preset(config) if isinstance(config, str) else config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.clip = CLIPVisionModelWithProjection(
                CLIPVisionConfig(
                    hidden_size=self.config.width,
                    intermediate_size=self.config.mlp_width,
                    projection_dim=self.config.embedding,
                    num_hidden_layers=self.config.depth,
                    num_attention_heads=self.config.heads,
                    image_size=self.config.image_size,
                    patch_size=self.config.patch_size,
                    hidden_act=self.config.activation,
                    layer_norm_eps=self.config.layer_norm_eps,
                    attn_implementation=attention.register(),
                )
            )
        faster = {"quick_gelu": QuickGelu, "gelu": Gelu}.get(self.config.activation)
        if faster is not None:
            for layer in self.clip.vision_model.encoder.layers:
                layer.get_submodule("mlp").activation_fn = faster()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Come out of a pickle, perhaps in a process that has made no encoder of its own, as under ``spawn``."""
        from poma3d import attention

        attention.register()
        super().__setstate__(state)

    @classmethod
    def from_weights(cls, config: EncoderConfig, weights: Mapping[str, Tensor]) -> PointMapEncoder:
        """An encoder that takes these tensors, named as transformers names them, as its weights.

        Raises:
            SettingError: names or shapes other than the config's; the message lists them.
        """
        with torch.device("meta"):  # no time is spent on random weights that would be thrown away
            encoder = cls(config)
        expected = {name: tuple(tensor.shape) for name, tensor in encoder.clip.state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if expected != found:
            raise SettingError(describe_mismatch(expected, found))
        encoder.clip.load_state_dict(dict(weights), assign=True)
        embeddings = encoder.clip.vision_model.embeddings
        device = embeddings.class_embedding.device
        numbers = torch.arange(config.patches + 1, device=device)[None]  # (1, 1 + P)
        embeddings.register_buffer("position_ids", numbers, persistent=False)
        return encoder.requires_grad_(True)

    def add_lora(self, settings: LoraSettings | None = None) -> PointMapEncoder:
        """Freeze the weights and train adapters instead (POMA-3D's by default); returns the encoder itself.

        Raises:
            SettingError: there are adapters already, or a target layer does not exist.
        """
        add_lora(self.clip, settings)
        return self

    def weights_sha256(self) -> str:
        """The hash of `weights`: the same for the same numbers, whatever file they came from."""
        return weights_sha256(self.weights())

    def weights(self) -> dict[str, Tensor]:
        """The weights by transformers' names, detached, LoRA adapters folded in: what `from_weights` takes."""
        return {name: tensor.detach() for name, tensor in merged_state_dict(self.clip).items()}

    def forward(self, point_map: Tensor, valid: Tensor | None = None, keep: Tensor | None = None) -> Encoding:
        """Encode views.

        Args:
            point_map: (B, V, H, W, 3) or (N, H, W, 3) metres, z up; H = W = ``config.image_size``.
            valid: the same without the last size, bool; None takes every point for valid. (0, 0, 0) never is.
            keep: (B, V, K) or (N, K) int64, the patches that enter the transformer, numbered row by row from 0;
                the tokens come back in this order. None keeps all.

        Raises:
            SettingError: shapes, types or patch numbers that do not fit.
        """
        config = self.config
        views = tuple(point_map.shape[:-3])
        size = (config.image_size, config.image_size, 3)
        if len(views) not in (1, 2) or tuple(point_map.shape[-3:]) != size or 0 in views:
            raise SettingError(
                f"this encoder takes point maps (B, V, H, W, 3) or (N, H, W, 3) of"
                f" {config.image_size} x {config.image_size} pixels, found {tuple(point_map.shape)};"
                " poma3d.pointmap.resize changes the size"
            )
        if valid is not None and (valid.dtype != torch.bool or valid.shape != point_map.shape[:-1]):
            raise SettingError(
                f"validity must be bool of shape {tuple(point_map.shape[:-1])},"
                f" found {valid.dtype} of shape {tuple(valid.shape)}"
            )
        if keep is not None:
            keep = self._flat_keep(keep, views)
        patches, valid = self._patches(point_map, valid)  # (N, P, p p 3), (N, P, p p)
        if keep is not None:
            # All steps before the transformer treat each patch alone: gathering first gives the same and costs less.
            patches = patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[-1]))  # (N, K, p p 3)
            valid = valid.gather(1, keep[..., None].expand(-1, -1, valid.shape[-1]))  # (N, K, p p)
        hidden = self._embed(patches, valid, keep)  # (N, 1 + K, C)
        valid_patches = valid.any(-1)  # (N, K)
        mask = None
        if config.mask_invalid:
            # The CLS token is always seen, so that no softmax runs over nothing.
            seen = functional.pad(valid_patches, (1, 0), value=True)  # (N, K) -> (N, 1 + K)
            mask = seen[:, None, None, :].expand(-1, 1, seen.shape[1], -1)  # (N, 1, 1 + K, 1 + K)
        tower = self.clip.vision_model
        hidden = tower.encoder(inputs_embeds=hidden, attention_mask=mask).last_hidden_state
        cls = self.clip.visual_projection(tower.post_layernorm(hidden[:, 0]))  # (N, C) -> (N, D)
        cls = cls.reshape(*views, config.embedding)  # (N, D) -> (B, V, D)
        return Encoding(
            cls=cls,
            patch_tokens=hidden[:, 1:].reshape(*views, -1, config.width),  # (N, K, C) -> (B, V, K, C)
            valid_patches=valid_patches.reshape(*views, -1),  # (N, K) -> (B, V, K)
            scene=cls.mean(1) if len(views) == 2 else None,
        )

    def patch_embeddings(self, patch_tokens: Tensor) -> Tensor:
        """Patch tokens (..., C) through the norm and projection of CLS: (..., D), to be compared with words."""
        return self.clip.visual_projection(self.clip.vision_model.post_layernorm(patch_tokens))

    def _flat_keep(self, keep: Tensor, views: tuple[int, ...]) -> Tensor:
        """``keep`` as (N, K), checked."""
        if keep.dtype != torch.int64 or keep.ndim != len(views) + 1 or tuple(keep.shape[:-1]) != views:
            raise SettingError(
                f"keep must be int64 patch numbers of shape {(*views, 'K')},"
                f" found {keep.dtype} of shape {tuple(keep.shape)}"
            )
        # Where we may not look, torch itself refuses.
        if _may_look(keep) and keep.numel() and not 0 <= keep.min() <= keep.max() < self.config.patches:
            raise SettingError(
                f"patch numbers run from 0 to {self.config.patches - 1},"
                f" found {int(keep.min())} to {int(keep.max())}"
            )
        return keep.reshape(-1, keep.shape[-1])  # (B, V, K) -> (N, K)

    def _patches(self, point_map: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """Cut views into patches: points (N, P, p p 3) float32, 0 where not valid, and which are valid: (N, P, p p)."""
        grid, side = self.config.grid, self.config.patch_size
        points = point_map.float()
        # Slices and not a sum over 3: that sum is slow. It is 0, NaN or infinite where the point is.
        x, y, z = points.unbind(-1)
        extent = x.abs() + y.abs() + z.abs()  # (..., H, W)
        present = extent != 0  # NaN counts as present
        seen = present & (extent < torch.inf)  # no NaN is below anything
        valid = seen if valid is None else seen & valid
        cut = points.reshape(-1, grid, side, grid, side, 3)  # (B, V, H, W, 3) -> (N, g, p, g, p, 3)
        cut_valid = valid.reshape(-1, grid, side, grid, side)  # (B, V, H, W) -> (N, g, p, g, p)
        # Most point maps hold zeros already where they are not valid; finding out is cheap.
        if not _may_look(points) or not torch.equal(valid, present):
            cut = cut.masked_fill(~cut_valid[..., None], 0.0)
        return (
            cut.transpose(2, 3).reshape(-1, grid * grid, side * side * 3),  # -> (N, P, p p 3)
            cut_valid.transpose(2, 3).reshape(-1, grid * grid, side * side),  # -> (N, P, p p)
        )

    def _embed(self, patches: Tensor, valid: Tensor, keep: Tensor | None) -> Tensor:
        """Patch + position embedding and the first layer norm in float32, then the model's dtype: (N, 1 + K, C).

        The patches (N, K, p p 3) are those that ``keep`` names.
        """
        tower = self.clip.vision_model
        embeddings, norm = tower.embeddings, tower.pre_layrnorm
        with torch.autocast(patches.device.type, enabled=False):
            kernel = embeddings.patch_embedding.weight.float()  # (C, 3, p, p)
            # A convolution whose stride is its size is a matrix product over patches, and as that it is faster.
            kernel = kernel.permute(0, 2, 3, 1).flatten(1)  # (C, 3, p, p) -> (C, p p 3)
            table = embeddings.position_embedding.weight.float()  # (1 + P, C)
            position = table[1:] if keep is None else table[1:][keep]  # (P, C) or (N, K, C)
            tokens = self._read(patches, valid, kernel) + position  # (N, K, C)
            cls = (embeddings.class_embedding.float() + table[0]).expand(tokens.shape[0], 1, -1)  # (N, 1, C)
            hidden = torch.cat([cls, tokens], 1)  # (N, 1 + K, C)
            hidden = functional.layer_norm(
                hidden, (self.config.width,), norm.weight.float(), norm.bias.float(), norm.eps
            )
        return hidden.to(embeddings.class_embedding.dtype)

    def _read(self, patches: Tensor, valid: Tensor, kernel: Tensor) -> Tensor:
        """Patches (N, K, p p 3), 0 where not ``valid`` (N, K, p p), through the embedding's kernel: (N, K, C)."""
        if self.config.coordinates == "raw":
            return functional.linear(patches, kernel)
        points = patches.unflatten(-1, (-1, 3))  # (N, K, p p 3) -> (N, K, p p, 3)
        count = valid.sum(-1, keepdim=True).clamp(min=1)  # (N, K, 1)
        middle = points.sum(2) / count  # (N, K, 3)
        # What is not valid takes the middle, so that it says nothing. Then all is linear, and the change of
        # coordinates costs a product of 3 columns and no pass over the points.
        if not _may_look(patches):
            points = torch.where(valid[..., None], points, middle[:, :, None])
        else:  # few are not valid, and writing those alone takes a third of the time
            holes = (~valid).flatten().nonzero()[:, 0]  # (M,)
            filling = middle.flatten(0, 1).index_select(0, holes // valid.shape[-1])  # (N K, 3) -> (M, 3)
            points = (
                points.flatten(0, 2).index_copy(0, holes, filling).view_as(points)
            )  # (N K p p, 3) and back
        whole = kernel.unflatten(-1, (-1, 3)).sum(1)  # (C, p p 3) -> (C, 3)
        detail = functional.linear(points.flatten(2), _DETAIL * kernel)  # (N, K, p p, 3) -> (N, K, C)
        return detail + functional.linear(middle, (_PLACE - _DETAIL) * whole)


def _may_look(tensor: Tensor) -> bool:
    """Whether what is done may depend on the numbers in a tensor: on a GPU that waits for all queued work, and what is
    being compiled or exported is to hold for any numbers.
    """
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()
