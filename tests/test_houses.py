"""Procedural houses by name: the same everywhere and for ever; bad names and settings are refused."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from house_examples import val
from hypothesis import given
from hypothesis import strategies as st

from envs.scenes.houses import (
    GENERATOR_VERSION,
    HouseSettings,
    generate_house,
    house,
    parse_procedural,
    scene_id,
)
from envs.scenes.houses.dice import Dice
from poma3d.errors import SettingError

RECORDED = {
    "procedural:train:0000": "8a42c5b0ab33296a",
    "procedural:train:0001": "3ede0316872543f8",
    "procedural:val:0000": "39d33f347a23e42f",
    "procedural:val:0007": "3967cef7c4febb31",
    "procedural:test:0003": "a0fecbaa178e8fa0",
    "procedural:test:012345": "63460f29f7985cc0",
}
"""Content hashes: a change here changes every house that anybody has named, and asks for a new GENERATOR_VERSION."""


# --- the same house everywhere


def test_same_seed_same_house():
    generate_house(3)  # what was made before must not matter
    assert generate_house(7, split="val").content_hash == val(7).content_hash
    assert house("procedural:val:0007").content_hash == val(7).content_hash


def test_same_house_in_another_process():
    code = "from envs.scenes.houses import house; print(house('procedural:val:0002').content_hash)"
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "123"},
    )
    assert out.stdout.strip() == val(2).content_hash


def test_recorded_hashes():
    found = {name: house(name).content_hash[:16] for name in RECORDED}
    assert found == RECORDED, (
        f"houses changed: raise GENERATOR_VERSION (now {GENERATOR_VERSION}) and record these"
    )


def test_splits_share_no_house():
    hashes = [
        generate_house(seed, split=split).geometry_hash
        for split in ("train", "val", "test")
        for seed in range(4)
    ]
    assert len(set(hashes)) == len(hashes)


def test_dice():
    assert [Dice("a", 1).integer(0, 9) for _ in range(3)] == [Dice("a", 1).integer(0, 9)] * 3
    assert Dice("a", 1).random() != Dice("a", 2).random()
    dice = Dice("uniform")
    draws = np.array([dice.uniform(2.0, 3.0) for _ in range(2000)])
    assert 2.0 <= draws.min() < 2.02 < 2.98 < draws.max() <= 3.0
    assert abs(draws.mean() - 2.5) < 0.03
    assert sorted(Dice("s").shuffled(range(10))) == list(range(10))
    assert {Dice("c", i).choice("abc", (1, 0, 1)) for i in range(50)} == {"a", "c"}


def test_fast_enough():
    times = []
    for seed in range(12):
        start = time.process_time()
        generate_house(seed, split="test")
        times.append(time.process_time() - start)
    assert np.median(times) < 0.5


# --- names


@pytest.mark.parametrize(
    "bad",
    [
        "procedural:foo",
        "procedural:foo:0001",
        "procedural:val:-1",
        "procedural:val:",
        "procedural:val:1.5",
        "house",
        "procedural:val",
    ],
)
def test_bad_ids_are_refused(bad):
    with pytest.raises(SettingError):
        house(bad)


@pytest.mark.parametrize(
    "bad", ["procedural:foo:3", "procedural:val:0", "procedural:val:x", "scene.glb", "procedural:val:²"]
)
def test_bad_lists_are_refused(bad):
    with pytest.raises(SettingError):
        parse_procedural(bad)


@pytest.mark.parametrize("count", ["100001", "99999999999", "9" * 5000])
def test_lists_have_a_limit(count):
    with pytest.raises(SettingError, match="at most 100000"):
        parse_procedural(f"procedural:val:{count}")
    assert len(parse_procedural("procedural:val:100000")) == 100_000


@pytest.mark.parametrize("seed", [-1, 1.5, True, "3"])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(SettingError):
        generate_house(seed)


def test_lists_and_ids_cannot_be_mixed_up():
    assert parse_procedural("procedural:val:20") == tuple(scene_id("val", i) for i in range(20))
    assert parse_procedural("procedural:val:0020") == ("procedural:val:0020",)
    assert len(parse_procedural("procedural:test")) == 10
    assert val(7).scene_id == "procedural:val:0007"


@given(st.integers(0, 10**9), st.sampled_from(["train", "val", "test"]))
def test_every_id_stands_for_itself(seed, split):
    assert parse_procedural(scene_id(split, seed)) == (scene_id(split, seed),)


# --- settings


@pytest.mark.parametrize(
    "changes",
    [
        {"rooms": (2, 5)},
        {"rooms": (6, 5)},
        {"density": 1.5},
        {"ceiling_height": (2.0, 2.5)},
        {"passage": 0.1},
        {"open_doors": -0.1},
    ],
)
def test_bad_settings_are_refused(changes):
    with pytest.raises(SettingError):
        HouseSettings(**changes)


def test_settings_are_heard():
    few = generate_house(1, settings=HouseSettings(rooms=(8, 8), density=0.0, ceiling_height=(3.1, 3.1)))
    many = generate_house(1, settings=HouseSettings(rooms=(8, 8), density=1.0))
    assert len(few.rooms) == len(many.rooms) == 8
    assert len(few.instances) < len(many.instances)
    assert few.bounds[1, 1] == pytest.approx(3.1, abs=1e-3)
    assert few.scene_id != many.scene_id != scene_id("train", 1)
    with pytest.raises(SettingError, match="settings of its own"):
        house(few.scene_id)
