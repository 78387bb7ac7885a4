"""`check_simulator`: a good simulator passes every line; the report, the command, the comparison with a recording."""

from __future__ import annotations

import json

import numpy as np
import pytest
from two_rooms import Broken, Rooms, dirty_zeros, failing, two_room_simulator, two_rooms, with_views

from envs.embodiment import AgentSpec
from envs.scenes.mesh import load_scene
from envs.simulators.check import CheckReport, CheckRow, check_simulator, main
from envs.simulators.raycast import RaycastSimulator
from poma3d.errors import FileError, SettingError
from poma3d.pointmap import Camera


@pytest.fixture
def simulator():
    with two_room_simulator() as simulator:
        yield simulator


def test_a_good_simulator_passes_every_line(simulator):
    report = check_simulator(simulator, stop_on_failure=True)
    assert report.ok
    assert not report.failures
    assert len(report.rows) == 21
    assert check_simulator(simulator, seed=7).ok
    simulator.render(np.eye(4)[None], Camera(2, 2))  # still open


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"scene_id": ""}, "attributes"),
        ({"instances": None}, "attributes"),
        ({"agent": "a robot"}, "attributes"),
        ({"memory_bytes": lambda: 0}, "memory"),
        ({"memory_bytes": lambda: 1.5}, "memory"),
    ],
)
def test_wrong_attributes_fail_their_line(simulator, changes, line):
    assert line in failing(Broken(simulator, **changes))


def test_a_backend_that_raises_still_gets_a_whole_report(simulator):
    def render(*_, **__):
        raise RuntimeError("no display")

    report = check_simulator(Broken(simulator, render=render))
    assert len(report.rows) == 21
    assert {row.what for row in report.failures} == {
        row.what for row in report.rows if row.what.startswith("render")
    }
    assert str(report).count("RuntimeError: no display") >= 1
    with pytest.raises(AssertionError, match="RuntimeError: no display"):
        check_simulator(Broken(simulator, render=render), stop_on_failure=True)


def test_the_report_is_an_aligned_table():
    rows = (CheckRow("a", "1", "2", True), CheckRow("longer", "12.5%", "95%", False, "mend it like this"))
    text = str(CheckReport(rows)).splitlines()
    assert text[0].split() == ["what", "measured", "bar"]
    assert text[1].index("1") == text[2].index("12.5%") == text[0].index("measured")
    assert text[2].startswith("FAIL")
    assert "mend it like this" in "\n".join(text)
    assert text[-1] == "1 of 2 lines reached"
    assert not CheckReport(rows).ok


def record(simulator, folder, **changes):
    """A tiny recording with the simulator's own depth."""
    position = np.array([[1.0, 0.1, 1.0], [3.0, 0.1, 2.0]], np.float32)
    rotation = np.array([[0, 0, 0, 1], [0, 0.6, 0, 0.8]], np.float32)
    from poma3d.pointmap import frame_from_world, world_from_pose

    poses = world_from_pose(position.astype(float), rotation.astype(float))
    poses[:, 1, 3] += 1.25
    views = simulator.render(
        poses, Camera(16, 24), frame_from_world=frame_from_world("camera", world_from_camera=poses)
    )
    arrays = {
        "pose_position": position,
        "pose_rotation": rotation,
        "depth_small": views.point_map[..., 2],
    } | changes
    np.savez(folder / "rooms.npz", **arrays)
    agent = {"radius": 0.1, "height": 1.5, "max_climb": 0.2, "max_slope": 45.0, "camera_height": 1.25}
    cameras = {"small": {"height": 16, "width": 24, "hfov": 90}}
    (folder / "rooms.json").write_text(json.dumps({"agent": agent, "cameras": cameras}))
    return folder / "rooms.npz", arrays


def test_depth_is_compared_with_a_recording(simulator, tmp_path):
    path, arrays = record(simulator, tmp_path)
    rows = {row.what: row for row in check_simulator(simulator, recording=path).rows}
    assert rows["Habitat: depth within 1 mm, small camera"].ok
    assert rows["Habitat: depth within 1 cm, small camera"].measured == "100.000%"
    wrong = arrays["depth_small"].copy()
    wrong[0, :2] += 0.005  # 48 of 768 pixels off by 5 mm
    record(simulator, tmp_path, depth_small=wrong)
    rows = {row.what: row for row in check_simulator(simulator, recording=path).rows}
    assert rows["Habitat: depth within 1 cm, small camera"].ok
    assert rows["Habitat: depth within 1 mm, small camera"].measured == "93.750%"
    assert not rows["Habitat: depth within 1 mm, small camera"].ok


def test_recordings_that_are_none(simulator, tmp_path):
    with pytest.raises(FileError, match="no such file"):
        check_simulator(simulator, recording=tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(FileError, match="no recording"):
        check_simulator(simulator, recording=tmp_path / "bad.npz")
    path, _ = record(simulator, tmp_path)
    with (
        RaycastSimulator(two_rooms(), AgentSpec(radius=0.3), surface=Rooms()) as wide,
        pytest.raises(SettingError, match=r"radius 0\.1 \(here 0\.3\)"),
    ):
        check_simulator(wide, recording=path)
    (tmp_path / "rooms.json").unlink()
    with pytest.raises(FileError, match=r"rooms\.json"):
        check_simulator(simulator, recording=path)


def test_the_command_prints_the_table_and_answers_by_its_exit_code(tmp_path, capsys, monkeypatch, simulator):
    assert main([str(tmp_path / "none.glb")]) == 2
    assert "none.glb" in capsys.readouterr().err
    monkeypatch.setattr("envs.simulators.open.open_simulator", lambda scene, backend: simulator)
    monkeypatch.setattr(simulator, "close", lambda: None)
    assert main(["rooms"]) == 0
    assert "21 of 21 lines reached" in capsys.readouterr().out
    broken = with_views(simulator, dirty_zeros)
    monkeypatch.setattr("envs.simulators.open.open_simulator", lambda scene, backend: broken)
    assert main(["rooms"]) == 1
    assert "FAIL" in capsys.readouterr().out


@pytest.mark.golden
def test_the_built_in_simulator_on_real_scenes(scenes_dir, golden_dir, real_scene):
    recording = golden_dir / f"{real_scene}.npz"
    with RaycastSimulator(load_scene(scenes_dir / f"{real_scene}.glb")) as simulator:
        report = check_simulator(simulator, recording=recording)
    assert report.ok, str(report)
