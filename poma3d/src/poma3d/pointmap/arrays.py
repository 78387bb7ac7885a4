"""The little that NumPy and torch do not share, so that the geometry is written once for both."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

Array = Any
"""A NumPy array or a torch tensor."""


def is_torch(array: Array) -> bool:
    """Whether ``array`` is a torch tensor; answers without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def namespace(array: Array) -> Any:
    """The module (``numpy`` or ``torch``) whose functions work on ``array``."""
    return sys.modules["torch"] if is_torch(array) else np


def like(values: Array, reference: Array) -> Array:
    """Bring ``values`` to the library, device and (floating) dtype of ``reference``."""
    if is_torch(reference):
        torch = sys.modules["torch"]
        dtype = reference.dtype if reference.is_floating_point() else torch.float32
        return torch.as_tensor(values, dtype=dtype, device=reference.device)
    dtype = reference.dtype if np.issubdtype(reference.dtype, np.floating) else np.float32
    return np.asarray(values, dtype=dtype)


def floating(array: Array) -> Array:
    """``array`` itself if it is a floating array or tensor, else a float64 array of it."""
    if is_torch(array):
        return array if array.is_floating_point() else array.float()
    array = np.asarray(array)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)
