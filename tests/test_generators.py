"""Episodes that are generated: they suit, depend on seed and index alone, and their objects are in sight."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from flat_room import SOFA, room_scene, room_simulator

from envs.embodiment import agent_preset
from envs.episodes import (
    Episode,
    Goal,
)
from envs.episodes.check import check_episodes
from envs.episodes.generated import GeneratedEpisodes
from envs.episodes.ground import GroundSettings, on_ground
from envs.episodes.objectnav_generator import ObjectNavGenerator
from envs.episodes.pointnav_generator import (
    PointNavSettings,
    generate_pointnav,
    keep_probability,
    pointnav_episode,
)
from envs.episodes.view_points import surface_samples, view_points
from envs.scenes.houses import house
from envs.scenes.scene import NO_INSTANCE, Scene
from envs.simulators.raycast import RaycastSimulator
from poma3d.errors import EpisodeError, SettingError


def two_scenes() -> list[Episode]:
    goal = (Goal((1.0, 0.0, 0.0)),)
    return [
        Episode(str(n), f"mp3d/{s}/{s}.glb", (0.0,) * 3, (0.0, 0.0, 0.0, 1.0), goal)
        for n, s in enumerate("abba")
    ]


def test_generated_episodes_depend_on_seed_and_index_alone() -> None:
    simulator = room_simulator()
    many = generate_pointnav(simulator, 6, seed=3)
    assert many == [pointnav_episode(simulator, n, seed=3) for n in range(6)]
    assert many[4] == pointnav_episode(room_simulator(), 4, seed=3)
    assert many != generate_pointnav(simulator, 6, seed=4)


def test_generated_episodes_suit() -> None:
    simulator = room_simulator()
    asked = PointNavSettings(min_distance=4.0, max_distance=9.0)
    for episode in generate_pointnav(simulator, 20, settings=asked):
        distance = simulator.surface.geodesic_distance(
            np.array([episode.start_position]), episode.goal_positions()
        )[0]
        assert distance == pytest.approx(episode.geodesic_distance)
        assert 4.0 <= distance <= 9.0
        straight = np.linalg.norm(np.subtract(episode.start_position, episode.goals[0].position))
        assert distance / straight >= asked.trivial_ratio
        assert (episode.info or {})["difficulty"] == ("medium" if distance <= 5 else "hard")
    assert all(check.valid for check in check_episodes(generate_pointnav(simulator, 5), lambda _: simulator))


def with_walkable_walls(scene: Scene) -> Scene:
    """The house with a ring of 0.4 m on top of its outer walls, as scans and other models have."""
    (x0, y, z0), (x1, _, z1) = (
        scene.bounds[0] * (1, 0, 1) + (0, scene.bounds[1, 1] + 0.01, 0),
        scene.bounds[1],
    )
    outer = np.array([(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)])
    inner = outer + 0.4 * np.array([(1, 0, 1), (-1, 0, 1), (-1, 0, -1), (1, 0, -1)])
    ring = [(k, 4 + k, 4 + (k + 1) % 4) for k in range(4)] + [
        (k, 4 + (k + 1) % 4, (k + 1) % 4) for k in range(4)
    ]
    return replace(
        scene,
        vertices=np.concatenate([scene.vertices, outer, inner]).astype(np.float32),
        triangles=np.concatenate([scene.triangles, np.array(ring, np.int32) + len(scene.vertices)]),
        instance_ids=np.concatenate([scene.instance_ids, np.full(8, NO_INSTANCE, np.int32)]),
    )


def test_nobody_starts_on_top_of_a_wall() -> None:
    """Tops of walls are connected round a house: wide enough for Habitat's rule, yet no floor."""
    with RaycastSimulator(with_walkable_walls(house("procedural:val:0000"))) as simulator:
        surface = simulator.surface
        rng = np.random.default_rng(0)
        drawn = np.stack([surface.random_navigable_point(rng) for _ in range(400)])
        above = drawn[drawn[:, 1] > 2.0]
        assert len(above)
        assert (surface.island_radius(above) >= GroundSettings().min_radius).any()
        assert not on_ground(surface, above, GroundSettings()).any()
        assert on_ground(surface, drawn[surface.island(drawn) == 0], GroundSettings()).all()
        episodes = generate_pointnav(simulator, 60)
        places = np.array([[e.start_position, e.goals[0].position] for e in episodes])
        assert places[..., 1].max() < 1.0


def test_almost_straight_ways_are_rare_and_straight_ones_never_kept() -> None:
    settings = PointNavSettings()
    assert keep_probability(1.0, settings) == 0.0
    assert keep_probability(1.01, settings) == pytest.approx(20 * 0.03**2)
    assert keep_probability(1.1, settings) == 1.0


def test_impossible_wishes_end_with_a_reason() -> None:
    with pytest.raises(EpisodeError, match=r"flat_room: none of 30 pairs .* allow other distances"):
        pointnav_episode(
            room_simulator(), 0, settings=PointNavSettings(min_distance=28, max_distance=30, max_goals=3)
        )
    with pytest.raises(SettingError, match="0 <= min < max"):
        PointNavSettings(min_distance=3, max_distance=2)
    with pytest.raises(SettingError, match="at least 1, found 0"):
        generate_pointnav(room_simulator(), 0)
    with pytest.raises(SettingError, match="seed must be a whole number of at least 0, found -1"):
        generate_pointnav(room_simulator(), 1, seed=-1)


