"""Which episodes of a file run in the scenes that a person names: by path, else by name where that is no guess."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flat_room import room_episode, room_scene

from envs.episodes import read_episodes, write_episodes
from envs.episodes.locate import scene_name
from envs.pointnav import PointNavEnv
from envs.scenes.mesh import save_scene
from envs.task_source import open_source
from poma3d.errors import FileError, SceneWarning, SettingError, UserError


def episodes_of(file: Path, *scene_ids: str, by_scene: bool = False) -> Path:
    """A file of one episode in each of the scenes; their ids are 0, 1, ..."""
    listed = [
        replace(room_episode(), episode_id=str(number), scene_id=scene_id)
        for number, scene_id in enumerate(scene_ids)
    ]
    write_episodes(file, listed, by_scene=by_scene)
    return file


def chosen(scene: Any, episodes: Any, scenes_dir: Path | None = None) -> dict[str, str]:
    """From the scene ids of the episodes that were chosen to the scenes that they run in."""

    def none(scene_id: str, index: int) -> Any:
        raise AssertionError

    dataset, find = open_source(scene, episodes, "raycast", scenes_dir, none)
    return {scene_id: str(find(scene_id)) for scene_id, _ in dataset.keys()}  # noqa: SIM118


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one folder a scan, each mesh of the same name."""
    for name in ("r0", "r1"):
        (tmp_path / "scans" / name).mkdir(parents=True)
        (tmp_path / "scans" / name / "mesh.ply").write_bytes(b"never read")
    monkeypatch.chdir(tmp_path)
    return tmp_path


R0, R1 = "scans/r0/mesh.ply", "scans/r1/mesh.ply"


@pytest.mark.parametrize("spelling", ["{}", "./{}", "scans/../{}", "{cwd}/{}"])
def test_a_path_that_the_file_names_chooses_its_episodes_alone(scans: Path, spelling: str) -> None:
    file = episodes_of(scans / "rep.json.gz", R0, R1)
    for scene_id in (R0, R1):
        found = chosen(spelling.format(scene_id, cwd=scans), file)
        assert found.keys() == {scene_id}
        assert Path(found[scene_id]).samefile(scene_id)
    assert chosen([R0, R1], file) == {R0: R0, R1: R1}
    assert PointNavEnv(scene=[R0, R1], episodes=file).episode_keys() == [(R0, "0"), (R1, "1")]


