"""FG-CLIP's text and image towers (arXiv 2505.05071), from its published files, without running the code in them.

The files ask for ``trust_remote_code``; the model is rebuilt here on transformers' CLIP instead, after the code
published beside UniScene3D (``src/fg-clip/modeling_fgclip.py``) and checked for equality where transformers can
do the same. Short texts (77 tokens) use CLIP's position table and ``text_projection``. Long texts (248) take the
first 20 positions from ``position_embedding_ori``, the others from ``position_embedding_res``, and go through
``text_filip_projection``. The text's feature is that of its first end token.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from poma3d.checkpoint_layouts import Weights, read_json, resolve, weight_files
from poma3d.checkpoints import load_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.errors import FileError, SettingError
from poma3d.towers.protocol import checked_texts
from poma3d.weights import describe_mismatch, refuse_not_finite, weights_sha256

SHORT, LONG = 77, 248
"""Tokens of a short and of a long text, begin and end token included."""
_KEPT = 20  # positions that the long path shares with CLIP's
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


class FgClipText(nn.Module):
    """FG-CLIP's text tower, frozen.

    Args:
        config: the ``text_config`` of its ``config.json``; what is left out is CLIP's default.
        embedding: channels of an embedding, D.
        tokenizer: transformers' CLIP tokenizer.
        name: where it came from.
    """

    def __init__(self, config: dict[str, Any], embedding: int, tokenizer: Any, name: str) -> None:
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection

        super().__init__()
        self.name = name
        self.embedding = embedding
        self.tokenizer = tokenizer
        known = CLIPTextConfig().to_dict()
        kept = {key: value for key, value in config.items() if key in known and key != "model_type"}
        shape = CLIPTextConfig(**kept, attn_implementation="sdpa")
        width = shape.hidden_size
        self.text_model = CLIPTextModelWithProjection(shape).text_model
        self.text_model.embeddings.position_embedding_ori = nn.Embedding(LONG, width)
        self.text_model.embeddings.position_embedding_res = nn.Embedding(LONG, width)
        self.text_projection = nn.Linear(width, embedding, bias=False)
        self.text_filip_projection = nn.Linear(width, embedding, bias=False)
        self.requires_grad_(False)

    @classmethod
    def load(cls, path_or_name: str | os.PathLike[str] = "fg-clip-base") -> FgClipText:
        """Load the tower of an FG-CLIP folder or model of the hub, on the CPU, in float32.

        Raises:
            FileError: no such folder or model, no tokenizer files in it, or weights missing, unexpected, of
                other shapes or not finite.
        """
        folder = resolve(path_or_name)
        config = read_json(folder / "config.json")
        tower = cls(
            config=config.get("text_config", {}),
            embedding=config.get("projection_dim", 512),
            tokenizer=_load_tokenizer(folder),
            name=os.fspath(path_or_name),
        )
        with Weights(weight_files(folder)) as weights:
            tensors = {
                key: weights[key].float()
                for key in weights
                if key.startswith(("text_model.", "text_projection.", "text_filip_projection."))
                and not key.endswith("embeddings.position_ids")
            }
        expected = {key: tuple(tensor.shape) for key, tensor in tower.state_dict().items()}
        found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
        if expected != found:
            raise FileError(folder, describe_mismatch(expected, found))
        refuse_not_finite(folder, tensors)
        tower.load_state_dict(tensors)
        return tower.eval()

    def encode(self, texts: Sequence[str], *, long: bool = False, batch: int = 64) -> Tensor:
        """See `poma3d.towers.TextTower.encode`; ``long`` takes 248 tokens instead of 77. No gradients."""
        texts = checked_texts(texts)
        length = LONG if long else SHORT
        embeddings = [self.text_projection.weight.new_zeros(0, self.embedding)]
        for start in range(0, len(texts), batch):
            tokens = self.tokenizer(
                texts[start : start + batch],
                padding=True,
                truncation=True,
                max_length=length,
                return_tensors="pt",
            )
            ids = tokens["input_ids"].to(self.text_projection.weight.device)
            embeddings.append(self.get_text_features(ids, walk_short_pos=not long).float())
        return torch.cat(embeddings)

    @torch.no_grad()
    def get_text_features(self, ids: Tensor, *, walk_short_pos: bool = True) -> Tensor:
        """FG-CLIP's own interface: token ids (N, T) to features (N, D), by the short or the long path."""
        tower = self.text_model
        embeddings: Any = tower.embeddings
        if walk_short_pos:
            positions = embeddings.position_embedding.weight  # (77, C)
        else:
            long = embeddings.position_embedding_res.weight[_KEPT:]
            positions = torch.cat([embeddings.position_embedding_ori.weight[:_KEPT], long])  # (248, C)
        length = ids.shape[1]
        if length > len(positions):
            raise SettingError(f"a text of {length} tokens does not fit the {len(positions)} of this path")
        hidden = embeddings.token_embedding(ids) + positions[:length]  # (N, T, C)
        # Each token sees those before it; so what pads after the end token changes nothing.
        seen = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        hidden = tower.encoder(inputs_embeds=hidden, attention_mask=seen[None, None]).last_hidden_state
        hidden = tower.final_layer_norm(hidden)
        end = (ids == self.tokenizer.eos_token_id).int().argmax(1)  # (N,) the first end token
        feature = hidden[torch.arange(len(ids), device=ids.device), end]  # (N, T, C) -> (N, C)
        return (self.text_projection if walk_short_pos else self.text_filip_projection)(feature)

    def weights_sha256(self) -> str:
        """See `poma3d.towers.TextTower.weights_sha256`."""
        return weights_sha256(self.state_dict())


