"""The label rule of MSNN, the authors' files read strictly and written, and the specialist's files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.msnn import (
    DIRECTION_TEXTS,
    MsnnSample,
    angular_error,
    direction_code,
    direction_label,
    label_angle,
    read_msnn,
    read_scan_list,
    write_msnn,
    write_scan_list,
)
from envs.msnn.sample import orientation_of
from envs.msnn.specialist_files import question_paths, read_answer_dict, read_specialist, write_specialist
from poma3d.errors import FileError, SettingError


def official() -> dict[str, Any]:
    """A file as the authors' reader documents it, field for field, with its recorded example angle."""
    return {
        "scene0011_00": {
            "0": {
                "scan_id": "scene0011_00",
                "location": [1.25, -0.5, 0.0],
                "orientation": [0.0, 0.0, 0.7071067811865476, 0.7071067811865476],
                "situation_multimodal": ["I am facing ", "<img>", "."],
                "situation_text": "I am facing the window and there is a table on my right.",
                "interaction": "I want to throw something into the trash can.",
                "instruction": "Go to the trash can.",
                "insts": [3, "17"],
                "action": {
                    "four_direction": [1, "turn left"],
                    "eight_direction": [1, "turn to foward left"],
                    "angle": 60.37389999185825,
                },
                "meta_data": {"anything": [1, 2]},
            }
        },
        "scene0015_00": {
            "7": {
                "scan_id": "scene0015_00",
                "location": [0, 0, 0],
                "orientation": [0, 0, 0, 1],
                "situation_multimodal": "",
                "situation_text": "I am sitting on the sofa.",
                "interaction": "I want to open the door.",
                "instruction": "",
                "insts": [],
                "action": {
                    "four_direction": [4, "move forward"],
                    "eight_direction": [8, "move forward"],
                    "angle": 350.0,
                },
                "meta_data": None,
            }
        },
    }


def written(tmp_path: Path, data: Any) -> Path:
    """The data as a file."""
    path = tmp_path / "msnn_scannet.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_the_recorded_example_has_its_recorded_codes():
    assert (direction_code(60.37389999185825, 4), direction_code(60.37389999185825, 8)) == (1, 1)


@pytest.mark.parametrize(
    ("angle", "four", "eight"),
    [
        (0, 0, 0), (22.4, 0, 0), (22.6, 0, 1), (44.9, 0, 1), (45.1, 1, 1), (90, 1, 2), (135.1, 2, 3), (180, 2, 4),
        (225.1, 3, 5), (270, 3, 6), (314.9, 3, 7), (315.1, 4, 7), (337.6, 4, 8), (359.99, 4, 8), (360, 0, 0),
        (-10, 4, 8), (-90, 3, 6), (-180, 2, 4),
    ],
)  # fmt: skip
def test_codes_at_known_angles(angle: float, four: int, eight: int):
    assert (direction_code(angle, 4), direction_code(angle, 8)) == (four, eight)
    assert (direction_label(angle, 4), direction_label(angle, 8)) == (four % 4, eight % 8)


@given(angle=st.floats(-720, 720), turns=st.integers(-2, 2), directions=st.sampled_from([4, 8]))
def test_a_label_is_the_nearest_direction(angle: float, turns: int, directions: int):
    label = direction_label(angle, directions)
    errors = [angular_error(label_angle(other, directions), angle) for other in range(directions)]
    assert errors[label] <= min(errors) + 1e-9
    assert errors[label] <= 180 / directions + 1e-9
    border = abs((angle + 180 / directions) % (360 / directions)) < 1e-6
    if not border:
        near = {direction_label(angle + 360 * turns + nudge, directions) for nudge in (-1e-7, 0, 1e-7)}
        assert label in near


def test_only_four_and_eight_directions_exist():
    with pytest.raises(SettingError, match="4 or 8"):
        direction_code(0.0, 6)


