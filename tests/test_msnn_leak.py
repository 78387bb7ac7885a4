"""Nobody can tell the answers of msnn-houses from their words: a classifier of words, taught on the train houses."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from envs.msnn import MsnnSample, read_msnn, read_scan_list
from envs.msnn.houses import DATA_FILE, file_sha256, scan_list_path, write_msnn_houses


def bag_of_words(train: list[str], test: list[str]) -> tuple[csr_matrix, csr_matrix]:
    """Which words and pairs of neighbours of the train texts stand in each text."""

    def terms(text: str) -> set[str]:
        words = re.findall(r"[a-z]+", text.lower())
        return {*words, *map(" ".join, itertools.pairwise(words))}

    counts = Counter(term for text in train for term in terms(text))
    place = {term: index for index, term in enumerate(sorted(term for term in counts if counts[term] >= 3))}

    def matrix(texts: list[str]) -> csr_matrix:
        rows = [(row, place[term]) for row, text in enumerate(texts) for term in terms(text) if term in place]
        at = np.array(rows).T
        return csr_matrix((np.ones(len(rows)), (at[0], at[1])), shape=(len(texts), len(place)))

    return matrix(train), matrix(test)


def taught_accuracy(train: list[MsnnSample], test: list[MsnnSample], directions: int) -> float:
    """Accuracy on test of a softmax regression on words, taught by gradient steps with a little decay."""
    x, y = bag_of_words([sample.text for sample in train], [sample.text for sample in test])
    label = np.array([sample.label(directions) for sample in train])
    answer = np.array([sample.label(directions) for sample in test])
    wanted = np.eye(directions)[label]
    weights = np.zeros_like(x.T @ wanted)  # (terms, directions)
    speed = weights.copy()
    for _ in range(150):
        score = x @ weights
        score -= score.max(axis=1, keepdims=True)
        guess = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
        speed = 0.9 * speed - (x.T @ (guess - wanted) / len(label) + 1e-4 * weights)
        weights += speed
    return float(((y @ weights).argmax(axis=1) == answer).mean())


def _sample(text: str, angle: float) -> MsnnSample:
    return MsnnSample("a", "0", (0, 0, 0), (0, 0, 0, 1), text, "Go.", angle)


def test_the_classifier_finds_a_leak_where_there_is_one():
    rng = np.random.default_rng(0)
    words = ["sofa", "bed", "desk", "tv"]
    told = [int(word) for word in rng.integers(4, size=400)]
    texts = [
        _sample(f"I face the {words[one]} and the {words[rng.integers(4)]}.", 90.0 * one) for one in told
    ]
    assert taught_accuracy(texts[:300], texts[300:], 4) > 0.6


@pytest.fixture(scope="session")
def msnn_houses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of msnn-houses: that of ``POMAGYM_MSNN_HOUSES``, else made anew."""
    given = os.environ.get("POMAGYM_MSNN_HOUSES")
    if given:
        return Path(given)
    folder = tmp_path_factory.mktemp("msnn_houses")
    write_msnn_houses(folder, workers=2)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_words_do_not_tell_the_answer_of_the_benchmark(msnn_houses: Path):
    parts = {
        split: read_msnn(msnn_houses / DATA_FILE, set(read_scan_list(scan_list_path(msnn_houses, split))))
        for split in ("train", "val")
    }
    assert len(parts["train"]) >= 8000
    assert len(parts["val"]) >= 2000
    assert not {s.scan_id for s in parts["train"]} & {s.scan_id for s in parts["val"]}
    for directions in (4, 8):
        answers = Counter(sample.label(directions) for sample in parts["val"])
        majority = max(answers.values()) / len(parts["val"])
        words = taught_accuracy(parts["train"], parts["val"], directions)
        print(f"{directions} directions: words {words:.1%}, commonest {majority:.1%}")
        assert abs(words - majority) < 0.03


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_benchmark_is_the_one_of_the_documents(msnn_houses: Path):
    documents = (Path(__file__).resolve().parents[1] / "docs" / "msnn.md").read_text(encoding="utf-8")
    assert file_sha256(msnn_houses / DATA_FILE) in documents
