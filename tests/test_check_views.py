"""`check_simulator` on rendered views: each way in which they can be wrong fails its line."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from two_rooms import Broken, dirty_zeros, failing, two_room_simulator, with_views

from envs.simulators.protocol import Views
from poma3d.pointmap import Camera


@pytest.fixture
def simulator():
    with two_room_simulator() as simulator:
        yield simulator


def transposed(views, _):
    return Views(views.point_map.swapaxes(1, 2), views.valid.swapaxes(1, 2), views.instance_ids)


def double(views, _):
    return dataclasses.replace(views, point_map=views.point_map.astype(np.float64))


def noisy(views, call):
    views.point_map[views.valid] += np.float32(1e-5 * call)
    return views


def shifted(views, _):
    return Views(np.roll(views.point_map, 1, axis=2), np.roll(views.valid, 1, axis=2), views.instance_ids)


def eager_ids(views, _):
    ids = np.zeros(views.valid.shape, np.int32) if views.instance_ids is None else views.instance_ids
    return dataclasses.replace(views, instance_ids=ids)


def many_ids(views, _):
    return (
        views
        if views.instance_ids is None
        else dataclasses.replace(views, instance_ids=views.instance_ids + 1)
    )


def zero_ids(views, _):
    if views.instance_ids is not None:
        views.instance_ids[~views.valid] = 0
    return views


def blind(views, _):
    return Views(views.point_map * 0, views.valid & False, views.instance_ids)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (dirty_zeros, "render: validity"),
        (transposed, "render: shapes and types"),
        (double, "render: shapes and types"),
        (noisy, "render: deterministic, thread-safe"),
        (noisy, "render: batch equals singles"),
        (shifted, "render: points on their pixels' rays"),
        (eager_ids, "render: shapes and types"),
        (many_ids, "render: instance ids"),
        (zero_ids, "render: instance ids"),
        (blind, "render: validity"),
    ],
)
def test_wrong_views_fail_their_line(simulator, change, line):
    assert line in failing(with_views(simulator, change))


def forgets_frame(simulator, world_from_camera, camera, frame_from_world=None, **options):
    return simulator.render(world_from_camera, camera, **options)


def one_frame_for_all(simulator, world_from_camera, camera, frame_from_world=None, **options):
    if frame_from_world is not None and frame_from_world.ndim == 3:
        frame_from_world = frame_from_world[0]
    return simulator.render(world_from_camera, camera, frame_from_world=frame_from_world, **options)


def looks_backwards(simulator, world_from_camera, camera, **options):
    return simulator.render(world_from_camera @ np.diag([-1.0, 1, -1, 1]), camera, **options)


def vertical_fov(simulator, world_from_camera, camera, **options):
    hfov = np.degrees(2 * np.arctan(np.tan(np.radians(camera.hfov) / 2) * camera.width / camera.height))
    return simulator.render(
        world_from_camera, Camera(camera.height, camera.width, min(hfov, 170.0)), **options
    )


def no_depth_range(simulator, world_from_camera, camera, depth_range=(0, 1), **options):
    return simulator.render(world_from_camera, camera, **options)


def looks_through(simulator, world_from_camera, camera, depth_range=(0.0, np.inf), **options):
    return simulator.render(world_from_camera, camera, depth_range=(0.0, depth_range[1]), **options)


def anything_goes(
    simulator, world_from_camera, camera, frame_from_world=None, depth_range=(0.0, np.inf), **options
):
    poses = np.nan_to_num(world_from_camera)
    if poses.shape[1:] != (4, 4):
        poses = np.eye(4)[None]
    if frame_from_world is not None and frame_from_world.ndim == 3:
        frame_from_world = frame_from_world[: len(poses)]
    near, far = sorted(depth_range)
    return simulator.render(
        poses, camera, frame_from_world=frame_from_world, depth_range=(near, far), **options
    )


def index_error(simulator, world_from_camera, camera, **options):
    if world_from_camera.ndim != 3:
        raise IndexError("tuple index out of range")
    return simulator.render(world_from_camera, camera, **options)


def same_memory(simulator, world_from_camera, camera, **options):
    views = simulator.render(world_from_camera, camera, **options)
    store = same_memory.__dict__.setdefault("store", {})
    kept = store.setdefault(views.point_map.shape, views)
    kept.point_map[:], kept.valid[:] = views.point_map, views.valid
    return dataclasses.replace(kept, instance_ids=views.instance_ids)


def neighbours_matter(simulator, world_from_camera, camera, **options):
    views = simulator.render(world_from_camera, camera, **options)
    views.point_map[views.valid] += np.float32(len(world_from_camera) * 1e-6)
    return views


@pytest.mark.parametrize(
    ("render", "line"),
    [
        (forgets_frame, "render: frames agree"),
        (one_frame_for_all, "render: frames agree"),
        (looks_backwards, "render: points on their pixels' rays"),
        (vertical_fov, "render: points on their pixels' rays"),
        (no_depth_range, "render: depth range"),
        (looks_through, "render: depth range"),
        (anything_goes, "render: bad input"),
        (index_error, "render: bad input"),
        (same_memory, "render: deterministic, thread-safe"),
        (neighbours_matter, "render: batch equals singles"),
    ],
)
def test_wrong_rendering_fails_its_line(simulator, render, line):
    broken = Broken(simulator, render=lambda *a, **k: render(simulator, *a, **k))
    assert line in failing(broken)
