"""The contract's lines about rendering: shapes, validity, frames, batches, determinism, depth, instances."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from envs.embodiment import AgentSpec
from envs.scenes.scene import NO_INSTANCE, Instance
from envs.simulators.contract import Line, Probe, require
from envs.simulators.protocol import Views
from poma3d.errors import UserError
from poma3d.pointmap import Camera, Frame, frame_from_world, invert, transform_points

_METRES = 1e-4
"""How far two ways to the same point may lie apart, metres: the project's promise for round trips."""


def _attributes(probe: Probe) -> str:
    simulator = probe.simulator
    for name in ("scene_id", "instances", "agent", "surface", "render", "memory_bytes", "close"):
        require(
            hasattr(simulator, name), f"the simulator has no {name!r}; see envs.simulators.protocol.Simulator"
        )
    require(
        isinstance(simulator.scene_id, str) and simulator.scene_id,
        f"scene_id must be what episodes call the scene, found {simulator.scene_id!r}",
    )
    require(isinstance(simulator.agent, AgentSpec), f"agent must be an AgentSpec, found {simulator.agent!r}")
    require(
        isinstance(simulator.instances, Sequence)
        and all(isinstance(instance, Instance) for instance in simulator.instances),
        "instances must be a sequence of envs.scenes.scene.Instance (empty without semantics)",
    )
    return "all there"


def _shapes(probe: Probe) -> str:
    camera = probe.camera
    views = probe.render(instances=True)
    batch = (len(probe.world_from_camera), camera.height, camera.width)
    for name, found, shape, dtype in (
        ("point_map", views.point_map, (*batch, 3), np.float32),
        ("valid", views.valid, batch, np.bool_),
        ("instance_ids", views.instance_ids, batch, np.int32),
    ):
        require(found is not None, f"{name} is None although it was asked for (instances=True)")
        assert found is not None
        require(
            found.shape == shape,
            f"{name} must have the shape {shape} = (B, H, W{', 3' if name == 'point_map' else ''}), found"
            f" {found.shape}; height comes before width",
        )
        require(found.dtype == dtype, f"{name} must be {np.dtype(dtype)}, found {found.dtype}")
    require(
        probe.render().instance_ids is None,
        "instance_ids were returned without being asked for; answer None unless instances=True",
    )
    empty = probe.render(world_from_camera=np.zeros((0, 4, 4)))
    require(
        empty.point_map.shape == (0, *batch[1:], 3),
        f"no poses must give arrays of batch 0, found {empty.point_map.shape}",
    )
    return f"{batch[1]} x {batch[2]}"


def _validity(probe: Probe) -> str:
    views = probe.render()
    share = float(views.valid.mean())
    require(
        share > 0,
        "no ray hits anything from poses on the surface; are the poses taken as camera-to-world?",
        "0",
    )
    require(
        np.isfinite(views.point_map).all(),
        "the point map holds values that are not finite; write 0 where no surface was hit",
    )
    left = np.abs(views.point_map[~views.valid]).max(initial=0.0)
    require(left == 0, f"XYZ must be exactly 0 where not valid, found up to {left:g}", f"{left:g}")
    return f"{share:.0%} hit"


def _frames(probe: Probe) -> str:
    world = probe.render()
    poses = probe.world_from_camera
    worst = 0.0
    for frame in Frame:
        to_frame = frame_from_world(
            frame,
            world_from_start=probe.world_from_agent[0],
            world_from_agent=probe.world_from_agent,
            world_from_camera=poses,
        )
        views = probe.render(frame_from_world=to_frame)
        require(
            np.array_equal(views.valid, world.valid),
            f"validity changes with the frame ({frame.value}); it must depend on pose and camera alone",
        )
        expected = transform_points(to_frame, world.point_map.astype(np.float64), world.valid)
        error = float(np.abs(views.point_map - expected).max())
        worst = max(worst, error)
        require(
            error <= _METRES,
            f"the points in frame {frame.value!r} are {error:.3g} m from those of the world frame moved"
            " there;"
            " compose frame_from_world @ world_from_camera in float64 and apply it to valid pixels only",
            f"{error:.1e} m",
        )
    return f"{worst:.1e} m"


def _camera_model(probe: Probe) -> str:
    poses = probe.world_from_camera
    worst = 0.0
    for camera in (probe.camera, Camera(31, 12, 40.0), Camera(9, 33, 120.0)):
        to_camera = frame_from_world(Frame.CAMERA, world_from_camera=poses)
        views = probe.render(camera=camera, frame_from_world=to_camera)
        depth = views.point_map[..., 2].astype(np.float64)
        require(
            (depth[views.valid] > 0).all(),
            "valid points lie behind the camera; poses look along -z (Habitat), the camera frame along +z"
            " (OpenCV)",
        )
        off = np.abs(views.point_map - camera.rays() * depth[..., None])
        error = float(off[views.valid].max(initial=0.0))
        worst = max(worst, error)
        require(
            error <= _METRES,
            f"points of a {camera.height} x {camera.width} camera of hfov {camera.hfov} lie {error:.3g} m"
            " beside the"
            " rays of their pixels; focal length = 0.5 * W / tan(hfov / 2) for both axes, pixel centres at"
            " +0.5,"
            " depth along the axis",
            f"{error:.1e} m",
        )
    return f"{worst:.1e} m"


