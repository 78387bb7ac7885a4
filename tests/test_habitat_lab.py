"""What the habitat-lab sensors do without habitat-lab: depth, frames, sizes, spaces, and ``gym``'s absence."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from flat_room import room_simulator

from envs.simulators.protocol import Simulator
from poma3d.errors import MissingDependencyError, SettingError
from poma3d.pointmap import Camera, Frame, frame_from_world, rotation_from_heading, world_from_pose


def module(name: str):
    """A module of the package without running its ``__init__``, which needs habitat-lab."""
    path = importlib.util.find_spec("envs").submodule_search_locations[0]  # type: ignore[union-attr,index]
    spec = importlib.util.spec_from_file_location(f"habitat_lab_{name}", f"{path}/habitat_lab/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


geometry = module("geometry")
importing = module("importing")


@pytest.mark.skipif(
    importlib.util.find_spec("habitat_sim") is not None, reason="habitat-sim is installed here"
)
def test_importing_says_what_is_missing() -> None:
    with pytest.raises(MissingDependencyError, match="habitat-sim"):
        importlib.import_module("envs.habitat_lab")


@pytest.mark.skipif(importlib.util.find_spec("gym") is not None, reason="gym is installed here")
def test_gymnasium_stands_in_for_gym_only_while_habitat_is_imported() -> None:
    with importing.gymnasium_as_gym():
        import gym  # type: ignore[import-not-found]
        from gym.core import ActType, ObsType  # type: ignore[import-not-found]  # noqa: F401
        from gym.envs.registration import register, registry  # type: ignore[import-not-found]
        from gym.spaces.box import Box  # type: ignore[import-not-found]

        assert gym is gymnasium
        assert Box is gymnasium.spaces.Box
        register("Anything-v0", entry_point=None)
        assert "Habitat-v0" in registry.env_specs
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("gym")
    assert "Anything-v0" not in gymnasium.registry


def test_the_stand_in_goes_even_when_the_import_fails() -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'envs/habitat_lab')\n"
        "import importing\n"
        "try:\n"
        "    with importing.gymnasium_as_gym():\n"
        "        raise ImportError('no')\n"
        "except ImportError: pass\n"
        "print('gym' in sys.modules, 'gym.core' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]


def observed(depth: np.ndarray, near: float, far: float, *, normalised: bool) -> np.ndarray:
    """What habitat-lab's HabitatSimDepthSensor makes of habitat-sim's depth (habitat_simulator.py)."""
    clipped = np.clip(depth, near, far)[..., None]
    return (clipped - near) / (far - near) if normalised else clipped


@pytest.mark.parametrize("normalised", [True, False])
def test_depth_is_metric_again_and_nothing_is_made_up(normalised: bool) -> None:
    depth = np.array([[0.0, 0.2, 0.5], [1.0, 4.9, 20.0]], np.float32)
    answer = geometry.metric_depth(
        observed(depth, 0.5, 5.0, normalised=normalised), 0.5, 5.0, normalised=normalised
    )
    assert np.allclose(answer, [[0, 0, 0], [1, 4.9, 0]], atol=1e-6)


@pytest.mark.parametrize("frame", list(Frame))
def test_point_maps_equal_the_simulators(frame: Frame) -> None:
    simulator: Simulator = room_simulator()
    start = world_from_pose(np.array([0.5, 0.0, 0.5]), rotation_from_heading(np.float64(0.3)))
    agent = world_from_pose(np.array([-0.5, 0.0, 1.0]), rotation_from_heading(np.float64(2.0)))
    camera_pose = agent @ world_from_pose(np.array([0.0, 1.25, 0.0]), np.array([-0.2, 0.0, 0.0, 0.98]))
    camera = Camera(24, 32, 79.0)
    poses = {"world_from_start": start, "world_from_agent": agent, "world_from_camera": camera_pose}
    ours = simulator.render(
        camera_pose[None], camera, frame_from_world=frame_from_world(frame, **poses), depth_range=(0.5, 3.0)
    )
    plain = simulator.render(
        camera_pose[None],
        camera,
        frame_from_world=frame_from_world(Frame.CAMERA, world_from_camera=camera_pose),
    )
    seen = observed(plain.point_map[0, ..., 2], 0.5, 3.0, normalised=True)
    depth = geometry.metric_depth(seen, 0.5, 3.0, normalised=True)
    points, valid = geometry.point_map(depth, camera, frame, *poses.values())
    assert np.array_equal(valid, ours.valid[0])
    assert valid.any()
    assert not valid.all()
    assert np.abs(points - ours.point_map[0]).max() < 1e-4
    assert np.abs(points).max() <= geometry.reach(camera, 3.0, 1.25, frame)


def test_poses_are_read_by_their_fields() -> None:
    class Quaternion:
        x, y, z, w = 0.0, np.sqrt(0.5), 0.0, np.sqrt(0.5)

    pose = geometry.body_pose(np.array([1.0, 2, 3]), Quaternion())
    assert np.allclose(pose[:3, 3], [1, 2, 3])
    assert np.allclose(pose[:3, :3] @ [0, 0, -1], [-1, 0, 0])


def test_sizes_of_configurations() -> None:
    assert geometry.checked_size([]) is None
    assert geometry.checked_size([2, 3]) == (2, 3)
    for wrong in ([5], [0, 3], [2.5, 3]):
        with pytest.raises(SettingError, match="size"):
            geometry.checked_size(wrong)
    points, valid = np.ones((4, 6, 3)), np.ones((4, 6), bool)
    assert geometry.fitted(points, valid, (2, 3))[0].shape == (2, 3, 3)


def test_spaces_are_gymnasiums() -> None:
    spaces = module("spaces").gymnasium_spaces(
        {
            "rgb": gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8),
            "objectgoal": gymnasium.spaces.Box(0, 5, (1,), np.int64),
            "token": gymnasium.spaces.Discrete(3),
            "instruction": gymnasium.spaces.Text(5),
        }
    )
    assert list(spaces) == ["rgb", "objectgoal", "token"]
    assert spaces["rgb"] == gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8)
    assert spaces["objectgoal"].dtype == np.int64
