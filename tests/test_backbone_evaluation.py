"""Evaluation beside training: retrieval by hand, probes, mean IoU, consistency of views, the whole suite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tiny_scenepoint import TINY, write_tiny
from torch import Tensor

from poma3d.encoder import PointMapEncoder
from poma3d.errors import SettingError
from poma3d.evaluation.consistency import patch_centres, view_consistency
from poma3d.evaluation.probe import LinearProbe, Neighbours, majority, mean_iou, patch_labels
from poma3d.evaluation.retrieval import ranks, scene_retrieval
from poma3d.evaluation.suite import Suite
from poma3d.towers.mini_text import MiniText
from poma3d.towers.vocabulary import Vocabulary


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def share(right: Tensor) -> float:
    return right.float().mean().item()


class Book:
    """A text tower that looks texts up."""

    name, embedding = "book", 2

    def __init__(self, pages: dict[str, tuple[float, float]]) -> None:
        self.pages = pages
        self.long: list[bool] = []

    def encode(self, texts: Sequence[str], *, long: bool = False) -> Tensor:
        self.long.append(long)
        return torch.tensor([self.pages[text] for text in texts])

    def weights_sha256(self) -> str:
        return ""


# Retrieval


def test_retrieval_by_hand() -> None:
    scenes = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    utterances = {"a": ["a1", "a2"], "b": ["b1"], "c": ["c1", "c2", "c3", "c4", "c5", "c6"]}
    book = Book(
        {
            "a1": (2.0, 0.1),  # nearest a
            "b1": (0.0, 1.0),  # nearest c, then b
            "c1": (1.0, 0.0),  # nearest a, then b, then c
            "a1 a2": (0.0, 1.0),  # nearest c, then b, then a
            "c1 c2 c3 c4 c5": (0.0, 3.0),  # nearest c; the sixth utterance is not taken
        }
    )
    found = scene_retrieval(scenes, ["a", "b", "c"], utterances, book)
    measures = {name: measure.value for name, measure in found.items()}
    assert measures["R@1-1"] == pytest.approx(1 / 3)
    assert measures["R@5-1"] == pytest.approx(1 / 3)
    assert measures["R@1-5"] == measures["R@5-5"] == 1.0
    assert measures["chance@1"] == pytest.approx(1 / 3)
    assert book.long == [True, True]


def test_a_scene_without_utterance_is_an_answer_but_no_query() -> None:
    scenes = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    book = Book({"x": (0.0, 1.0)})
    assert scene_retrieval(scenes, ["a", "b"], {"a": ["x"]}, book)["R@1-1"].value == 0.0
    with pytest.raises(SettingError, match="utterance"):
        scene_retrieval(scenes, ["a", "b"], {"z": ["x"]}, book)
    with pytest.raises(SettingError, match="channels"):
        scene_retrieval(torch.ones(2, 3), ["a", "b"], {"a": ["x"]}, book)


def test_equal_scores_do_not_flatter() -> None:
    scores = torch.ones(4, 4)
    truth = torch.arange(4)
    assert [(ranks(scores, truth) < n).float().mean().item() for n in (1, 3, 4)] == [0.0, 0.0, 1.0]


# Probes


def test_probes_tell_clusters_apart_and_leave_the_unknown_out() -> None:
    centres = normal(4, 8) * 4
    labels = torch.arange(200) % 4
    x, u = (centres[labels] + normal(200, 8, seed=seed) for seed in (1, 2))
    unknown = labels.clone()
    unknown[::2][:60] = -1
    for probe in (Neighbours, LinearProbe):
        answers = probe(x, unknown, 4)(u)
        assert share(answers == labels) > 0.97
        assert torch.equal(probe(x, unknown, 4)(u), answers)
        with pytest.raises(SettingError):
            probe(x, torch.full((200,), -1), 4)


def test_a_linear_probe_does_not_mind_the_scale_and_learns_nothing_from_noise() -> None:
    x, labels = normal(400, 8), torch.arange(400) % 2
    shift = labels[:, None] * torch.tensor([1e-3] + [0.0] * 7)
    small = x * 1e-4 + shift
    assert share(LinearProbe(small, labels, 2)(small) == labels) == 1.0
    assert share(LinearProbe(x[:200], labels[:200], 2)(x[200:]) == labels[200:]) < 0.65


def test_knn_by_hand() -> None:
    train = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    test = torch.tensor([[5.0, 0.0], [0.0, 0.1]])
    assert Neighbours(train, torch.tensor([0, 0, 1]), 2, k=1)(test).tolist() == [0, 1]


def test_mean_iou_by_hand() -> None:
    labels = torch.tensor([0, 0, 1, 1, 1, -1])
    predicted = torch.tensor([0, 1, 1, 1, 2, 2])
    # class 0: 1 of 2; class 1: 2 of 4; class 2 occurs in no label
    assert mean_iou(predicted, labels, 3) == pytest.approx(0.5)
    assert majority(labels, 3) == 1
    with pytest.raises(SettingError):
        mean_iou(predicted, torch.full((6,), -1), 3)


def test_patch_labels_take_the_commonest_valid_category() -> None:
    categories = torch.tensor([[[0, 0, 1, 1], [0, 1, 1, -1], [-1, -1, 2, 2], [-1, -1, 2, 2]]])
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    assert patch_labels(categories, valid, 2, 3).tolist() == [[0, 1, -1, 2]]
    valid[0, 0, :2] = False
    valid[0, 1, 0] = False
    assert patch_labels(categories, valid, 2, 3).tolist() == [[1, 1, -1, 2]]


# Consistency


def test_the_same_place_is_found_by_a_token_that_knows_it() -> None:
    centres = torch.stack([torch.arange(9.0)] * 2)[..., None] * torch.ones(
        3
    )  # two views of the same 9 places
    centres[1] = centres[1].flip(0)
    seen = torch.ones(2, 9, dtype=torch.bool)
    knows = torch.eye(9)[centres[..., 0].long()]
    assert view_consistency(knows, centres, seen) == pytest.approx((1.0, 1 / 9, 9))
    wrong = knows.roll(1, 2).clone()
    wrong[0] = knows[0]
    assert view_consistency(wrong, centres, seen)[0] == 0.0
    seen[1, 0] = False  # the view of place 8
    assert view_consistency(knows, centres, seen)[2] == 8
    assert view_consistency(knows[:1], centres[:1], seen[:1]) == (0.0, 0.0, 0)


def test_patch_centres_are_means_of_valid_points() -> None:
    points = torch.zeros(1, 4, 4, 3)
    points[0, :2, :2, 0] = torch.tensor([[1.0, 3.0], [100.0, 2.0]])
    valid = torch.zeros(1, 4, 4, dtype=torch.bool)
    valid[0, :2, :2] = torch.tensor([[True, True], [False, True]])
    centres, seen = patch_centres(points, valid, 2)
    assert centres[0, 0].tolist() == [2.0, 0.0, 0.0]
    assert seen.tolist() == [[True, False, False, False]]


# The suite


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("houses"))


def test_the_suite_measures_everything_the_same_every_time(folder: Path) -> None:
    suite = Suite([folder], 16, views=4)
    encoder = PointMapEncoder(TINY).train()
    text = MiniText(Vocabulary(["red", "green"])).eval()
    text.embedding = 16
    text.projection = torch.nn.Linear(text.config.width, 16, bias=False)
    measures = suite.measure(encoder, text)
    assert measures == suite.measure(encoder, text)
    assert encoder.training
    assert {"R@5-5", "chance@1", "room_linear_accuracy", "patch_linear_miou", "patch_knn_miou"} <= set(
        measures
    )
    assert all(0 <= value <= 1 for value in measures.values())
    # floor and wall differ in height: even random features show it
    assert measures["patch_linear_miou"] > 0.9 > measures["patch_majority_miou"]
    assert measures["chance@1"] == pytest.approx(1 / 8)


def test_views_that_stand_in_twice_do_not_agree_with_themselves(folder: Path) -> None:
    encoder = PointMapEncoder(TINY)
    once, twice = (Suite([folder], 16, views=views).measure(encoder, None) for views in (4, 12))
    assert once["view_consistency"] == twice["view_consistency"] < 1
    assert once["view_consistency_chance"] == twice["view_consistency_chance"]


def test_probes_transfer_between_suites_of_the_same_names(folder: Path, tmp_path: Path) -> None:
    here = Suite([folder], 16, views=4)
    names = {"categories": here.dataset.categories, "room_types": here.dataset.room_types}
    there = Suite([write_tiny(tmp_path, scenes=2, seed=5)], 16, views=4, **names)
    encoder = PointMapEncoder(TINY)
    heads = here.learn(here.features(encoder))
    transfer = here.transfer(heads, there, there.features(encoder))
    assert transfer["patch_linear_miou"].value > 0.9
    other = Suite([folder], 16, views=4, categories=["wall"])
    with pytest.raises(SettingError, match="transfer"):
        here.transfer(heads, other, other.features(encoder))
