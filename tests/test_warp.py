"""Ray casting with Warp sees what the ray caster on Embree sees: known rooms, culling, real scenes, an episode.

Wherever CUDA is, all of it runs on the GPU; elsewhere on Warp's processor device, by the same kernel.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import numpy as np
import pytest
from flat_room import box
from scipy.spatial import Delaunay

pytest.importorskip("warp", reason="NVIDIA Warp is not installed: pip install 'pomagym[gpu]'")

import gymnasium

import envs  # noqa: F401  (makes the names of the environments known)
from benchmarks.machine import provenance
from benchmarks.tables import throughput_table
from benchmarks.throughput import ThroughputSettings, measure_scene
from envs.scenes.houses import house
from envs.scenes.mesh import load_scene
from envs.scenes.scene import NO_INSTANCE, Instance, Scene
from envs.simulators import warp_raycast
from envs.simulators.check import check_simulator
from envs.simulators.open import open_simulator
from envs.simulators.protocol import Simulator
from envs.simulators.raycast import RaycastSimulator
from envs.simulators.render_arguments import SimulatorClosedError
from envs.simulators.warp_raycast import WarpSimulator
from poma3d.errors import SceneError, SettingError
from poma3d.pointmap import (
    Camera,
    Frame,
    frame_from_world,
    rotation_from_heading,
    transform_points,
    world_from_pose,
)

HOUSE = "procedural:val:0000"
SIZE = np.array([1.0, 2.0, 3.0])


def scene_of(vertices: np.ndarray, triangles: np.ndarray, ids: np.ndarray | None = None) -> Scene:
    """A scene whose triangles are an instance each, unless said otherwise."""
    numbers = np.arange(len(triangles), dtype=np.int32) if ids is None else ids
    instances = tuple(Instance(f"thing.{k:02}", "thing") for k in range(len(triangles)))
    return Scene(
        "known", np.asarray(vertices, np.float32), np.asarray(triangles, np.int32), numbers, instances
    )


def quad(z: float, *, towards: float = 1.0, half: float = 50.0) -> tuple[np.ndarray, np.ndarray]:
    """Corners and two triangles of a square at ``z`` whose front faces +z (or, with -1, -z)."""
    corners = np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    return corners, triangles if towards > 0 else triangles[:, ::-1]


def quads(*parts: tuple[np.ndarray, np.ndarray]) -> Scene:
    """Several squares, an instance each."""
    triangles = np.concatenate([faces + 4 * k for k, (_, faces) in enumerate(parts)])
    ids = np.repeat(np.arange(len(parts)), 2).astype(np.int32)
    return scene_of(np.concatenate([corners for corners, _ in parts]), triangles, ids)


def pose(position=(0.0, 0.0, 0.0), heading: float = 0.0) -> np.ndarray:
    """(1, 4, 4) upright pose; heading 0 looks along -z."""
    return world_from_pose(np.array([position], float), rotation_from_heading(np.array([heading])))


def floor_poses(simulator: Simulator, count: int, seed: int = 0) -> np.ndarray:
    """Camera poses on the surface, the last one tilted."""
    rng = np.random.default_rng(seed)
    points = np.array([simulator.surface.random_navigable_point(rng) for _ in range(count)], float)
    poses = world_from_pose(points, rotation_from_heading(rng.uniform(-np.pi, np.pi, count)))
    poses[:, 1, 3] += simulator.agent.camera_height
    poses[-1] = poses[-1] @ world_from_pose(np.zeros(3), np.array([-0.25, 0.1, 0.15, 0.95]))
    return poses


@pytest.fixture(scope="module")
def room() -> Iterator[WarpSimulator]:
    vertices, triangles = box((0, 0, 0), SIZE, inward=True)
    with WarpSimulator(scene_of(vertices, triangles)) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[WarpSimulator, RaycastSimulator]]:
    scene = house(HOUSE)
    with WarpSimulator(scene) as warp, RaycastSimulator(scene) as embree:
        yield warp, embree


@pytest.mark.parametrize("frame", list(Frame))
@pytest.mark.parametrize(("height", "width", "hfov"), [(5, 9, 90.0), (30, 17, 60.0), (1, 1, 10.0)])
def test_a_box_in_every_frame(room, frame, height, width, hfov):
    camera = Camera(height, width, hfov)
    agent = pose((0.3, 0.1, 1.6), 0.7)
    eye = agent.copy()
    eye[0, 1, 3] += 0.5
    to_frame = frame_from_world(
        frame, world_from_start=pose((0.9, 0.0, 0.2), -2.0), world_from_agent=agent, world_from_camera=eye
    )
    views = room.render(eye, camera, frame_from_world=to_frame)
    rays = camera.rays() * [1, -1, -1] @ eye[0, :3, :3].T
    origin = eye[0, :3, 3]
    with np.errstate(divide="ignore"):
        to_wall = np.where(rays > 0, (SIZE - origin) / rays, -origin / rays)
    depth = np.where(rays == 0, np.inf, to_wall).min(axis=-1)
    expected = transform_points(to_frame.reshape(4, 4), origin + rays * depth[..., None])
    assert views.point_map.dtype == np.float32
    assert views.valid.all()
    np.testing.assert_allclose(views.point_map[0], expected, atol=3e-6)


def test_rays_along_the_axes_meet_triangles_whose_edges_lie_in_them():
    """A direction of exactly 0 and a box that begins exactly there is 0 / 0 in the usual test of boxes."""
    lines = np.linspace(-2.0, 2.0, 9)  # 0 among them
    x, y = (part.ravel() for part in np.meshgrid(lines, lines))
    vertices = np.stack([x, y, np.full_like(x, -2.0)], -1)
    corner = np.arange(72)[np.arange(72) % 9 < 8]
    triangles = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + 10], -1),
            np.stack([corner, corner + 10, corner + 9], -1),
        ]
    )
    with WarpSimulator(scene_of(vertices, triangles)) as simulator:
        for position in ((0, 0, 0), (0.5, -1.0, 0), (1.0, 0.25, 0)):
            views = simulator.render(pose(position), Camera(5, 5, 40.0))
            assert views.valid.all(), position
            np.testing.assert_allclose(views.point_map[..., 2], -2.0, atol=1e-6)


def test_no_ray_slips_between_neighbours():
    rng = np.random.default_rng(0)
    flat = np.concatenate([rng.uniform(-1, 1, (400, 2)), [[-1, -1], [-1, 1], [1, -1], [1, 1]]])
    faces = Delaunay(flat).simplices
    a, b, c = (flat[faces[:, k]] for k in range(3))
    (x1, y1), (x2, y2) = (b - a).T, (c - a).T
    clockwise = x1 * y2 - y1 * x2 < 0
    faces[clockwise] = faces[clockwise][:, ::-1]
    bumpy = np.column_stack([flat, rng.uniform(-1.05, -0.95, len(flat))])
    eyes = np.concatenate([pose((x, y, 0.0), heading) for x, y, heading in rng.uniform(-0.1, 0.1, (20, 3))])
    camera = Camera(100, 100, 50.0)
    with WarpSimulator(scene_of(bumpy, faces)) as simulator:
        assert simulator.render(eyes, camera).valid.all()


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("cull", [True, False])
def test_a_wall_of_two_sides_is_seen_from_both(order, cull):
    sides = [quad(-2.0, towards=1), quad(-2.0, towards=-1)][::order]
    front, back = (0, 1) if order > 0 else (1, 0)
    behind = quad(-3.0)
    with WarpSimulator(quads(*sides, behind), cull_back_faces=cull) as simulator:
        camera = Camera(33, 33, 90.0)
        for eye, side in ((pose(), front), (pose((0, 0, -2.5), np.pi), back)):
            views = simulator.render(eye, camera, instances=True)
            assert views.valid.all()
            np.testing.assert_allclose(views.point_map[..., 2], -2.0, atol=1e-5)
            assert (views.instance_ids == (side if cull else 0)).all()


def test_what_faces_away_is_looked_through_unless_both_sides_are_asked_for():
    scene = quads(quad(-1.0, towards=-1), quad(-2.0, towards=-1), quad(-3.0), quad(-4.0))
    for cull, seen in ((True, -3.0), (False, -1.0)):
        with WarpSimulator(scene, cull_back_faces=cull) as simulator:
            views = simulator.render(pose(), Camera(16, 16, 60.0))
            assert views.valid.all()
            np.testing.assert_allclose(views.point_map[..., 2], seen, atol=1e-5)


def test_the_depth_range_keeps_its_bounds_and_does_not_look_through():
    scene = quads(quad(-1.0, half=0.5), quad(-3.0))
    camera, eye = Camera(40, 40, 90.0), pose()
    with WarpSimulator(scene) as simulator:
        near = np.abs(camera.rays()[..., :2]).max(-1) <= 0.5  # the small square fills the middle
        for bounds, middle, rest in (
            ((0.0, np.inf), True, True),
            ((1.5, np.inf), False, True),
            ((0.0, 2.0), True, False),
            ((1.5, 2.5), False, False),
        ):
            views = simulator.render(eye, camera, depth_range=bounds, instances=True)
            np.testing.assert_array_equal(views.valid[0], np.where(near, middle, rest))
            assert not views.point_map[~views.valid].any()
            np.testing.assert_array_equal(views.instance_ids[0] == 0, near & middle)
            assert (views.instance_ids[~views.valid] == NO_INSTANCE).all()
        within = simulator.render(pose((0, 0, -0.995)), camera)  # 5 mm: nearer than habitat-sim's near plane
        np.testing.assert_allclose(within.point_map[..., 2], -3.0, atol=1e-5)


def test_random_triangles_give_what_embree_gives():
    rng = np.random.default_rng(1)
    middle = rng.uniform(-4, 4, (3000, 1, 3))
    vertices = (middle + rng.normal(0, 0.4, (3000, 3, 3))).reshape(-1, 3)
    scene = scene_of(vertices, np.arange(9000).reshape(-1, 3))
    eyes = world_from_pose(rng.uniform(-1, 1, (6, 3)), rng.normal(size=(6, 4)))
    camera = Camera(61, 83, 100.0)
    with WarpSimulator(scene) as warp, RaycastSimulator(scene) as embree:
        a, b = (simulator.render(eyes, camera, instances=True) for simulator in (warp, embree))
    assert 0.5 < b.valid.mean() < 0.999
    assert np.mean(a.instance_ids == b.instance_ids) > 0.9995  # the rest are grazed edges
    same = a.valid & (a.instance_ids == b.instance_ids)
    apart = np.linalg.norm(a.point_map - b.point_map, axis=-1)[same]
    assert np.mean(apart < 1e-4) > 0.9995


def test_a_house_is_seen_as_by_embree(both):
    warp, embree = both
    poses = floor_poses(embree, 8)
    for camera in (Camera(96, 96, 90.0), Camera(60, 110, 79.0)):
        a, b = (simulator.render(poses, camera, instances=True) for simulator in both)
        assert np.mean(a.valid == b.valid) > 0.9999
        seen = a.valid & b.valid
        assert np.mean(np.linalg.norm(a.point_map - b.point_map, axis=-1)[seen] < 1e-3) > 0.9999
        assert (
            np.mean((a.instance_ids == b.instance_ids)[seen]) > 0.999
        )  # things touch: either is right there
    assert warp.memory_bytes() > warp.scene.triangles.nbytes


def test_the_contract_holds(both):
    report = check_simulator(both[0])
    assert report.ok, str(report)


@pytest.mark.golden
def test_a_real_scene_is_seen_as_by_embree_and_habitat(scenes_dir, golden_dir):
    """``willowgarage`` has most walls of two sides: from a third of the pixels the nearest face looks away."""
    scene = load_scene(scenes_dir / "willowgarage.glb")
    recording = np.load(golden_dir / "willowgarage.npz")
    position = recording["pose_position"].astype(float)
    position[:, 1] += 1.25
    poses = world_from_pose(position, recording["pose_rotation"].astype(float))
    to_camera = frame_from_world("camera", world_from_camera=poses)
    camera = Camera(128, 128, 90.0)
    with WarpSimulator(scene) as warp, RaycastSimulator(scene) as embree:
        a, b = (simulator.render(poses, camera, frame_from_world=to_camera) for simulator in (warp, embree))
    assert np.mean(a.valid == b.valid) > 0.9999
    assert np.mean(np.linalg.norm(a.point_map - b.point_map, axis=-1)[a.valid & b.valid] < 1e-3) > 0.9999
    assert np.mean(np.abs(a.point_map[..., 2] - recording["depth_square"]) < 0.001) >= 0.995


def test_tensors_are_the_arrays_and_stay_where_they_were_made(both):
    import torch

    warp = both[0]
    poses, camera = floor_poses(warp, 3), Camera(23, 31, 79.0)
    views = warp.render(poses, camera, instances=True, depth_range=(0.5, 4.0))
    tensors = warp.render_tensors(poses, camera, instances=True, depth_range=(0.5, 4.0))
    for name in ("point_map", "valid", "instance_ids"):
        tensor = getattr(tensors, name)
        assert tensor.device == torch.device(warp.device)
        np.testing.assert_array_equal(tensor.cpu().numpy(), getattr(views, name))
    assert tensors.valid.dtype == torch.bool
    assert warp.render_tensors(poses, camera).instance_ids is None
    kept = tensors.point_map.clone()
    warp.render_tensors(poses[::-1], camera)
    assert torch.equal(tensors.point_map, kept)
    assert warp.render_tensors(poses[:0], camera, instances=True).point_map.shape == (0, 23, 31, 3)
    with pytest.raises(SettingError, match="not finite"):
        warp.render_tensors(poses * np.nan, camera)


def test_an_empty_batch(room):
    views = room.render(np.zeros((0, 4, 4)), Camera(5, 6), instances=True)
    assert views.point_map.shape == (0, 5, 6, 3)
    assert views.valid.shape == views.instance_ids.shape == (0, 5, 6)


def test_answers_belong_to_the_caller_and_threads_take_turns(room):
    camera = Camera(20, 24, 80.0)
    eyes = [
        np.concatenate([pose((0.2 + 0.1 * k, 0.5, 1.0), float(k + i)) for k in range(3)]) for i in range(6)
    ]
    alone = [room.render(eye, camera).point_map.copy() for eye in eyes]
    room.render(eyes[0], camera).point_map[:] = 7
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(
            pool.map(lambda eye: room.render(eye, camera).point_map, eyes), alone, strict=True
        ):
            np.testing.assert_array_equal(found, expected)


def test_a_closed_simulator_says_so_once_renders_have_ended():
    simulator = WarpSimulator(quads(quad(-2.0)))
    ended: list[BaseException] = []

    def render_until_closed():
        try:
            while True:
                assert simulator.render(pose(), Camera(64, 64)).valid.all()
        except SimulatorClosedError as error:
            ended.append(error)

    workers = [threading.Thread(target=render_until_closed) for _ in range(2)]
    for worker in workers:
        worker.start()
    simulator.render(pose(), Camera(64, 64))
    assert simulator.memory_bytes() > 0
    simulator.close()
    simulator.close()
    for worker in workers:
        worker.join(30)
    assert len(ended) == 2
    assert simulator.memory_bytes() == 0
    for use in (
        lambda: simulator.render(pose(), Camera(4, 4)),
        lambda: simulator.render_tensors(pose(), Camera(4, 4)),
        lambda: simulator.surface,
    ):
        with pytest.raises(SimulatorClosedError, match="known has been closed"):
            use()


def test_an_episode_goes_as_with_embree():
    made = [
        gymnasium.make(
            "pomagym/PointNav-v0", scene=HOUSE, episodes=2, size=48, shuffle=False, simulator=simulator
        )
        for simulator in ("warp", "raycast")
    ]
    observed = [env.reset(seed=0)[0] for env in made]
    for action in [1, 2, 1, 1, 3, 3, 1, 1, 1, 2, 1, 0]:
        ours, theirs = observed
        for name in ("pointgoal_with_gps_compass", "gps", "compass"):
            np.testing.assert_array_equal(ours[name], theirs[name])
        assert np.mean(ours["valid"] == theirs["valid"]) > 0.999
        seen = ours["valid"] & theirs["valid"]
        assert np.mean(np.abs(ours["point_map"] - theirs["point_map"])[seen] < 1e-4) > 0.999
        steps = [env.step(action) for env in made]
        observed = [step[0] for step in steps]
        assert steps[0][1:4] == steps[1][1:4]
        assert steps[0][4]["distance_to_goal"] == steps[1][4]["distance_to_goal"]
    assert steps[0][2]
    for env in made:
        env.close()


def test_its_name_opens_it():
    with open_simulator(HOUSE, backend="warp") as simulator:
        assert isinstance(simulator, WarpSimulator)
        assert isinstance(simulator, Simulator)
        assert simulator.device == ("cuda:0" if has_cuda() else "cpu")


def has_cuda() -> bool:
    import warp

    return warp.is_cuda_available()


def test_its_speed_can_be_measured_and_told():
    settings = ThroughputSettings(
        HOUSE, size=8, batches=(16,), poses=2, repeats=1, seconds=0.001, simulator="warp"
    )
    rows = measure_scene(settings)
    assert [row["what"] for row in rows] == ["render", "render_tensors", "step"]
    device = "cuda:0" if has_cuda() else "cpu"
    assert all((row["simulator"], row["device"]) == ("warp", device) for row in rows)
    assert all(row["per_second"] > 0 for row in rows)
    table = throughput_table({"rows": rows, **provenance()})
    assert f"warp-lang {metadata.version('warp-lang')} on {device}" in str(table.caption)


def test_a_device_that_is_not_there_is_refused_by_name():
    with pytest.raises(SettingError, match=r"no device 'cuda:99' here; it has cpu"):
        WarpSimulator(quads(quad(-1.0)), device="cuda:99")
    with WarpSimulator(quads(quad(-1.0)), device="cpu") as simulator:
        assert simulator.device == "cpu"
    if has_cuda():
        with WarpSimulator(quads(quad(-1.0)), device="cuda") as simulator:
            assert simulator.device == "cuda:0"


def test_a_torch_without_cuda_is_told_apart_from_a_missing_gpu(room, monkeypatch):
    import torch

    monkeypatch.setattr(room, "device", "cuda:0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingError, match="install torch with CUDA"):
        room.render_tensors(pose(), Camera(4, 4))


def test_the_kernel_compiles_for_a_gpu_and_rounds_there_as_here(tmp_path):
    """No GPU is needed to compile for one; what it computes is only known where one is."""
    import warp

    from envs.simulators import warp_kernel

    if not warp.get_cuda_supported_archs():
        pytest.skip("this build of Warp has no CUDA compiler")
    warp.compile_aot_module(warp_kernel, module_dir=tmp_path, arch=80, use_ptx=True)
    (compiled,) = tmp_path.glob("*.ptx")
    code = compiled.read_bytes()
    assert b".entry trace_views" in code
    assert b"fma.rn.f32" not in code


def test_bad_input_and_full_memory(room, monkeypatch):
    camera = Camera(4, 4)
    with pytest.raises(SettingError, match=r"\(B, 4, 4\), found \(4, 4\)"):
        room.render(pose()[0], camera)
    with pytest.raises(SettingError, match="depth_range"):
        room.render(pose(), camera, depth_range=(2.0, 1.0))

    def full(*_):
        raise RuntimeError("Failed to allocate 9 bytes on device")

    monkeypatch.setattr(WarpSimulator, "_launch", full)
    with pytest.raises(SettingError, match=r"Failed to allocate 9 bytes .* fewer or smaller views"):
        room.render(pose(), camera)
    monkeypatch.setattr(warp_raycast, "_Geometry", full)
    with pytest.raises(SceneError, match=r"2 triangles of known .* enough memory"):
        WarpSimulator(quads(quad(-1.0)))


def test_nothing_but_the_answer_goes_to_standard_output():
    code = "from pomagym.doctor_warp import render_one_frame; render_one_frame()"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stderr
    (line,) = said.stdout.splitlines()
    assert "a wall at 3 m seen at 3.000 m" in line