@given(yaw=st.floats(-math.pi, math.pi))
def test_orientation_round_trip_and_axes(yaw: float):
    sample = MsnnSample("a", "0", (1.0, 2.0, 3.0), orientation_of(yaw), "Here.", "There.", 0.0)
    assert abs(math.remainder(sample.yaw - yaw, math.tau)) < 1e-9
    # the scene's x is the world's, its y is the world's -z; the look direction must be one and the same
    look = (-math.sin(sample.world_heading), 0.0, -math.cos(sample.world_heading))
    assert look == pytest.approx((math.cos(yaw), 0.0, -math.sin(yaw)), abs=1e-9)
    assert sample.world_position.tolist() == [1.0, 3.0, -2.0]


def test_a_file_in_the_official_schema_is_read_field_for_field(tmp_path: Path):
    first, second = read_msnn(written(tmp_path, official()))
    assert (first.scan_id, first.sample_id) == ("scene0011_00", "0")
    assert first.location == (1.25, -0.5, 0.0)
    assert first.yaw == pytest.approx(math.pi / 2)
    assert first.situation_multimodal == ["I am facing ", "<img>", "."]
    assert first.situation_text == "I am facing the window and there is a table on my right."
    assert first.interaction == "I want to throw something into the trash can."
    assert first.instruction == "Go to the trash can."
    assert first.insts == (3, 17)
    assert (first.angle, first.label(4), first.label(8)) == (60.37389999185825, 1, 1)
    assert first.meta_data == {"anything": [1, 2]}
    assert (second.label(4), second.label(8)) == (0, 0)
    assert second.text == (
        "I am sitting on the sofa. I want to open the door. What action should I take next step?"
    )


def test_scans_choose_samples_and_a_foreign_list_is_told(tmp_path: Path):
    path = written(tmp_path, official())
    assert [sample.sample_id for sample in read_msnn(path, {"scene0015_00"})] == ["7"]
    with pytest.raises(FileError, match="another data set"):
        read_msnn(path, {"procedural_val_0000"})


@pytest.mark.parametrize("angle", [0.0, 44.0, 136.0, 200.0, 315.5, 359.9])
def test_written_samples_are_read_back(tmp_path: Path, angle: float):
    sample = MsnnSample("a", "0", (0.1, 0.2, 0.3), (0.0, 0.0, 0.0, 1.0), "Here.", "There.", angle, insts=(4,))
    write_msnn(tmp_path / "a.json", [sample])
    assert read_msnn(tmp_path / "a.json") == [sample]
    assert set(json.loads((tmp_path / "a.json").read_text())["a"]["0"]) == set(
        official()["scene0011_00"]["0"]
    )


def _set(field: str, value: Any):
    def damage(entry: dict[str, Any]) -> None:
        entry[field] = value

    return damage


def _action(field: str, value: Any):
    def damage(entry: dict[str, Any]) -> None:
        entry["action"][field] = value

    return damage


DAMAGE = [
    ("location", lambda entry: entry.pop("location")),
    ("location", _set("location", [1.0, 2.0])),
    ("location", _set("location", [1.0, float("nan"), 0.0])),
    ("orientation", _set("orientation", [0.0, 0.0, 0.0, 0.5])),
    ("orientation", _set("orientation", "0 0 0 1")),
    ("scan_id", _set("scan_id", "scene0000_00")),
    ("situation_text", _set("situation_text", "  ")),
    ("situation_text", _set("situation_text", ["I am here."])),
    ("interaction", lambda entry: entry.pop("interaction")),
    ("insts", _set("insts", [1, "chair"])),
    ("action", _set("action", [1, 1])),
    ("action", lambda entry: entry["action"].pop("angle")),
    ("action.angle", _action("angle", "60")),
    ("action.angle", _action("angle", 4000.0)),
    ("action.four_direction", _action("four_direction", [2, "move backward"])),
    ("action.eight_direction", _action("eight_direction", [2, "turn left"])),
    ("action.four_direction", _action("four_direction", [1, "turn right"])),
    ("action.eight_direction", _action("eight_direction", [9, "move forward"])),
    ("action.four_direction", _action("four_direction", 1)),
    ("instruction", lambda entry: entry.pop("instruction")),
    ("meta_data", lambda entry: entry.pop("meta_data")),
]


