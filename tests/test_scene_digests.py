"""Digests of scenes: all that a composed scene is put together from counts, what it does not use does not."""

from __future__ import annotations

import json
from pathlib import Path

import trimesh

from benchmarks.scene_digests import scene_digests


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