def _batches(probe: Probe) -> str:
    whole = probe.render(instances=True)
    poses = probe.world_from_camera
    to_frame = invert(probe.world_from_agent)
    moved = probe.render(frame_from_world=to_frame)
    for index in range(len(poses)):
        alone = probe.render(world_from_camera=poses[index : index + 1], instances=True)
        require(
            _equal(whole, alone, index),
            f"view {index} of a batch differs from the same view rendered alone; a view must depend on its"
            " pose only",
        )
        alone = probe.render(world_from_camera=poses[index : index + 1], frame_from_world=to_frame[index])
        require(
            np.array_equal(moved.point_map[index], alone.point_map[0]),
            f"frame_from_world (B, 4, 4) gives view {index} another frame than (4, 4) gives it alone",
        )
    return "bit-equal"


def _determinism(probe: Probe) -> str:
    first = probe.render(instances=True)
    kept = Views(first.point_map.copy(), first.valid.copy(), None)
    again = probe.render(instances=True)
    require(
        _equal(first, again) and np.array_equal(first.point_map, kept.point_map),
        "the same poses rendered twice differ (or the second answer overwrote the first)",
    )
    probe.render(world_from_camera=probe.world_from_camera[::-1])
    require(
        np.array_equal(first.point_map, kept.point_map) and np.array_equal(first.valid, kept.valid),
        "an answer changed after it was returned; hand out arrays that are never written again",
    )
    with ThreadPoolExecutor(4) as pool:
        for views in pool.map(lambda _: probe.render(instances=True), range(8)):
            require(
                _equal(first, views),
                "renders from several threads at once differ from one alone; guard what they share",
            )
    return "bit-equal"


def _depth_range(probe: Probe) -> str:
    to_camera = frame_from_world(Frame.CAMERA, world_from_camera=probe.world_from_camera)
    whole = probe.render(frame_from_world=to_camera)
    depth = whole.point_map[..., 2].astype(np.float64)
    near, far = np.quantile(depth[whole.valid], [0.25, 0.75])
    views = probe.render(frame_from_world=to_camera, depth_range=(float(near), float(far)))
    inside = whole.valid & (depth >= near) & (depth <= far)
    sure = (np.abs(depth - near) > _METRES) & (np.abs(depth - far) > _METRES)
    require(
        np.array_equal(views.valid[sure], inside[sure]),
        f"depth_range ({near:.2f}, {far:.2f}) m must make pixels outside it not valid and leave the others"
        " as they"
        " are; what lies too near still hides what is behind it",
    )
    both = views.valid & whole.valid
    require(
        np.array_equal(views.point_map[both], whole.point_map[both]),
        "points inside depth_range differ from those rendered without it",
    )
    return f"{near:.1f}..{far:.1f} m"


def _instances(probe: Probe) -> str:
    views = probe.render(instances=True)
    ids, count = views.instance_ids, len(probe.simulator.instances)
    assert ids is not None
    require(
        ids.min(initial=NO_INSTANCE) >= NO_INSTANCE and ids.max(initial=NO_INSTANCE) < count,
        f"instance ids must lie in -1..{count - 1}, found {ids.min()}..{ids.max()}",
        f"{ids.min()}..{ids.max()}",
    )
    require(
        (ids[~views.valid] == NO_INSTANCE).all(),
        "pixels that are not valid carry an instance id; -1 was expected",
    )
    return f"{len(np.unique(ids[ids >= 0]))} seen of {count}"


def _bad_input(probe: Probe) -> str:
    pose = probe.world_from_camera[:1]
    for what, changes in {
        "poses that are not finite": {"world_from_camera": pose * np.nan},
        "poses of shape (3, 4)": {"world_from_camera": pose[0, :3]},
        "transforms of another batch": {
            "frame_from_world": np.zeros((len(probe.world_from_camera) + 1, 4, 4))
        },
        "depth_range (2, 1)": {"depth_range": (2.0, 1.0)},
    }.items():
        try:
            probe.render(**changes)
        except UserError:
            continue
        except Exception as error:
            require(
                False,
                f"{what} end in {type(error).__name__}: {error}; raise a poma3d.errors.UserError that says"
                " so",
            )
        require(False, f"{what} are rendered without complaint; raise a poma3d.errors.UserError")
    return "refused"


def _memory(probe: Probe) -> str:
    held = probe.simulator.memory_bytes()
    require(
        isinstance(held, int) and held > 0,
        f"memory_bytes() must be the bytes that the scene holds, a whole number above 0, found {held!r}",
    )
    return f"{held / 2**20:.1f} MiB"


def _equal(a: Views, b: Views, index: int | None = None) -> bool:
    """Whether two views, or view ``index`` of the first and the only one of the second, are bit-equal."""
    pairs = [(a.point_map, b.point_map), (a.valid, b.valid)]
    if a.instance_ids is not None and b.instance_ids is not None:
        pairs.append((a.instance_ids, b.instance_ids))
    return all(
        np.array_equal(x if index is None else x[index], y if index is None else y[0]) for x, y in pairs
    )


RENDER_LINES = (
    Line("attributes", "as in the protocol", _attributes),
    Line("render: shapes and types", "(B, H, W), float32", _shapes),
    Line("render: validity", "0 where not valid", _validity),
    Line("render: frames agree", f"{_METRES} m", _frames),
    Line("render: points on their pixels' rays", f"{_METRES} m", _camera_model),
    Line("render: batch equals singles", "bit-equal", _batches),
    Line("render: deterministic, thread-safe", "bit-equal", _determinism),
    Line("render: depth range", "kept", _depth_range),
    Line("render: instance ids", "in range", _instances),
    Line("render: bad input", "refused", _bad_input),
    Line("memory", "above 0", _memory),
)
"""What every backend's ``render`` owes, in the order it is checked."""
