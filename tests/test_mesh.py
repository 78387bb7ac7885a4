"""Mesh files: axes and units, nodes and mirrors, semantics, round trips, and every kind of damaged file."""

from __future__ import annotations

import json
import struct
import time
import warnings

import numpy as np
import pytest
import trimesh

from envs.scenes.mesh import load_scene, save_scene
from envs.scenes.scene import NO_INSTANCE, Instance, Room, Scene
from envs.scenes.semantics import category_of
from poma3d.errors import FileError, SceneError, SettingError


def triangle_set(scene: Scene, instance: int | None = None) -> set[tuple[float, ...]]:
    """Triangles by their corners' coordinates, from the least corner on: order apart, winding kept."""
    chosen = scene.triangles if instance is None else scene.triangles[scene.instance_ids == instance]
    corners = scene.vertices[chosen]  # (M, 3, 3)
    turned = []
    for triangle in corners.tolist():
        first = triangle.index(min(triangle))
        turned.append(tuple(np.ravel(triangle[first:] + triangle[:first])))
    return set(turned)


def outward(scene: Scene) -> bool:
    """Whether every triangle of a convex scene faces away from its middle."""
    corners = scene.vertices[scene.triangles].astype(float)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return bool(((normals * (corners.mean(axis=1) - scene.vertices.mean(axis=0))).sum(axis=1) > 0).all())


def write_glb(path, **boxes):
    """A .glb of unit boxes, a node each, by name and transform."""
    scene = trimesh.Scene()
    for name, transform in boxes.items():
        scene.add_geometry(
            trimesh.creation.box(), node_name=name.replace("__", "."), geom_name=name, transform=transform
        )
    path.write_bytes(scene.export(file_type="glb"))
    return path


def edit_glb(path, change):
    """Rewrite the JSON of a .glb."""
    data = path.read_bytes()
    length = struct.unpack("<I", data[12:16])[0]
    header = json.loads(data[20 : 20 + length])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + data[20 + length :]
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body)


def shift(x=0.0, y=0.0, z=0.0):
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


@pytest.mark.parametrize("extension", ["glb", "gltf", "obj", "ply"])
def test_every_format_keeps_every_triangle(tmp_path, extension):
    box = trimesh.creation.box()
    twins = trimesh.Trimesh(
        box.vertices, np.concatenate([box.faces, box.faces[:, ::-1], box.faces[:1]]), process=False
    )
    path = tmp_path / f"twins.{extension}"
    if extension == "gltf":
        for name, data in trimesh.Scene(twins).export(file_type="gltf").items():
            (tmp_path / ("twins.gltf" if name.endswith(".gltf") else name)).write_bytes(data)
    else:
        twins.export(path)
    scene = load_scene(path)
    assert len(scene.triangles) == 25  # twins and doubles stay
    assert scene.vertices.dtype == np.float32
    assert scene.triangles.dtype == np.int32
    np.testing.assert_allclose(scene.bounds, [[-0.5] * 3, [0.5] * 3])
    assert scene.scene_id == str(path)


def test_node_transforms_are_applied_and_mirrors_keep_facing_outwards(tmp_path):
    mirror = np.diag([-2.0, 1.0, 1.0, 1.0])
    scene = load_scene(write_glb(tmp_path / "m.glb", box__00=shift(5, 0, 0) @ mirror))
    np.testing.assert_allclose(scene.bounds, [[4, -0.5, -0.5], [6, 0.5, 0.5]])
    assert outward(scene)
    scene = load_scene(write_glb(tmp_path / "n.glb", box__00=shift(0, 3, 0)))
    np.testing.assert_allclose(scene.bounds, [[-0.5, 2.5, -0.5], [0.5, 3.5, 0.5]])
    assert outward(scene)


def test_a_node_with_several_primitives_is_one_instance(tmp_path):
    path = write_glb(tmp_path / "p.glb", sofa__00=None, sofa__01=shift(3))

    def join(header):
        header["meshes"][0]["primitives"] *= 2

    edit_glb(path, join)
    scene = load_scene(path)
    assert [i.name for i in scene.instances] == ["sofa.00", "sofa.01"]
    assert sorted(np.bincount(scene.instance_ids)) == [12, 24]


