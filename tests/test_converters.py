"""Converters: folders written from renders in each data set's layout give back the points that were rendered."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from envs.scenepoint_export.views import choose_cameras
from envs.scenes.houses import house
from envs.simulators.raycast import RaycastSimulator
from poma3d.errors import FileError, SettingError
from poma3d.pointmap import (
    Camera,
    Frame,
    depth_to_points,
    frame_from_world,
    invert,
    transform_points,
    unproject,
)
from poma3d.scenepoint import DataSettings, ScenePointDataset, check_scenepoint
from poma3d.scenepoint.converters import ConvertSettings, convert_images, convert_scans, find_scans
from poma3d.scenepoint.converters.vggt import read_scan
from poma3d.scenepoint.coverage import choose_views, coverage
from poma3d.scenepoint.scene_file import SceneFile, write_scene

CAMERA = Camera(48, 64, 75.0)
FRAMES = 12


@dataclass(frozen=True)
class Recording:
    """What a camera led through a house would have recorded, without noise."""

    point_map: np.ndarray
    """(F, H, W, 3) in the scene's frame."""
    valid: np.ndarray
    depth: np.ndarray
    """(F, H, W) metres."""
    poses: np.ndarray
    """(F, 4, 4) camera to scene, OpenCV's axes."""
    images: np.ndarray
    """(F, H, W, 3) uint8."""


@pytest.fixture(scope="module")
def recording() -> Recording:
    to_scene = frame_from_world(Frame.SCENE)
    with RaycastSimulator(house("procedural:test:0003")) as simulator:
        eyes = choose_cameras(simulator, FRAMES, 48, 75.0, (0.0, 10.0), np.random.default_rng(0))
        views = simulator.render(eyes, CAMERA, frame_from_world=to_scene, depth_range=(0.0, 10.0))
    poses = to_scene @ eyes @ np.diag([1.0, -1.0, -1.0, 1.0])
    points = views.point_map.astype(float)
    depth = np.where(views.valid, transform_points(invert(poses), points)[..., 2], 0)
    coarse = np.random.default_rng(1).integers(0, 256, (FRAMES, 3, 4, 3)).astype(np.uint8)
    images = np.stack(
        [np.asarray(Image.fromarray(c).resize((64, 48), Image.Resampling.BICUBIC)) for c in coarse]
    )
    return Recording(views.point_map, views.valid, depth, poses, images)


def whole_number_centres(camera: Camera) -> np.ndarray:
    """The camera matrix as data sets write it: the centre of the first pixel is (0, 0)."""
    return camera.intrinsics - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])


def millimetres(depth: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(depth * 1000).astype(np.uint16))


def four(matrix: np.ndarray) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3] = matrix
    return out


def write_scannet(folder: Path, shot: Recording) -> None:
    for name in ("color", "depth", "pose", "intrinsic"):
        (folder / name).mkdir(parents=True)
    np.savetxt(folder / "intrinsic/intrinsic_depth.txt", four(whole_number_centres(CAMERA)))
    for i in range(FRAMES):
        Image.fromarray(shot.images[i]).save(folder / f"color/{i}.jpg")
        millimetres(shot.depth[i]).save(folder / f"depth/{i}.png")
        np.savetxt(folder / f"pose/{i}.txt", shot.poses[i], fmt="%.9f")


def write_3rscan(folder: Path, shot: Recording) -> None:
    sequence = folder / "sequence"
    sequence.mkdir(parents=True)
    numbers = " ".join(f"{x:.9f}" for x in four(whole_number_centres(CAMERA)).ravel())
    (sequence / "_info.txt").write_text(
        "m_colorWidth = 64\nm_colorHeight = 48\nm_depthWidth = 64\nm_depthHeight = 48\nm_depthShift = 1000\n"
        f"m_calibrationDepthIntrinsic = {numbers}\nm_frames.size = {FRAMES}\n"
    )
    for i in range(FRAMES):
        name = f"frame-{i:06d}"
        Image.fromarray(shot.images[i]).save(sequence / f"{name}.color.jpg")
        steps = np.rint(shot.depth[i] * 1000).astype(">u2")
        (sequence / f"{name}.depth.pgm").write_bytes(b"P5\n64 48\n65535\n" + steps.tobytes())
        np.savetxt(sequence / f"{name}.pose.txt", shot.poses[i], fmt="%.9f")


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    angle = math.acos(np.clip((np.trace(matrix) - 1) / 2, -1, 1))
    axis = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    return axis * (angle / (2 * math.sin(angle)))


