"""A moment of a navigation episode, kept so that the agent can be taken back to it."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.measures import MeasuresState
from poma3d.errors import SettingError


@dataclass(frozen=True)
class NavigationState:
    """All that the next step of an episode depends on, in plain numbers; equal ones lead to equal futures.

    It can be pickled, compared and hashed, and holds no scene: pickled about a kilobyte, and some 30 bytes more for
    each step walked. It belongs to its episode and to the settings it was taken under, in any environment or process.
    """

    episode_id: str
    """The episode's id ..."""
    scene_id: str
    """... in this scene."""
    terms: tuple[tuple[str, Hashable], ...]
    """Names and values of the settings under which the same actions have the same outcome."""
    position: tuple[float, ...]
    """The agent's base (x, y, z), world frame, metres."""
    heading: float
    """Radians, 0 along -z, positive to the left, not wrapped."""
    trajectory: tuple[tuple[float, ...], ...]
    """Positions of the base since the start, world frame, the last one included."""
    last_action: int | None
    """The action that led here, None at the start."""
    over: bool
    """Whether the episode had ended."""
    measures: MeasuresState
    """What was measured so far."""


def digest(*arrays: np.ndarray) -> str:
    """A short name for arrays of float64: another one where any number differs."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return found.hexdigest()[:16]


def check_belongs(
    state: Any, *, episode_id: str, scene_id: str, terms: Mapping[str, Hashable]
) -> NavigationState:
    """The state, if it is one of that episode under those settings.

    Raises:
        SettingError: it is none, or of another episode, or was taken under other settings; the message says which.
    """
    if not isinstance(state, NavigationState):
        raise SettingError(f"restore() takes what state() gave, found {type(state).__name__}")
    if (state.episode_id, state.scene_id) != (episode_id, scene_id):
        raise SettingError(
            f"the state is one of episode {state.episode_id!r} in {state.scene_id} and the running one is"
            f" {episode_id!r} in {scene_id}: begin its own first, by"
            f' reset(options={{"episode_id": {state.episode_id!r}, "scene_id": {state.scene_id!r}}})'
        )
    theirs = dict(state.terms)
    for name in {**theirs, **terms}:
        if theirs.get(name) != terms.get(name):
            raise SettingError(
                f"the state was taken under other settings: {name} is {theirs.get(name)!r} there and"
                f" {terms.get(name)!r} here, and would lead to another future"
            )
    return state