def test_stage_config_beside_the_mesh_turns_and_scales(tmp_path):
    path = write_glb(tmp_path / "z.glb", box__00=shift(1, 2, 3) @ np.diag([2.0, 4.0, 6.0, 1.0]))
    config = {"render_asset": "z.glb", "up": [0, 0, 1], "front": [0, 1, 0], "units_to_meters": 0.5}
    (tmp_path / "z.stage_config.json").write_text(json.dumps(config))
    scene = load_scene(path)
    # the file's x stays to the right, its z goes up, its y goes to the front (-z)
    np.testing.assert_allclose(scene.bounds, [[0, 0, -2], [1, 3, 0]])
    assert outward(scene)
    by_config = load_scene(tmp_path / "z.stage_config.json")
    assert by_config.geometry_hash == scene.geometry_hash
    given = load_scene(path, stage_config={"scale": [1, 2, 1]})
    np.testing.assert_allclose(given.bounds, [[0, 0, 0], [2, 8, 6]])


def test_stage_config_that_names_another_mesh_is_not_this_ones(tmp_path):
    path = write_glb(tmp_path / "a.glb", box__00=None)
    (tmp_path / "a.stage_config.json").write_text(json.dumps({"render_asset": "b.glb", "units_to_meters": 2}))
    np.testing.assert_allclose(load_scene(path).bounds, [[-0.5] * 3, [0.5] * 3])


def test_dataset_config_two_folders_above_applies(tmp_path):
    folder = tmp_path / "val" / "00800-x"
    folder.mkdir(parents=True)
    path = write_glb(folder / "x.basis.glb", box__00=np.diag([1.0, 1.0, 4.0, 1.0]))
    stages = {"stages": {"default_attributes": {"up": [0, 0, 1], "front": [0, 1, 0]}}}
    (tmp_path / "hm3d.scene_dataset_config.json").write_text(json.dumps(stages))
    np.testing.assert_allclose(load_scene(path).bounds, [[-0.5, -2, -0.5], [0.5, 2, 0.5]])
    (tmp_path / "other.scene_dataset_config.json").write_text(json.dumps({"stages": {}}))
    np.testing.assert_allclose(load_scene(path).bounds, [[-0.5, -2, -0.5], [0.5, 2, 0.5]])
    (tmp_path / "other.scene_dataset_config.json").write_text('{"stages": {"default_attributes": {}}}')
    with pytest.raises(FileError, match="says otherwise"):
        load_scene(path)
    np.testing.assert_allclose(load_scene(path, stage_config={}).bounds, [[-0.5, -0.5, -2], [0.5, 0.5, 2]])


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"up": [0, 1, 0], "front": [0, 1, 0]}, "perpendicular"),
        ({"up": [0, 0, 0]}, "length 0"),
        ({"up": 1}, "vector of 3"),
        ({"up": [0, "up", 0]}, "finite numbers"),
        ({"units_to_meters": 0}, "above 0"),
        ({"scale": [1, -1, 1]}, "above 0"),
        ({"scale": [1, 2]}, "finite numbers"),
        ({"units_to_meters": float("nan")}, "finite numbers"),
    ],
)
def test_stage_config_out_of_its_range(tmp_path, config, complaint):
    with pytest.raises(FileError, match=complaint):
        load_scene(write_glb(tmp_path / "a.glb", box__00=None), stage_config=config)


def test_stage_config_that_is_none(tmp_path):
    path = write_glb(tmp_path / "a.glb", box__00=None)
    (tmp_path / "a.stage_config.json").write_text("{up")
    with pytest.raises(FileError, match="not JSON"):
        load_scene(path)
    with pytest.raises(FileError, match="cannot be read"):
        load_scene(path, stage_config=tmp_path / "none.json")
    with pytest.raises(SettingError, match="path or a mapping"):
        load_scene(path, stage_config=3)
    (tmp_path / "b.stage_config.json").write_text("{}")
    with pytest.raises(FileError, match="render_asset"):
        load_scene(tmp_path / "b.stage_config.json")


@pytest.mark.parametrize(
    ("node", "category"),
    [
        ("sofa.00", "sofa"),
        ("Sofa_12", "sofa"),
        ("room window.08", "room window"),
        ("floor_01_walls.00", "floor_01_walls"),
        ("sofa", None),
        ("geometry_0", None),
        ("node.001", None),
        ("12.03", None),
        ("", None),
    ],
)
def test_category_in_a_node_name(node, category):
    assert category_of(node) == category


def test_semantics_from_node_names(tmp_path):
    boxes = dict.fromkeys(["sofa", "sofa__001", "shell", "bed__00"])
    scene = load_scene(write_glb(tmp_path / "s.glb", **boxes))
    assert {(i.name, i.category) for i in scene.instances} == {
        ("sofa", "sofa"),
        ("sofa.001", "sofa"),
        ("bed.00", "bed"),
    }
    assert (scene.instance_ids == NO_INSTANCE).sum() == 12  # the shell


