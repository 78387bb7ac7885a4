"""Export of scenes: what is written is what the simulator sees, is said truly, and goes on where it was stopped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.scenepoint_export import ExportSettings, export_scene, export_scenes, rooms_of
from envs.scenepoint_export.export import scan_id_of
from envs.scenepoint_export.sightings import Boxes, Sighting, ViewFacts, look
from envs.scenepoint_export.view_sentences import view_captions
from envs.scenepoint_export.views import HEIGHTS, choose_cameras
from envs.scenepoint_export.words import a, enumerate_all, metres, plural, sentence
from envs.scenes.houses import house
from envs.scenes.mesh import save_scene
from envs.scenes.room_scene import room_scene, split_room
from envs.scenes.scene import Instance, Scene
from envs.simulators.raycast import RaycastSimulator
from poma3d.errors import SceneError, SettingError
from poma3d.pointmap import Camera, Frame, frame_from_world, invert, transform_points
from poma3d.scenepoint import DataSettings, SceneLoader, ScenePointDataset, check_scenepoint
from poma3d.scenepoint.captions import ViewCaptions, read_retrieval, read_scene_captions
from poma3d.scenepoint.coverage import coverage
from poma3d.scenepoint.folder import retrieval_path, scene_captions_path, view_captions_path
from poma3d.scenepoint.scene_file import SceneFile
from pomagym.main import main

HOUSE = "procedural:test:0005"
SMALL = ExportSettings(views=6, size=40, candidates=40)
CAMERA = Camera(40, 40, 90.0)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exported")
    (done,) = export_scenes([HOUSE], root, SMALL)
    assert done.problem == ""
    assert done.size == Path(done.path).stat().st_size
    return root


@pytest.fixture(scope="module")
def file(exported: Path) -> SceneFile:
    return SceneFile(exported / "light_procedural/procedural_test_0005.safetensors")


# --- geometry and labels ----------------------------------------------------------------------------------------


def test_points_and_labels_are_what_the_simulator_sees(file: SceneFile) -> None:
    scene = house(HOUSE)
    views = file.read(labels=True)
    to_scene = frame_from_world(Frame.SCENE)
    body = np.diag([1.0, -1.0, -1.0, 1.0])
    poses = invert(to_scene) @ views.scene_from_camera.astype(float) @ body
    with RaycastSimulator(scene) as simulator:
        seen = simulator.render(
            poses, CAMERA, frame_from_world=to_scene, depth_range=(0.0, 10.0), instances=True
        )
    assert (seen.valid == views.valid).mean() > 0.999  # poses are stored as float32
    both = seen.valid & views.valid
    off = np.linalg.norm(seen.point_map - views.point_map, axis=-1)[both]
    assert (off < 1e-3).mean() > 0.999
    names = np.array([*(instance.category for instance in scene.instances), ""])
    stored = np.array([*file.words.categories, ""])
    assert (names[seen.instance_ids[both]] == stored[views.category_ids[both]]).mean() > 0.999
    assert (views.category_ids[~views.valid] == -1).all()
    np.testing.assert_allclose(views.intrinsics, np.broadcast_to(CAMERA.intrinsics, (6, 3, 3)), rtol=1e-6)


def test_cameras_stand_on_the_floor_and_cover_the_scene() -> None:
    rng = np.random.default_rng(1)
    with RaycastSimulator(house(HOUSE)) as simulator:
        poses = choose_cameras(simulator, 10, 120, 90.0, (0.0, 10.0), rng)
        feet = poses[:, :3, 3].copy()
        feet[:, 1] = 0.1
        assert simulator.surface.is_navigable(feet).all()
        assert (poses[:, 1, 3] >= HEIGHTS[0]).all()
        assert (poses[:, 1, 3] <= HEIGHTS[1] + 0.3).all()
        np.testing.assert_allclose(invert(poses) @ poses, np.tile(np.eye(4), (10, 1, 1)), atol=1e-12)
        assert np.abs(poses[:, 1, 0]).max() < 1e-9  # no roll: the camera's right is level
        down = np.degrees(np.arcsin(-poses[:, 1, 2]))  # the look direction is -z of the body
        assert -35.1 <= down.min() < down.max() <= 35.1
        some = choose_cameras(simulator, 40, 40, 90.0, (0.0, 10.0), rng)  # what chance gives

        def cover(poses: np.ndarray, count: int) -> float:
            seen = simulator.render(
                np.concatenate([poses, some]), Camera(32, 32, 90.0), depth_range=(0.0, 10.0)
            )
            points = [seen.point_map[i][seen.valid[i]] for i in range(len(seen.valid))]
            return coverage(points, range(count))

        assert cover(poses, 10) > cover(some[rng.permutation(40)[:10]], 10)


def test_room_types_are_those_of_the_rooms_looked_at(file: SceneFile) -> None:
    scene = house(HOUSE)
    views = file.read(labels=True)
    assert file.words.room_types == tuple(sorted({room.category for room in scene.rooms}))
    world = transform_points(invert(frame_from_world(Frame.SCENE)), views.point_map.astype(float))
    for view in range(6):
        inside = {}
        flat = world[view][views.valid[view]][:, [0, 2]]
        for room in scene.rooms:
            low, high = room.outline.min(axis=0), room.outline.max(axis=0)
            here = ((flat > low - 0.05) & (flat < high + 0.05)).all(axis=1).sum()
            inside[room.category] = inside.get(room.category, 0) + here
        said = file.words.room_types[views.room_type_ids[view]]
        assert inside[said] >= 0.5 * max(inside.values())


def test_half_size_and_no_pictures(tmp_path: Path, file: SceneFile) -> None:
    settings = ExportSettings(views=6, size=40, candidates=40, half=True, images=False)
    export_scene(house(HOUSE), tmp_path, settings)
    half = SceneFile(tmp_path / "light_procedural/procedural_test_0005.safetensors")
    assert "color_images" not in half.keys
    assert half.path.stat().st_size < 0.6 * file.path.stat().st_size
    np.testing.assert_allclose(half.read().point_map, file.read().point_map, atol=4e-3)


# --- words ------------------------------------------------------------------------------------------------------


def test_english() -> None:
    assert [a(word) for word in ("armchair", "bed", "tv_stand", "kitchen utensils")] == [
        "an armchair",
        "a bed",
        "a TV stand",
        "some kitchen utensils",
    ]
    several = [
        plural(word)
        for word in ("bookshelf", "bench", "tv", "toy chest", "trolley", "body", "elevator_01_door")
    ]
    assert several == ["bookshelves", "benches", "TVs", "toy chests", "trolleys", "bodies", "elevator doors"]
    assert enumerate_all(["x", "y", "z"]) == "x, y and z"
    assert sentence("a bed") == "A bed."
    assert [metres(d) for d in (0.3, 1.2, 2.6)] == [
        "less than a metre",
        "about a metre",
        "about three metres",
    ]


def boxes_scene(boxes: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]) -> Scene:
    """A scene of boxes by category: (lowest corner, highest corner), y up."""
    import trimesh

    meshes = [trimesh.creation.box(bounds=np.array(bounds)) for bounds in boxes.values()]
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Scene(
        "boxes",
        np.concatenate([mesh.vertices for mesh in meshes]).astype(np.float32),
        np.concatenate([mesh.faces + o for mesh, o in zip(meshes, offsets, strict=False)]).astype(np.int32),
        np.repeat(np.arange(len(meshes)), [len(mesh.faces) for mesh in meshes]).astype(np.int32),
        tuple(Instance(f"{name}.00", name) for name in boxes),
    )


def test_relations_hold_in_the_scene() -> None:
    scene = boxes_scene(
        {
            "table": ((0, 0, 0), (1, 0.7, 1)),
            "cup": ((0.4, 0.7, 0.4), (0.5, 0.8, 0.5)),
            "lamp": ((0.3, 1.5, 0.3), (0.7, 1.8, 0.7)),
            "chair": ((1.2, 0, 0.2), (1.7, 0.9, 0.7)),
            "bed": ((4, 0, 0), (6, 0.6, 2)),
        }
    )
    boxes = Boxes(scene)
    names = [instance.category for instance in scene.instances]
    said = {(names[one], relation, names[other]) for one, relation, other in boxes.relations(range(5))}
    assert said == {
        ("cup", "on", "table"),
        ("lamp", "above", "table"),
        ("lamp", "above", "cup"),
        ("table", "next to", "chair"),
        ("chair", "next to", "table"),
    }
    np.testing.assert_allclose(boxes.low[3], (1.2, 0, 0.2), atol=1e-6)
    np.testing.assert_allclose(boxes.high[3], (1.7, 0.9, 0.7), atol=1e-6)


def test_sightings_say_where_and_how_far() -> None:
    scene = boxes_scene({"sofa": ((0, 0, 0), (1, 1, 1)), "wall": ((2, 0, 0), (3, 1, 1))})
    points = np.zeros((1, 10, 20, 3), np.float32)
    points[..., 2] = 3.0
    ids = np.ones((1, 10, 20), np.int32)
    ids[0, :, :5] = 0
    (facts,) = look(scene, points, np.ones((1, 10, 20), bool), ids, np.array([[0.0, 4.0, 3.0]]))
    (sofa,) = facts.sightings  # a wall is no thing
    assert (sofa.category, sofa.side) == ("sofa", "left")
    assert sofa.share == pytest.approx(0.25)
    assert sofa.column == pytest.approx(0.125)
    assert sofa.distance == pytest.approx(4.0)
    assert facts.room is None


def test_captions_speak_only_of_what_is_seen(exported: Path, file: SceneFile) -> None:
    captions = ViewCaptions(view_captions_path(exported, "procedural"))
    views = file.read(labels=True)
    words = {word for name in file.words.categories for word in name.split()}
    for view, texts in enumerate(captions.utterances(file.path.stem, range(6))):
        assert len(texts) == 5
        seen = {file.words.categories[i] for i in np.unique(views.category_ids[view]) if i >= 0}
        room = file.words.room_types[views.room_type_ids[view]]
        allowed = {word for name in seen for word in name.split()} | set(room.split())
        for text in texts:
            said = set(re.findall(r"\w+", text.lower())) & words
            assert said <= allowed | {"wall", "floor", "stand", "side"}, text


def test_captions_vary_with_the_seed_and_repeat_with_it() -> None:
    seen = tuple(
        Sighting(i, name, 0.2 - 0.02 * i, 0.2 + 0.3 * i, 2.0 + i)
        for i, name in enumerate(("bed", "desk", "chair"))
    )
    facts = ViewFacts("bedroom", seen, 3.0)
    boxes = Boxes(
        boxes_scene({name: ((i, 0, 0), (i + 0.5, 1, 1)) for i, name in enumerate(("bed", "desk", "chair"))})
    )
    assert view_captions(facts, boxes, 1) == view_captions(facts, boxes, 1)
    texts = {text for seed in range(100) for text in view_captions(facts, boxes, seed)}
    assert len(texts) > 200  # of 500
    assert all(text == " ".join(text.split()) and "{" not in text for text in texts)
    empty = view_captions(ViewFacts(None, (), 3.0), boxes, 1)
    assert len(set(empty)) == 5


def test_scene_captions_and_queries(exported: Path, file: SceneFile) -> None:
    scene = house(HOUSE)
    scan = file.path.stem
    captions = read_scene_captions(scene_captions_path(exported))[scan]
    assert len(captions) == 10
    rooms = {room.category for room in scene.rooms}
    assert all(any(room in text.lower() for room in rooms) for text in captions)
    queries = read_retrieval(retrieval_path(exported, "procedural"))
    assert {query.scan_id for query in queries} == {scan}
    assert len({query.utterance for query in queries}) == 10
    assert all(query.view_ground_truth and max(query.view_ground_truth) < 6 for query in queries)


# --- many scenes ------------------------------------------------------------------------------------------------


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def test_any_number_of_workers_and_any_stop_give_the_same_files(tmp_path: Path) -> None:
    scenes = [f"procedural:test:000{i}" for i in range(3)]
    tiny = ExportSettings(views=3, size=16, candidates=12)
    export_scenes(scenes, tmp_path / "one", tiny)
    export_scenes(scenes, tmp_path / "two", tiny, workers=2)
    assert tree(tmp_path / "two") == tree(tmp_path / "one")

    def stop(scene) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_scenes(scenes, tmp_path / "stopped", tiny, on_scene=stop)
    assert len(list((tmp_path / "stopped").rglob("*.safetensors"))) == 1
    assert check_scenepoint(tmp_path / "stopped").ok  # what is finished can be used
    done = export_scenes(scenes, tmp_path / "stopped", tiny)
    assert [scene.seconds == 0 for scene in done] == [True, False, False]
    assert tree(tmp_path / "stopped") == tree(tmp_path / "one")
    lost = tmp_path / "stopped/light_procedural/procedural_test_0001.safetensors"
    lost.unlink()
    export_scenes(scenes, tmp_path / "stopped", tiny)
    assert tree(tmp_path / "stopped") == tree(tmp_path / "one")


def test_captions_of_a_killed_export_wait_for_their_source(tmp_path: Path) -> None:
    first, second = "procedural:test:0000", "procedural:test:0001"
    tiny = ExportSettings(views=3, size=16, candidates=12)
    export_scene(house(first), tmp_path, tiny, source="left")  # as a kill leaves it: nothing is joined
    export_scenes([second], tmp_path, tiny, source="other")
    assert ViewCaptions(view_captions_path(tmp_path, "other")).views(scan_id_of(second)) == [0, 1, 2]
    (done,) = export_scenes([first], tmp_path, tiny, source="left")
    assert done.seconds == 0, "its scene and its captions were there"
    assert set(read_scene_captions(scene_captions_path(tmp_path))) == {scan_id_of(first), scan_id_of(second)}
    assert set(ViewCaptions(view_captions_path(tmp_path, "left"))) == {scan_id_of(first)}
    assert not list(tmp_path.rglob(".parts"))


def test_other_settings_do_not_mix(exported: Path) -> None:
    with pytest.raises(SettingError, match="other settings"):
        export_scenes([HOUSE], exported, ExportSettings(views=6, size=44, candidates=40))


def test_a_house_and_its_rooms_do_not_mix(exported: Path) -> None:
    rooms = rooms_of(HOUSE)
    with pytest.raises(SettingError, match=f"holds {HOUSE} and would hold {rooms[0]}"):
        export_scenes(rooms, exported, SMALL)


def test_training_reads_an_export(exported: Path) -> None:
    dataset = ScenePointDataset(exported, DataSettings(views=8, size=20, labels=True, images=True))
    batch = next(iter(SceneLoader(dataset, 2)))
    assert batch.point_map.shape == (2, 8, 20, 20, 3)
    assert all(caption for texts in batch.view_captions for caption in texts)
    assert batch.semantics.max() < len(dataset.categories)
    assert check_scenepoint(exported).problems == ()


def test_a_scene_that_cannot_be_exported_is_reported(tmp_path: Path) -> None:
    tower = boxes_scene({"post": ((0, 0, 0), (0.2, 3, 0.2))})
    with pytest.raises(SceneError):
        export_scene(tower, tmp_path / "x", SMALL)
    save_scene(tower, tmp_path / "tower.glb")
    done = export_scenes([str(tmp_path / "tower.glb"), HOUSE], tmp_path / "out", SMALL)
    assert done[0].problem
    assert done[1].problem == ""
    assert check_scenepoint(tmp_path / "out").ok


def test_a_room_is_what_belongs_to_it() -> None:
    scene = house(HOUSE)
    for room in scene.rooms:
        alone = room_scene(scene, room.name)
        assert alone.scene_id == f"{HOUSE}#{room.name}"
        assert alone.rooms == (room,)
        assert {instance.room for instance in alone.instances} == {room.name}
        for number, instance in enumerate(alone.instances):
            whole = scene.instances.index(instance)
            np.testing.assert_array_equal(
                np.unique(alone.vertices[alone.triangles[alone.instance_ids == number]], axis=0),
                np.unique(scene.vertices[scene.triangles[scene.instance_ids == whole]], axis=0),
            )
        low, high = alone.bounds[:, [0, 2]]
        assert (low > room.outline.min(axis=0) - 1.0).all()  # doors open to the other side
        assert (high < room.outline.max(axis=0) + 1.0).all()
    with pytest.raises(SceneError, match="no room 'cellar'; its rooms are"):
        room_scene(scene, "cellar")


def test_rooms_are_scenes_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, flags = tmp_path / "rooms", ["--views", "3", "--size", "16", "--candidates", "12", "--workers", "1"]
    assert main(["scenes", "export", HOUSE, "--by-room", "--out", str(out), *flags, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    rooms = house(HOUSE).rooms
    assert facts["scenes"] + len(facts["problems"]) == len(rooms) == len(rooms_of(HOUSE))
    captions = read_scene_captions(scene_captions_path(out))
    assert len(captions) == facts["scenes"] > 2
    kind_of = {scan_id_of(f"{HOUSE}#{room.name}"): room.category for room in rooms}
    for scan_id, texts in captions.items():
        for text in texts:
            named = {kind for kind in kind_of.values() if re.search(rf"\b{kind}\b", text.lower())}
            assert named == {kind_of[scan_id]}
    assert {query.scan_id for query in read_retrieval(retrieval_path(out, "procedural"))} == set(captions)
    assert main(["scenes", "export", HOUSE, "--out", str(out), *flags]) == 2
    assert f"would hold {HOUSE}, one scene whole and by room: choose" in capsys.readouterr().err
    mesh = tmp_path / "post.glb"  # a format without rooms
    save_scene(boxes_scene({"post": ((0, 0, 0), (0.2, 3, 0.2))}), mesh)
    assert main(["scenes", "export", str(mesh), HOUSE, "--by-room", "--out", str(out), *flags, "--json"]) == 2
    told = capsys.readouterr()
    assert "does not know its rooms" in told.err
    after = json.loads(told.out)
    assert after["scenes"] == facts["scenes"]  # the house's are there all the same
    assert set(after["problems"]) == {str(mesh), *facts["problems"]}


def test_a_room_too_small_to_stand_in_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--views", "2", "--size", "16", "--candidates", "8", "--workers", "1", "--json"]
    house_id = "procedural:train:0001"
    assert main(["scenes", "export", house_id, "--by-room", "--out", str(tmp_path), *flags]) == 0
    told = capsys.readouterr()
    assert "1 of 8 rooms were left out" in told.err
    assert list(json.loads(told.out)["problems"]) == [f"{house_id}#bathroom.00"]


def test_a_mark_in_the_name_of_a_file_is_no_room(tmp_path: Path) -> None:
    (tmp_path / "flat#2.glb").touch()
    assert split_room(str(tmp_path / "flat#2.glb")) == (str(tmp_path / "flat#2.glb"), None)
    assert split_room(f"{tmp_path}/flat#2.glb#hall.00") == (f"{tmp_path}/flat#2.glb", "hall.00")
    assert split_room(f"{tmp_path}/flat#2.glb#unit #4") == (f"{tmp_path}/flat#2.glb", "unit #4")
    (tmp_path / "flat").mkdir()
    assert split_room(f"{tmp_path}/flat#2.glb#hall.00") == (f"{tmp_path}/flat#2.glb", "hall.00")
    assert split_room("procedural:val:0007#bedroom.00") == ("procedural:val:0007", "bedroom.00")
    assert scan_id_of("procedural:val:0007#living room.00") == "procedural_val_0007_living_room.00"


def test_scenes_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="both be called house"):
        export_scenes(["a/house.glb", "b/house.glb"], tmp_path, SMALL)


@given(st.from_regex(r"procedural:(train|val|test):0[0-9]{3,5}", fullmatch=True))
def test_names_are_fit_for_files(scene_id: str) -> None:
    assert re.fullmatch(r"procedural_(train|val|test)_0\d+", scan_id_of(scene_id))


@pytest.mark.parametrize(
    ("field", "value"), [("views", 0), ("size", 0), ("hfov", 180.0), ("farthest", 0.0), ("seed", -1)]
)
def test_settings_out_of_range(field: str, value: float) -> None:
    with pytest.raises(SettingError, match=field):
        ExportSettings(**{field: value})


def test_the_command_exports_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "data")
    flags = ["--views", "3", "--size", "16", "--candidates", "12", "--workers", "1"]
    assert main(["scenes", "export", HOUSE, "--out", out, *flags, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scenes"] == 1
    assert main(["scenes", "check", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["views"] == 3
    assert main(["scenes", "export", "absent.glb", "--out", out, *flags]) == 2
    told = capsys.readouterr()
    assert "absent.glb" in told.err
    assert told.out == ""  # no summary of nothing
    assert main(["scenes", "convert", "--layout", "scannet", "--folder", out, "--out", out]) == 2
    assert "no scan" in capsys.readouterr().err
