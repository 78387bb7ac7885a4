"""Digests of scenes: all that a composed scene is put together from counts, what it does not use does not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import trimesh

from envs.scene_digests import scene_digests
from envs.scenes.mesh import load_scene


def composed(home: Path) -> Path:
    """A scene of a stage and two chairs, in a folder as HSSD keeps them, with one more object that it leaves out."""
    for name, size in (("stages/hall", 5.0), ("objects/chair", 1.0), ("objects/sofa", 2.0)):
        path = home / f"{name}.glb"
        path.parent.mkdir(parents=True, exist_ok=True)
        trimesh.creation.box((size, size, size)).export(path)
    (home / "objects" / "chair.object_config.json").write_text(json.dumps({"render_asset": "chair.glb"}))
    (home / "set.scene_dataset_config.json").write_text("{}")
    (home / "semantics").mkdir()
    (home / "semantics" / "objects.csv").write_text("id,main_category\nchair,chair\n")
    scene = {
        "stage_instance": {"template_name": "stages/hall"},
        "object_instances": [
            {"template_name": "chair"},
            {"template_name": "chair", "translation": [1, 0, 0]},
        ],
    }
    path = home / "scenes" / "one.scene_instance.json"
    path.parent.mkdir()
    path.write_text(json.dumps(scene))
    return path


def test_all_parts_of_a_composed_scene_count(tmp_path: Path) -> None:
    path = composed(tmp_path)

    def digest() -> str | None:
        return scene_digests(["one"], lambda _: path)["one"]

    before = digest()
    assert before is not None
    changes = [
        "objects/chair.glb",
        "stages/hall.glb",
        "objects/chair.object_config.json",
        "semantics/objects.csv",
    ]
    for name in changes:
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content + b" ")
        assert digest() not in (before, None), f"{name} has changed and the digest has not"
        (tmp_path / name).write_bytes(content)
        assert digest() == before
    (tmp_path / "objects" / "sofa.glb").write_bytes(b"the scene does not use it")
    assert digest() == before
    (tmp_path / "objects" / "chair.glb").unlink()
    assert digest() is None


def test_buffers_whose_names_are_quoted_count(tmp_path: Path) -> None:
    path = tmp_path / "my room.gltf"
    files = trimesh.exchange.gltf.export_gltf(trimesh.Scene(trimesh.creation.box((1, 1, 1))))
    tree = json.loads(files.pop("model.gltf"))
    for buffer in tree["buffers"]:
        (tmp_path / f"my {buffer['uri']}").write_bytes(files[buffer["uri"]])
        buffer["uri"] = f"my%20{buffer['uri']}"
    path.write_text(json.dumps(tree))
    assert len(load_scene(path).triangles) == 12

    def digest() -> str | None:
        return scene_digests(["one"], lambda _: path)["one"]

    before = digest()
    assert before is not None
    buffer = next(tmp_path.glob("my *.bin"))
    buffer.write_bytes(buffer.read_bytes()[::-1])
    assert digest() not in (before, None)


def test_any_file_name_has_a_digest(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.glb")  # as a Latin-1 disk hands it out
    trimesh.creation.box((1, 1, 1)).export(tmp_path / "a.glb")
    (tmp_path / "a.glb").rename(path)
    assert scene_digests(["one"], lambda _: path)["one"] is not None
