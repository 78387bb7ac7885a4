"""Importing habitat-lab, also where the ``gym`` that it asks for is not installed.

Whatever module of habitat-lab is wanted, Python runs ``habitat/__init__.py`` first, which imports its
environments, tasks and simulator; nothing less can be had without replacing that file. Beyond it nothing is
imported here: no ``habitat-baselines``, no torch.

habitat-lab 0.3.3 pins ``gym<0.23.1``. Where that is missing, `gymnasium` stands in for it *while habitat-lab is
being imported*: it keeps what it took (spaces and base classes, which are the same in both), and afterwards
``import gym`` fails again as it did before, so that no other library mistakes one for the other. What is lost
is ``gym.make("Habitat-v0")``, which needs the real ``gym``.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator

from envs.simulators.habitat_install import require_habitat_sim
from poma3d.errors import MissingDependencyError

LAB_INSTALL = "conda env create -f environment.yml && conda run -n pomagym pip install --no-deps habitat-lab"
"""The commands that install habitat-lab beside habitat-sim, without its stale pins."""


def import_habitat() -> None:
    """Import habitat-lab.

    Raises:
        MissingDependencyError: habitat-sim or habitat-lab is not installed or does not load; the message holds
            the command that installs it.
    """
    require_habitat_sim()
    try:
        if importlib.util.find_spec("gym") is None and "habitat" not in sys.modules:
            with gymnasium_as_gym():
                importlib.import_module("habitat")
        else:
            importlib.import_module("habitat")
    except ImportError as error:
        raise MissingDependencyError(
            f"habitat-lab cannot be imported ({error}); it is installed by: {LAB_INSTALL}"
        ) from error


@contextlib.contextmanager
def gymnasium_as_gym() -> Iterator[None]:
    """Let ``import gym`` find gymnasium inside the block, and what it found before afterwards.

    ``gym.envs.registration`` says that habitat-lab's own ids are registered, so that it registers none.
    """
    import gymnasium
    import gymnasium.core
    import gymnasium.spaces.box

    registration = types.ModuleType("gym.envs.registration")
    registration.register = _register  # type: ignore[attr-defined]
    registration.registry = types.SimpleNamespace(env_specs={"Habitat-v0": None})  # type: ignore[attr-defined]
    stand_ins: dict[str, types.ModuleType] = {
        "gym": gymnasium,
        "gym.core": gymnasium.core,
        "gym.spaces": gymnasium.spaces,
        "gym.spaces.box": sys.modules["gymnasium.spaces.box"],
        "gym.envs": types.ModuleType("gym.envs"),
        "gym.envs.registration": registration,
    }
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _register(*_: object, **__: object) -> None:
    """Register nothing: the ids would be gym's."""
