"""What a person may give an environment, and what is said where it cannot be used."""

from __future__ import annotations

import copy
import importlib.util
import math
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from flat_room import room_env, room_episode, room_scene, room_simulator

from envs.embodiment import AgentSpec
from envs.episodes import Episode, write_episodes
from envs.locomotion import Action
from envs.objectnav import ObjectNavEnv
from envs.pointnav import PointNavEnv
from envs.registration import ENVIRONMENTS, register_environments
from envs.simulators.open import open_simulator
from envs.simulators.shelf import Shelf, SimulatorPool
from envs.task_source import body_of, list_scenes
from poma3d.errors import EpisodeError, MissingDependencyError, SettingError

FORWARD, LEFT, RIGHT, STOP = Action.MOVE_FORWARD, Action.TURN_LEFT, Action.TURN_RIGHT, Action.STOP


@pytest.fixture(autouse=True)
def _registered() -> None:
    register_environments()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frame": "robot"}, "unknown frame 'robot'; the frames are world, scene, episode, agent, camera"),
        ({"size": 0}, "at least 1 pixel, found 0"),
        ({"size": (3, 4, 5)}, r"size must be \(height, width\)"),
        ({"size": "big"}, r"size must be \(height, width\)"),
        ({"size": "32"}, r"size must be \(height, width\) or one number, in whole pixels, found '32'"),
        ({"size": ("3", "4")}, r"size must be \(height, width\)"),
        ({"size": (16.9, 8.2)}, r"in whole pixels, found \(16\.9, 8\.2\)"),
        ({"size": 16.5}, "in whole pixels, found 16.5"),
        ({"size": True}, "in whole pixels, found True"),
        ({"hfov": 180}, "strictly between 0 and 180 degrees, found 180"),
        ({"depth_range": (5.0, 1.0)}, "depth_range must be"),
        ({"depth_range": ("0", "10")}, r"depth_range must be \(near, far\) .* found \('0', '10'\)"),
        ({"depth_range": (1.0,)}, r"depth_range must be \(near, far\)"),
        ({"depth_range": 10}, r"depth_range must be \(near, far\) .* found 10"),
        ({"depth_range": (math.nan, 5.0)}, "depth_range must be"),
        ({"max_steps": 0}, "max_steps must be"),
        ({"max_steps": 9.0}, "max_steps must be a whole number of at least 1, found 9.0"),
        ({"success_distance": 0.0}, "success_distance must be above 0"),
        ({"success_distance": "0.2"}, "success_distance must be a finite number, found '0.2'"),
        ({"agent": "dog"}, "unknown agent preset 'dog'; the presets are pointnav-gibson"),
        ({"render_mode": "human"}, "render_mode must be None or 'rgb_array'"),
        ({"episodes": 0}, "number of at least 1, found 0"),
        ({"episodes": []}, "at least one Episode"),
        ({"episodes": True}, "found True"),
        ({"simulator": "unity"}, "unknown simulator 'unity'; the simulators are raycast, habitat"),
        ({"scene": "procedural:moon"}, "unknown split 'moon'"),
        ({"scene": "procedural:val:99999999999", "episodes": 2}, "at most 100000"),
        ({"scene": 5, "episodes": 2}, "scene must be .* found 5"),
        ({"scene": [5], "episodes": 2}, "scene must be .* found 5 in the list"),
        ({"episodes": 2.5}, "episodes must be a file, a number or a list of episodes, found 2.5"),
        ({"simulator": 7}, "simulator must be a backend's name or a Simulator, found 7"),
        ({"navmesh": 3}, "navmesh must be a path or None, found 3"),
        ({"scenes_dir": 3}, "scenes_dir must be a path or None, found 3"),
        ({"seed": -1}, "seed must be a whole number of at least 0, found -1"),
        ({"seed": 1.5}, "seed must be a whole number of at least 0, found 1.5"),
        ({"shuffle": "yes"}, "shuffle must be True or False, found 'yes'"),
        ({"slack_reward": math.nan}, "slack_reward must be a finite number, found nan"),
        ({"success_reward": "much"}, "success_reward must be a finite number, found 'much'"),
        ({"size": 4097}, "4097 x 4097 is 16785409 pixels, .* at most 16777216 pixels"),
        ({"size": (1, 10**9)}, "a point map of 13.0 GB"),
    ],
)
def test_bad_settings_say_what_is_wrong(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        PointNavEnv(**{"scene": room_scene(), "episodes": [room_episode()], **settings}).reset()


@pytest.mark.parametrize("categories", ["sofa", [], [3], ()])
def test_categories_are_a_list_of_names(categories: Any) -> None:
    with pytest.raises(SettingError, match=r"categories must be a list of one or more names, .* found"):
        ObjectNavEnv(scene=room_scene(), episodes=1, categories=categories)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            room_episode(start=(9.0, 0.0, 0.0)),
            r"'e' in flat_room: its start .* is off the surface \(no place near",
        ),
        (room_episode(start=(0.0, 5.0, 0.0)), "is off the surface"),
        (room_episode(goal=(0.0, 0.0, 0.0)), "'e' in flat_room: none of its 1 goals can be reached"),
        (
            replace(room_episode(), start_rotation=(1.0, 0.0, 0.0, 0.0)),
            "'e' in flat_room: rotation .* leans by 180",
        ),
        (replace(room_episode(), goals=()), "'e' has no goal"),
    ],
)
def test_episodes_that_cannot_run_say_why(bad: Episode, message: str) -> None:
    env = room_env(bad, room_episode())
    with pytest.raises(EpisodeError, match=message):
        env.reset()
    with pytest.raises(SettingError, match="no episode is running"):
        env.step(FORWARD)
    env.reset()  # the next one runs
    env.step(FORWARD)


