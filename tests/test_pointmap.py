"""Point-map geometry: known answers, torch equal to NumPy, round trips for any size, frame and pose."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poma3d.errors import SettingError
from poma3d.pointmap import (
    Camera,
    Frame,
    depth_to_points,
    frame_from_world,
    heading,
    invert,
    project,
    quaternion_to_matrix,
    resize,
    rotation_from_heading,
    transform_points,
    unproject,
    world_from_pose,
)

sizes = st.integers(1, 33)
hfovs = st.floats(1, 170)
coordinates = st.floats(-50, 50)
unit_quaternions = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(x * x for x in q) > 0.01)
poses = st.builds(
    lambda position, rotation: world_from_pose(np.array(position), np.array(rotation)),
    st.tuples(coordinates, coordinates, coordinates),
    unit_quaternions,
)
LEFT_TURN = np.array([0.0, math.sin(math.pi / 4), 0.0, math.cos(math.pi / 4)])  # 90 degrees about +y


def in_frame(frame: Frame, pose: np.ndarray) -> np.ndarray:
    return frame_from_world(frame, world_from_start=pose, world_from_agent=pose, world_from_camera=pose)


class TestCamera:
    def test_intrinsics_follow_the_horizontal_field_of_view(self):
        camera = Camera(480, 640, 79.0)
        assert camera.focal == pytest.approx(320 / math.tan(math.radians(39.5)))
        np.testing.assert_allclose(
            camera.intrinsics, [[camera.focal, 0, 320], [0, camera.focal, 240], [0, 0, 1]]
        )
        assert Camera(10, 20, 90.0).vfov == pytest.approx(math.degrees(2 * math.atan(0.5)))
        assert Camera(7, 7, 60.0).vfov == pytest.approx(60.0)

    def test_rays_of_two_by_four_pixels(self):
        rays = Camera(2, 4, 90.0).rays()  # focal length 2: the border of the image is at x = +-1
        np.testing.assert_allclose(rays[0, :, 0], [-0.75, -0.25, 0.25, 0.75])
        np.testing.assert_allclose(rays[:, 0, 1], [-0.25, 0.25])
        assert (rays[..., 2] == 1).all()

    @pytest.mark.parametrize("size", [0, -3, 2.5, True, "4"])
    def test_sizes_that_are_none(self, size):
        with pytest.raises(SettingError, match="height"):
            Camera(size, 4)
        with pytest.raises(SettingError, match="width"):
            Camera(4, size)

    @pytest.mark.parametrize("hfov", [0, 180, -10, 360, float("nan"), float("inf"), "90"])
    def test_fields_of_view_that_are_none(self, hfov):
        with pytest.raises(SettingError, match="hfov"):
            Camera(4, 4, hfov)


class TestDepth:
    def test_depth_is_along_the_axis_not_the_ray(self):
        points, valid = depth_to_points(np.full((2, 4), 3.0, np.float32), Camera(2, 4, 90.0))
        assert points.dtype == np.float32
        assert (points[..., 2] == 3).all()
        np.testing.assert_allclose(points[1, 3], [2.25, 0.75, 3])
        assert valid.all()

    def test_depth_that_is_none_becomes_zero_and_not_valid(self):
        depth = np.array([[0.0, -1.0, np.nan], [np.inf, -np.inf, 2.0]])
        points, valid = depth_to_points(depth, Camera(2, 3, 90.0))
        np.testing.assert_array_equal(valid, [[0, 0, 0], [0, 0, 1]])
        assert not points[~valid].any()
        assert np.isfinite(points).all()

    def test_batches(self):
        points, valid = depth_to_points(np.ones((5, 2, 4, 6)), Camera(4, 6))
        assert points.shape == (5, 2, 4, 6, 3)
        assert valid.shape == (5, 2, 4, 6)
        assert points.dtype == np.float64

    @pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.uint8])
    def test_whole_numbers_are_taken_for_millimetres_and_refused(self, dtype):
        depth = np.full((4, 6), 200, dtype)
        for points_of in (
            lambda depth: depth_to_points(depth, Camera(4, 6)),
            lambda depth: unproject(depth, Camera(4, 6).intrinsics),
        ):
            with pytest.raises(SettingError, match=rf"holds .*{np.dtype(dtype)}: depth / 1000"):
                points_of(depth)
            assert points_of(depth / 1000.0)[0].max() < 0.3

    def test_a_shape_that_does_not_fit(self):
        with pytest.raises(SettingError, match=r"\(6, 4\).*4 x 6"):
            depth_to_points(np.ones((6, 4)), Camera(4, 6))

    @settings(max_examples=100, deadline=None)
    @given(sizes, sizes, hfovs, st.sampled_from([np.float32, np.float64]), st.integers(0, 2**31))
    def test_points_project_back_to_their_pixels(self, height, width, hfov, dtype, seed):
        camera = Camera(height, width, hfov)
        depth = np.random.default_rng(seed).uniform(0.1, 20, (height, width)).astype(dtype)
        points, _ = depth_to_points(depth, camera)
        pixels, again, visible = project(points, camera)
        rows, columns = np.mgrid[:height, :width] + 0.5
        np.testing.assert_allclose(
            pixels, np.stack([columns, rows], -1), atol=1e-4 if dtype == np.float32 else 1e-9
        )
        np.testing.assert_array_equal(again, depth)
        assert visible.all()


class TestProject:
    def test_behind_beside_and_not_a_number(self):
        camera = Camera(10, 20, 90.0)
        points = np.array([[0, 0, 1], [0, 0, -1], [0, 0, 0], [2, 0, 1], [0, -0.6, 1], [np.nan, 0, 1]])
        pixels, depth, visible = project(points, camera)
        assert visible.tolist() == [True, False, False, False, False, False]
        np.testing.assert_allclose(pixels[0], [10, 5])
        np.testing.assert_array_equal(pixels[[1, 2, 5]], -1)
        np.testing.assert_allclose(pixels[3], [30, 5])  # in front, out of the image
        assert depth[1] == -1
        assert np.isfinite(pixels).all()


class TestPoses:
    def test_a_left_turn(self):
        matrix = quaternion_to_matrix(LEFT_TURN)
        np.testing.assert_allclose(matrix @ [0, 0, -1], [-1, 0, 0], atol=1e-15)  # forward becomes left
        assert heading(LEFT_TURN) == pytest.approx(math.pi / 2)
        np.testing.assert_allclose(rotation_from_heading(np.array(math.pi / 2)), LEFT_TURN)
        np.testing.assert_allclose(quaternion_to_matrix(LEFT_TURN * -7), matrix, atol=1e-15)  # normalised

    def test_heading_ignores_pitch(self):
        pitch = np.array([math.sin(0.2), 0.0, 0.0, math.cos(0.2)])
        assert heading(pitch) == pytest.approx(0.0)

    @given(st.floats(-3.14, 3.14))
    def test_heading_round_trip(self, angle):
        assert heading(rotation_from_heading(np.array(angle))) == pytest.approx(angle, abs=1e-9)

    def test_world_from_pose(self):
        pose = world_from_pose(np.array([[1.0, 2, 3], [0, 0, 0]]), np.stack([LEFT_TURN, [0, 0, 0, 1]]))
        np.testing.assert_allclose(pose[0] @ [0, 0, -2, 1], [-1, 2, 3, 1], atol=1e-15)
        np.testing.assert_array_equal(pose[1], np.eye(4))

    @settings(max_examples=100, deadline=None)
    @given(poses)
    def test_invert(self, pose):
        np.testing.assert_allclose(invert(pose) @ pose, np.eye(4), atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(pose[:3, :3]), 1)

    @pytest.mark.parametrize(
        ("position", "rotation", "complaint"),
        [
            ([0, 0, 0], [0, 0, 0, 0], "not all zero"),
            ([0, 0, 0], [0, 0, 0, np.nan], "finite"),
            ([0, 0, 0], [0, 0, 1], r"\(\.\.\., 4\)"),
            ([0, np.nan, 0], [0, 0, 0, 1], "position.*finite"),
            ([0, 0], [0, 0, 0, 1], r"\(3,\).*\(2,\)"),
            ([[0, 0, 0]], [0, 0, 0, 1], r"\(1, 3\)"),
        ],
    )
    def test_poses_that_are_none(self, position, rotation, complaint):
        with pytest.raises(SettingError, match=complaint):
            world_from_pose(np.array(position, float), np.array(rotation, float))

    def test_points_move_and_invalid_ones_stay_zero(self):
        pose = world_from_pose(np.array([1.0, 2, 3]), LEFT_TURN)
        points = np.array([[[1.0, 0, 0], [0, 0, -1]]])  # (1, 2, 3)
        np.testing.assert_allclose(transform_points(pose, points), [[[1, 2, 2], [0, 2, 3]]], atol=1e-15)
        points[0, 1] = np.nan
        moved = transform_points(pose, points, np.array([[True, False]]))
        np.testing.assert_allclose(moved, [[[1, 2, 2], [0, 0, 0]]], atol=1e-15)

    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2**31))
    def test_points_move_one_by_one_as_in_batches(self, batch, extra, seed):
        rng = np.random.default_rng(seed)
        transforms = world_from_pose(rng.normal(size=(batch, 3)), rng.normal(size=(batch, 4)))
        points = rng.normal(size=(batch, *(4, 5)[:extra], 3))
        moved = transform_points(transforms, points)
        assert moved.shape == points.shape
        for index in np.ndindex(points.shape[:-1]):
            expected = transforms[index[0]] @ [*points[index], 1]
            np.testing.assert_allclose(moved[index], expected[:3], atol=1e-12)

    @pytest.mark.parametrize(
        ("transform", "points"),
        [((2, 4, 4), (3,)), ((4, 4), (5, 2)), ((3, 3), (5, 3)), ((2, 3, 4, 4), (2, 3))],
    )
    def test_transforms_that_do_not_fit(self, transform, points):
        with pytest.raises(SettingError, match="do not fit"):
            transform_points(np.ones(transform), np.ones(points))


class TestFrames:
    # An agent at (1, 2, 3) that looks to -x; a point 2 m before it, 1 m to its left (+z), 0.5 m up.
    pose = world_from_pose(np.array([1.0, 2, 3]), LEFT_TURN)
    point = np.array([-1.0, 2.5, 4.0])

    @pytest.mark.parametrize(
        ("frame", "expected"),
        [
            ("world", [-1, 2.5, 4]),
            ("scene", [-1, -4, 2.5]),
            ("episode", [2, 1, 0.5]),
            ("agent", [2, 1, 0.5]),
            ("camera", [-1, -0.5, 2]),
        ],
    )
    def test_one_point_in_every_frame(self, frame, expected):
        transform = in_frame(Frame.parse(frame), self.pose)
        np.testing.assert_allclose(transform_points(transform, self.point), expected, atol=1e-12)

    @settings(max_examples=50, deadline=None)
    @given(st.sampled_from(list(Frame)), poses)
    def test_frames_are_rigid_and_right_handed(self, frame, pose):
        transform = in_frame(frame, pose)
        assert transform.dtype == np.float64
        np.testing.assert_allclose(transform[:3, :3] @ transform[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(transform[:3, :3]) == pytest.approx(1)

    @settings(max_examples=100, deadline=None)
    @given(sizes, sizes, hfovs, st.sampled_from(list(Frame)), poses, st.integers(0, 2**31))
    def test_depth_to_frame_to_pixel(self, height, width, hfov, frame, pose, seed):
        """Pose + depth -> XYZ -> pixel and depth, through any frame, to a tenth of a millimetre."""
        camera = Camera(height, width, hfov)
        depth = np.random.default_rng(seed).uniform(0.2, 10, (height, width))
        points, valid = depth_to_points(depth, camera)
        frame_from_camera = in_frame(frame, pose) @ invert(in_frame(Frame.CAMERA, pose))
        there = transform_points(frame_from_camera, points, valid).astype(np.float32)
        back = transform_points(invert(frame_from_camera), there.astype(np.float64), valid)
        assert np.abs(back - points).max() < 1e-4

    def test_single_precision_poses_answer_in_double(self):
        pose = self.pose.astype(np.float32)
        assert in_frame(Frame.AGENT, pose).dtype == np.float64

    def test_unknown_frames_and_missing_poses(self):
        with pytest.raises(SettingError, match=r"'map'.*world, scene, episode, agent, camera"):
            Frame.parse("map")
        for frame in ("episode", "agent", "camera"):
            with pytest.raises(SettingError, match="needs world_from_"):
                frame_from_world(frame)

    def test_which_frames_give_the_pose_away(self):
        assert {frame.value for frame in Frame if frame.reveals_pose} == {"world", "scene"}


class TestResize:
    def test_samples_under_the_centres(self):
        point_map = np.arange(4 * 6 * 3, dtype=np.float32).reshape(4, 6, 3)
        valid = np.ones((4, 6), bool)
        valid[1, 1] = False
        small, kept = resize(point_map, valid, 2, 3)
        np.testing.assert_array_equal(small[0, 1], point_map[1, 3])
        np.testing.assert_array_equal(kept, [[False, True, True], [True, True, True]])
        assert not small[0, 0].any()
        large, kept = resize(point_map, valid, 8, 12)
        np.testing.assert_array_equal(large[::2, ::2][kept[::2, ::2]], point_map[valid])
        assert (~kept).sum() == 4

    def test_means_are_of_valid_points_alone(self):
        point_map = np.zeros((2, 4, 3))
        point_map[..., 0] = [[1, 3, 5, np.nan], [np.inf, 8, np.nan, np.nan]]
        valid = np.array([[True, True, True, False], [False, True, False, False]])
        mean, kept = resize(point_map, valid, 1, 2, average=True)
        np.testing.assert_allclose(mean[0, :, 0], [4, 5])  # (1 + 3 + 8) / 3 and 5 alone
        assert kept.all()
        mean, kept = resize(point_map, np.zeros((2, 4), bool), 1, 2, average=True)
        assert not kept.any()
        assert not mean.any()

    @settings(max_examples=60, deadline=None)
    @given(sizes, sizes, sizes, sizes, st.integers(0, 2**31))
    def test_every_new_point_is_an_old_valid_one(self, height, width, new_height, new_width, seed):
        rng = np.random.default_rng(seed)
        valid = rng.random((height, width)) < 0.5
        point_map = np.where(valid[..., None], rng.normal(size=(height, width, 3)), 0)
        resized, kept = resize(point_map, valid, new_height, new_width)
        assert resized.shape == (new_height, new_width, 3)
        known = {tuple(point) for point in point_map[valid]}
        assert {tuple(point) for point in resized[kept]} <= known
        assert not resized[~kept].any()
        if (height, width) == (new_height, new_width):
            np.testing.assert_array_equal(resized, point_map)

    def test_a_mask_of_numbers_is_a_mask(self):
        mask = np.array([[0, 255], [1, 0]], np.uint8)
        points, kept = resize(np.ones((2, 2, 3)), mask, 2, 2)
        assert kept.dtype == bool
        np.testing.assert_array_equal(kept, mask > 0)
        np.testing.assert_array_equal(points[..., 0], mask > 0)

    def test_input_that_does_not_fit(self):
        ones, valid = np.ones((4, 4, 3)), np.ones((4, 4), bool)
        for point_map, mask in ((ones, valid[:3]), (ones[..., :2], valid), (ones[0], valid[0])):
            with pytest.raises(SettingError, match="are needed"):
                resize(point_map, mask, 2, 2)
        for height, width in ((0, 2), (2, -1), (1.5, 2)):
            with pytest.raises(SettingError, match="cannot resize"):
                resize(ones, valid, height, width)
        with pytest.raises(SettingError, match="sizes that divide"):
            resize(ones, valid, 3, 2, average=True)


class TestTorch:
    torch = pytest.importorskip("torch")

    def check(self, function, *arrays):
        """``function`` answers tensors with what it answers arrays."""
        expected = function(*arrays)
        found = function(*[self.torch.from_numpy(array) for array in arrays])
        expected, found = (x if isinstance(x, tuple) else (x,) for x in (expected, found))
        for a, b in zip(expected, found, strict=True):
            assert isinstance(b, self.torch.Tensor)
            assert a.shape == tuple(b.shape)
            np.testing.assert_allclose(a, b.numpy(), rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_the_same_as_numpy(self, dtype):
        rng = np.random.default_rng(0)
        camera = Camera(6, 8, 70.0)
        depth = rng.uniform(-1, 5, (3, 6, 8)).astype(dtype)
        position, rotation = rng.normal(size=(3, 3)).astype(dtype), rng.normal(size=(3, 4)).astype(dtype)
        points, valid = depth_to_points(depth, camera)
        self.check(lambda d: depth_to_points(d, camera), depth)
        self.check(lambda p: project(p, camera), rng.normal(size=(50, 3)).astype(dtype))
        self.check(quaternion_to_matrix, rotation)
        self.check(world_from_pose, position, rotation)
        self.check(lambda p, r: invert(world_from_pose(p, r)), position, rotation)
        self.check(heading, rotation)
        self.check(rotation_from_heading, position)
        self.check(
            lambda p, r, x, v: transform_points(world_from_pose(p, r), x, v),
            position,
            rotation,
            points,
            valid,
        )
        for frame in ("episode", "agent", "camera"):
            self.check(lambda p, r, f=frame: in_frame(Frame(f), world_from_pose(p, r)), position, rotation)
        self.check(lambda x, v: resize(x, v, 4, 5), points, valid)
        self.check(lambda x, v: resize(x, v, 3, 4, average=True), points, valid)

    def test_bad_poses_are_refused_too(self):
        with pytest.raises(SettingError, match="finite"):
            quaternion_to_matrix(self.torch.tensor([0.0, 0.0, float("nan"), 1.0]))
