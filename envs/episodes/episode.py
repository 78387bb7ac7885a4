"""What an episode is: habitat-lab's ``NavigationEpisode`` and ``ObjectGoalNavEpisode`` as dataclasses.

Fields and their meaning follow habitat-lab (``core/dataset.py``, ``tasks/nav/nav.py``,
``tasks/nav/object_nav_task.py``). Positions are in the scene's world frame (metres, y up), rotations are
quaternions (x, y, z, w). Fields that neither Habitat nor this project knows are kept in ``extra`` and written
back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from poma3d.errors import EpisodeError

Vector = tuple[float, ...]
"""Three or four numbers."""


@dataclass(frozen=True)
class AgentState:
    """Where an agent's base is."""

    position: Vector
    """(x, y, z), world frame, metres."""
    rotation: Vector
    """(x, y, z, w)."""


@dataclass(frozen=True)
class ViewPoint:
    """A place from which an object is in reach and in sight (Habitat's ``ObjectViewLocation``)."""

    agent_state: AgentState
    """Where to stand and where to look."""
    iou: float | None = None
    """How much of the view the object takes, in [0, 1]."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Unknown fields of the file."""


@dataclass(frozen=True)
class Goal:
    """Where an episode leads to: a point (``NavigationGoal``) or, with an id, an object (``ObjectGoal``)."""

    position: Vector
    """(x, y, z) of the point or of the object's centre, world frame, metres."""
    radius: float | None = None
    """Metres; Habitat's files hold it, its measures do not use it."""
    object_id: str | int | None = None
    """The object's id in the scene; None for a point."""
    object_name: str | None = None
    """The object's name in the scene, such as ``sofa.00``."""
    object_category: str | None = None
    """The object's category, such as ``sofa``."""
    room_id: str | int | None = None
    """The room it stands in, where known."""
    room_name: str | None = None
    """That room's name, where known."""
    view_points: tuple[ViewPoint, ...] | None = None
    """Where the object counts as reached; distances go to the nearest of them."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Unknown fields of the file."""


@dataclass(frozen=True)
class Episode:
    """One task: a scene, a start and goals."""

    episode_id: str
    """Unique in its file (Habitat's ObjectNav files: in its scene)."""
    scene_id: str
    """Path of the scene below a ``scene_datasets`` folder, or ``procedural:SPLIT:SEED``."""
    start_position: Vector
    """(x, y, z) of the agent's base, world frame, metres."""
    start_rotation: Vector
    """(x, y, z, w)."""
    goals: tuple[Goal, ...]
    """One goal (PointNav) or all objects of the category (ObjectNav)."""
    info: dict[str, Any] | None = None
    """``geodesic_distance`` in metres, ``difficulty`` and whatever else the file holds."""
    object_category: str | None = None
    """The category to find (ObjectNav), else None."""
    start_room: str | None = None
    """Habitat's field of that name."""
    shortest_paths: list | None = None
    """Recorded shortest paths as the file holds them: lists of ``{position, rotation, action}``."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Other fields of the file, such as ``scene_dataset_config``."""

    @property
    def geodesic_distance(self) -> float | None:
        """The recorded length of the shortest path, metres; None where the file has none."""
        value = (self.info or {}).get("geodesic_distance")
        return float(value) if isinstance(value, int | float) else None

    @property
    def goals_key(self) -> str:
        """The key of its goals in ``goals_by_category``: scene file name and category."""
        return f"{self.scene_id.replace(chr(92), '/').rsplit('/', 1)[-1]}_{self.object_category}"

    def goal_points(self) -> np.ndarray:
        """The goals' own positions (G, 3), world frame.

        Raises:
            EpisodeError: there is no goal.
        """
        if not self.goals:
            raise EpisodeError(f"episode {self.episode_id!r} has no goal")
        return np.array([goal.position for goal in self.goals], dtype=np.float64)

    def goal_positions(self) -> np.ndarray:
        """Where distances go to (G, 3): all view points, or the goals' positions where there are none.

        Raises:
            EpisodeError: there is no goal, or an object goal without any view point.
        """
        positions = self.goal_points()
        points = [view.agent_state.position for goal in self.goals for view in goal.view_points or ()]
        if not points:
            if self.object_category is not None:
                raise EpisodeError(
                    f"episode {self.episode_id!r} searches {self.object_category!r}, but none of its"
                    f" {len(self.goals)} goals has a view point; generate the episodes again"
                )
            return positions
        return np.array(points, dtype=np.float64)


