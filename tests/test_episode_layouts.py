"""The layouts in which PointNav and ObjectNav data sets are published, and the tasks that are refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from envs.episodes import Categories, read_episodes
from envs.episodes.locate import locate_scene
from poma3d.errors import FileError

HM3D = "hm3d/val/00800-TEEsavR23oF/TEEsavR23oF.basis.glb"
MP3D = "mp3d/17DRP5sb8fy/17DRP5sb8fy.glb"
TASK_IDS = {"chair": 0, "bed": 1}


def write(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def pointnav(scene: str, number: int = 0, **fields: Any) -> dict[str, Any]:
    """An episode as Gibson's and Matterport's PointNav-v1 files hold it."""
    return {
        "episode_id": str(number),
        "scene_id": scene,
        "start_position": [1.0, 0.1, 2.0],
        "start_rotation": [0, 0.5, 0, 0.86],
        "info": {"geodesic_distance": 5.0, "difficulty": "easy"},
        "goals": [{"position": [3.0, 0.1, 2.0], "radius": None}],
        "shortest_paths": None,
        "start_room": None,
        **fields,
    }


def objectnav(scene: str, category: str, number: int = 0, **fields: Any) -> dict[str, Any]:
    """An episode of ObjectNav, its goals kept elsewhere."""
    info = {"geodesic_distance": 5.0, "euclidean_distance": 4.0, "closest_goal_object_id": 7}
    extra = {"scene_dataset_config": "./data/scene_datasets/hm3d/x.scene_dataset_config.json"}
    more = {"object_category": category, "goals": [], "info": info, **extra, **fields}
    return pointnav(scene, number, **more)


def object_goal(category: str, identifier: int = 7) -> dict[str, Any]:
    state = {"position": [2.5, 0.1, 2.0], "rotation": [0, 0, 0, 1]}
    return {
        "position": [3.0, 0.5, 2.0],
        "radius": None,
        "object_id": identifier,
        "object_name": f"{category}_{identifier}",
        "object_name_id": None,
        "object_category": category,
        "room_id": None,
        "room_name": None,
        "view_points": [{"agent_state": state, "iou": 0.2}],
    }


def tables(name: str) -> dict[str, Any]:
    return {"category_to_task_category_id": TASK_IDS, name: {"chair": 3, "bed": 11}}


def test_pointnav_in_one_file(tmp_path):
    """Habitat's test scenes; also Gibson's v1 and v2 val_mini."""
    path = write(tmp_path / "val" / "val.json.gz", {"episodes": [pointnav("gibson/Adrian.glb")]})
    for given in (path, path.parent):
        (episode,) = read_episodes(given)
        assert (episode.scene_id, episode.geodesic_distance) == ("gibson/Adrian.glb", 5.0)
        assert episode.goal_positions().tolist() == [[3.0, 0.1, 2.0]]


def test_pointnav_with_a_file_a_scene(tmp_path):
    """Gibson v1 and v2, Matterport3D v1, HM3D v1."""
    path = write(tmp_path / "train" / "train.json.gz", {"episodes": []})
    for name in ("Adrian", "Bolton"):
        episodes = [pointnav(f"gibson/{name}.glb", number) for number in range(3)]
        write(tmp_path / "train" / "content" / f"{name}.json.gz", {"episodes": episodes})
    dataset = read_episodes(path)
    assert dataset.part_count == 2
    assert len(dataset) == 6
    assert {e.scene_id for e in dataset.of_scenes(["Bolton"])} == {"gibson/Bolton.glb"}
    assert dataset.categories is None


@pytest.mark.parametrize(
    ("scene", "table"),
    [(HM3D, "category_to_scene_annotation_category_id"), (MP3D, "category_to_mp3d_category_id")],
)
@pytest.mark.parametrize("tables_in_content", [True, False])
def test_objectnav_with_its_goals_by_category(tmp_path, scene, table, tables_in_content):
    """HM3D v1 and v2; Matterport3D v1, whose table has an older name."""
    name = scene.rsplit("/", 1)[-1]
    path = write(tmp_path / "val" / "val.json.gz", {"episodes": [], **tables(table)})
    content = {
        "goals_by_category": {
            f"{name}_chair": [object_goal("chair", 7), object_goal("chair", 8)],
            f"{name}_bed": [object_goal("bed", 9)],
        },
        "episodes": [objectnav(scene, "chair", 0), objectnav(scene, "bed", 1), objectnav(scene, "chair", 2)],
        **(tables(table) if tables_in_content else {}),
    }
    write(tmp_path / "val" / "content" / f"{name.split('.')[0]}.json.gz", content)
    dataset = read_episodes(path)
    assert dataset.categories == Categories(TASK_IDS, {"chair": 3, "bed": 11}, table)
    assert [(e.object_category, len(e.goals)) for e in dataset] == [("chair", 2), ("bed", 1), ("chair", 2)]
    episode = next(iter(dataset))
    assert episode.goal_positions().tolist() == [[2.5, 0.1, 2.0]] * 2
    assert episode.extra["scene_dataset_config"].endswith(".scene_dataset_config.json")
    (tmp_path / "scenes" / scene).parent.mkdir(parents=True)
    (tmp_path / "scenes" / scene).write_bytes(b"")
    assert locate_scene(episode.scene_id, scenes_dir=tmp_path / "scenes") == str(tmp_path / "scenes" / scene)


def test_objectnav_with_its_goals_in_the_episodes(tmp_path):
    """Matterport3D's first files."""
    episode = objectnav(MP3D, "chair", goals=[object_goal("chair"), object_goal("chair", 8)])
    del episode["object_category"]
    content = {"episodes": [episode], **tables("category_to_mp3d_category_id")}
    dataset = read_episodes(write(tmp_path / "val" / "val.json.gz", content))
    (found,) = dataset
    assert (found.object_category, len(found.goals)) == ("chair", 2)
    assert dataset.categories is not None
    assert dataset.categories.task_ids == TASK_IDS


@pytest.mark.parametrize(
    ("content", "task"),
    [
        ({"episodes": [pointnav(HM3D, goal_image_id=3, goal_object_id="7")]}, "InstanceImageNav"),
        ({"episodes": [], "goals": {"a_7": {}}}, "InstanceImageNav"),
        ({"episodes": [pointnav(MP3D, instruction={"instruction_text": "Go"})]}, "VLN"),
        ({"episodes": [pointnav(MP3D, question={"question_text": "What?"})]}, "EQA"),
        ({"episodes": [pointnav(HM3D, rigid_objs=[["can", []]])]}, "Rearrange"),
        ({"episodes": [pointnav(HM3D, tasks=[["chair", "object"]])]}, "GOAT"),
    ],
)
def test_other_tasks_are_refused_by_name(tmp_path, content, task):
    path = write(tmp_path / "val.json.gz", content)
    with pytest.raises(FileError, match=rf"task {task}.*PointNav and ObjectNav") as caught:
        read_episodes(path)
    assert "val.json.gz" in str(caught.value)
