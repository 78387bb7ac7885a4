"""The ray caster: known rooms to the micrometre, Habitat's depth, culling, threads, bad input, memory."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.embodiment import AgentSpec
from envs.scenes.houses import generate_house
from envs.scenes.mesh import load_scene
from envs.scenes.scene import Instance, Scene
from envs.simulators import embree, raycast
from envs.simulators.protocol import Simulator
from envs.simulators.raycast import RaycastSimulator, SimulatorClosedError
from poma3d.errors import SettingError, UserError
from poma3d.pointmap import (
    Camera,
    Frame,
    frame_from_world,
    invert,
    project,
    rotation_from_heading,
    transform_points,
    world_from_pose,
)

# Corner number = bits (x, y, z) of the unit cube; two triangles a wall, which `facing` winds.
CORNERS = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], np.float32)
WALLS = np.array(
    [
        *([0, 1, 3], [0, 3, 2]),
        *([4, 6, 7], [4, 7, 5]),
        *([0, 4, 5], [0, 5, 1]),
        *([2, 3, 7], [2, 7, 6]),
        *([0, 2, 6], [0, 6, 4]),
        *([1, 5, 7], [1, 7, 3]),
    ],
    np.int32,
)


def facing(vertices: np.ndarray, triangles: np.ndarray, middle: np.ndarray, inwards: bool) -> np.ndarray:
    """The same triangles, each wound so that its front faces the middle (or away from it)."""
    corners = vertices[triangles].astype(float)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inside = (normal * (middle - corners.mean(axis=1))).sum(axis=1) > 0
    return np.where((inside == inwards)[:, None], triangles, triangles[:, ::-1]).astype(np.int32)


def room(size=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), *, inwards=True, scene_id="room") -> Scene:
    """A box seen from inside (or outside); its walls x0, x1, y0, y1, z0, z1 are an instance each."""
    vertices = (CORNERS * size + origin).astype(np.float32)
    triangles = facing(vertices, WALLS, vertices.mean(axis=0), inwards)
    names = ("x0", "x1", "y0", "y1", "z0", "z1")
    return Scene(
        scene_id,
        vertices,
        triangles,
        np.repeat(np.arange(6), 2).astype(np.int32),
        tuple(Instance(f"{name}.00", name) for name in names),
    )


def pose(position, heading=0.0) -> np.ndarray:
    """(1, 4, 4) upright pose."""
    return world_from_pose(np.array([position], float), rotation_from_heading(np.array([heading])))


def box_points(world_from_camera, camera, size=(1.0, 1.0, 1.0)) -> tuple[np.ndarray, np.ndarray]:
    """Closed form: world points (H, W, 3) where a camera inside a box at the origin sees it, and z-depth."""
    rays = camera.rays() * [1, -1, -1] @ world_from_camera[0, :3, :3].T
    origin = world_from_camera[0, :3, 3]
    with np.errstate(divide="ignore"):
        to_wall = np.where(rays > 0, (np.array(size) - origin) / rays, -origin / rays)
    depth = np.where(rays == 0, np.inf, to_wall).min(axis=-1)
    return origin + rays * depth[..., None], depth


@pytest.fixture(scope="module")
def cube():
    with RaycastSimulator(room()) as simulator:
        yield simulator


@pytest.mark.parametrize("frame", list(Frame))
@pytest.mark.parametrize(
    ("height", "width", "hfov"), [(5, 9, 90.0), (30, 17, 60.0), (64, 64, 120.0), (1, 1, 10.0)]
)
def test_a_cube_in_every_frame(cube, frame, height, width, hfov):
    camera = Camera(height, width, hfov)
    world_from_agent = pose((0.3, 0.1, 0.6), 0.7)
    world_from_camera = world_from_agent.copy()
    world_from_camera[0, 1, 3] += 0.5
    world_from_start = pose((0.9, 0.0, 0.2), -2.0)
    to_frame = frame_from_world(
        frame,
        world_from_start=world_from_start,
        world_from_agent=world_from_agent,
        world_from_camera=world_from_camera,
    )
    views = cube.render(world_from_camera, camera, frame_from_world=to_frame)
    points, depth = box_points(world_from_camera, camera)
    expected = transform_points(to_frame.reshape(4, 4), points)
    assert views.point_map.dtype == np.float32
    assert views.valid.all()
    np.testing.assert_allclose(views.point_map[0], expected, atol=2e-6)
    if frame is Frame.CAMERA:
        np.testing.assert_allclose(views.point_map[0, ..., 2], depth, atol=2e-6)


def test_nothing_hit_is_zero_and_not_valid():
    wall = Scene(
        "wall",
        np.array([[-0.97, 0, -2], [0.97, 0, -2], [0.97, 1, -2], [-0.97, 1, -2]], np.float32),
        np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        np.zeros(2, np.int32),
        (Instance("wall.00", "wall"),),
    )
    with RaycastSimulator(wall) as simulator:
        camera = Camera(40, 30, 90.0)
        views = simulator.render(pose((0, 0.5, 0)), camera, instances=True)
        points = camera.rays() * 2
        seen = (np.abs(points[..., 0]) < 0.97) & (np.abs(points[..., 1]) < 0.5)
        np.testing.assert_array_equal(views.valid[0], seen)
        assert not views.point_map[~views.valid].any()
        np.testing.assert_array_equal(views.instance_ids[0], np.where(seen, 0, -1))
        behind = simulator.render(pose((0, 0.5, 0), np.pi), camera)
        assert not behind.valid.any()
        assert not behind.point_map.any()


def test_back_faces_are_culled_unless_asked_for():
    away = room(inwards=False)
    inside = pose((0.5, 0.5, 0.5))
    with RaycastSimulator(away) as simulator:
        assert not simulator.render(inside, Camera(8, 8)).valid.any()
        assert simulator.render(pose((0.5, 0.5, 2)), Camera(8, 8, 20.0)).valid.all()
    with RaycastSimulator(away, cull_back_faces=False) as simulator:
        views = simulator.render(inside, Camera(8, 8))
        np.testing.assert_allclose(views.point_map[0], box_points(inside, Camera(8, 8))[0], atol=2e-6)


@pytest.mark.parametrize("turned_first", [False, True])
def test_two_sided_twins_are_seen_from_both_sides(turned_first):
    sheet = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    both = [sheet[:, ::-1], sheet] if turned_first else [sheet, sheet[:, ::-1]]
    scene = Scene(
        "sheet",
        np.array([[-9, -9, 0], [9, -9, 0], [9, 9, 0], [-9, 9, 0]], np.float32),
        np.concatenate(both).astype(np.int32),
        np.repeat([0, 1], 2).astype(np.int32),
        (Instance("first.00", "first"), Instance("second.00", "second")),
    )
    with RaycastSimulator(scene) as simulator:
        cameras = np.concatenate([pose((0, 0, 2)), pose((0, 0, -3), np.pi)])
        views = simulator.render(cameras, Camera(33, 20), instances=True)
        assert views.valid.all()
        np.testing.assert_allclose(views.point_map[..., 2], 0, atol=2e-6)
        # the twin that faces the camera is the one that is hit
        assert set(views.instance_ids[0].ravel()) == {1 if turned_first else 0}
        assert set(views.instance_ids[1].ravel()) == {0 if turned_first else 1}


def test_instances_are_the_walls(cube):
    views = cube.render(pose((0.5, 0.5, 0.5)), Camera(3, 3), instances=True)
    names = [[cube.instances[i].category for i in row] for row in views.instance_ids[0]]
    assert names[1][1] == "z0"
    up = pose((0.5, 0.5, 0.5))
    up[0, :3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]  # looking along +y
    assert {
        cube.instances[i].category
        for i in cube.render(up, Camera(4, 4, 60.0), instances=True).instance_ids.flat
    } == {"y1"}


def test_depth_range_keeps_its_bounds_and_does_not_look_through(cube):
    camera = Camera(20, 24, 100.0)
    eye = pose((0.5, 0.5, 0.9))
    depth = box_points(eye, camera)[1]
    views = cube.render(eye, camera, depth_range=(0.5, 0.8))
    inside = (depth >= 0.5) & (depth <= 0.8)
    sure = (np.abs(depth - 0.5) > 1e-5) & (np.abs(depth - 0.8) > 1e-5)
    np.testing.assert_array_equal(views.valid[0][sure], inside[sure])
    assert not views.point_map[~views.valid].any()
    far_wall_only = cube.render(eye, Camera(8, 8, 60.0), depth_range=(0.95, 5.0))
    assert not far_wall_only.valid.any()


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 41),
    width=st.integers(1, 41),
    hfov=st.floats(20, 140),
    frame=st.sampled_from(list(Frame)),
    heading=st.floats(-3.2, 3.2),
    x=st.floats(0.05, 0.95),
    z=st.floats(0.05, 0.95),
)
def test_round_trip_to_the_pixel(height, width, hfov, frame, heading, x, z):
    size = (8.0, 3.0, 11.0)
    camera = Camera(height, width, hfov)
    agent = pose((x * size[0], 0.2, z * size[2]), heading)
    eye = agent.copy()
    eye[0, 1, 3] += 1.25
    to_frame = frame_from_world(frame, world_from_start=agent, world_from_agent=agent, world_from_camera=eye)
    to_frame = np.broadcast_to(to_frame, (1, 4, 4))
    with RaycastSimulator(room(size), threads=1) as simulator:
        views = simulator.render(eye, camera, frame_from_world=to_frame)
    assert views.valid.all()
    camera_points = transform_points(
        frame_from_world("camera", world_from_camera=eye) @ invert(to_frame),
        views.point_map.astype(np.float64),
    )
    pixels, depth, visible = project(camera_points, camera)
    rows, columns = np.mgrid[:height, :width] + 0.5
    on_ray = camera.rays() * depth[0, ..., None]
    assert np.abs(on_ray - camera_points[0]).max() < 1e-4
    assert np.abs(pixels[0] - np.stack([columns, rows], -1)).max() < 1e-4 * camera.focal / 0.01
    assert visible.all()
    assert np.abs(box_points(eye, camera, size)[1] - depth[0]).max() < 1e-4


def some_poses(count: int, size=(1.0, 1.0, 1.0), seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return world_from_pose(
        rng.uniform(0.1, 0.9, (count, 3)) * size, rotation_from_heading(rng.uniform(-3, 3, count))
    )


def test_a_batch_equals_its_singles_on_any_number_of_threads():
    poses = some_poses(7)
    camera = Camera(37, 50, 75.0)
    reference = None
    for threads in (1, 2, 5):
        with RaycastSimulator(room(), threads=threads) as simulator:
            batch = simulator.render(poses, camera, instances=True)
            singles = [simulator.render(poses[i : i + 1], camera, instances=True) for i in range(7)]
            for i, single in enumerate(singles):
                np.testing.assert_array_equal(batch.point_map[i], single.point_map[0])
                np.testing.assert_array_equal(batch.instance_ids[i], single.instance_ids[0])
            reference = batch if reference is None else reference
            np.testing.assert_array_equal(batch.point_map, reference.point_map)


def test_an_empty_batch(cube):
    views = cube.render(np.zeros((0, 4, 4)), Camera(5, 6), instances=True)
    assert views.point_map.shape == (0, 5, 6, 3)
    assert views.valid.shape == views.instance_ids.shape == (0, 5, 6)


def test_answers_belong_to_the_caller(cube):
    camera = Camera(16, 16)
    first = cube.render(pose((0.5, 0.5, 0.5)), camera)
    kept = first.point_map.copy()
    first.valid[:] = False
    second = cube.render(pose((0.2, 0.5, 0.5), 1.0), camera)
    np.testing.assert_array_equal(first.point_map, kept)
    assert second.valid.all()


def test_many_threads_render_two_scenes_at_once():
    small, large = room(), room((4.0, 3.0, 5.0), scene_id="large")
    camera = Camera(48, 52)
    with RaycastSimulator(small) as a, RaycastSimulator(large) as b:
        jobs = [(a, some_poses(3, seed=i)) for i in range(12)]
        jobs += [(b, some_poses(3, (4.0, 3.0, 5.0), seed=i)) for i in range(12)]
        expected = [simulator.render(poses, camera).point_map for simulator, poses in jobs]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda job: job[0].render(job[1], camera).point_map, jobs * 4))
        for i, points in enumerate(found):
            np.testing.assert_array_equal(points, expected[i % len(jobs)])
        assert (a.scene_id, b.scene_id) == ("room", "large")


def test_closed_simulators_say_so_and_closing_waits_for_renders():
    simulator = RaycastSimulator(room())
    camera = Camera(300, 300)
    poses = some_poses(20)
    failures: list[BaseException] = []

    def render_until_closed():
        try:
            while True:
                assert simulator.render(poses, camera).valid.all()
        except SimulatorClosedError as error:
            failures.append(error)

    workers = [threading.Thread(target=render_until_closed) for _ in range(3)]
    for worker in workers:
        worker.start()
    simulator.render(poses, camera)
    simulator.close()
    simulator.close()
    for worker in workers:
        worker.join(30)
    assert len(failures) == 3
    assert issubclass(SimulatorClosedError, UserError)
    for use in (lambda: simulator.render(poses, camera), lambda: simulator.surface, lambda: simulator.scene):
        with pytest.raises(SimulatorClosedError, match="room has been closed"):
            use()
    assert simulator.memory_bytes() == 0


def _render_in_child(simulator, poses, camera, queue):
    with RaycastSimulator(room()) as fresh:
        queue.put((simulator.render(poses, camera).point_map, fresh.render(poses, camera).point_map))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_can_render(cube):
    poses, camera = some_poses(2), Camera(64, 64)
    expected = cube.render(poses, camera).point_map
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_render_in_child, args=(cube, poses, camera, queue))
    child.start()
    inherited, fresh = queue.get()
    child.join(30)
    assert child.exitcode == 0
    np.testing.assert_array_equal(inherited, expected)
    np.testing.assert_array_equal(fresh, expected)


def _as_a_lesser_processor(isa, poses, camera):
    """Packet size and views, in a process of its own: a second Embree device leaves a thread behind."""
    raycast.TriangleScene = partial(embree.TriangleScene, device_config=f"threads=1,isa={isa}")
    with RaycastSimulator(room()) as simulator:
        return simulator._triangles.packet_size, simulator.render(poses, camera, instances=True)


@pytest.mark.parametrize(("isa", "packet_size"), [("avx2", 8), ("sse4.2", 4), ("sse2", 4)])
def test_lesser_processors_trace_smaller_packets(cube, isa, packet_size):
    poses, camera = some_poses(3), Camera(13, 19, 80.0)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found, views = pool.submit(_as_a_lesser_processor, isa, poses, camera).result()
    if found > packet_size:
        pytest.skip("this build of Embree cannot be limited")
    expected = cube.render(poses, camera, instances=True)
    np.testing.assert_allclose(views.point_map, expected.point_map, atol=5e-6)
    assert (views.instance_ids == expected.instance_ids).mean() > 0.99


def test_memory_is_counted_and_given_back():
    rng = np.random.default_rng(0)
    vertices = rng.uniform(-5, 5, (60_000, 3)).astype(np.float32)
    triangles = np.arange(60_000, dtype=np.int32).reshape(-1, 3)
    scene = Scene("dust", vertices, triangles, np.zeros(20_000, np.int32))
    simulator = RaycastSimulator(scene)
    held = simulator.memory_bytes()
    assert (
        held > vertices.nbytes + triangles.nbytes + 20_000 * 30
    )  # a tree over triangles takes more than 30 bytes each
    structure = simulator._triangles._structure_bytes
    assert structure[0] > 0
    simulator.close()
    assert structure[0] == 0  # Embree reported all of it freed
    simulator = RaycastSimulator(scene)
    structure = simulator._triangles._structure_bytes
    del simulator
    gc.collect()
    assert structure[0] == 0  # even without close


def test_bad_input(cube):
    eye, camera = pose((0.5, 0.5, 0.5)), Camera(4, 4)
    with pytest.raises(SettingError, match=r"\(B, 4, 4\), found \(4, 4\)"):
        cube.render(eye[0], camera)
    with pytest.raises(SettingError, match="not finite"):
        cube.render(eye * np.nan, camera)
    with pytest.raises(SettingError, match="frame_from_world must have"):
        cube.render(eye, camera, frame_from_world=np.zeros((2, 4, 4)))
    for depth_range in ((1.0, 1.0), (-1.0, 2.0), (0.0, float("nan"))):
        with pytest.raises(SettingError, match="depth_range"):
            cube.render(eye, camera, depth_range=depth_range)
    with pytest.raises(SettingError, match="at least 1 thread"):
        RaycastSimulator(room(), threads=0)


def test_it_is_a_simulator(cube):
    cube._surface = object()  # the protocol's check looks at every attribute; no floor is wanted here
    assert isinstance(cube, Simulator)
    cube._surface = None
    assert cube.agent == AgentSpec()


@pytest.mark.golden
def test_depth_agrees_with_habitat(golden_dir, scenes_dir, real_scene):
    recording = np.load(golden_dir / f"{real_scene}.npz")
    poses = world_from_pose(
        recording["pose_position"].astype(float), recording["pose_rotation"].astype(float)
    )
    poses[:, 1, 3] += 1.25
    with RaycastSimulator(load_scene(scenes_dir / f"{real_scene}.glb")) as simulator:
        for name, camera in (("square", Camera(128, 128, 90.0)), ("wide", Camera(96, 160, 79.0))):
            to_camera = frame_from_world("camera", world_from_camera=poses)
            views = simulator.render(poses, camera, frame_from_world=to_camera)
            error = np.abs(views.point_map[..., 2] - recording[f"depth_{name}"])
            assert (error < 0.01).mean() >= 0.999
            assert (error < 0.001).mean() >= 0.995


def test_settings_that_hold_a_simulator_can_be_copied() -> None:
    simulator = RaycastSimulator(generate_house(0))
    assert copy.deepcopy({"simulator": simulator})["simulator"] is simulator
    simulator.close()
