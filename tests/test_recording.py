"""Video and 3D recordings: whole or absent, of the right length and size, read back by other tools."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest

from agent.observer import Observer
from agent.recording import RerunRecorder, VideoRecorder, shaded_mesh
from envs.embodiment import AgentSpec
from envs.scenes.scene import Instance, Scene
from envs.simulators.protocol import Path as ShortestPath
from envs.simulators.protocol import Views
from poma3d.errors import FileError, SettingError
from poma3d.pointmap import Camera, rotation_from_heading, world_from_pose


class ColourEnv:
    """Renders a plain picture whose brightness is the number of the call."""

    def __init__(self, height: int = 64, width: int = 96) -> None:
        self.shape, self.calls = (height, width, 3), 0

    def render(self) -> np.ndarray:
        self.calls += 1
        return np.full(self.shape, min(20 * self.calls, 255), np.uint8)


def record(recorder: Observer, env: object, steps: int) -> None:
    recorder.begin(env, {}, {"distance_to_goal": 2.0})
    for step in range(steps):
        recorder.step(1, {}, 0.1, {"distance_to_goal": 2.0 - 0.25 * step, "path_length": 0.25 * step})
    recorder.end({"success": 1.0, "spl": 0.9})


@pytest.mark.parametrize(("height", "width"), [(64, 96), (282, 704), (33, 51)])
def test_video_has_every_frame_and_an_even_size(tmp_path: Path, height: int, width: int) -> None:
    path = tmp_path / "videos" / "episode.mp4"
    recorder = VideoRecorder(path, fps=10)
    assert isinstance(recorder, Observer)
    record(recorder, ColourEnv(height, width), steps=7)
    assert not path.exists(), "a video must not appear before it is whole"
    recorder.close()
    recorder.close()
    frames = iio.imread(path, plugin="FFMPEG")
    assert len(frames) == 1 + 7 + 10, "first frame, one a step, the last held for a second"
    assert frames.shape[1:] == (height + height % 2, width + width % 2, 3)
    brightness = frames[:, 5, 5].astype(int).mean(axis=1)
    np.testing.assert_allclose(brightness[:8], 20 * np.arange(1, 9), atol=6)
    np.testing.assert_allclose(brightness[8:], 160, atol=6)
    assert [p.name for p in path.parent.iterdir()] == ["episode.mp4"]


def test_video_plays_in_browsers(tmp_path: Path) -> None:
    recorder = VideoRecorder(tmp_path / "a.mp4")
    record(recorder, ColourEnv(), 2)
    recorder.close()
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(tmp_path / "a.mp4")]
    said = subprocess.run(command, capture_output=True, text=True).stderr
    assert "h264" in said
    assert "yuv420p" in said
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "the index comes first, so that playing starts at once"


def test_an_interrupted_episode_is_kept(tmp_path: Path) -> None:
    recorder = VideoRecorder(tmp_path / "a.mp4", fps=5)
    recorder.begin(ColourEnv(), {}, {})
    recorder.step(1, {}, 0.0, {})
    recorder.close()
    assert len(iio.imread(tmp_path / "a.mp4", plugin="FFMPEG")) == 2


def test_nothing_recorded_leaves_no_file(tmp_path: Path) -> None:
    VideoRecorder(tmp_path / "a.mp4").close()
    RerunRecorder(tmp_path / "a.rrd").close()
    assert list(tmp_path.iterdir()) == []


def test_discarded_recordings_leave_no_file_and_an_older_one_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"older")
    recorder = VideoRecorder(tmp_path / "a.mp4")
    record(recorder, ColourEnv(), 3)
    recorder.discard()
    recorder.close()
    assert (tmp_path / "a.mp4").read_bytes() == b"older"
    assert len(list(tmp_path.iterdir())) == 1


@contextlib.contextmanager
def full_disk(free_bytes: int) -> Iterator[None]:
    """Let no file grow beyond ``free_bytes``, here and in processes started meanwhile."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.timeout(60)