def test_a_path_elsewhere_is_known_by_its_last_folders(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = episodes_of(scans / "rep.json.gz", "mine/scans/r0/mesh.ply", "mine/scans/r1/mesh.ply")
    assert chosen(R1, file) == {"mine/scans/r1/mesh.ply": R1}
    file = episodes_of(scans / "rep.json.gz", "r0/mesh.ply", "r1/mesh.ply")
    assert chosen(str(scans / R1), file) == {"r1/mesh.ply": str(scans / R1)}
    assert chosen("r1/mesh.ply", file, scans / "scans") == {"r1/mesh.ply": str(scans / R1)}
    monkeypatch.chdir(scans / "scans" / "r1")
    assert chosen("mesh.ply", file) == {"r1/mesh.ply": "mesh.ply"}


def test_one_name_for_several_scenes_of_the_file_is_refused(scans: Path) -> None:
    file = episodes_of(scans / "rep.json.gz", R0, R1)
    (scans / "mesh.ply").write_bytes(b"never read")
    told = rf"rep\.json\.gz has episodes of 2 scenes called 'mesh': {R0}, {R1}; .* given, mesh\.ply, is"
    with pytest.raises(SettingError, match=told):
        chosen("mesh.ply", file)
    episodes = list(read_episodes(file))
    with pytest.raises(SettingError, match="episodes of 2 scenes called 'mesh'"):
        chosen("mesh.ply", episodes)


def test_two_scenes_of_one_name_are_refused_where_the_file_does_not_tell_them_apart(scans: Path) -> None:
    file = episodes_of(scans / "dup.json.gz", "elsewhere/mesh.ply")
    with pytest.raises(SettingError, match=rf"called 'mesh': {R0} and {R1}.*rename one"):
        chosen([R0, R1], file)
    with pytest.raises(SettingError, match=rf"called 'mesh': {R0} and {R1}"):
        chosen([R0, R1], episodes_of(scans / "one.json.gz", R0, "elsewhere/mesh.ply"))
    assert chosen([R0, R1], episodes_of(scans / "one.json.gz", R0)) == {R0: R0}
    first, second = room_scene(), replace(room_scene(), vertices=room_scene().vertices + 1)
    with pytest.raises(SettingError, match=r"two different scenes .* 'flat_room'"):
        chosen([first, second], 2)
    assert chosen([first, first], 2).keys() == {"flat_room"}
    assert chosen([R0, R1], 2) == {R0: R0, R1: R1}, "generated episodes call them by their paths"


def test_versions_in_a_name_are_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("house.v1.glb", "house.v2.glb"):
        (tmp_path / name).write_bytes(b"never read")
    file = episodes_of(tmp_path / "val.json.gz", "data/house.v1.glb", "data/house.v2.glb")
    assert chosen("house.v2.glb", file) == {"data/house.v2.glb": "house.v2.glb"}
    with pytest.raises(UserError, match=r"no episode .* is in the scene house\.v2; its scenes are house\.v1"):
        chosen("house.v2.glb", episodes_of(tmp_path / "one.json.gz", "data/house.v1.glb"))
    folder = tmp_path / "split"
    main = episodes_of(folder / "split.json.gz", "house.v1.glb", "house.v2.glb", by_scene=True)
    assert sorted(path.name for path in (folder / "content").iterdir()) == [
        "house.v1.json.gz",
        "house.v2.json.gz",
    ]
    assert chosen("house.v2.glb", main) == {"house.v2.glb": "house.v2.glb"}


@pytest.mark.parametrize(
    ("scene_id", "name"),
    [
        ("gibson/Adrian.glb", "Adrian"),
        ("hm3d/val/00800-TEEsavR23oF/TEEsavR23oF.basis.glb", "TEEsavR23oF"),
        ("data\\scene_datasets\\mp3d\\17DRP5sb8fy\\17DRP5sb8fy.glb", "17DRP5sb8fy"),
        ("hssd-hab/scenes/102344049.scene_instance.json", "102344049"),
        ("stages/apt_0.stage_config.json", "apt_0"),
        ("x/X.semantic.glb", "X"),
        ("x/X.instance.glb", "X"),
        ("102344049", "102344049"),
        ("House.GLB", "House"),
        ("house.v1.glb", "house.v1"),
        ("procedural:val:0001", "procedural:val:0001"),
    ],
)
def test_habitats_endings_are_no_part_of_a_name(scene_id: str, name: str) -> None:
    assert scene_name(scene_id) == name


@pytest.mark.parametrize("by_scene", [False, True])
@pytest.mark.parametrize(
    ("scene_id", "given"),
    [
        ("gibson/Adrian.glb", "elsewhere/Adrian.glb"),
        ("hm3d/val/00800-TEEsavR23oF/TEEsavR23oF.basis.glb", "scenes/TEEsavR23oF.glb"),
        ("hm3d/val/00800-TEEsavR23oF/TEEsavR23oF.basis.glb", "00800-TEEsavR23oF/TEEsavR23oF.basis.glb"),
        ("data/scene_datasets/mp3d/17DRP5sb8fy/17DRP5sb8fy.glb", "17DRP5sb8fy.ply"),
        ("hssd-hab/scenes/102344049.scene_instance.json", "102344049.glb"),
    ],
)
def test_habitats_files_run_in_copies_of_their_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene_id: str, given: str, by_scene: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(given).parent.mkdir(parents=True, exist_ok=True)
    Path(given).write_bytes(b"never read")
    file = episodes_of(tmp_path / "val" / "val.json.gz", "gibson/Other.glb", scene_id, by_scene=by_scene)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen(given, file) == {scene_id: given}


def test_a_scene_in_the_place_of_another_that_is_there_is_told(scans: Path) -> None:
    file = episodes_of(scans / "rep.json.gz", R0)
    with pytest.warns(SceneWarning, match=rf"episodes of {R0} run in {R1}, .* by its file name alone"):
        assert chosen(R1, file) == {R0: R1}


def test_a_content_file_of_several_scenes_is_chosen_from_when_it_is_read(scans: Path) -> None:
    content = scans / "val" / "content"
    episodes_of(content / "mesh.json.gz", R0, R1)
    main = episodes_of(scans / "val" / "val.json.gz", "x/y.ply", by_scene=True)
    assert chosen(R1, main) == {R1: R1}
    (scans / "mesh.ply").write_bytes(b"never read")
    with pytest.raises(SettingError, match="episodes of 2 scenes called 'mesh'"):
        chosen("mesh.ply", main)
    episodes_of(content / "mesh.json.gz", "x/z.ply")
    with pytest.raises(FileError, match=r"mesh\.json\.gz: .* no episode of the scene mesh"):
        chosen("mesh.ply", main)


def test_the_walk_is_in_the_scene_that_was_named(scans: Path) -> None:
    low = room_scene()
    save_scene(low, scans / "scans" / "r0" / "room.glb")
    lifted = replace(low, vertices=low.vertices + np.array([0.0, 1.0, 0.0], np.float32))
    save_scene(lifted, scans / "scans" / "r1" / "room.glb")
    ids = ["scans/r0/room.glb", "scans/r1/room.glb"]
    episode = room_episode()

    def up(position: tuple[float, ...], height: float) -> tuple[float, ...]:
        return (position[0], position[1] + height, position[2])

    listed = [
        replace(
            episode,
            episode_id=str(height),
            scene_id=scene_id,
            start_position=up(episode.start_position, height),
            goals=tuple(replace(goal, position=up(goal.position, height)) for goal in episode.goals),
        )
        for height, scene_id in enumerate(ids)
    ]
    write_episodes(scans / "rep.json.gz", listed)
    env = PointNavEnv(scene=ids, episodes=scans / "rep.json.gz", size=8, shuffle=False)
    for height, scene_id in enumerate(ids):
        _, info = env.reset()
        assert (info["scene_id"], info["episode_id"]) == (scene_id, str(height))
        assert env.simulator.surface.bounds[0][1] == pytest.approx(height, abs=0.1)
    env.close()
