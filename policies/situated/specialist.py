"""The published head, and the controls that see no point map.

After the code of POMA-3D's authors' follow-up (UniScene3D, arXiv 2604.02546; the paper itself does not state the
head's sizes): attention pooling (a perceptron d -> 256 -> 1, softmax) over the view embeddings, not normalised, and
over the text's tokens, each brought to 512 channels; their sum; LayerNorm; 512 -> 768; GELU; dropout 0.3; classes.
Neither the agent's pose nor the place of a view goes in.

Differences: the text tower is a setting (jina-clip-v2 there, which brings code of its own to run), and one head may
have several outputs (four and eight directions) on one trunk.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from policies.situated.batch import HeadBatch
from policies.situated.samples import Answers
from policies.situated.settings import HeadSettings
from policies.situated.text import TextStates

_POOLING = 256


class AttentionPooling(nn.Module):
    """A weighted mean of tokens; ``slots`` of them, each with weights of its own.

    Args:
        width: channels of a token.
        out: channels of the answer.
        slots: means.
    """

    def __init__(self, width: int, out: int, slots: int = 1) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, _POOLING), nn.Tanh(), nn.Linear(_POOLING, slots))
        self.project = nn.Linear(width, out)

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """``tokens`` (B, T, C) of which ``seen`` (B, T) count: (B, slots, out)."""
        scores = self.score(tokens).masked_fill(~seen[..., None], -math.inf)  # (B, T, slots)
        return self.project(
            scores.softmax(1).transpose(1, 2) @ tokens
        )  # (B, slots, T) @ (B, T, C) -> (B, slots, out)


class Classifier(nn.Module):
    """LayerNorm, a hidden layer, and a linear layer for each output.

    Args:
        width: channels that come in.
        hidden: of the hidden layer.
        dropout: after it.
        answers: the outputs.
    """

    def __init__(self, width: int, hidden: int, dropout: float, answers: Answers) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout)
        )
        self.outputs = nn.ModuleDict(
            {name: nn.Linear(hidden, len(classes)) for name, classes in answers.classes.items()}
        )

    def forward(self, joint: Tensor) -> dict[str, Tensor]:
        """(B, width) to the logits (B, classes) of every output."""
        hidden = self.trunk(joint)
        return {name: layer(hidden) for name, layer in self.outputs.items()}


class SpecialistHead(nn.Module):
    """The published head; without views it is the control ``text_only``.

    Args:
        settings: its sizes.
        answers: its outputs.
        text: its text tower.
        embedding: channels of a view embedding.
    """

    def __init__(
        self, settings: HeadSettings, answers: Answers, text: TextStates, embedding: int | None
    ) -> None:
        super().__init__()
        assert isinstance(text, nn.Module)
        self.text = text
        self.pool_text = AttentionPooling(text.width, settings.joint)
        self.pool_views = None if embedding is None else AttentionPooling(embedding, settings.joint)
        self.classifier = Classifier(settings.joint, settings.hidden, settings.dropout, answers)

    def forward(self, batch: HeadBatch) -> dict[str, Tensor]:
        """Logits of every output."""
        joint = self.pool_text(*self.text(batch.texts))[:, 0]  # (B, 1, J) -> (B, J)
        if self.pool_views is not None:
            joint = joint + self.pool_views(batch.views, batch.view_seen)[batch.scene, 0]
        return self.classifier(joint)


class PoseHead(nn.Module):
    """The control ``pose_only``: where the agent stands and looks, and nothing else.

    Args:
        settings: its sizes.
        answers: its outputs.
    """

    def __init__(self, settings: HeadSettings, answers: Answers) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(5, settings.width), nn.GELU())
        self.classifier = Classifier(settings.width, settings.hidden, settings.dropout, answers)

    def forward(self, batch: HeadBatch) -> dict[str, Tensor]:
        """Logits of every output."""
        turn = torch.stack([batch.yaw.cos(), batch.yaw.sin()], -1)
        return self.classifier(self.embed(torch.cat([batch.location / 5.0, turn], -1)))