class FgClipImage(nn.Module):
    """FG-CLIP's image tower, frozen: the network that `PointMapEncoder` starts from, on colours.

    Args:
        encoder: the vision tower.
        name: where it came from.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, encoder: PointMapEncoder, name: str) -> None:
        super().__init__()
        self.name = name
        self.embedding = encoder.config.embedding
        self.encoder = encoder.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_MEAN), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION), persistent=False)

    @classmethod
    def load(cls, path_or_name: str | os.PathLike[str] = "fg-clip-base") -> FgClipImage:
        """Load the tower of an FG-CLIP folder or model of the hub, on the CPU, in float32.

        Raises:
            FileError: as `poma3d.checkpoints.load_encoder`.
        """
        return cls(load_encoder(path_or_name), os.fspath(path_or_name)).eval()

    @torch.no_grad()
    def encode(self, images: Any, batch: int = 64) -> Tensor:
        """See `poma3d.towers.ImageTower.encode`: squeezed to a square, normalised as CLIP does. No gradients."""
        pictures = torch.as_tensor(images)
        if pictures.ndim != 4 or pictures.shape[-1] != 3 or 0 in pictures.shape[1:]:
            raise SettingError(f"pictures (N, H, W, 3) are needed, found {tuple(pictures.shape)}")
        if pictures.dtype != torch.uint8 and not pictures.is_floating_point():
            raise SettingError(f"pictures must be uint8 or floats in [0, 1], found {pictures.dtype}")
        if pictures.is_floating_point() and not bool(((pictures >= 0) & (pictures <= 1)).all()):
            raise SettingError("pictures of floats must lie in [0, 1]; pass 0 to 255 as uint8")
        device = self.mean.device
        embeddings = [torch.zeros(0, self.embedding, device=device)]
        for start in range(0, len(pictures), batch):
            part = pictures[start : start + batch]
            pixels = part.to(device).float() / (255 if part.dtype == torch.uint8 else 1)
            embeddings.append(self.encoder(self._prepare(pixels)).cls.float())
        return torch.cat(embeddings)

    def _prepare(self, pixels: Tensor) -> Tensor:
        """Resize (n, H, W, 3) in [0, 1] to the tower's square by antialiased bicubic steps, and normalise."""
        side = self.encoder.config.image_size
        if tuple(pixels.shape[1:3]) != (side, side):
            planes = pixels.movedim(-1, 1)  # (n, H, W, 3) -> (n, 3, H, W)
            planes = functional.interpolate(planes, (side, side), mode="bicubic", antialias=True)
            pixels = planes.clamp(0, 1).movedim(1, -1)  # -> (n, side, side, 3)
        return (pixels - self.mean) / self.deviation

    def weights_sha256(self) -> str:
        """See `poma3d.towers.ImageTower.weights_sha256`."""
        return self.encoder.weights_sha256()


def _load_tokenizer(folder: Path) -> Any:
    """CLIP's tokenizer from the files in ``folder``."""
    from transformers import CLIPTokenizer

    split = all((folder / name).is_file() for name in ("vocab.json", "merges.txt"))
    if not split and not (folder / "tokenizer.json").is_file():
        raise FileError(
            folder,
            "holds no tokenizer: put FG-CLIP's tokenizer.json, or vocab.json and merges.txt, beside its"
            " config.json and model.safetensors",
        )
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # damaged files raise whatever their parser does
        raise FileError(folder, f"its tokenizer files are damaged ({error})") from error
