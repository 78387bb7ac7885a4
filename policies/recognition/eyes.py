"""How well the word for a category fits each patch of a view, as a frozen encoder aligned with words sees it.

Zero-shot, as CLIP classifies pictures (Radford et al. 2021, arXiv 2103.00020) and VLMaps asks for landmarks (Huang et
al. 2023, arXiv 2210.05714): the embedding of a patch is compared with those of words, and nothing is trained.

Shapes: H x W pixels, P = g x g patches, K words, D embedding.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.one_thread import one_thread
from policies.recognition.words import other_words, word_of
from poma3d.checkpoint_layouts import ENCODER_FILE
from poma3d.errors import FileError, SettingError

if TYPE_CHECKING:
    from agent.backbone import FrozenBackbone
    from poma3d.towers import TextTower

RANDOM = "random"
"""The eyes that serve as control: random weights in the shape of `_LEARNED`, with its text tower."""
_LEARNED = "poma3d-mini"
_TEMPERATURE = 0.07
"""Of the cosines, as at the start of the encoder's alignment (`poma3d.objectives.settings.AlignmentSettings`)."""


class Eyes:
    """Says how well a word fits the patches of a view. One view at a time and on one thread: the same anywhere.

    Args:
        backbone: gives patch tokens, on a processor in float32.
        text: the tower that its embeddings are aligned with.
        name: what results call them.

    Raises:
        SettingError: embeddings of other sizes, or a backbone that gives no patch tokens.
    """

    def __init__(self, backbone: FrozenBackbone, text: TextTower, name: str) -> None:
        if "patch_tokens" not in backbone.feature_shapes:
            raise SettingError("eyes need a backbone that gives patch_tokens, found one that gives cls alone")
        if text.embedding != backbone.config.embedding:
            raise SettingError(
                f"the text tower {text.name} has embeddings of {text.embedding} channels and the encoder of"
                f" {backbone.config.embedding}: they were not aligned with each other"
            )
        self.name = name
        self._backbone, self._text = backbone, text
        self._known: dict[str, np.ndarray] = {}  # category -> (K, D), its own word first

    @property
    def size(self) -> int:
        """Rows and columns of the point maps they take."""
        return self._backbone.image_size

    def fit(self, point_map: np.ndarray, valid: np.ndarray, category: str) -> np.ndarray:
        """How well the word for a category fits each pixel's patch, beside the best other word.

        ``own / (own + best other)`` of the words' likelihoods, so that 0.5 is where both fit as well, whatever the
        category and however many words there are.

        Args:
            point_map: (H, W, 3) metres in the agent's frame; H = W = `size`.
            valid: (H, W) bool.
            category: what the task calls it.

        Returns:
            (H, W) float32 in [0, 1]; pixels of a patch have the same.

        Raises:
            SettingError: point maps of another size.
        """
        if point_map.shape[:2] != (self.size, self.size):
            raise SettingError(
                f"these eyes ({self.name}) take point maps of {self.size} x {self.size} pixels, found"
                f" {point_map.shape[0]} x {point_map.shape[1]}: leave --size out, or give --size {self.size}"
            )
        with one_thread():
            tokens = self._backbone.encode(point_map[None], valid[None])["patch_tokens"]
            patches = self._backbone.patch_embeddings(tokens)[0]  # (P, D)
            words = self._words(category)
        patches = patches / np.maximum(np.linalg.norm(patches, axis=1, keepdims=True), 1e-12)
        cosines = patches @ words.T  # (P, K)
        lead = (cosines[:, 0] - cosines[:, 1:].max(axis=1)) / _TEMPERATURE
        share = (1.0 / (1.0 + np.exp(-lead))).astype(np.float32)  # (P,)
        grid, side = self._backbone.config.grid, self._backbone.config.patch_size
        return share.reshape(grid, grid).repeat(side, 0).repeat(side, 1)  # (P,) -> (H, W)

    def _words(self, category: str) -> np.ndarray:
        """Embeddings (K, D) of length 1."""
        if category not in self._known:
            import torch

            with torch.inference_mode():
                words = self._text.encode([word_of(category), *other_words(category)]).float().cpu().numpy()
            self._known[category] = words / np.linalg.norm(words, axis=1, keepdims=True)
        return self._known[category]

    def sha256(self) -> str:
        """Hash (hex) of both towers' weights."""
        both = self._backbone.weights_sha256 + self._text.weights_sha256()
        return hashlib.sha256(both.encode()).hexdigest()

    @property
    def weights_sha256(self) -> str:
        """Hash of the encoder's weights."""
        return self._backbone.weights_sha256


def open_eyes(encoder: str) -> Eyes:
    """Eyes by the name, file or folder of an encoder, whose text tower lies beside it; or `RANDOM`.

    Raises:
        FileError: there is no such encoder, or one of its files cannot be read.
        SettingError: no encoder is named, no text tower lies beside it, or one of another size.
    """
    if not encoder:
        raise SettingError(
            f"planner+ENCODER needs the name, file or folder of an encoder after the +, found none: planner+{_LEARNED},"
            f" or planner+{RANDOM}, its control"
        )
    from agent.backbone import FrozenBackbone
    from poma3d.checkpoints import load_encoder
    from poma3d.encoder import PointMapEncoder
    from poma3d.towers.loading import TEXT_FILE, load_text, text_beside

    source = _LEARNED if encoder == RANDOM else encoder
    try:
        loaded = load_encoder(source)
    except FileError as error:
        raise SettingError(
            f"planner+{encoder} has nothing to see through: {error} (planner+{RANDOM} sees through random weights)"
        ) from None
    try:
        beside = text_beside(source, loaded.config.embedding)
    except SettingError:  # it asks for a flag that policies do not have
        raise SettingError(
            f"planner+{encoder} compares what it sees with words, and no text tower lies beside that encoder: put the"
            f" {TEXT_FILE} of its pretraining into the same folder"
        ) from None
    text = load_text(beside)
    if encoder == RANDOM:
        loaded = PointMapEncoder(loaded.config, seed=0)
    backbone = FrozenBackbone(loaded, output="patch_tokens", precision="float32", device="cpu")
    return Eyes(backbone, text, eyes_label(encoder))


def eyes_label(encoder: str) -> str:
    """What folders and tables call eyes: the encoder's name, that of its folder or of its file."""
    path = Path(os.path.abspath(encoder))
    return path.parent.name if path.name == ENCODER_FILE else path.name.removesuffix(".safetensors")