@pytest.mark.parametrize(("field", "damage"), DAMAGE)
def test_damage_is_refused_by_sample_and_field(tmp_path: Path, field: str, damage):
    data = official()
    damage(data["scene0011_00"]["0"])
    with pytest.raises(FileError) as refusal:
        read_msnn(written(tmp_path, data))
    message = str(refusal.value)
    assert "sample '0' of 'scene0011_00'" in message
    assert f"'{field}'" in message
    assert "msnn_scannet.json" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "at the top"), ("{", "damaged"), ('{"a": []}', "scene 'a'"), ('{"a": {"0": 1}}', "sample '0' of 'a'"),
        ('{"a": {}, "a": {}}', "stands twice"),
    ],
)  # fmt: skip
def test_files_of_another_form_are_refused(tmp_path: Path, text: str, said: str):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(FileError, match=said):
        read_msnn(tmp_path / "m.json")


def test_split_lists(tmp_path: Path):
    write_scan_list(tmp_path / "val.txt", ["scene0011_00", "scene0015_00"])
    assert read_scan_list(tmp_path / "val.txt") == ("scene0011_00", "scene0015_00")
    for text, said in (("\n", "no scene"), ("a\na\n", "line 2"), ("a b\n", "line 1")):
        (tmp_path / "bad.txt").write_text(text)
        with pytest.raises(FileError, match=said):
            read_scan_list(tmp_path / "bad.txt")
    with pytest.raises(FileError, match="cannot be read"):
        read_scan_list(tmp_path / "none.txt")


@pytest.mark.parametrize("directions", [4, 8])
def test_specialist_files_round_trip(tmp_path: Path, directions: int):
    samples = [
        MsnnSample("a", str(number), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), "Here.", "There.", angle)
        for number, angle in enumerate((0.0, 60.0, 200.0, 350.0))
    ]
    write_specialist(tmp_path, "test", samples)
    table = f"answer_dict_{'four' if directions == 4 else 'eight'}_direction.json"
    found = read_specialist(tmp_path, "test", directions, answer_dict=table)
    assert [one.label(directions) for one in found] == [sample.label(directions) for sample in samples]
    assert [one.text for one in found] == [sample.text for sample in samples]
    assert read_answer_dict(tmp_path / table) == {t: i for i, t in enumerate(DIRECTION_TEXTS[directions])}
    with pytest.raises(SettingError, match="directions"):
        found[0].label(12 - directions)


def _break_question(entry: dict[str, Any]) -> None:
    entry["interaction"] = ""


def _break_id(entry: dict[str, Any]) -> None:
    entry["question_id"] = "other"


@pytest.mark.parametrize(
    ("annotations", "damage", "said"),
    [
        (False, _break_question, "'interaction'"),
        (False, _break_id, "'question_id'"),
        (True, lambda entry: entry.update(answers=[{"answer": "turn around"}]), "'answer'"),
        (True, lambda entry: entry.update(answers=[]), "'answers'"),
        (True, lambda entry: entry.pop("scan_id"), "'scan_id'"),
    ],
)
def test_damaged_specialist_files_are_refused(tmp_path: Path, annotations: bool, damage, said: str):
    write_specialist(
        tmp_path, "train", [MsnnSample("a", "0", (0, 0, 0), (0, 0, 0, 1), "Here.", "There.", 0.0)]
    )
    path = question_paths(tmp_path, "train", 4)[annotations]
    data = json.loads(path.read_text())
    damage((data["annotations"] if annotations else data)[0])
    path.write_text(json.dumps(data))
    with pytest.raises(FileError, match=said):
        read_specialist(tmp_path, "train", 4)
