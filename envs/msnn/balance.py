"""The balanced choice of samples: whatever the words tell, every direction comes equally often.

Samples are chosen in groups of eight, one of each of the eight directions, that have one *signature*: the words of one
could be those of any other (`Situation.signature`, and the name of the goal). In the diagonals all four angles of a
group lie on the same side of 45 degrees, so each of the four directions comes twice. So no function of the words,
however clever, tells the direction better than chance. Where a signature does not come in all directions, as in a
single scene, groups share a part of it: what is faced and the goal, the goal, at last only the balance of the
directions. How many groups are of which kind is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from envs.msnn.pool import Pool

GROUP = 8
"""Samples of a group."""
LEVELS = ("situation and goal", "heading and goal", "goal", "nothing")
"""What the samples of a group have in common, the most first."""
_CELLS = 12
"""The eight directions, diagonals below 45 degrees (odd numbers), and four diagonals above."""
_KINDS = ((0, 1, 2, 3, 4, 5, 6, 7), (0, 8, 2, 9, 4, 10, 6, 11))
"""The cells of the two kinds of group."""


@dataclass(frozen=True)
class Choice:
    """One chosen candidate."""

    pool: int
    """Which pool it is of."""
    candidate: int
    """Which of its candidates."""
    group: int
    """Which group it belongs to."""


def choose(
    pools: Sequence[Pool],
    count: int,
    rng: np.random.Generator,
    *,
    near_share: float = 0.6,
    levels: int = len(LEVELS),
) -> tuple[list[Choice], dict[str, int]]:
    """Choose groups, scenes as evenly as they offer, every signature once before any comes again, kinds in turn.

    The samples of a group also have in common whether the goal is in sight.

    Args:
        pools: the candidates, a scene each.
        count: samples wanted; rounded up to whole groups, fewer where there are not as many.
        rng: what is random.
        near_share: share of the groups with the goal in sight, as far as there are so many.
        levels: how many of `LEVELS` groups may be of; 1 allows whole signatures only.

    Returns:
        The choices, group by group, and how many groups have what in common.
    """
    wanted = -(-count // GROUP)
    table = _Table(pools, rng, most=max(2, int(np.ceil(1.5 * wanted * GROUP / len(pools)))))
    groups: list[list[int]] = []
    kinds: dict[str, int] = {}
    for level, name in enumerate(LEVELS[:levels]):
        before = len(groups)
        offers = table.offers(level)
        near = [offer for offer in offers if table.is_near(offer)]
        far = [offer for offer in offers if not table.is_near(offer)]
        missing = wanted - before
        groups += table.fill(near, round(near_share * missing))
        groups += table.fill(far, wanted - len(groups))
        groups += table.fill(near, wanted - len(groups))
        kinds[name] = len(groups) - before
    choices = [
        Choice(int(table.pool[row]), int(table.candidate[row]), number)
        for number, group in enumerate(groups)
        for row in group
    ]
    return choices, {name: number for name, number in kinds.items() if number}


class _Table:
    """The candidates of all pools in rows, and which are taken.

    Args:
        pools: the candidates.
        rng: decides between equals.
        most: most rows taken of a pool.
    """

    def __init__(self, pools: Sequence[Pool], rng: np.random.Generator, most: int) -> None:
        sizes = [len(pool.angle) for pool in pools]
        self.pool = np.repeat(np.arange(len(pools), dtype=np.int32), sizes)
        self.candidate = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
        self._cell = cells_of(np.concatenate([pool.angle for pool in pools]))
        self._near = np.concatenate([pool.in_sight for pool in pools])
        self._taken = np.zeros(len(self.pool), dtype=bool)
        self._load = np.zeros(len(pools), dtype=np.int64)
        self._luck = rng.random(len(self.pool), dtype=np.float32)
        self._most, self._rng = most, rng
        self._pools = pools

    def offers(self, level: int) -> list[list[np.ndarray]]:
        """For every key of a level that allows a group, its rows in each cell."""
        slots = (_keys(self._pools, level) * 2 + self._near) * _CELLS + self._cell
        order = np.argsort(slots, kind="stable")
        present, first = np.unique(slots[order], return_index=True)
        ends = np.append(first[1:], len(order))
        found: list[list[np.ndarray]] = []
        begins = np.flatnonzero(np.append(True, np.diff(present // _CELLS) > 0)) if len(present) else []
        for begin, end in zip(begins, [*begins[1:], len(present)], strict=True):
            if end - begin < GROUP:
                continue
            rows = [order[:0]] * _CELLS
            for slot in range(begin, end):
                rows[present[slot] % _CELLS] = order[first[slot] : ends[slot]]
            if any(all(len(rows[cell]) for cell in kind) for kind in _KINDS):
                found.append(rows)
        return found

    def is_near(self, offer: list[np.ndarray]) -> bool:
        """Whether the goals of an offer are in sight."""
        return bool(self._near[next(rows[0] for rows in offer if len(rows))])

    def fill(self, offers: list[list[np.ndarray]], wanted: int) -> list[list[int]]:
        """At most so many groups of some offers, round after round until none has any left."""
        groups: list[list[int]] = []
        while offers and len(groups) < wanted:
            going_on = []
            for which in self.order(offers):
                if len(groups) == wanted:
                    break
                group = self.pick(offers[which])
                if group:
                    groups.append(group)
                    going_on.append(offers[which])
            offers = going_on
        return groups

    def order(self, offers: list[list[np.ndarray]]) -> list[int]:
        """The offers in a random order in which the kinds of situation take turns."""
        kinds = [self._kind_of(next(rows[0] for rows in offer if len(rows))) for offer in offers]
        turns: dict[str, int] = {}
        places = []
        for which in self._rng.permutation(len(offers)).tolist():
            turns[kinds[which]] = turns.get(kinds[which], 0) + 1
            places.append((turns[kinds[which]], len(places), which))
        return [which for *_, which in sorted(places)]

    def _kind_of(self, row: int) -> str:
        pool = self._pools[self.pool[row]]
        return pool.situations[pool.situation[self.candidate[row]]].kind

    def pick(self, rows: list[np.ndarray]) -> list[int]:
        """One row of each direction, of the pools taken from least, marked as taken; empty where there is none."""
        for kind in sorted(_KINDS, key=lambda kind: -min(len(rows[cell]) for cell in kind)):
            group: list[int] = []
            for cell in kind:
                free = rows[cell][~self._taken[rows[cell]] & (self._load[self.pool[rows[cell]]] < self._most)]
                if not len(free):
                    break
                row = int(free[np.argmin(self._load[self.pool[free]] + self._luck[free])])
                self._mark(row, taken=True)
                group.append(row)
            if len(group) == GROUP:
                return group
            for row in group:
                self._mark(row, taken=False)
        return []

    def _mark(self, row: int, *, taken: bool) -> None:
        self._taken[row] = taken
        self._load[self.pool[row]] += 1 if taken else -1


def cells_of(angle: np.ndarray) -> np.ndarray:
    """The cell (N,) int64 of angles (N,) in degrees: the direction of eight, diagonals above 45 degrees apart."""
    turned = (np.asarray(angle) + 22.5) % 360.0
    direction = np.minimum(turned // 45, GROUP - 1).astype(np.int64)
    above = (direction % 2 == 1) & (turned - 45 * direction >= 22.5)
    return np.where(above, GROUP + direction // 2, direction)


def _keys(pools: Sequence[Pool], level: int) -> np.ndarray:
    """A number for what a row has in common with others at a level."""
    numbers: dict[str, int] = {}
    situations, goals = [], []
    for pool in pools:
        told = [
            (found.signature, f"{found.side} {found.seen.name.text}", "", "")[level]
            for found in pool.situations
        ]
        names = [name.text if level < 3 else "" for _, name in pool.goals]
        for texts, ids, kept in ((told, pool.situation, situations), (names, pool.goal, goals)):
            kept.append(np.array([numbers.setdefault(text, len(numbers)) for text in texts])[ids])
    return np.concatenate(situations).astype(np.int64) * len(numbers) + np.concatenate(goals)
