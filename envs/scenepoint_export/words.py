"""English for captions: articles, plurals, numbers, enumerations, and the drawing of one of several phrases."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

_NUMBERS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_IRREGULAR = {
    "shelf": "shelves",
    "bookshelf": "bookshelves",
    "person": "people",
    "tv": "TVs",
    "knife": "knives",
}
_UNCOUNTED = {"furniture", "cluttering", "fitness equipment", "tableware", "clutter", "equipment"}


def dice(*seed: object) -> np.random.Generator:
    """A generator that depends on these values alone, the same on every machine."""
    digest = hashlib.sha256("\n".join(map(str, seed)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype="<u4").tolist())


def pick(rng: np.random.Generator, phrases: Sequence[str]) -> str:
    """One of the phrases."""
    return phrases[int(rng.integers(len(phrases)))]


def noun(category: str) -> str:
    """A category as it is written in a sentence: ``TV stand`` for ``tv_stand``."""
    words = [word for word in category.replace("_", " ").split() if not word.isdigit()] or [category]
    return " ".join("TV" if word == "tv" else word for word in words)


def _is_plural(name: str) -> bool:
    return name.endswith("s") and not name.endswith(("ss", "us"))


def plural(category: str) -> str:
    """Several of a category: ``nightstands``, ``bookshelves``, ``toy chests``."""
    head, _, last = category.replace("_", " ").rpartition(" ")
    if category in _UNCOUNTED or _is_plural(last):
        return noun(category)
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return noun(f"{head} {last}")


def a(category: str) -> str:
    """One of a category, not yet spoken of: ``an armchair``."""
    name = noun(category)
    if category in _UNCOUNTED or _is_plural(name):
        return f"some {name}"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def the(category: str) -> str:
    """One of a category that is at hand: ``the armchair``."""
    return f"the {noun(category)}"


def stands(category: str) -> str:
    """``is`` or ``are``, as the name of the category asks for."""
    return "are" if category not in _UNCOUNTED and _is_plural(noun(category)) else "is"


def number(count: int) -> str:
    """Small numbers as words."""
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def several(category: str, count: int) -> str:
    """``a bed``, ``two beds``."""
    return a(category) if count == 1 else f"{number(count)} {plural(category)}"


def enumerate_all(things: Sequence[str]) -> str:
    """``x``, ``x and y``, ``x, y and z``."""
    if len(things) < 2:
        return "".join(things)
    return f"{', '.join(things[:-1])} and {things[-1]}"


def sentence(text: str) -> str:
    """With a capital letter at its beginning and a full stop at its end."""
    text = " ".join(text.split())
    return f"{text[0].upper()}{text[1:]}" + ("" if text[-1] in ".!?" else ".")


def metres(distance: float) -> str:
    """A distance as people say it: ``less than a metre``, ``about two metres``."""
    whole = round(distance)
    if distance < 0.8:
        return "less than a metre"
    return "about a metre" if whole <= 1 else f"about {number(whole)} metres"
