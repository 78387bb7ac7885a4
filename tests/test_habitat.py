"""The contract on real Habitat. These checks run wherever habitat-sim can be imported, and nowhere else: nothing
here stands in for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

habitat_sim = pytest.importorskip(
    "habitat_sim", reason="habitat-sim comes by conda alone: see environment.yml"
)

from gymnasium.utils.env_checker import check_env  # noqa: E402

from envs.embodiment import AgentSpec, agent_preset  # noqa: E402
from envs.pointnav import PointNavEnv  # noqa: E402
from envs.scenes.houses import house  # noqa: E402
from envs.scenes.mesh import save_scene  # noqa: E402
from envs.simulators.check import check_simulator  # noqa: E402
from envs.simulators.habitat import HabitatSimulator  # noqa: E402
from envs.simulators.habitat_install import choose_gpu_device  # noqa: E402
from envs.simulators.open import open_simulator  # noqa: E402
from envs.simulators.render_arguments import SimulatorClosedError  # noqa: E402
from poma3d.errors import FileError, SceneError, UserError  # noqa: E402
from poma3d.pointmap import Camera, rotation_from_heading, world_from_pose  # noqa: E402

pytestmark = pytest.mark.habitat
HOUSE = "procedural:val:0"


@pytest.fixture(scope="module")
def house_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("house") / "house.glb"
    save_scene(house(HOUSE), path)
    return path


@pytest.fixture(scope="module")
def simulator(house_file: Path) -> Iterator[HabitatSimulator]:
    with HabitatSimulator(house_file) as opened:
        yield opened


def upright_poses(simulator: HabitatSimulator, count: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    points = np.array([simulator.surface.random_navigable_point(rng) for _ in range(count)], np.float64)
    poses = world_from_pose(points, rotation_from_heading(rng.uniform(-np.pi, np.pi, count)))
    poses[:, 1, 3] += simulator.agent.camera_height
    return poses


def test_the_contract_holds_on_a_house(simulator: HabitatSimulator) -> None:
    report = check_simulator(simulator)
    assert report.ok, str(report)


@pytest.mark.golden
def test_the_contract_holds_on_real_scenes(golden_dir: Path, scenes_dir: Path, real_scene: str) -> None:
    with HabitatSimulator(scenes_dir / f"{real_scene}.glb") as opened:
        report = check_simulator(opened, recording=golden_dir / f"{real_scene}.npz")
    assert report.ok, str(report)


@pytest.mark.golden
def test_a_given_navmesh_is_walked_on(golden_dir: Path, scenes_dir: Path) -> None:
    navmesh = golden_dir / "small_house.navmesh"
    recorded = np.load(golden_dir / "small_house.npz")
    with HabitatSimulator(scenes_dir / "small_house.glb", navmesh=navmesh) as opened:
        found = opened.surface.is_navigable(recorded["query"])
    assert np.array_equal(found, recorded["query_navigable"])


def test_both_simulators_see_the_same_house(simulator: HabitatSimulator, house_file: Path) -> None:
    ours = open_simulator(house_file)
    poses = upright_poses(simulator, 12)
    for camera in (Camera(128, 128, 90.0), Camera(96, 160, 79.0)):
        theirs, built_in = simulator.render(poses, camera), ours.render(poses, camera)
        assert np.mean(theirs.valid == built_in.valid) >= 0.999
        both = theirs.valid & built_in.valid
        apart = np.linalg.norm(theirs.point_map - built_in.point_map, axis=-1)[both]
        assert np.mean(apart <= 0.01) >= 0.999
    ours.close()


def test_both_surfaces_agree_on_the_same_house(simulator: HabitatSimulator, house_file: Path) -> None:
    ours = open_simulator(house_file).surface
    rng = np.random.default_rng(6)
    points = np.array([simulator.surface.random_navigable_point(rng) for _ in range(200)])
    jittered = points + rng.uniform(-0.3, 0.3, points.shape) * [1, 0, 1]
    assert np.mean(ours.is_navigable(jittered) == simulator.surface.is_navigable(jittered)) >= 0.97
    for sliding in (True, False):
        ends = [s.try_step(points, jittered, sliding=sliding) for s in (ours, simulator.surface)]
        assert np.mean(np.linalg.norm(ends[0] - ends[1], axis=1) <= 0.02) >= 0.95
    lengths = [s.geodesic_distance(points[:100], points[100:103]) for s in (ours, simulator.surface)]
    assert np.mean(np.isfinite(lengths[0]) == np.isfinite(lengths[1])) >= 0.99
    finite = np.isfinite(lengths[0]) & np.isfinite(lengths[1])
    ours_long, theirs_long = (length[finite] for length in lengths)
    assert np.mean(np.abs(ours_long - theirs_long) <= np.maximum(0.1, 0.02 * theirs_long)) >= 0.98


def test_a_procedural_name_is_a_scene() -> None:
    with HabitatSimulator(HOUSE) as opened:
        assert opened.scene_id == HOUSE
        assert opened.render(upright_poses(opened, 1), Camera(32, 32, 90.0)).valid.any()


def test_many_cameras_share_the_bodies(simulator: HabitatSimulator) -> None:
    pose = upright_poses(simulator, 1)
    first = simulator.render(pose, Camera(16, 16, 60.0)).point_map
    for width in range(17, 37):
        assert simulator.render(pose, Camera(16, width, 60.0)).point_map.shape == (1, 16, width, 3)
    assert np.array_equal(simulator.render(pose, Camera(16, 16, 60.0)).point_map, first)


def test_two_simulators_live_side_by_side_and_die_apart(house_file: Path) -> None:
    first, second = HabitatSimulator(house_file), HabitatSimulator(house_file)
    poses, camera = upright_poses(first, 2), Camera(48, 64, 90.0)
    expected = first.render(poses, camera).point_map
    first.close()
    first.close()
    assert np.array_equal(second.render(poses, camera).point_map, expected)
    with pytest.raises(SimulatorClosedError):
        first.render(poses, camera)
    second.close()
    assert second.memory_bytes() == 0


def test_another_thread_may_ask(simulator: HabitatSimulator) -> None:
    poses, camera = upright_poses(simulator, 2), Camera(48, 64, 90.0)
    expected = simulator.render(poses, camera).point_map
    found: list[np.ndarray] = []
    asker = threading.Thread(target=lambda: found.append(simulator.render(poses, camera).point_map))
    asker.start()
    asker.join()
    assert np.array_equal(found[0], expected)


def test_the_body_decides_where_it_can_walk(house_file: Path, simulator: HabitatSimulator) -> None:
    with HabitatSimulator(house_file, AgentSpec(radius=0.3)) as wide:
        assert wide.surface.island_areas.sum() < simulator.surface.island_areas.sum()


def test_environments_run_on_habitat(house_file: Path) -> None:
    env = PointNavEnv(house_file, 3, simulator="habitat", size=64, frame="agent")
    check_env(env, skip_render_check=True)
    for _ in range(3):
        observation, info = env.reset()
        assert env.observation_space.contains(observation)
        for action in (1, 2, 1, 3, 1, 0):
            observation, reward, terminated, truncated, info = env.step(action)
        assert terminated
        assert not truncated
        assert np.isfinite([reward, info["spl"], info["distance_to_goal"]]).all()
    env.close()


def test_the_same_seed_gives_the_same_episodes(house_file: Path) -> None:
    starts = []
    for _ in range(2):
        env = PointNavEnv(house_file, 4, simulator="habitat", size=16)
        starts.append([env.reset()[1]["distance_to_goal"] for _ in range(4)])
        env.close()
    assert starts[0] == starts[1]


def test_bad_scenes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        HabitatSimulator(tmp_path / "none.glb")
    broken = tmp_path / "broken.glb"
    broken.write_bytes(b"glTF" + bytes(100))
    with pytest.raises((FileError, SceneError)):
        HabitatSimulator(broken)


def test_a_bad_navmesh_is_refused(house_file: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.navmesh").write_bytes(b"not one")
    with pytest.raises(UserError, match="navmesh"):
        HabitatSimulator(house_file, navmesh=tmp_path / "bad.navmesh")


@pytest.fixture
def lab_config(golden_dir: Path, scenes_dir: Path):
    """habitat-lab's own PointNav configuration on a recorded data set, with our sensors."""
    lab = pytest.importorskip("habitat", reason="habitat-lab is not installed: see environment.yml")
    import envs.habitat_lab  # noqa: F401  (registers)

    return lab.get_config(
        "benchmark/nav/pointnav/pointnav_gibson.yaml",
        overrides=[
            f"habitat.dataset.data_path={golden_dir}/small_house.pointnav.json.gz",
            f"habitat.dataset.scenes_dir={scenes_dir}",
            "habitat.environment.iterator_options.shuffle=False",
            f"habitat.simulator.habitat_sim_v0.gpu_device_id={choose_gpu_device()}",
            "+habitat/task/measurements=[collisions,soft_spl]",
            "+habitat/task/lab_sensors=[pomagym_pose,gps_sensor,compass_sensor]",
        ],
    )


