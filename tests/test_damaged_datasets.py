"""Damaged data sets of scenes: what is wrong is named, objects that cannot be read are told, and no byte crashes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_examples import HOUSE, floor, hm3d, hssd, mp3d, sides, textured, write_ply
from gltf_examples import GltfBuilder

from envs.scenes.datasets.annotations import read_annotations
from envs.scenes.mesh import load_scene
from envs.scenes.scene import NO_INSTANCE
from poma3d.errors import FileError, UserError


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


def test_hm3d_objects_that_cannot_be_read_are_told_and_left_out(tmp_path):
    mesh = hm3d(tmp_path, basis)
    with pytest.warns(UserWarning, match="Basis-compressed texture is not read"):
        scene = load_scene(mesh)
    assert scene.instances == ()
    assert (scene.instance_ids == NO_INSTANCE).all()
    textured(mesh.with_name("TEEsavR23oF.semantic.glb"), b"no picture")
    with pytest.raises(FileError, match="texture of it cannot be read"):
        load_scene(mesh)


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


@pytest.mark.filterwarnings("ignore::poma3d.errors.SceneWarning")  # a flipped byte may make a tower
@pytest.mark.parametrize("ascii_text", [False, True])
def test_flipped_bytes_in_polygons_never_crash(tmp_path, ascii_text):
    path = write_ply(tmp_path / "a.ply", *floor(), sides(floor()[1], floor()[0]), ascii_text=ascii_text)
    flipped(path, lambda: load_scene(path), 300)
