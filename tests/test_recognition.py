"""Objects recognised through an encoder: fits of words, evidence over views, a search that doubts, refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from flat_room import room_episode, room_simulator

from agent.rollout import run_episode
from envs.embodiment import agent_preset
from envs.episodes.objectnav_generator import HM3D_CATEGORIES
from envs.episodes.view_points import ViewPointSettings, object_goals
from envs.objectnav import ObjectNavEnv
from envs.scenes.houses import generate_house
from policies.greedy_follower import STOP
from policies.loading import open_policy, policy_label, policy_sha256, policy_weights_sha256
from policies.mapping.follower import WayFollower
from policies.mapping.metric_map import CELL, MetricMap
from policies.planner import Planner
from policies.recognition.doubting_search import FIRST, LEAST, DoubtingSearch
from policies.recognition.evidence import VOXEL, Evidence
from policies.recognition.eyes import Eyes, open_eyes
from policies.recognition.words import WORDS, other_words, word_of
from poma3d.checkpoints import save_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.errors import SettingError
from poma3d.pretrained import SHIPPED

SIZE = 48


class KnownText:
    """A text tower whose words are the axes of a space."""

    name, embedding = "known", len(WORDS) + 1

    def encode(self, texts, *, long=False):
        rows = torch.zeros(len(texts), self.embedding)
        for row, text in zip(rows, texts, strict=True):
            row[WORDS.index(text) if text in WORDS else len(WORDS)] = 2.0
        return rows

    def weights_sha256(self):
        return "known"


def known_eyes(patches: list[str]) -> Eyes:
    """Eyes that see a view of 2 x 2 patches, each of which is exactly what one word says."""
    embeddings = KnownText().encode(patches).numpy()[None]
    backbone = SimpleNamespace(
        config=SimpleNamespace(embedding=KnownText.embedding, grid=2, patch_size=3),
        feature_shapes={"patch_tokens": (4, 1)},
        image_size=6,
        encode=lambda points, valid: {"patch_tokens": np.zeros((1, 4, 1), np.float32)},
        patch_embeddings=lambda tokens: embeddings,
    )
    return Eyes(backbone, KnownText(), "known")  # pyright: ignore[reportArgumentType]


def test_a_word_fits_the_patches_that_show_it_and_no_other():
    eyes = known_eyes(["tv", "wall", "monitor", "tv"])
    fits = eyes.fit(np.zeros((6, 6, 3), np.float32), np.ones((6, 6), bool), "tv_monitor")
    high = 1.0 / (1.0 + math.exp(-1.0 / 0.07))
    expected = np.kron([[high, 1.0 - high], [1.0 - high, high]], np.ones((3, 3)))
    np.testing.assert_allclose(fits, expected, atol=1e-6)


def test_of_two_words_that_fit_as_well_neither_leads():
    eyes = known_eyes(["tv", "wall", "monitor", "tv"])
    fits = eyes.fit(np.zeros((6, 6, 3), np.float32), np.ones((6, 6), bool), "sofa")
    np.testing.assert_allclose(fits[0, 3], 1.0 / (1.0 + math.exp(1.0 / 0.07)), atol=1e-6)
    unknown = known_eyes(["no word", "no word", "no word", "no word"])
    np.testing.assert_allclose(
        unknown.fit(np.zeros((6, 6, 3), np.float32), np.ones((6, 6), bool), "sofa"), 0.5, atol=1e-6
    )


def test_every_category_has_a_word_and_the_houses_use_no_other():
    assert [word_of(name) for name in HM3D_CATEGORIES] == ["chair", "bed", "plant", "toilet", "tv", "sofa"]
    assert word_of("fire_extinguisher") == "fire extinguisher"
    assert "tv" not in other_words("tv_monitor")
    assert set(generate_house(0).categories) <= set(WORDS)


def block(x: float, y: float) -> np.ndarray:
    """A point in the middle of each of 27 voxels about (x, y), 0.5 m above the floor."""
    steps = VOXEL * np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(27, 3)
    middle = VOXEL * (np.floor(np.array([x, y, 0.5]) / VOXEL) + 0.5)
    return steps + middle


def evidence_at(evidence: Evidence, x: float, y: float) -> float:
    columns = evidence.columns(0.0)
    cells = evidence.cells_of(np.ones_like(columns, bool))
    near = np.hypot(*((cells + 0.5) * CELL - (x, y)).T).argmin()
    return float(columns.reshape(-1)[near])


def test_a_look_from_near_counts_by_the_square_of_the_distance():
    evidence = Evidence()
    x, y = block(4.0, 0.0)[13, :2]
    for _ in range(3):
        evidence.add(block(x, y), np.full(27, 0.9), (x - 4.0, y), 0.0)
    assert evidence_at(evidence, x, y) == pytest.approx(0.9)
    evidence.add(block(x, y), np.full(27, 0.1), (x - 1.0, y), 0.0)
    # Of the 27 voxels those before and behind it are a little nearer and farther.
    assert evidence_at(evidence, x, y) == pytest.approx((3 * 0.9 / 16 + 0.1) / (3 / 16 + 1), abs=0.02)


def test_two_views_are_not_enough_and_floor_is_nothing():
    evidence = Evidence()
    for _ in range(2):
        evidence.add(block(1.0, 1.0), np.ones(27), (0.0, 0.0), 0.0)
    assert evidence_at(evidence, 1.0, 1.0) == 0.0
    for _ in range(3):
        evidence.add(block(1.0, 1.0), np.ones(27), (0.0, 0.0), 2.0)
    assert evidence_at(evidence, 1.0, 1.0) == 0.0


def test_evidence_stays_where_it_is_when_the_grid_grows():
    evidence, told = Evidence(), {(1.0, 1.0): 0.4, (-4.0, 3.0): 0.5, (9.0, -9.0): 0.6}
    for (x, y), fit in told.items():
        for _ in range(3):
            evidence.add(block(x, y), np.full(27, fit), (x + 1.0, y), 0.0)
    for (x, y), fit in told.items():
        assert evidence_at(evidence, x, y) == pytest.approx(fit)
    assert len(evidence.cells_of(evidence.columns(0.0) > 0)) == 3 * 9


@pytest.mark.parametrize("direction", [(1, 0), (0, 1), (-1, 0), (0, -1)])
def test_evidence_at_the_edge_of_the_grid_is_as_good_as_any(direction):
    evidence = Evidence()
    for step in range(60):  # voxel by voxel past the edge, wherever it lies
        x, y = VOXEL * step * np.array(direction)
        for _ in range(3):
            evidence.add(block(x, y)[13:14], np.full(1, 0.8), (x, y), 0.0)
        assert (evidence.columns(0.5) == 0).all()  # a lone row of voxels has too few neighbours


def doubting(**changes) -> DoubtingSearch:
    agent = agent_preset("objectnav-hm3d", **changes)
    world = MetricMap(agent.radius, agent.max_climb, agent.height)
    for corner in (-6.0, 6.0):
        world.cell_of(corner, corner)
    return DoubtingSearch(world, WayFollower(world, agent, np.random.default_rng(0)), agent)


def test_what_does_not_stand_a_look_from_near_is_given_up():
    search = doubting()
    for x in (0.0, 0.1, 0.2):
        search.look(block(4.0, 0.0), np.full(27, 0.95), (x, 0.0, 0.0), 0.0)
    search.next_action((0.2, 0.0, 0.0))
    assert len(search.cells)
    search.look(block(4.0, 0.0), np.full(27, 0.05), (3.2, 0.0, 0.0), 0.0)
    assert search.next_action((3.2, 0.0, 0.0)) != STOP
    assert not len(search.cells)


def test_what_stands_it_is_stopped_at():
    search = doubting()
    for x in (2.0, 2.5, 3.4):
        search.look(block(4.0, 0.0), np.full(27, 0.95), (x, 0.0, 0.0), 0.0)
    assert search.next_action((3.4, 0.0, 0.0)) == STOP


def test_what_is_wide_is_reached_at_its_edge():
    search = doubting()
    bed = np.concatenate([block(x, y) for x in (4.0, 4.45, 4.9, 5.35) for y in (-0.7, -0.25, 0.2, 0.65)])
    # The middle fits best, as where every patch of a view shows the bed alone; from nowhere is it within reach.
    fits = 0.95 - 0.12 * np.hypot(bed[:, 0] - 4.7, bed[:, 1])
    for x in (2.0, 2.5, 3.2):
        search.look(bed, fits, (x, 0.0, 0.0), 0.0)
    assert search.next_action((3.2, 0.0, 0.0)) == STOP


def test_the_same_look_twice_says_nothing_new():
    search = doubting()
    for _ in range(5):
        search.look(block(4.0, 0.0), np.full(27, 0.95), (0.0, 0.0, 0.0), 0.0)
    assert not search.evidence.columns(0.0).any()


def test_less_is_believed_as_steps_are_used_up():
    search = doubting(max_steps=12)
    bars = []
    for _ in range(12):
        search.next_action((0.0, 0.0, 0.0))
        bars.append(search.bar)
    assert bars[0] == FIRST
    assert bars[6] == pytest.approx(FIRST / 2)
    assert bars[-1] == LEAST


class ToldEyes:
    """Eyes that know the answer, but take the chair for a sofa as long as it is far."""

    name, size = "told", SIZE
    goal = chair = np.zeros((SIZE, SIZE), bool)

    def fit(self, point_map, valid, category):
        assert category == "sofa"
        far = np.hypot(point_map[..., 0], point_map[..., 1]) > 2.0
        return np.where(self.goal, 0.9, np.where(self.chair & far, 0.85, 0.05))


class Told(Planner):
    """A planner whose eyes are handed the categories, and from which they are taken away."""

    def __init__(self, eyes: ToldEyes) -> None:
        super().__init__(eyes)  # pyright: ignore[reportArgumentType]
        self.told = eyes

    def act(self, observation):
        shown = dict(observation)
        kinds = shown.pop("semantic")
        self.told.goal, self.told.chair = kinds == 2, kinds == 0
        return super().act(shown)


@pytest.mark.parametrize("frame", ["agent", "world"])
def test_it_gives_up_a_decoy_and_finds_the_sofa(frame):
    simulator = room_simulator(agent_preset("objectnav-hm3d"))
    goals = object_goals(simulator, "sofa", ViewPointSettings(cell=0.2))
    # The chair stands before it, the sofa behind the wall.
    episode = replace(
        room_episode(start=(2.0, 0.0, 0.5), heading=math.pi), goals=goals, object_category="sofa"
    )
    env = ObjectNavEnv(
        episodes=[episode],
        simulator=simulator,
        size=SIZE,
        categories=("chair", "bed", "sofa"),
        semantic=True,
        success_distance=0.2,
        frame=frame,
    )
    planner = Told(ToldEyes())
    record = run_episode(env, planner, episode_id="e")
    env.close()
    simulator.close()
    assert record["success"] == 1.0
    assert record["policy"] == "planner+told"


@pytest.fixture(scope="module")
def house():
    env = gymnasium.make(
        "pomagym/ObjectNav-v0", scene="procedural:train:1", episodes=2, size=112, semantic=True, shuffle=False
    )
    yield env
    env.close()


def test_from_beside_a_bed_its_word_fits_it_and_random_weights_know_nothing(house):
    """Fits of pixels that show a bed less those of all others, looking round at four places beside it."""
    house.reset(options={"episode_id": "1"})
    known = house.unwrapped._episode
    assert known.object_category == "bed"
    beside = [view.agent_state for view in known.goals[0].view_points]
    episodes = [
        replace(known, episode_id=str(n), start_position=tuple(state.position), start_rotation=(0, 0, 0, 1))
        for n, state in enumerate(beside[:: math.ceil(len(beside) / 4)])
    ]
    env = gymnasium.make("pomagym/ObjectNav-v0", episodes=episodes, size=112, semantic=True, shuffle=False)
    lead = {}
    for name in ("poma3d-mini", "random"):
        eyes, fits, shown = open_eyes(name), [], []
        for episode in episodes:
            observation, _ = env.reset(options={"episode_id": episode.episode_id})
            for _ in range(12):
                valid = observation["valid"]
                fits.append(eyes.fit(observation["point_map"], valid, "bed")[valid])
                shown.append((observation["semantic"] == observation["objectgoal"][0])[valid])
                observation, *_ = env.step(2)
        fits, shown = np.concatenate(fits), np.concatenate(shown)
        assert 0.02 < shown.mean() < 0.5
        lead[name] = fits[shown].mean() - fits[~shown].mean()
    env.close()
    assert lead["poma3d-mini"] > 0.4
    assert abs(lead["random"]) < 0.1


def test_the_same_episode_twice_is_the_same(tmp_path):
    env = gymnasium.make(
        "pomagym/ObjectNav-v0", scene="procedural:train:1", episodes=1, size=112, max_steps=20
    )
    records = [run_episode(env, open_policy("planner+poma3d-mini"), episode_id="0") for _ in range(2)]
    env.close()
    first, second = ({k: v for k, v in r.items() if not k.startswith("time_")} for r in records)
    assert first == second
    assert first["steps"] == 20


def test_refusals(house, tmp_path):
    eyes = open_eyes("poma3d-mini")
    with pytest.raises(SettingError, match="leave --size out, or give --size 112"):
        eyes.fit(np.zeros((64, 64, 3), np.float32), np.ones((64, 64), bool), "sofa")
    planner = open_policy("planner+poma3d-mini")
    with pytest.raises(SettingError, match="leave --semantic out"):
        run_episode(house, planner, episode_id="0")
    pointnav = gymnasium.make("pomagym/PointNav-v0", scene="procedural:train:1", episodes=1, size=112)
    with pytest.raises(SettingError, match="--task objectnav"):
        run_episode(pointnav, planner)
    pointnav.close()
    save_encoder(PointMapEncoder("mini"), tmp_path / "alone.safetensors")
    with pytest.raises(SettingError, match=r"put the text\.safetensors") as refused:
        open_policy(f"planner+{tmp_path / 'alone.safetensors'}")
    assert "--text" not in str(refused.value)  # no command that takes policies knows it
    with pytest.raises(SettingError, match=r"after the \+, found none: planner\+poma3d-mini"):
        open_policy("planner+")
    with pytest.raises(
        SettingError,
        match=r"planner\+absent has nothing to see through.*planner\+random sees through random weights",
    ):
        open_policy("planner+absent")


def test_names_and_hashes():
    assert policy_label("planner+poma3d-mini") == "planner+poma3d-mini"
    assert policy_label("planner+runs/mini/encoder.safetensors") == "planner+mini"
    assert open_policy("planner+random").name == "planner+random"
    assert policy_sha256("planner+random") != policy_sha256("planner+poma3d-mini")
    assert policy_weights_sha256("planner+poma3d-mini") == open_eyes("poma3d-mini").weights_sha256
    assert "poma3d-mini" in SHIPPED
