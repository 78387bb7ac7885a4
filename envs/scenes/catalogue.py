"""Scene data sets that others publish and that load here: where they are, what they are, under which terms.

Facts from the data sets' own pages and habitat-sim's ``DATASETS.md`` (MIT). Nothing is shipped; a person
fetches a data set from its source, after agreeing to its terms where it has any.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublicScenes:
    """One published data set."""

    name: str
    """What papers call it."""
    what: str
    """What it holds, in a few words."""
    address: str
    """Where its makers offer it."""
    terms: str
    """Its licence, or that an agreement must be signed."""


CATALOGUE = (
    PublicScenes(
        "habitat-test-scenes",
        "3 scanned places, .glb with .navmesh, made for tests",
        "https://github.com/facebookresearch/habitat-sim/blob/main/DATASETS.md",
        "as stated there",
    ),
    PublicScenes(
        "HM3D",
        "1,000 scanned buildings, .glb with .navmesh",
        "https://aihabitat.org/datasets/hm3d/",
        "agreement with Matterport",
    ),
    PublicScenes(
        "Matterport3D",
        "90 scanned buildings, .glb with .navmesh",
        "https://niessner.github.io/Matterport/",
        "agreement",
    ),
    PublicScenes(
        "Gibson",
        "572 scanned buildings, .glb with .navmesh",
        "https://github.com/StanfordVL/GibsonEnv#database",
        "agreement",
    ),
    PublicScenes(
        "Replica",
        "18 scanned rooms, .ply",
        "https://github.com/facebookresearch/Replica-Dataset",
        "research terms, see there",
    ),
    PublicScenes(
        "HSSD",
        "211 furnished houses put together from objects, .scene_instance.json",
        "https://huggingface.co/datasets/hssd/hssd-hab",
        "CC BY-NC 4.0, see there",
    ),
    PublicScenes(
        "small_house",
        "a furnished six-room house; .dae models to convert",
        "https://github.com/aws-robotics/aws-robomaker-small-house-world",
        "MIT-0 style",
    ),
    PublicScenes(
        "hospital",
        "two storeys of a hospital; .dae models to convert",
        "https://github.com/aws-robotics/aws-robomaker-hospital-world",
        "MIT-0 style",
    ),
    PublicScenes(
        "willowgarage",
        "an office floor with bare walls; a .dae model to convert",
        "https://github.com/osrf/gazebo_models",
        "CC-BY 3.0",
    ),
)
"""The data sets, those most used first."""