@pytest.mark.golden
def test_habitat_lab_through_gymnasium_repeats_its_recording(lab_config, golden_dir: Path) -> None:
    from envs.habitat_lab import HabitatLabEnv

    recorded = np.load(golden_dir / "small_house.lab.npz")
    env = HabitatLabEnv(lab_config, frame="world", render_mode="rgb_array")
    keys = [episode.episode_id for episode in env.habitat_env.episodes]
    for number in range(3):
        rows = np.flatnonzero(recorded["episode"] == number)
        env.reset(options={"episode_id": keys[number]})
        for row in rows:
            observation, _, terminated, truncated, info = env.step(int(recorded["actions"][row]))
            assert np.abs(observation["pointgoal_with_gps_compass"] - recorded["pointgoal"][row]).max() < 1e-3
            assert np.abs(observation["gps"] - recorded["gps"][row]).max() < 1e-3
            assert np.abs(observation["compass"] - recorded["compass"][row]).max() < 1e-3
            assert abs(info["distance_to_goal"] - recorded["distance_to_goal"][row]) < 1e-2
            assert abs(info["spl"] - recorded["spl"][row]) < 1e-2
        assert terminated
        assert not truncated
    picture = env.render()
    assert picture is not None
    assert picture.dtype == np.uint8
    env.close()


