"""A scene: triangles in Habitat's world frame, what each belongs to, and a hash of it all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from poma3d.errors import SceneError

NO_INSTANCE = -1
"""Instance id of triangles (and of pixels) that belong to no object."""


@dataclass(frozen=True)
class Instance:
    """One object of a scene; its id is its index in `Scene.instances`."""

    name: str
    """Unique in the scene, such as ``sofa.00``."""
    category: str
    """Lower case, such as ``sofa``."""
    room: str | None = None
    """Name of the room it stands in, where known."""


@dataclass(frozen=True)
class Room:
    """One room of a scene, where the scene knows its rooms."""

    name: str
    """Unique in the scene, such as ``bedroom.01``."""
    category: str
    """Lower case, such as ``bedroom``."""
    outline: np.ndarray
    """Corners (N, 2) of the floor as (x, z) in the world frame, metres, counter-clockwise seen from above."""
    floor_height: float = 0.0
    """y of the floor, metres."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Geometry plus semantics, in Habitat's world frame (metres, y up). Front faces wind counter-clockwise.

    Raises:
        SceneError: no triangles, vertices that are not finite, or indices out of range.
    """

    scene_id: str
    """What episodes call it: a file path as given, or ``procedural:SPLIT:SEED``."""
    vertices: np.ndarray
    """(N, 3) float32."""
    triangles: np.ndarray
    """(M, 3) int32 indices of vertices."""
    instance_ids: np.ndarray
    """(M,) int32: the instance each triangle belongs to, `NO_INSTANCE` for none."""
    instances: tuple[Instance, ...] = ()
    """The objects; empty where the scene has no semantics."""
    rooms: tuple[Room, ...] = ()
    """The rooms; empty where unknown."""
    metadata: dict = field(default_factory=dict)
    """Anything else worth keeping (source file, generator settings)."""

    def __post_init__(self) -> None:
        if self.triangles.ndim != 2 or self.triangles.shape[1:] != (3,) or len(self.triangles) == 0:
            raise SceneError(
                f"{self.scene_id}: the scene has no triangles, nothing could be seen or walked on"
            )
        if not np.isfinite(self.vertices).all():
            bad = int((~np.isfinite(self.vertices).all(axis=1)).sum())
            raise SceneError(
                f"{self.scene_id}: {bad} of {len(self.vertices)} vertices are not finite numbers; export the mesh again"
            )
        if self.triangles.min() < 0 or self.triangles.max() >= len(self.vertices):
            raise SceneError(f"{self.scene_id}: triangles name vertices outside 0..{len(self.vertices) - 1}")
        if self.instance_ids.shape != (len(self.triangles),):
            raise SceneError(
                f"{self.scene_id}: {len(self.triangles)} triangles but {len(self.instance_ids)} instance ids"
            )

    @cached_property
    def geometry_hash(self) -> str:
        """sha256 (hex) of vertices and triangles: what the walkable surface and cached renders depend on."""
        digest = hashlib.sha256()
        digest.update(np.ascontiguousarray(self.vertices, dtype="<f4").tobytes())
        digest.update(np.ascontiguousarray(self.triangles, dtype="<i4").tobytes())
        return digest.hexdigest()

    @cached_property
    def content_hash(self) -> str:
        """sha256 (hex) of geometry and semantics."""
        digest = hashlib.sha256(self.geometry_hash.encode())
        digest.update(np.ascontiguousarray(self.instance_ids, dtype="<i4").tobytes())
        digest.update(repr([(i.name, i.category, i.room) for i in self.instances]).encode())
        return digest.hexdigest()

    @property
    def bounds(self) -> np.ndarray:
        """(2, 3): lowest and highest corner, metres."""
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The categories of the instances, sorted, each once."""
        return tuple(sorted({instance.category for instance in self.instances}))

    def instance_vertices(self, instance_id: int) -> np.ndarray:
        """Vertices (K, 3) of one instance's triangles, each once."""
        used = np.unique(self.triangles[self.instance_ids == instance_id])
        return self.vertices[used]
