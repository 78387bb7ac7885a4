"""The table of encoders and what comes of it: intervals by hand, the table, its resume, ranks, weights, the card."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_scenepoint import TINY, write_tiny

import poma3d.evaluation.table as table_module
import poma3d.pretrained.publish as publish_module
from benchmarks.encoder_ranks import draw, histories, summaries
from poma3d import checkpoint_layouts
from poma3d.checkpoints import load_encoder, save_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.errors import FileError, SettingError
from poma3d.evaluation.intervals import Measure, difference, effective_rank, mean_iou, mean_over, ratio
from poma3d.evaluation.placing import agent_frame
from poma3d.evaluation.rank_history import RankPoint, rank_history, rank_summary
from poma3d.evaluation.suite import Suite
from poma3d.evaluation.table import CHANCE, LABELS, RANDOM, Row, make_table
from poma3d.evaluation.table_data import TableData
from poma3d.evaluation.table_text import markdown
from poma3d.objectives.collapse import effective_rank as rank_of_rows
from poma3d.objectives.settings import AlignmentSettings, JepaSettings
from poma3d.pretrained import SHIPPED, card_file, encoder_file, facts_file, text_file
from poma3d.pretrained.card import card, read_facts, write_card
from poma3d.pretrained.golden import golden_features, golden_view
from poma3d.pretrained.publish import MOST_BYTES, publish
from poma3d.scenepoint import DataSettings, ScenePointDataset, SceneSample
from poma3d.scenepoint.captions import RetrievalQuery, write_retrieval
from poma3d.towers.loading import load_text, text_beside
from poma3d.towers.mini_text import MiniText
from poma3d.training.pretrain import pretrain
from poma3d.training.settings import PretrainSettings, RunSettings, SettleSettings, StageSettings
from pomagym.main import main

NAME = SHIPPED[0]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("houses"), cameras=True)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished pretraining of a few steps."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    warm_up = StageSettings(
        steps=2,
        batch=4,
        objective="alignment",
        single_views=True,
        alignment=AlignmentSettings(scene_weight=0.0),
    )
    settings = PretrainSettings(
        data=(str(data),),
        out=str(out),
        encoder=TINY,
        warm_up=warm_up,
        main=StageSettings(steps=4, batch=4, objective="chamfer", views=3),
        jepa=JepaSettings(width=32, depth=1, heads=2),
        settle=SettleSettings(steps=3, views=2),
        run=RunSettings(device="cpu", save_every=4, log_every=1),
    )
    pretrain(settings)
    return out


# Intervals


def test_a_share_and_its_interval() -> None:
    right = np.arange(100) % 4 == 0
    share = ratio(right)
    assert share.value == 0.25
    low, high = share.ci95
    expected = 1.96 * np.sqrt(0.25 * 0.75 / 100)
    assert (0.25 - low, high - 0.25) == pytest.approx((expected, expected), abs=0.02)
    weighed = ratio(np.array([1.0, 0.0]), np.array([1.0, 3.0]))
    assert weighed.value == 0.25
    assert set(np.unique(weighed.replicates)) == {0.0, 0.25, 1.0}  # twice the second, each, twice the first


def test_a_difference_on_the_same_scenes_knows_that_they_are_the_same() -> None:
    hard = np.random.default_rng(0).random(50)
    ours, theirs = ratio(hard + 0.1), ratio(hard)
    less = difference(ours, theirs)
    assert less.value == pytest.approx(0.1)
    assert less.ci95 == pytest.approx((0.1, 0.1))
    assert mean_over([ours, theirs]).value == pytest.approx(float(hard.mean()) + 0.05)


def test_mean_iou_of_drawn_scenes_counts_the_classes_that_they_have() -> None:
    # scene 0: class 0, half of it right, the rest called class 1; scene 1: class 1, all right
    measure = mean_iou(np.array([[2, 0], [0, 4]]), np.array([[4, 0], [0, 4]]), np.array([[2, 2], [0, 4]]))
    assert measure.value == pytest.approx((2 / 4 + 4 / 6) / 2)
    assert measure.replicates.mean() == pytest.approx(measure.value)
    steps = np.diff(np.unique(np.round(measure.replicates, 6)))  # twice scene 0: 0.5; each; twice scene 1: 1
    assert steps == pytest.approx([measure.value - 0.5, 1 - measure.value], abs=1e-5)


def test_effective_rank_from_moments_is_that_of_the_rows() -> None:
    rows = torch.randn(6, 30, 5, generator=torch.Generator().manual_seed(0)) @ torch.diag(
        torch.tensor([5.0, 2.0, 1.0, 0.5, 0.1])
    )
    wide = rows.double().numpy()
    moments = np.full(6, 30.0), wide.sum(1), np.einsum("snc,snd->scd", wide, wide)
    measure = effective_rank(*moments)
    assert measure.value == pytest.approx(float(rank_of_rows(rows)) / 5, rel=1e-4)
    assert measure.ci95[0] < measure.value < measure.ci95[1]


# Views as agents see them


def test_a_view_in_its_agents_frame() -> None:
    pose = torch.eye(4)
    # at (3, 4), 1.5 m above a floor at 3 m, looking along +y of the scene: OpenCV's z is y, its x is x, its y is -z
    pose[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    pose[:3, 3] = torch.tensor([3.0, 4.0, 4.5])
    points = torch.tensor([[3.0, 6.0, 3.0], [2.0, 6.0, 3.0], [3.0, 6.0, 5.0], [0.0, 0.0, 0.0]])
    sample = SceneSample(
        points.reshape(1, 2, 2, 3),
        torch.tensor([[[True, True], [True, False]]]),
        [""],
        "",
        "upstairs",
        "",
        torch.tensor([0]),
        poses=pose[None],
    )
    seen = agent_frame(sample).reshape(-1, 3).tolist()
    assert seen == [[2.0, 0.0, 0.0], [2.0, 1.0, 0.0], [2.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
    with pytest.raises(SettingError, match="upstairs has no cameras"):
        agent_frame(replace(sample, poses=None))


# The table


def test_rows_are_read_as_people_write_them() -> None:
    assert Row.parse("a=x,y") == Row("a", ("x", "y"))
    assert Row.parse("runs/mini") == Row("mini", ("runs/mini",))
    for wrong in ("=x", "a=", "a=x,,y"):
        with pytest.raises(SettingError):
            Row.parse(wrong)


def test_the_table_has_its_controls_and_goes_on_where_it_was(
    data: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = TableData(
        [str(data)],
        {"others": str(write_tiny(tmp_path / "others", scenes=1, seed=7, cameras=True))},
        16,
        views=4,
        rooms=[str(write_tiny(tmp_path / "rooms", scenes=3, seed=8))],
    )
    rows = [Row("a", (str(run),)), Row("b", (str(run), str(run)))]
    started: list[str] = []
    counted: list[int] = []
    table = make_table(
        rows,
        scenes,
        tmp_path / "kept",
        random_seeds=2,
        on_start=lambda what, count: started.append(what),
        on_scene=lambda: counted.append(1),
    )
    assert [row["row"] for row in table["rows"]] == [CHANCE, LABELS, RANDOM, "a", "b"]
    names = [f"a: {run}", f"{RANDOM}: seed 0", f"{RANDOM}: seed 1"]  # the same weights once
    assert started == [name for name in names for _ in ("houses", "rooms")]
    assert len(counted) == 3 * (scenes.encodings + 3) == 3 * (2 * 9 + 3)
    chance, labels, blank, a, b = (row["measures"] for row in table["rows"])
    found = {"R@1-1", "R@1-5", "R@5-1", "R@5-5"}
    assert set(labels) == found | {f"rooms_{name}" for name in found}
    assert labels["R@5-5"]["mean"] == pytest.approx(5 / 8)  # these scenes all hold the same things
    assert chance["R@1-1"]["mean"] == pytest.approx(1 / 8)
    assert chance["R@5-5"]["mean"] == pytest.approx(5 / 8)
    assert chance["rooms_R@5-1"]["mean"] == pytest.approx(1 / 3)
    assert a["rooms_R@1-5"]["mean"] == 1  # there are three
    assert chance["patch_linear_miou"]["mean"] < 0.5 < blank["patch_linear_miou"]["mean"]
    assert {"agent_patch_knn_miou", "others_patch_linear_miou", "others_agent_patch_linear_miou"} <= set(a)
    assert "sd" not in a["R@1-1"]
    assert b["R@1-1"]["sd"] == 0
    assert b["R@1-1"]["ci95"] == a["R@1-1"]["ci95"]
    assert {row["row"]: row["against"] for row in table["differences"]} == {RANDOM: "a", "b": "a"}
    assert table["differences"][1]["measures"]["R@1-1"]["ci95"] == [0, 0]
    text = markdown(table)
    assert "retrieval R@1-1 | 12.5 |" in text
    assert "retrieval R@1-1, rooms | 33.3 |" in text
    assert "3 single rooms of " in text
    assert "b (2 seeds)" in text
    assert "transfer to others: patch mIoU, linear |" in text
    assert str(tmp_path) not in json.dumps(table)

    def no_more(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(table_module, "measure_checkpoint", no_more)
    monkeypatch.setattr(table_module, "measure_rooms", no_more)
    again = make_table(rows, scenes, tmp_path / "kept", random_seeds=2)
    kept = next(row for row in again["rows"] if row["row"] == "a")
    assert json.dumps(kept["measures"]["R@1-1"]) == json.dumps(a["R@1-1"])
    hashed = load_encoder(run / "encoder.safetensors").weights_sha256()
    assert kept["checkpoints"][0]["weights_sha256"] == hashed


def test_the_table_says_how_many_views_there_are(data: Path, run: Path, tmp_path: Path) -> None:
    """And not how many are asked for: of fewer some are repeated to fill the number."""
    small = write_tiny(tmp_path / "small", scenes=2, views=3)
    rooms = write_tiny(tmp_path / "rooms", scenes=3, views=2)
    shutil.copytree(small / "light_tiny", rooms / "light_small")
    for number in range(2):
        scene = rooms / "light_small" / f"scene{number:02d}.safetensors"
        scene.rename(scene.with_name(f"other{number:02d}.safetensors"))
    scenes = TableData([str(data)], {"small": str(rooms)}, 16, views=32, rooms=[str(rooms)])
    table = make_table([Row("a", (str(run),))], scenes, tmp_path / "kept", random_seeds=0)
    text = markdown(table)
    assert "8 held-out scenes of 4 views, 2 categories" in text
    assert "5 single rooms of up to 3 views;" in text
    assert "small (5 scenes, 12 views)" in text
    # tables from before these numbers stood in them read as they did
    for name in ("views_of_scenes", "views_of_rooms"):
        del table["data"][name]
    assert "8 held-out scenes of 32 views, 2 categories" in markdown(table)
    fewer = make_table(
        [Row("a", (str(run),))], TableData([str(data)], {}, 16, views=2), tmp_path / "kept", random_seeds=0
    )
    assert "8 held-out scenes of 2 views, 2 categories" in markdown(fewer)


def test_wrong_tables_are_refused(data: Path, run: Path, tmp_path: Path) -> None:
    scenes = TableData([str(data)], {}, 16, views=2)
    with pytest.raises(SettingError, match="names of their own"):
        make_table([Row(CHANCE, ("x",))], scenes, tmp_path)
    with pytest.raises(SettingError, match="no row 'c'"):
        make_table([Row("a", (str(run),))], scenes, tmp_path, against="c")
    with pytest.raises(FileError):
        make_table([Row("a", (str(tmp_path / "none.safetensors"),))], scenes, tmp_path)
    mute = write_tiny(tmp_path / "mute", scenes=2, seed=8)
    for said in (mute / "retrieval", mute / "annotations"):
        shutil.rmtree(said, ignore_errors=True)
    with pytest.raises(FileError, match=r"mute.*nothing that its rooms could be found by"):
        TableData([str(data)], {}, 16, views=2, rooms=[str(mute)])


def test_queries_of_other_scenes_do_not_end_a_table(data: Path, run: Path, tmp_path: Path) -> None:
    """A row without retrieval, and not a refusal after everything has been measured."""
    folder = shutil.copytree(data, tmp_path / "houses")
    shutil.rmtree(folder / "retrieval", ignore_errors=True)
    write_retrieval(folder / "retrieval" / "x.jsonl", [RetrievalQuery("elsewhere", "a room", ())])
    table = make_table([Row("a", (str(run),))], TableData([str(folder)], {}, 16, views=2), tmp_path / "kept")
    assert "R@1-1" not in table["rows"][-1]["measures"]


def test_an_encoder_without_a_text_tower_finds_no_scenes_and_is_measured_all_the_same(
    data: Path, run: Path, tmp_path: Path
) -> None:
    save_encoder(load_encoder(run / "encoder.safetensors"), tmp_path / "alone.safetensors")
    scenes = TableData([str(data)], {}, 16, views=2)
    rows = [Row("a", (str(run),)), Row("alone", (str(tmp_path / "alone.safetensors"),))]
    table = make_table(rows, scenes, tmp_path / "kept", random_seeds=0)
    rows_by_name = {row["row"]: row["measures"] for row in table["rows"]}
    assert "R@1-1" not in rows_by_name["alone"]
    assert table["differences"][0]["measures"]["patch_linear_miou"]["mean"] == 0
    assert "| retrieval R@1-1 | 12.5 | " in markdown(table)


def test_scenes_without_cameras_are_measured_as_they_are(run: Path, tmp_path: Path) -> None:
    scenes = TableData([str(write_tiny(tmp_path / "bare"))], {}, 16, views=2)
    table = make_table([Row("a", (str(run),))], scenes, tmp_path / "kept", random_seeds=0)
    measured = next(row["measures"] for row in table["rows"] if row["row"] == "a")
    assert measured
    assert not [name for name in measured if name.startswith("agent_")]
    assert "agent" not in markdown(table)


def test_other_captions_are_other_data(data: Path, tmp_path: Path) -> None:
    one, two = (write_tiny(tmp_path / name) for name in ("one", "two"))
    assert TableData([str(one)], {}, 16).contents.sha256 == TableData([str(two)], {}, 16).contents.sha256
    path = next(two.glob("retrieval/*.jsonl"))
    path.write_text(path.read_text().replace("red", "crimson"))
    assert TableData([str(one)], {}, 16).contents.sha256 != TableData([str(two)], {}, 16).contents.sha256


def test_other_words_are_scored_where_they_mean_the_same(data: Path) -> None:
    names = ScenePointDataset(data, DataSettings(labels=True)).categories
    suite = Suite([data], 16, views=2, categories=["ground", *names], aliases={"floor": "ground"})
    classes = suite.features(PointMapEncoder(TINY)).patch_classes
    assert set(classes.unique().tolist()) == {0, 1 + names.index("wall")}


# Ranks along training


def test_ranks_are_read_from_the_logs(run: Path, tmp_path: Path) -> None:
    points = rank_history(run)
    assert [(point.stage, point.step) for point in points] == [
        *(("warm-up", step) for step in (1, 2)),
        *(("main", step) for step in (1, 2, 3, 4)),
    ]
    assert all(0 < point.patches <= 1 and 0 < point.views <= 1 for point in points)
    rows = rank_summary([RankPoint("main", 1, 0.5, 0.2), RankPoint("main", 2, 0.7, 0.1)])
    assert rows[0]["patches"] == {"least": 0.5, "least_at_step": 1, "median": 0.7, "last": 0.7}
    assert rows[0]["views"]["least_at_step"] == 2
    found = histories({"a": [str(run)], "b": ["no-run.safetensors"], "c": [str(run), str(run)]})
    assert list(found) == ["a", "c 0", "c 1"]
    assert [(row["run"], row["stage"]) for row in summaries(found)][:2] == [("a", "warm-up"), ("a", "main")]
    draw(found, tmp_path / "rank.png")
    assert (tmp_path / "rank.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(FileError, match="settings"):
        rank_history(tmp_path)


# Weights in the package


def test_a_run_becomes_weights_with_facts_and_a_card(run: Path, data: Path, tmp_path: Path) -> None:
    facts = publish(run, data="eight rooms", hardware="one core", command="pomagym pretrain", folder=tmp_path)
    stored = load_encoder(encoder_file(NAME, tmp_path))
    assert stored.weights_sha256() == facts["weights_sha256"] == read_facts(NAME, tmp_path)["weights_sha256"]
    before = load_encoder(run / "encoder.safetensors")
    view = golden_view(16)
    torch.testing.assert_close(stored(*view).cls, before(*view).cls, atol=5e-3, rtol=5e-3)
    assert text_beside(encoder_file(NAME, tmp_path), 16) == str(text_file(NAME, tmp_path))
    text = load_text(text_file(NAME, tmp_path))
    assert text.weights_sha256() == facts["text_sha256"]
    assert facts["golden"] == golden_features(stored, text)
    assert [stage["views"] for stage in facts["stages"]] == [2 * 4, 4 * 4 * 3, 8 * 2]
    assert facts["stages"][-1]["steps"] == 3
    assert str(data) not in json.dumps(facts)
    with pytest.raises(SettingError, match="no row of the table measured"):
        write_card({"rows": []}, folder=tmp_path)
    table = make_table(
        [Row("mine", (str(encoder_file(NAME, tmp_path)),))],
        TableData([str(data)], {}, 16, views=2),
        tmp_path,
        random_seeds=1,
    )
    written = write_card({**table, "command": "pomagym bench encoder"}, folder=tmp_path)
    assert written == card_file(NAME, tmp_path)
    for part in (facts["weights_sha256"], "eight rooms", "one core", "retrieval R@5-1", RANDOM, "## Limits"):
        assert part in written.read_text()


def test_the_golden_view_is_a_room() -> None:
    points, valid = golden_view(32)
    inside = points[valid]
    # the lowest ray falls 31 in 32, and reaches the floor 1.25 m below so far ahead
    assert inside.amin(0).tolist() == pytest.approx([1.25 * 32 / 31, -2.5, 0], abs=1e-5)
    assert inside[:, 2].max() == pytest.approx(2.6, abs=1e-6)
    assert bool((~valid).any())
    assert bool((points[~valid] == 0).all())
    wall = inside[(inside[:, 2] > 1e-6) & (inside[:, 2] < 2.6 - 1e-6)].double()  # neither floor nor ceiling
    gaps = torch.stack([wall[:, 0] - 4, wall[:, 1] + 2.5, wall[:, 1] - 3], -1).abs()
    assert gaps.min(1).values.max() < 1e-5


def test_the_command_prints_the_table(
    data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--validation", str(data), "--row", f"mine={run}", "--views", "2", "--random-seeds", "1"]
    out = tmp_path / "out"
    assert main(["bench", "encoder", *flags, "--out", str(out), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table == json.loads((out / "table.json").read_text())
    assert table["rank_along_training"][0]["run"] == "mine"
    assert table["hardware"]
    assert table["command"]
    assert (out / "rank.png").is_file()
    assert "| mine |" in (out / "table.md").read_text()
    assert main(["bench", "encoder", "--row", f"mine={run}"]) == 2
    assert "--validation" in capsys.readouterr().err


def test_weights_that_are_refused_leave_those_of_before(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = publish(run, data="first", hardware="", folder=tmp_path)
    monkeypatch.setattr(publish_module, "TOLERANCE", 0.0)
    with pytest.raises(SettingError, match="float16 changes"):
        publish(run, data="second", hardware="", folder=tmp_path)
    monkeypatch.setattr(publish_module, "MOST_BYTES", 1000)
    with pytest.raises(FileError, match="bytes of 1,000"):
        publish(run, data="third", hardware="", folder=tmp_path)
    kept = (encoder_file(NAME, tmp_path), text_file(NAME, tmp_path), facts_file(NAME, tmp_path))
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert all(b"first" in path.read_bytes() for path in kept)
    assert read_facts(NAME, tmp_path) == facts


def test_a_folder_without_a_run_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["publish", str(tmp_path / "none"), "--data", "x", "--hardware", "y"])
    with pytest.raises(SystemExit) as stopped:
        publish_module.main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "none") in error
    assert error.count("\n") == 1


class TestShipped:
    def test_it_loads_by_its_short_name_and_is_what_the_card_says(self) -> None:
        encoder, text, facts = load_encoder(NAME), load_text(NAME), read_facts()
        assert encoder.weights_sha256() == facts["weights_sha256"]
        assert text.weights_sha256() == facts["text_sha256"]
        assert isinstance(text, MiniText)
        assert text.embedding == encoder.config.embedding
        told = card_file(NAME).read_text()
        assert facts["weights_sha256"] in told
        assert facts["text_sha256"] in told
        assert text_beside(NAME, encoder.config.embedding) == str(text_file(NAME))

    def test_it_is_small(self) -> None:
        assert encoder_file(NAME).stat().st_size + text_file(NAME).stat().st_size <= MOST_BYTES

    def test_its_features_are_those_that_were_recorded(self) -> None:
        encoder, text = load_encoder(NAME), load_text(NAME)
        found = golden_features(encoder, text)
        assert found == golden_features(encoder, text)
        for name, recorded in read_facts()["golden"].items():
            torch.testing.assert_close(
                torch.tensor(found[name]), torch.tensor(recorded), atol=2e-3, rtol=2e-3
            )

    def test_the_card_is_the_one_its_facts_make(self) -> None:
        facts = read_facts()
        made = card(facts, {"rows": [], "differences": [], "data": _NO_DATA}, "x")
        told = card_file(NAME).read_text()
        (head, tail), (told_head, told_tail) = (
            (text.split("## Measures")[0], text.split("## Limits")[1]) for text in (made, told)
        )
        assert tail == told_tail
        assert [line for line in head.splitlines() if "its row is" not in line] == [
            line for line in told_head.splitlines() if "its row is" not in line
        ]


_NO_DATA = {
    "transfer": {},
    "validation_scenes": 0,
    "views": 0,
    "categories": 0,
    "room_types": 0,
}


def test_without_its_file_a_short_name_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint_layouts, "encoder_file", lambda name: tmp_path / f"{name}.safetensors")
    with pytest.raises(FileError, match="came without the weights"):
        load_encoder(NAME)
    with pytest.raises(FileError, match=NAME):
        load_encoder("poma3d-maxi")


def test_measures_are_plain() -> None:
    assert Measure(0.5, np.array([0.5])).ci95 == (0.5, 0.5)
