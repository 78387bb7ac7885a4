"""Episode files in Habitat's layouts, episodes generated and checked, and every way in which they can be wrong."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flat_room import SOFA, room_scene, room_simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.embodiment import agent_preset
from envs.episodes import (
    AgentState,
    Categories,
    Episode,
    EpisodeDataset,
    EpisodeFile,
    Goal,
    ViewPoint,
    read_episodes,
    write_episodes,
)
from envs.episodes.check import check_episodes
from envs.episodes.dataset import decode, encode, read_file
from envs.episodes.generated import GeneratedEpisodes
from envs.episodes.locate import locate_scene
from envs.episodes.objectnav_generator import ObjectNavGenerator, category_tables, generate_objectnav
from envs.episodes.pointnav_generator import (
    PointNavSettings,
    generate_pointnav,
    keep_probability,
    pointnav_episode,
)
from envs.episodes.view_points import surface_samples, view_points
from poma3d.errors import EpisodeError, FileError, SettingError

numbers = st.floats(-1e3, 1e3)
vectors = st.tuples(numbers, numbers, numbers)
rotations = st.floats(-3, 3).map(lambda a: (0.0, math.sin(a / 2), 0.0, math.cos(a / 2)))
text = st.text(max_size=8)
known = {f.lower() for f in Episode.__dataclass_fields__} | {f.lower() for f in Goal.__dataclass_fields__}
extras = st.dictionaries(
    st.sampled_from(["scene_dataset_config", "object_name_id", "mine"]), text, max_size=2
)
point_goals = st.builds(Goal, vectors, st.none() | st.floats(0, 2), extra=extras)
episodes = st.builds(
    Episode,
    episode_id=text.filter(bool),
    scene_id=text.filter(bool),
    start_position=vectors,
    start_rotation=rotations,
    goals=st.lists(point_goals, min_size=1, max_size=2).map(tuple),
    info=st.none() | st.dictionaries(text, st.floats(0, 99), max_size=2),
    start_room=st.none() | text,
    shortest_paths=st.none() | st.just([[{"position": [0, 0, 0], "rotation": [0, 0, 0, 1], "action": 1}]]),
    extra=extras,
)
view = st.builds(
    ViewPoint, st.builds(AgentState, vectors, rotations), st.none() | st.floats(0, 1), extra=extras
)
object_goals = st.builds(
    Goal,
    vectors,
    object_id=st.integers(0, 99),
    object_name=text,
    object_category=st.just("chair"),
    room_name=st.none() | text,
    view_points=st.lists(view, max_size=3).map(tuple),
    extra=extras,
)


@given(st.lists(episodes, max_size=4).map(tuple), extras)
@settings(max_examples=60, deadline=None)
def test_pointnav_files_come_back_as_they_were(listed: tuple[Episode, ...], extra: dict[str, str]) -> None:
    file = EpisodeFile(listed, extra=extra)
    assert decode(encode(file)) == replace(file, shared_goals=False)


@given(
    st.lists(episodes, min_size=1, max_size=3), st.lists(object_goals, min_size=1, max_size=3), st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_objectnav_files_come_back_as_they_were(
    listed: list[Episode], goals: list[Goal], shared: bool
) -> None:
    same = tuple(goals)
    found = tuple(replace(e, scene_id="a/b.glb", object_category="chair", goals=same) for e in listed)
    old_name = "category_to_mp3d_category_id"
    file = EpisodeFile(found, Categories({"chair": 0}, {"chair": 3}, old_name), shared, {"b.glb_bed": same})
    again = decode(encode(file))
    assert again == (file if shared else replace(file, unused_goals={}))
    content = json.loads(gzip.decompress(encode(file)))
    assert old_name in content
    assert ("goals_by_category" in content) == shared
    if shared:
        assert content["episodes"][0]["goals"] == []
        assert list(content["goals_by_category"]) == ["b.glb_bed", "b.glb_chair"]


def test_files_hold_only_what_habitat_lab_takes(tmp_path: Path) -> None:
    """habitat-lab builds its classes from the fields: one too many and it raises TypeError."""
    episode_fields = {"episode_id", "scene_id", "start_position", "start_rotation", "info", "goals"}
    episode_fields |= {"start_room", "shortest_paths"}
    simulator = room_simulator()
    write_episodes(tmp_path / "p.json.gz", generate_pointnav(simulator, 2))
    content = json.loads(gzip.decompress((tmp_path / "p.json.gz").read_bytes()))
    assert set(content) == {"episodes"}
    assert set(content["episodes"][0]) == episode_fields
    assert set(content["episodes"][0]["goals"][0]) == {"position", "radius"}
    found = generate_objectnav(simulator, 2, categories=["sofa"])
    write_episodes(tmp_path / "o.json.gz", found, categories=category_tables(["sofa"]))
    content = json.loads(gzip.decompress((tmp_path / "o.json.gz").read_bytes()))
    assert set(content["episodes"][0]) == episode_fields | {"object_category"}
    goal = content["goals_by_category"]["flat_room_sofa"][0]
    object_fields = {"object_id", "object_name", "object_category", "room_id", "room_name", "view_points"}
    assert set(goal) == {"position", "radius"} | object_fields
    assert set(goal["view_points"][0]) == {"agent_state", "iou"}
    assert set(goal["view_points"][0]["agent_state"]) == {"position", "rotation"}
    assert list(read_episodes(tmp_path / "o.json.gz")) == found


def test_goals_in_the_episodes_are_objectnav_too() -> None:
    goal = {"position": [0, 0, 0], "object_id": 7, "object_category": "bed", "view_points": []}
    content = {"episodes": [{**PLAIN, "goals": [goal]}], "category_to_task_category_id": {"bed": 1}}
    content["category_to_mp3d_category_id"] = {"bed": 11}
    file = decode(packed(content))
    assert file.episodes[0].object_category == "bed"
    assert not file.shared_goals
    assert file.categories == Categories({"bed": 1}, {"bed": 11}, "category_to_mp3d_category_id")


PLAIN: dict[str, Any] = {
    "episode_id": "4",
    "scene_id": "a.glb",
    "start_position": [0, 0, 0],
    "start_rotation": [0, 0, 0, 1],
    "goals": [{"position": [1, 0, 0], "radius": None}],
}


def packed(content: Any) -> bytes:
    return gzip.compress(json.dumps(content).encode(), mtime=0)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in PLAIN.items() if key != name}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"{}", "is not a whole gzip file"),
        (packed({"episodes": [PLAIN]})[:-9], "is not a whole gzip file"),
        (gzip.compress(b"{nonsense", mtime=0), "holds no JSON"),
        (gzip.compress(b"\xff\xfe", mtime=0), "holds no JSON"),
        (packed([]), "'episodes' is missing"),
        (
            packed({"episodes": [PLAIN, without("start_position")]}),
            r"episode 1 \(id '4'\): 'start_position' is",
        ),
        (packed({"episodes": [without("goals")]}), r"episode 0 \(id '4'\): 'goals' is missing"),
        (packed({"episodes": [without("episode_id")]}), "episode 0: 'episode_id' is missing"),
        (packed({"episodes": [7]}), "episode 0 must be an object"),
        (packed({"episodes": [{**PLAIN, "start_position": [0, 1]}]}), "must be 3 finite numbers"),
        (packed({"episodes": [{**PLAIN, "start_position": [0, 1, float("nan")]}]}), "must be 3 finite"),
        (packed({"episodes": [{**PLAIN, "start_rotation": [0, 0, 0, 0]}]}), "is no rotation"),
        (packed({"episodes": [{**PLAIN, "goals": {}}]}), "'goals' must be a list"),
        (packed({"episodes": [{**PLAIN, "goals": [{}]}]}), "goal 0: 'position' is missing"),
        (packed({"episodes": [{**PLAIN, "info": 3}]}), "'info' must be an object"),
        (packed({"episodes": [PLAIN], "goals_by_category": {}}), "no entry 'a.glb_None'"),
        (packed({"episodes": [], "category_to_task_category_id": {"a": 0}}), "needs 'category_to_scene"),
        (
            packed(
                {
                    "episodes": [],
                    "category_to_task_category_id": {"a": 0},
                    "category_to_mp3d_category_id": {"b": 0},
                }
            ),
            "must have the same categories",
        ),
    ],
)
def test_damaged_files_say_what_is_wrong(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "bad.json.gz"
    path.write_bytes(data)
    with pytest.raises(FileError, match=message) as caught:
        read_episodes(path)
    assert str(path) in str(caught.value)


def test_absent_and_empty_data_sets_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is not there"):
        read_episodes(tmp_path / "none.json.gz")
    (tmp_path / "empty.json.gz").write_bytes(packed({"episodes": []}))
    with pytest.raises(FileError, match="holds no episodes"):
        read_episodes(tmp_path / "empty.json.gz")
    with pytest.raises(SettingError, match="no episodes to write"):
        write_episodes(tmp_path / "none.json.gz", [])


def two_scenes() -> list[Episode]:
    goal = (Goal((1.0, 0.0, 0.0)),)
    return [
        Episode(str(n), f"mp3d/{s}/{s}.glb", (0.0,) * 3, (0.0, 0.0, 0.0, 1.0), goal)
        for n, s in enumerate("abba")
    ]


def test_content_folders_are_read_a_scene_at_a_time(tmp_path: Path) -> None:
    written = write_episodes(tmp_path / "val" / "val.json.gz", two_scenes(), by_scene=True)
    assert [str(path.relative_to(tmp_path)) for path in written] == [
        "val/val.json.gz",
        "val/content/a.json.gz",
        "val/content/b.json.gz",
    ]
    dataset = read_episodes(written[0])
    (tmp_path / "val/content/b.json.gz").write_bytes(b"broken")
    assert [episode.episode_id for episode in dataset.part(0)] == ["0", "3"]
    assert dataset.find("3", "mp3d/a/a.glb") == (0, 1)
    with pytest.raises(FileError, match=r"b\.json\.gz"):
        len(dataset)


def test_another_content_pattern_is_followed(tmp_path: Path) -> None:
    (tmp_path / "per_scene").mkdir()
    main = {"episodes": [], "content_scenes_path": "{data_path}/per_scene/{scene}.json.gz"}
    (tmp_path / "val.json.gz").write_bytes(packed(main))
    (tmp_path / "per_scene" / "a.json.gz").write_bytes(packed({"episodes": [PLAIN]}))
    assert [episode.episode_id for episode in read_episodes(tmp_path / "val.json.gz")] == ["4"]


def test_two_scenes_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    clash = [replace(e, scene_id=f"{e.episode_id}/same.glb") for e in two_scenes()[:2]]
    with pytest.raises(SettingError, match="two scenes are called 'same'"):
        write_episodes(tmp_path / "val.json.gz", clash, by_scene=True)
    assert not (tmp_path / "val.json.gz").exists()


def test_scenes_are_found_where_habitat_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = tmp_path / "data/scene_datasets/hm3d/val/X/X.glb"
    scene.parent.mkdir(parents=True)
    scene.touch()
    file = tmp_path / "data/datasets/pointnav/v1/val/val.json.gz"
    for name in ("hm3d/val/X/X.glb", "data/scene_datasets/hm3d/val/X/X.glb", "hm3d/val/X/X.basis.glb"):
        assert Path(locate_scene(name, episode_file=file)).samefile(scene)
        assert Path(locate_scene(name, scenes_dir=tmp_path / "data/scene_datasets")).samefile(scene)
        assert Path(locate_scene(name, scenes_dir=tmp_path / "data")).samefile(scene)
    monkeypatch.chdir(tmp_path)
    assert Path(locate_scene("hm3d/val/X/X.glb")).samefile(scene)
    assert locate_scene("procedural:val:0003") == "procedural:val:0003"
    with pytest.raises(EpisodeError, match=r"'Y\.glb' is absent; looked for .*Y\.glb"):
        locate_scene("Y.glb", scenes_dir=tmp_path)


def test_finding_an_episode_that_is_not_there() -> None:
    dataset = EpisodeDataset.of(two_scenes())
    assert dataset.find("2") == (0, 2)
    with pytest.raises(EpisodeError, match="no episode with id '9'"):
        dataset.find("9")
    with pytest.raises(EpisodeError, match=r"in scene 'mp3d/a/a\.glb'"):
        dataset.find("2", "mp3d/a/a.glb")
    with pytest.raises(EpisodeError, match="its scenes are a, b"):
        dataset.of_scenes(["c"])
    assert [e.episode_id for e in dataset.of_scenes(["b"])] == ["1", "2"]


@pytest.mark.golden
def test_habitats_files_are_read_and_written_alike(golden_dir: Path, real_scene: str) -> None:
    path = golden_dir / f"{real_scene}.pointnav.json.gz"
    file = read_file(path)
    assert len(file.episodes) == 30
    before = json.loads(gzip.decompress(path.read_bytes()))
    assert json.loads(gzip.decompress(encode(file))) == before


# Generation.


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


# Checking.


def test_checks_name_every_kind_of_problem() -> None:
    simulator = room_simulator()
    good = generate_pointnav(simulator, 1)[0]
    far = (100.0, 0.0, 0.0)
    bad = {
        "scene absent": replace(good, episode_id="1", scene_id="nowhere.glb"),
        "start off the surface": replace(good, episode_id="2", start_position=far),
        "goal off the surface": replace(good, episode_id="3", goals=(Goal(far),)),
        "goal unreachable": replace(good, episode_id="4", goals=(Goal((0.0, 0.0, 0.0)),)),
        "distance differs": replace(
            good, episode_id="5", info={"geodesic_distance": good.geodesic_distance * 1.1}
        ),
        "start leans": replace(good, episode_id="6", start_rotation=(0.7, 0.0, 0.0, 0.7)),
        "no goal": replace(good, episode_id="7", goals=()),
        "id repeated": good,
    }

    def simulator_of(scene_id: str) -> Any:
        return simulator if scene_id == "flat_room" else locate_scene(scene_id, scenes_dir="/nowhere")

    checks = list(check_episodes([good, *bad.values()], simulator_of))
    assert checks[0].valid
    for kind, check in zip(bad, checks[1:], strict=True):
        assert not check.valid
        assert len(check.problems) == 1
        assert check.problems[0].startswith(kind)
    assert checks[5].row()["measured_distance"] == pytest.approx(good.geodesic_distance)
    json.dumps([check.row() for check in checks])


@pytest.mark.golden
def test_habitats_episodes_are_valid_here(golden_dir: Path, scenes_dir: Path, real_scene: str) -> None:
    from envs.simulators.open import open_simulator

    simulator = open_simulator(scenes_dir / f"{real_scene}.glb")
    dataset = read_episodes(golden_dir / f"{real_scene}.pointnav.json.gz")
    checks = list(check_episodes(dataset, lambda _: simulator))
    assert len(checks) == 30
    assert [check for check in checks if not check.valid] == []
