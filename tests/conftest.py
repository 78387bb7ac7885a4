"""What any test may ask for: recordings of real Habitat, real scenes (skipped where they are not), threads."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from busy_thread import Busy
from hypothesis import settings

# A busy machine must not fail a property; pytest-timeout ends what hangs.
settings.register_profile("pomagym", deadline=None)
settings.load_profile("pomagym")

# A shell starts what it runs in the background (`make test &` in a script) with Ctrl-C ignored, and children inherit
# that; the tests of Ctrl-C send it to children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_SHARED = Path(__file__).resolve().parents[2] / "shared"


def _folder(variable: str, name: str) -> Path:
    """The folder named by an environment variable, else ``shared/NAME`` beside the checkout."""
    folder = Path(os.environ.get(variable, _SHARED / name))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: set {variable} to the folder of {name} to run this check")
    return folder


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Recordings of real Habitat (``NAME.npz``, ``NAME.json``, ``NAME.navmesh``, ...)."""
    return _folder("POMAGYM_GOLDEN", "golden")


@pytest.fixture(scope="session")
def scenes_dir() -> Path:
    """Real scenes (``NAME.glb``)."""
    return _folder("POMAGYM_SCENES", "scenes")


@pytest.fixture(params=["small_house", "willowgarage", "hospital"])
def real_scene(request: pytest.FixtureRequest) -> str:
    """The name of each real scene in turn."""
    return request.param


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small tensors are slower on several threads, many times so on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def busy() -> Iterator[Busy]:
    """Another thread in the middle of something, which goes on at the end of the test if not before."""
    found = Busy()
    yield found
    found.go_on.set()
