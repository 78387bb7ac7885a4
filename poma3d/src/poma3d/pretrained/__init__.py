"""Weights that come with the package, by short name: found without a network, in a wheel as in a checkout."""

from __future__ import annotations

import os
from pathlib import Path

SHIPPED = ("poma3d-mini",)
"""The short names."""
FOLDER = Path(__file__).parent
"""Where their files are."""


def encoder_file(name: str, folder: Path = FOLDER) -> Path:
    """The encoder's weights of a short name, whether the file is there or not."""
    return folder / f"{name}.safetensors"


def text_file(name: str, folder: Path = FOLDER) -> Path:
    """The weights of the text tower that trained beside it, likewise."""
    return folder / f"{name}-text.safetensors"


def facts_file(name: str, folder: Path = FOLDER) -> Path:
    """What is known of the weights, as JSON: hashes, recipe, golden features; likewise."""
    return folder / f"{name}.json"


def card_file(name: str, folder: Path = FOLDER) -> Path:
    """The model card, likewise."""
    return folder / f"{name}.md"


def is_shipped(name: str | os.PathLike[str]) -> bool:
    """Whether ``name`` is a short name."""
    return os.fspath(name) in SHIPPED
