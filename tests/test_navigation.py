"""The navigation environments: what is seen, who checks them, in which order they run, how they fail."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from flat_room import room_scene, room_simulator
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from envs.embodiment import PRESETS, AgentSpec, agent_preset
from envs.episodes import Episode, Goal, read_episodes, write_episodes
from envs.episodes.objectnav_generator import category_tables, generate_objectnav
from envs.episodes.pointnav_generator import generate_pointnav
from envs.locomotion import Action
from envs.navigation import NavigationEnv
from envs.objectnav import ObjectNavEnv
from envs.pointnav import PointNavEnv
from envs.registration import ENVIRONMENTS, register_environments
from envs.simulators.open import open_simulator
from envs.simulators.shelf import Shelf, SimulatorPool
from envs.spaces import PointMapSpace, ValiditySpace
from envs.task_source import body_of, list_scenes
from poma3d.errors import EpisodeError, MissingDependencyError, SettingError
from poma3d.pointmap import Frame, frame_from_world, transform_points

FORWARD, LEFT, RIGHT, STOP = Action.MOVE_FORWARD, Action.TURN_LEFT, Action.TURN_RIGHT, Action.STOP


@pytest.fixture(autouse=True)
def _registered() -> None:
    register_environments()


@pytest.fixture(scope="module")
def simulators() -> dict[str, Any]:
    return {name: room_simulator(agent) for name, agent in PRESETS.items()}


@pytest.fixture(scope="module")
def chairs(simulators: dict[str, Any]) -> list[Episode]:
    """ObjectNav episodes with few view points, which the room's surface measures one by one."""
    found = generate_objectnav(simulators["objectnav-hm3d"], 2, categories=["chair"])
    few = tuple(replace(goal, view_points=(goal.view_points or ())[::50]) for goal in found[0].goals)
    return [replace(made, goals=few) for made in found]


def episode(start: tuple = (2.0, 0.0, 0.0), goal: tuple = (2.0, 0.0, -2.0), heading: float = 0.0) -> Episode:
    rotation = (0.0, math.sin(heading / 2), 0.0, math.cos(heading / 2))
    return Episode("e", "flat_room", start, rotation, (Goal(goal),))


def room_env(*episodes: Episode, **settings: Any) -> PointNavEnv:
    given = {"episodes": list(episodes)} if episodes else {"episodes": 3}
    return PointNavEnv(**{"simulator": room_simulator(), "size": (16, 24), **given, **settings})


# What is seen.


def test_an_episode_by_hand() -> None:
    env = room_env(episode())
    observation, info = env.reset()
    np.testing.assert_allclose(observation["pointgoal_with_gps_compass"], [2, 0], atol=1e-6)
    assert (info["episode_id"], info["scene_id"], info["distance_to_goal"]) == ("e", "flat_room", 2.0)
    for step in range(1, 9):
        observation, reward, terminated, truncated, info = env.step(FORWARD)
        assert reward == pytest.approx(0.25 - 0.01, abs=1e-6)
        assert (terminated, truncated) == (False, False)
        assert info["num_steps"] == step
    np.testing.assert_allclose(observation["gps"], [2, 0], atol=1e-6)
    env.step(LEFT)
    observation, reward, terminated, truncated, info = env.step(STOP)
    assert observation["compass"][0] == pytest.approx(math.radians(10))
    assert (terminated, truncated, reward) == (True, False, pytest.approx(2.5 - 0.01))
    assert (info["success"], info["spl"], info["num_steps"]) == (1.0, pytest.approx(1.0), 10)
    np.testing.assert_allclose(env.trajectory[-1], [2, 0, -2], atol=1e-6)


@pytest.mark.parametrize("frame", list(Frame))
def test_point_maps_are_where_the_frame_says(frame: Frame) -> None:
    env = room_env(episode(heading=0.4), frame=frame, size=(15, 21), depth_range=(0.0, 30.0))
    env.reset()
    env.step(LEFT)
    observation = env.step(FORWARD)[0]
    world = env.simulator.render(env.world_from_camera[None], env.camera)
    start = episode(heading=0.4)
    assert world.valid.all(), "a closed room"
    first = room_env(start)
    first.reset()
    into = frame_from_world(
        frame,
        world_from_start=first.world_from_agent,
        world_from_agent=env.world_from_agent,
        world_from_camera=env.world_from_camera,
    )
    np.testing.assert_array_equal(observation["valid"], world.valid[0])
    np.testing.assert_allclose(
        observation["point_map"], transform_points(into, world.point_map[0]), atol=1e-4
    )


