"""What a text tower and an image tower owe to those who align point maps with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from poma3d.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class TextTower(Protocol):
    """Texts to embeddings."""

    name: str
    """Where its weights came from, for logs and results."""
    embedding: int
    """Channels of an embedding, D."""

    def encode(self, texts: Sequence[str], *, long: bool = False) -> Tensor:
        """Embed N texts: (N, D) float32 on the tower's device, not normalised.

        Args:
            texts: the texts; what does not fit the tower's length is cut off at the end.
            long: take the path for long texts (a scene's caption), where the tower has one.

        Raises:
            SettingError: something that is no list of texts.
        """
        ...

    def weights_sha256(self) -> str:
        """The hash of the weights (see `poma3d.weights.weights_sha256`)."""
        ...


@runtime_checkable
class ImageTower(Protocol):
    """Pictures to embeddings."""

    name: str
    """Where its weights came from, for logs and results."""
    embedding: int
    """Channels of an embedding, D."""

    def encode(self, images: Any) -> Tensor:
        """Embed N pictures (N, H, W, 3), RGB, uint8 or floats in [0, 1]: (N, D) float32, not normalised.

        Raises:
            SettingError: pictures of another shape, type or range.
        """
        ...

    def weights_sha256(self) -> str:
        """The hash of the weights (see `poma3d.weights.weights_sha256`)."""
        ...


def checked_texts(texts: Sequence[str]) -> list[str]:
    """``texts`` as a list.

    Raises:
        SettingError: one text instead of several, or a member that is no text.
    """
    if isinstance(texts, str):
        raise SettingError(f"a list of texts is needed, found one text: {texts[:40]!r}")
    listed = list(texts)
    for number, text in enumerate(listed):
        if not isinstance(text, str):
            raise SettingError(f"text {number} is a {type(text).__name__}, expected a str")
    return listed
