"""The words that a category is weighed against: what else a patch of an indoor view may show."""

from __future__ import annotations

from envs.episodes.objectnav_generator import names_of

WORDS = (
    "armchair", "basket", "bathtub", "bed", "bench", "bin", "book", "bookshelf", "bottle", "bowl", "cabinet",
    "candle", "ceiling", "ceiling lamp", "chair", "clock", "clothes rack", "coat rack", "coffee table", "computer",
    "console table", "cot", "counter", "cup", "curtain", "cushion", "desk", "dining table", "dishwasher", "door",
    "dresser", "fan", "floor", "floor lamp", "kettle", "keyboard", "kitchen island", "laptop", "microwave",
    "mirror", "monitor", "nightstand", "office chair", "ottoman", "piano", "picture", "plant", "plate", "pot",
    "radiator", "range hood", "refrigerator", "rug", "shelf", "shoe rack", "shower", "side table", "sink", "sofa",
    "speaker", "stool", "stove", "table lamp", "toaster", "toilet", "towel", "toy", "toy chest", "tray", "tv",
    "tv stand", "upper cabinet", "vase", "wall", "wardrobe", "washbasin", "washing machine", "window",
)  # fmt: skip
"""What stands in homes: the categories of the procedural houses, on which `poma3d-mini` was aligned."""


def word_of(category: str) -> str:
    """What a category is called in words: its name among `WORDS`, else its own with spaces for underscores."""
    known = sorted(names_of(category).intersection(WORDS))
    return known[0] if known else category.replace("_", " ")


def other_words(category: str) -> tuple[str, ...]:
    """`WORDS` without the names of the category."""
    own = names_of(category) | {word_of(category)}
    return tuple(word for word in WORDS if word not in own)
