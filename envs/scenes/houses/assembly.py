"""From plan and placed furniture to one scene: triangles, instances, rooms."""

from __future__ import annotations

import numpy as np

from envs.scenes.houses import joinery
from envs.scenes.houses.dice import Dice
from envs.scenes.houses.floorplan import Layout
from envs.scenes.houses.openings import Opening
from envs.scenes.houses.settings import GENERATOR_VERSION
from envs.scenes.houses.shapes import yawed
from envs.scenes.houses.space import Placed, RoomSpace
from envs.scenes.houses.walls import build_shell
from envs.scenes.scene import Instance, Room, Scene


class _Assembly:
    """Collects meshes and the instances they belong to."""

    def __init__(self) -> None:
        self.instances: list[Instance] = []
        self._counts: dict[str, int] = {}
        self._vertices: list[np.ndarray] = []
        self._triangles: list[np.ndarray] = []
        self._ids: list[np.ndarray] = []
        self._total = 0

    def instance(self, category: str, room: str | None) -> int:
        """A new instance, named after its category and how many of it came before; returns its index."""
        number = self._counts.get(category, 0)
        self._counts[category] = number + 1
        self.instances.append(Instance(f"{category}.{number:02d}", category, room))
        return len(self.instances) - 1

    def add(self, vertices: np.ndarray, triangles: np.ndarray, ids: int | np.ndarray) -> None:
        """Take a mesh: vertices (N, 3) in metres, triangles (M, 3) and the instances of all or each (M,)."""
        self._vertices.append(vertices)
        self._triangles.append(triangles + self._total)
        self._ids.append(np.broadcast_to(np.asarray(ids, dtype=np.int32), (len(triangles),)))
        self._total += len(vertices)

    def finish(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Vertices to a tenth of a millimetre, triangles without those that this makes degenerate, instance ids."""
        steps = np.rint(np.concatenate(self._vertices) * 1e4)
        triangles = np.concatenate(self._triangles)
        grid = steps.astype(np.int64) + 2**20
        corner = ((grid[:, 0] << 42) + (grid[:, 1] << 21) + grid[:, 2])[
            triangles
        ]  # (M, 3), one number a place
        keep = (
            (corner[:, 0] != corner[:, 1]) & (corner[:, 1] != corner[:, 2]) & (corner[:, 2] != corner[:, 0])
        )
        # adding zero turns -0.0 into 0.0, which would be other bytes
        return (
            ((steps + 0.0) / 1e4).astype(np.float32),
            triangles[keep].astype(np.int32),
            np.concatenate(self._ids)[keep],
        )


def _world(item: Placed) -> np.ndarray:
    """Vertices of a placed piece in the world frame; what a slanted foot reaches below the floor is cut off."""
    vertices = yawed(item.piece.mesh, item.yaw).vertices + np.array([item.x, item.y, item.z])
    vertices[:, 1] = np.maximum(vertices[:, 1], 0.0)
    return vertices


def _add_shell(out: _Assembly, dice: Dice, layout: Layout, openings: list[Opening]) -> None:
    """Walls with baseboards, floors and ceilings, an instance each a room, and the outer faces."""
    shell = build_shell(layout, openings)
    names = [room.name for room in layout.rooms]
    ids = np.zeros((3, len(names) + 1), dtype=np.int32)
    for part, category in enumerate(("wall", "floor", "ceiling")):
        for i, name in enumerate([*names, None] if category == "wall" else names):
            ids[part, i] = out.instance(category, name)
    out.add(shell.vertices, shell.triangles, ids[shell.part, shell.room])
    board = dice.fork("boards").choice([0.0, 0.06, 0.08, 0.1])
    if board:
        for i in range(len(names)):
            mesh = joinery.baseboards(layout, i, openings, board)
            out.add(mesh.vertices, mesh.triangles, int(ids[0, i]))


def _add_joinery(out: _Assembly, dice: Dice, layout: Layout, openings: list[Opening]) -> None:
    """Doors, all of one style, and windows."""
    bars = dice.fork("bars").chance(0.3)
    for i, opening in enumerate(openings):
        room = layout.rooms[opening.rooms[0] if opening.swing is None else opening.swing]
        if opening.kind == "window":
            mesh = joinery.window(dice.fork("window", i), opening, room.rect, bars)
            instance = out.instance("window", room.name)
        else:
            mesh = joinery.door(dice.fork("door style"), opening, layout)
            instance = out.instance("door", room.name)
        out.add(mesh.vertices, mesh.triangles, instance)


def assemble(
    dice: Dice, name: str, layout: Layout, openings: list[Opening], spaces: list[RoomSpace], metadata: dict
) -> Scene:
    """Put a house together; ``name`` is its scene id."""
    out = _Assembly()
    _add_shell(out, dice, layout, openings)
    _add_joinery(out, dice, layout, openings)
    for space in spaces:
        for item in space.placed:
            instance = out.instance(item.piece.category, space.room.name)
            out.add(_world(item), item.piece.mesh.triangles, instance)
    vertices, triangles, instance_ids = out.finish()
    rooms = []
    for room in layout.rooms:
        x0, z0, x1, z1 = room.rect
        # counter-clockwise seen from above, where z points down the page
        rooms.append(Room(room.name, room.category, np.array([(x0, z1), (x1, z1), (x1, z0), (x0, z0)])))
    return Scene(
        scene_id=name,
        vertices=vertices,
        triangles=triangles,
        instance_ids=instance_ids,
        instances=tuple(out.instances),
        rooms=tuple(rooms),
        metadata={
            "generator": f"houses {GENERATOR_VERSION}",
            "ceiling_height": layout.ceiling,
            "doors": [tuple(o.rect) for o in openings if o.kind != "window"],
            "windows": [(*o.rect, o.low, o.high) for o in openings if o.kind == "window"],
            **metadata,
        },
    )
