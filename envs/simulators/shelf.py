"""Simulators shared within a process and kept for a while, so that a change of scene seldom costs a load."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path

from envs.embodiment import AgentSpec
from envs.scenes.scene import Scene
from envs.simulators.open import SceneSpec, open_simulator
from envs.simulators.protocol import Simulator
from poma3d.forks import renew_after_forks


class SimulatorPool:
    """Simulators shared by everything in this process that uses the same scene, body and backend.

    Vectorised environments in one process then hold a scene once. Whoever borrows a simulator gives it back;
    the last one to do so closes it. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._shared: dict[tuple, tuple[Simulator, int]] = {}
        self._forgotten: deque[tuple] = deque()
        self.renew_after_fork()
        renew_after_forks(self)

    def renew_after_fork(self) -> None:
        """Make the lock anew: another thread may have been opening a scene."""
        self._lock = threading.RLock()

    def borrow(self, key: tuple, make: Callable[[], Simulator]) -> Simulator:
        """The simulator of that key, made by ``make`` if nobody holds it."""
        with self._lock:
            self._drop_forgotten()
            simulator, users = self._shared.get(key, (None, 0))
            if simulator is None:
                simulator = make()
            self._shared[key] = (simulator, users + 1)
            return simulator

    def give_back(self, key: tuple) -> None:
        """Stop using the simulator of that key; the last one to do so closes it."""
        with self._lock:
            self._drop_forgotten()
            simulator = self._less_one(key)
        if simulator is not None:
            simulator.close()

    def forget(self, key: tuple) -> None:
        """Stop using the simulator of that key, in time: when the pool is next used.

        It is not closed, somebody may have kept it; it ends with the last reference. The garbage collector may call
        this, on any thread and whatever that holds: it takes no lock.
        """
        self._forgotten.append(key)

    def __len__(self) -> int:
        """Simulators in use."""
        with self._lock:
            self._drop_forgotten()
            return len(self._shared)

    def _drop_forgotten(self) -> None:
        while self._forgotten:
            self._less_one(self._forgotten.popleft())

    def _less_one(self, key: tuple) -> Simulator | None:
        """The simulator of that key, out of the pool, if nobody uses it any more."""
        simulator, users = self._shared[key]
        if users > 1:
            self._shared[key] = (simulator, users - 1)
            return None
        del self._shared[key]
        return simulator


SHARED_SIMULATORS = SimulatorPool()
"""The pool of this process."""


class Shelf:
    """The simulators of one environment, by scene id; the last few used are kept.

    Args:
        agent: the body that walks.
        backend: a name of `envs.simulators.open.BACKENDS`, or a simulator, which is used for every scene id
            and never closed.
        locate: from the scene id of an episode to what `envs.simulators.open.open_simulator` takes.
        navmesh: Habitat's navmeshes to walk on, as `envs.simulators.open.open_simulator` takes them.
        capacity: most simulators kept ...
        budget: ... as long as they hold no more than this together, bytes; the one in use always stays.
        pool: where simulators are shared.
    """

    def __init__(
        self,
        agent: AgentSpec,
        backend: str | Simulator,
        locate: Callable[[str], SceneSpec],
        *,
        navmesh: str | os.PathLike[str] | None = None,
        capacity: int = 16,
        budget: int = 1 << 30,
        pool: SimulatorPool = SHARED_SIMULATORS,
    ) -> None:
        self._agent = agent
        self._backend = backend
        self._locate = locate
        self._navmesh = navmesh
        self._capacity = capacity
        self._budget = budget
        self._pool = pool
        self._held: OrderedDict[str, tuple[tuple, Simulator]] = OrderedDict()
        weakref.finalize(self, _forget_all, pool, self._held).atexit = False

    def simulator(self, scene_id: str) -> Simulator:
        """The simulator of a scene, opened now if need be.

        Raises:
            UserError: the scene cannot be found or used.
        """
        if not isinstance(self._backend, str):
            return self._backend
        if scene_id in self._held:
            self._held.move_to_end(scene_id)
            return self._held[scene_id][1]
        spec, backend = self._locate(scene_id), self._backend
        key = (_identity(spec), self._agent, backend, self._navmesh and _identity(self._navmesh))
        simulator = self._pool.borrow(
            key, lambda: open_simulator(spec, self._agent, backend, navmesh=self._navmesh)
        )
        self._held[scene_id] = key, simulator
        while len(self._held) > 1 and self._over_full():
            _, (oldest, _) = self._held.popitem(last=False)
            self._pool.give_back(oldest)
        return simulator

    def _over_full(self) -> bool:
        held = sum(simulator.memory_bytes() for _, simulator in self._held.values())
        return len(self._held) > self._capacity or held > self._budget

    def close(self) -> None:
        """Give all simulators back; the shelf can be used again. May be called twice."""
        while self._held:
            _, (key, _) = self._held.popitem()
            self._pool.give_back(key)


def _forget_all(pool: SimulatorPool, held: OrderedDict[str, tuple[tuple, Simulator]]) -> None:
    """For an environment that nobody closed."""
    while held:
        _, (key, _) = held.popitem()
        pool.forget(key)


def _identity(spec: SceneSpec) -> tuple:
    """What makes two scenes the same: content in memory, path with size and time on disk, procedural id."""
    if isinstance(spec, Scene):
        return (spec.scene_id, spec.content_hash)
    name = os.fspath(spec)
    try:
        status = Path(name).stat()
    except OSError:
        return (name,)
    return (str(Path(name).resolve()), status.st_size, status.st_mtime_ns)