def write_arkitscenes(folder: Path, shot: Recording) -> None:
    inside = folder / f"{folder.name}_frames"
    for name in ("lowres_wide", "lowres_depth", "lowres_wide_intrinsics"):
        (inside / name).mkdir(parents=True)
    matrix = whole_number_centres(CAMERA)
    lines = []
    for i in range(FRAMES):
        time = 1000 + i / 10
        name = f"{folder.name}_{time:.3f}"
        Image.fromarray(shot.images[i]).save(inside / f"lowres_wide/{name}.png")
        millimetres(shot.depth[i]).save(inside / f"lowres_depth/{name}.png")
        camera = f"64 48 {matrix[0, 0]:.9f} {matrix[1, 1]:.9f} {matrix[0, 2]:.9f} {matrix[1, 2]:.9f}"
        late = 0.001 if i == 3 else 0  # as in some of the published scans
        (inside / f"lowres_wide_intrinsics/{folder.name}_{time + late:.3f}.pincam").write_text(camera)
        inverse = invert(shot.poses[i])
        row = [time + 0.0004, *rotation_vector(inverse[:3, :3]), *inverse[:3, 3]]
        lines.append(" ".join(f"{x:.9f}" for x in row))
    (inside / "lowres_wide.traj").write_text("\n".join(lines) + "\n")


WRITERS: dict[str, Callable[[Path, Recording], None]] = {
    "scannet": write_scannet,
    "3rscan": write_3rscan,
    "arkitscenes": write_arkitscenes,
}


def frame_of(pose: np.ndarray, shot: Recording) -> int:
    """Which frame a converted view is."""
    return int(np.argmin(np.abs(shot.poses - pose).sum(axis=(1, 2))))


@pytest.mark.parametrize("layout", WRITERS)
def test_points_come_back_as_they_were_rendered(tmp_path: Path, recording: Recording, layout: str) -> None:
    WRITERS[layout](tmp_path / "scans/47333462", recording)
    scans = find_scans(layout, tmp_path / "scans")
    asked = ConvertSettings(views=8, size=64)
    (done,) = convert_scans(layout, scans, tmp_path / "out", asked)
    assert done.problem == ""
    assert done.views == 8
    views = SceneFile(done.path).read(images=True, labels=True)
    rows = ((np.arange(64) + 0.5) * 48 / 64).astype(int)  # the whole frame, sampled to a square
    frames = [frame_of(pose, recording) for pose in views.scene_from_camera]
    assert len(set(frames)) == 8
    for view, frame in enumerate(frames):
        valid = recording.valid[frame][rows]
        np.testing.assert_array_equal(views.valid[view], valid)
        off = np.linalg.norm(views.point_map[view] - recording.point_map[frame][rows], axis=-1)[valid]
        # half a millimetre of depth, longer along slanted rays, and the rounding of written poses
        slant = np.linalg.norm(CAMERA.rays()[rows], axis=-1)[valid]
        assert (off <= 0.0005 * slant + 5e-5).all()
        assert off.max() > 1e-4  # the depth was quantised indeed

    def picture(frame: int) -> np.ndarray:
        sized = Image.fromarray(recording.images[frame]).resize((64, 64), Image.Resampling.BILINEAR)
        return np.asarray(sized).astype(int)

    assert np.abs(views.images[0] - picture(frames[0])).mean() < 5  # JPEG
    assert np.abs(views.images[0] - picture(frames[1])).mean() > 30
    assert check_scenepoint(tmp_path / "out").ok
    assert [scan.views for scan in convert_scans(layout, scans, tmp_path / "out", asked)] == [
        0
    ]  # done before
    # the stored camera matrix projects the points to where they are
    camera = transform_points(invert(views.scene_from_camera.astype(float)), views.point_map.astype(float))
    pixel = np.einsum("vij,vhwj->vhwi", views.intrinsics.astype(float), camera)[views.valid]
    found = pixel[:, :2] / pixel[:, 2:]
    expected = np.stack(np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5), -1)
    assert np.abs(found - np.broadcast_to(expected, (8, 64, 64, 2))[views.valid]).max() < 0.51


