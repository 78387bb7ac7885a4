"""The files that the published specialist head reads: questions, annotations and answers, a set for each split.

``msnn_{train,test}_{four,eight}_direction.json`` is a list of ``{scan_id, question_id, situation_text, interaction,
question}``, ``..._annotations.json`` holds ``{annotations: [{question_id, scan_id, answers: [{answer}]}]}``, and
``answer_dict.json`` a list whose first entry is ``{answer: index}`` (as the readers of UniScene3D take them). They hold
no pose. Every refusal names the sample and the field.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.msnn.files import read_json, text_label
from envs.msnn.sample import ACTION_KEYS, DIRECTION_TEXTS, DIRECTIONS, MsnnSample, check_directions
from poma3d.errors import FileError, SettingError
from poma3d.files import write_text

SPLITS = ("train", "test")
"""What the files call the splits; ``test`` is ScanNet's validation split."""


@dataclass(frozen=True)
class SpecialistQuestion:
    """What the specialist head is asked: text only."""

    scan_id: str
    """The scene."""
    sample_id: str
    """The question's id."""
    situation_text: str
    """The situation in words."""
    interaction: str
    """The goal, in a sentence."""
    question: str
    """What is asked."""
    answer: int
    """The right class, 0 to ``directions`` - 1."""
    directions: int
    """4 or 8."""

    @property
    def text(self) -> str:
        """All that is told."""
        return f"{self.situation_text} {self.interaction} {self.question}"

    def label(self, directions: int) -> int:
        """The right class; the question knows one number of directions only.

        Raises:
            SettingError: another number of directions.
        """
        if directions != self.directions:
            raise SettingError(
                f"this question has {self.directions} directions, found a wish for {directions}"
            )
        return self.answer


def question_paths(folder: str | os.PathLike[str], split: str, directions: int) -> tuple[Path, Path]:
    """The files of questions and of annotations.

    Raises:
        SettingError: no such split or number of directions.
    """
    if split not in SPLITS:
        raise SettingError(f"the splits of the specialist's files are train and test, found {split!r}")
    stem = f"msnn_{split}_{ACTION_KEYS[check_directions(directions)]}"
    return Path(folder) / f"{stem}.json", Path(folder) / f"{stem}_annotations.json"


def read_answer_dict(path: str | os.PathLike[str]) -> dict[str, int]:
    """Answers and their indices.

    Raises:
        FileError: another form, or two answers of one index.
    """
    path = Path(path)
    data = read_json(path)
    first = data[0] if isinstance(data, list) and data else data
    if not isinstance(first, dict) or not first:
        raise FileError(path, "a list whose first entry is {answer: index} was expected")
    for answer, index in first.items():
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(first):
            raise FileError(
                path, f"answer {answer!r}: an index of 0 to {len(first) - 1} was expected, found {index!r}"
            )
    if len(set(first.values())) < len(first):
        raise FileError(path, "two answers have one index; each was expected to have its own")
    return first


def read_specialist(
    folder: str | os.PathLike[str], split: str, directions: int, *, answer_dict: str | None = None
) -> list[SpecialistQuestion]:
    """The questions of a split with their answers, in the order of the file.

    Args:
        folder: where the files lie.
        split: train or test.
        directions: 4 or 8.
        answer_dict: also check that every answer stands in this file of the folder.

    Raises:
        FileError: the message names the sample and the field.
    """
    asked, annotated = question_paths(folder, split, directions)
    known = None if answer_dict is None else read_answer_dict(Path(folder) / answer_dict)
    answers = _answers(annotated, directions, known)
    questions = read_json(asked)
    if not isinstance(questions, list):
        raise FileError(asked, f"a list of questions was expected, found {type(questions).__name__}")
    found: list[SpecialistQuestion] = []
    seen: set[tuple[str, str]] = set()
    for number, entry in enumerate(questions):
        scan_id, question_id = _key(asked, number, entry)
        where = f"sample {question_id!r} of {scan_id!r}"
        if (scan_id, question_id) in seen:
            raise FileError(asked, f"{where}: field 'question_id' stands twice; each was expected once")
        seen.add((scan_id, question_id))
        for field in ("situation_text", "interaction", "question"):
            if not isinstance(entry.get(field), str) or not entry[field].strip():
                raise FileError(
                    asked, f"{where}: field {field!r}: a text was expected, found {entry.get(field)!r}"
                )
        if (scan_id, question_id) not in answers:
            raise FileError(asked, f"{where}: {annotated.name} has no annotation of this 'question_id'")
        texts = (entry["situation_text"], entry["interaction"], entry["question"])
        found.append(
            SpecialistQuestion(scan_id, question_id, *texts, answers[scan_id, question_id], directions)
        )
    for scan_id, question_id in answers:
        if (scan_id, question_id) not in seen:
            raise FileError(
                annotated, f"sample {question_id!r} of {scan_id!r}: {asked.name} has no such 'question_id'"
            )
    return found


