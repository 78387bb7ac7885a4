"""Captions of a whole scene, and sentences that ask for it: rooms and how many, what stands where and beside what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from envs.scenepoint_export.sightings import LEAST_SHARE, Boxes, ViewFacts, is_structure
from envs.scenepoint_export.view_sentences import relation_phrase
from envs.scenepoint_export.words import a, dice, enumerate_all, number, pick, sentence, several, the
from envs.scenes.scene import Scene
from poma3d.scenepoint.captions import RetrievalQuery

_HOMES = (
    "a home with {rooms}", "this apartment has {rooms}", "the house consists of {rooms}", "a flat with {rooms}",
    "there are {count} rooms: {rooms}", "an indoor scene with {rooms}", "the scan covers {rooms}",
    "this home is made up of {rooms}", "a furnished place with {rooms}",
)  # fmt: skip
_ONE_ROOM = (
    "a scan of {room}", "this is {room}", "{room}, seen from several sides", "an indoor scene: {room}",
    "the scan covers {room}", "a single room, {room}", "views of {room}",
)  # fmt: skip
_PLACES = (
    "an indoor scene with {things}", "a place with {things}", "a building with {things}", "rooms with {things}",
    "a scan that shows {things}", "inside one sees {things}", "the scene contains {things}",
)  # fmt: skip
_CONTENTS = (
    "{the_room} has {things}", "in {the_room} one sees {things}", "{the_room} holds {things}",
    "{the_room} is furnished with {things}", "one finds {things} in {the_room}", "{the_room} contains {things}",
    "{the_room} with {things}",
)  # fmt: skip
_FACTS = ("{fact}", "there is {fact}", "also {fact}", "one notices {fact}")
_EMPTY = (
    "a building with bare walls", "an empty indoor space", "rooms without furniture", "a scan of bare walls and floors",
    "an unfurnished interior",
)  # fmt: skip
_ASKS = (
    "{fact} in {the_room}", "{the_room} with {fact}", "in {the_room}, {fact}", "{the_room} has {fact}",
    "the scene whose {room} has {fact}", "find {fact} in {the_room}",
)  # fmt: skip
_ASKS_NOWHERE = ("{fact}", "the scene with {fact}", "a place that has {fact}", "find {fact}")
QUERIES = 10
"""Sentences written for the retrieval of a scene."""


class SceneFacts:
    """What a scene holds, as far as its views show it.

    Args:
        scene: the scene.
        views: what its views show.
        boxes: of its objects.
    """

    def __init__(self, scene: Scene, views: Sequence[ViewFacts], boxes: Boxes) -> None:
        self.category_of = [instance.category for instance in scene.instances]
        self._room_of_instance = [instance.room for instance in scene.instances]
        self.room_of = {room.name: room.category for room in scene.rooms}
        self.rooms = Counter(room.category for room in scene.rooms)
        self.shown: dict[int, list[tuple[float, int]]] = {}
        """For every object that is seen the (share, view) of each view that shows it."""
        for number_of_view, view in enumerate(views):
            for seen in view.sightings:
                self.shown.setdefault(seen.instance, []).append((seen.share, number_of_view))
        self.things: dict[str | None, Counter[str]] = {}
        """Categories seen, with counts, by the name of their room (None: unknown)."""
        weights: Counter[tuple[str | None, str]] = Counter()
        for instance, views_of_it in self.shown.items():
            room = self.room_name(instance)
            self.things.setdefault(room, Counter())[self.category_of[instance]] += 1
            weights[room, self.category_of[instance]] += int(1e6 * max(share for share, _ in views_of_it))
        self.ranked = {
            room: sorted(counts, key=lambda category: (-weights[room, category], category))
            for room, counts in self.things.items()
        }
        """Categories seen by room, the most striking first."""
        self.relations = [
            (one, relation, other)
            for members in _by_room(scene, self.shown).values()
            for one, relation, other in boxes.relations(members)
            if self.category_of[one] != self.category_of[other] and (relation != "next to" or one < other)
        ]

    def room_name(self, instance: int) -> str | None:
        """The room an object stands in; None where the scene has no such room."""
        room = self._room_of_instance[instance]
        return room if room in self.room_of else None

    def members(self, room: str | None, category: str) -> list[int]:
        """The seen objects of a category in a room, the best seen first."""
        found = [i for i in self.shown if self.category_of[i] == category and self.room_name(i) == room]
        return sorted(found, key=lambda index: (-max(self.shown[index])[0], index))

    def list_things(self, room: str | None, most: int) -> str:
        """The most striking things of a room."""
        counts = self.things[room]
        return enumerate_all([several(category, counts[category]) for category in self.ranked[room][:most]])


def _by_room(scene: Scene, shown: dict[int, list[tuple[float, int]]]) -> dict[str | None, list[int]]:
    """The 24 objects of each room that views show best; more pairs than theirs say nothing new."""
    members: dict[str | None, list[int]] = {}
    for instance in sorted(shown, key=lambda index: (-max(shown[index])[0], index)):
        if not is_structure(scene.instances[instance].category):
            members.setdefault(scene.instances[instance].room, []).append(instance)
    return {room: instances[:24] for room, instances in members.items()}


def scene_captions(facts: SceneFacts, count: int, *seed: object) -> list[str]:
    """Captions of a whole scene, some sentences each.

    Every second one begins with the rooms; the others say in one to six sentences what stands in some of them, as
    a person does who has one scene in mind and not its plan.

    Args:
        facts: what it holds.
        count: how many.
        seed: what the wording depends on, beside the facts.
    """
    captions = []
    for index in range(count):
        rng = dice(*seed, index)
        if index % 2 and facts.things:
            rooms = sorted(facts.things, key=str)
            told = [_fact_of_a_room(facts, rooms, rng) for _ in range(int(rng.integers(1, 7)))]
            captions.append(" ".join(dict.fromkeys(text for text, _ in filter(None, told))))
        else:
            captions.append(_overview(facts, rng))
    return [
        caption or _overview(facts, dice(*seed, index, "again")) for index, caption in enumerate(captions)
    ]


def _overview(facts: SceneFacts, rng: np.random.Generator) -> str:
    if not facts.shown:
        return sentence(pick(rng, _EMPTY))
    parts = []
    if sum(facts.rooms.values()) == 1:
        (room,) = facts.rooms
        parts.append(pick(rng, _ONE_ROOM).format(room=a(room)))
    elif facts.rooms:
        rooms = enumerate_all([several(room, n) for room, n in facts.rooms.most_common()])
        parts.append(pick(rng, _HOMES).format(rooms=rooms, count=number(sum(facts.rooms.values()))))
    else:
        parts.append(pick(rng, _PLACES).format(things=facts.list_things(None, int(rng.integers(3, 8)))))
    named = [room for room in facts.things if room is not None]
    for index in rng.permutation(len(named))[: int(rng.integers(2, 5))]:
        room = named[index]
        things = facts.list_things(room, int(rng.integers(2, 6)))
        kind = facts.room_of[room]
        name = the(kind) if facts.rooms[kind] == 1 else f"one {kind}"
        parts.append(pick(rng, _CONTENTS).format(the_room=name, things=things))
    if facts.relations and rng.random() < 0.7:
        one, relation, other = facts.relations[int(rng.integers(len(facts.relations)))]
        parts.append(relation_phrase(rng, facts.category_of[one], relation, facts.category_of[other]))
    return " ".join(map(sentence, parts))


def retrieval_queries(facts: SceneFacts, scan_id: str, *seed: object) -> list[RetrievalQuery]:
    """Sentences about a few things of one room, each with the views that show what it speaks of, best first.

    Args:
        facts: what the scene holds.
        scan_id: its name.
        seed: what choice and wording depend on, beside the facts.
    """
    rng = dice(*seed)
    rooms = sorted(facts.things, key=str)
    queries: dict[str, RetrievalQuery] = {}
    for _ in range(4 * QUERIES if rooms else 0):
        told = _fact_of_a_room(facts, rooms, rng)
        if told is not None and len(queries) < QUERIES:
            text, instances = told
            queries.setdefault(text, RetrievalQuery(scan_id, text, _views_of(facts, instances)))
    return list(queries.values())


def _fact_of_a_room(
    facts: SceneFacts, rooms: Sequence[str | None], rng: np.random.Generator
) -> tuple[str, list[int]] | None:
    """A sentence about some things of one of these rooms and the objects it speaks of; None where none came up.

    Two or three facts to a sentence: in a home nearly every kitchen has a refrigerator, and one such thing alone
    tells no home from another.
    """
    room = rooms[int(rng.integers(len(rooms)))]
    found: list[tuple[str, list[int]]] = []
    spoken: set[str] = set()
    for kind in (_related, _counted, _counted, _single):
        fact = kind(facts, room, rng) if rng.random() < 0.75 else None
        if fact is not None and not (about := {facts.category_of[i] for i in fact[1]}) & spoken:
            found.append(fact)
            spoken |= about
    if not found:
        return None
    name = facts.room_of.get(room or "")
    words = {"the_room": the(name or "room"), "room": name or "room"}
    fact = enumerate_all([text for text, _ in found])
    text = sentence(pick(rng, _ASKS if name else _ASKS_NOWHERE).format(fact=fact, **words))
    return text, [instance for _, instances in found for instance in instances]


def _views_of(facts: SceneFacts, instances: Sequence[int]) -> tuple[int, ...]:
    """Views that show all of some objects, those that show the least visible one best first; else any of them."""
    shares = [dict((view, share) for share, view in facts.shown[instance]) for instance in instances]
    common = set.intersection(*(set(views) for views in shares)) or set.union(
        *(set(views) for views in shares)
    )
    worth = {view: min(views.get(view, LEAST_SHARE / 2) for views in shares) for view in common}
    return tuple(sorted(worth, key=lambda view: (-worth[view], view)))


def _related(facts: SceneFacts, room: str | None, rng: np.random.Generator) -> tuple[str, list[int]] | None:
    """Two things and how one stands to the other."""
    here = [fact for fact in facts.relations if facts.room_name(fact[0]) == room]
    if not here:
        return None
    one, relation, other = here[int(rng.integers(len(here)))]
    return f"{a(facts.category_of[one])} {relation} {a(facts.category_of[other])}", [one, other]


def _counted(facts: SceneFacts, room: str | None, rng: np.random.Generator) -> tuple[str, list[int]] | None:
    """Several things of one kind, and how many."""
    several_of = [category for category, count in facts.things[room].items() if 2 <= count <= 6]
    if not several_of:
        return None
    category = several_of[int(rng.integers(len(several_of)))]
    return several(category, facts.things[room][category]), facts.members(room, category)


def _single(facts: SceneFacts, room: str | None, rng: np.random.Generator) -> tuple[str, list[int]]:
    """One of the more striking things."""
    ranked = facts.ranked[room][:8]
    category = ranked[int(rng.integers(len(ranked)))]
    return a(category), facts.members(room, category)[:1]
