"""What the Habitat backend does without Habitat: devices, stage configurations, poses, depth, semantic ids."""

from __future__ import annotations

import gc
import importlib.util
import json
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from envs.scenes.mesh import load_scene
from envs.simulators.habitat_arguments import (
    describe_scene,
    instance_ids_from_semantics,
    instances_from_objects,
    navmesh_fields,
    positions_and_rotations,
    views_from_depth,
)
from envs.simulators.habitat_install import GPU_VARIABLE, choose_gpu_device, require_habitat_sim
from envs.simulators.open import open_simulator
from envs.simulators.own_thread import OwnThread
from envs.simulators.raycast import RaycastSimulator
from poma3d.errors import FileError, MissingDependencyError, SettingError
from poma3d.pointmap import Camera, matrix_to_quaternion, quaternion_to_matrix, world_from_pose

HERE = importlib.util.find_spec("habitat_sim") is not None
without_habitat = pytest.mark.skipif(HERE, reason="habitat-sim is installed here")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A mesh 2 m wide, 1 m high and 4 m deep in its file's y-up axes."""
    path = tmp_path / "scene" / "box.glb"
    path.parent.mkdir()
    path.write_bytes(trimesh.Scene(trimesh.creation.box((2, 1, 4))).export(file_type="glb"))
    return path


def described(path: Path, tmp_path: Path) -> dict:
    folder = tmp_path / "told"
    folder.mkdir(exist_ok=True)
    scene = describe_scene(path, folder)
    assert Path(scene.scene_id).parent == folder
    assert scene.dataset == "default"
    return json.loads(Path(scene.scene_id).read_text())


@without_habitat
def test_the_backend_says_how_to_get_habitat(box: Path) -> None:
    for ask in (require_habitat_sim, lambda: open_simulator(box, backend="habitat")):
        with pytest.raises(
            MissingDependencyError, match=r"conda create .*habitat-sim=0\.3\.4 withbullet headless"
        ):
            ask()


def device(environment: dict[str, str], files: tuple[str, ...], tmp_path: Path, *, egl: bool = True) -> int:
    for name in files:
        (tmp_path / name).touch()
    return choose_gpu_device(None, environment, devices=tmp_path, egl_driver=egl)


def test_a_machine_without_devices_renders_on_the_processor(tmp_path: Path) -> None:
    assert device({}, (), tmp_path) == -1
    assert device({}, ("nvidiactl", "nvidia-uvm", "nvidia-modeset"), tmp_path) == -1


def test_a_device_is_used_where_its_egl_driver_is(tmp_path: Path) -> None:
    assert device({}, ("nvidia0",), tmp_path) == 0
    assert device({}, ("nvidia0",), tmp_path, egl=False) == -1


@pytest.mark.parametrize("hidden", ["", "-1", "NoDevFiles"])
def test_hidden_devices_are_not_there(hidden: str, tmp_path: Path) -> None:
    assert device({"CUDA_VISIBLE_DEVICES": hidden}, ("nvidia0",), tmp_path) == -1
    assert device({"CUDA_VISIBLE_DEVICES": "1"}, ("nvidia0",), tmp_path) == 0


def test_a_person_chooses_the_device(tmp_path: Path) -> None:
    assert device({GPU_VARIABLE: "2"}, (), tmp_path) == 2
    assert device({GPU_VARIABLE: "-1"}, ("nvidia0",), tmp_path) == -1
    assert choose_gpu_device(1, {GPU_VARIABLE: "2"}) == 1
    with pytest.raises(SettingError, match=GPU_VARIABLE):
        device({GPU_VARIABLE: "cuda:0"}, (), tmp_path)
    with pytest.raises(SettingError, match="gpu_device_id"):
        choose_gpu_device(-2, {})


def test_a_bare_mesh_is_described_as_y_up(box: Path, tmp_path: Path) -> None:
    told = described(box, tmp_path)
    assert (told["up"], told["front"]) == ([0, 1, 0], [0, 0, -1])
    assert told["render_asset"] == told["collision_asset"] == str(box.resolve())
    assert not (box.parent / "box.stage_config.json").exists()