def test_semantics_from_json(tmp_path):
    path = write_glb(tmp_path / "s.glb", one=None, two=shift(3))
    semantics = tmp_path / "s.semantics.json"
    outline = [[0, 0], [0, 3], [4, 3], [4, 0]]
    semantics.write_text(
        json.dumps(
            {
                "instances": [
                    {"name": "bed.00", "category": "Bed", "room": "bedroom.00", "nodes": ["two"]},
                    {"name": "lamp.00", "category": "lamp", "faces": [[0, 2], [4, 5]]},
                ],
                "rooms": [
                    {"name": "bedroom.00", "category": "bedroom", "outline": outline, "floor_height": 1}
                ],
            }
        )
    )
    scene = load_scene(path)
    assert scene.instances == (Instance("bed.00", "bed", "bedroom.00"), Instance("lamp.00", "lamp"))
    assert scene.instance_ids.tolist() == [1, 1, -1, -1, 1, *[-1] * 7, *[0] * 12]
    assert scene.rooms[0].floor_height == 1
    np.testing.assert_array_equal(scene.rooms[0].outline, outline)
    for wrong, complaint in (
        ('{"instances": [{"name": "a", "category": "a", "nodes": ["three"]}]}', "three"),
        ('{"instances": [{"name": "a", "category": "a", "faces": [[0, 99]]}]}', "0..99"),
        ('{"instances": [{"name": "a", "category": "a"}, {"name": "a", "category": "a"}]}', "each name"),
        ('{"instances": [{"name": "a"}]}', "category"),
        ('{"instances": [], "rooms": [{"name": "r", "category": "r", "outline": [[0, 0]]}]}', "corners"),
        ("[]", "no JSON object but a list; expected is .*an instance has a name"),
        ("{}", "the list 'instances' is missing"),
        ('{"instances": {}}', "'instances' is no list but a dict"),
        ('{"instances": [[]]}', r"instances\[0\] is no object but \[\]"),
        ('{"instances": [{"name": "a", "category": 3}]}', r"instances\[0\]: 'category' is 3"),
        ('{"instances": [{"name": "a", "category": "a", "nodes": 3}]}', r"instances\[0\]: 'nodes' is 3"),
        ('{"instances": [{"name": "a", "category": "a", "nodes": [[]]}]}', "names the node"),
        ('{"instances": [{"name": "a", "category": "a", "faces": [3]}]}', r"\[0\]: 'faces' holds 3"),
        ('{"instances": [{"name": "a", "category": "a", "faces": [[0.5, 1]]}]}', "'faces' holds"),
        ('{"instances": [{"name": "a", "category": "a", "room": 1}]}', "'room' is 1"),
        ('{"instances": [], "rooms": [7]}', r"rooms\[0\] is no object but 7"),
        ('{"instances": [], "rooms": [{"name": "r", "category": "r"}]}', "number|corners"),
        ("{", "not JSON"),
    ):
        semantics.write_text(wrong)
        with pytest.raises(FileError, match=complaint):
            load_scene(path)


def test_save_and_load_give_the_same_scene(tmp_path):
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(60, 3)).astype(np.float32)
    triangles = np.stack([rng.permutation(60)[:3] for _ in range(90)]).astype(np.int32)
    instance_ids = rng.integers(-1, 3, 90).astype(np.int32)
    instances = (
        Instance("sofa.00", "sofa", "hall.00"),
        Instance("sofa.01", "sofa"),
        Instance("bed.00", "bed"),
    )
    rooms = (Room("hall.00", "hall", np.array([[0.0, 0], [0, 3], [4, 3]]), 0.1),)
    scene = Scene(
        "made", vertices, triangles, instance_ids, (*instances, Instance("hidden.00", "hidden")), rooms
    )
    save_scene(scene, tmp_path / "a" / "made.glb")
    again = load_scene(tmp_path / "a" / "made.glb")
    assert again.instances == scene.instances
    assert triangle_set(again) == triangle_set(scene)
    for instance in range(-1, 3):
        assert triangle_set(again, instance) == triangle_set(scene, instance)
    assert (again.rooms[0].name, again.rooms[0].floor_height) == ("hall.00", 0.1)
    np.testing.assert_array_equal(again.rooms[0].outline, rooms[0].outline)
    save_scene(again, tmp_path / "b.glb")
    assert load_scene(tmp_path / "b.glb").content_hash == again.content_hash
    (tmp_path / "b.semantics.json").unlink()
    assert [i.category for i in load_scene(tmp_path / "b.glb").instances] == ["sofa", "sofa", "bed"]
    with pytest.raises(FileError, match=r"\.glb"):
        save_scene(scene, tmp_path / "made.obj")


