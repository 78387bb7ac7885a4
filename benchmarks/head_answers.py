"""Trained heads asked about samples, in one process or several: the same answers either way.

Every worker asks whole scenes, each group of samples in the company that `policies.situated.prediction` fixes, on one
thread, so the number of workers changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.backbone import FrozenBackbone
from envs.spawned_pool import spawned_pool
from policies.situated.batch import Batcher
from policies.situated.features import FeatureFolder
from policies.situated.heads import LoadedHead, load_head
from policies.situated.posed import PosedFeatures, by_scene
from policies.situated.prediction import predict
from policies.situated.samples import Sample
from policies.situated.training import BLIND
from poma3d.errors import SettingError


@dataclass(frozen=True)
class SceneSource:
    """Where point maps and features come from."""

    folders: tuple[str, ...]
    """ScenePoint folders."""
    encoder: str
    """What `poma3d.checkpoints.load_encoder` takes."""
    cache: str | None
    """Folder for features; None keeps them in memory."""

    def features(self, placing: str) -> FeatureFolder:
        """The features of the scenes.

        Raises:
            FileError, SettingError: as `FeatureFolder` and `FrozenBackbone`.
        """
        backbone = FrozenBackbone(self.encoder, output="both")
        return FeatureFolder(
            self.folders, backbone, self.cache, placing="scene" if placing == "agent" else placing
        )


@dataclass(frozen=True)
class HeadAnswers:
    """What a head said."""

    logits: dict[str, np.ndarray]
    """By output, (N, classes) float32."""
    loaded: LoadedHead
    """The head."""


def ask_head(
    path: str | Path,
    samples: Sequence[Sample],
    source: SceneSource | None,
    *,
    workers: int = 1,
    on_scene: Callable[[str], None] = lambda scan: None,
) -> HeadAnswers:
    """Ask a head about samples.

    Args:
        path: its file.
        samples: N.
        source: of the scenes; None does for heads that see none.
        workers: processes.
        on_scene: told of each scene that is done.

    Raises:
        SettingError: a head that needs scenes without any, or one that was trained on other features.
        FileError: a file that cannot be used.
        UserError: a worker was killed.
    """
    loaded = load_head(path)
    if workers < 1:
        raise SettingError(f"workers must be at least 1, found {workers}")
    if loaded.shape.settings.kind not in BLIND:
        if source is None:
            raise SettingError(f"{path} looks at scenes: name their ScenePoint folder")
        features = source.features(loaded.shape.settings.placing)
        if features.backbone.weights_sha256 != loaded.shape.backbone_sha256:
            raise SettingError(
                f"{path} was trained on the features of the weights {loaded.shape.backbone_sha256[:12]},"
                f" {source.encoder} has {features.backbone.weights_sha256[:12]}; name its encoder (--encoder)"
            )
        features.require(sample.scan_id for sample in samples)
    groups = list(by_scene(samples).values())
    parts = [
        [k for group in groups[first::workers] for k in group] for first in range(min(workers, len(groups)))
    ]
    logits = {
        name: np.zeros((len(samples), len(classes)), np.float32)
        for name, classes in loaded.shape.answers.classes.items()
    }
    if len(parts) == 1:
        found = _ask(str(path), [samples[k] for k in parts[0]], source, on_scene)
        for name, values in found.items():
            logits[name][parts[0]] = values
        return HeadAnswers(logits, loaded)
    with spawned_pool(len(parts), remedy="take fewer --workers") as pool:
        waiting = {pool.submit(_ask, str(path), [samples[k] for k in part], source): part for part in parts}
        for future in as_completed(waiting):
            for name, values in future.result().items():
                logits[name][waiting[future]] = values
            for scan in dict.fromkeys(samples[k].scan_id for k in waiting[future]):
                on_scene(scan)
    return HeadAnswers(logits, loaded)


def with_other_texts(samples: Sequence[Sample]) -> list[Sample]:
    """The samples, each with the text of the next one of its scene that says something else; scene and pose stay.

    What a head still gets right of these it does not read in the text. Where all of a scene say the same, they keep it.
    """
    others = list(samples)
    for group in by_scene(samples).values():
        for position, k in enumerate(group):
            own, following = samples[k], [*group[position + 1 :], *group[:position]]
            for other in (samples[j] for j in following):
                if (other.situation, other.interaction) != (own.situation, own.interaction):
                    others[k] = replace(
                        own,
                        situation=other.situation,
                        interaction=other.interaction,
                        question=other.question,
                    )
                    break
    return others


def _ask(
    path: str,
    samples: Sequence[Sample],
    source: SceneSource | None,
    on_scene: Callable[[str], None] = lambda scan: None,
) -> dict[str, Any]:
    """The logits of some samples, on one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        loaded = load_head(path)
        settings, posed = loaded.shape.settings, None
        if settings.kind not in BLIND and source is not None:
            posed = PosedFeatures(source.features(settings.placing), settings)
        batcher = Batcher(samples, posed, loaded.shape.reads)
        return predict(loaded.head, batcher, loaded.shape.answers, on_scene)
    finally:
        torch.set_num_threads(threads)
