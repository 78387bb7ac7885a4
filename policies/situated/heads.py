"""From settings to a head, and a trained head as one file: weights, settings, answers and words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from policies.situated.pointing import SituatedHead
from policies.situated.samples import Answers
from policies.situated.settings import HeadSettings
from policies.situated.specialist import PoseHead, SpecialistHead
from policies.situated.text import text_states
from poma3d.errors import FileError, SettingError
from poma3d.towers.mini_text import MiniText, MiniTextConfig
from poma3d.towers.vocabulary import Vocabulary
from poma3d.weights import describe_mismatch, read_weights, write_weights

HEAD_FORMAT = "pomagym.head/1"
"""What the metadata of a head's file say it is."""
Head = SpecialistHead | SituatedHead | PoseHead
"""Any of the heads: `HeadBatch` to the logits of every output."""


@dataclass(frozen=True)
class HeadShape:
    """All that decides a head's weights' names and shapes."""

    settings: HeadSettings
    answers: Answers
    reads: tuple[str, ...]
    """Fields of a sample's text that it reads."""
    token_width: int
    """Channels of a patch token."""
    embedding: int
    """Channels of a view embedding."""
    words: tuple[str, ...] = ()
    """Words of the mini text tower."""
    text_config: MiniTextConfig | None = None
    """Its shape."""
    backbone_sha256: str = ""
    """Weights of the encoder whose features it was made for."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "settings": self.settings.as_dict(),
            "classes": {name: list(classes) for name, classes in self.answers.classes.items()},
            "reads": list(self.reads),
            "token_width": self.token_width,
            "embedding": self.embedding,
            "words": list(self.words),
            "text_config": None if self.text_config is None else dict(vars(self.text_config)),
            "backbone_sha256": self.backbone_sha256,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeadShape:
        """What `as_dict` wrote.

        Raises:
            KeyError, TypeError, SettingError: something else.
        """
        text = values["text_config"]
        return cls(
            settings=HeadSettings.from_dict(values["settings"]),
            answers=Answers({name: tuple(classes) for name, classes in values["classes"].items()}),
            reads=tuple(values["reads"]),
            token_width=int(values["token_width"]),
            embedding=int(values["embedding"]),
            words=tuple(values["words"]),
            text_config=None if text is None else MiniTextConfig(**text),
            backbone_sha256=str(values["backbone_sha256"]),
        )


def make_head(shape: HeadShape, tower: MiniText | None = None, *, seed: int = 0) -> Head:
    """A new head; torch's global generator is left alone.

    Args:
        shape: what it is made of.
        tower: the mini text tower it starts from; None makes one of the shape's words with random weights.
        seed: of the random weights.

    Raises:
        SettingError, FileError: as the text tower.
    """
    settings = shape.settings
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if settings.kind == "pose_only":
            return PoseHead(settings, shape.answers)
        if settings.text == "mini" and tower is None:
            tower = MiniText(Vocabulary(shape.words), shape.text_config, seed=seed)
        text = text_states(settings.text, settings.text_tokens, tower)
        if settings.kind == "situated":
            return SituatedHead(settings, shape.answers, text, shape.token_width, shape.embedding)
        embedding = shape.embedding if settings.kind == "specialist" else None
        return SpecialistHead(settings, shape.answers, text, embedding)


def save_head(
    path: str | os.PathLike[str],
    shape: HeadShape,
    weights: Mapping[str, Tensor],
    notes: Mapping[str, Any] | None = None,
) -> str:
    """Write a head, whole or not at all; returns the hash of its weights.

    Raises:
        FileError: it cannot be written, or a weight is not finite.
    """
    return write_weights(path, HEAD_FORMAT, weights, shape.as_dict(), notes=notes)


@dataclass(frozen=True)
class LoadedHead:
    """A head from a file, ready to answer."""

    head: nn.Module
    shape: HeadShape
    notes: dict[str, Any]
    """How it was trained."""
    weights_sha256: str


def load_head(path: str | os.PathLike[str]) -> LoadedHead:
    """Read what `save_head` wrote, on the CPU, in ``eval``.

    Raises:
        FileError: missing, damaged, or no head.
    """
    file = read_weights(path, HEAD_FORMAT)
    try:
        shape = HeadShape.from_dict(file.config)
        head = make_head(shape)
    except (KeyError, TypeError, AttributeError, SettingError) as error:
        raise FileError(path, f"its config is not that of a head ({error})") from error
    expected = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in file.tensors.items()}
    if expected != found:
        raise FileError(path, describe_mismatch(expected, found, "this head"))
    head.load_state_dict(file.tensors)
    return LoadedHead(head.eval(), shape, file.notes, file.weights_sha256)
