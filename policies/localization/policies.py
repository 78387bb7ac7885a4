"""The localisation policies: chance, retrieval, registration, and retrieval with registration and moving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from agent.backbone import FrozenBackbone
from envs.embodiment import AgentSpec
from envs.localization import declare, move
from envs.locomotion import Action
from envs.scene_memory import SceneMemory
from policies.localization.knowledge import KnowledgeShelf, SceneKnowledge
from policies.localization.registration import ABOVE_FLOOR, Hypothesis, register
from policies.localization.scan import Scan

FORWARD, LEFT, RIGHT = (int(a) for a in (Action.MOVE_FORWARD, Action.TURN_LEFT, Action.TURN_RIGHT))

REACH = 4.0
"""How far from a retrieved view the agent is looked for, metres."""
RETRIEVED = (6, 10, 16)
"""How many remembered views are followed up after the first look, the second and the third; then all are."""
SURE_SCORE, SURE_MARGIN = 0.75, 0.15
"""A hypothesis of at least this score, and so far above the next one, is believed after a search of the whole scene."""
PARTLY_SCORE, PARTLY_MARGIN = 0.8, 0.2
"""The same after a search near some remembered views, where the right place may not have been looked at."""
SURE_POINTS = 300
"""Fewer points above the floor, a stretch of wall, are never believed."""
_LOOK = math.pi / 2
"""Angle between two looks, radians: the views of a camera of 90 degrees just meet."""
_LOOKS = 4
_WALK, _CLEAR, _HALF_WIDTH = 2.5, 0.6, 0.35
"""Longest walk, what is kept clear before its end, half the width of the way that must be open, metres."""


class LocalizationPolicy(Protocol):
    """Acts in `pomagym/Localization-v0` with point maps in `Frame.AGENT`, one episode at a time."""

    name: str
    """What results call it."""

    def reset(self, memory: SceneMemory, agent: AgentSpec, rng: np.random.Generator) -> None:
        """Begin an episode in a scene with that memory; ``rng`` depends on (seed, episode_id) alone."""
        ...

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """The next action (4,) of the environment."""
        ...


class ChancePolicy:
    """Declares a pose drawn uniformly: places where the memory saw that one can stand, any yaw."""

    def __init__(self, shelf: KnowledgeShelf, name: str = "chance") -> None:
        self.name = name
        self._shelf = shelf

    def reset(self, memory: SceneMemory, agent: AgentSpec, rng: np.random.Generator) -> None:
        """Begin an episode."""
        self._knowledge, self._rng = self._shelf.of(memory), rng

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Declare."""
        known = self._knowledge
        cells = known.map.cells()
        cell = (cells if len(cells) else known.places)[self._rng.integers(len(cells) or len(known.places))]
        return declare(cell[0], cell[1], self._rng.uniform(-math.pi, math.pi))


