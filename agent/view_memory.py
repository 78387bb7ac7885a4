"""What the agent has seen lately, or best: V views in one frame, and one embedding of the scene from them.

POMA-3D embeds a scene as the mean over 32 views chosen for coverage (arXiv 2511.16567). A scan has all its frames at
once; an agent meets them one after another, so the choice is made anew with each view. Shapes: V views, H x W
pixels, D embedding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from envs.setting_types import check_whole_number
from poma3d.errors import SettingError
from poma3d.pointmap import transform_points
from poma3d.scenepoint.coverage import VOXEL, choose_views

if TYPE_CHECKING:
    from agent.backbone import FrozenBackbone

VIEWS = 32
"""Views kept; the paper's number."""
_PROBES = 400
"""Points of a view, at most, that coverage is judged by."""


class ViewMemory:
    """The last V views, or the V that together cover most, in the order in which they came.

    With ``coverage``, a view that comes to a full memory is weighed against those in it: of the V + 1, greedy
    maximum coverage (`poma3d.scenepoint.coverage.choose_views`) takes V, and the one it leaves is forgotten. A view
    without a valid point is not kept then. What is remembered depends on the views and their order alone.

    Args:
        capacity: views kept, V.
        keep: ``last`` or ``coverage``.
        voxel: edge of the voxels that count as covered, metres.

    Raises:
        SettingError: an argument out of its range.
    """

    def __init__(
        self, capacity: int = VIEWS, *, keep: Literal["last", "coverage"] = "last", voxel: float = VOXEL
    ) -> None:
        check_whole_number("capacity", capacity, least=1)
        if keep not in ("last", "coverage"):
            raise SettingError(f"keep must be last or coverage, found {keep!r}")
        if not 0 < voxel < float("inf"):
            raise SettingError(f"voxel must be above 0 m, found {voxel!r}")
        self.capacity = capacity
        self.keep = keep
        self._voxel = voxel
        self._views: list[_View] = []

    def __len__(self) -> int:
        """Number of views, at most V."""
        return len(self._views)

    def clear(self) -> None:
        """Forget everything, as at the start of an episode."""
        self._views = []

    def add(
        self, point_map: np.ndarray, valid: np.ndarray, memory_from_view: np.ndarray | None = None
    ) -> None:
        """See a view.

        Args:
            point_map: (H, W, 3) metres; it is copied.
            valid: (H, W) bool.
            memory_from_view: (4, 4) from the view's frame to the memory's (`episode_from_agent` for an agent's);
                None where it is in the memory's frame already.

        Raises:
            SettingError: shapes that are none of a point map, or not those of the views before; a transform that
                is not finite.
        """
        point_map, valid = np.asarray(point_map), np.asarray(valid)
        if point_map.ndim != 3 or point_map.shape[-1] != 3 or valid.shape != point_map.shape[:2]:
            raise SettingError(
                f"a view is a point map (H, W, 3) with validity (H, W), found {point_map.shape} and {valid.shape}"
            )
        if valid.dtype != np.bool_:
            raise SettingError(f"validity must be bool, found {valid.dtype}")
        if self._views and point_map.shape != self._views[0].point_map.shape:
            raise SettingError(
                f"this memory holds views of shape {self._views[0].point_map.shape}, found {point_map.shape}"
            )
        valid = valid & np.isfinite(point_map).all(-1)
        points = np.where(valid[..., None], point_map, 0).astype(np.float32)
        if memory_from_view is not None:
            transform = np.asarray(memory_from_view, dtype=np.float64)
            if transform.shape != (4, 4) or not np.isfinite(transform).all():
                raise SettingError("memory_from_view must be a (4, 4) matrix of finite numbers")
            points = transform_points(transform, points, valid)
        if self.keep == "coverage" and not valid.any():
            return
        self._views.append(_View(points, valid))
        if len(self._views) > self.capacity:
            del self._views[self._least()]

    def views(self) -> tuple[np.ndarray, np.ndarray]:
        """The point maps (V, H, W, 3) float32 in the memory's frame and their validity (V, H, W), in new arrays.

        Raises:
            SettingError: nothing was seen yet.
        """
        self._refuse_empty()
        return (
            np.stack([view.point_map for view in self._views]),
            np.stack([view.valid for view in self._views]),
        )

    def encode(self, backbone: FrozenBackbone) -> dict[str, np.ndarray]:
        """The features of the views (V, ...), each view encoded once while it is remembered.

        Raises:
            SettingError: nothing was seen yet, or views of another size than the backbone's.
        """
        self._refuse_empty()
        identity, names = backbone.identity, tuple(backbone.feature_shapes)
        new = [view for view in self._views if any((identity, name) not in view.features for name in names)]
        if new:
            found = backbone.encode(
                np.stack([view.point_map for view in new]), np.stack([view.valid for view in new])
            )
            for row, view in enumerate(new):
                view.features.update({(identity, name): rows[row] for name, rows in found.items()})
        return {name: np.stack([view.features[identity, name] for view in self._views]) for name in names}

    def scene_embedding(self, backbone: FrozenBackbone) -> np.ndarray:
        """(D,) float32 for retrieval: view embeddings normalised, averaged, normalised.

        Raises:
            SettingError: nothing was seen yet, or the backbone does not give ``cls``.
        """
        if "cls" not in backbone.feature_shapes:
            raise SettingError("a scene embedding needs a backbone whose output is cls or both")
        import torch

        from poma3d.encoder import retrieval_embedding

        return retrieval_embedding(torch.from_numpy(self.encode(backbone)["cls"])).numpy()

    def _least(self) -> int:
        """Which of V + 1 views to forget."""
        if self.keep == "last":
            return 0
        chosen = choose_views([view.probes for view in self._views], self.capacity, voxel=self._voxel)
        return int(np.setdiff1d(np.arange(len(self._views)), chosen)[0])

    def _refuse_empty(self) -> None:
        if not self._views:
            raise SettingError("the memory is empty: add a view first")


class _View:
    """A remembered view, the points that coverage is judged by, and what it was encoded to."""

    def __init__(self, point_map: np.ndarray, valid: np.ndarray) -> None:
        self.point_map = point_map
        self.valid = valid
        seen = point_map[valid]  # (N, 3)
        self.probes = seen[:: max(1, math.ceil(len(seen) / _PROBES))]
        self.features: dict[tuple[bytes, str], np.ndarray] = {}


def episode_from_agent(gps: np.ndarray, compass: np.ndarray) -> np.ndarray:
    """The transform (4, 4) from `Frame.AGENT` to `Frame.EPISODE` that an agent knows from its own sensors.

    Args:
        gps: (2,) forward and right of the start, metres. Habitat's sensor has no height, so an agent that has
            climbed a storey is taken for one that has not.
        compass: (1,) radians against the start, positive to the left.
    """
    yaw = float(np.asarray(compass).reshape(-1)[0])
    sine, cosine = np.sin(yaw), np.cos(yaw)
    forward, right = (float(value) for value in gps)
    return np.array([[cosine, -sine, 0, forward], [sine, cosine, 0, -right], [0, 0, 1.0, 0], [0, 0, 0, 1]])
