"""Names by which exactly one object of a scene can be meant: ``the refrigerator``, ``the bin in the kitchen``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from envs.scenepoint_export.sightings import is_structure
from envs.scenepoint_export.words import noun, the
from envs.scenes.scene import Instance, Scene


@dataclass(frozen=True)
class Name:
    """Words that mean one object."""

    category: str
    """What it is."""
    room: str | None = None
    """Category of the room that tells it from others of its kind; None where it is the only one."""

    @property
    def text(self) -> str:
        """The words, such as ``the bin in the kitchen``."""
        return the(self.category) if self.room is None else f"{the(self.category)} in {the(self.room)}"


class Names:
    """Which objects of a scene can be named without a doubt.

    An object is named by its category where it is the only one of it, else by category and room where it is the only
    one of its kind in the only room of that kind. A category whose words end another one's (``cabinet`` and ``upper
    cabinet``) could be taken for it, so all of these count together.

    Args:
        scene: its objects and rooms.
    """

    def __init__(self, scene: Scene) -> None:
        self._instances = scene.instances
        kinds = Counter(room.category for room in scene.rooms)
        self._room_kind = {room.name: room.category for room in scene.rooms if kinds[room.category] == 1}
        self._all: Counter[str] = Counter()
        self._in_room: Counter[tuple[str, str | None]] = Counter()
        for instance in scene.instances:
            for heard in _heard_as(instance.category):
                self._all[heard] += 1
                self._in_room[heard, instance.room] += 1

    def room_kind(self, room: str | None) -> str | None:
        """The category of a room that is the only one of its kind, by its name; None for others."""
        return self._room_kind.get(room) if room is not None else None

    def of(self, index: int) -> Name | None:
        """The name of an object; None where there is none that only it can have."""
        instance = self._instances[index]
        if is_structure(instance.category):
            return None
        heard = noun(instance.category)
        if self._all[heard] == 1:
            return Name(instance.category)
        kind = self.room_kind(instance.room)
        if kind is not None and self._in_room[heard, instance.room] == 1:
            return Name(instance.category, kind)
        return None

    def within(self, index: int, room: str | None) -> Name | None:
        """The name of an object for a listener who knows which room is spoken of.

        Args:
            index: the object.
            room: name of the room, the only one of its kind; None where none is known.
        """
        name = self.of(index)
        if name is None or name.room is None:
            return name
        return Name(name.category) if room is not None and self._instances[index].room == room else None

    def bearers(self, name: Name) -> list[int]:
        """The objects that a listener could take the name for; one where the name is sound."""
        heard = noun(name.category)
        return [
            index
            for index, instance in enumerate(self._instances)
            if heard in _heard_as(instance.category)
            and (name.room is None or self._lies_in(instance, name.room))
        ]

    def _lies_in(self, instance: Instance, room: str) -> bool:
        """Whether an object lies in the room that these words mean, written as a category or as in a sentence."""
        kind = self.room_kind(instance.room)
        return kind is not None and noun(kind) == noun(room)


def _heard_as(category: str) -> list[str]:
    """What an object of a category may be called: ``upper cabinet`` and ``cabinet``."""
    words = noun(category).split()
    return [" ".join(words[first:]) for first in range(len(words))]
