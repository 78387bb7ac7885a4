"""Weights on disk in our own format, and the hash that names them: safetensors with what made them beside them.

The metadata of a file holds ``format`` (what it is, and the version), ``config`` (JSON), ``weights_sha256`` and
``notes`` (JSON). The tensors keep the names of the library that runs them, so that other programs read them too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from poma3d.errors import FileError
from poma3d.files import atomic_path

_MOST_NAMED = 12


@dataclass(frozen=True)
class WeightsFile:
    """What a file in our format holds."""

    tensors: dict[str, Tensor]
    """The weights by name, of the dtype in which they were saved."""
    config: dict[str, Any]
    """The settings of the module they belong to."""
    notes: dict[str, Any]
    """What the writer wanted to be known: data, command, seed, measures."""
    weights_sha256: str
    """The hash of the tensors, checked."""


def weights_sha256(tensors: Mapping[str, Tensor]) -> str:
    """A hash of names, shapes and values, the same for any file layout, order, device and lossless dtype.

    Over the names in sorted order: the name, the shape and the values as little-endian float32 (integers as
    int64), so a float16 file and the same weights read into float32 share their hash.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        wide = torch.float32 if tensor.is_floating_point() else torch.int64
        values = tensor.to("cpu", wide).contiguous().numpy()
        digest.update(f"{name}\0{tuple(tensor.shape)}\0{wide}\0".encode())
        digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()


def write_weights(
    path: str | os.PathLike[str],
    kind: str,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    notes: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> str:
    """Write weights, whole or not at all.

    Args:
        path: the file, ``.safetensors``.
        kind: what it is, as `read_weights` will ask for it.
        tensors: the weights by name.
        config: the settings of the module they belong to, as JSON can hold them.
        notes: what else to keep with them, likewise.
        dtype: to store floating weights in; None stores them as they are.

    Returns:
        The hash of what was written.

    Raises:
        FileError: the file cannot be written, or a weight is NaN or infinite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    stored = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else None).contiguous()
        for name, tensor in tensors.items()
    }
    refuse_not_finite(path, stored)
    digest = weights_sha256(stored)
    metadata = {
        "format": kind,
        "config": json.dumps(dict(config), sort_keys=True),
        "weights_sha256": digest,
        "notes": json.dumps(dict(notes or {}), sort_keys=True),
    }
    with atomic_path(path) as temporary:
        try:
            save_file(stored, temporary, metadata)
        except SafetensorError as error:  # how a full disk shows
            raise FileError(path, f"cannot be written ({error})") from error
    return digest


def read_weights(path: str | os.PathLike[str], kind: str) -> WeightsFile:
    """Read what `write_weights` wrote.

    Raises:
        FileError: the file is missing, damaged, of another kind, or its weights are not those that were saved.
    """
    with open_safetensors(path) as source:
        metadata = source.metadata() or {}
        found = metadata.get("format")
        if found != kind:
            raise FileError(path, f"holds {found or 'weights without our metadata'}, expected {kind}")
        tensors = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118  not a mapping
    try:
        config, notes = json.loads(metadata["config"]), json.loads(metadata["notes"])
        expected = metadata["weights_sha256"]
    except (KeyError, ValueError) as error:
        raise FileError(path, f"its metadata is damaged ({error})") from error
    refuse_not_finite(path, tensors)
    digest = weights_sha256(tensors)
    if digest != expected:
        raise FileError(
            path,
            f"its weights have the hash {digest[:12]} where {expected[:12]} was saved: the file is damaged",
        )
    return WeightsFile(tensors=tensors, config=config, notes=notes, weights_sha256=digest)


def open_safetensors(path: str | os.PathLike[str]) -> Any:
    """Open a safetensors file for lazy reading (a context manager with ``keys``, ``get_tensor``, ``metadata``).

    Raises:
        FileError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(os.fspath(path), framework="pt")
    except FileNotFoundError as error:
        raise FileError(path, "does not exist") from error
    except (SafetensorError, OSError) as error:
        raise FileError(path, f"is not a whole safetensors file ({error})") from error


def refuse_not_finite(path: str | os.PathLike[str], tensors: Mapping[str, Tensor]) -> None:
    """Raise `FileError` with the names of the tensors that hold NaN or infinity, where there are any."""
    bad = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if bad:
        raise FileError(path, f"weights that are NaN or infinite: {', '.join(bad)}")


def describe_mismatch(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], whose: str = "this encoder"
) -> str:
    """Say which weights are missing, which are unexpected and which have another shape, one kind a line, the first
    `_MOST_NAMED` of each by name.

    Args:
        expected: shapes by name.
        found: those of the file.
        whose: what the weights should be of, as the message calls it.
    """
    missing = sorted(set(expected) - set(found))
    unexpected = sorted(set(found) - set(expected))
    other = [
        f"{name} {found[name]} instead of {expected[name]}"
        for name in sorted(set(expected) & set(found))
        if expected[name] != found[name]
    ]
    lines = [
        f"{kind} ({len(names)}): {', '.join(names[:_MOST_NAMED])}"
        + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", other))
        if names
    ]
    return f"the weights are not those of {whose}\n  " + "\n  ".join(lines)
