"""One room of a scene as a scene of its own, as most scans of ScanNet are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from envs.scenes.scene import Scene
from poma3d.errors import SceneError

ROOM_MARK = "#"
"""Between a scene and one of its rooms: ``procedural:val:0007#bedroom.00``."""


def split_room(spec: str) -> tuple[str, str | None]:
    """A scene and, where one of its rooms is meant, the name of that; both may have the mark in their names."""
    if Path(spec).exists():
        return spec, None
    words = spec.split(ROOM_MARK)
    for n in range(len(words) - 1, 0, -1):
        if Path(whole := ROOM_MARK.join(words[:n])).exists():
            return whole, ROOM_MARK.join(words[n:])
    whole, mark, room = spec.rpartition(ROOM_MARK)
    return (whole, room) if mark else (spec, None)


def room_scene(scene: Scene, room: str) -> Scene:
    """What stands in a room, with its walls, floor and ceiling; beyond its doors there is nothing.

    Args:
        scene: whose instances know their rooms; those that belong to no room are left out.
        room: name of the room, such as ``bedroom.00``.

    Returns:
        A scene called ``SCENE#ROOM``, in the frame of the whole one.

    Raises:
        SceneError: there is no such room, or nothing belongs to it.
    """
    rooms = [known for known in scene.rooms if known.name == room]
    if not rooms:
        raise SceneError(
            f"{scene.scene_id}: there is no room {room!r}; its rooms are"
            f" {', '.join(known.name for known in scene.rooms) or 'unknown'}"
        )
    inside = [number for number, instance in enumerate(scene.instances) if instance.room == room]
    new_id = np.full(len(scene.instances) + 1, -1, dtype=np.int32)  # the last one for NO_INSTANCE
    new_id[inside] = np.arange(len(inside), dtype=np.int32)
    ids = new_id[scene.instance_ids]
    kept = ids >= 0
    if not kept.any():
        raise SceneError(f"{scene.scene_id}: no triangle belongs to the room {room!r}")
    used, triangles = np.unique(scene.triangles[kept], return_inverse=True)
    return Scene(
        scene_id=f"{scene.scene_id}{ROOM_MARK}{room}",
        vertices=scene.vertices[used],
        triangles=triangles.reshape(-1, 3).astype(np.int32),  # (3 M,) -> (M, 3)
        instance_ids=ids[kept],
        instances=tuple(scene.instances[number] for number in inside),
        rooms=tuple(rooms),
        metadata=dict(scene.metadata),
    )
