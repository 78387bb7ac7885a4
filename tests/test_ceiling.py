"""The ceiling that learned policies are shown: the view is exactly that of the same room with one."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flat_room import room_scene

from envs.embodiment import AgentSpec
from envs.pointnav import PointNavEnv
from envs.scenes.scene import Scene
from policies.learning.acting import Acting
from policies.learning.ceiling import put_in_ceiling
from policies.learning.features import BlindFeatures, PointMapFeatures
from policies.learning.houses import training_body
from policies.learning.learned_policy import DaggerBrain, LearnedPolicy
from policies.learning.networks import PolicyNetwork
from policies.learning.policy_folder import DESCRIPTION, save_policy
from policies.learning.settings import NetworkSettings, TrainSettings
from policies.loading import open_policy, policy_sha256
from poma3d.errors import FileError, SettingError

TOP = 3.0
"""Where the ceiling of the room is, metres above its floor."""
STOOL = 0.2
"""The walkable surface, and with it the agent's frame, lies so far above the floor."""
SEEN = TOP - STOOL
"""Where the ceiling is in the agent's frame."""
NETWORK = NetworkSettings(compressed=2, hidden=8)


def without_ceiling(scene: Scene) -> Scene:
    top = (scene.vertices[scene.triangles][..., 1] == TOP).all(1)
    return replace(scene, triangles=scene.triangles[~top], instance_ids=scene.instance_ids[~top])


def raised(scene: Scene, height: float) -> Scene:
    """The same room with all that reaches its ceiling drawn up to another."""
    vertices = scene.vertices.copy()
    vertices[vertices[:, 1] == TOP, 1] = height
    return replace(scene, vertices=vertices)


def views(scene: Scene, body: AgentSpec, poses: int = 12) -> list[tuple[np.ndarray, np.ndarray]]:
    env = PointNavEnv(scene, 1, agent=body)
    observation, _ = env.reset()
    assert env.position[1] == pytest.approx(STOOL, abs=1e-3)
    out = []
    for _ in range(poses):
        out.append((observation["point_map"], observation["valid"]))
        for action in (2, 2, 2, 1):
            observation = env.step(action)[0]
    env.close()
    return out


@pytest.mark.parametrize("change", [without_ceiling, lambda scene: raised(scene, 4.0)])
def test_a_view_is_that_of_the_same_room_with_a_ceiling(change) -> None:
    body = training_body(56)
    wanted, found = views(room_scene(), body), views(change(room_scene()), body)
    changed = 0
    for (points, valid), view in zip(wanted, found, strict=True):
        changed += int((view[1] != valid).sum() + (np.abs(view[0] - points) > 0.1).any(-1).sum())
        ours, seen = put_in_ceiling(*view, SEEN, body)
        assert (seen == valid).mean() > 0.999  # an edge of the wall may take or leave a pixel
        both = seen & valid
        assert np.mean(np.abs(ours - points)[both].max(-1) < 1e-3) > 0.995
        assert not ours[~seen].any()
    assert changed > 5000  # of 37,632 pixels


def test_views_under_a_ceiling_stay_as_they_are() -> None:
    body = training_body(56)
    for points, valid in views(room_scene(), body, 4):
        ours, seen = put_in_ceiling(points, valid, SEEN + 0.01, body)
        assert ours is points
        assert seen is valid


def test_a_window_is_no_sky() -> None:
    """Nothing is hit behind it, but there is wall above it; without that wall it is sky."""
    body = training_body(56)
    points, valid = views(room_scene(), body, 1)[0]
    window = valid.copy()
    window[10:20, 20:30] = False
    empty = np.where(window[..., None], points, 0)
    assert put_in_ceiling(empty, window, SEEN + 0.01, body)[1] is window
    window[:10, 20:30] = False
    empty = np.where(window[..., None], points, 0)
    ours, seen = put_in_ceiling(empty, window, SEEN, body)
    assert seen[:20, 20:30].all()
    assert ours[:20, 20:30, 2] == pytest.approx(SEEN)


def test_a_policy_sees_it_and_a_blind_one_has_nothing_to_see() -> None:
    """The scores of a view without a ceiling are those of the view with one."""
    body = training_body(PointMapFeatures.size)
    sensors = {
        "pointgoal_with_gps_compass": np.array([2.0, 0.5], np.float32),
        "gps": np.zeros(2, np.float32),
        "compass": np.zeros(1, np.float32),
    }

    class Ear(DaggerBrain):
        heard: list[np.ndarray]

        def logits(self, rows: np.ndarray, sensors: np.ndarray) -> np.ndarray:
            self.heard.append(rows)
            return super().logits(rows, sensors)

    def heard(scene: Scene, ceiling: float, features=None) -> np.ndarray:
        features = features or PointMapFeatures()
        brain = Ear(PolicyNetwork(features.layout, NETWORK))
        brain.heard = []
        policy = LearnedPolicy(brain, features, Acting(), ceiling=ceiling)
        points, valid = views(scene, body, 1)[0]
        policy.act({"point_map": points, "valid": valid, **sensors})
        return brain.heard[0].astype(np.float32)

    closed, opened = heard(room_scene(), 0.0), heard(without_ceiling(room_scene()), 0.0)
    shown = heard(without_ceiling(room_scene()), SEEN)
    assert np.mean(np.abs(opened - closed) > 0.01) > 0.1
    assert np.mean(np.abs(shown - closed) > 0.01) < 0.005
    assert heard(room_scene(), SEEN, BlindFeatures()).size == 0


def test_folders_from_before_there_were_ceilings_keep_their_hash_and_show_none(tmp_path: Path) -> None:
    settings = TrainSettings(features="blind", network=NETWORK)
    weights = PolicyNetwork(BlindFeatures.layout, NETWORK).tensors()

    def save(name: str, ceiling: float) -> str:
        save_policy(
            tmp_path / name,
            weights,
            BlindFeatures(),
            settings.as_config(),
            acting=Acting(),
            ceiling=ceiling,
            measures={},
        )
        return str(tmp_path / name)

    none, low = save("none", 0.0), save("low", 2.9)
    path = tmp_path / "none" / DESCRIPTION
    description = json.loads(path.read_text())
    new = policy_sha256(none)
    del description["ceiling"]
    path.write_text(json.dumps(description))
    assert policy_sha256(none) == new != policy_sha256(low)
    assert vars(open_policy(none))["_ceiling"] == 0
    assert vars(open_policy(low))["_ceiling"] == 2.9
    for ceiling in (0.5, -2.9, math.nan, math.inf, "2.9", None, True):
        path.write_text(json.dumps(description | {"ceiling": ceiling}))
        with pytest.raises(FileError, match=r"damaged.*the ceiling must be"):
            open_policy(none)


@pytest.mark.parametrize("ceiling", [-1.0, 1.0, float("nan"), float("inf")])
def test_a_ceiling_below_the_head_is_refused(ceiling: float) -> None:
    with pytest.raises(SettingError, match="ceiling must be 0"):
        TrainSettings(ceiling=ceiling)
