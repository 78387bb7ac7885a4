"""Published data sets of scenes in their layouts: frames, files that belong together, objects and rooms."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from gltf_examples import GltfBuilder, grid
from PIL import Image
from walkable_examples import navmesh_of

from envs.episodes.locate import locate_scene
from envs.scenes.datasets.annotations import read_annotations
from envs.scenes.datasets.listing import find_scenes
from envs.scenes.datasets.stage import stage_of
from envs.scenes.mesh import load_scene
from envs.scenes.ply import read_ply
from envs.scenes.scene import NO_INSTANCE
from envs.simulators.walkable.detour_file import write_navmesh
from poma3d.errors import FileError, UserError

Z_UP = {"up": [0, 0, 1], "front": [0, 1, 0]}
WORLD = [[0, 0, -4], [6, 0, 0]]
"""Extent of the example floor, 6 m x 4 m, in the world."""


def floor(z_up: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """A floor of 6 m x 4 m and 32 triangles in a file's axes: z-up as scans, or y-up."""
    vertices, triangles = grid(6, 4)
    x, _, depth = vertices.T
    # in the world the floor reaches from z = -4 to 0
    return (np.stack([x, 4 - depth, 0 * x], 1) if z_up else np.stack([x, 0 * x, depth - 4], 1)), triangles


def write_floor(path: Path, z_up: bool = True) -> Path:
    builder = GltfBuilder()
    builder.header["extensionsRequired"] = ["KHR_texture_basisu"]
    builder.node(mesh=builder.mesh(*floor(z_up)), name="scan")
    return builder.write(path)


