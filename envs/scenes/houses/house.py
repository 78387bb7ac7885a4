"""A whole procedural house: plan, doors, furniture, checks, geometry."""

from __future__ import annotations

import numpy as np

from envs.scenes.houses import joinery
from envs.scenes.houses.dice import Dice
from envs.scenes.houses.floorplan import Layout, lay_out
from envs.scenes.houses.names import check_seed, check_split, scene_id
from envs.scenes.houses.openings import Opening, cut_doors, cut_outside
from envs.scenes.houses.passages import make_way, unreached_rooms
from envs.scenes.houses.rooms.bathroom import furnish_bathroom
from envs.scenes.houses.rooms.bedroom import furnish_bedroom
from envs.scenes.houses.rooms.dining import furnish_dining_room
from envs.scenes.houses.rooms.dressing import ceiling_light, dress_windows
from envs.scenes.houses.rooms.hallway import furnish_hallway
from envs.scenes.houses.rooms.kitchen import counters, furnish_kitchen
from envs.scenes.houses.rooms.living import furnish_living_room
from envs.scenes.houses.rooms.study import furnish_study
from envs.scenes.houses.settings import GENERATOR_VERSION, HouseSettings
from envs.scenes.houses.shapes import Mesh, yawed
from envs.scenes.houses.space import Placed, RoomSpace
from envs.scenes.houses.walls import build_shell
from envs.scenes.scene import Instance, Room, Scene

_CURTAINS = {"living room": 0.8, "bedroom": 0.85, "study": 0.55, "dining room": 0.65}


def generate_house(seed: int, *, split: str = "train", settings: HouseSettings = HouseSettings()) -> Scene:
    """Make one furnished house, the same on every machine for the same seed, split and settings.

    Args:
        seed: 0 or above.
        split: ``train``, ``val`` or ``test``; no house of one split is in another.
        settings: the ranges it is drawn from.

    Returns:
        The scene: metres, y up, floor at y = 0; floors, walls and ceilings seen from inside, objects closed. Behind the
        windows there is nothing.

    Raises:
        SettingError: the seed is negative or the split unknown.
    """
    check_seed(seed)
    check_split(split)
    for attempt in range(100):
        dice = Dice(GENERATOR_VERSION, split, seed, attempt)
        layout = lay_out(dice.fork("plan"), settings)
        doors = cut_doors(dice.fork("doors"), layout, settings)
        if doors is None:
            continue
        doors = _doors_that_open(layout, doors, settings)
        openings = doors + cut_outside(dice.fork("outside"), layout, doors)
        if not any(opening.kind == "entrance" for opening in openings) or unreached_rooms(
            layout, openings, []
        ):
            continue
        spaces = _furnish(dice, layout, openings, settings)
        make_way(layout, openings, spaces)
        return _assemble(dice, split, seed, layout, openings, spaces)
    raise AssertionError(f"no floor plan came out for {scene_id(split, seed)}")


def _doors_that_open(layout: Layout, doors: list[Opening], settings: HouseSettings) -> list[Opening]:
    """The doors, those without their leaf whose open leaf would leave too little room to walk by."""
    out = []
    for door in doors:
        if door.swing is not None:
            room = layout.rooms[door.swing]
            own = [other for other in doors if door.swing in other.rooms]
            if not RoomSpace(door.swing, room, own, layout.ceiling, settings.passage).passable():
                door = Opening(door.kind, door.rect, door.along_x, door.low, door.high, door.rooms)
        out.append(door)
    return out


