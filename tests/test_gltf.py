"""glTF files: the order of the tree, every way to store numbers, compression, and damage."""

from __future__ import annotations

import base64
import json
import sys

import numpy as np
import pytest
from gltf_examples import TRIANGLE, GltfBuilder

from envs.scenes.gltf import GltfFile
from envs.scenes.mesh import load_scene
from poma3d.errors import FileError, UserError


def at(x: float) -> list[float]:
    return [x, 0, 0]


def test_meshes_come_depth_first_whatever_they_are_called(tmp_path):
    """z has a mesh and children; the names would sort otherwise."""
    builder = GltfBuilder()
    mesh = builder.mesh()
    leaf = builder.node(root=False, name="m", mesh=mesh, translation=at(1))
    inner = builder.node(root=False, name="y", children=[leaf], translation=at(10))
    second = builder.node(root=False, name="b", mesh=mesh, translation=at(2))
    builder.node(name="z", mesh=mesh, children=[inner, second], translation=at(100))
    builder.node(name="a", mesh=mesh)
    parts = list(GltfFile(builder.write(tmp_path / "tree.glb")).parts())
    assert [part.node for part in parts] == ["z", "m", "b", "a"]
    assert [part.matrix[0, 3] for part in parts] == [100, 111, 102, 0]
    scene = load_scene(tmp_path / "tree.glb")
    assert scene.vertices[scene.triangles[:, 0], 0].tolist() == [100, 111, 102, 0]


def test_repeated_and_missing_names_are_told_apart(tmp_path):
    builder = GltfBuilder()
    mesh = builder.mesh()
    for name in ("sofa", "sofa_1", "sofa", "sofa", ""):
        builder.node(name=name, mesh=mesh)
    names = [part.node for part in GltfFile(builder.write(tmp_path / "n.glb")).parts()]
    assert names[:2] == ["sofa", "sofa_1"]
    assert len(set(names)) == 5
    assert names[4] == "node_4"
    again = [part.node for part in GltfFile(tmp_path / "n.glb").parts()]
    assert again == names
    assert {i.category for i in load_scene(tmp_path / "n.glb").instances} == {"sofa"}


def test_a_node_of_translation_rotation_and_scale(tmp_path):
    builder = GltfBuilder()
    half = np.sqrt(0.5)
    builder.node(mesh=builder.mesh(), translation=[1, 2, 3], rotation=[0, 0, half, half], scale=[2, 3, 4])
    matrix = np.array([[0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]], float)
    builder.node(mesh=0, matrix=matrix.T.reshape(-1).tolist())
    parts = list(GltfFile(builder.write(tmp_path / "t.glb")).parts())
    # x (scaled by 2) is turned to y, y (by 3) to -x
    np.testing.assert_allclose(parts[0].matrix[:3], [[0, -3, 0, 1], [2, 0, 0, 2], [0, 0, 4, 3]], atol=1e-12)
    np.testing.assert_array_equal(parts[1].matrix, matrix)


@pytest.mark.parametrize(
    ("mode", "indices", "expected"),
    [
        (4, [0, 1, 2, 3], [[0, 1, 2]]),
        (5, [0, 1, 2, 3], [[0, 1, 2], [1, 3, 2]]),
        (6, [0, 1, 2, 3], [[1, 2, 0], [2, 3, 0]]),
        (1, [0, 1], []),
    ],
)
def test_strips_and_fans_become_triangles(tmp_path, mode, indices, expected):
    builder = GltfBuilder()
    mesh = builder.mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]), indices)
    builder.header["meshes"][mesh]["primitives"][0]["mode"] = mode
    builder.node(mesh=mesh)
    parts = list(GltfFile(builder.write(tmp_path / "m.glb")).parts())
    assert [part.triangles.tolist() for part in parts] == ([expected] if expected else [])


def test_triangles_without_indices_rows_with_gaps_and_sparse_values(tmp_path):
    builder = GltfBuilder()
    mesh = builder.mesh()
    primitive = builder.header["meshes"][mesh]["primitives"][0]
    del primitive["indices"]
    rows = np.zeros((3, 5), np.float32)
    rows[:, 1:4] = TRIANGLE
    accessor = builder.header["accessors"][primitive["attributes"]["POSITION"]]
    accessor |= {"bufferView": builder.view(rows.tobytes(), byteStride=20), "byteOffset": 4}
    indices = builder.view(np.array([2], np.uint16).tobytes())
    values = builder.view(np.array([[7, 8, 9]], np.float32).tobytes())
    accessor["sparse"] = {
        "count": 1,
        "indices": {"bufferView": indices, "componentType": 5123},
        "values": {"bufferView": values},
    }
    builder.node(mesh=mesh)
    (part,) = GltfFile(builder.write(tmp_path / "s.glb")).parts()
    np.testing.assert_array_equal(part.vertices, [[0, 0, 0], [1, 0, 0], [7, 8, 9]])
    assert part.triangles.tolist() == [[0, 1, 2]]


def test_quantised_positions_are_read(tmp_path):
    builder = GltfBuilder()
    mesh = builder.mesh()
    whole = np.array([[0, 0, 0], [32767, 0, 0], [0, -32768, 16384]], np.int16)
    position = builder.accessor(whole, normalized=True)
    builder.header["meshes"][mesh]["primitives"][0]["attributes"]["POSITION"] = position
    builder.node(mesh=mesh, scale=[2, 2, 2])
    np.testing.assert_allclose(
        load_scene(builder.write(tmp_path / "q.glb")).bounds, [[0, -2, 0], [2, 0, 1.00003]], atol=1e-5
    )


