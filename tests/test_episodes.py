"""Episode files in Habitat's layouts, episodes checked, and every way in which they can be wrong."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flat_room import room_simulator
from hypothesis import given, settings
from hypothesis import strategies as st

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
from envs.episodes.locate import locate_scene
from envs.episodes.objectnav_generator import category_tables, generate_objectnav
from envs.episodes.pointnav_generator import (
    generate_pointnav,
)
from envs.objectnav import ObjectNavEnv
from envs.pointnav import PointNavEnv
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


def test_a_run_refuses_repeated_ids_and_the_check_lists_them(tmp_path: Path) -> None:
    listed = two_scenes()
    listed[3] = replace(listed[3], episode_id="0")  # as the first one, also in scene a
    listed[2] = replace(listed[2], episode_id="0")  # in scene b: no clash
    told = "episode 0 and episode 3 .* 'mp3d/a/a.glb' have the same id '0'"
    write_episodes(tmp_path / "val.json.gz", listed)
    with pytest.raises(FileError, match=told):
        read_episodes(tmp_path / "val.json.gz", unique_ids=True)
    with pytest.raises(FileError, match=told):
        PointNavEnv(episodes=tmp_path / "val.json.gz")
    found = list(check_episodes(read_episodes(tmp_path / "val.json.gz"), lambda _: room_simulator()))
    assert ["id repeated" in " ".join(check.problems) for check in found] == [False, False, False, True]
    sound = listed[:3]
    write_episodes(tmp_path / "sound.json.gz", sound)
    assert list(read_episodes(tmp_path / "sound.json.gz", unique_ids=True)) == sound


def test_repeated_ids_in_content_folders_are_refused_when_they_are_read(tmp_path: Path) -> None:
    listed = [replace(episode, episode_id="7") for episode in two_scenes()[:2]]
    write_episodes(tmp_path / "val" / "val.json.gz", [*listed, listed[0]], by_scene=True)
    dataset = read_episodes(tmp_path / "val" / "val.json.gz", unique_ids=True)
    assert len(dataset.part(1)) == 1
    for chosen in (dataset, dataset.of_scenes(["a"])):
        with pytest.raises(FileError, match=r"a\.json\.gz: episode 0 and episode 1 .* same id '7'"):
            chosen.part(0)


def test_files_of_the_other_task_are_refused(tmp_path: Path) -> None:
    objects = [
        replace(made, object_category="chair", goals=(Goal(made.goals[0].position, object_category="chair"),))
        for made in two_scenes()
    ]
    write_episodes(tmp_path / "points.json.gz", two_scenes())
    write_episodes(tmp_path / "objects.json.gz", objects, categories=category_tables(["chair"]))
    write_episodes(
        tmp_path / "objects" / "objects.json.gz",
        objects,
        categories=category_tables(["chair"]),
        by_scene=True,
    )
    for chosen in (tmp_path / "objects.json.gz", tmp_path / "objects", objects):
        with pytest.raises(EpisodeError, match=r"use pomagym/ObjectNav-v0 \(--task objectnav\)"):
            PointNavEnv(episodes=chosen)
    for chosen in (tmp_path / "points.json.gz", two_scenes()):
        with pytest.raises(EpisodeError, match=r"use pomagym/PointNav-v0 \(--task pointnav\)"):
            ObjectNavEnv(episodes=chosen)
    write_episodes(tmp_path / "points" / "points.json.gz", two_scenes(), by_scene=True)
    env = ObjectNavEnv(episodes=tmp_path / "points", simulator=room_simulator())
    with pytest.raises(EpisodeError, match=r"'[0-3]' is of the task PointNav"):
        env.reset()


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
