"""The view memory: which views it keeps, in which frame, and the embedding they make."""

from __future__ import annotations

import numpy as np
import pytest
from flat_room import room_env, room_episode
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_backbone import TINY, views

from agent.backbone import FrozenBackbone
from agent.view_memory import ViewMemory, episode_from_agent
from poma3d.encoder import PointMapEncoder
from poma3d.errors import SettingError
from poma3d.pointmap import transform_points


def patch(x: float, width: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """A view that sees a row of points, one to a voxel of 0.2 m, from x on."""
    points = np.zeros((1, width, 3), np.float32)
    points[0, :, 0] = x + 0.1 + 0.2 * np.arange(width)
    return points, np.ones((1, width), bool)


def starts(memory: ViewMemory) -> list[float]:
    return [round(float(view[0, 0, 0]) - 0.1, 3) for view in memory.views()[0]]


def test_the_last_views_are_kept_in_order() -> None:
    memory = ViewMemory(3)
    for x in (0, 1, 2, 3, 4):
        memory.add(*patch(x))
    assert (starts(memory), len(memory)) == ([2, 3, 4], 3)
    memory.clear()
    assert len(memory) == 0


def test_the_views_that_cover_most_are_kept() -> None:
    memory = ViewMemory(2, keep="coverage")
    memory.add(*patch(0, 4))
    memory.add(*patch(0.4, 4))  # half of it is new
    memory.add(*patch(5, 4))  # all of it is new: the overlapping one goes
    assert starts(memory) == [0, 5]
    memory.add(*patch(5.6, 4))  # less new than either has
    assert starts(memory) == [0, 5]
    memory.add(np.zeros((1, 4, 3), np.float32), np.zeros((1, 4), bool))
    assert starts(memory) == [0, 5], "a view of nothing"


@settings(max_examples=30)
@given(places=st.lists(st.integers(0, 30), min_size=1, max_size=12), capacity=st.integers(1, 4))
def test_coverage_is_never_worse_than_the_best_single_view(places: list[int], capacity: int) -> None:
    memory = ViewMemory(capacity, keep="coverage")
    for place in places:
        memory.add(*patch(0.2 * place, 1 + 3))
    kept = memory.views()[0]
    assert len(kept) == min(capacity, len(places))
    covered = len(np.unique(np.floor(kept[..., 0] / 0.2 + 1e-3)))
    assert covered >= 4
    distinct = sorted(set(places))
    if capacity >= len(distinct):
        assert covered == len({place + offset for place in distinct for offset in range(4)}), (
            "nothing is lost"
        )


def test_views_come_to_one_frame() -> None:
    """A wall seen twice while walking and turning lies in one place."""
    env = room_env(room_episode(start=(2.0, 0.0, 0.0), heading=0.3), size=32)
    reference = room_env(room_episode(start=(2.0, 0.0, 0.0), heading=0.3), size=32, frame="episode")
    memory = ViewMemory(8)
    observation, expected = env.reset()[0], reference.reset()[0]
    for action in (1, 2, 1, 1, 3, 3, 1):
        memory.add(
            observation["point_map"],
            observation["valid"],
            episode_from_agent(observation["gps"], observation["compass"]),
        )
        np.testing.assert_allclose(memory.views()[0][-1], expected["point_map"], atol=2e-5)
        np.testing.assert_array_equal(memory.views()[1][-1], expected["valid"])
        observation, expected = env.step(action)[0], reference.step(action)[0]


def test_the_scene_embedding_is_the_encoders_and_views_are_encoded_once(monkeypatch) -> None:
    backbone = FrozenBackbone(PointMapEncoder(TINY), device="cpu")
    encoded = []
    honest = backbone.encode
    monkeypatch.setattr(
        backbone, "encode", lambda points, valid: (encoded.append(len(points)), honest(points, valid))[1]
    )
    memory = ViewMemory(3)
    points, valid = views(5)
    for number in range(5):
        memory.add(points[number], valid[number])
        found = memory.scene_embedding(backbone)
    assert encoded == [1] * 5
    cls = honest(points[2:], valid[2:])["cls"]
    expected = (cls / np.linalg.norm(cls, axis=-1, keepdims=True)).mean(0)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)
    assert memory.encode(FrozenBackbone(PointMapEncoder(TINY), output="both"))["patch_tokens"].shape == (
        3,
        16,
        48,
    )
    tokens_alone = FrozenBackbone(PointMapEncoder(TINY), output="patch_tokens", device="cpu")
    with pytest.raises(SettingError, match="cls or both"):
        memory.scene_embedding(tokens_alone)


def test_what_is_not_valid_stays_zero() -> None:
    points, valid = views(1)
    points[0, 0, 0] = np.nan
    valid[0, 0, 0] = True
    memory = ViewMemory()
    moved = np.eye(4)
    moved[:3, 3] = 1
    memory.add(points[0], valid[0], moved)
    kept, there = memory.views()
    assert not there[0, 0, 0]
    assert (kept[~there] == 0).all()
    np.testing.assert_allclose(kept[there], transform_points(moved, points)[valid & there], atol=1e-6)


@pytest.mark.parametrize("width", [1, 400, 401, 799, 800, 5000])
def test_coverage_is_judged_by_a_few_hundred_points(width: int) -> None:
    memory = ViewMemory(2, keep="coverage")
    memory.add(*patch(0, width))
    assert min(width, 200) <= len(memory._views[0].probes) <= 400


def test_bad_input_is_named() -> None:
    memory = ViewMemory(2)
    with pytest.raises(SettingError, match="empty"):
        memory.views()
    points, valid = views(1)
    with pytest.raises(SettingError, match=r"\(H, W, 3\)"):
        memory.add(points, valid)
    with pytest.raises(SettingError, match="bool"):
        memory.add(points[0], valid[0].astype(int))
    with pytest.raises(SettingError, match="finite"):
        memory.add(points[0], valid[0], np.full((4, 4), np.nan))
    memory.add(points[0], valid[0])
    with pytest.raises(SettingError, match="holds views of shape"):
        memory.add(points[0, :8], valid[0, :8])
    for bad in (
        {"capacity": 0},
        {"capacity": 2.0},
        {"keep": "first"},
        {"voxel": 0.0},
        {"voxel": float("nan")},
    ):
        with pytest.raises(SettingError):
            ViewMemory(**bad)  # type: ignore[arg-type]
