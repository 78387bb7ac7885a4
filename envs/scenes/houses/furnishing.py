"""Furnishing all rooms: each by its kind, tried again while something that makes the room what it is finds no place."""

from __future__ import annotations

from envs.scenes.houses.dice import Dice
from envs.scenes.houses.floorplan import Layout
from envs.scenes.houses.openings import Opening
from envs.scenes.houses.rooms.bathroom import furnish_bathroom
from envs.scenes.houses.rooms.bedroom import furnish_bedroom
from envs.scenes.houses.rooms.dining import furnish_dining_room
from envs.scenes.houses.rooms.dressing import ceiling_light, dress_windows
from envs.scenes.houses.rooms.hallway import furnish_hallway
from envs.scenes.houses.rooms.kitchen import counters, furnish_kitchen
from envs.scenes.houses.rooms.living import furnish_living_room
from envs.scenes.houses.rooms.study import furnish_study
from envs.scenes.houses.settings import HouseSettings
from envs.scenes.houses.space import Placed, RoomSpace

_CURTAINS = {"living room": 0.8, "bedroom": 0.85, "study": 0.55, "dining room": 0.65}
"""How often the windows of a room have curtains."""

_ESSENTIAL: dict[str, tuple[tuple[str, ...], ...]] = {
    "bedroom": (("bed",), ("wardrobe",)),
    "kitchen": (("stove",), ("sink",), ("refrigerator",)),
    "bathroom": (("toilet",), ("washbasin",), ("bathtub", "shower"), ("mirror",)),
    "living room": (("sofa",), ("tv",)),
    "dining room": (("dining table",),),
    "study": (("desk",), ("office chair", "chair")),
    "hallway": (),
}
"""What makes a room what it is: one category of each group."""

_ATTEMPTS = 8


def _missing(space: RoomSpace) -> int:
    present = {item.piece.category for item in space.placed}
    groups = _ESSENTIAL[space.room.category]
    chairs = sum(item.piece.category == "chair" for item in space.placed)
    lonely = space.room.category == "dining room" and chairs < 4
    return sum(not present.intersection(group) for group in groups) + lonely


def furnish(dice: Dice, layout: Layout, openings: list[Opening], settings: HouseSettings) -> list[RoomSpace]:
    """Furnish every room of a layout."""
    spaces = []
    categories = {room.category for room in layout.rooms}
    for i, room in enumerate(layout.rooms):
        best: RoomSpace | None = None
        for attempt in range(_ATTEMPTS):
            space = RoomSpace(
                i, room, [o for o in openings if i in o.rooms], layout.ceiling, settings.passage
            )
            _furnish_room(space, dice.fork("room", room.name, attempt), categories, settings.density, attempt)
            if best is None or _missing(space) < _missing(best):
                best = space
            if _missing(best) == 0:
                break
        assert best is not None
        spaces.append(best)
    return spaces


def _furnish_room(space: RoomSpace, dice: Dice, categories: set[str], density: float, attempt: int) -> None:
    category = space.room.category
    curtains = _CURTAINS.get(category, 0.0) * min(1.0, 0.3 + density)
    compact = attempt >= _ATTEMPTS // 2
    if not compact:  # curtains and radiators take the place of furniture
        dress_windows(space, dice.fork("windows"), curtains)
    table: Placed | None = None
    if category == "living room":
        if "kitchen" not in categories:
            counters(space, dice.fork("kitchen"), 3.0)
        table = furnish_living_room(space, dice, density, "dining room" not in categories, compact)
    elif category == "kitchen":
        table = furnish_kitchen(space, dice, density)
    elif category == "dining room":
        table = furnish_dining_room(space, dice, density)
    elif category == "bedroom":
        furnish_bedroom(space, dice, density, compact)
    elif category == "bathroom":
        furnish_bathroom(space, dice, density, compact)
    elif category == "study":
        furnish_study(space, dice, density)
    else:
        furnish_hallway(space, dice, density)
    ceiling_light(space, dice.fork("light"), table if category in ("dining room", "kitchen") else None)
    if table is not None and category == "living room" and dice.chance(0.6):
        ceiling_light(space, dice.fork("second light"), table)
