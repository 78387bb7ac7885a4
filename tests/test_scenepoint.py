"""ScenePoint data: files, captions, drawing, augmentation, order, resuming, and the naming of bad files."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from scenepoint_examples import SIZE, WORDS, make_folder, make_views

from poma3d.errors import SettingError
from poma3d.pointmap import resize
from poma3d.scenepoint import (
    UNKNOWN,
    AugmentSettings,
    DataSettings,
    SceneLoader,
    ScenePointDataset,
    collate,
)
from poma3d.scenepoint.augment import SceneChange, draw_change
from poma3d.scenepoint.captions import (
    RetrievalQuery,
    read_retrieval,
    write_retrieval,
)
from poma3d.scenepoint.dataset import draw_views
from poma3d.scenepoint.folder import (
    scene_captions_path,
    scene_path,
    view_captions_path,
)
from poma3d.scenepoint.order import DrawOrder
from poma3d.scenepoint.scene_file import SceneFile, SceneWords, StoredViews, write_scene


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


# --- one file ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
def test_a_scene_is_read_back_as_written(tmp_path: Path, half: bool) -> None:
    views = make_views(1)
    path = tmp_path / "a.safetensors"
    write_scene(path, views, WORDS, half=half)
    file = SceneFile(path)
    assert (file.views, file.height, file.width) == (4, SIZE, SIZE)
    assert file.words == SceneWords(WORDS.categories, WORDS.room_types, {"frame": "scene"})
    read = file.read(images=True, labels=True)
    assert read.point_map.dtype == np.float32
    np.testing.assert_allclose(read.point_map, views.point_map, rtol=0, atol=1e-3 if half else 0)
    for name in ("valid", "images", "category_ids", "room_type_ids", "scene_from_camera"):
        np.testing.assert_array_equal(getattr(read, name), getattr(views, name), err_msg=name)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_any_selection_of_views_is_those_views(
    tmp_path_factory: pytest.TempPathFactory, picked: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "ten_views.safetensors"
    if not path.exists():
        write_scene(path, make_views(2, views=10, size=3), WORDS)
    file = SceneFile(path)
    whole = file.read(images=True, labels=True)
    some = file.read(picked, images=True, labels=True)
    np.testing.assert_array_equal(some.point_map, whole.point_map[picked])
    np.testing.assert_array_equal(some.category_ids, whole.category_ids[picked])
    np.testing.assert_array_equal(some.images, whole.images[picked])


def test_the_authors_reader_finds_its_tensors_and_theirs_are_read(tmp_path: Path) -> None:
    views = make_views(3)
    write_scene(tmp_path / "ours.safetensors", views, WORDS)
    theirs = load_file(tmp_path / "ours.safetensors")
    np.testing.assert_array_equal(theirs["point_map"], views.point_map)
    assert theirs["point_map"].dtype == np.float32
    np.testing.assert_array_equal(theirs["color_images"], views.images)

    plain = {"point_map": views.point_map.astype(np.float64), "color_images": views.images / np.float32(255)}
    save_file(plain, tmp_path / "theirs.safetensors")
    read = SceneFile(tmp_path / "theirs.safetensors").read(images=True, labels=True)
    np.testing.assert_array_equal(read.point_map, views.point_map)
    np.testing.assert_array_equal(read.valid, views.valid)  # nothing says so but the zeros
    np.testing.assert_array_equal(read.images, views.images)
    assert read.category_ids is None


def test_more_categories_than_a_byte_holds(tmp_path: Path) -> None:
    views = make_views(4, categories=400)
    words = SceneWords(tuple(f"thing {i:03d}" for i in range(400)), WORDS.room_types)
    write_scene(tmp_path / "a.safetensors", views, words)
    read = SceneFile(tmp_path / "a.safetensors").read(labels=True)
    np.testing.assert_array_equal(read.category_ids, views.category_ids)


def test_what_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    views = make_views(5)
    path = tmp_path / "a.safetensors"
    with pytest.raises(SettingError, match="V, H, W, 3"):
        write_scene(path, StoredViews(views.point_map[0], views.valid))
    with pytest.raises(SettingError, match="no finite"):
        write_scene(path, StoredViews(views.point_map * np.float32("nan"), views.valid))
    with pytest.raises(SettingError, match="too far for float16"):
        write_scene(path, StoredViews(views.point_map * 1e6, views.valid), half=True)
    with pytest.raises(SettingError, match="category_ids must lie"):
        write_scene(path, views, SceneWords(("bed",), WORDS.room_types))
    assert not list(tmp_path.iterdir())


# --- captions ---------------------------------------------------------------------------------------------------


def test_captions_have_the_authors_form(root: Path) -> None:
    lines = [json.loads(line) for line in view_captions_path(root, "scannet").read_text().splitlines()]
    assert len(lines) == 12
    assert lines[5] == {
        "scan_id": "scannet_1",
        "safetensors_path": "light_scannet/scannet_1.safetensors",
        "utterance": [f"scannet_1 view 1 text {i}" for i in range(5)],
    }
    scenes = json.loads(scene_captions_path(root).read_text())
    assert scenes["houses_0"] == {"captions": [f"houses_0 as a whole, {i}" for i in range(3)]}


def test_retrieval_queries_are_read_back(tmp_path: Path) -> None:
    queries = [
        RetrievalQuery("a", "the chair by the door", (3, 1)),
        RetrievalQuery("b", "ein Stuhl für zwei"),
    ]
    write_retrieval(tmp_path / "q.jsonl", queries)
    assert read_retrieval(tmp_path / "q.jsonl") == queries


def test_every_caption_of_a_view_is_drawn_and_belongs_to_it(root: Path) -> None:
    dataset = ScenePointDataset(root, DataSettings(views=4))
    order = DrawOrder(dataset.sources, seed=3)
    seen: Counter[str] = Counter()
    for number in range(60):
        sample = dataset[order.draw(number)]
        for view, caption in zip(sample.view_indices.tolist(), sample.view_captions, strict=True):
            assert caption.startswith(f"{sample.scan_id} view {view} text ")
            seen[caption[-1]] += 1
        assert sample.scene_caption.startswith(f"{sample.scan_id} as a whole, ")
    assert set(seen) == set("01234")
    assert min(seen.values()) > 20  # of 240, 48 expected


def test_captions_of_a_view_are_joined(root: Path) -> None:
    dataset = ScenePointDataset(root, DataSettings(views=4, captions=3))
    counts: Counter[int] = Counter()
    for number in range(60):
        sample = dataset[DrawOrder(dataset.sources, seed=1).draw(number)]
        for view, caption in zip(sample.view_indices.tolist(), sample.view_captions, strict=True):
            start = f"{sample.scan_id} view {view} text "
            said = caption.removeprefix(start).split(f" {start}")
            assert len(set(said)) == len(said)
            assert set(said) <= set("01234")
            counts[len(said)] += 1
    assert set(counts) == {1, 2, 3}
    assert min(counts.values()) > 50  # of 240, 80 expected


# --- drawing ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_views_are_drawn_once_or_filled_up(available: int, wanted: int, seed: int) -> None:
    drawn = draw_views(available, wanted, np.random.default_rng(seed))
    assert drawn.shape == (wanted,)
    assert drawn.min() >= 0
    assert drawn.max() < available
    if available >= wanted:
        assert len(set(drawn.tolist())) == wanted
    else:
        assert drawn[:available].tolist() == list(range(available))


def test_shapes_of_a_batch(root: Path) -> None:
    asked = DataSettings(views=6, size=8, images=True, image_size=5, labels=True, augment=AugmentSettings())
    dataset = ScenePointDataset(root, asked)
    batch = next(iter(SceneLoader(dataset, 3)))
    assert batch.point_map.shape == (3, 6, 8, 8, 3)
    assert batch.point_map.dtype == torch.float32
    assert batch.valid.shape == (3, 6, 8, 8)
    assert batch.images.shape == (3, 6, 5, 5, 3)
    assert batch.images.dtype == torch.uint8
    assert batch.semantics.shape == (3, 6, 8, 8)
    assert batch.rooms.shape == (3, 6)
    assert batch.poses.shape == (3, 6, 4, 4)
    assert [len(texts) for texts in batch.view_captions] == [6, 6, 6]
    assert len(batch.scene_captions) == len(batch.scan_ids) == len(batch.sources) == len(batch) == 3
    assert not batch.point_map[~batch.valid].any()
    assert batch.to("cpu").point_map is batch.point_map


def test_labels_are_sampled_as_points_are(root: Path) -> None:
    dataset = ScenePointDataset(root, DataSettings(views=4, size=8, labels=True))
    sample = dataset[0]
    stored = SceneFile(dataset.path_of(sample.scan_id)).read(labels=True)
    ids = stored.category_ids.astype(np.float32)[..., None].repeat(3, axis=-1)
    expected, _ = resize(ids, np.ones(ids.shape[:3], bool), 8, 8)
    np.testing.assert_array_equal(sample.semantics.numpy(), expected[..., 0])


def test_category_numbers_can_be_those_of_another_data_set(root: Path) -> None:
    known = ("wall", "bed", "lamp")
    own = ScenePointDataset(root, DataSettings(views=4, labels=True))
    other = ScenePointDataset(
        root, DataSettings(views=4, labels=True), categories=known, room_types=("kitchen",)
    )
    assert own.categories == WORDS.categories
    for number in range(len(own)):
        a, b = own[number], other[number]
        for index, name in enumerate(own.categories):
            expected = known.index(name) if name in known else UNKNOWN
            assert set(b.semantics[a.semantics == index].tolist()) <= {expected}
        assert set(b.semantics[a.semantics == UNKNOWN].tolist()) == {UNKNOWN}
        assert torch.equal(b.rooms == 0, a.rooms == own.room_types.index("kitchen"))


def test_categories_can_be_renamed(root: Path) -> None:
    plain = ScenePointDataset(root, DataSettings(views=4, labels=True))
    renamed = ScenePointDataset(
        root, DataSettings(views=4, labels=True), aliases={"chair": "seat", "bed": "seat"}
    )
    assert renamed.categories == ("seat", "wall")
    a, b = plain[0].semantics, renamed[0].semantics
    assert torch.equal(b == 0, (a == plain.categories.index("chair")) | (a == plain.categories.index("bed")))


def test_single_views_are_scenes(root: Path) -> None:
    dataset = ScenePointDataset(root, DataSettings(single_views=True))
    assert len(dataset) == 5 * 4
    sample = dataset[dataset.scan_ids.index("scannet_2#3")]
    assert sample.point_map.shape == (1, SIZE, SIZE, 3)
    stored = SceneFile(scene_path(root, "scannet", "scannet_2")).read([3])
    np.testing.assert_array_equal(sample.point_map.numpy(), stored.point_map)
    assert sample.view_captions == [sample.scene_caption]
    assert sample.scene_caption.startswith("scannet_2 view 3 ")


def test_scans_can_be_chosen(root: Path) -> None:
    assert ScenePointDataset(root, scans=["houses_1"]).scan_ids == ["houses_1"]
    with pytest.raises(SettingError, match="no scene"):
        ScenePointDataset(root, scans=["nowhere"])


# --- augmentation -----------------------------------------------------------------------------------------------


@given(
    st.integers(0, 3).map(lambda quarters: quarters * math.pi / 2) | st.floats(-4, 4),
    st.floats(0.75, 1.25),
    st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    st.integers(0, 9),
)
@settings(deadline=None)
def test_a_change_is_the_transform_it_says(angle: float, scale: float, move: list[float], seed: int) -> None:
    views = make_views(seed)
    change = SceneChange(angle, scale, np.array(move), np.array([0.3, -0.2, 0.1]))
    changed = change.points(views.point_map, views.valid)
    expected = views.point_map.astype(float) @ change.matrix[:3, :3].T + change.matrix[:3, 3]
    np.testing.assert_allclose(changed[views.valid], expected[views.valid], atol=1e-5)
    assert not changed[~views.valid].any()
    turn = [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    np.testing.assert_allclose(change.matrix[:3, :3], scale * np.array(turn), atol=1e-12)
    np.testing.assert_allclose(change.matrix @ [*change.centre, 1], [*(change.centre + move), 1], atol=1e-12)


def test_augmentation_stays_in_its_ranges_and_turns_round_the_centroid() -> None:
    views = make_views(7)
    centroid = views.point_map[views.valid].mean(axis=0)
    changes = [
        draw_change(AugmentSettings(), views.point_map, views.valid, np.random.default_rng(seed))
        for seed in range(400)
    ]
    turns = Counter(round(change.turn / (math.pi / 2)) for change in changes)
    assert set(turns) == {0, 1, 2, 3}
    assert min(turns.values()) > 60
    scales, moves = np.array([c.scale for c in changes]), np.array([c.move for c in changes])
    assert 0.75 <= scales.min() < 0.77 < 1.23 < scales.max() <= 1.25
    assert (moves.min(axis=0) >= -1).all()
    assert (moves.min(axis=0) < -0.97).all()
    assert (moves.max(axis=0) > 0.97).all()
    assert (moves.max(axis=0) <= 1).all()
    for change in changes:
        np.testing.assert_allclose(change.centre, centroid, atol=1e-5)
    still = AugmentSettings(turns="none", scale=(1.0, 1.0), translation=0.0, lift=0.0)
    same = draw_change(still, views.point_map, views.valid, np.random.default_rng(0))
    np.testing.assert_allclose(same.matrix, np.eye(4), atol=1e-6)


def test_poses_move_with_the_points(root: Path) -> None:
    plain = ScenePointDataset(root, DataSettings(views=4, labels=True))[0]
    moved = ScenePointDataset(root, DataSettings(views=4, labels=True, augment=AugmentSettings()))[0]
    in_camera = torch.linalg.inv(plain.poses.double())
    for view in range(4):
        points = plain.point_map[view][plain.valid[view]].double()
        homogeneous = torch.cat([points, torch.ones(len(points), 1)], 1)
        expected = homogeneous @ (moved.poses[view].double() @ in_camera[view]).T
        torch.testing.assert_close(
            expected[:, :3], moved.point_map[view][moved.valid[view]].double(), atol=1e-4, rtol=0
        )


# --- order and position -----------------------------------------------------------------------------------------


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 7), min_size=1), st.integers(0, 3))
def test_sources_have_equal_mass_and_scenes_take_turns(counts: dict[str, int], seed: int) -> None:
    sources = [name for name, count in counts.items() for _ in range(count)]
    order = DrawOrder(sources, seed=seed)
    rounds = math.lcm(*counts.values())
    drawn = Counter(order.draw(number).index for number in range(rounds * len(counts)))
    for index, source in enumerate(sources):
        assert drawn[index] == rounds // counts[source]
    proportional = DrawOrder(sources, seed=seed, mix="proportional")
    once = Counter(proportional.draw(number).index for number in range(len(sources)))
    assert set(once.values()) == {1}
    assert len(once) == len(sources)


def same(a, b) -> bool:
    return (
        a.scan_ids == b.scan_ids
        and a.view_captions == b.view_captions
        and a.scene_captions == b.scene_captions
        and torch.equal(a.point_map, b.point_map)
        and torch.equal(a.view_indices, b.view_indices)
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_saved_position_goes_on_with_the_very_batches(root: Path, workers: int) -> None:
    dataset = ScenePointDataset(root, DataSettings(views=3, augment=AugmentSettings()))
    whole = list(itertools.islice(SceneLoader(dataset, 2, seed=5), 7))
    loader = SceneLoader(dataset, 2, seed=5, workers=workers)
    stream = iter(loader)
    begun = [next(stream) for _ in range(3)]
    state = json.loads(json.dumps(loader.state_dict()))
    again = SceneLoader(dataset, 2, seed=5, workers=workers)
    again.load_state_dict(state)
    rest = list(itertools.islice(again, 4))
    assert all(same(a, b) for a, b in zip(whole, begun + rest, strict=True))
    assert again.state_dict()["draws"] == 14
    assert not same(whole[0], next(iter(SceneLoader(dataset, 2, seed=6))))


def test_ranks_share_one_batch(root: Path) -> None:
    dataset = ScenePointDataset(root, DataSettings(views=3, augment=AugmentSettings()))
    one = list(itertools.islice(SceneLoader(dataset, 4), 3))
    parts = [list(itertools.islice(SceneLoader(dataset, 2, rank=rank, ranks=2), 3)) for rank in (0, 1)]
    for whole, left, right in zip(one, *parts, strict=True):
        assert whole.scan_ids == left.scan_ids + right.scan_ids
        assert torch.equal(whole.point_map, torch.cat([left.point_map, right.point_map]))
    resumed = SceneLoader(dataset, 2)  # another machine, half the batch: the same scenes go on
    loader = SceneLoader(dataset, 4)
    next(iter(loader))
    resumed.load_state_dict(loader.state_dict())
    assert next(iter(resumed)).scan_ids == one[1].scan_ids[:2]


def test_a_position_of_something_else_is_refused(root: Path, tmp_path: Path) -> None:
    loader = SceneLoader(ScenePointDataset(root), 2)
    state = {**loader.state_dict(), "draws": 6}
    with pytest.raises(SettingError, match="seed"):
        SceneLoader(loader.dataset, 2, seed=1).load_state_dict(state)
    with pytest.raises(SettingError, match="inside a batch"):
        SceneLoader(loader.dataset, 4).load_state_dict(state)
    with pytest.raises(SettingError, match="scenes"):
        SceneLoader(ScenePointDataset(root, scans=["houses_0"]), 2).load_state_dict(state)


def test_evaluation_is_the_same_every_time(root: Path) -> None:
    dataset = ScenePointDataset(root, DataSettings(views=3))
    assert same(collate([dataset[1]]), collate([dataset[1]]))
    assert same(collate([dataset[-1]]), collate([dataset[len(dataset) - 1]]))
