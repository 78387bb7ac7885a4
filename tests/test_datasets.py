"""Published data sets of scenes in their layouts: frames, files that belong together, objects and rooms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dataset_examples import (
    WORLD,
    Z_UP,
    floor,
    hm3d,
    hssd,
    left_and_right,
    mp3d,
    painted,
    sides,
    textured,
    write_floor,
    write_ply,
)
from walkable_examples import navmesh_of

from envs.episodes.locate import locate_scene
from envs.scenes.datasets.listing import find_scenes
from envs.scenes.datasets.stage import stage_of
from envs.scenes.mesh import load_scene
from envs.scenes.scene import NO_INSTANCE
from envs.simulators.walkable.detour_file import write_navmesh
from poma3d.errors import FileError


@pytest.mark.parametrize("semantic", [painted, textured])
def test_hm3d_with_its_objects(tmp_path, semantic):
    mesh = hm3d(tmp_path, semantic)
    found = locate_scene("hm3d/val/00800-TEEsavR23oF/TEEsavR23oF.basis.glb", scenes_dir=tmp_path)
    assert Path(found) == mesh
    scene = load_scene(found)
    np.testing.assert_allclose(scene.bounds, WORLD, atol=1e-6)
    assert [(i.name, i.category, i.room) for i in scene.instances] == [
        ("sofa_1", "sofa", "region_0"),
        ("dining table, round_2", "dining table, round", "region_1"),
    ]
    assert left_and_right(scene) == ({0}, {1})
    assert load_scene(found, semantics=False).instances == ()
    assert stage_of(mesh).navmesh == mesh.with_name("TEEsavR23oF.basis.navmesh")


def test_hm3d_without_annotations(tmp_path):
    scene = load_scene(hm3d(tmp_path))
    assert scene.instances == ()
    np.testing.assert_allclose(scene.bounds, WORLD, atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        None,
        dict(Z_UP),
        {
            **Z_UP,
            "semantic_up": [0, 1, 0],
            "semantic_front": [0, 0, -1],
            "semantic_asset": "%%CONFIG_NAME_AS_ASSET_FILENAME%%_semantic.ply",
            "semantic_descriptor_filename": "%%CONFIG_NAME_AS_ASSET_FILENAME%%.house",
        },
    ],
)
def test_mp3d_with_its_objects_and_rooms(tmp_path, config):
    mp3d(tmp_path, config)
    scene = load_scene(locate_scene("mp3d/17DRP5sb8fy/17DRP5sb8fy.glb", scenes_dir=tmp_path))
    np.testing.assert_allclose(scene.bounds, WORLD, atol=1e-6)
    assert [(i.name, i.category, i.room) for i in scene.instances] == [
        ("bed_5", "bed", "bedroom_0"),
        ("chest of drawers_9", "chest of drawers", "kitchen_1"),
    ]
    assert left_and_right(scene) == ({0}, {1})
    assert [(room.name, room.category, room.floor_height) for room in scene.rooms] == [
        ("bedroom_0", "bedroom", 0),
        ("kitchen_1", "kitchen", 0),
    ]
    np.testing.assert_allclose(scene.rooms[1].outline, [[3, -4], [3, 0], [6, 0], [6, -4]])


def test_gibson_with_the_objects_of_its_scene_graph(tmp_path):
    mesh = write_floor(tmp_path / "gibson" / "Adrian.glb")
    np.testing.assert_allclose(load_scene(mesh).bounds, WORLD, atol=1e-6)
    objects = [{"class_": "bed", "id": 5}, {"class_": "chair", "id": 9, "location": [0, 0, 0]}]
    mesh.with_suffix(".scn").write_text(json.dumps({"objects": objects}))
    vertices, triangles = floor()
    ids = sides(triangles, vertices)
    ids.astype("<i2").tofile(mesh.with_suffix(".ids"))
    scene = load_scene(mesh)
    assert [i.name for i in scene.instances] == ["bed_5", "chair_9"]
    assert left_and_right(scene) == ({0}, {1})
    np.zeros(7, "<i2").tofile(mesh.with_suffix(".ids"))
    with pytest.warns(UserWarning, match=r"7 faces, the mesh has 32.*gen_gibson_semantics"):
        assert load_scene(mesh).instances == ()
    write_ply(mesh.with_name("Adrian_semantic.ply"), vertices, triangles, ids)
    assert left_and_right(load_scene(mesh)) == ({0}, {1})


def test_a_bare_file_is_turned_as_its_navmesh_says(tmp_path):
    for z_up in (True, False):
        mesh = write_floor(tmp_path / f"any{z_up}" / "bare.glb", z_up)
        upright = np.sort(floor(z_up)[0][[0, -1]], axis=0)
        np.testing.assert_allclose(load_scene(mesh).bounds, upright, atol=1e-6)  # as glTF says
        write_navmesh(mesh.with_suffix(".navmesh"), navmesh_of([[(0, -4), (0, 0), (6, 0), (6, -4)]]))
        np.testing.assert_allclose(load_scene(mesh).bounds, WORLD, atol=1e-6)
    mesh = write_floor(tmp_path / "gibson" / "Upright.glb", z_up=False)  # told by its navmesh, not its folder
    write_navmesh(mesh.with_suffix(".navmesh"), navmesh_of([[(0, -4), (0, 0), (6, 0), (6, -4)]]))
    np.testing.assert_allclose(load_scene(mesh).bounds, WORLD, atol=1e-6)


@pytest.mark.parametrize("configured", [False, True])
def test_replica_with_objects_on_its_quads(tmp_path, configured):
    folder = tmp_path / ("data" if configured else "replica") / "apartment_0" / "habitat"
    vertices = [[0, 0, 0], [3, 0, 0], [6, 0, 0], [0, 4, 0], [3, 4, 0], [6, 4, 0]]
    mesh = write_ply(folder / "mesh_semantic.ply", vertices, [[0, 1, 4, 3], [1, 2, 5, 4]], [5, 9])
    info = {
        "classes": [{"id": 3, "name": "sofa"}, {"id": 4, "name": "tv-stand"}, {"id": 8, "name": "undefined"}],
        "objects": [{"id": 5, "class_id": 3}, {"id": 9, "class_id": 4}, {"id": 1, "class_id": 8}],
    }
    (folder / "info_semantic.json").write_text(json.dumps(info))
    if configured:
        config = {
            "render_asset": "mesh_semantic.ply",
            "semantic_descriptor_filename": "info_semantic.json",
            **Z_UP,
        }
        (folder / "replica_stage.stage_config.json").write_text(json.dumps(config))
    scene = load_scene(mesh)
    np.testing.assert_allclose(scene.bounds, WORLD, atol=1e-6)
    assert [i.name for i in scene.instances] == ["sofa_5", "tv stand_9"]
    assert left_and_right(scene) == ({0}, {1})
    assert len(scene.triangles) == 4


def test_hssd_is_put_together(tmp_path):
    path = hssd(tmp_path)
    assert Path(locate_scene("hssd-hab/scenes/102.scene_instance.json", scenes_dir=tmp_path)) == path
    scene = load_scene(path)
    assert [(i.name, i.category) for i in scene.instances] == [
        ("potted plant_0", "potted plant"),
        ("potted plant_1", "potted plant"),
        ("potted plant_2", "potted plant"),
    ]
    assert scene.instances[0].room == "den_0"

    def box(instance: int) -> list:
        points = scene.instance_vertices(instance)
        return [points.min(axis=0), points.max(axis=0)]

    np.testing.assert_allclose(box(0), [[1, 0, -2], [2, 3, 0]], atol=1e-6)
    # its x (stretched to 2) turns to -z, its z to x
    np.testing.assert_allclose(box(1), [[4, 0, -4], [6, 3, -2]], atol=1e-6)
    np.testing.assert_allclose(box(2), [[2.5, 3.5, -3], [3.5, 6.5, -1]], atol=1e-6)
    np.testing.assert_allclose(scene.rooms[0].outline[:, 1].min(), -4)
    assert (scene.instance_ids == NO_INSTANCE).sum() == 32
    assert load_scene(path, semantics=False).instances == ()


def test_a_stage_is_told_by_defaults_its_own_file_and_the_data_set_s_entry_for_it(tmp_path):
    mesh = write_floor(tmp_path / "set" / "stages" / "a.glb", z_up=False)
    place = tmp_path / "set" / "x.scene_dataset_config.json"
    config: dict = {"stages": {"default_attributes": {"units_to_meters": 2, "up": [0, 1, 0]}}}
    place.write_text(json.dumps(config))
    assert stage_of(mesh).attributes == {"units_to_meters": 2, "up": [0, 1, 0]}
    (mesh.parent / "a.stage_config.json").write_text('{"render_asset": "a.glb", "units_to_meters": 3}')
    assert stage_of(mesh).attributes["units_to_meters"] == 3
    assert stage_of(mesh).attributes["up"] == [0, 1, 0]
    by_file = load_scene(mesh.parent / "a.stage_config.json")
    np.testing.assert_allclose(by_file.bounds, load_scene(mesh).bounds)
    (mesh.parent / "a.stage_config.json").unlink()
    entry = {"original_file": "stages/a.stage_config.json", "attributes": {"units_to_meters": 5}}
    config["stages"]["configs"] = [entry, {"template_handle": "b", "attributes": {"units_to_meters": 7}}]
    place.write_text(json.dumps(config))
    assert stage_of(mesh).attributes["units_to_meters"] == 5
    config["stages"]["configs"] = [3]
    place.write_text(json.dumps(config))
    with pytest.raises(FileError, match=r"stages\.configs"):
        load_scene(mesh)


def test_navmesh_and_semantics_that_a_configuration_names(tmp_path):
    mesh = write_floor(tmp_path / "stages" / "a.glb", z_up=False)
    write_navmesh(tmp_path / "stages" / "other.navmesh", navmesh_of([[(0, 0), (0, 4), (6, 4), (6, 0)]]))
    assert stage_of(mesh).navmesh is None
    (mesh.parent / "a.stage_config.json").write_text('{"nav_asset": "other.navmesh"}')
    assert stage_of(mesh).navmesh == mesh.with_name("other.navmesh")


def test_the_scenes_of_a_folder(tmp_path):
    hm3d(tmp_path, painted)
    mp3d(tmp_path)
    composed = hssd(tmp_path)
    (composed.parents[1] / "navmeshes").mkdir()
    (composed.parents[1] / "navmeshes" / "102.navmesh").write_bytes(b"")
    write_floor(tmp_path / "gibson" / "Adrian.glb")
    folder = tmp_path / "replica" / "room_0"
    for name in ("mesh.ply", "habitat/mesh_semantic.ply"):
        write_ply(folder / name, floor()[0], floor()[1], np.zeros(32))
    (folder / "habitat" / "info_semantic.json").write_text('{"classes": [], "objects": []}')
    found = {scene.scene_id: scene for scene in find_scenes(tmp_path)}
    assert {name: (s.data_set, s.navmesh is not None, s.semantics) for name, s in found.items()} == {
        "gibson/Adrian.glb": ("Gibson", False, False),
        "hm3d/val/00800-TEEsavR23oF/TEEsavR23oF.basis.glb": ("HM3D", True, True),
        "hssd-hab/scenes/102.scene_instance.json": ("HSSD", True, True),
        "mp3d/17DRP5sb8fy/17DRP5sb8fy.glb": ("Matterport3D", False, True),
        "replica/room_0/habitat/mesh_semantic.ply": ("Replica", False, True),
    }
    for scene in found.values():
        assert locate_scene(scene.scene_id, scenes_dir=tmp_path) == str(scene.path)
        assert len(load_scene(scene.path).triangles) >= 32