class RetrievalPolicy:
    """Declares the pose of the remembered view whose features are most like those of the first look."""

    def __init__(self, shelf: KnowledgeShelf, backbone: FrozenBackbone, name: str = "retrieval") -> None:
        self.name = name
        self._shelf, self._backbone = shelf, backbone

    def reset(self, memory: SceneMemory, agent: AgentSpec, rng: np.random.Generator) -> None:
        """Begin an episode."""
        self._knowledge = self._shelf.of(memory)

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Declare."""
        likeness = self._knowledge.likeness(self._backbone, observation["point_map"], observation["valid"])
        return declare(*self._knowledge.memory.poses[int(likeness.argmax())])


class SearchPolicy:
    """Registers what it sees to the memory, near the remembered views that are most alike; moves when unsure.

    A look is registered where the best retrieved views say (`RETRIEVED`; everywhere without a backbone). If one
    hypothesis is good and far ahead of the next (`SURE_SCORE` and what follows it) it is declared. Otherwise the agent
    turns by 90 degrees and registers all it has seen, near more and more views, in the end all; once round, it
    walks where the way is open for longest, looks round there too, and declares the best.

    Args:
        shelf: what is known of scenes.
        name: what results call it.
        backbone: encodes views; None = no retrieval, the whole scene is searched.
        moves: whether it may move; otherwise it declares after the first look.
    """

    def __init__(
        self, shelf: KnowledgeShelf, name: str, backbone: FrozenBackbone | None, *, moves: bool
    ) -> None:
        self.name = name
        self._shelf, self._backbone, self._moves = shelf, backbone, moves

    def reset(self, memory: SceneMemory, agent: AgentSpec, rng: np.random.Generator) -> None:
        """Begin an episode."""
        self._knowledge: SceneKnowledge = self._shelf.of(memory)
        self._agent = agent
        self._scan = Scan(agent)
        self._likeness = np.full(len(memory), -np.inf)
        self._plan: list[int] = []
        self._looks = self._taken = 0
        self._last: int | None = None

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """The next move of the plan; at its end, look, think, and declare or make another plan."""
        point_map, valid = observation["point_map"], observation["valid"]
        if self._last is not None:
            self._scan.moved(self._last, point_map, valid)
        if not self._plan:
            self._scan.see(point_map, valid)
            self._looks += 1
            hypotheses = self._think(point_map, valid)
            if not self._moves or self._sure(hypotheses):
                return self._declare(hypotheses)
            self._plan = self._next_plan()
            if not self._plan or self._taken + len(self._plan) >= self._agent.max_steps:
                return self._declare(hypotheses)
        self._last = self._plan.pop(0)
        self._taken += 1
        return move(self._last)

    def _think(self, point_map: np.ndarray, valid: np.ndarray) -> list[Hypothesis]:
        """Hypotheses from all that was seen, best first."""
        known = self._knowledge
        cells, self._partly = None, False
        if self._backbone is not None:
            self._likeness = np.maximum(self._likeness, known.likeness(self._backbone, point_map, valid))
            if self._looks <= len(RETRIEVED) and RETRIEVED[self._looks - 1] < len(known.memory):
                best = np.argsort(-self._likeness, kind="stable")[: RETRIEVED[self._looks - 1]]
                cells, self._partly = known.map.cells(known.places[best], REACH), True
        points, eyes = self._scan.now()
        return register(known.map, points, eyes, known.map.cells() if cells is None else cells)

    def _sure(self, hypotheses: list[Hypothesis]) -> bool:
        """Whether the best hypothesis can be declared now."""
        telling = int((self._scan.points[:, 2] > ABOVE_FLOOR).sum())
        if not hypotheses or telling < SURE_POINTS:
            return False
        score, margin = (PARTLY_SCORE, PARTLY_MARGIN) if self._partly else (SURE_SCORE, SURE_MARGIN)
        behind = hypotheses[1].score if len(hypotheses) > 1 else -1.0
        return hypotheses[0].score >= score and hypotheses[0].score - behind >= margin

    def _declare(self, hypotheses: list[Hypothesis]) -> np.ndarray:
        if hypotheses:
            return declare(*hypotheses[0].pose)
        likeness = self._likeness if np.isfinite(self._likeness).all() else np.zeros(len(self._likeness))
        return declare(*self._knowledge.memory.poses[int(likeness.argmax())])

    def _next_plan(self) -> list[int]:
        """Turn on to the next look; once round, walk away and look round again; then nothing more."""
        if self._looks % _LOOKS:
            return self._turn_by(_LOOK)
        if self._looks > _LOOKS:
            return []
        direction, way = self._scan.open_way(_WALK + _CLEAR, _HALF_WIDTH)
        steps = int((way - _CLEAR) / self._agent.forward_step)
        return [*self._turn_by(direction), *[FORWARD] * steps] if steps > 0 else []

    def _turn_by(self, angle: float) -> list[int]:
        turns = round(abs(angle) / math.radians(self._agent.turn_angle))
        return [LEFT if angle > 0 else RIGHT] * turns
