"""Any sentence-transformers model as a text tower, frozen: a model of the hub or a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from poma3d.errors import FileError, MissingDependencyError
from poma3d.towers.protocol import checked_texts
from poma3d.weights import weights_sha256


class SentenceText:
    """A sentence-transformers model; ``long`` makes no difference, its own maximum length holds.

    Args:
        path_or_name: a folder that sentence-transformers saved, or a model of the hub (``owner/name``).
        device: where it runs, as torch names devices.

    Raises:
        MissingDependencyError: sentence-transformers is not installed.
        FileError: there is no such model here and it cannot be fetched, or its folder is damaged.
    """

    def __init__(self, path_or_name: str | os.PathLike[str], *, device: str = "cpu") -> None:
        try:
            from sentence_transformers import SentenceTransformer  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingDependencyError(
                "sentence-transformers is not installed, which this text tower needs: pip install sentence-transformers"
            ) from error
        self.name = os.fspath(path_or_name)
        folder = Path(path_or_name).expanduser()
        try:
            self.model: Any = SentenceTransformer(
                str(folder) if folder.exists() else self.name, device=device
            )
        except Exception as error:  # its loader raises a dozen kinds, from no network to damaged files
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise FileError(
                self.name,
                f"is no sentence-transformers model that can be loaded ({reason}). Put the model's files"
                " (modules.json, config.json, model.safetensors, tokenizer.json) into a folder and give its path",
            ) from error
        self.model.requires_grad_(False)
        self.embedding = len(self.encode(["a room"])[0])

    def encode(self, texts: Sequence[str], *, long: bool = False) -> Tensor:
        """See `poma3d.towers.TextTower.encode`. No gradients."""
        texts = checked_texts(texts)
        if not texts:
            return torch.zeros(0, self.embedding)
        return self.model.encode(texts, convert_to_tensor=True, show_progress_bar=False).float().clone()

    def weights_sha256(self) -> str:
        """See `poma3d.towers.TextTower.weights_sha256`."""
        return weights_sha256(self.model.state_dict())
