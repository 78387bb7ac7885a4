"""Walking on Habitat's navmesh: which file, which scene, and episodes that only one surface allows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gltf_examples import GltfBuilder, grid
from walkable_examples import navmesh_of, rectangle

from envs.episodes import Episode, Goal, write_episodes
from envs.simulators.navmesh_choice import navmesh_file
from envs.simulators.open import open_simulator
from envs.simulators.walkable.detour_file import write_navmesh
from poma3d.errors import FileError, SettingError
from pomagym.main import main


@pytest.fixture
def hall(tmp_path: Path) -> Path:
    """A floor of 8 m x 4 m whose navmesh is cut in two at x = 4."""
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(*grid(8, 4)))
    path = builder.write(tmp_path / "scenes" / "hall.glb")
    halves = navmesh_of([rectangle(0.2, 0.2, 3.9, 3.8), rectangle(4.1, 0.2, 7.8, 3.8)])
    write_navmesh(path.with_suffix(".navmesh"), halves)
    return path


def test_the_navmesh_beside_a_scene_is_walked_on(hall, tmp_path):
    here, there = np.array([[1.0, 0, 2]]), np.array([[7.0, 0, 2]])
    built = open_simulator(hall).surface
    assert built.geodesic_distance(here, there)[0] == pytest.approx(6, rel=0.01)
    for choice in ("beside", hall.parent, hall.with_suffix(".navmesh")):
        surface = open_simulator(hall, navmesh=choice).surface
        assert np.isinf(surface.geodesic_distance(here, there)[0])
        stopped = surface.try_step(np.array([[3.8, 0, 2]]), np.array([[4.0, 0, 2]]))
        np.testing.assert_allclose(stopped, [[3.9, 0, 2]], atol=1e-3)


def test_a_navmesh_that_is_not_there_is_told(hall, tmp_path):
    hall.with_suffix(".navmesh").rename(tmp_path / "other.navmesh")
    with pytest.raises(FileError, match=r"no navmesh beside it: hall\.navmesh"):
        open_simulator(hall, navmesh="beside")
    with pytest.raises(FileError, match=r"holds no navmesh of hall\.glb"):
        navmesh_file(tmp_path, hall)
    with pytest.raises(FileError, match=r"nowhere\.navmesh"):
        open_simulator(hall, navmesh=tmp_path / "nowhere.navmesh")
    with pytest.raises(SettingError, match="no file"):
        open_simulator("procedural:val:0", navmesh="beside")


def test_the_navmesh_of_another_scene_is_refused(hall):
    write_navmesh(hall.with_name("far.navmesh"), navmesh_of([rectangle(50, 50, 60, 60)]))
    with pytest.raises(FileError, match=r"far\.navmesh: is not the navmesh of .*hall\.glb"):
        open_simulator(hall, navmesh=hall.with_name("far.navmesh"))


def episodes(tmp_path: Path) -> Path:
    def episode(number: int, start: float, goal: float) -> Episode:
        distance = {"geodesic_distance": abs(goal - start)}
        at = ((start, 0.0, 2.0), (0.0, 0.0, 0.0, 1.0))
        return Episode(str(number), "hall.glb", *at, (Goal((goal, 0.0, 2.0)),), distance)

    path = tmp_path / "val.json.gz"
    write_episodes(path, [episode(0, 1, 3), episode(1, 1, 7)])
    return path


def test_episodes_are_checked_on_both_surfaces_side_by_side(hall, tmp_path, capsys):
    command = ["episodes", "check", str(episodes(tmp_path)), "--scenes-dir", str(hall.parent)]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["surfaces"] == {"built": 2}
    assert main([*command, "--navmesh", "beside", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["episodes"], found["valid"]) == (2, 1)
    assert found["surfaces"] == {"built": 2, "navmesh": 1}
    problems = {(row["surface"], row["episode_id"]): row["problems"] for row in found["findings"]}
    assert problems["built", "1"] == []
    assert problems["navmesh", "1"][0].startswith("goal unreachable")
    assert main([*command, "--navmesh", "beside"]) == 1
    text = capsys.readouterr().out
    assert "hall.glb, episode 1 (navmesh surface): goal unreachable" in text
    assert "2 of 2 episodes are sound on the built surface" in text
    assert "1 of 2 episodes are sound on both" in text


def test_the_flag_reaches_the_environment(hall, tmp_path, capsys):
    command = ["run", "--episodes", str(episodes(tmp_path)), "--scenes-dir", str(hall.parent), "--size", "8"]
    assert main([*command, "--navmesh", "beside", "--out", str(tmp_path / "out"), "--json"]) == 2
    assert "goals can be reached from its start" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "built"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"]["success"]["mean"] == 1.0


def test_a_navmesh_is_shown_on_a_page(hall, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["view", str(hall.with_suffix(".navmesh"))]) == 0
    page = Path(capsys.readouterr().out.strip()).read_text()
    assert page.count("<img") == 1
    assert "2 islands" in page
    assert "cell_size" in page
    hall.with_suffix(".navmesh").write_bytes(b"glTF" * 30)
    assert main(["view", str(hall.with_suffix(".navmesh"))]) == 2
    assert "hall.navmesh" in capsys.readouterr().err


def test_a_damaged_navmesh_beside_a_scene_is_named(hall, tmp_path, capsys):
    hall.with_suffix(".navmesh").write_bytes(b"TESM")
    with pytest.raises(FileError, match=r"hall\.navmesh"):
        open_simulator(hall, navmesh="beside")
    command = ["episodes", "check", str(episodes(tmp_path)), "--scenes-dir", str(hall.parent)]
    assert main([*command, "--navmesh", "beside"]) == 1
    assert "scene unusable" in capsys.readouterr().out
