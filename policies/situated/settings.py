"""What a person can set about a head that answers from a scene and a text, and about its training. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from poma3d.errors import SettingError

Kind = Literal["specialist", "situated", "text_only", "pose_only"]
KINDS: tuple[Kind, ...] = ("specialist", "situated", "text_only", "pose_only")
"""The heads: the published one, ours, and the two controls that see no point map."""
Placing = Literal["scene", "view", "agent"]
PLACINGS: tuple[Placing, ...] = ("scene", "view", "agent")
LOSSES = ("auto", "bce", "softmax")


@dataclass(frozen=True)
class HeadSettings:
    """What a head is made of.

    The defaults of ``specialist`` follow the published head (facts in `policies.situated.specialist`); whatever a
    kind does not use is ignored by it.

    Raises:
        SettingError: a number out of its range or an unknown word.
    """

    kind: Kind = "situated"
    """specialist (as published), situated (ours), text_only or pose_only (controls)."""
    text: str = "mini"
    """The text tower: mini, or a folder or hub name of a transformers text model, which is trained as well."""
    text_fields: tuple[str, ...] = ()
    """Which of situation, interaction and question are read; empty: all, but of the questions about directions the
    situated head reads the interaction alone, for it has the situation in numbers."""
    text_tokens: int = 128
    """Longest text, tokens; the published head reads 256 of jina-clip-v2."""
    placing: Placing = "scene"
    """Frame in which a view is encoded: scene (as published), view (each from its own camera), or agent (each
    once more for every sample, from the agent's pose: as many encodings as samples times views)."""
    nearest_views: int = 8
    """With the placing agent: how many views are encoded for a sample, those whose points lie nearest."""
    ways: bool = True
    """situated: tell for each patch also where the way there sets out, from a plan drawn from the point maps;
    without it only the straight bearing."""
    width: int = 128
    """situated: channels of queries and patches."""
    slots: int = 4
    """situated: queries that the text is pooled into; each points at patches of its own."""
    layers: int = 1
    """situated: rounds in which the queries look at all patches before they point."""
    joint: int = 512
    """specialist: channels in which text and views are added."""
    hidden: int = 768
    """specialist: hidden channels of the classifier."""
    dropout: float = 0.3
    """Share of the classifier's inputs that training sets to 0."""

    def __post_init__(self) -> None:
        for name, known in (("kind", KINDS), ("placing", PLACINGS)):
            if getattr(self, name) not in known:
                raise SettingError(f"{name} must be one of {', '.join(known)}, found {getattr(self, name)!r}")
        unknown = set(self.text_fields) - set(FIELDS)
        if unknown:
            raise SettingError(f"text_fields are {', '.join(FIELDS)}, found {', '.join(sorted(unknown))}")
        for name in ("text_tokens", "nearest_views", "width", "slots", "joint", "hidden"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.width % 4:
            raise SettingError(f"width must be a multiple of its 4 attention heads, found {self.width}")
        if self.layers < 0 or not 0 <= self.dropout < 1:
            raise SettingError(
                f"layers must be at least 0 and dropout in [0, 1), found {self.layers}, {self.dropout}"
            )

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeadSettings:
        """The settings that `as_dict` wrote.

        Raises:
            SettingError: names or values that are none of its.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise SettingError(f"a head has no setting {', '.join(sorted(unknown))}")
        return cls(**{**values, "text_fields": tuple(values.get("text_fields", ()))})


FIELDS = ("situation", "interaction", "question")
"""Parts of a sample's text, in the order in which they are joined."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a head is trained.

    Raises:
        SettingError: a number out of its range or an unknown word.
    """

    epochs: int = 20
    """Passes over the training samples; the published head takes 100."""
    batch: int = 64
    """Samples of a step, the published number."""
    per_scene: int = 8
    """Samples of one scene that stand together in a batch, so that its features are read once for all."""
    learning_rate: float = 5e-4
    """Of AdamW, at the top of the schedule; published: 1e-4 (Hypo3D 5e-4) for a pretrained text tower."""
    text_rate: float = 0.3
    """Factor on the learning rate of the text tower's weights."""
    warmup_steps: int = 200
    """Steps of linear growth; then half a cosine falls to 0. At most a tenth of the run. Published: 2500 (MSNN)."""
    weight_decay: float = 0.01
    """On matrices."""
    clip: float = 5.0
    """Largest norm of the gradient."""
    loss: Literal["auto", "bce", "softmax"] = "auto"
    """bce (published: binary cross-entropy summed over the classes) or softmax (cross-entropy); auto: softmax for the
    situated head's directions, else bce."""
    turns: bool = True
    """situated: turn the agent by a random angle, and the answer with it. Only where answers are directions."""
    keep_patches: float = 0.5
    """situated: share of a scene's patches that a training step looks at, drawn anew every step."""
    grounding: float = 1.0
    """situated: weight of naming each patch's category from its token, where scenes know categories; 0 leaves it
    out."""
    validation: float = 0.1
    """Share of the training scenes that choose the epoch."""
    select: Literal["validation", "test"] = "validation"
    """What chooses the epoch: held-out training scenes, or, as published, the test set itself."""
    seed: int = 0
    """Of weights, order, dropout and the held-out scenes."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or self.per_scene < 1:
            raise SettingError(
                f"epochs, batch and per_scene must be at least 1, found {self.epochs}, {self.batch}, {self.per_scene}"
            )
        if not (self.learning_rate > 0 and self.clip > 0 and self.text_rate >= 0 and self.weight_decay >= 0):
            raise SettingError(
                "learning_rate and clip must be above 0, text_rate and weight_decay at least 0"
            )
        if not 0 < self.keep_patches <= 1 or not 0 <= self.validation < 1 or self.grounding < 0:
            raise SettingError(
                "keep_patches must lie in (0, 1], validation in [0, 1) and grounding must be at least 0, found"
                f" {self.keep_patches}, {self.validation}, {self.grounding}"
            )
        if self.loss not in LOSSES:
            raise SettingError(f"loss must be one of {', '.join(LOSSES)}, found {self.loss!r}")
        if self.select not in ("validation", "test"):
            raise SettingError(f"select must be validation or test, found {self.select!r}")