def write_vggt(path: Path, shot: Recording, frames: list[int], scale: float = 1.0) -> None:
    """As VGGT's demo writes it: the world is the first camera's, lengths have a unit of their own."""
    first = shot.poses[frames[0]]
    extrinsic = invert(shot.poses[frames]) @ first
    extrinsic[:, :3, 3] *= scale
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        depth=(shot.depth[frames] * scale)[..., None].astype(np.float32),
        depth_conf=np.where(shot.valid[frames], 5.0, 1.0).astype(np.float32),
        extrinsic=extrinsic[:, :3].astype(np.float32),
        intrinsic=np.tile(whole_number_centres(CAMERA), (len(frames), 1, 1)).astype(np.float32),
        images=np.moveaxis(shot.images[frames], -1, 1).astype(np.float32) / 255,
    )


def test_vggt_predictions_become_a_scene(tmp_path: Path, recording: Recording) -> None:
    write_vggt(tmp_path / "house/predictions.npz", recording, [4, 0, 7])
    (done,) = convert_scans(
        "vggt", find_scans("vggt", tmp_path / "house"), tmp_path / "out", ConvertSettings(size=64)
    )
    assert done.problem == ""
    views = SceneFile(done.path).read(labels=True)
    rows = ((np.arange(64) + 0.5) * 48 / 64).astype(int)
    # back to the first camera, then to the scene
    up = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    back = recording.poses[4] @ invert(up)
    found = transform_points(back, views.point_map.astype(float))
    order = [
        int(np.argmin(np.abs(recording.poses[[4, 0, 7]] - back @ pose).sum((1, 2))))
        for pose in views.scene_from_camera
    ]
    assert sorted(order) == [0, 1, 2]
    for view, place in enumerate(order):
        frame = [4, 0, 7][place]
        valid = recording.valid[frame][rows]
        np.testing.assert_allclose(found[view][valid], recording.point_map[frame][rows][valid], atol=2e-4)


def test_other_settings_need_another_folder(tmp_path: Path, recording: Recording) -> None:
    write_vggt(tmp_path / "npz/a.npz", recording, [0, 1])
    asked = ConvertSettings(size=16, median_depth=2.5)

    def convert(changed: ConvertSettings) -> list[int]:
        done = convert_scans("vggt", find_scans("vggt", tmp_path / "npz"), tmp_path / "out", changed)
        assert not [scan.problem for scan in done if scan.problem]
        return [scan.views for scan in done]

    assert convert(asked) == [2]
    write_vggt(tmp_path / "npz/b.npz", recording, [2])
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.safetensors")}
    assert len(before) == 1
    for changed, said in (
        (ConvertSettings(size=16, median_depth=5.0), r"a\.safetensors .*median_depth was 2\.5, now 5\.0\)"),
        (ConvertSettings(size=8, median_depth=2.5), r"size was 16, now 8\): .*another folder"),
        (ConvertSettings(size=16), r"median_depth was 2\.5, now None"),
    ):
        with pytest.raises(SettingError, match=said):
            convert(changed)
        # b alone is of the same source: sizes and scales are not mixed there
        with pytest.raises(SettingError, match=said):
            convert_scans("vggt", [tmp_path / "npz/b.npz"], tmp_path / "out", changed)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.safetensors")} == before
    assert convert(asked) == [0, 1]  # goes on with its own
    # a file that does not say how it was made, as the authors' do not, stays as it is
    views = SceneFile(tmp_path / "out/light_vggt/a.safetensors").read()
    write_scene(tmp_path / "other/light_vggt/a.safetensors", views)
    done = convert_scans("vggt", [tmp_path / "npz/a.npz"], tmp_path / "other", asked)
    assert [scan.views for scan in done] == [0]


