"""ScenePoint: multi-view point maps of whole scenes with captions, as files and as training batches.

To train on it::

    settings = DataSettings(views=32, size=112, augment=AugmentSettings())
    dataset = ScenePointDataset(["data/houses"], settings)  # folders that hold `light_*` and `annotations`
    loader = SceneLoader(dataset, batch_size=8, seed=0, workers=2, rank=0, ranks=1)
    for batch in loader:  # endless; each a `SceneBatch`
        ...
        position = loader.state_dict()  # after the batches delivered so far; `load_state_dict` goes on from there

What a batch holds depends on (seed, number of the batch) alone, never on workers; ``ranks`` share one global batch
of ``ranks * batch_size`` scenes, the same scenes that one rank with a batch that large would draw. The map of
categories is ``dataset.categories`` (and ``dataset.room_types``); give both to a held-out data set
(``categories=..., room_types=...``) so that numbers mean the same.

The readers and writers of files need no torch; what does is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from poma3d.scenepoint.settings import AugmentSettings, DataSettings

if TYPE_CHECKING:
    from poma3d.scenepoint.batch import UNKNOWN, SceneBatch, SceneSample, collate
    from poma3d.scenepoint.check import check_scenepoint
    from poma3d.scenepoint.dataset import ScenePointDataset
    from poma3d.scenepoint.loader import SceneLoader

__all__ = [
    "UNKNOWN", "AugmentSettings", "DataSettings", "SceneBatch", "SceneLoader", "ScenePointDataset", "SceneSample",
    "check_scenepoint", "collate",
]  # fmt: skip

_LAZY = {
    "UNKNOWN": "batch",
    "SceneBatch": "batch",
    "SceneLoader": "loader",
    "ScenePointDataset": "dataset",
    "SceneSample": "batch",
    "check_scenepoint": "check",
    "collate": "batch",
}


def __getattr__(name: str) -> Any:
    """The public names whose modules import torch (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