def _furnish(dice: Dice, layout: Layout, openings: list[Opening], settings: HouseSettings) -> list[RoomSpace]:
    spaces = []
    categories = [room.category for room in layout.rooms]
    density = settings.density
    for i, room in enumerate(layout.rooms):
        own = dice.fork("room", room.name)
        space = RoomSpace(i, room, [o for o in openings if i in o.rooms], layout.ceiling, settings.passage)
        dress_windows(space, own.fork("windows"), _CURTAINS.get(room.category, 0.0) * min(1.0, 0.3 + density))
        table: Placed | None = None
        if room.category == "living room":
            if "kitchen" not in categories:
                counters(space, own.fork("kitchen"), 3.0)
            table = furnish_living_room(space, own, density, "dining room" not in categories)
        elif room.category == "kitchen":
            table = furnish_kitchen(space, own, density)
        elif room.category == "dining room":
            table = furnish_dining_room(space, own, density)
        elif room.category == "bedroom":
            furnish_bedroom(space, own, density)
        elif room.category == "bathroom":
            furnish_bathroom(space, own, density)
        elif room.category == "study":
            furnish_study(space, own, density)
        else:
            furnish_hallway(space, own, density)
        ceiling_light(
            space, own.fork("light"), table if room.category in ("dining room", "kitchen") else None
        )
        if table is not None and room.category == "living room" and own.chance(0.6):
            ceiling_light(space, own.fork("second light"), table)
        spaces.append(space)
    return spaces


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
        number = self._counts.get(category, 0)
        self._counts[category] = number + 1
        self.instances.append(Instance(f"{category}.{number:02d}", category, room))
        return len(self.instances) - 1

    def add(self, vertices: np.ndarray, triangles: np.ndarray, ids: int | np.ndarray) -> None:
        self._vertices.append(vertices)
        self._triangles.append(triangles + self._total)
        self._ids.append(np.broadcast_to(np.asarray(ids, dtype=np.int32), (len(triangles),)))
        self._total += len(vertices)

    def finish(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Vertices to a tenth of a millimetre, triangles without those that this makes degenerate, instance ids."""
        steps = np.rint(np.concatenate(self._vertices) * 1e4)
        triangles = np.concatenate(self._triangles)
        a, b, c = (steps[triangles[:, k]] for k in range(3))
        keep = (a != b).any(axis=1) & (b != c).any(axis=1) & (c != a).any(axis=1)
        # adding zero turns -0.0 into 0.0, which would be other bytes
        return (
            ((steps + 0.0) / 1e4).astype(np.float32),
            triangles[keep].astype(np.int32),
            np.concatenate(self._ids)[keep],
        )


def _world(item: Placed) -> np.ndarray:
    """Vertices of a placed piece in the world frame."""
    turned = yawed(item.piece.mesh, item.yaw).vertices
    return turned + np.array([item.x, item.y, item.z])


def _assemble(
    dice: Dice, split: str, seed: int, layout: Layout, openings: list[Opening], spaces: list[RoomSpace]
) -> Scene:
    out = _Assembly()
    shell = build_shell(layout, openings)
    names = [room.name for room in layout.rooms]
    ids = np.zeros((3, len(names) + 1), dtype=np.int32)
    for part, category in enumerate(("wall", "floor", "ceiling")):
        for i, name in enumerate([*names, None] if part == 0 else names):
            ids[part, i] = out.instance(category, name)
    out.add(shell.vertices, shell.triangles, ids[shell.part, shell.room])
    board = dice.fork("boards").choice([0.0, 0.06, 0.08, 0.1])
    bars = dice.fork("bars").chance(0.3)
    for i in range(len(names)):
        if board:
            mesh = joinery.baseboards(layout, i, openings, board)
            out.add(mesh.vertices, mesh.triangles, int(ids[0, i]))
    style = dice.fork("door style")
    for i, opening in enumerate(openings):
        room = names[opening.rooms[0] if opening.swing is None else opening.swing]
        if opening.kind == "window":
            mesh: Mesh = joinery.window(
                dice.fork("window", i), opening, layout.rooms[opening.rooms[0]].rect, bars
            )
        else:
            mesh = joinery.door(style.fork("same"), opening, layout)
        out.add(
            mesh.vertices,
            mesh.triangles,
            out.instance("window" if opening.kind == "window" else "door", room),
        )
    for space in spaces:
        for item in space.placed:
            out.add(
                _world(item), item.piece.mesh.triangles, out.instance(item.piece.category, space.room.name)
            )
    vertices, triangles, instance_ids = out.finish()
    rooms = []
    for room in layout.rooms:
        x0, z0, x1, z1 = room.rect
        outline = np.array(
            [(x0, z1), (x1, z1), (x1, z0), (x0, z0)]
        )  # counter-clockwise seen from above: z points down the page
        rooms.append(Room(room.name, room.category, outline))
    return Scene(
        scene_id=scene_id(split, seed),
        vertices=vertices,
        triangles=triangles,
        instance_ids=instance_ids,
        instances=tuple(out.instances),
        rooms=tuple(rooms),
        metadata={"generator": f"houses {GENERATOR_VERSION}", "split": split, "seed": seed},
    )
