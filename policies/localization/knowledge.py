"""What a policy works out once for a scene: the map that its memory amounts to, and the features of its views."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from agent.backbone import FrozenBackbone
from envs.scene_memory import SceneMemory
from policies.localization.scene_map import SceneMap

_KEPT = 16


class SceneKnowledge:
    """A memory with what follows from it, each worked out when it is first asked for.

    Args:
        memory: the posed views.
    """

    def __init__(self, memory: SceneMemory) -> None:
        self.memory = memory
        self._map: SceneMap | None = None
        self._embeddings: dict[str, np.ndarray] = {}

    @property
    def map(self) -> SceneMap:
        """The metric map."""
        if self._map is None:
            self._map = SceneMap(self.memory)
        return self._map

    @property
    def places(self) -> np.ndarray:
        """Where each remembered view was taken (V, 3): x, y and the floor's height, scene frame, metres."""
        return self.memory.scene_from_agent[:, :3, 3]

    def likeness(self, backbone: FrozenBackbone, point_map: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """How alike a view (H, W, 3) and each remembered one are (V,), in [-1, 1].

        The cosine of their embeddings, less the mean of the memory's: what all views of the scene have in common
        tells nothing.
        """
        known = self._embeddings.get(backbone.weights_sha256)
        if known is None:
            known = backbone.encode(np.array(self.memory.point_map), np.array(self.memory.valid))["cls"]
            self._embeddings[backbone.weights_sha256] = known
        view = backbone.encode(point_map[None], valid[None])["cls"][0]
        mean = known.mean(axis=0)
        return _unit(known - mean) @ _unit(view - mean)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., D) of length 1; those of length 0 stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


class KnowledgeShelf:
    """The knowledge of the last few scenes, for all policies of a process together."""

    def __init__(self) -> None:
        self._held: OrderedDict[int, SceneKnowledge] = OrderedDict()

    def of(self, memory: SceneMemory) -> SceneKnowledge:
        """What follows from that memory."""
        held = self._held.pop(id(memory), None)
        if held is None:
            held = SceneKnowledge(memory)
        self._held[id(memory)] = held  # it holds the memory, so that its id stays its own
        while len(self._held) > _KEPT:
            self._held.popitem(last=False)
        return held
