"""`pomagym episodes generate`: what it keeps of an earlier file, and what it says where no episode fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import finish, refuse, room_file
from flat_room import box

from envs.episodes import read_episodes
from envs.scenes.mesh import save_scene
from envs.scenes.scene import NO_INSTANCE, Scene


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return room_file(tmp_path_factory.mktemp("room"))


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    """A mesh file of an empty box, in which every way is straight."""
    vertices, triangles = box((-10, 0, -10), (10, 3, 10), inward=True)
    path = tmp_path_factory.mktemp("hall") / "hall.glb"
    save_scene(Scene("hall", vertices, triangles, np.full(len(triangles), NO_INSTANCE, np.int32)), path)
    return str(path)


def test_where_no_episode_fits_the_flags_that_help_are_named_and_help(capfd, tmp_path, hall):
    run = ["run", "--scene", hall, "--episodes", "2", "--size", "8", "--out", str(tmp_path / "out")]
    said = refuse(capfd, run)
    assert "none of the 2 episodes can be run" in said
    assert "5000 pairs of points suits" in said
    assert "almost straight" in said
    assert "lower trivial_ratio (PointNavSettings)" in said
    assert "pomagym episodes generate --max-distance 100 --ratio 1" in said
    file = str(tmp_path / "val.json.gz")
    line = ["episodes", "generate", "--scene", hall, "--max-distance", "100", "--count", "2", "--out", file]
    assert "almost straight" in refuse(capfd, line)
    assert finish(capfd, [*line, "--ratio", "1"])[0] == 0
    run[run.index("--episodes") + 1] = file
    assert finish(capfd, run)[0] == 0


@pytest.mark.parametrize("by_scene", [(), ("--by-scene",)])
def test_a_file_of_other_episodes_is_not_written_over(capfd, tmp_path, room, by_scene):
    file = tmp_path / "val" / "val.json.gz"
    line = ["episodes", "generate", "--scene", room, "--count", "2", "--out", str(file), *by_scene]
    assert finish(capfd, line)[0] == 0
    kept = {path: path.read_bytes() for path in Path(file.parent).rglob("*.gz")}
    assert finish(capfd, line)[0] == 0, "the same episodes again lose nothing"
    said = refuse(capfd, [*line, "--seed", "1"])
    assert "holds something else" in said
    assert "--overwrite" in said
    assert {path: path.read_bytes() for path in Path(file.parent).rglob("*.gz")} == kept
    before = [episode.start_position for episode in read_episodes(file)]
    assert finish(capfd, [*line, "--seed", "1", "--overwrite"])[0] == 0
    after = [episode.start_position for episode in read_episodes(file)]
    assert len(after) == 2
    assert after != before


def test_a_foreign_file_is_not_written_over(capfd, tmp_path, room):
    file = tmp_path / "mine.json.gz"
    file.write_bytes(b"years of work")
    refuse(capfd, ["episodes", "generate", "--scene", room, "--count", "1", "--out", str(file)])
    assert file.read_bytes() == b"years of work"
