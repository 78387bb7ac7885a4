"""The policy in the package: small, on the backbone in the package, and better at finding goals than chance."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

import pomagym  # noqa: F401
from agent.rollout import run_episode
from envs.embodiment import agent_preset
from policies.loading import SHIPPED, open_policy, policy_label, policy_weights_sha256
from poma3d.errors import SettingError


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_small_and_has_its_card(name: str) -> None:
    folder = SHIPPED[name]
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 10_000_000
    assert policy_label(name) == name
    digest = policy_weights_sha256(name)
    assert digest is not None
    assert digest[:12] in (folder / "README.md").read_text()


def test_it_reaches_goals_in_houses_never_trained_on() -> None:
    policy = open_policy("pointnav-mini")
    env = gymnasium.make(
        "pomagym/PointNav-v0", scene="procedural:val:2", episodes=4, size=112, shuffle=False, max_steps=300
    )
    reached = [run_episode(env, policy)["success"] for _ in range(4)]
    env.close()
    assert sum(reached) >= 2  # chance reaches none of 50


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": 112, "hfov": 60}, r"field of view of 90 degrees; found 60 degrees: give --hfov 90$"),
        ({"size": (112, 150)}, r"square point maps of 112 x 112 pixels; found 112 x 150: give --size 112$"),
        ({"size": 28}, r"point maps of 112 x 112 pixels; found 28 x 28: give --size 112$"),
        ({"size": 112, "depth_range": (0.5, 5.0)}, r"depths of 0 to 10 m; found 0.5 to 5 m"),
        (
            {"agent": "objectnav-hm3d", "size": 112, "hfov": 90},
            r"1.25 m high.* 0.88 m.*--agent pointnav-gibson$",
        ),
        (
            {"agent": agent_preset("pointnav-gibson", turn_angle=30.0)},
            r"turns of 10 degrees; found 30 degrees",
        ),
        ({"agent": agent_preset("pointnav-gibson", forward_step=0.5)}, r"steps of 0.25 m; found 0.5 m"),
    ],
)
def test_another_camera_or_body_than_it_was_trained_with_is_refused(
    settings: dict[str, Any], said: str
) -> None:
    policy = open_policy("pointnav-mini")
    env = gymnasium.make("pomagym/PointNav-v0", scene="procedural:val:1", episodes=1, **settings)
    with pytest.raises(SettingError, match=said):
        policy.reset(env.unwrapped, np.random.default_rng(0))


def test_square_views_of_other_sizes_show_it_the_same() -> None:
    """As the camera of 224 pixels that the environments have by default, and one of 113."""
    policy = open_policy("pointnav-mini")
    for size in (None, 113, 56):
        env = gymnasium.make("pomagym/PointNav-v0", scene="procedural:val:1", episodes=1, size=size)
        policy.reset(env.unwrapped, np.random.default_rng(0))


def test_in_objectnav_the_task_is_named_before_the_body() -> None:
    env = gymnasium.make("pomagym/ObjectNav-v0", scene="procedural:val:1", episodes=1)
    with pytest.raises(SettingError, match="acts in PointNav"):
        open_policy("pointnav-mini").reset(env.unwrapped, np.random.default_rng(0))


def test_an_unknown_name_lists_it() -> None:
    with pytest.raises(SettingError, match="pointnav-mini"):
        open_policy("pointnav-maxi")