def test_missing_folder_and_unknown_files(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        load_scene(tmp_path / "none.glb")
    (tmp_path / "folder.glb").mkdir()
    with pytest.raises(FileError, match="folder"):
        load_scene(tmp_path / "folder.glb")
    (tmp_path / "a.fbx").write_bytes(b"Kaydara")
    with pytest.raises(FileError, match=r"\.glb, \.gltf, \.obj, \.ply"):
        load_scene(tmp_path / "a.fbx")


@pytest.mark.parametrize("extension", ["glb", "gltf", "obj", "ply"])
def test_empty_and_foreign_files(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    path.write_bytes(b"")
    with pytest.raises(FileError, match="empty"):
        load_scene(path)
    for data in (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        b"\x00\xff" * 40,
        b"<html></html>",
    ):
        path.write_bytes(data)
        with pytest.raises((FileError, SceneError)):
            load_scene(path)


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("extension", ["glb", "ply"])
def test_truncated_files(tmp_path, extension, keep):
    path = tmp_path / f"a.{extension}"
    trimesh.creation.icosphere().export(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(FileError):
        load_scene(path)


def test_gltf_without_its_buffer(tmp_path):
    files = trimesh.Scene(trimesh.creation.box()).export(file_type="gltf")
    (tmp_path / "a.gltf").write_bytes(files["model.gltf"])
    with pytest.raises(FileError, match="damaged or incomplete"):
        load_scene(tmp_path / "a.gltf")


def test_points_without_faces(tmp_path):
    trimesh.PointCloud(np.random.default_rng(0).normal(size=(50, 3))).export(tmp_path / "cloud.ply")
    with pytest.raises(SceneError, match="no triangles"):
        load_scene(tmp_path / "cloud.ply")
    (tmp_path / "points.obj").write_text("v 0 0 0\nv 1 0 0\n")
    with pytest.raises(SceneError, match="no triangles"):
        load_scene(tmp_path / "points.obj")
    path = write_glb(tmp_path / "bare.glb", box__00=None)
    edit_glb(path, lambda header: header.update(meshes=[], nodes=[{}]))
    with pytest.raises(SceneError, match="no triangles"):
        load_scene(path)


def test_vertices_that_are_not_numbers(tmp_path):
    box = trimesh.creation.box()
    vertices = box.vertices.copy()
    vertices[3, 1] = np.nan
    trimesh.Trimesh(vertices, box.faces, process=False).export(tmp_path / "nan.ply")
    with pytest.raises(SceneError, match="not finite"):
        load_scene(tmp_path / "nan.ply")


def test_faces_beyond_the_vertices(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n")
    with pytest.raises(FileError, match="damaged"):
        load_scene(tmp_path / "a.obj")


def test_compressed_textures_do_not_matter(tmp_path):
    path = write_glb(tmp_path / "a.basis.glb", box__00=None)
    edit_glb(path, lambda header: header.update(extensionsRequired=["KHR_texture_basisu"]))
    assert len(load_scene(path).triangles) == 12


@pytest.mark.golden
def test_real_scenes_load_whole_and_fast(scenes_dir, real_scene):
    expected = {"small_house": (145_844, 85), "willowgarage": (13_839, 0), "hospital": (293_758, 140)}
    path = scenes_dir / f"{real_scene}.glb"
    begin = time.process_time()
    scene = load_scene(path)
    assert time.process_time() - begin < 1.5
    assert (len(scene.triangles), len(scene.instances)) == expected[real_scene]
    if real_scene == "small_house":
        assert {"sofa", "refrigerator", "bed"} <= set(scene.categories)


@pytest.mark.parametrize("bad", ["inf", "-inf", "nan", "1e300"])
def test_vertices_that_are_no_numbers_are_told_without_a_warning(tmp_path, bad):
    path = tmp_path / "s.ply"
    kinds = "".join(f"property double {axis}\n" for axis in "xyz")
    path.write_text(
        f"ply\nformat ascii 1.0\nelement vertex 3\n{kinds}element face 1\n"
        f"property list uchar int vertex_indices\nend_header\n0 0 0\n1 0 {bad}\n0 0 1\n3 0 1 2\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SceneError, match="1 of 3 vertices are not finite"):
            load_scene(path, stage_config={"up": [0, 0, 1], "front": [0, 1, 0]})
