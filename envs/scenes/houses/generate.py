"""A whole procedural house: plan, doors, furniture, ways to walk, geometry."""

from __future__ import annotations

import hashlib

from envs.scenes.houses.assembly import assemble
from envs.scenes.houses.dice import Dice
from envs.scenes.houses.floorplan import Layout, lay_out
from envs.scenes.houses.furnishing import furnish
from envs.scenes.houses.names import check_seed, check_split, scene_id
from envs.scenes.houses.openings import Opening, cut_doors, cut_outside
from envs.scenes.houses.passages import make_way, unreached_rooms
from envs.scenes.houses.settings import DRAW_VERSION, HouseSettings
from envs.scenes.houses.space import RoomSpace
from envs.scenes.scene import Scene

_DEFAULTS = HouseSettings()


def generate_house(seed: int, *, split: str = "train", settings: HouseSettings = _DEFAULTS) -> Scene:
    """Make one furnished house, the same on every machine for the same seed, split and settings.

    Args:
        seed: 0 or above.
        split: ``train``, ``val`` or ``test``; no house of one split is in another.
        settings: the ranges it is drawn from.

    Returns:
        The scene: metres, y up, floor at y = 0; floors, walls and ceilings seen from inside, objects closed. Behind the
        windows there is nothing. Its metadata hold the ``ceiling_height``, the footprints (x0, z0, x1, z1) of the
        ``doors`` in their walls, and those of the ``windows`` with their lower and upper edge.

    Raises:
        SettingError: the seed is negative or the split unknown.
    """
    check_seed(seed)
    check_split(split)
    for attempt in range(100):
        dice = Dice(DRAW_VERSION, split, seed, attempt)
        layout = lay_out(dice.fork("plan"), settings)
        doors = cut_doors(dice.fork("doors"), layout, settings)
        if doors is None:
            continue
        doors = _doors_that_open(layout, doors, settings)
        openings = doors + cut_outside(dice.fork("outside"), layout, doors)
        entered = any(opening.kind == "entrance" for opening in openings)
        if not entered or unreached_rooms(layout, openings, []):
            continue
        spaces = furnish(dice, layout, openings, settings)
        removed = make_way(layout, openings, spaces)
        if removed is not None:
            metadata = {"split": split, "seed": seed, "removed_pieces": removed}
            return assemble(dice, _name(split, seed, settings), layout, openings, spaces, metadata)
    raise AssertionError(f"no floor plan came out for {scene_id(split, seed)}")


def _name(split: str, seed: int, settings: HouseSettings) -> str:
    """The scene id; other settings make other houses, so they are part of it."""
    if settings == _DEFAULTS:
        return scene_id(split, seed)
    return f"{scene_id(split, seed)}@{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"


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
