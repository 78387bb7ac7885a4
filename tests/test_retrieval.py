"""Scene retrieval: hand-computed R@M-N, the published files' layouts, intervals over scenes, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_scenepoint import write_tiny

from benchmarks.intervals import mean_over_scenes, scene_interval
from benchmarks.published_retrieval import published_rows
from benchmarks.referring import read_referring, utterances_of
from benchmarks.retrieval import RetrievalRun, embed_queries, measure_retrieval, score_queries
from poma3d.checkpoints import save_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.encoder_config import EncoderConfig
from poma3d.errors import FileError, SettingError
from poma3d.evaluation.retrieval import join_utterances, ranks
from poma3d.pretrained import SHIPPED
from poma3d.scenepoint.captions import RetrievalQuery
from poma3d.towers.loading import load_text, text_beside
from poma3d.towers.mini_text import MiniText, MiniTextConfig
from poma3d.towers.vocabulary import Vocabulary
from pomagym.main import main

SMALL = EncoderConfig(image_size=16, patch_size=8, width=16, depth=1, heads=2, mlp_width=32, embedding=8)


class Spoken:
    """A text tower that looks embeddings up."""

    name = "spoken"
    embedding = 2

    def __init__(self, angles: dict[str, float]) -> None:
        self.angles = angles

    def encode(self, texts: list[str], *, long: bool = False) -> torch.Tensor:
        assert long, "queries go the way of long texts"
        degrees = torch.tensor([self.angles[text] for text in texts]) * torch.pi / 180
        return 7 * torch.stack([degrees.cos(), degrees.sin()], -1)

    def weights_sha256(self) -> str:
        return ""


def scenes_at(*degrees: float) -> torch.Tensor:
    radians = torch.tensor(degrees) * torch.pi / 180
    return torch.stack([radians.cos(), radians.sin()], -1)


def test_hand_computed() -> None:
    """Seven scenes at 0, 20, ..., 120 degrees, four of them asked for by texts at angles of their own.

    M = 1: "a" (20 degrees, for the scene there) is the 1st; "b" (97, for 120) the 3rd, behind 100 and 80; "c"
    (119, for 40) the 5th, behind 120, 100, 80 and 60; "d" (115, for 0) the last. M = 5: all are the 1st but d's
    (13 degrees, for 0), which is behind 20.
    """
    scans = [f"s{number}" for number in range(7)]
    said = {
        "s1": ["a", "a2"],
        "s0": ["d", "d2", "d3", "d4", "d5", "never asked"],
        "s2": ["c", "c2"],
        "s6": ["b", "b2"],
    }
    text = Spoken(
        {"a": 20, "d": 115, "c": 119, "b": 97, "a a2": 21, "d d2 d3 d4 d5": 13, "c c2": 41, "b b2": 125}
    )
    found = score_queries(embed_queries(text, said), scenes_at(0, 20, 40, 60, 80, 100, 120), scans)
    assert {name: measure["mean"] for name, measure in found.items()} == {
        "R@1-1": 1 / 4,  # a
        "R@1-5": 3 / 4,  # and c (rank 5), b (rank 2)
        "R@5-1": 3 / 4,  # a, c, b
        "R@5-5": 1.0,
    }
    assert {measure["n"] for measure in found.values()} == {4}


def test_every_run_of_utterances_is_a_query() -> None:
    said = ["1", "2", "3", "4", "5", "6", "7"]
    assert join_utterances(said, 5) == ["1 2 3 4 5"]
    assert join_utterances(said, 5, every=True) == ["1 2 3 4 5", "6 7"]
    assert join_utterances(said, 1, every=True) == said
    assert join_utterances([], 5) == join_utterances([], 1, every=True) == []
    with pytest.raises(SettingError, match="at least 1"):
        join_utterances(said, 0)


def test_ties_and_nan_find_nothing() -> None:
    scores = torch.tensor([[1.0, 1.0, 1.0], [float("nan")] * 3, [0.5, float("nan"), 0.1], [0.2, 0.9, 0.1]])
    assert ranks(scores, torch.tensor([0, 1, 0, 1])).tolist() == [2, 2, 1, 0]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef")), min_size=1, max_size=40), st.randoms())
def test_interval_does_not_depend_on_order(pairs: list[tuple[bool, str]], random) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)
    found = [
        mean_over_scenes(np.array([hit for hit, _ in some], float), [scene for _, scene in some])
        for some in (pairs, shuffled)
    ]
    assert found[0]["ci95"] == pytest.approx(found[1]["ci95"], abs=1e-12)
    low, high = found[0]["ci95"]
    assert 0 <= low <= found[0]["mean"] + 1e-9
    assert found[0]["mean"] - 1e-9 <= high <= 1


def test_interval_is_over_scenes() -> None:
    """A hundred questions that agree in each of four scenes say no more than four do."""
    values = np.repeat([0.0, 1.0, 0.0, 1.0], 100)
    low, high = scene_interval(values, [f"s{i // 100}" for i in range(400)])
    assert (low, high) == (0.0, 1.0)
    alone = scene_interval(values, list(map(str, range(400))))
    assert alone[1] - alone[0] < 0.11
    one = scene_interval(values, ["s"] * 400)  # of the only scene, its questions are drawn
    assert one == scene_interval(values[::-1], ["s"] * 400) == pytest.approx(alone, abs=0.01)
    with pytest.raises(SettingError, match="scene of each"):
        scene_interval(values, ["s"])


def test_layouts_of_published_files(tmp_path: Path) -> None:
    """The same two sentences in each layout."""
    wanted = [RetrievalQuery("scene0000_00", 'a chair, "red"'), RetrievalQuery("scene0001_00", "the desk")]
    lines = [{"scan_id": q.scan_id, "utterance": q.utterance, "item_id": "x"} for q in wanted]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    entries = [
        {"scene_id": q.scan_id, "object_id": "4", "object_name": "chair", "ann_id": "0", "description": q.utterance,
         "token": ["a"]}
        for q in wanted
    ]  # fmt: skip
    (tmp_path / "ScanRefer_filtered_val.json").write_text(json.dumps(entries))
    (tmp_path / "nr3d.csv").write_text(
        'scan_id,target_id,utterance,mentions_target_class\nscene0000_00,4,"a chair, ""red""",True\n'
        "scene0001_00,7,the desk,True\n"
    )
    for name in ("q.jsonl", "ScanRefer_filtered_val.json", "nr3d.csv"):
        assert read_referring(tmp_path / name) == wanted
    assert utterances_of(wanted + wanted[:1]) == {
        "scene0000_00": ['a chair, "red"', 'a chair, "red"'],
        "scene0001_00": ["the desk"],
    }


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", "{", "no JSON"),
        ("a.json", '{"scene_id": 1}', "a list of objects"),
        ("a.json", "[3]", "entry 0: an object"),
        ("a.json", '[{"scene_id": "s", "description": "d"}, {"scene_id": "s"}]', "entry 1: description"),
        ("a.csv", "scan_id,text\ns,hello\n", "row 1: utterance must be a text"),
        ("a.csv", "scan_id,utterance\n,hello\n", "row 1: scan_id is empty"),
        ("a.csv", "scan_id,utterance\n", "holds no sentence"),
        ("a.jsonl", '{"scan_id": "s"}', "line 1"),
        ("a.txt", "hello", "found .txt"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(FileError, match=says) as caught:
        read_referring(tmp_path / name)
    assert name in str(caught.value)


def test_published_rows_belong_to_their_data_set() -> None:
    nr3d = {row["row"]: row for row in published_rows("nr3d_retrieval.jsonl")}
    assert len(nr3d) == 5
    assert nr3d["POMA-3D"]["R@5-5"] == 0.422
    assert {row["row"] for row in published_rows("procedural_retrieval.jsonl")} == {"POMA-3D"}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as pretraining leaves it, beside the data it could have seen."""
    folder = tmp_path_factory.mktemp("run")
    write_tiny(folder / "data", scenes=6)
    save_encoder(PointMapEncoder(SMALL, seed=1), folder / "encoder.safetensors")
    texts = [f"a room with {word} walls" for word in ("red", "green", "blue")] * 2
    config = MiniTextConfig(embedding=8, width=8, depth=1, heads=1, mlp_width=16)
    MiniText(Vocabulary.build(texts), config).save(folder / "text.safetensors")
    return folder


def test_whole_run(pretrained: Path) -> None:
    seen: list[str] = []
    run = RetrievalRun((str(pretrained / "data"),), str(pretrained / "encoder.safetensors"))
    result = measure_retrieval(run, on_scene=seen.append)
    kinds = [row["kind"] for row in result["rows"]]
    assert kinds == ["measured", "control", "control", "chance"]
    assert len(seen) == 12
    assert set(result["rows"][2]) == {"row", "kind", "R@1-1", "R@1-5", "R@5-1", "R@5-5"}
    assert result["rows"][3]["R@1-5"] == {"mean": 5 / 6}
    assert result["rows"][0]["R@1-1"]["n"] == result["scenes"] == 6
    assert result["weights_sha256"] == PointMapEncoder(SMALL, seed=1).weights_sha256()
    again = measure_retrieval(run)
    assert again["rows"] == result["rows"]
    assert again["config_sha256"] == result["config_sha256"]


def test_text_tower_beside_the_encoder(pretrained: Path, tmp_path: Path) -> None:
    encoder = pretrained / "encoder.safetensors"
    assert text_beside(encoder, 8) == str(pretrained / "text.safetensors")
    assert (
        load_text(pretrained).weights_sha256() == load_text(pretrained / "text.safetensors").weights_sha256()
    )
    alone = tmp_path / "encoder.safetensors"
    alone.write_bytes(encoder.read_bytes())
    with pytest.raises(SettingError, match="--text"):
        text_beside(alone, 8)
    assert text_beside(alone, 512) == text_beside("poma3d", 512) == "fg-clip-base"


def test_a_result_names_the_text_tower_without_the_folders_of_this_machine(pretrained: Path) -> None:
    shipped = SHIPPED[0]
    run = RetrievalRun((str(pretrained / "data"),), shipped, views=1)
    assert measure_retrieval(run)["text"] == load_text(shipped).name == shipped
    assert load_text(pretrained / "text.safetensors").name == str(
        pretrained / "text.safetensors"
    )  # as it was given


def test_command(pretrained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = str(pretrained / "data")
    queries = tmp_path / "nr3d.csv"
    queries.write_text("scan_id,utterance\nscene00,red\nscene03,white\nelsewhere,nothing\n")
    flags = [
        "--scenes",
        data,
        "--encoder",
        str(pretrained / "encoder.safetensors"),
        "--queries",
        str(queries),
    ]
    assert main(["bench", "retrieval", *flags, "--json"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["scenes"] == 2
    assert result["missing"] == ["elsewhere"]
    assert "elsewhere" in said.err
    assert main(["bench", "retrieval", *flags]) == 0
    shown = capsys.readouterr().out
    assert "published: POMA-3D, nr3d" in shown
    assert "random weights (control)" in shown
    assert "chance" in shown
    queries.write_text("scan_id,utterance\nelsewhere,nothing\n")
    assert main(["bench", "retrieval", *flags]) == 2
    assert "none of them is in" in capsys.readouterr().err
