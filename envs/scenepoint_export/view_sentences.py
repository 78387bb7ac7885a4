"""Captions of a view: five sentences of five kinds, worded anew for every view, the same from the same seed."""

from __future__ import annotations

from collections import Counter

import numpy as np

from envs.scenepoint_export.sightings import Boxes, Sighting, ViewFacts
from envs.scenepoint_export.words import (
    a,
    dice,
    enumerate_all,
    metres,
    noun,
    pick,
    sentence,
    several,
    stands,
    the,
)

_LISTS = (
    "{a_room} with {things}", "{a_room} containing {things}", "this is {a_room} with {things}",
    "a view of {a_room} with {things}", "in {the_room} we see {things}", "{things} in {a_room}",
    "inside {a_room} one can see {things}", "{a_room} where one finds {things}", "we look at {things} in {the_room}",
    "{the_room} holds {things}", "part of {a_room}: {things}", "{the_room} is furnished with {things}",
    "the camera shows {things}", "the picture shows {a_room} with {things}", "in view: {things}",
)  # fmt: skip
_PLACES = {
    "left": ("on the left", "to the left", "at the left side", "on the left hand", "towards the left edge"),
    "middle": (
        "in the middle",
        "straight ahead",
        "in the centre of the view",
        "in front of the camera",
        "ahead",
    ),
    "right": (
        "on the right",
        "to the right",
        "at the right side",
        "on the right hand",
        "towards the right edge",
    ),
}
_TWO_PLACES = (
    "{x} {is_x} {at_x}, and {y} {is_y} {at_y}", "{at_x} {is_x} {x}, {at_y} {is_y} {y}",
    "in {the_room}, {x} {is_x} {at_x} while {y} {is_y} {at_y}", "looking into {the_room}: {x} {at_x}, {y} {at_y}",
    "{at_x} one sees {x} and {at_y} {y}", "{x} {at_x} and {y} {at_y}, in {a_room}",
)  # fmt: skip
_ONE_PLACE = (
    "{x} {is_x} {at_x}", "{at_x} {is_x} {x}", "in {the_room}, {x} {is_x} {at_x}", "{at_x} one sees {x}",
    "{a_room} with {x} {at_x}",
)  # fmt: skip
_RELATIONS = {
    "on": ("{x} on {y}", "{x} {is_x} standing on {y}", "{x} {is_x} placed on {y}", "{y} with {x} on it",
           "on {y} there {is_x} {x}", "{x} that rests on {y}"),
    "above": ("{x} above {y}", "{x} {is_x} above {y}", "above {y} there {is_x} {x}", "{y} {is_y} below {x}",
              "{x} hangs over {y}"),
    "next to": ("{x} next to {y}", "{x} {is_x} beside {y}", "{x} {is_x} near {y}", "{y} stands by {x}",
                "next to {y} there {is_x} {x}", "{x} and {y} side by side"),
    "left of": ("{x} {is_x} left of {y}", "{x} to the left of {y}", "to the left of {y} there {is_x} {x}"),
    "right of": ("{x} {is_x} right of {y}", "{x} to the right of {y}", "to the right of {y} there {is_x} {x}"),
    "in front of": ("{x} {is_x} in front of {y}", "{x} stands closer than {y}", "in front of {y} {is_x} {x}"),
}  # fmt: skip
_WITHIN = ("{fact}", "{fact}", "{fact} in {the_room}", "in {the_room}, {fact}", "{a_room}: {fact}")
_DISTANCES = (
    "{x} {is_x} {far} away", "{x}, {far} from the camera", "a view towards {x} {far} ahead",
    "looking across {the_room} at {x}, {far} away", "{far} away {is_x} {x}", "one stands {far} from {x}",
)  # fmt: skip
_OPEN = (
    "an empty part of {a_room}, its surfaces {far} away", "bare walls {far} away",
    "{a_room} without furniture in sight",
    "a plain view of {a_room}", "nothing but walls and floor, {far} away", "an empty corner of {a_room}",
    "a look along {a_room} with no objects", "walls and floor of {a_room}",
)  # fmt: skip
_SHORT = (
    "{names}", "{room}: {names}", "{room} scene with {names}", "a photo of {a_room}, {names}", "{names}, {room}",
    "{room} interior", "a corner of {a_room} with {names}", "{room} with {names}",
)  # fmt: skip


