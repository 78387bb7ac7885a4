"""One floor with two objects in the layouts of the published data sets: HM3D, Matterport3D, HSSD and their files."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
from gltf_examples import GltfBuilder, grid
from PIL import Image
from walkable_examples import navmesh_of

from envs.simulators.walkable.detour_file import write_navmesh

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
    """The floor as a .glb, whose textures are said to be Basis-compressed as HM3D's are."""
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
    """One building of Matterport3D in its layout, with a configuration of the data set where one is given."""
    mesh = write_floor(root / "mp3d" / "17DRP5sb8fy" / "17DRP5sb8fy.glb")
    mesh.with_suffix(".house").write_text(HOUSE)
    vertices, triangles = floor()
    write_ply(mesh.with_name("17DRP5sb8fy_semantic.ply"), vertices, triangles, sides(triangles, vertices))
    if config is not None:
        config = {"stages": {"default_attributes": config, "paths": {".glb": ["*/*.glb"]}}}
        (root / "mp3d" / "mp3d.scene_dataset_config.json").write_text(json.dumps(config))
    return mesh


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