def write_ply(path: Path, vertices, faces, object_ids=None, *, ascii_text=False) -> Path:
    """Polygons with an object_id each, as Matterport3D's and Replica's semantic meshes have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "ascii" if ascii_text else "binary_little_endian"
    lines = ["ply", f"format {kind} 1.0", f"element vertex {len(vertices)}"]
    lines += [f"property float {axis}" for axis in "xyz"] + ["property uchar red"]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    lines += ["property int object_id"] * (object_ids is not None) + ["end_header", ""]
    head = "\n".join(lines).encode()
    ids = [[] if object_ids is None else [int(object_ids[i])] for i in range(len(faces))]
    if ascii_text:
        body = "\n".join(
            [" ".join(map(str, [*vertex, 7])) for vertex in np.asarray(vertices).tolist()]
            + [" ".join(map(str, [len(face), *face, *i])) for face, i in zip(faces, ids, strict=True)]
        ).encode()
    else:
        body = b"".join(struct.pack("<3fB", *map(float, vertex), 7) for vertex in vertices)
        body += b"".join(
            struct.pack(f"<B{len(face)}i{len(i)}i", len(face), *map(int, face), *i)
            for face, i in zip(faces, ids, strict=True)
        )
    path.write_bytes(head + body)
    return path


def left_and_right(scene) -> tuple[set, set]:
    """The instances of the triangles left and right of x = 3."""
    middle = scene.vertices[scene.triangles].mean(axis=1)[:, 0]
    return set(scene.instance_ids[middle < 3].tolist()), set(scene.instance_ids[middle > 3].tolist())


def sides(triangles: np.ndarray, vertices: np.ndarray, ids=(5, 9)) -> np.ndarray:
    """The id ids[0] for triangles left of x = 3, ids[1] for the others."""
    return np.where(vertices[triangles].mean(axis=1)[:, 0] < 3, *ids)


# ---------------------------------------------------------------- .ply


@pytest.mark.parametrize("ascii_text", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_polygons_are_cut_and_keep_their_ids(tmp_path, ascii_text, mixed):
    vertices = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0]]
    faces = [[0, 1, 2, 3], [1, 4, 2]] if mixed else [[0, 1, 2, 3], [1, 4, 2, 0]]
    mesh = read_ply(write_ply(tmp_path / "a.ply", vertices, faces, [5, 9], ascii_text=ascii_text))
    np.testing.assert_array_equal(mesh.vertices, vertices)
    expected = [[0, 1, 2], [0, 2, 3], [1, 4, 2]] + ([] if mixed else [[1, 2, 0]])
    assert mesh.triangles.tolist() == expected
    assert mesh.face_values["object_id"][mesh.face_of].tolist() == [5, 5, 9] + ([] if mixed else [9])
    assert mesh.vertex_values["red"].tolist() == [7] * 5


@pytest.mark.parametrize("mixed", [False, True])
def test_truncated_polygons_are_named(tmp_path, mixed):
    faces = [[0, 1, 2], [0, 1, 2, 3]] if mixed else [[0, 1, 2], [1, 2, 3]]
    path = write_ply(tmp_path / "a.ply", np.eye(4)[:, :3], faces, [1, 2])
    data = path.read_bytes()
    for keep in range(len(data) - 1, 0, -7):
        path.write_bytes(data[:keep])
        with pytest.raises(FileError, match=r"a\.ply"):
            read_ply(path)


# ---------------------------------------------------------------- HM3D


def hm3d(root: Path, semantic=None) -> Path:
    """One building of HM3D in its layout."""
    folder = root / "hm3d" / "val" / "00800-TEEsavR23oF"
    mesh = write_floor(folder / "TEEsavR23oF.basis.glb")
    plain = {"stages": {"default_attributes": dict(Z_UP), "paths": {".glb": ["val/*/*.basis.glb"]}}}
    tag = "%%CONFIG_NAME_AS_ASSET_FILENAME%%"
    annotated = {
        "semantic_descriptor_filename": f"{tag}.semantic.txt",
        "semantic_asset": f"{tag}.semantic.glb",
        "has_semantic_textures": True,
        **Z_UP,
    }
    (root / "hm3d" / "hm3d_basis.scene_dataset_config.json").write_text(json.dumps(plain))
    (root / "hm3d" / "hm3d_annotated_basis.scene_dataset_config.json").write_text(
        json.dumps({"stages": {"default_attributes": annotated}})
    )
    (folder / "TEEsavR23oF.semantic.txt").write_text(
        'HM3D Semantic Annotations\n1,FF0000,"sofa",0\n2,00FF80,"dining table, round",1\n3,0000FF,"Unknown",1\n'
    )
    if semantic is not None:
        semantic(folder / "TEEsavR23oF.semantic.glb")
    write_navmesh(folder / "TEEsavR23oF.basis.navmesh", navmesh_of([[(0, -4), (0, 0), (6, 0), (6, -4)]]))
    return mesh


def painted(path: Path) -> None:
    """The floor with a colour at every vertex; its triangles are other ones than those of the seen mesh."""
    vertices, triangles = grid(6, 4, cells=12)
    vertices = np.stack([vertices[:, 0], 4 - vertices[:, 2], vertices[:, 1]], 1)[triangles].reshape(-1, 3)
    triangles = np.arange(len(vertices)).reshape(-1, 3)
    left = sides(triangles, vertices) == 5
    colours = np.where(np.repeat(left, 3)[:, None], [255, 0, 0], [0, 255, 128]).astype(np.uint8)
    builder = GltfBuilder()
    mesh = builder.mesh(vertices, triangles, COLOR_0=np.c_[colours, np.full(len(colours), 255, np.uint8)])
    builder.header["accessors"][1]["normalized"] = True
    builder.node(mesh=mesh)
    builder.write(path)


def textured(path: Path, picture: bytes | None = None) -> None:
    """The floor with a texture whose left half is red."""
    if picture is None:
        pixels = np.zeros((8, 16, 3), np.uint8)
        pixels[:, :8], pixels[:, 8:] = (255, 0, 0), (0, 255, 128)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        picture = stream.getvalue()
    vertices, triangles = floor()
    builder = GltfBuilder()
    mesh = builder.mesh(vertices, triangles, TEXCOORD_0=(vertices[:, :2] / [6, 4]).astype(np.float32))
    builder.header["meshes"][mesh]["primitives"][0]["material"] = 0
    builder.header["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    builder.header["textures"] = [{"source": 0}]
    builder.header["images"] = [{"bufferView": builder.view(picture), "mimeType": "image/png"}]
    builder.node(mesh=mesh)
    builder.write(path)


def basis(path: Path) -> None:
    """The floor with a texture that is Basis-compressed alone."""
    builder = GltfBuilder()
    mesh = builder.mesh(*floor())
    builder.header["meshes"][mesh]["primitives"][0]["material"] = 0
    builder.header["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    builder.header["textures"] = [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]
    builder.header["images"] = [{"bufferView": builder.view(b"ktx"), "mimeType": "image/ktx2"}]
    builder.node(mesh=mesh)
    builder.write(path)


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


def test_hm3d_objects_that_cannot_be_read_are_told_and_left_out(tmp_path):
    mesh = hm3d(tmp_path, basis)
    with pytest.warns(UserWarning, match="Basis-compressed texture is not read"):
        scene = load_scene(mesh)
    assert scene.instances == ()
    assert (scene.instance_ids == NO_INSTANCE).all()
    textured(mesh.with_name("TEEsavR23oF.semantic.glb"), b"no picture")
    with pytest.raises(FileError, match="texture of it cannot be read"):
        load_scene(mesh)


def test_hm3d_without_annotations(tmp_path):
    scene = load_scene(hm3d(tmp_path))
    assert scene.instances == ()
    np.testing.assert_allclose(scene.bounds, WORLD, atol=1e-6)


# ---------------------------------------------------------------- Matterport3D

HOUSE = """ASCII 1.1
H 17DRP5sb8fy 17DRP5sb8fy 0 0 0 0 0 3 2 2 0 1  0 0 0 0 0  0 0 0 6 4 3  0 0 0 0 0
L 0 2 l  0 0 0  0 0 0 6 4 3  0 0 0 0 0
R 0 0 0 0 b  1.5 2 0  0 0 0 3 4 2.5  2.5 0 0 0 0
R 1 0 0 0 k  4.5 2 0  3 0 0 6 4 2.5  2.5 0 0 0 0
C 0 11 king#size#bed 11 bed 0 0 0 0 0
C 1 3 chest 13 chest_of_drawers 0 0 0 0 0
O 5 0 0 1.5 2 0  1 0 0 0 1 0  1 1 1  0 0 0 0 0 0 0 0
O 9 1 1 4.5 2 0  1 0 0 0 1 0  1 1 1  0 0 0 0 0 0 0 0
O 7 -1 -1 4.5 2 0  1 0 0 0 1 0  1 1 1  0 0 0 0 0 0 0 0
E 0 5 0 1  0 0 0  0 0 0 0 0 0  0 0 0 0 0
"""


def mp3d(root: Path, config: dict | None = None) -> Path:
    mesh = write_floor(root / "mp3d" / "17DRP5sb8fy" / "17DRP5sb8fy.glb")
    mesh.with_suffix(".house").write_text(HOUSE)
    vertices, triangles = floor()
    write_ply(mesh.with_name("17DRP5sb8fy_semantic.ply"), vertices, triangles, sides(triangles, vertices))
    if config is not None:
        config = {"stages": {"default_attributes": config, "paths": {".glb": ["*/*.glb"]}}}
        (root / "mp3d" / "mp3d.scene_dataset_config.json").write_text(json.dumps(config))
    return mesh


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


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text.replace("C 0 11 king#size#bed 11 bed 0 0 0 0 0", "C 0 11"), "line 6"),
        (lambda text: text.replace("O 5 0 0", "O 5 0 8"), "category 8"),
        (lambda text: text.replace("O 5 0 0", "O 5 x 0"), "line 8"),
        (lambda text: text.replace("ASCII 1.1", "ASCII 2.0"), "no semantic description"),
        (lambda text: text.replace("0 0 0 3 4 2.5", "0 0 nan 3 4 2.5"), "line 4"),
    ],
)
def test_damaged_houses_are_named(tmp_path, change, complaint):
    path = mp3d(tmp_path).with_suffix(".house")
    path.write_text(change(HOUSE))
    with pytest.raises(FileError, match=complaint) as caught:
        load_scene(path.with_suffix(".glb"))
    assert "17DRP5sb8fy.house" in str(caught.value)


# ---------------------------------------------------------------- Gibson, Replica


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


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"objects": [{"id": "5", "class_": "bed"}]}', "object 0"),
        ('{"objects": [{"id": 5}]}', "class_"),
        ('{"classes": [{"id": 1}]}', "name"),
        ('{"classes": [], "objects": [{"id": 1}]}', "class_id"),
        ("{}", "no semantic description"),
        ('HM3D Semantic Annotations\n1,GG0000,"sofa",0', "line 2"),
        ('HM3D Semantic Annotations\n1,FF0000,"sofa"', "line 2"),
        ('HM3D Semantic Annotations\n1,FF0000,"sofa",0\n1,FF0001,"sofa",0', "line 3"),
    ],
)
def test_damaged_descriptions_are_named(tmp_path, text, complaint):
    path = tmp_path / "house.scn"
    path.write_text(text)
    with pytest.raises(FileError, match=complaint) as caught:
        read_annotations(path)
    assert "house.scn" in str(caught.value)


# ---------------------------------------------------------------- configurations


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


# ---------------------------------------------------------------- HSSD


def hssd(root: Path, **changes) -> Path:
    """A composed scene: a floor, two boxes of one template, one of them turned and stretched."""
    home = root / "hssd-hab"
    write_floor(home / "stages" / "102.glb", z_up=False)
    stage = {"render_asset": "102.glb", "up": [0, 1, 0], "front": [0, 0, -1]}
    (home / "stages" / "102.stage_config.json").write_text(json.dumps(stage))
    builder = GltfBuilder()
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 2], [0, 0, 2], [0, 3, 0]])
    builder.node(mesh=builder.mesh(vertices, [[0, 3, 2], [0, 2, 1], [0, 1, 4]]))
    builder.write(home / "objects" / "a" / "aaaa.glb")
    template = {"render_asset": "aaaa.glb", "semantic_id": 4}
    (home / "objects" / "a" / "aaaa.object_config.json").write_text(json.dumps(template))
    config = {
        "stages": {"paths": {".json": ["stages"]}},
        "objects": {"paths": {".json": ["objects/*"]}},
        "scene_instances": {"paths": {".json": ["scenes"]}},
    }
    (home / "hssd-hab.scene_dataset_config.json").write_text(json.dumps(config))
    (home / "semantics" / "scenes").mkdir(parents=True)
    lexicon = {"classes": [{"id": 4, "name": "potted_plant"}]}
    (home / "semantics" / "hssd-hab_semantic_lexicon.json").write_text(json.dumps(lexicon))
    region = {"name": "den", "label": "living room", "floor_height": 0.0}
    region["poly_loop"] = [[0, 0, 0], [6, 0, 0], [6, 0, -4], [0, 0, -4]]
    (home / "semantics" / "scenes" / "102.semantic_config.json").write_text(
        json.dumps({"region_annotations": [region]})
    )
    half = float(np.sqrt(0.5))
    scene = {
        "translation_origin": "asset_local",
        "stage_instance": {"template_name": "stages/102"},
        "object_instances": [
            {"template_name": "aaaa", "translation": [1, 0, -2]},
            {
                "template_name": "aaaa",
                "translation": [4, 0, -2],
                "rotation": [half, 0, half, 0],
                "non_uniform_scale": [2, 1, 1],
            },
            {"template_name": "objects/a/aaaa", "translation": [3, 5, -2], "translation_origin": "COM"},
        ],
        **changes,
    }
    path = home / "scenes" / "102.scene_instance.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(scene))
    return path


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


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"stage_instance": None}, "stage_instance"),
        ({"stage_instance": {"template_name": "stages/103"}}, "no stage 'stages/103'"),
        ({"object_instances": [{"template_name": "bbbb"}]}, "no object 'bbbb'"),
        ({"object_instances": [{"translation": [0, 0, 0]}]}, r"object_instances\[0\].*template_name"),
        ({"object_instances": [{"template_name": "aaaa", "rotation": [0, 0, 0, 0]}]}, "rotation"),
        ({"object_instances": [{"template_name": "aaaa", "translation": [0, "x", 0]}]}, "translation"),
        ({"object_instances": 3}, "list"),
    ],
)
def test_damaged_scene_instances_are_named(tmp_path, changes, complaint):
    with pytest.raises(FileError, match=complaint):
        load_scene(hssd(tmp_path, **changes))


# ---------------------------------------------------------------- damage


def flipped(path: Path, load, count: int = 150) -> None:
    """Whatever one byte becomes, the file is read, refused by name or told to be unreadable."""
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    refusals = []
    for place in rng.choice(len(data), min(count, len(data)), replace=False):
        changed = bytearray(data)
        changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            load()
        except UserError as error:
            refusals.append(str(error))
    assert all(refusals)
    path.write_bytes(data)


@pytest.mark.filterwarnings("ignore:.*the scene is used without its objects")
def test_flipped_bytes_in_annotations_never_crash(tmp_path):
    mesh = hm3d(tmp_path, textured)
    for name in (
        "TEEsavR23oF.semantic.glb",
        "TEEsavR23oF.semantic.txt",
        "../../hm3d_basis.scene_dataset_config.json",
    ):
        flipped(mesh.parent / name, lambda: load_scene(mesh))
    house = mp3d(tmp_path)
    for name in ("17DRP5sb8fy_semantic.ply", "17DRP5sb8fy.house"):
        flipped(house.parent / name, lambda: load_scene(house))
    composed = hssd(tmp_path)
    flipped(composed, lambda: load_scene(composed))
    flipped(composed.parents[1] / "objects" / "a" / "aaaa.object_config.json", lambda: load_scene(composed))
    flipped(
        composed.parents[1] / "semantics" / "scenes" / "102.semantic_config.json",
        lambda: load_scene(composed),
    )


@pytest.mark.parametrize("ascii_text", [False, True])
def test_flipped_bytes_in_polygons_never_crash(tmp_path, ascii_text):
    path = write_ply(tmp_path / "a.ply", *floor(), sides(floor()[1], floor()[0]), ascii_text=ascii_text)
    flipped(path, lambda: load_scene(path), 300)


# ---------------------------------------------------------------- listing


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