def view_captions(facts: ViewFacts, boxes: Boxes, *seed: object) -> tuple[str, ...]:
    """Five captions of a view: what is there, where, in which relation, how far, and in short.

    Args:
        facts: what the view shows.
        boxes: of the objects of its scene.
        seed: what the wording depends on, beside the facts.
    """
    rng = dice(*seed)
    words = _room_words(facts.room)
    seen = facts.sightings[:6]
    if not seen:
        far = metres(facts.depth)
        order = rng.permutation(len(_OPEN))[:5]
        return tuple(sentence(_OPEN[index].format(**words, far=far)) for index in order)
    return (
        sentence(_list_things(rng, seen, words)),
        sentence(_place_things(rng, seen, words)),
        sentence(_relate_things(rng, seen, boxes, words)),
        sentence(_measure(rng, seen, words)),
        _in_short(rng, seen, words),
    )


def _room_words(room: str | None) -> dict[str, str]:
    name = room or "room"
    return {"a_room": a(name), "the_room": the(name), "room": noun(name)}


def _list_things(rng: np.random.Generator, seen: tuple[Sighting, ...], words: dict[str, str]) -> str:
    counts = Counter(sighting.category for sighting in seen[: int(rng.integers(2, 7))])
    things = [several(category, count) for category, count in counts.items()]
    return pick(rng, _LISTS).format(things=enumerate_all(things), **words)


def _described(rng: np.random.Generator, name: str, sighting: Sighting) -> dict[str, str]:
    return {
        name: a(sighting.category),
        f"is_{name}": stands(sighting.category),
        f"at_{name}": pick(rng, _PLACES[sighting.side]),
    }


def _place_things(rng: np.random.Generator, seen: tuple[Sighting, ...], words: dict[str, str]) -> str:
    """Two of the larger things that are at different sides, or one."""
    one = seen[int(rng.integers(min(len(seen), 3)))]
    others = [other for other in seen if other.side != one.side and other.category != one.category]
    if not others:
        return pick(rng, _ONE_PLACE).format(**_described(rng, "x", one), **words)
    other = others[int(rng.integers(min(len(others), 3)))]
    return pick(rng, _TWO_PLACES).format(**_described(rng, "x", one), **_described(rng, "y", other), **words)


def _in_picture(one: Sighting, other: Sighting) -> str | None:
    """How one thing stands to another as the camera sees them; None where neither is clear."""
    if abs(one.column - other.column) > 0.15 and abs(one.distance - other.distance) < 2.0:
        return "left of" if one.column < other.column else "right of"
    if other.distance - one.distance > 0.8 and abs(one.column - other.column) < 0.15:
        return "in front of"
    return None


def _relate_things(
    rng: np.random.Generator, seen: tuple[Sighting, ...], boxes: Boxes, words: dict[str, str]
) -> str:
    """A relation that holds in the scene, else one that holds in the picture, else where one thing is."""
    category = {sighting.instance: sighting.category for sighting in seen}
    facts = [fact for fact in boxes.relations(list(category)) if category[fact[0]] != category[fact[2]]]
    pictured = [
        (one.instance, relation, other.instance)
        for one in seen[:4]
        for other in seen[:4]
        if one.category != other.category and (relation := _in_picture(one, other)) is not None
    ]
    if facts and (not pictured or rng.random() < 0.7):
        chosen = facts[int(rng.integers(len(facts)))]
    elif pictured:
        chosen = pictured[int(rng.integers(len(pictured)))]
    else:
        return _place_things(rng, seen, words)
    one, relation, other = category[chosen[0]], chosen[1], category[chosen[2]]
    fact = relation_phrase(rng, one, relation, other)
    return pick(rng, _WITHIN).format(fact=fact, **words)


def relation_phrase(rng: np.random.Generator, one: str, relation: str, other: str) -> str:
    """A relation in words, such as ``a lamp on a nightstand``."""
    return pick(rng, _RELATIONS[relation]).format(x=a(one), y=a(other), is_x=stands(one), is_y=stands(other))


def _measure(rng: np.random.Generator, seen: tuple[Sighting, ...], words: dict[str, str]) -> str:
    one = seen[int(rng.integers(min(len(seen), 4)))]
    return pick(rng, _DISTANCES).format(
        x=a(one.category), is_x=stands(one.category), far=metres(one.distance), **words
    )


def _in_short(rng: np.random.Generator, seen: tuple[Sighting, ...], words: dict[str, str]) -> str:
    """Key words; no sentence."""
    names = list(dict.fromkeys(noun(sighting.category) for sighting in seen))[: int(rng.integers(1, 5))]
    return pick(rng, _SHORT).format(names=", ".join(names), **words)
