"""The store of recorded episodes: cut to what the checkpoint knows, and no file of another run taken for its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from policies.learning.experience import Experience, RecordedEpisode
from poma3d.errors import FileError

NAMES = ("features", "own", "goals", "actions", "turns")


def episode(steps: int, seed: int = 0) -> RecordedEpisode:
    rng = np.random.default_rng(seed)
    return RecordedEpisode(
        features=rng.normal(size=(steps, 3)).astype(np.float16),
        own=rng.normal(size=(steps, 11)).astype(np.float32),
        goals=rng.normal(size=(steps, 2, 5)).astype(np.float32),
        actions=rng.integers(0, 4, (steps, 2)).astype(np.uint8),
        turns=rng.normal(size=(steps, 2)).astype(np.float32),
    )


def test_what_the_checkpoint_does_not_know_is_cut_off(tmp_path: Path) -> None:
    first, second = episode(4), episode(6, seed=1)
    experience = Experience(tmp_path, 3, 2, [])
    experience.append(first)
    experience.append(second)
    again = Experience(tmp_path, 3, 2, [4])
    assert again.rows == 4
    assert (tmp_path / "features.bin").stat().st_size == 4 * 3 * 2
    np.testing.assert_array_equal(again.slice("features", 0, 4), first.features)
    again.append(second)
    again.secure()
    for name in NAMES:
        np.testing.assert_array_equal(again.slice(name, 4, 10), getattr(second, name))
    with pytest.raises(FileError, match="shorter"):
        Experience(tmp_path, 3, 2, [4, 6, 100])


def test_a_kill_in_the_middle_of_an_episode_is_mended(tmp_path: Path) -> None:
    experience = Experience(tmp_path, 3, 2, [])
    experience.append(episode(4))
    with open(tmp_path / "features.bin", "ab") as stream:  # the other files never got theirs
        stream.write(b"half a row")
    again = Experience(tmp_path, 3, 2, [4])
    again.append(episode(5, seed=1))
    for name in NAMES:
        np.testing.assert_array_equal(again.slice(name, 4, 9), getattr(episode(5, seed=1), name))


def test_a_folder_that_a_living_run_still_uses(tmp_path: Path) -> None:
    """Its starter was killed, the folder removed, the command given again: one of the two must stop."""
    old = Experience(tmp_path / "training", 3, 2, [])
    old.append(episode(4))
    shutil.rmtree(tmp_path / "training")
    new = Experience(tmp_path / "training", 3, 2, [])
    for use in (old.secure, lambda: old.append(episode(4)), lambda: old.slice("features", 0, 4)):
        with pytest.raises(FileError, match=r"features\.bin.*another run"):
            use()
    new.append(episode(6, seed=1))  # nothing of the old one's rows is among its own
    np.testing.assert_array_equal(new.slice("turns", 0, 6), episode(6, seed=1).turns)
    shutil.rmtree(tmp_path / "training")
    with pytest.raises(FileError, match="cannot be used for experience"):
        new.append(episode(4))