def test_images_for_the_warm_up(tmp_path: Path, recording: Recording) -> None:
    for i in range(5):
        write_vggt(tmp_path / f"npz/picture_{i}.npz", recording, [i], scale=0.2)
        (tmp_path / f"npz/picture_{i}.txt").write_text(f"picture {i}\nthe same in other words {i}\n")
    (tmp_path / "npz/broken.npz").write_bytes(b"PK\x03\x04")
    files = find_scans("vggt", tmp_path / "npz")
    done = convert_images(files, tmp_path / "out", ConvertSettings(size=32, median_depth=2.5), pack=3)
    assert [scan.scan_id for scan in done if scan.problem] == ["broken"]
    dataset = ScenePointDataset(tmp_path / "out", DataSettings(single_views=True, images=True, image_size=16))
    assert len(dataset) == 5
    for i in range(5):
        sample = dataset[i]
        assert sample.point_map.shape == (1, 32, 32, 3)
        assert sample.scene_caption in (f"picture {i}", f"the same in other words {i}")
        ahead = sample.point_map[0][sample.valid[0]][:, 1]  # y is where the camera looks
        assert ahead.median().item() == pytest.approx(2.5, rel=0.1)
    points = dataset[2].point_map[0].numpy().astype(float)
    ratio = np.linalg.norm(points, axis=-1) / np.linalg.norm(
        recording.point_map[2][((np.arange(32) + 0.5) * 1.5).astype(int)][:, (np.arange(32) * 2 + 1)]
        - recording.poses[2, :3, 3],
        axis=-1,
    )
    scale = np.median(ratio[dataset[2].valid[0].numpy()])
    np.testing.assert_allclose(ratio[dataset[2].valid[0].numpy()], scale, rtol=1e-3)  # one scale for all


def test_captions_of_single_images_lie_beside_them(tmp_path: Path, recording: Recording) -> None:
    texts = {
        "a/predictions.npz": "a/predictions.txt",  # beside the file that is read
        "room.v2/predictions.npz": "room.v2.txt",  # beside the folder
        "c.v2.npz": "c.v2.txt",
        "mute.npz": None,
    }
    for number, (file, text) in enumerate(texts.items()):
        write_vggt(tmp_path / "npz" / file, recording, [number])
        if text is not None:
            (tmp_path / "npz" / text).write_text(f"{text}\n\n")
    (tmp_path / "npz/room.txt").write_text("of another room\n")
    (tmp_path / "npz/empty.txt").write_text("\n")
    write_vggt(tmp_path / "npz/empty.npz", recording, [4])
    out = tmp_path / "out"
    convert_images(find_scans("vggt", tmp_path / "npz"), out, ConvertSettings(size=16))
    dataset = ScenePointDataset(out, DataSettings(single_views=True))
    assert [dataset[i].scene_caption for i in range(5)] == [
        "a/predictions.txt",
        "c.v2.txt",
        "",
        "",
        "room.v2.txt",
    ]
    report = check_scenepoint(out)
    assert report.ok
    assert (report.views, report.view_captions) == (5, 3)