def test_a_scan_is_described_as_z_up_as_it_is_loaded(box: Path, tmp_path: Path) -> None:
    scan = box.rename(box.with_name("scan.basis.glb"))
    told = described(scan, tmp_path)
    assert (told["up"], told["front"]) == ([0, 0, 1], [0, 1, 0])
    assert np.ptp(load_scene(scan).bounds[:, 1]) == 4


def test_what_stands_beside_a_mesh_is_passed_on(box: Path, tmp_path: Path) -> None:
    (box.parent / "box_semantic.ply").write_text("ply\n")
    (box.parent / "box.house").write_text("ASCII 1.1\n")
    config = {"render_asset": "box.glb", "scale": 2.0, "origin": [1, 0, 0], "nav_asset": "box.navmesh"}
    (box.parent / "box.stage_config.json").write_text(json.dumps(config))
    told = described(box, tmp_path)
    assert told["scale"] == [2.0, 2.0, 2.0]
    assert told["origin"] == [1, 0, 0]
    assert (told["up"], told["front"]) == ([0, 1, 0], [0, 0, -1])
    assert told["semantic_asset"] == str(box.parent / "box_semantic.ply")
    assert told["semantic_descriptor_filename"] == str(box.parent / "box.house")
    assert "nav_asset" not in told
    assert described(box.parent / "box.stage_config.json", tmp_path) == told


def test_a_data_sets_attributes_are_passed_on(box: Path, tmp_path: Path) -> None:
    attributes = {"up": [0, 0, 1], "front": [0, 1, 0], "has_semantic_textures": True}
    dataset = {"stages": {"default_attributes": attributes}}
    (box.parent / "own.scene_dataset_config.json").write_text(json.dumps(dataset))
    (tmp_path / "told").mkdir()
    scene = describe_scene(box, tmp_path / "told")
    assert scene.textures
    told = json.loads(Path(scene.scene_id).read_text())
    assert (told["up"], told["front"]) == ([0, 0, 1], [0, 1, 0])


def test_the_navmesh_that_belongs_to_a_scene_is_found(box: Path, tmp_path: Path) -> None:
    assert describe_scene(box, tmp_path).navmesh is None
    config = {"up": [0, 1, 0], "front": [0, 0, -1]}
    (box.parent / "box.stage_config.json").write_text(json.dumps(config))
    (box.parent / "box.navmesh").write_bytes(b"TESM")
    assert describe_scene(box, tmp_path).navmesh == box.parent / "box.navmesh"


def test_a_scene_instance_needs_its_data_set(box: Path, tmp_path: Path) -> None:
    instance = tmp_path / "set" / "scenes" / "one.scene_instance.json"
    instance.parent.mkdir(parents=True)
    instance.write_text("{}")
    with pytest.raises(FileError, match="scene_dataset_config"):
        describe_scene(instance, tmp_path)
    dataset = tmp_path / "set" / "one.scene_dataset_config.json"
    dataset.write_text("{}")
    scene = describe_scene(instance, tmp_path)
    assert (scene.scene_id, scene.dataset) == (str(instance.resolve()), str(dataset.resolve()))