def _describe(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _need(data: Mapping[str, Any], name: str, where: str) -> Any:
    if data.get(name) is None:
        found = ", ".join(sorted(data)) or "no field at all"
        raise EpisodeError(f"{where}: {name!r} is missing; found {found}")
    return data[name]


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise EpisodeError(f"{where} must be an object with named fields, found {_describe(value)}")
    return value


def _sequence(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise EpisodeError(f"{where} must be a list, found {_describe(value)}")
    return value


def _numbers(value: Any, count: int, where: str) -> Vector:
    names = "(x, y, z)" if count == 3 else "(x, y, z, w)"
    if (
        not isinstance(value, list | tuple)
        or len(value) != count
        or not all(
            isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
            for number in value
        )
    ):
        raise EpisodeError(f"{where} must be {count} finite numbers {names}, found {_describe(value)}")
    return tuple(float(number) for number in value)


def _position(data: Mapping[str, Any], name: str, where: str) -> Vector:
    return _numbers(_need(data, name, where), 3, f"{where}: {name!r}")


def _rotation(data: Mapping[str, Any], name: str, where: str) -> Vector:
    rotation = _numbers(_need(data, name, where), 4, f"{where}: {name!r}")
    if sum(number * number for number in rotation) < 1e-6:
        raise EpisodeError(f"{where}: {name!r} is no rotation, all its numbers are about 0")
    return rotation


def _optional_number(data: Mapping[str, Any], name: str, where: str) -> float | None:
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EpisodeError(f"{where}: {name!r} must be a number, found {_describe(value)}")
    return float(value)


def _rest(data: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in known}


_VIEW_POINT_FIELDS = frozenset({"agent_state", "iou"})
_OBJECT_FIELDS = ("object_id", "object_name", "object_category", "room_id", "room_name")
_GOAL_FIELDS = frozenset({"position", "radius", "view_points", *_OBJECT_FIELDS})
_EPISODE_FIELDS = frozenset(
    [
        "episode_id",
        "scene_id",
        "start_position",
        "start_rotation",
        "goals",
        "info",
        "object_category",
        "start_room",
        "shortest_paths",
    ]
)


def view_point_from_json(data: Any, where: str = "view point") -> ViewPoint:
    """Read one view point; ``where`` begins the error messages.

    Raises:
        EpisodeError: a field is missing or of the wrong shape.
    """
    data = _mapping(data, where)
    state = _mapping(_need(data, "agent_state", where), f"{where}: 'agent_state'")
    return ViewPoint(
        AgentState(_position(state, "position", where), _rotation(state, "rotation", where)),
        _optional_number(data, "iou", where),
        _rest(data, _VIEW_POINT_FIELDS),
    )


def goal_from_json(data: Any, where: str = "goal") -> Goal:
    """Read one goal; ``where`` begins the error messages.

    Raises:
        EpisodeError: a field is missing or of the wrong shape.
    """
    data = _mapping(data, where)
    views = data.get("view_points")
    if views is not None:
        views = tuple(
            view_point_from_json(view, f"{where}: view point {index}")
            for index, view in enumerate(_sequence(views, f"{where}: 'view_points'"))
        )
    return Goal(
        position=_position(data, "position", where),
        radius=_optional_number(data, "radius", where),
        view_points=views,
        extra=_rest(data, _GOAL_FIELDS),
        **{name: data.get(name) for name in _OBJECT_FIELDS},
    )


def episode_from_json(data: Any, where: str = "episode", goals: tuple[Goal, ...] | None = None) -> Episode:
    """Read one episode.

    Args:
        data: the episode as decoded from JSON.
        where: begins the error messages, such as ``episode 3``.
        goals: its goals where the file keeps them apart (``goals_by_category``).

    Raises:
        EpisodeError: a field is missing or of the wrong shape.
    """
    data = _mapping(data, where)
    identifier = _need(data, "episode_id", where)
    if isinstance(identifier, bool) or not isinstance(identifier, str | int):
        raise EpisodeError(f"{where}: 'episode_id' must be text, found {_describe(identifier)}")
    where = f"{where} (id {str(identifier)!r})"
    scene_id = _need(data, "scene_id", where)
    if not isinstance(scene_id, str) or not scene_id:
        raise EpisodeError(f"{where}: 'scene_id' must be the scene's path, found {_describe(scene_id)}")
    if goals is None:
        listed = _sequence(_need(data, "goals", where), f"{where}: 'goals'")
        goals = tuple(goal_from_json(goal, f"{where}: goal {index}") for index, goal in enumerate(listed))
    info = data.get("info")
    paths = data.get("shortest_paths")
    return Episode(
        episode_id=str(identifier),
        scene_id=scene_id,
        start_position=_position(data, "start_position", where),
        start_rotation=_rotation(data, "start_rotation", where),
        goals=goals,
        info=None if info is None else dict(_mapping(info, f"{where}: 'info'")),
        object_category=data.get("object_category"),
        start_room=data.get("start_room"),
        shortest_paths=None if paths is None else list(_sequence(paths, f"{where}: 'shortest_paths'")),
        extra=_rest(data, _EPISODE_FIELDS),
    )


def view_point_to_json(view: ViewPoint) -> dict[str, Any]:
    """The view point as Habitat's files hold it."""
    state = {"position": list(view.agent_state.position), "rotation": list(view.agent_state.rotation)}
    return {"agent_state": state, "iou": view.iou, **view.extra}


def goal_to_json(goal: Goal) -> dict[str, Any]:
    """The goal as Habitat's files hold it: habitat-lab refuses object fields in a point goal."""
    data: dict[str, Any] = {"position": list(goal.position), "radius": goal.radius}
    if any(getattr(goal, name) is not None for name in _OBJECT_FIELDS):
        data.update({name: getattr(goal, name) for name in _OBJECT_FIELDS})
    if goal.view_points is not None:
        data["view_points"] = [view_point_to_json(view) for view in goal.view_points]
    return {**data, **goal.extra}


def episode_to_json(episode: Episode, *, with_goals: bool = True) -> dict[str, Any]:
    """The episode as Habitat's files hold it; without goals where they are kept in ``goals_by_category``."""
    data: dict[str, Any] = {
        "episode_id": episode.episode_id,
        "scene_id": episode.scene_id,
        "start_position": list(episode.start_position),
        "start_rotation": list(episode.start_rotation),
        "info": episode.info,
        "goals": [goal_to_json(goal) for goal in episode.goals] if with_goals else [],
        "shortest_paths": episode.shortest_paths,
        "start_room": episode.start_room,
    }
    if episode.object_category is not None:
        data["object_category"] = episode.object_category
    return {**data, **episode.extra}