def test_buffers_beside_the_file_and_inside_its_text(tmp_path):
    body = TRIANGLE.tobytes()
    header = {
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": len(body)}],
    }
    (tmp_path / "with space.bin").write_bytes(body)
    for uri in (
        "with%20space.bin",
        "data:application/octet-stream;base64," + base64.b64encode(body).decode(),
    ):
        header["buffers"] = [{"uri": uri, "byteLength": len(body)}]
        (tmp_path / "a.gltf").write_text(json.dumps(header))
        (part,) = GltfFile(tmp_path / "a.gltf").parts()
        np.testing.assert_array_equal(part.vertices, TRIANGLE)


def loop(header):
    header["nodes"][0]["children"] = [0]


def far_child(header):
    header["nodes"][0]["children"] = [99]


def far_accessor(header):
    header["accessors"][0]["count"] = 10**9


def no_accessors(header):
    del header["accessors"]


def instancing(header):
    header["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (loop, "own ancestor"),
        (far_child, "damaged"),
        (far_accessor, "damaged"),
        (no_accessors, "damaged"),
        (instancing, "EXT_mesh_gpu_instancing"),
    ],
)
def test_damaged_descriptions_are_named(tmp_path, damage, complaint):
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh())
    damage(builder.header)
    with pytest.raises(FileError, match=complaint) as caught:
        load_scene(builder.write(tmp_path / "d.glb"))
    assert "d.glb" in str(caught.value)


@pytest.mark.filterwarnings("ignore::poma3d.errors.SceneWarning")  # a flipped byte may make a tower
def test_flipped_bytes_never_crash(tmp_path):
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(), name="sofa.00")
    data = builder.write(tmp_path / "f.glb").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.choice(len(data), 300, replace=False):
        changed = bytearray(data)
        changed[place] ^= int(rng.integers(1, 256))
        (tmp_path / "f.glb").write_bytes(changed)
        try:
            load_scene(tmp_path / "f.glb")
        except UserError:
            refused += 1
    assert 0 < refused < 300


# ---------------------------------------------------------------- compressed geometry


def draco_file(path, packed: bytes):
    builder = GltfBuilder()
    mesh = builder.mesh()
    primitive = builder.header["meshes"][mesh]["primitives"][0]
    for index in (*primitive["attributes"].values(), primitive["indices"]):
        del builder.header["accessors"][index]["bufferView"]
    extension = {"bufferView": builder.view(packed), "attributes": {"POSITION": 0}}
    primitive["extensions"] = {"KHR_draco_mesh_compression": extension}
    builder.header["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    builder.node(mesh=mesh, name="sofa.00")
    return builder.write(path)


def meshopt_file(path, vertices: bytes, indices: bytes):
    builder = GltfBuilder()
    mesh = builder.mesh()
    primitive = builder.header["meshes"][mesh]["primitives"][0]
    for index, packed, stride, mode in (
        (primitive["attributes"]["POSITION"], vertices, 12, "ATTRIBUTES"),
        (primitive["indices"], indices, 4, "TRIANGLES"),
    ):
        place = builder.header["bufferViews"][builder.view(packed)]
        view = builder.header["bufferViews"][builder.header["accessors"][index]["bufferView"]]
        count = builder.header["accessors"][index]["count"]
        view["extensions"] = {
            "EXT_meshopt_compression": {**place, "byteStride": stride, "count": count, "mode": mode}
        }
    builder.header["extensionsRequired"] = ["EXT_meshopt_compression"]
    builder.node(mesh=mesh, name="sofa.00")
    return builder.write(path)


@pytest.mark.parametrize(
    ("package", "named", "command"),
    [("DracoPy", "Draco", "blender"), ("meshoptimizer", "meshopt", "gltfpack")],
)
def test_without_a_decoder_the_commands_that_help_are_named(tmp_path, monkeypatch, package, named, command):
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / "a.glb"
    if package == "DracoPy":
        draco_file(path, b"DRACO")
    else:
        meshopt_file(path, b"\xa0", b"\xe1")
    with pytest.raises(FileError, match=rf"{named}.*pip install {package}.*{command}.*a\.plain\.glb"):
        load_scene(path)


def test_draco_is_decoded_where_its_decoder_is_installed(tmp_path):
    draco = pytest.importorskip("DracoPy")
    packed = draco.encode(TRIANGLE, np.array([[0, 1, 2]], np.uint32), quantization_bits=14)
    scene = load_scene(draco_file(tmp_path / "d.glb", packed))
    assert {tuple(v) for v in scene.vertices.round(3).tolist()} == {tuple(v) for v in TRIANGLE.tolist()}
    with pytest.raises(FileError, match="Draco buffer is damaged"):
        load_scene(draco_file(tmp_path / "d.glb", packed[:20]))


def test_meshopt_is_decoded_where_its_decoder_is_installed(tmp_path):
    meshopt = pytest.importorskip("meshoptimizer")
    vertices = meshopt.encode_vertex_buffer(TRIANGLE, 3, 12)
    indices = meshopt.encode_index_buffer(np.array([0, 1, 2], np.uint32), 3, 3)
    scene = load_scene(meshopt_file(tmp_path / "m.glb", bytes(vertices), bytes(indices)))
    np.testing.assert_array_equal(scene.vertices[scene.triangles[0]], TRIANGLE)
    with pytest.raises(FileError, match="meshopt buffer is damaged"):
        load_scene(meshopt_file(tmp_path / "m.glb", bytes(vertices)[:5], bytes(indices)))