@pytest.mark.golden
def test_the_lab_sensor_sees_what_the_backend_sees(lab_config, scenes_dir: Path) -> None:
    from envs.habitat_lab import HabitatLabEnv

    env = HabitatLabEnv(lab_config, frame="world")
    observation, _ = env.reset()
    with HabitatSimulator(scenes_dir / "small_house.glb") as opened:
        height, width = observation["valid"].shape
        views = opened.render(
            observation["pose"].astype(np.float64)[None], Camera(height, width, 90.0), depth_range=(0.0, 10.0)
        )
    env.close()
    assert np.mean(views.valid[0] == observation["valid"]) >= 0.999
    both = views.valid[0] & observation["valid"]
    assert np.abs(views.point_map[0] - observation["point_map"])[both].max() < 1e-2


@pytest.mark.golden
def test_habitat_lab_is_clean_for_gymnasiums_checker(lab_config) -> None:
    from envs.habitat_lab import HabitatLabEnv

    env = HabitatLabEnv(lab_config, size=(32, 32))
    check_env(env, skip_render_check=True)
    assert env.action_names == ("stop", "move_forward", "turn_left", "turn_right")
    env.close()


def test_presets_of_the_benchmarks_run(house_file: Path) -> None:
    agent = agent_preset("objectnav-hm3d")
    with HabitatSimulator(house_file, agent) as opened:
        views = opened.render(upright_poses(opened, 1), agent.camera, depth_range=agent.depth_range)
    assert views.point_map.shape == (1, 480, 640, 3)