def test_a_refused_episode_ends_the_one_before() -> None:
    other = replace(room_episode(), episode_id="o", object_category="chair")
    env = room_env(room_episode(), other, shuffle=False)
    env.reset()
    with pytest.raises(EpisodeError, match="of the task ObjectNav"):
        env.reset()
    with pytest.raises(SettingError, match="no episode is running"):
        env.step(FORWARD)


def test_an_absent_scene_is_told_with_the_places_looked_at(tmp_path: Path) -> None:
    write_episodes(tmp_path / "val.json.gz", [replace(room_episode(), scene_id="gone.glb")])
    env = PointNavEnv(episodes=tmp_path / "val.json.gz", scenes_dir=tmp_path)
    with pytest.raises(EpisodeError, match=r"'gone\.glb' is absent; looked for .*gone\.glb"):
        env.reset()
    with pytest.raises(EpisodeError, match=r"no episode .* is in the scene other"):
        PointNavEnv(scene="other.glb", episodes=tmp_path / "val.json.gz")


@pytest.mark.parametrize(
    "bad", [math.nan, math.inf, None, 1.5, "1", [1, 2], np.zeros(2, np.int64), np.array([1.0]), True, 4, -1]
)
def test_bad_actions_are_refused(bad: Any) -> None:
    env = room_env(room_episode())
    env.reset()
    with pytest.raises(
        SettingError, match="the actions are 0 stop, 1 move_forward, 2 turn_left, 3 turn_right"
    ):
        env.step(bad)
    assert env.step(FORWARD)[4]["num_steps"] == 1


@pytest.mark.parametrize("action", [1, FORWARD, np.int64(1), np.uint8(1), np.array(1), np.array([1]), [1]])
def test_whole_numbers_of_any_type_are_actions(action: Any) -> None:
    env = room_env(room_episode())
    env.reset()
    env.step(action)
    assert env.last_action == 1
    assert env.position[2] == pytest.approx(-0.25)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"options": {"foo": 1}}, "unknown option 'foo' of reset; the options are episode_id and scene_id"),
        ({"options": {"scene_id": "flat_room"}}, "goes with an episode_id"),
        ({"options": 3}, "must be a mapping, found 3"),
        ({"seed": -1}, "seed must be a whole number of at least 0, found -1"),
        ({"seed": 1.5}, "seed must be a whole number of at least 0, found 1.5"),
    ],
)
def test_bad_resets_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        room_env(room_episode()).reset(**given)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, pickle.dumps])
def test_environments_are_not_copied(copied: Any) -> None:
    env = room_env(room_episode())
    env.reset()
    with pytest.raises(SettingError, match="make another one from the same settings"):
        copied(env)


def test_other_failures_have_names_too() -> None:
    env = room_env(room_episode())
    with pytest.raises(SettingError, match="call reset"):
        _ = env.simulator
    env.reset()
    with pytest.raises(SettingError, match="unknown action 7; the actions are 0 stop, 1 move_forward"):
        env.step(7)
    with pytest.raises(EpisodeError, match="no episode with id 'x'"):
        env.reset(options={"episode_id": "x"})
    sofa = replace(room_episode(), object_category="unicorn")
    with pytest.raises(EpisodeError, match="searches 'unicorn', which is none of the categories chair"):
        ObjectNavEnv(episodes=[sofa], simulator=room_simulator()).reset()
    with pytest.raises(EpisodeError, match="none of its 1 goals has a view point"):
        ObjectNavEnv(episodes=[replace(sofa, object_category="sofa")], simulator=room_simulator()).reset()


def test_habitat_is_named_with_the_command_that_installs_it() -> None:
    if importlib.util.find_spec("habitat_sim"):
        pytest.skip("habitat-sim is installed")
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


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, np.array])
def test_whole_numbers_of_any_type_are_settings(kind: Any) -> None:
    body = body_of(AgentSpec(), size=kind(16), max_steps=kind(9))
    assert (body.camera.height, body.camera.width, body.max_steps) == (16, 16, 9)
    assert [type(n) for n in (body.camera.height, body.camera.width, body.max_steps)] == [int] * 3
    for pair in ((kind(4), kind(6)), [4, 6], np.array([4, 6])):
        camera = body_of(AgentSpec(), size=pair).camera
        assert (camera.height, camera.width) == (4, 6)
    if kind is not np.array:
        env = PointNavEnv(room_scene(), kind(3), size=8)
        assert [episode_id for _, episode_id in env.episode_keys()] == ["0", "1", "2"]


def test_ranges_of_any_numbers_are_settings() -> None:
    body = body_of(AgentSpec(), depth_range=np.array([1, 4]), success_distance=np.float32(0.5))
    assert body.depth_range == (1.0, 4.0)
    assert body.success_distance == 0.5
    assert body_of(AgentSpec(), depth_range=(0, math.inf)).depth_range == (0, math.inf)


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


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_defaults_need_no_file(name: str) -> None:
    env = gymnasium.make(name, size=16)
    observation, info = env.reset(seed=0)
    assert observation["valid"].any()
    if name != "pomagym/NextStep-v0":  # names scans, as MSNN does
        assert info["scene_id"] in {f"procedural:val:{seed:04d}" for seed in range(5)}
    if name in ("pomagym/PointNav-v0", "pomagym/ObjectNav-v0"):
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