def test_a_full_disk_is_a_clear_error_and_leaves_no_video(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    recorder = VideoRecorder(tmp_path / "a.mp4")
    with full_disk(4096):
        recorder.begin(SimpleNamespace(render=lambda: noise), {}, {})

    def go_on() -> None:
        for _ in range(200):
            recorder.step(1, {}, 0.0, {})
        recorder.close()

    with pytest.raises(FileError, match=r"a\.mp4: the video cannot be written"):
        go_on()
    recorder.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(60)
def test_a_full_disk_is_a_clear_error_and_leaves_no_3d_recording(tmp_path: Path) -> None:
    recorder = RerunRecorder(tmp_path / "a.rrd")
    recorder.begin(WalkingEnv(), {}, {})
    with full_disk(1024), pytest.raises(FileError, match=r"a\.rrd: cannot be written"):
        recorder.close()
    assert list(tmp_path.iterdir()) == []


def test_wrong_use_is_named(tmp_path: Path) -> None:
    for call in (
        lambda: VideoRecorder(tmp_path / "a.avi"),
        lambda: VideoRecorder(tmp_path / "a.mp4", fps=0),
        lambda: RerunRecorder(tmp_path / "a.mp4"),
        lambda: RerunRecorder(tmp_path / "a.rrd", max_points=0),
        lambda: VideoRecorder(tmp_path / "a.mp4").begin(SimpleNamespace(render=lambda: None), {}, {}),
    ):
        with pytest.raises(SettingError):
            call()
    recorder = VideoRecorder(tmp_path / "b.mp4")
    recorder.begin(ColourEnv(64, 64), {}, {})
    with pytest.raises(SettingError, match="cannot hold"):
        recorder.begin(ColourEnv(32, 32), {}, {})
    recorder.discard()


SCENE = Scene(
    "square",
    np.array(
        [[0, 0, 0], [4, 0, 0], [4, 0, -4], [0, 0, -4], [0, 2.5, 0], [4, 2.5, 0], [4, 2.5, -4]], np.float32
    ),
    np.array([[0, 1, 2], [0, 2, 3], [4, 6, 5]], np.int32),
    np.array([0, 0, 1], np.int32),
    (Instance("floor.00", "floor"), Instance("ceiling.00", "ceiling")),
)


class WalkingEnv:
    """The privileged face of a navigation environment, walking along -z over a floor."""

    def __init__(self) -> None:
        self.agent = AgentSpec(camera=Camera(24, 32, 90.0))
        self.camera = self.agent.camera
        self.simulator = SimpleNamespace(scene_id="square", scene=SCENE, render=self._render)
        self.surface = SimpleNamespace(bounds=SCENE.bounds)
        self.goal_positions = np.array([[2.0, 0.0, -3.5]])
        path = ShortestPath(np.array([[2.0, 0, -0.5], [2.0, 0, -3.5]]), 3.0, 0)
        self.distance_field = SimpleNamespace(path=lambda point: path)
        self.episode = SimpleNamespace(episode_id="7", scene_id="square")
        self.trajectory = np.array([[2.0, 0, -0.5]])

    @property
    def position(self) -> np.ndarray:
        return self.trajectory[-1]

    @property
    def world_from_camera(self) -> np.ndarray:
        return world_from_pose(self.position + np.array([0, 1.25, 0]), rotation_from_heading(np.float64(0)))

    def walk(self) -> None:
        self.trajectory = np.concatenate([self.trajectory, self.trajectory[-1:] + np.array([0, 0, -0.25])])

    def _render(self, world_from_camera, camera, *, depth_range) -> Views:
        rays = camera.rays() * [1, -1, -1]
        down = rays[..., 1] < -0.05
        depth = np.where(down, 1.25 / np.where(down, -rays[..., 1], 1), 0)
        points = world_from_camera[0, :3, 3] + rays * depth[..., None]
        return Views(np.where(down[..., None], points, 0).astype(np.float32)[None], down[None])


def test_rerun_recording_reads_back(tmp_path: Path) -> None:
    path, env = tmp_path / "recording.rrd", WalkingEnv()
    recorder = RerunRecorder(path, max_points=100)
    assert isinstance(recorder, Observer)
    for _ in range(2):
        recorder.begin(env, {}, {"distance_to_goal": 3.0})
        for step in range(4):
            env.walk()
            recorder.step(1, {}, 0.25, {"distance_to_goal": 2.75 - 0.25 * step, "path_length": 0.25})
        recorder.end({"success": 1.0, "spl": 1.0})
    assert not path.exists(), "a recording must not appear before it is whole"
    recorder.close()
    recorder.close()
    assert [p.name for p in tmp_path.iterdir()] == ["recording.rrd"]
    tool = shutil.which("rerun", path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip("the rerun command is not installed beside this Python")
    subprocess.run([tool, "rrd", "verify", str(path)], check=True, capture_output=True)
    printed = subprocess.run([tool, "rrd", "print", "-vvv", str(path)], capture_output=True, text=True).stdout
    for entity in ("scene", "point_map", "camera", "path", "goals", "start", "agent", "shortest_path"):
        assert f"/world/{entity}" in printed, f"{entity} was not recorded"
    assert "/measures/distance_to_goal" in printed
    assert "episode 7 in square begins" in printed
    assert path.stat().st_size < 200_000


def test_point_maps_are_thinned_out(tmp_path: Path) -> None:
    sizes = []
    for most in (50, 400):
        recorder = RerunRecorder(tmp_path / f"{most}.rrd", max_points=most)
        recorder.begin(WalkingEnv(), {}, {})
        for _ in range(40):
            recorder.step(1, {}, 0.0, {})
        recorder.close()
        sizes.append((tmp_path / f"{most}.rrd").stat().st_size)
    assert sizes[0] < sizes[1]


def test_mesh_leaves_the_ceiling_out_and_keeps_the_largest_triangles() -> None:
    corners, colours = shaded_mesh(SCENE, cut=2.1, max_triangles=100)
    assert corners.shape == (6, 3)
    assert colours.shape == (6, 3)
    assert corners[:, 1].max() == 0
    corners, _ = shaded_mesh(SCENE, cut=9.0, max_triangles=2)
    assert corners.shape == (6, 3)


def test_a_discarded_3d_recording_leaves_nothing(tmp_path: Path) -> None:
    recorder = RerunRecorder(tmp_path / "a.rrd")
    recorder.begin(WalkingEnv(), {}, {})
    recorder.discard()
    recorder.close()
    assert list(tmp_path.iterdir()) == []