def test_the_middle_of_the_view_is_the_wall_ahead() -> None:
    env = room_env(episode(), size=(15, 21))
    point_map = env.reset()[0]["point_map"]
    np.testing.assert_allclose(point_map[7, 10], [5, 0, 1.25], atol=1e-4)
    env = room_env(episode(), size=(15, 21), frame="world")
    np.testing.assert_allclose(env.reset()[0]["point_map"][7, 10], [2, 1.25, -5], atol=1e-4)


def test_what_is_out_of_range_is_not_valid() -> None:
    env = room_env(episode(), size=(15, 21), depth_range=(0.0, 4.0))
    observation = env.reset()[0]
    assert not observation["valid"][7, 10]
    assert observation["valid"].any()
    assert (observation["point_map"][~observation["valid"]] == 0).all()


def test_objectnav_ends_at_a_view_point() -> None:
    simulator = room_simulator(agent_preset("objectnav-hm3d"))
    env = ObjectNavEnv(episodes=4, simulator=simulator, size=16, categories=["chair", "sofa"])
    observation = env.reset()[0]
    assert observation["objectgoal"].tolist() == [env.category_ids[env.episode.object_category or ""]]
    assert env.goal_positions.shape[0] > 100
    view = env.episode.goals[0].view_points[7].agent_state  # type: ignore[index]
    at_goal = replace(env.episode, start_position=view.position, start_rotation=view.rotation)
    env = ObjectNavEnv(episodes=[at_goal], simulator=simulator, size=16, categories=["chair", "sofa"])
    assert env.reset()[1]["distance_to_goal"] == pytest.approx(0, abs=1e-6)
    assert env.step(STOP)[4]["spl"] == 1.0


def test_pictures_are_drawn_on_request_alone() -> None:
    env = room_env(episode(), render_mode="rgb_array")
    env.reset()
    before = env.render()
    env.step(FORWARD)
    picture = env.render()
    assert picture is not None
    assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)
    assert picture.shape == before.shape  # type: ignore[union-attr]
    assert (picture != before).any()
    assert room_env(episode()).render() is None