def write_specialist(folder: str | os.PathLike[str], split: str, samples: Iterable[MsnnSample]) -> None:
    """Write samples as the specialist's files of a split, of four and of eight directions.

    ``answer_dict_{four,eight}_direction.json`` are written as well, and ``answer_dict.json`` as a copy of the first.
    """
    samples = list(samples)
    for directions in DIRECTIONS:
        asked, annotated = question_paths(folder, split, directions)
        ids = [f"{sample.scan_id}_{sample.sample_id}" for sample in samples]
        questions = [
            {
                "scan_id": sample.scan_id,
                "question_id": question_id,
                "situation_text": sample.situation_text,
                "interaction": sample.interaction,
                "question": sample.question,
            }
            for question_id, sample in zip(ids, samples, strict=True)
        ]
        texts = DIRECTION_TEXTS[directions]
        annotations = [
            {
                "question_id": question_id,
                "scan_id": sample.scan_id,
                "answers": [{"answer": texts[sample.label(directions)]}],
            }
            for question_id, sample in zip(ids, samples, strict=True)
        ]
        _write(asked, questions)
        _write(annotated, {"annotations": annotations})
        table = [{text: label for label, text in enumerate(texts)}, dict(enumerate(texts))]
        _write(Path(folder) / f"answer_dict_{ACTION_KEYS[directions]}.json", table)
        if directions == 4:
            _write(Path(folder) / "answer_dict.json", table)


def _answers(path: Path, directions: int, known: dict[str, int] | None) -> dict[tuple[str, str], int]:
    """The class of every annotated question."""
    data = read_json(path)
    entries = data.get("annotations") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise FileError(path, "{'annotations': [...]} was expected")
    answers: dict[tuple[str, str], int] = {}
    for number, entry in enumerate(entries):
        key = _key(path, number, entry)
        where = f"sample {key[1]!r} of {key[0]!r}"
        given = entry.get("answers")
        if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
            raise FileError(
                path, f"{where}: field 'answers': [{{'answer': text}}] was expected, found {given!r}"
            )
        labels = set()
        for one in given:
            text = one.get("answer")
            label = text_label(text, directions) if isinstance(text, str) else None
            if label is None:
                wanted = ", ".join(DIRECTION_TEXTS[directions])
                raise FileError(
                    path, f"{where}: field 'answer': one of {wanted} was expected, found {text!r}"
                )
            if known is not None and text not in known:
                raise FileError(path, f"{where}: field 'answer': {text!r} is not in the answer dictionary")
            labels.add(label)
        if len(labels) > 1:
            raise FileError(path, f"{where}: field 'answers': one direction was expected, found {given!r}")
        if key in answers:
            raise FileError(path, f"{where}: field 'question_id' stands twice; each was expected once")
        answers[key] = labels.pop()
    return answers


def _key(path: Path, number: int, entry: Any) -> tuple[str, str]:
    """Scene and id of an entry."""
    if not isinstance(entry, dict):
        raise FileError(path, f"entry {number}: an object was expected, found {entry!r}")
    for field in ("scan_id", "question_id"):
        value = entry.get(field)
        right = isinstance(value, str) or (field == "question_id" and type(value) is int)
        if not right or value == "":
            raise FileError(path, f"entry {number}: field {field!r}: a name was expected, found {value!r}")
    return entry["scan_id"], str(entry["question_id"])


def _write(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
