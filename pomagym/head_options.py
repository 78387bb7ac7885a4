"""What the commands about heads have in common: samples from files, the data and weights that were named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.head_answers import SceneSource
    from envs.msnn import MsnnSample


def check_data(data: Sequence[Path]) -> None:
    """Ask for a file of samples where none was named, and for each once.

    Raises:
        SettingError: none was, or one is named twice, which would count its samples twice.
    """
    from poma3d.errors import SettingError

    if not data:
        raise SettingError("there is no file of samples: name one or more, --data FILE")
    files = [path.resolve() for path in data]
    twice = [path for path, file in zip(data, files, strict=True) if files.count(file) > 1]
    if twice:
        raise SettingError(f"--data names {twice[0]} twice; name each file once")


def read_samples(data: Sequence[Path], split: Path | None) -> list[MsnnSample]:
    """The MSNN samples of files, only those of the scenes in ``split`` where there is one."""
    from envs.msnn import read_msnn, read_scan_list

    scans = None if split is None else read_scan_list(split)
    return [sample for path in data for sample in read_msnn(path, scans)]


def find_heads(folder: Path) -> dict[str, Path]:
    """The files of the trained heads in a folder, NAME/head.safetensors, by name.

    Raises:
        FileError: there is none.
    """
    from policies.situated.training import HEAD
    from poma3d.errors import FileError

    found = {path.parent.name: path for path in sorted(folder.glob(f"*/{HEAD}"))}
    if not found:
        raise FileError(folder, f"holds no head: NAME/{HEAD} was expected, as pomagym train-head makes it")
    return found


def split_beside(data: Sequence[Path], split: str) -> Path | None:
    """The list of scenes ``*_SPLIT.txt`` that lies beside a file of samples, where there is exactly one."""
    found = {path for file in data for path in file.parent.glob(f"*_{split}.txt")}
    return found.pop() if len(found) == 1 else None


def scene_source(scenes: Sequence[Path], encoder: str, cache: Path | None) -> SceneSource | None:
    """Where features come from; None where no folder of scenes was named."""
    from benchmarks.head_answers import SceneSource

    if not scenes:
        return None
    return SceneSource(tuple(map(str, scenes)), encoder, str(cache or default_cache()))


def default_cache() -> Path:
    """Where features are kept where no folder was named: beside the other caches of the project."""
    import os

    base = os.environ.get("POMAGYM_CACHE") or Path.home() / ".cache" / "pomagym"
    return Path(base) / "scene_features"


def file_facts(files: Sequence[Path]) -> dict[str, Any]:
    """Names and hashes of files, to be kept with what was made from them."""
    import hashlib

    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
