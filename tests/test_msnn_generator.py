"""Generated MSNN samples: true, answerable, balanced, the same every time, and words that do not tell the answer."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from envs.msnn import MsnnSample, angular_error, label_angle, read_msnn, write_msnn
from envs.msnn.balance import cells_of
from envs.msnn.execute import SampleExecutor
from envs.msnn.generator import MsnnSet, generate_msnn
from envs.msnn.names import Name, Names
from envs.msnn.scans import scene_of_scan
from envs.msnn.settings import MsnnSettings
from envs.msnn.situations import SEATS, SIDES
from envs.msnn.wording import DOING, FACTS, POSITIONS
from envs.scenepoint_export.export import scan_id_of
from envs.scenepoint_export.sightings import Boxes
from envs.scenes.houses import house
from envs.scenes.scene import Instance, Room, Scene
from envs.simulators.open import open_simulator
from poma3d.errors import EpisodeError, SceneError, SettingError

HOUSES = [f"procedural:train:{number:04d}" for number in range(8)]
SETTINGS = MsnnSettings()
_house = functools.lru_cache(maxsize=None)(house)


@pytest.fixture(scope="module")
def made() -> MsnnSet:
    """Samples of a few houses."""
    return generate_msnn(HOUSES, 64, SETTINGS)


@pytest.fixture(scope="module")
def executors(made: MsnnSet) -> dict[str, SampleExecutor]:
    """What carries directions out, by scan."""
    found = {}
    for sample in made.samples:
        if sample.scan_id not in found:
            found[sample.scan_id] = SampleExecutor(open_simulator(scene_of_scan(sample)), SETTINGS)
    return found


def test_there_are_as_many_as_asked_and_every_direction_equally_often(made: MsnnSet):
    assert len(made.samples) == 64
    assert not made.problems
    assert Counter(sample.label(8) for sample in made.samples) == dict.fromkeys(range(8), 8)
    assert Counter(sample.label(4) for sample in made.samples) == dict.fromkeys(range(4), 16)


def test_in_a_group_all_that_is_told_is_the_same_and_every_direction_comes_once(made: MsnnSet):
    """Of the groups that are of whole signatures: no function of the words can tell their answers."""
    whole = made.groups["situation and goal"]
    assert whole >= 1
    for group in range(whole):
        members = [sample for sample in made.samples if sample.meta_data["group"] == group]
        assert len({_facts(sample) for sample in members}) == 1
        assert sorted(sample.label(8) for sample in members) == list(range(8))
        assert Counter(sample.label(4) for sample in members) == dict.fromkeys(range(4), 2)


def _facts(sample: MsnnSample) -> tuple:
    """What the words of a sample can tell: its situation and its goal by their names."""
    scene = _house(sample.meta_data["scene_id"])
    marks = [scene.instances[index].category for index in sample.insts[1:]]
    told = sample.meta_data["situation"]
    at, seen = sorted(marks[:-1]), marks[-1]
    return (told["kind"], *at, told["side"], seen, told["room"], sample.meta_data["goal"]["name"])


def _pattern(template: str, **slots: str) -> str:
    """What a template can be filled to, as a regular expression; a slot that is not given takes anything."""
    parts = re.split(r"\{(\w+)\}", template.lower())
    return "".join(slots.get(part, ".*") if at % 2 else re.escape(part) for at, part in enumerate(parts))


def test_words_come_from_templates_of_the_facts_alone(made: MsnnSet):
    """Beside names and rooms no word of a text depends on anything but chance: each text is a template of its kind."""
    for sample in made.samples:
        told = sample.meta_data["situation"]
        doing, fact = (
            f"({'|'.join(_pattern(phrase) for phrase in group[told['side']])})" for group in (DOING, FACTS)
        )
        whole = [_pattern(template, doing=doing, fact=fact) for template in POSITIONS[told["kind"]]]
        assert any(re.fullmatch(pattern, sample.situation_text.lower()) for pattern in whole)


def test_an_oracle_with_the_geometry_is_always_right(made: MsnnSet, executors: dict[str, SampleExecutor]):
    for sample in made.samples:
        angle = executors[sample.scan_id].oracle_angle(sample)
        assert angular_error(angle, sample.angle) < 0.01


def test_going_the_right_way_leads_nearer_and_the_other_way_does_not(
    made: MsnnSet, executors: dict[str, SampleExecutor]
):
    ahead = [executors[s.scan_id].execute(s, s.angle) for s in made.samples]
    astray = [executors[s.scan_id].execute(s, s.angle + 180) for s in made.samples]
    coarse = [executors[s.scan_id].execute(s, label_angle(s.label(8), 8)) for s in made.samples]
    assert np.mean([walk.nearer for walk in ahead]) > 0.95
    assert np.mean([walk.progress for walk in ahead]) > np.mean([walk.progress for walk in coarse]) - 0.02
    assert np.mean([walk.nearer for walk in coarse]) > 0.9
    assert np.mean([walk.progress for walk in astray]) < 0
    for sample, walk in zip(made.samples, ahead, strict=True):
        assert walk.before == pytest.approx(sample.meta_data["geodesic_distance"], abs=0.01)
        assert walk.moved <= 1.05  # steps may also go up or down


def test_what_is_said_is_true(made: MsnnSet):
    """Named things have one bearer, stand where the text says, and the agent stands beside or between them."""
    for sample in made.samples:
        scene = _house(sample.meta_data["scene_id"])
        names, boxes = Names(scene), Boxes(scene)
        told, goal = sample.meta_data["situation"], sample.meta_data["goal"]
        assert goal["name"] in sample.interaction
        assert goal["instance"] == sample.insts[0] not in sample.insts[1:]
        name = names.of(goal["instance"])
        assert name is not None
        assert name.text == goal["name"]
        assert names.bearers(name) == [goal["instance"]]
        at = sample.world_position
        away = {
            i: np.maximum(np.maximum(boxes.low[i] - at, at - boxes.high[i]), 0)[[0, 2]] for i in sample.insts
        }
        for index in sample.insts[1:]:
            category = scene.instances[index].category
            assert (
                "TV" if category == "tv" else category.split()[0].replace("tv", "TV")
            ) in sample.situation_text
        for index in sample.insts[1:-1]:
            assert np.linalg.norm(away[index]) <= (1.11 if told["kind"] == "between" else 0.56)
            if told["kind"] == "seated":
                assert scene.instances[index].category in SEATS
        # something of what is seen lies within the angle that its box takes, give or take what words allow
        seen = sample.insts[-1]
        corners = np.array([[x, z] for x in (boxes.low[seen, 0], boxes.high[seen, 0])
                            for z in (boxes.low[seen, 2], boxes.high[seen, 2])])  # fmt: skip
        bearings = [math.degrees(math.atan2(-(z - at[2]), x - at[0]) - sample.yaw) for x, z in corners]
        side = math.degrees(SIDES[told["side"]])
        inside = (np.abs(away[seen]) == 0).all()
        assert inside or min(angular_error(bearing, side) for bearing in bearings) < 60


def test_the_same_again_with_any_number_of_workers(made: MsnnSet, tmp_path: Path):
    again = generate_msnn(HOUSES, 64, SETTINGS, workers=2)
    assert again == made
    write_msnn(tmp_path / "a.json", made.samples)
    assert read_msnn(tmp_path / "a.json") == made.samples


def test_another_seed_gives_other_samples(made: MsnnSet):
    other = generate_msnn(HOUSES[:2], 16, MsnnSettings(places=30, seed=1))
    assert not {sample.location for sample in other.samples} & {sample.location for sample in made.samples}


def test_scan_ids_are_those_of_the_export(made: MsnnSet):
    for sample in made.samples:
        assert sample.scan_id == scan_id_of(sample.meta_data["scene_id"])
        assert scene_of_scan(sample) == sample.meta_data["scene_id"]
    with pytest.raises(EpisodeError, match="scene0011_00"):
        scene_of_scan(MsnnSample("scene0011_00", "0", (0, 0, 0), (0, 0, 0, 1), "Here.", "There.", 0.0))


def test_the_straight_line_is_an_option():
    straight = generate_msnn(HOUSES[:2], 16, MsnnSettings(places=30, straight=True)).samples
    for sample in straight:
        boxes = Boxes(_house(sample.meta_data["scene_id"]))
        goal = sample.insts[0]
        offset = (boxes.low[goal] + boxes.high[goal]) / 2 - sample.world_position
        angle = math.degrees(math.atan2(-offset[2], offset[0]) - sample.yaw)
        assert angular_error(angle, sample.angle) < 0.5
    assert Counter(sample.label(8) for sample in straight) == dict.fromkeys(range(8), 2)


def test_real_scene_with_named_objects_offers_samples(scenes_dir: Path):
    made = generate_msnn([str(scenes_dir / "small_house.glb")], 40, MsnnSettings(places=40))
    assert Counter(sample.label(8) for sample in made.samples) == dict.fromkeys(range(8), 5)
    assert {sample.scan_id for sample in made.samples} == {"small_house"}


def test_a_scene_without_objects_is_told():
    flat = Scene(
        "flat", np.array([[0, 0, 0], [0, 0, 9], [9, 0, 9]], np.float32), np.array([[0, 1, 2]], np.int32),
        np.array([-1], np.int32),
    )  # fmt: skip
    assert Names(flat).bearers(Name("sofa")) == []
    with pytest.raises(SettingError, match="count"):
        generate_msnn(HOUSES[:1], 0)
    with pytest.raises(SceneError, match="ask for fewer"):
        generate_msnn(HOUSES[:1], 4000, MsnnSettings(places=10), levels=1)


def test_names_mean_one_object():
    rooms = tuple(
        Room(name, kind, np.array([[0, 0], [0, 1], [1, 1], [1, 0]]))
        for name, kind in (("kitchen.00", "kitchen"), ("bedroom.00", "bedroom"), ("bedroom.01", "bedroom"))
    )
    things = (
        ("sofa", "kitchen.00"), ("bin", "kitchen.00"), ("bin", "bedroom.00"), ("cabinet", "kitchen.00"),
        ("upper cabinet", "kitchen.00"), ("bed", "bedroom.00"), ("bed", "bedroom.01"), ("wall", "kitchen.00"),
    )  # fmt: skip
    instances = tuple(Instance(f"{kind}.{n}", kind, room) for n, (kind, room) in enumerate(things))
    scene = Scene(
        "s",
        np.zeros((3, 3), np.float32),
        np.array([[0, 1, 2]], np.int32),
        np.array([0], np.int32),
        instances,
        rooms,
    )
    names = Names(scene)
    texts = [None if (name := names.of(index)) is None else name.text for index in range(len(things))]
    assert texts == ["the sofa", "the bin in the kitchen", None, None, "the upper cabinet", None, None, None]
    assert names.bearers(Name("bin")) == [1, 2]
    assert names.within(1, "kitchen.00") == Name("bin")


def test_a_room_is_known_by_its_category_and_by_its_words():
    """Sentences say "living room" where some scenes write "living_room"; goals are found again by the sentence."""
    corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
    rooms = (Room("a", "living_room", corners), Room("b", "kitchen", corners))
    instances = (Instance("tv_stand.0", "tv_stand", "a"), Instance("tv_stand.1", "tv_stand", "b"))
    triangle = np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32), np.array([0], np.int32)
    names = Names(Scene("s", *triangle, instances, rooms))
    name = names.of(0)
    assert name is not None
    assert name.text == "the TV stand in the living room"
    assert names.bearers(name) == names.bearers(Name("tv_stand", "living room")) == [0]


def test_there_are_enough_templates():
    assert all(
        len(set(texts)) == len(texts) for group in (POSITIONS, DOING, FACTS) for texts in group.values()
    )
    assert sum(map(len, POSITIONS.values())) >= 48


def test_cells_are_directions_with_diagonals_in_two():
    angles = np.arange(0, 360, 0.5)
    cells = cells_of(angles)
    eight = np.array([round(angle / 45 + 1e-9) % 8 for angle in angles])
    assert (np.where(cells < 8, cells, 2 * (cells - 8) + 1) == eight).all()
    above = cells >= 8
    assert ((angles[above] % 45 < 22.5) & (np.round(angles[above] // 45) % 2 == 1)).all()