def test_images_without_captions_get_no_lines(tmp_path: Path, recording: Recording) -> None:
    for name in "ab":
        write_vggt(tmp_path / f"npz/{name}.npz", recording, [0])
    out = tmp_path / "out"
    convert_images(find_scans("vggt", tmp_path / "npz"), out, ConvertSettings(size=16))
    assert "".join(path.read_text() for path in (out / "annotations").glob("*")) == ""
    report = check_scenepoint(out)
    assert report.view_captions == 0
    assert any("no captions of its views" in problem.what for problem in report.problems)
    (tmp_path / "npz/b.txt").write_bytes(b"\xff\xfe\x00")
    done = convert_images(find_scans("vggt", tmp_path / "npz"), out, ConvertSettings(size=16))
    assert [scan.problem.split(":")[0] for scan in done] == ["", str(tmp_path / "npz/b.txt")]


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.floats(20, 140),
    st.integers(0, 9),
    st.sampled_from([np.float32, np.float64]),
)
@settings(deadline=None)
def test_unprojecting_agrees_with_the_pinhole(
    height: int, width: int, hfov: float, seed: int, dtype: type
) -> None:
    camera = Camera(height, width, hfov)
    depth = np.random.default_rng(seed).uniform(-1, 5, (2, height, width)).astype(dtype)
    expected, valid = depth_to_points(depth, camera)
    found, found_valid = unproject(depth, camera.intrinsics)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(found_valid, valid)
    each, _ = unproject(depth, np.stack([camera.intrinsics] * 2))
    np.testing.assert_array_equal(each, found)


def test_camera_matrices_that_are_none() -> None:
    with pytest.raises(SettingError, match="focal lengths"):
        unproject(np.ones((2, 2)), np.zeros((3, 3)))
    with pytest.raises(SettingError, match=r"\(3, 4\)"):
        unproject(np.ones((2, 2)), np.zeros((3, 4)))


# --- choice of views --------------------------------------------------------------------------------------------


def test_views_are_chosen_by_what_they_add() -> None:
    cells = np.arange(10)[:, None] * [1.0, 0, 0] + 0.05
    views = [cells[:4], cells[:3], cells[4:6], cells[3:8], cells[8:], cells[:0]]
    assert choose_views(views, 3).tolist() == [3, 0, 4]  # 5 cells, then 3 (as 1 would add), then 2
    assert coverage(views, [3, 0, 4]) == 1.0
    assert choose_views(views, 99).tolist()[:3] == [3, 0, 4]
    assert sorted(choose_views(views, 99).tolist()) == [0, 1, 2, 3, 4]  # the empty one is never taken


