"""A text tower that answers with a state for every token, and trains: the mini tower, or one of transformers'.

The published head trains jina-clip-v2, whose files bring code of their own to run; code in weights is not run here.
Any encoder that transformers knows itself (BERT, MPNet, XLM-R, ...) can stand in by its folder or hub name.
Shapes: B texts, T tokens, C width.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from poma3d.errors import FileError, SettingError
from poma3d.towers.mini_text import MiniText
from poma3d.towers.vocabulary import PAD, Vocabulary


class TextStates(Protocol):
    """What a head asks of a text tower; its implementations are modules."""

    width: int
    """Channels of a state, C."""

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """States (B, T, C) and which of them belong to the text (B, T) bool."""
        ...


class MiniTextStates(nn.Module):
    """The mini text tower.

    Args:
        tower: its weights, which train.
        length: longest text, tokens.
    """

    def __init__(self, tower: MiniText, length: int) -> None:
        super().__init__()
        self.tower, self.width = tower, tower.config.width
        self.length = min(length, tower.config.long)

    def forward(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """See `TextStates`."""
        rows = [self.tower.vocabulary.encode(text, self.length) for text in texts]
        widest = max(map(len, rows))
        device = self.tower.token_embedding.weight.device
        tokens = torch.tensor([row + [PAD] * (widest - len(row)) for row in rows], device=device)  # (B, T)
        seen = tokens != PAD
        hidden = self.tower.token_embedding(tokens) + self.tower.position_embedding.weight[:widest]
        for layer in self.tower.layers:
            hidden = layer(hidden, seen[:, None, None, :])
        return self.tower.norm(hidden), seen


class TransformersTextStates(nn.Module):
    """A text encoder of transformers'.

    Args:
        name: its folder or its name on the hub.
        length: longest text, tokens.

    Raises:
        FileError: there is none, or it would have to run code of its own.
    """

    def __init__(self, name: str, length: int) -> None:
        from transformers import AutoModel, AutoTokenizer

        super().__init__()
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            self.model: Any = AutoModel.from_pretrained(name, trust_remote_code=False)
        except Exception as error:  # a dozen kinds, from no network to damaged files
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise FileError(
                name, f"is no text encoder that transformers can load without running its code ({reason})"
            ) from error
        self.width, self.length = int(self.model.config.hidden_size), length

    def forward(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """See `TextStates`."""
        tokens = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.length, return_tensors="pt"
        ).to(self.model.device)
        return self.model(**tokens).last_hidden_state, tokens["attention_mask"].bool()


def mini_tower(
    texts: Iterable[str], weights: str | os.PathLike[str] | None = None, *, seed: int = 0
) -> MiniText:
    """The mini tower for the words of ``texts``: trained on captions where ``weights`` are given, else random.

    Words that the trained tower lacks get a token of their own behind its words, with new weights.

    Raises:
        FileError: the weights cannot be read.
    """
    new = Vocabulary.build(texts)
    if weights is None:
        return MiniText(new, seed=seed)
    trained = MiniText.load(weights)
    known = set(trained.vocabulary.words)
    words = (*trained.vocabulary.words, *(word for word in new.words if word not in known))
    tower = MiniText(Vocabulary(words), trained.config, seed=seed)
    state = trained.state_dict()
    old = state.pop("token_embedding.weight")
    tower.load_state_dict(state, strict=False)
    with torch.no_grad():
        tower.token_embedding.weight[: len(old)] = old
        tower.token_embedding.weight[len(old) :] *= old.std() / 0.02  # as large as those that were trained
    return tower


def text_states(name: str, length: int, tower: MiniText | None) -> MiniTextStates | TransformersTextStates:
    """The tower that the settings name.

    Raises:
        SettingError: mini, and no tower was given.
        FileError: as `TransformersTextStates`.
    """
    if name != "mini":
        return TransformersTextStates(name, length)
    if tower is None:
        raise SettingError("the text tower mini needs its words and weights (mini_tower)")
    return MiniTextStates(tower, length)