def test_files_that_are_none_are_refused(box: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        describe_scene(box.with_name("other.glb"), tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(FileError, match=r"\.txt is unknown"):
        describe_scene(tmp_path / "notes.txt", tmp_path)
    config = box.with_name("lost.stage_config.json")
    config.write_text(json.dumps({"render_asset": "lost.glb"}))
    with pytest.raises(FileError, match="render_asset"):
        describe_scene(config, tmp_path)


quaternions = st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1)


@given(quaternions)
def test_quaternions_of_matrices_turn_alike(quaternion: list[float]) -> None:
    matrix = quaternion_to_matrix(np.array(quaternion))
    answer = matrix_to_quaternion(matrix)
    assert np.allclose(quaternion_to_matrix(answer), matrix, atol=1e-9)
    assert answer[3] >= 0
    assert np.isclose(np.linalg.norm(answer), 1)


def test_quaternions_are_x_y_z_w() -> None:
    half = np.sqrt(0.5)
    left = world_from_pose(np.array([1.0, 2, 3]), np.array([0, half, 0, half]))
    position, rotation = positions_and_rotations(left[None])
    assert np.allclose(position, [[1, 2, 3]])
    assert np.allclose(rotation, [[0, half, 0, half]])
    with pytest.raises(SettingError, match="no rotation"):
        matrix_to_quaternion(np.diag([1.0, 1, -1]))


@pytest.mark.golden
def test_habitats_own_depth_becomes_our_point_maps(
    golden_dir: Path, scenes_dir: Path, real_scene: str
) -> None:
    recorded = np.load(golden_dir / f"{real_scene}.npz")
    cameras = json.loads((golden_dir / f"{real_scene}.json").read_text())["cameras"]
    position = recorded["pose_position"] + np.array([0, 1.25, 0])
    poses = world_from_pose(position, recorded["pose_rotation"].astype(np.float64))
    with RaycastSimulator(load_scene(scenes_dir / f"{real_scene}.glb", semantics=False)) as simulator:
        for name, size in cameras.items():
            camera = Camera(size["height"], size["width"], float(size["hfov"]))
            found, valid = views_from_depth(recorded[f"depth_{name}"], camera, poses, None, (0.0, np.inf))
            ours = simulator.render(poses, camera)
            assert found.dtype == np.float32
            assert np.mean(valid == ours.valid) > 0.999
            both = valid & ours.valid
            assert np.mean(np.linalg.norm(found - ours.point_map, axis=-1)[both] < 0.01) > 0.995


def test_a_depth_range_hides_what_is_outside() -> None:
    camera = Camera(1, 3, 90.0)
    depth = np.array([[[0.0, 1.0, 5.0]]], np.float32)
    points, valid = views_from_depth(depth, camera, np.eye(4)[None], None, (0.5, 4.0))
    assert valid.tolist() == [[[False, True, False]]]
    assert np.allclose(points[0, 0, 1], [0, 0, -1])
    assert not points[~valid].any()


def test_semantic_ids_become_instances() -> None:
    objects = [
        (0, "unknown", None),
        (7, "Chair", "region_1"),
        (9, "", None),
        (12, "chair", None),
        (7, "table", None),
    ]
    instances, index_of = instances_from_objects(objects)
    assert [(i.name, i.category, i.room) for i in instances] == [
        ("chair_7", "chair", "region_1"),
        ("chair_12", "chair", None),
    ]
    seen = np.array([[[0, 7, 12, 9, 7]]], np.uint32)
    valid = np.array([[[True, True, True, True, False]]])
    ids = instance_ids_from_semantics(seen, valid, index_of)
    assert ids.dtype == np.int32
    assert ids.tolist() == [[[-1, 0, 1, -1, -1]]]
    assert instance_ids_from_semantics(seen[:0], valid[:0], index_of).shape == (0, 1, 5)


def test_navmesh_settings_keep_their_values() -> None:
    from envs.embodiment import NavmeshSettings

    fields = navmesh_fields(NavmeshSettings(max_climb=0.3, agent_radius=0.18))
    assert fields["agent_max_climb"] == 0.3
    assert fields["agent_radius"] == 0.18
    assert fields["agent_max_slope"] == 45


def test_a_waiting_thread_holds_on_to_nobody() -> None:
    class Asker:
        def ask(self, thread: OwnThread) -> None:
            thread.call(lambda: self)

    thread, asker = OwnThread("mine"), Asker()
    asker.ask(thread)
    gone = weakref.ref(asker)
    del asker
    deadline = time.monotonic() + 5.0
    while gone() is not None and time.monotonic() < deadline:  # the thread puts the job down in its own time
        gc.collect()
        time.sleep(0.01)
    assert gone() is None
    thread.stop()


def test_everything_runs_on_the_own_thread() -> None:
    thread = OwnThread("mine")
    names = [thread.call(lambda: threading.current_thread().name) for _ in range(2)]
    assert names == ["mine", "mine"]
    assert thread.call(lambda: thread.call(lambda: 5)) == 5
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 / 0)
    others: list[int] = []
    callers = [threading.Thread(target=lambda: others.append(thread.call(pow, 2, 3))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert others == [8] * 8
    thread.stop()
    thread.stop()
    with pytest.raises(RuntimeError, match="stopped"):
        thread.call(int)
