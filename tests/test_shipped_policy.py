"""The policy in the package: small, on the backbone in the package, and better at finding goals than chance."""

from __future__ import annotations

import gymnasium
import pytest

import pomagym  # noqa: F401
from agent.rollout import run_episode
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


def test_an_unknown_name_lists_it() -> None:
    with pytest.raises(SettingError, match="pointnav-mini"):
        open_policy("pointnav-maxi")