@given(st.integers(0, 30), st.integers(1, 8))
@settings(deadline=None)
def test_greedy_choice_covers_at_least_as_much_as_it_promises(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    views = [rng.integers(0, 12, (int(rng.integers(1, 9)), 3)) * [1.0, 1.0, 0.0] + 0.1 for _ in range(12)]
    chosen = choose_views(views, count)
    assert len(set(chosen.tolist())) == min(count, 12)
    best = max(coverage(views, rng.permutation(12)[:count]) for _ in range(60))
    assert coverage(views, chosen) >= (1 - 1 / math.e) * best


def test_the_choice_sees_more_than_chance(recording: Recording) -> None:
    views = [recording.point_map[i][recording.valid[i]] for i in range(FRAMES)]
    rng = np.random.default_rng(0)
    chance = [coverage(views, rng.permutation(FRAMES)[:4]) for _ in range(20)]
    assert coverage(views, choose_views(views, 4)) >= max(chance)


# --- bad folders ------------------------------------------------------------------------------------------------


def test_bad_scans_are_named_and_passed_over(tmp_path: Path, recording: Recording) -> None:
    names = ["good", "no_matrix", "cut_depth", "bad_pose", "no_frames", "wrong_depth"]
    for name in names:
        write_scannet(tmp_path / "scans" / name, recording)
    (tmp_path / "scans/no_matrix/intrinsic/intrinsic_depth.txt").unlink()
    depth = tmp_path / "scans/cut_depth/depth/5.png"
    depth.write_bytes(depth.read_bytes()[:40])
    (tmp_path / "scans/bad_pose/pose/2.txt").write_text("1 2 3")
    for path in (tmp_path / "scans/no_frames/depth").iterdir():
        path.unlink()
    Image.fromarray(recording.images[0]).save(tmp_path / "scans/wrong_depth/depth/0.png")
    done = convert_scans(
        "scannet", find_scans("scannet", tmp_path / "scans"), tmp_path / "out", ConvertSettings(size=16)
    )
    problems = {scan.scan_id: scan.problem for scan in done}
    assert problems.pop("good") == ""
    for name, what in {
        "no_matrix": "no camera matrix",
        "cut_depth": "5.png: is no whole picture",
        "bad_pose": "2.txt: a matrix of 4 x 4 numbers",
        "no_frames": "no frame with a depth",
        "wrong_depth": "one 16-bit channel",
    }.items():
        assert what in problems[name]
        assert str(tmp_path / "scans" / name) in problems[name]
    assert [path.name for path in (tmp_path / "out/light_scannet").iterdir()] == ["good.safetensors"]


def test_predictions_that_are_none_are_refused(tmp_path: Path, recording: Recording) -> None:
    path = tmp_path / "a.npz"
    write_vggt(path, recording, [0, 1])
    with np.load(path) as stored:
        good = dict(stored)
    lost = good["extrinsic"].copy()
    lost[1, 0, 0] = np.nan
    for changes, said in (
        ({"extrinsic": lost}, "not finite"),
        ({"intrinsic": good["intrinsic"][:1]}, "arrays of one size"),
        ({"depth": None}, "has no depth"),
    ):
        np.savez(path, **{name: array for name, array in (good | changes).items() if array is not None})
        (done,) = convert_scans("vggt", [path], tmp_path / "out")
        assert said in done.problem
        assert str(path) in done.problem


def test_pictures_are_taken_in_the_range_they_come_in(tmp_path: Path, recording: Recording) -> None:
    path = tmp_path / "a.npz"
    write_vggt(path, recording, [0, 1])
    with np.load(path) as stored:
        good = dict(stored)
    bright = (good["images"] * 200 + 50).astype(np.uint8)

    def pictures(images: np.ndarray) -> np.ndarray:
        np.savez(path, **(good | {"images": images}))
        return np.stack([frame.read_image() for frame in read_scan(path).frames])

    expected = np.moveaxis(bright, 1, -1)
    np.testing.assert_array_equal(pictures(bright), expected)
    np.testing.assert_array_equal(pictures(bright.astype(np.float32) / 255), expected)
    overshot = bright.astype(np.float64) / 255
    overshot[0, 0, 0, 0] = 1.02  # as smoothing leaves it
    assert pictures(overshot)[0, 0, 0, 0] == 255
    lost = good["images"].copy()
    lost[1, 2, 3, 4] = np.nan
    for wrong, said in (
        (bright.astype(np.float32), "images .*up to 250"),
        (good["images"] * 4 - 2, "images .*-2"),
        (bright.astype(np.int64), "images .*int64"),
        (lost, "images .*nan"),
    ):
        with pytest.raises(FileError, match=rf"a\.npz: {said}"):
            pictures(wrong)


def test_scans_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="both be called scene0"):
        convert_scans("scannet", [tmp_path / "a/scene0", tmp_path / "b/scene0"], tmp_path / "out")


def test_lost_poses_are_left_out_and_walls_are_aligned(tmp_path: Path, recording: Recording) -> None:
    folder = tmp_path / "scene0000_00"
    write_scannet(folder, recording)
    (folder / "pose/0.txt").write_text("-inf " * 16)
    turn = np.eye(4)
    turn[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    turn[:3, 3] = [1, 2, 3]
    (folder / "scene0000_00.txt").write_text(f"axisAlignment = {' '.join(map(str, turn.ravel()))}\n")
    (done,) = convert_scans("scannet", [folder], tmp_path / "out", ConvertSettings(size=16))
    poses = SceneFile(done.path).read(labels=True).scene_from_camera
    assert len(poses) == FRAMES - 1
    found = {frame_of(invert(turn) @ pose, recording) for pose in poses}
    assert found == set(range(1, FRAMES))


def test_folders_without_scans(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no scan"):
        find_scans("3rscan", tmp_path)
    with pytest.raises(FileError, match="no such folder"):
        find_scans("3rscan", tmp_path / "absent")
    with pytest.raises(SettingError, match="scannet, 3rscan"):
        find_scans("matterport", tmp_path)
    with pytest.raises(SettingError, match="size"):
        ConvertSettings(size=0)
    with pytest.raises(SettingError, match="median_depth"):
        ConvertSettings(median_depth=0.0)
