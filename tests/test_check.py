"""`check_simulator`: a good simulator passes every line, and each way of being wrong fails its line."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from envs.embodiment import AgentSpec
from envs.scenes.mesh import load_scene
from envs.scenes.scene import Instance, Scene
from envs.simulators.check import CheckReport, CheckRow, check_simulator, main
from envs.simulators.protocol import Path, Views
from envs.simulators.raycast import RaycastSimulator
from poma3d.errors import FileError, SettingError
from poma3d.pointmap import Camera

ROOMS = np.array(
    [[[0.0, 0.0], [6.0, 4.0]], [[8.0, 0.0], [11.0, 3.0]]]
)  # two islands: (x, z) of low and high corner
FLOOR = 0.1


class Rooms:
    """Two rectangles with a closed form for every question; paths are straight."""

    bounds = np.array([[0.0, FLOOR, 0.0], [11.0, FLOOR, 4.0]])
    island_areas = np.array([24.0, 9.0])

    def island(self, points):
        inside = [
            ((points[:, [0, 2]] >= low) & (points[:, [0, 2]] <= high)).all(1)
            for low, high in ROOMS - [[[1e-6], [-1e-6]]]
        ]
        level = np.abs(points[:, 1] - FLOOR) <= 0.5
        return np.where(level & inside[0], 0, np.where(level & inside[1], 1, -1))

    def is_navigable(self, points, max_y_delta=0.5):
        level = np.abs(points[:, 1] - FLOOR) <= max_y_delta
        flat = points * [1, 0, 1] + [0, FLOOR, 0]
        return level & (self.island(flat) >= 0)

    def _clamp(self, points, room):
        low, high = ROOMS[room].transpose(1, 0, 2) if np.ndim(room) else ROOMS[room]
        flat = np.clip(points[:, [0, 2]], low, high)
        return np.stack([flat[:, 0], np.full(len(points), FLOOR), flat[:, 1]], axis=1)

    def snap_point(self, points):
        candidates = np.stack([self._clamp(points, 0), self._clamp(points, 1)])
        distance = np.linalg.norm(candidates - points, axis=2)
        nearest = candidates[distance.argmin(0), np.arange(len(points))]
        return np.where((distance.min(0) <= 4)[:, None], nearest, np.nan)

    def try_step(self, start, end, *, sliding=True):
        held = self._clamp(end, self.island(start))
        if sliding:
            return held
        step = end - start
        room = ROOMS[self.island(start)]
        with np.errstate(divide="ignore", invalid="ignore"):
            limit = np.where(step[:, [0, 2]] > 0, room[:, 1], room[:, 0]) - start[:, [0, 2]]
            share = np.where(step[:, [0, 2]] == 0, 1.0, limit / step[:, [0, 2]]).min(axis=1)
        return start + step * np.clip(share, 0, 1)[:, None] * [1, 0, 1]

    def distance_field(self, goals):
        return Field(self, goals)

    def geodesic_distance(self, start, goals):
        return self.distance_field(goals).distance(start)

    def shortest_path(self, start, goals):
        return self.distance_field(goals).path(start)

    def random_navigable_point(self, rng, *, island=None):
        room = rng.choice(2, p=[24 / 33, 9 / 33]) if island is None else island
        x, z = rng.uniform(*ROOMS[room])
        return np.array([x, FLOOR, z])

    def distance_to_closest_obstacle(self, points, max_radius=2.0):
        island = self.island(points)
        room = ROOMS[island]
        flat = points[:, [0, 2]]
        distance = np.minimum(flat - room[:, 0], room[:, 1] - flat).min(axis=1)
        return np.where(island >= 0, np.clip(distance, 0, max_radius), 0.0)

    def island_radius(self, points):
        return np.where(self.island(points) >= 0, 2.0, 0.0)

    def topdown_map(self, height, cell=0.05, max_y_delta=0.5):
        x, z = np.meshgrid(np.arange(0, 11, cell), np.arange(0, 4, cell))
        points = np.stack([x, np.full_like(x, height), z], -1).reshape(-1, 3)
        return self.is_navigable(points, max_y_delta).reshape(x.shape)


class Field:
    def __init__(self, surface, goals):
        self.surface, self.goals = surface, goals

    def _table(self, points):
        table = np.linalg.norm(points[:, None] - self.goals[None], axis=2)
        here, there = self.surface.island(points)[:, None], self.surface.island(self.goals)[None]
        return np.where((here == there) & (here >= 0), table, np.inf)

    def distance(self, points):
        return self._table(points).min(axis=1)

    def path(self, point):
        table = self._table(point[None])[0]
        goal = int(table.argmin())
        if np.isinf(table[goal]):
            return Path(np.empty((0, 3)), np.inf, -1)
        return Path(np.stack([point, self.goals[goal]]), float(table[goal]), goal)


def box(low, high):
    """Vertices and inward triangles of a box."""
    corners = np.array(
        [[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    )
    faces = "013 032 467 475 045 051 237 276 026 064 157 173"
    triangles = np.array([[int(corner) for corner in face] for face in faces.split()])
    a, b, c = corners[triangles].transpose(1, 0, 2)
    inwards = (np.cross(b - a, c - a) * (corners.mean(0) - a)).sum(1) > 0
    return corners, np.where(inwards[:, None], triangles, triangles[:, ::-1])


@pytest.fixture(scope="module")
def scene():
    """Two rooms around the two islands; the second lacks its ceiling, so that some rays hit nothing."""
    first, faces = box((-0.2, 0.1, -0.2), (6.2, 3, 4.2))
    second, more = box((7.8, 0.1, -0.2), (11.2, 3, 3.2))
    more = more[:-6] if len(more) == 12 else more
    return Scene(
        "rooms",
        np.concatenate([first, second]).astype(np.float32),
        np.concatenate([faces, more + 8]).astype(np.int32),
        np.concatenate([np.zeros(12), np.ones(len(more))]).astype(np.int32),
        (Instance("hall.00", "hall"), Instance("shed.00", "shed")),
    )


@pytest.fixture
def simulator(scene):
    with RaycastSimulator(scene, surface=Rooms()) as simulator:
        yield simulator


class Broken:
    """A simulator with some of its methods replaced."""

    def __init__(self, simulator, **changes):
        self._simulator = simulator
        self._changes = changes

    def __getattr__(self, name):
        if name in self._changes:
            return self._changes[name]
        return getattr(self._simulator, name)


def with_surface(simulator, **changes):
    """A simulator whose surface has some methods replaced; each is called with the good surface first."""
    surface = Rooms()
    for name, change in changes.items():
        value = (lambda *a, _f=change, **k: _f(Rooms(), *a, **k)) if callable(change) else change
        setattr(surface, name, value)
    return Broken(simulator, surface=surface)


def with_views(simulator, change):
    """A simulator whose answers are changed: ``change(views, number_of_the_call)``."""
    calls = []

    def render(world_from_camera, camera, **options):
        calls.append(camera)
        return change(simulator.render(world_from_camera, camera, **options), len(calls))

    return Broken(simulator, render=render)


def failing(simulator) -> set[str]:
    report = check_simulator(simulator)
    assert all(row.advice for row in report.failures)
    return {row.what for row in report.failures}


def test_a_good_simulator_passes_every_line(simulator):
    report = check_simulator(simulator, stop_on_failure=True)
    assert report.ok
    assert not report.failures
    assert len(report.rows) == 21
    assert check_simulator(simulator, seed=7).ok
    simulator.render(np.eye(4)[None], Camera(2, 2))  # still open


def dirty_zeros(views, _):
    views.point_map[~views.valid] = 1e-6
    return views


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


def drifting_snap(good, points):
    return good.snap_point(points) + np.array([0.01, 0, 0])


def half_symmetric(good, start, goals):
    return good.geodesic_distance(start, goals) * (1 + 0.5 * (start[:, 0] > goals[0, 0]))


def too_short(good, start, goals):
    return good.geodesic_distance(start, goals) * 0.9


def across_islands(good, start, goals):
    return np.linalg.norm(start[:, None] - goals[None], axis=2).min(axis=1)


def clockwork(good, rng, *, island=None):
    return good.random_navigable_point(np.random.default_rng(), island=island)


def global_random(good, rng, *, island=None):
    np.random.uniform()  # noqa: NPY002
    return good.random_navigable_point(rng, island=island)


def any_island(good, rng, *, island=None):
    return good.random_navigable_point(rng)


def off_the_edge(good, start, end, *, sliding=True):
    return np.asarray(end, float)


def slides_always(good, start, end, *, sliding=True):
    return good.try_step(start, end, sliding=True)


def never_slides(good, start, end, *, sliding=True):
    return good.try_step(start, end, sliding=False) if not sliding else np.asarray(start, float)


def restless(good, start, end, *, sliding=True):
    still = (start == end).all(axis=1)[:, None]
    return np.where(
        still, np.asarray(start) + np.array([0.02, 0, 0]), good.try_step(start, end, sliding=sliding)
    )


def crooked_path(good, start, goals):
    path = good.shortest_path(start, goals)
    return dataclasses.replace(path, length=path.length + 0.5)


def half_path(good, start, goals):
    path = good.shortest_path(start, goals)
    if not len(path.points):
        return path
    middle = path.points.mean(axis=0)
    return dataclasses.replace(path, points=np.stack([path.points[0], middle, path.points[0]]))


def hopeful_path(good, start, goals):
    path = good.shortest_path(start, goals)
    return dataclasses.replace(path, goal_index=0) if not len(path.points) else path


def first_goal_only(good, goals):
    return good.distance_field(goals[:1])


def too_clear(good, points, max_radius=2.0):
    return np.where(good.is_navigable(points), max_radius, 0.0)


def too_far(good, points, max_radius=2.0):
    return good.distance_to_closest_obstacle(points, 10.0)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"is_navigable": lambda good, points, d=0.5: np.ones(len(points), bool)}, "surface: navigable"),
        (
            {"is_navigable": lambda good, points, d=0.5: good.is_navigable(points).astype(int)},
            "surface: navigable",
        ),
        ({"is_navigable": lambda good, points, d=0.5: points[:, 0] < 3}, "surface: navigable"),
        ({"snap_point": drifting_snap}, "surface: snapping twice"),
        ({"snap_point": lambda good, points: points}, "surface: snapping twice"),
        (
            {"snap_point": lambda good, points: np.nan_to_num(good.snap_point(points))},
            "surface: snapping twice",
        ),
        ({"random_navigable_point": clockwork}, "surface: randomness"),
        ({"random_navigable_point": global_random}, "surface: randomness"),
        ({"random_navigable_point": any_island}, "surface: randomness"),
        (
            {"random_navigable_point": lambda good, rng, *, island=None: np.array([1, 0.1, 1])},
            "surface: randomness",
        ),
        ({"island_areas": np.array([9.0, 24.0])}, "surface: islands"),
        ({"island": lambda good, points: good.island(points) + 1}, "surface: islands"),
        ({"island_radius": lambda good, points: np.zeros(len(points))}, "surface: islands"),
        ({"geodesic_distance": half_symmetric}, "surface: distance there and back"),
        ({"geodesic_distance": too_short}, "surface: distance there and back"),
        ({"geodesic_distance": across_islands}, "surface: distance there and back"),
        ({"geodesic_distance": too_short}, "surface: path length"),
        ({"distance_field": first_goal_only}, "surface: distance to several goals"),
        ({"shortest_path": crooked_path}, "surface: path length"),
        ({"shortest_path": half_path}, "surface: path length"),
        ({"shortest_path": hopeful_path}, "surface: path length"),
        ({"try_step": off_the_edge}, "surface: steps"),
        ({"try_step": slides_always}, "surface: steps"),
        ({"try_step": never_slides}, "surface: steps"),
        ({"try_step": restless}, "surface: steps"),
        ({"distance_to_closest_obstacle": too_clear}, "surface: clearance"),
        ({"distance_to_closest_obstacle": too_far}, "surface: clearance"),
        ({"topdown_map": lambda good, *a, **k: good.topdown_map(*a, **k).T}, "surface: top-down map"),
        ({"topdown_map": lambda good, *a, **k: ~good.topdown_map(*a, **k)}, "surface: top-down map"),
    ],
)
def test_a_wrong_surface_fails_its_line(simulator, changes, line):
    assert line in failing(with_surface(simulator, **changes))


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


def test_recordings_that_are_none(simulator, scene, tmp_path):
    with pytest.raises(FileError, match="no such file"):
        check_simulator(simulator, recording=tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(FileError, match="no recording"):
        check_simulator(simulator, recording=tmp_path / "bad.npz")
    path, _ = record(simulator, tmp_path)
    with (
        RaycastSimulator(scene, AgentSpec(radius=0.3), surface=Rooms()) as wide,
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
