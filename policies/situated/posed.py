"""What the features of a scene become for samples with poses: ways to every patch, or views encoded from the agent.

Both depend on where the agents of the samples stand, so they are made once for the samples of a scene and kept on
disk beside the scene's features. Shapes: n samples, K patches of a scene, v nearest views, P patches of a view.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policies.situated.features import FeatureFolder, to_agent
from policies.situated.first_leg import find_ways
from policies.situated.samples import Sample
from policies.situated.settings import HeadSettings
from poma3d.errors import FileError
from poma3d.files import atomic_path
from poma3d.pointmap import resize

FARTHEST = 15.0
"""Ways are sought within this many metres; a place that none leads to counts as so far away."""
_SCENES_IN_MEMORY = 512


@dataclass(frozen=True)
class PosedSamples:
    """The samples of one scene, as they were asked for."""

    location: np.ndarray
    """(n, 3) float32 metres; the scene's middle where a sample does not say."""
    bearing: np.ndarray | None = None
    """(n, K) float16 radians in the scene's frame: where the way to each patch sets out."""
    distance: np.ndarray | None = None
    """(n, K) float16 metres along that way, at most `FARTHEST`."""
    patches: np.ndarray | None = None
    """(n, v P) int32: which of the scene's patches were encoded from the agent; None: all, in the scene's frame."""
    tokens: np.ndarray | None = None
    """(n, v P, C) float16 tokens of those patches."""


class PosedFeatures:
    """`PosedSamples` of scenes, made once.

    Args:
        features: of the scenes.
        settings: of the head that reads them.
    """

    def __init__(self, features: FeatureFolder, settings: HeadSettings) -> None:
        self.features = features
        self.ways = settings.kind == "situated" and settings.ways
        self.from_agent = settings.kind == "situated" and settings.placing == "agent"
        self.nearest_views = settings.nearest_views
        self._kept: OrderedDict[str, PosedSamples] = OrderedDict()

    def of(self, samples: Sequence[Sample]) -> PosedSamples:
        """What belongs to samples of one scene.

        Raises:
            FileError: what was kept on disk is damaged.
        """
        scan = samples[0].scan_id
        scene = self.features[scan]
        seen = scene.centres[scene.seen]
        middle = seen.mean(0) if len(seen) else np.zeros(3)
        location = np.array(
            [s.location if s.location is not None else (*middle[:2], scene.floor) for s in samples],
            np.float32,
        )
        if not (self.ways or self.from_agent):
            return PosedSamples(location)
        yaw = np.array([s.yaw for s in samples])
        views = self.nearest_views if self.from_agent else 0
        parts = (
            scan.encode(),
            location.tobytes(),
            yaw.tobytes() if self.from_agent else b"",
            bytes([views % 256]),
        )
        key = hashlib.sha256(b"\0".join(parts) + str(self.ways).encode()).hexdigest()[:16]
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        path = None
        if self.features.folder is not None:
            path = self.features.folder / "posed" / f"{self.features.key(scan)}-{key}.safetensors"
        arrays = _read(path) if path is not None and path.is_file() else self._make(scan, location, yaw)
        if path is not None and not path.is_file():
            _write(path, arrays)
        posed = PosedSamples(location, **arrays)
        self._kept[key] = posed
        if len(self._kept) > _SCENES_IN_MEMORY:
            self._kept.popitem(last=False)
        return posed

    def prepare(self, samples: Sequence[Sample], on_scene: Callable[[str], None] = lambda scan: None) -> None:
        """Make what is missing on disk for all samples, scene by scene."""
        for scan, group in by_scene(samples).items():
            self.of([samples[k] for k in group])
            on_scene(scan)

    def _make(self, scan: str, location: np.ndarray, yaw: np.ndarray) -> dict[str, np.ndarray]:
        scene, arrays = self.features[scan], {}
        if self.ways:
            found = [find_ways(scene.plan, place[:2], scene.feet, farthest=FARTHEST) for place in location]
            arrays["bearing"] = np.stack([ways.bearing for ways in found]).astype(np.float16)
            distance = np.stack([ways.distance for ways in found])
            arrays["distance"] = np.minimum(distance, FARTHEST).astype(np.float16)
        if self.from_agent:
            arrays |= self._encode_from_agents(scan, location, yaw)
        return arrays

    def _encode_from_agents(self, scan: str, location: np.ndarray, yaw: np.ndarray) -> dict[str, np.ndarray]:
        scene, stored = self.features[scan], self.features.views(scan)
        size = self.features.backbone.image_size
        points, valid = stored.point_map, stored.valid
        if points.shape[1:3] != (size, size):
            points, valid = resize(points, valid, size, size)
        V = len(points)
        count, per_view = min(self.nearest_views, V), len(scene.tokens) // V
        centres = scene.centres.reshape(V, per_view, 3)[..., :2]  # (K, 3) -> (V, P, 2)
        seen = scene.seen.reshape(V, per_view)
        patches, tokens = [], []
        for place, turn in zip(location, yaw, strict=True):
            gap = np.where(seen, np.linalg.norm(centres - place[:2], axis=-1), np.inf)  # (V, P)
            chosen = np.argsort(np.median(gap, axis=1), kind="stable")[:count]
            moved = to_agent(points[chosen], place.tolist(), float(turn)) * valid[chosen][..., None]
            found = self.features.backbone.encode(moved.astype(np.float32), valid[chosen])["patch_tokens"]
            tokens.append(found.reshape(-1, found.shape[-1]).astype(np.float16))  # (v, P, C) -> (v P, C)
            patches.append((chosen[:, None] * per_view + np.arange(per_view)).reshape(-1))  # (v, P) -> (v P,)
        return {"patches": np.stack(patches).astype(np.int32), "tokens": np.stack(tokens)}


def by_scene(samples: Sequence[Sample]) -> dict[str, list[int]]:
    """Places of the samples of each scene, scenes and samples sorted by name: the same for any order given."""
    order = sorted(range(len(samples)), key=lambda k: (samples[k].scan_id, samples[k].sample_id))
    groups: dict[str, list[int]] = {}
    for k in order:
        groups.setdefault(samples[k].scan_id, []).append(k)
    return groups


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    with atomic_path(path) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, str(temporary))


def _read(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise FileError(path, f"is damaged ({error}); remove it to make it anew") from error
