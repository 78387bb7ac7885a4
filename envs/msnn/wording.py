"""Situations and goals in words: templates, and their filling from the facts of a situation.

A position template has a slot for a heading in one of two forms: ``{doing}`` ("facing the TV") or ``{fact}`` ("the
TV is in front of me"); ``{here}`` is " in the kitchen" or nothing. Which template is taken depends on chance alone,
never on the answer.
"""

from __future__ import annotations

import re

import numpy as np

from envs.msnn.purposes import GOALS, PURPOSES
from envs.msnn.situations import Situation
from envs.scenepoint_export.words import pick, sentence, the

POSITIONS: dict[str, tuple[str, ...]] = {
    "in": (
        "I am in {room}, {doing}.", "I am standing in {room}, {doing}.", "I stand in {room}. {Fact}.",
        "{Doing}, I am standing in {room}.", "I have just walked into {room}. {Fact}.",
        "I am somewhere in {room}; {fact}.", "You find me in {room}, {doing}.", "{Fact} while I am standing in {room}.",
        "I have stopped in {room}. {Fact}.", "Right now I am in {room}. {Fact}.", "My place is in {room}, {doing}.",
        "I am waiting in {room} and {fact}.", "I am in {room}. {Fact}.", "Here I am in {room}, {doing}.",
    ),
    "beside": (
        "I am standing beside {a}{here}, {doing}.", "I am next to {a}{here}, {doing}.",
        "I am standing by {a}{here}; {fact}.", "I stand close to {a}{here}. {Fact}.",
        "I am right beside {a}{here}; {fact}.", "{Doing}, I am standing next to {a}{here}.",
        "I have stopped at {a}{here}. {Fact}.", "{A} is within my reach{here}, and {fact}.",
        "I stand {doing}; {a} is right beside me{here}.", "I am at {a}{here}, {doing}.",
        "I am standing near {a}{here} and {fact}.", "{Fact}, and I am standing beside {a}{here}.",
        "I could touch {a}{here} from where I stand, {doing}.", "My place is by {a}{here}. {Fact}.",
    ),
    "between": (
        "I am standing between {a} and {b}{here}, {doing}.", "I am between {a} and {b}{here}; {fact}.",
        "I am standing between {a} and {b}{here}. {Fact}.", "I stand between {a} and {b}{here}. {Fact}.",
        "{Doing}, I am standing between {a} and {b}{here}.", "I have stopped between {a} and {b}{here}. {Fact}.",
        "I am in the gap between {a} and {b}{here}, {doing}.",
        "{A} and {b} are on either side of where I stand{here}. {Fact}.",
        "I am right between {a} and {b}{here}, and {fact}.", "My place is between {a} and {b}{here}, {doing}.",
    ),
    "seated": (
        "I am sitting on {a}{here}, {doing}.", "I sit on {a}{here}, {doing}.", "I sit on {a}{here}. {Fact}.",
        "I have taken a seat on {a}{here}; {fact}.", "{Doing}, I am sitting on the edge of {a}{here}.",
        "I am resting on {a}{here} and {fact}.", "I am seated on {a}{here}, {doing}.",
        "I have been sitting on {a}{here} for a while. {Fact}.", "{Fact} as I sit on {a}{here}.",
        "I am on the edge of {a}{here}, sitting, {doing}.",
    ),
}  # fmt: skip
"""Where the agent is, by `Situation.kind`."""

DOING: dict[str, tuple[str, ...]] = {
    "facing": (
        "facing {f}", "looking at {f}", "with {f} in front of me", "looking towards {f}", "turned towards {f}",
        "with my face to {f}", "looking straight at {f}", "with {f} straight ahead",
    ),
    "back": (
        "with my back to {f}", "with {f} behind me", "facing away from {f}", "turned away from {f}",
        "with {f} at my back", "looking away from {f}",
    ),
    "left": (
        "with {f} on my left", "with {f} to my left", "with my left shoulder towards {f}", "with {f} at my left side",
        "with {f} on the left of me",
    ),
    "right": (
        "with {f} on my right", "with {f} to my right", "with my right shoulder towards {f}",
        "with {f} at my right side",
        "with {f} on the right of me",
    ),
}  # fmt: skip
"""The heading as a phrase, by `Situation.side`."""

FACTS: dict[str, tuple[str, ...]] = {
    "facing": (
        "{f} is in front of me", "{f} is straight ahead of me", "I am looking at {f}", "I can see {f} right before me",
        "I face {f}", "my eyes are on {f}", "in front of me is {f}", "ahead of me I see {f}",
    ),
    "back": (
        "{f} is behind me", "my back is turned to {f}", "behind me is {f}", "I have {f} at my back",
        "I face away from {f}",
    ),
    "left": (
        "{f} is on my left", "{f} is to my left", "on my left is {f}", "to my left there is {f}",
        "I have {f} on my left",
    ),
    "right": (
        "{f} is on my right", "{f} is to my right", "on my right is {f}", "to my right there is {f}",
        "I have {f} on my right",
    ),
}  # fmt: skip
"""The heading as a clause, by `Situation.side`."""


def situation_text(situation: Situation, rng: np.random.Generator) -> str:
    """A situation in words; only `Situation.signature` and chance decide them.

    Args:
        situation: the facts.
        rng: chooses the words.
    """
    template = pick(rng, POSITIONS[situation.kind])
    seen = situation.seen.name.text
    doing = pick(rng, DOING[situation.side]).format(f=seen)
    fact = pick(rng, FACTS[situation.side]).format(f=seen)
    at = sorted(mark.name.text for mark in situation.at)
    if len(at) == 2 and rng.random() < 0.5:
        at.reverse()
    words = {"doing": doing, "fact": fact, "a": at[0] if at else "", "b": at[-1] if at else ""}
    words |= {name.capitalize(): text[:1].upper() + text[1:] for name, text in words.items()}
    room = the(situation.room) if situation.room else ""
    here = (
        f" in {room}"
        if room and (rng.random() < 0.5 or any(mark.local for mark in situation.landmarks))
        else ""
    )
    text = template.format(room=room, here=here, **words)
    return re.sub(r"(?<=[.!?] )[a-z]", lambda found: found[0].upper(), sentence(text))


def interaction_text(category: str, name: str, rng: np.random.Generator) -> str:
    """The goal in a sentence; it names the goal by the words that mean it alone.

    Args:
        category: what the goal is.
        name: the words that mean it alone, such as ``the bin in the kitchen``.
        rng: chooses the words.
    """
    purposes = PURPOSES.get(category, ())
    phrases = purposes if purposes and rng.random() < 0.5 else GOALS
    return sentence(pick(rng, phrases).format(g=name))