# The checkers.


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("frame", list(Frame))
@pytest.mark.parametrize("name", list(ENVIRONMENTS))
def test_both_checkers_are_silent(
    name: str, frame: Frame, preset: str, simulators: dict[str, Any], chairs: list[Episode]
) -> None:
    from stable_baselines3.common.env_checker import check_env as stable_baselines_check_env

    settings = {
        "simulator": simulators[preset],
        "agent": preset,
        "frame": frame,
        "size": (12, 16),
        "episodes": 4,
    }
    if "ObjectNav" in name:
        settings.update(episodes=chairs, categories=["chair"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check_env(gymnasium.make(name, render_mode="rgb_array", **settings).unwrapped)
        stable_baselines_check_env(gymnasium.make(name, **settings))


def test_observations_stay_within_the_bounds_of_every_frame(simulators: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    for frame in Frame:
        env = room_env(simulator=simulators["pointnav-gibson"], frame=frame, episodes=2)
        env.reset()
        for action in rng.integers(1, 4, 40):
            assert env.step(int(action))[0] in env.observation_space


def test_spaces_hold_floats_and_masks() -> None:
    space = PointMapSpace(4, 6, 3.0, seed=1)
    assert space.sample() in space
    assert space.sample().dtype == np.float32
    assert np.full((4, 6, 3), 3.1, np.float32) not in space
    assert np.full((4, 6, 3), np.nan, np.float32) not in space
    assert np.zeros((6, 4, 3), np.float32) not in space
    assert (space.low.min(), space.high.max(), space.low.shape) == (-3.0, 3.0, (4, 6, 3))
    assert space == PointMapSpace(4, 6, 3.0)
    assert space != PointMapSpace(4, 6, 4.0)
    batched = gymnasium.vector.utils.batch_space(space, 2)
    assert (batched.shape, batched.dtype, float(batched.high.max())) == ((2, 4, 6, 3), np.float32, 3.0)
    flat = gymnasium.spaces.flatten_space(space)
    assert (flat.shape, float(flat.low.min())) == ((72,), -3.0)
    mask = ValiditySpace(4, 6, seed=1).sample()
    assert (mask.dtype, mask.shape) == (np.bool_, (4, 6))
    assert mask in ValiditySpace(4, 6)


# Vector environments.


class Room:
    """Makes an environment of the room, also in another process."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def __call__(self) -> gymnasium.Env:
        register_environments()
        settings = {
            "simulator": room_simulator(),
            "size": (12, 16),
            "episodes": 3,
            "max_steps": 4,
            **self.settings,
        }
        return gymnasium.make("pomagym/PointNav-v0", disable_env_checker=True, **settings)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_vector_environments_run_and_reset(kind: Any, mode: AutoresetMode) -> None:
    envs = kind([Room(), Room()], autoreset_mode=mode)
    try:
        observation, info = envs.reset(seed=1)
        assert observation["point_map"].shape == (2, 12, 16, 3)
        assert observation["valid"].dtype == np.bool_
        assert observation in envs.observation_space
        seen = list(info["episode_id"])
        for _ in range(11):
            observation, _, _, _, info = envs.step(np.array([FORWARD, LEFT]))
            assert observation in envs.observation_space
            seen.extend(info["episode_id"])
        assert set(seen) == {"0", "1", "2"}
    finally:
        envs.close()


@pytest.mark.parametrize("kind", ["DummyVecEnv", "SubprocVecEnv"])
def test_stable_baselines_vector_environments_run(kind: str) -> None:
    from stable_baselines3.common import vec_env

    settings = {"start_method": "spawn"} if kind == "SubprocVecEnv" else {}
    envs = getattr(vec_env, kind)([Room(), Room()], **settings)
    try:
        observation = envs.reset()
        for _ in range(4):
            observation, rewards, done, infos = envs.step(np.array([FORWARD, LEFT]))
        assert done.all()
        assert observation["point_map"].shape == (2, 12, 16, 3)
        assert infos[0]["TimeLimit.truncated"]
        assert infos[0]["terminal_observation"]["valid"].dtype == np.bool_
        assert np.isfinite(rewards).all()
    finally:
        envs.close()


def test_stable_baselines_learns_on_the_bare_environment() -> None:
    from stable_baselines3 import PPO

    model = PPO("MultiInputPolicy", Room(max_steps=16)(), n_steps=16, batch_size=16, n_epochs=1, device="cpu")
    model.learn(16)
    assert model.num_timesteps == 16


# Order and randomness.


def play(env: NavigationEnv, **options: Any) -> list[Any]:
    """An episode with fixed actions: everything that was answered."""
    observation, info = env.reset(options=options or None)
    answers: list[Any] = [observation["point_map"].tobytes(), info]
    for action in [FORWARD, LEFT, FORWARD, RIGHT, FORWARD, FORWARD, STOP]:
        observation, reward, _, _, info = env.step(action)
        answers += [{name: value.tobytes() for name, value in observation.items()}, reward, info]
    return answers


def test_the_order_of_episodes_changes_nothing() -> None:
    env = room_env(size=(12, 16), episodes=6)
    in_order = [play(env) for _ in range(6)]
    backwards = [play(env, episode_id=str(n)) for n in reversed(range(6))]
    assert backwards[::-1] == in_order
    shuffled = room_env(size=(12, 16), episodes=6, shuffle=True)
    shuffled.reset(seed=5)
    for answers in [play(shuffled) for _ in range(5)]:
        assert answers == in_order[int(answers[1]["episode_id"])]


def ids(env: NavigationEnv, count: int, seed: int | None = None) -> list[str]:
    return [env.reset(seed=seed if n == 0 else None)[1]["episode_id"] for n in range(count)]


def test_episodes_come_in_order_and_again() -> None:
    env = room_env(episodes=3)
    assert ids(env, 5) == ["0", "1", "2", "0", "1"]
    assert ids(env, 2, seed=9) == ["0", "1"]
    assert env.reset(options={"episode_id": "1"})[1]["episode_id"] == "1"
    assert ids(env, 2) == ["2", "0"]
    assert env.episode_keys() == [("flat_room", "0"), ("flat_room", "1"), ("flat_room", "2")]


def test_shuffling_follows_the_seed() -> None:
    env = room_env(episodes=8, shuffle=True)
    first = ids(env, 24, seed=1)
    assert first == ids(env, 24, seed=1)
    assert first != ids(env, 24, seed=2)
    for start in (0, 8, 16):
        assert sorted(first[start : start + 8]) == [str(n) for n in range(8)]
    assert first[:8] != first[8:16], "each round has an order of its own"


def test_generated_and_recorded_episodes_run_alike(tmp_path: Path) -> None:
    simulator = room_simulator()
    generated = room_env(simulator=simulator, episodes=3, seed=7)
    write_episodes(tmp_path / "val.json.gz", generate_pointnav(simulator, 3, seed=7))
    recorded = room_env(simulator=simulator, episodes=tmp_path / "val.json.gz")
    assert [play(generated) for _ in range(3)] == [play(recorded) for _ in range(3)]


def test_an_objectnav_file_brings_its_own_ids(tmp_path: Path) -> None:
    simulator = room_simulator(agent_preset("objectnav-hm3d"))
    tables = category_tables(["bed", "sofa"])
    found = generate_objectnav(simulator, 2, categories=["sofa"])
    write_episodes(tmp_path / "val.json.gz", found, categories=tables, by_scene=True)
    env = ObjectNavEnv(episodes=tmp_path / "val.json.gz", simulator=simulator, size=12)
    assert env.category_ids == {"bed": 0, "sofa": 1}
    assert env.reset()[0]["objectgoal"].tolist() == [1]


# Limits and failures.


def test_the_step_limit_truncates_and_stop_terminates() -> None:
    env = room_env(episode(), max_steps=3)
    env.reset()
    assert [env.step(LEFT)[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    with pytest.raises(SettingError, match=r"call reset\(\) before step"):
        env.step(LEFT)
    env.reset()
    env.step(LEFT)
    env.step(LEFT)
    assert env.step(STOP)[2:4] == (True, False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frame": "robot"}, "unknown frame 'robot'; the frames are world, scene, episode, agent, camera"),
        ({"size": 0}, "at least 1 pixel, found 0"),
        ({"size": (3, 4, 5)}, r"size must be \(height, width\)"),
        ({"size": "big"}, r"size must be \(height, width\)"),
        ({"hfov": 180}, "strictly between 0 and 180 degrees, found 180"),
        ({"depth_range": (5.0, 1.0)}, "depth_range must be"),
        ({"max_steps": 0}, "max_steps must be"),
        ({"success_distance": 0.0}, "success_distance must be above 0"),
        ({"agent": "dog"}, "unknown agent preset 'dog'; the presets are pointnav-gibson"),
        ({"render_mode": "human"}, "render_mode must be None or 'rgb_array'"),
        ({"episodes": 0}, "number of at least 1, found 0"),
        ({"episodes": []}, "at least one Episode"),
        ({"episodes": True}, "found True"),
        ({"simulator": "unity"}, "unknown simulator 'unity'; the simulators are raycast, habitat"),
        ({"scene": "procedural:moon"}, "unknown split 'moon'"),
    ],
)
def test_bad_settings_say_what_is_wrong(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        PointNavEnv(**{"scene": room_scene(), "episodes": [episode()], **settings}).reset()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            episode(start=(9.0, 0.0, 0.0)),
            r"'e' in flat_room: its start .* is off the surface \(no place near",
        ),
        (episode(start=(0.0, 5.0, 0.0)), "is off the surface"),
        (episode(goal=(0.0, 0.0, 0.0)), "'e' in flat_room: none of its 1 goals can be reached"),
        (
            replace(episode(), start_rotation=(1.0, 0.0, 0.0, 0.0)),
            "'e' in flat_room: rotation .* leans by 180",
        ),
        (replace(episode(), goals=()), "'e' has no goal"),
    ],
)
def test_episodes_that_cannot_run_say_why(bad: Episode, message: str) -> None:
    env = room_env(bad, episode())
    with pytest.raises(EpisodeError, match=message):
        env.reset()
    with pytest.raises(SettingError, match="no episode is running"):
        env.step(FORWARD)
    env.reset()  # the next one runs
    env.step(FORWARD)


def test_an_absent_scene_is_told_with_the_places_looked_at(tmp_path: Path) -> None:
    write_episodes(tmp_path / "val.json.gz", [replace(episode(), scene_id="gone.glb")])
    env = PointNavEnv(episodes=tmp_path / "val.json.gz", scenes_dir=tmp_path)
    with pytest.raises(EpisodeError, match=r"'gone\.glb' is absent; looked for .*gone\.glb"):
        env.reset()
    with pytest.raises(EpisodeError, match=r"no episode .* is in the scene other"):
        PointNavEnv(scene="other.glb", episodes=tmp_path / "val.json.gz")


def test_other_failures_have_names_too() -> None:
    env = room_env(episode())
    with pytest.raises(SettingError, match="call reset"):
        _ = env.simulator
    env.reset()
    with pytest.raises(SettingError, match="unknown action 7; the actions are 0 stop, 1 move_forward"):
        env.step(7)
    with pytest.raises(EpisodeError, match="no episode with id 'x'"):
        env.reset(options={"episode_id": "x"})
    sofa = replace(episode(), object_category="unicorn")
    with pytest.raises(EpisodeError, match="searches 'unicorn', which is none of the categories chair"):
        ObjectNavEnv(episodes=[sofa], simulator=room_simulator()).reset()
    with pytest.raises(EpisodeError, match="none of its 1 goals has a view point"):
        ObjectNavEnv(episodes=[replace(sofa, object_category="sofa")], simulator=room_simulator()).reset()


def test_habitat_is_named_with_the_command_that_installs_it() -> None:
    try:
        import habitat_sim  # noqa: F401  # type: ignore[import-not-found]
    except ImportError:
        with pytest.raises(MissingDependencyError, match=r"conda create .* habitat-sim"):
            open_simulator(room_scene(), backend="habitat")


# Scenes and simulators.


def test_scenes_are_lists_or_the_first_houses_of_a_split() -> None:
    assert list_scenes("procedural:val:2") == ["procedural:val:0000", "procedural:val:0001"]
    assert list_scenes("procedural:val:0007") == ["procedural:val:0007"]
    assert list_scenes(["a.glb", "b.glb"]) == ["a.glb", "b.glb"]
    assert len(list_scenes(None)) == 5
    with pytest.raises(SettingError, match="empty"):
        list_scenes([])


def test_settings_change_a_preset() -> None:
    body = body_of("objectnav-hm3d", size=(10, 20), hfov=60, max_steps=7)
    assert (body.camera.height, body.camera.width, body.camera.hfov, body.max_steps) == (10, 20, 60, 7)
    assert body.turn_angle == 30.0
    assert body_of(AgentSpec(radius=0.3), size=8).camera.width == 8


class Fake:
    """A simulator that only counts."""

    def __init__(self, size: int = 0) -> None:
        self.size, self.closed = size, 0

    def memory_bytes(self) -> int:
        return self.size

    def close(self) -> None:
        self.closed += 1


def test_simulators_are_shared_and_closed_by_the_last_user() -> None:
    pool, fake = SimulatorPool(), Fake()
    assert pool.borrow(("a",), lambda: fake) is fake  # type: ignore[arg-type,return-value]
    assert pool.borrow(("a",), lambda: Fake()) is fake  # type: ignore[arg-type,return-value]
    pool.give_back(("a",))
    assert fake.closed == 0
    pool.give_back(("a",))
    assert fake.closed == 1


def test_a_shelf_keeps_the_last_few(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Fake] = {}

    def open_fake(spec: Any, *_: Any, **__: Any) -> Fake:
        made[spec] = Fake(40)
        return made[spec]

    monkeypatch.setattr("envs.simulators.shelf.open_simulator", open_fake)
    shelf = Shelf(AgentSpec(), "raycast", str, budget=100, pool=SimulatorPool())
    for name in "abac":
        shelf.simulator(name)
    assert [made[name].closed for name in "abc"] == [0, 1, 0], "b was used least lately"
    shelf.close()
    shelf.close()
    assert [fake.closed for fake in made.values()] == [1, 1, 1]


def test_environments_of_one_scene_share_its_simulator(tmp_path: Path) -> None:
    first, second = (PointNavEnv("procedural:val:1", episodes=2, size=16) for _ in range(2))
    first.reset()
    second.reset()
    assert first.simulator is second.simulator
    first.close()
    first.close()
    second.step(FORWARD)
    second.close()
    first.reset()  # opens it again
    first.step(FORWARD)
    first.close()


def test_defaults_need_no_file() -> None:
    for name in ENVIRONMENTS:
        env = gymnasium.make(name, size=16)
        observation, info = env.reset(seed=0)
        assert info["scene_id"] == "procedural:val:0000"
        assert observation["valid"].any()
        assert math.isfinite(info["distance_to_goal"])
        assert info["distance_to_goal"] >= 1.0
        env.close()


def test_registration_imports_nothing_heavy() -> None:
    code = (
        "import sys, gymnasium, envs.registration as r; r.register_environments(); r.register_environments();"
        "assert 'pomagym/PointNav-v0' in gymnasium.registry;"
        "print([m for m in ('torch', 'numba', 'embreex', 'trimesh', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Real scenes.


@pytest.fixture
def golden_env(golden_dir: Path, scenes_dir: Path, real_scene: str) -> Iterator[PointNavEnv]:
    env = PointNavEnv(
        scenes_dir / f"{real_scene}.glb",
        golden_dir / f"{real_scene}.pointnav.json.gz",
        navmesh=golden_dir / f"{real_scene}.navmesh",
        size=8,
    )
    yield env
    env.close()


@pytest.mark.golden
def test_recorded_actions_score_as_in_habitat(
    golden_env: PointNavEnv, golden_dir: Path, real_scene: str
) -> None:
    """On Habitat's own navmesh the whole environment repeats what habitat-lab answered."""
    lab = np.load(golden_dir / f"{real_scene}.lab.npz")
    close = []
    for number in range(30):
        rows = np.flatnonzero(lab["episode"] == number)
        info = golden_env.reset(options={"episode_id": str(number)})[1]
        recorded = golden_env.episode.geodesic_distance
        assert recorded is not None
        assert info["distance_to_goal"] == pytest.approx(recorded, abs=max(0.02, 0.01 * recorded))
        for row in rows:
            observation, _, terminated, _, info = golden_env.step(int(lab["actions"][row]))
        assert terminated
        last = rows[-1]
        close.append(
            info["success"] == lab["success"][last]
            and abs(info["spl"] - lab["spl"][last]) < 0.01
            and abs(info["soft_spl"] - lab["soft_spl"][last]) < 0.01
            and info["collisions"]["count"] == lab["collisions"][last]
            and np.abs(observation["gps"] - lab["gps"][last]).max() < 0.01
        )
    assert np.mean(close) >= 0.95, np.flatnonzero(~np.array(close))


@pytest.mark.golden
def test_the_own_surface_gives_the_recorded_distances(
    golden_dir: Path, scenes_dir: Path, real_scene: str
) -> None:
    env = PointNavEnv(scenes_dir / f"{real_scene}.glb", golden_dir / f"{real_scene}.pointnav.json.gz", size=8)
    for recorded in read_episodes(golden_dir / f"{real_scene}.pointnav.json.gz"):
        distance = env.reset()[1]["distance_to_goal"]
        assert distance == pytest.approx(recorded.geodesic_distance, abs=max(0.1, 0.02 * distance))
    env.close()


@pytest.mark.golden
def test_objects_of_a_real_house_are_found(scenes_dir: Path) -> None:
    env = ObjectNavEnv(scenes_dir / "small_house.glb", episodes=3, categories=["sofa", "tv_monitor"], size=16)
    for _ in range(3):
        info = env.reset()[1]
        assert 1.0 <= info["distance_to_goal"] <= 30.0
        names = {goal.object_name for goal in env.episode.goals}
        assert names in ({"sofa.00"}, {"tv.00", "tv.01"}), names
    env.close()
