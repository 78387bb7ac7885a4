"""The small text transformer that trains beside the mini encoder and needs no download.

Pre-norm transformer over words (`poma3d.towers.vocabulary`), every token sees every other, the mean over the
tokens is projected. CLIP reads from left to right and takes the end token instead; with a few thousand captions
the mean learns from every position at once, and nothing here is ever generated, so there is nothing to hide.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from poma3d.attention import attention
from poma3d.errors import FileError, SettingError
from poma3d.towers.protocol import checked_texts
from poma3d.towers.vocabulary import PAD, Vocabulary
from poma3d.weights import describe_mismatch, read_weights, weights_sha256, write_weights

MINI_TEXT_FORMAT = "poma3d.mini_text/1"
"""What the metadata of its files say they are."""


@dataclass(frozen=True)
class MiniTextConfig:
    """The shape of the small text tower.

    Raises:
        SettingError: sizes that do not fit together.
    """

    embedding: int = 256
    """Channels of a text's embedding, D; that of the mini encoder."""
    width: int = 192
    """Channels of a token, C; the heads divide it."""
    depth: int = 2
    """Number of transformer layers."""
    heads: int = 3
    """Number of attention heads."""
    mlp_width: int = 768
    """Hidden channels of the two-layer perceptron in each layer."""
    short: int = 77
    """Tokens of a view's caption at most, as FG-CLIP has them."""
    long: int = 248
    """Tokens of a scene's caption at most, as FG-CLIP has them."""

    def __post_init__(self) -> None:
        for name, size in asdict(self).items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise SettingError(f"text tower {name} must be a whole number of at least 1, found {size!r}")
        if self.width % self.heads:
            raise SettingError(f"{self.heads} heads do not divide a width of {self.width} channels")
        if not 2 <= self.short <= self.long:
            raise SettingError(
                f"texts need room for 2 tokens, and long ones at least that of short ones,"
                f" found {self.short} and {self.long}"
            )


class _Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, config: MiniTextConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm1 = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm2 = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, config.mlp_width)
        self.fc2 = nn.Linear(config.mlp_width, config.width)

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        """``hidden`` (N, T, C), ``seen`` (N, 1, 1, T) bool."""
        N, T, C = hidden.shape
        qkv = self.qkv(self.norm1(hidden)).reshape(N, T, 3, self.heads, C // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (N, T, 3, h, C/h) -> 3 x (N, h, T, C/h)
        mixed = attention(query, key, value, seen)
        hidden = hidden + self.out(mixed.transpose(1, 2).reshape(N, T, C))  # (N, h, T, C/h) -> (N, T, C)
        return hidden + self.fc2(functional.gelu(self.fc1(self.norm2(hidden))))


class MiniText(nn.Module):
    """The small text tower; gradients flow through `encode` as through any module.

    Args:
        vocabulary: the words it knows.
        config: its shape.
        seed: of the random weights; torch's global generator is left alone.
        name: where it came from, for logs.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        config: MiniTextConfig | None = None,
        *,
        seed: int = 0,
        name: str = "mini_text",
    ) -> None:
        super().__init__()
        self.config = config or MiniTextConfig()
        self.vocabulary = vocabulary
        self.name = name
        self.embedding = self.config.embedding
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.token_embedding = nn.Embedding(len(vocabulary), self.config.width)
            self.position_embedding = nn.Embedding(self.config.long, self.config.width)
            self.layers = nn.ModuleList(_Layer(self.config) for _ in range(self.config.depth))
            self.norm = nn.LayerNorm(self.config.width)
            self.projection = nn.Linear(self.config.width, self.config.embedding, bias=False)
            for table in (self.token_embedding, self.position_embedding):
                nn.init.normal_(table.weight, std=0.02)  # CLIP's

    def tokens(self, texts: Sequence[str], *, long: bool = False) -> Tensor:
        """Token numbers (N, T) int64 on the tower's device, padded to the longest text."""
        length = self.config.long if long else self.config.short
        rows = [self.vocabulary.encode(text, length) for text in checked_texts(texts)]
        widest = max((len(row) for row in rows), default=1)
        padded = [row + [PAD] * (widest - len(row)) for row in rows]
        device = self.projection.weight.device
        return torch.tensor(padded, dtype=torch.int64, device=device).reshape(-1, widest)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token numbers (N, T) to embeddings (N, D), not normalised."""
        seen = tokens != PAD  # (N, T)
        positions = self.position_embedding.weight[: tokens.shape[1]]  # (T, C)
        hidden = self.token_embedding(tokens) + positions  # (N, T, C)
        for layer in self.layers:
            hidden = layer(hidden, seen[:, None, None, :])
        hidden = self.norm(hidden) * seen[..., None]
        mean = hidden.sum(1) / seen.sum(1, keepdim=True)  # (N, T, C) -> (N, C)
        return self.projection(mean)

    def encode(self, texts: Sequence[str], *, long: bool = False) -> Tensor:
        """See `poma3d.towers.TextTower.encode`; the caller decides whether gradients are kept."""
        return self(self.tokens(texts, long=long)).float()

    def weights_sha256(self) -> str:
        """See `poma3d.towers.TextTower.weights_sha256`."""
        return weights_sha256(self.state_dict())

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        notes: Mapping[str, Any] | None = None,
        dtype: torch.dtype | None = None,
    ) -> str:
        """Save weights, shape and vocabulary, whole or not at all; returns the hash of what was written.

        Raises:
            FileError: the file cannot be written, or a weight is NaN or infinite.
        """
        config = {**asdict(self.config), "words": list(self.vocabulary.words)}
        return write_weights(path, MINI_TEXT_FORMAT, self.state_dict(), config, notes=notes, dtype=dtype)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MiniText:
        """Load what `save` wrote, on the CPU, in float32, ready for inference (``eval``).

        Raises:
            FileError: the file is missing, damaged, of another kind or of another shape.
        """
        file = read_weights(path, MINI_TEXT_FORMAT)
        try:
            settings = dict(file.config)
            tower = cls(Vocabulary(settings.pop("words")), MiniTextConfig(**settings), name=os.fspath(path))
        except (KeyError, TypeError, SettingError) as error:
            raise FileError(path, f"its config is not that of a text tower ({error})") from error
        expected = {name: tuple(tensor.shape) for name, tensor in tower.state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in file.tensors.items()}
        if expected != found:
            raise FileError(path, describe_mismatch(expected, found))
        tower.load_state_dict({name: tensor.float() for name, tensor in file.tensors.items()})
        return tower.eval()
