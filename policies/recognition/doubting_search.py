"""Searching an object by evidence: go where the word fits best, look from near, go on when it does not fit any more."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter

from envs.embodiment import AgentSpec
from policies.greedy_follower import STOP
from policies.mapping.follower import WayFollower
from policies.mapping.metric_map import MetricMap
from policies.mapping.object_search import ObjectSearch
from policies.mapping.poses import Pose
from policies.recognition.evidence import Evidence

FIRST, LEAST = 0.75, 0.25
"""Evidence from which the object is believed to be there, at first and at least; 0.5: its word fits as well as the best
other one. In between it falls as steps are used up: who has time compares."""
_FALL = 0.95
"""Share of the best evidence that is believed when nothing is left to see."""
_PEAK, _AROUND = 0.75, 13
"""Columns with less than this share of the best evidence in a square of so many columns about them stand beside it."""


class DoubtingSearch(ObjectSearch):
    """Looks for one kind of object in one episode, known by evidence alone.

    It approaches what it believes to be the object. On the way the evidence changes, since views from near count most:
    what does not stand it is given up, and the search goes on. Where nothing is left to see, less is believed.

    Args:
        world: the map that grows meanwhile.
        follower: walks on it.
        agent: its turns and steps.
    """

    def __init__(self, world: MetricMap, follower: WayFollower, agent: AgentSpec) -> None:
        super().__init__(world, follower, agent)
        self.evidence = Evidence()
        """What speaks for the object, place by place."""
        self.bar = FIRST
        """Evidence from which it is believed to be there."""
        self._most_steps, self._steps = agent.max_steps, 0
        self._last: Pose | None = None

    def look(self, points: np.ndarray, fits: np.ndarray, pose: Pose, floor: float) -> None:
        """Enter a view: points (N, 3) in the map, how well the word fits each (N,), and the floor's height, metres.

        A view from where the last one was says nothing new.
        """
        if self._last is None or max(abs(a - b) for a, b in zip(pose, self._last, strict=True)) > 1e-3:
            self.evidence.add(points, fits, pose[:2], floor)
        self._last = pose

    def next_action(self, pose: Pose) -> int:
        """The next action; STOP at the object, and where nothing is left to see or to believe."""
        columns = self.evidence.columns(LEAST)
        self.bar = min(self.bar, max(LEAST, FIRST * (1.0 - self._steps / self._most_steps)))
        self._steps += 1
        action = self._go(columns, pose, clear=True)
        if action is None:
            action = self._look_further(pose)
        best = float(columns.max(initial=0.0))
        while action is None and self.bar > LEAST:
            self.bar = max(LEAST, _FALL * min(self.bar, best))
            action = self._go(columns, pose, clear=True)
            if action is None:
                action = self._go(columns, pose, clear=False)
        return STOP if action is None else action

    def _go(self, columns: np.ndarray, pose: Pose, *, clear: bool) -> int | None:
        """On to what is believed to be the object, given the evidence of columns (I, J); None where that is nothing."""
        if not columns.size:
            return None
        best = maximum_filter(columns, _AROUND, mode="constant")
        cells = self.evidence.cells_of((columns >= self.bar) & (columns >= _PEAK * best))
        self._cells = set(map(tuple, cells.tolist()))
        return self._approach(pose, clear=clear) if self._cells else None