def test_counts_are_whole_numbers_of_any_type() -> None:
    assert len(generate_pointnav(room_simulator(), np.int64(2))) == 2  # type: ignore[arg-type]
    for bad in ("2", 2.0, True):
        with pytest.raises(SettingError, match="whole number of at least 1, found"):
            generate_pointnav(room_simulator(), bad)  # type: ignore[arg-type]


def test_generated_sequences_make_only_what_is_asked_for() -> None:
    asked: list[tuple[str, int]] = []

    def make(scene_id: str, index: int) -> Episode:
        asked.append((scene_id, index))
        return replace(two_scenes()[0], scene_id=scene_id)

    sequence = GeneratedEpisodes(1000, ["a", "b"], make)
    assert len(sequence) == 1000
    assert list(sequence.keys())[3] == ("b", "3")
    assert sequence[7].episode_id == "7"
    assert sequence[7] is sequence[-993]
    assert asked == [("b", 3)]
    with pytest.raises(IndexError):
        sequence[1000]


def test_view_points_are_in_reach_and_in_sight() -> None:
    simulator = room_simulator(agent_preset("objectnav-hm3d"))
    found = view_points(simulator, 0)
    places = np.array([view.agent_state.position for view in found])
    outside = np.maximum(np.maximum(SOFA[0] - places, places - SOFA[1]), 0)[:, [0, 2]]
    reach = np.hypot(*outside.T)
    assert reach.max() <= 1.0 + 1e-6
    assert reach.max() > 0.85, "places at the edge of reach count too"
    assert len(places) > 200
    assert simulator.surface.is_navigable(places).all()
    around = np.array([[-3.5, 0, -2.4], [-3.5, 0, -4.6], [-2.4, 0, -3.5], [-4.6, 0, -3.5]])
    assert np.linalg.norm(around[:, None] - places[None], axis=2).min(axis=1).max() < 0.1, "all four sides"
    for view in [view for view, apart in zip(found, reach, strict=True) if apart > 0.2][::40]:
        x, _, z, w = view.agent_state.rotation
        assert (x, z) == (0, 0)
        angle = 2 * math.atan2(view.agent_state.rotation[1], w)
        ahead = np.array(view.agent_state.position) + 0.5 * np.array([-math.sin(angle), 0, -math.cos(angle)])
        middle = SOFA.mean(axis=0) * (1, 0, 1)
        before = np.linalg.norm(np.subtract(view.agent_state.position, middle))
        assert np.linalg.norm(ahead - middle) < before, "the agent looks towards the object"


def test_a_hidden_object_has_no_view_point_behind_the_wall() -> None:
    """The wall hides what stands against it from the other side, although that is within a metre."""
    scene = room_scene()
    moved = scene.vertices.copy()
    sofa = np.unique(scene.triangles[scene.instance_ids == 0])
    moved[sofa] += np.array([3.8 - 1e-3 - 0.9, 0, 0], np.float32)  # now x is -1.1 to -0.1, against the wall
    simulator = room_simulator()
    beside = type(simulator)(
        replace(scene, vertices=moved), simulator.agent, surface=simulator.surface, threads=1
    )
    places = np.array([view.agent_state.position for view in view_points(beside, 0)])
    assert len(places) > 100
    assert (places[:, 0] < 0).all()


def test_objectnav_episodes_lead_to_objects_of_the_category() -> None:
    simulator = room_simulator(agent_preset("objectnav-hm3d"))
    generator = ObjectNavGenerator(simulator, ["sofa", "chair", "piano"])
    assert generator.categories == ("sofa", "chair")
    found = [generator.episode(n, seed=1) for n in range(6)]
    assert found[5] == ObjectNavGenerator(simulator, ["sofa", "chair", "piano"]).episode(5, seed=1)
    assert {episode.object_category for episode in found} == {"sofa", "chair"}
    for episode in found:
        assert {goal.object_category for goal in episode.goals} == {episode.object_category}
        assert episode.goals[0].object_name == f"{episode.object_category}.00"
    assert all(check.valid for check in check_episodes(found, lambda _: simulator))
    with pytest.raises(SettingError, match=r"none of the categories piano; it has chair, sofa"):
        ObjectNavGenerator(simulator, ["piano"])


def test_samples_cover_an_object() -> None:
    samples = surface_samples(room_scene(), 0)
    np.testing.assert_allclose([samples.min(axis=0), samples.max(axis=0)], SOFA, atol=1e-6)
    grid = np.stack(np.meshgrid([-4.0, -3.0], np.linspace(0, 0.8, 9), np.linspace(-4, -3, 11)), -1).reshape(
        -1, 3
    )
    assert np.linalg.norm(grid[:, None] - samples[None], axis=2).min(axis=1).max() < 0.1
