"""Which text tower a name means: FG-CLIP, sentence-transformers, or the small one that trained beside an encoder."""

from __future__ import annotations

import os
from pathlib import Path

from poma3d.checkpoint_layouts import PUBLISHED, resolve
from poma3d.errors import SettingError
from poma3d.pretrained import SHIPPED, is_shipped, text_file
from poma3d.towers.protocol import TextTower

TEXT_FILE = "text.safetensors"
"""What pretraining calls the text tower that trained beside `encoder.safetensors`."""
FGCLIP = "fg-clip-base"
"""The tower that POMA-3D and UniScene3D are aligned with."""


def load_text(path_or_name: str | os.PathLike[str]) -> TextTower:
    """Load a text tower, frozen in use, on the CPU.

    Args:
        path_or_name: a ``.safetensors`` of `poma3d.towers.mini_text.MiniText` or a folder that holds it as
            `TEXT_FILE`; a short name of `poma3d.pretrained`; a folder of FG-CLIP or its name; a folder of
            sentence-transformers (``modules.json``).

    Raises:
        FileError: nothing of that name, or files that are no text tower.
        MissingDependencyError: sentence-transformers is asked for and not installed.
    """
    from poma3d.towers.mini_text import MiniText

    path = Path(path_or_name).expanduser()
    for name in SHIPPED:
        if path == text_file(name) or (os.fspath(path_or_name) == name and not path.exists()):
            tower = MiniText.load(text_file(name))
            tower.name = name  # results tell where weights came from, not where this machine has them
            return tower
    if path.suffix == ".safetensors":
        return MiniText.load(path)
    if (path / TEXT_FILE).is_file():
        return MiniText.load(path / TEXT_FILE)
    if (path / "modules.json").is_file():
        from poma3d.towers.sentence import SentenceText

        return SentenceText(path)
    from poma3d.towers.fgclip import FgClipText

    return FgClipText.load(path_or_name)


def text_beside(encoder: str | os.PathLike[str], channels: int) -> str:
    """The name of the text tower that an encoder is aligned with.

    That of the shipped weights; a file called `TEXT_FILE` beside the encoder's, or in its folder; else FG-CLIP's,
    where the channels fit.

    Args:
        encoder: what `poma3d.checkpoints.load_encoder` was given.
        channels: of its embeddings, D.

    Raises:
        SettingError: neither.
        FileError: there is no such encoder.
    """
    if os.fspath(encoder) in PUBLISHED:
        return FGCLIP
    path = resolve(encoder)
    if is_shipped(path.stem) and text_file(path.stem, path.parent).is_file():
        return str(text_file(path.stem, path.parent))
    for folder in (path, path.parent):
        if (folder / TEXT_FILE).is_file():
            return str(folder / TEXT_FILE)
    if channels != 512:
        raise SettingError(
            f"which text tower {os.fspath(encoder)} of {channels} channels is aligned with is not known: there is"
            f" no {TEXT_FILE} beside it; name one (--text)"
        )
    if (path / "config.json").is_file() and (path / "tokenizer.json").is_file():
        return os.fspath(encoder)
    return FGCLIP
