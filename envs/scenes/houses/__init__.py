"""Procedural houses: furnished homes from a seed, the embedded default scenes.

``generate_house(7, split="val")`` and ``house("procedural:val:0007")`` make the same house; ``parse_procedural`` turns
``procedural:val:20`` into the ids of the first twenty.
"""

from envs.scenes.houses.generate import generate_house
from envs.scenes.houses.names import DEFAULT_COUNT, PREFIX, SPLITS, parse_id, parse_procedural, scene_id
from envs.scenes.houses.settings import GENERATOR_VERSION, HouseSettings
from envs.scenes.scene import Scene

__all__ = [
    "DEFAULT_COUNT", "GENERATOR_VERSION", "PREFIX", "SPLITS", "HouseSettings", "generate_house", "house", "parse_id",
    "parse_procedural", "scene_id",
]  # fmt: skip


def house(scene_id: str) -> Scene:
    """The house of an id such as ``procedural:val:0007``, with default settings.

    Raises:
        SettingError: the id is not ``procedural:SPLIT:SEED``.
    """
    split, seed = parse_id(scene_id)
    return generate_house(seed, split=split)
