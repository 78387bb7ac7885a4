"""`pomagym episodes generate`: what it keeps of an earlier file."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import finish, refuse, room_file

from envs.episodes import read_episodes


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return room_file(tmp_path_factory.mktemp("room"))


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
