"""Episodes of another task than the one that is to be run: told by their fields and refused by name.

Fields from the makers' data sets: habitat-lab (``instance_image_nav_dataset.py``, ``vln/r2r_vln_dataset.py``,
``eqa/mp3d_eqa_dataset.py``, ``rearrange/rearrange_dataset.py``) and GOAT-Bench.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poma3d.errors import EpisodeError

_BY_EPISODE = {
    "goal_image_id": "InstanceImageNav (find what a picture shows)",
    "instruction": "VLN (follow an instruction)",
    "question": "EQA (answer a question)",
    "rigid_objs": "Rearrange (move objects)",
    "targets": "Rearrange (move objects)",
    "tasks": "GOAT (several goals one after another)",
}
"""What the task is, by a field that only its episodes have."""


def refuse_objectnav(found: Any, source: Any) -> None:
    """Refuse to run as PointNav what ``found``, a category or table of categories, marks as ObjectNav.

    Raises:
        EpisodeError: ``found`` is not None; the message names ``source``, a file or an episode.
    """
    if found is not None:
        raise EpisodeError(
            f"{source} is of the task ObjectNav, not PointNav (it has object categories): use"
            " pomagym/ObjectNav-v0 (--task objectnav)"
        )


def refuse_pointnav(category: str | None, source: Any) -> None:
    """Refuse to run as ObjectNav an episode without an object category.

    Raises:
        EpisodeError: the category is None; the message names ``source``, a file or an episode.
    """
    if category is None:
        raise EpisodeError(
            f"{source} is of the task PointNav, not ObjectNav (it has no object_category): use"
            " pomagym/PointNav-v0 (--task pointnav)"
        )


def refuse_other_tasks(content: Mapping[str, Any]) -> None:
    """Refuse the content of a file whose episodes are neither PointNav's nor ObjectNav's.

    Raises:
        EpisodeError: it is another task's; the message says which.
    """
    for episode in content["episodes"][:1]:
        found = [field for field in _BY_EPISODE if isinstance(episode, Mapping) and episode.get(field)]
        if found:
            raise _refusal(_BY_EPISODE[found[0]], found[0])
    if isinstance(content.get("goals"), Mapping):
        raise _refusal(_BY_EPISODE["goal_image_id"], "goals")


def _refusal(task: str, field: str) -> EpisodeError:
    return EpisodeError(
        f"its episodes are of the task {task}: they have the field {field!r}."
        " PointNav and ObjectNav data sets can be run"
    )
