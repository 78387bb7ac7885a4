"""NextStep-v0: Gymnasium's checks, the right answer rewarded, the same order for the same seed, refusals."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import pomagym  # noqa: F401
from envs.msnn import MsnnSample
from envs.msnn.generator import generate_msnn
from envs.msnn.settings import MsnnSettings
from envs.scenepoint_export import ExportSettings, export_scene
from envs.scenes.houses import house
from poma3d.errors import EpisodeError, SettingError
from poma3d.scenepoint.scene_file import SceneFile


@pytest.fixture(scope="module")
def samples() -> list[MsnnSample]:
    """Samples of two houses."""
    houses = ["procedural:val:0000", "procedural:val:0001"]
    return generate_msnn(houses, 16, MsnnSettings(places=30)).samples


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("directions", "views"), [(4, 0), (8, 3)])
def test_it_keeps_gymnasiums_rules(samples: list[MsnnSample], directions: int, views: int):
    env = gymnasium.make(
        "pomagym/NextStep-v0", samples=samples, directions=directions, views=views, size=(24, 32)
    )
    check_env(env.unwrapped, skip_render_check=True)
    observation, info = env.reset(seed=3)
    assert observation["point_map"].shape == (24, 32, 3)
    assert ("views" in observation) == bool(views)
    assert set(info) == {"scan_id", "sample_id"}
    env.close()


def test_the_views_are_those_of_the_export(samples: list[MsnnSample], tmp_path: Path):
    house_id = "procedural:val:0001"
    exported = export_scene(house(house_id), tmp_path, ExportSettings(views=5, size=16, images=False))
    stored = SceneFile(exported.path).read()
    own = [sample for sample in samples if sample.meta_data["scene_id"] == house_id][:1]
    env = gymnasium.make("pomagym/NextStep-v0", samples=own, views=3, size=16)
    observation, _ = env.reset()
    np.testing.assert_array_equal(observation["views"], stored.point_map[:3])
    np.testing.assert_array_equal(observation["views_valid"], stored.valid[:3])
    env.close()


def test_the_right_direction_is_rewarded_and_no_other(samples: list[MsnnSample]):
    env = gymnasium.make(
        "pomagym/NextStep-v0", samples=samples, directions=8, size=16, shuffle=False, execute=True
    )
    for index, sample in enumerate(samples):
        observation, info = env.reset(seed=0 if index == 0 else None)
        assert (info["scan_id"], info["sample_id"]) == (sample.scan_id, sample.sample_id)
        assert observation["situation"] == sample.situation_text
        assert observation["location"].tolist() == pytest.approx(sample.location)
        beside = index % 8  # how many directions to the left of the right one
        _, reward, terminated, truncated, info = env.step((sample.label(8) + beside) % 8)
        assert (terminated, truncated) == (True, False)
        assert reward == float(beside == 0)
        assert (info["correct"], info["answer"]) == (beside == 0, sample.label(8))
        assert abs(info["angular_error"] - 45 * min(beside, 8 - beside)) <= 22.5
        assert np.isfinite(info["progress"])
    env.close()


def test_what_is_ahead_lies_ahead(samples: list[MsnnSample]):
    """The point map is the agent's own: nothing of it lies behind, and the floor is at height 0."""
    env = gymnasium.make("pomagym/NextStep-v0", samples=samples, size=32)
    for _ in range(4):
        observation, _ = env.reset()
        seen = observation["point_map"][observation["valid"]]
        assert (seen[:, 0] > -0.01).all()
        assert seen[:, 2].min() > -0.3
    env.close()


def test_seeds_order_the_rounds(samples: list[MsnnSample]):
    env = gymnasium.make("pomagym/NextStep-v0", samples=samples, size=8)

    def order(seed: int) -> list[tuple[str, str]]:
        found = [env.reset(seed=seed)[1]] + [env.reset()[1] for _ in samples[1:]]
        return [(info["scan_id"], info["sample_id"]) for info in found]

    assert order(5) == order(5)
    assert order(5) != order(6)
    assert len(set(order(5))) == len(samples)
    wanted = samples[3]
    _, info = env.reset(options={"scan_id": wanted.scan_id, "sample_id": wanted.sample_id})
    assert info == {"scan_id": wanted.scan_id, "sample_id": wanted.sample_id}
    env.close()


def test_refusals(samples: list[MsnnSample]):
    env = gymnasium.make("pomagym/NextStep-v0", samples=samples[:2], size=8).unwrapped
    with pytest.raises(SettingError, match="reset"):
        env.step(0)
    env.reset()
    for bad in (4, -1, 1.5, True, None):
        with pytest.raises(
            SettingError, match="the actions are 0 move forward, 1 turn left, 2 move backward"
        ):
            env.step(bad)
    env.step(0)
    with pytest.raises(SettingError, match="reset"):
        env.step(0)
    env.reset()
    with pytest.raises(EpisodeError, match="no sample"):
        env.reset(options={"scan_id": "a", "sample_id": "b"})
    with pytest.raises(SettingError, match="reset"):
        env.step(0)
    with pytest.raises(SettingError, match="both"):
        env.reset(options={"sample_id": "b"})
    env.close()
    for arguments, said in (
        ({"directions": 6}, "4 or 8"),
        ({"samples": []}, "no samples"),
        ({"samples": 3.5}, "samples"),
        ({"execute": "no"}, "execute must be True or False"),
        ({"shuffle": 1}, "shuffle must be True or False"),
    ):
        with pytest.raises(SettingError, match=said):
            gymnasium.make("pomagym/NextStep-v0", **{"samples": samples, **arguments})
