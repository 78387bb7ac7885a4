"""Questions with words for answers, asked of the same heads: EM@1 and EM@10 on ScanQA, SQA3D and Hypo3D.

EM@N: one of the N best answers of the list equals one of the right ones, after both are put in lower case and spaces
are made single. The list holds the answers of the training questions; a right answer that is not on it counts as
wrong.

Formats: ScanQA is a list of ``{scene_id, question_id, question, answers}``. SQA3D is a file of questions,
``{"questions": [{scene_id, question_id, situation, question}]}``, and one of annotations, ``{"annotations":
[{question_id, scene_id, answers: [{answer}], position, rotation}]}``; name both. Hypo3D is ``{scene_id:
[{context_change, questions_answers: [{question, answer}]}]}``, read from its paper's description: its files were not
at hand. Situations become ``Sample.situation``, as do Hypo3D's changes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.intervals import mean_over_scenes
from envs.msnn.sample import yaw_of
from policies.situated.prediction import hits
from policies.situated.samples import Answers, Sample
from poma3d.errors import FileError, SettingError

FORMATS = ("scanqa", "sqa3d", "hypo3d")
AMONG = (1, 10)
"""How many of a head's best answers may hold the right one."""


def read_questions(files: Iterable[str | Path], kind: str) -> list[Sample]:
    """The questions of files of one format.

    Raises:
        SettingError: an unknown format, or no questions.
        FileError: a file of another form; the message names the entry and the field.
    """
    paths = [Path(path) for path in files]
    readers = {"scanqa": _scanqa, "sqa3d": _sqa3d, "hypo3d": _hypo3d}
    if kind not in readers:
        raise SettingError(f"questions are {', '.join(FORMATS)}, found {kind!r}")
    if kind == "sqa3d":
        samples = list(_sqa3d(paths))
    else:
        samples = [sample for path in paths for sample in readers[kind](path)]
    if not samples:
        raise SettingError(f"there are no questions in {', '.join(map(str, paths))}")
    return samples


def normalised(answer: str) -> str:
    """An answer as answers are compared."""
    return " ".join(answer.lower().split())


def answer_list(samples: Sequence[Sample]) -> list[str]:
    """All right answers, frequent ones first, alphabetical among equals."""
    counts = Counter(answer for sample in samples for answer in sample.answers)
    return sorted(counts, key=lambda answer: (-counts[answer], answer))


def exact_match(
    logits: np.ndarray, answers: Answers, samples: Sequence[Sample], *, seed: int = 0
) -> dict[str, Any]:
    """``{"EM@1": {"mean", "ci95", "n"}, "EM@10": ..., "answerable": share whose right answer is on the list}``."""
    (name,) = answers.classes
    targets = answers.targets(samples)[name]
    scenes = [sample.scan_id for sample in samples]
    measures: dict[str, Any] = {
        f"EM@{among}": mean_over_scenes(hits(logits, targets, among).astype(float), scenes, seed=seed)
        for among in AMONG
    }
    return measures | {"answerable": float(targets.any(axis=1).mean())}


def majority_logits(answers: Answers, count: int) -> np.ndarray:
    """(count, classes): the answer list in its own order, which is that of frequency."""
    (classes,) = answers.classes.values()
    return np.tile(-np.arange(len(classes), dtype=np.float32), (count, 1))


def _scanqa(path: Path) -> Iterator[Sample]:
    for number, entry in enumerate(_listed(path, _json(path), "the file")):
        where = f"question {number}"
        yield Sample(
            sample_id=str(_get(path, where, entry, "question_id")),
            scan_id=str(_get(path, where, entry, "scene_id")),
            question=str(_get(path, where, entry, "question")),
            answers=_answers(path, where, entry.get("answers", [])),
        )


def _sqa3d(paths: Sequence[Path]) -> Iterator[Sample]:
    questions: dict[str, tuple[Path, dict]] = {}
    annotations: dict[str, tuple[Path, dict]] = {}
    for path in paths:
        content = _json(path)
        if not isinstance(content, dict) or not {"questions", "annotations"} & content.keys():
            raise FileError(path, 'a file of {"questions": [...]} or {"annotations": [...]} was expected')
        for key, found in (("questions", questions), ("annotations", annotations)):
            for number, entry in enumerate(_listed(path, content.get(key, []), key)):
                found[str(_get(path, f"{key} {number}", entry, "question_id"))] = (path, entry)
    lost = sorted(set(questions) ^ set(annotations))
    if lost:
        raise FileError(
            paths[0],
            f"{len(questions)} questions and {len(annotations)} annotations do not go together, such as {lost[0]};"
            " name the file of questions and the file of annotations of the same split",
        )
    for key, (path, entry) in questions.items():
        where, (other, annotation) = f"question {key}", annotations[key]
        location, yaw = _pose(other, where, annotation)
        yield Sample(
            sample_id=key,
            scan_id=str(_get(path, where, entry, "scene_id")),
            situation=str(_get(path, where, entry, "situation")),
            question=str(_get(path, where, entry, "question")),
            location=location,
            yaw=yaw,
            answers=_answers(other, where, annotation.get("answers", [])),
        )


def _pose(
    path: Path, where: str, entry: Mapping[str, Any]
) -> tuple[tuple[float, float, float] | None, float]:
    """Position {x, y, z} and rotation {_x, _y, _z, _w} of a situation, where they are told."""
    if "position" not in entry or "rotation" not in entry:
        return None, 0.0
    try:
        position, rotation = entry["position"], entry["rotation"]
        place = tuple(float(position[axis]) for axis in "xyz")
        quaternion = tuple(float(rotation[f"_{axis}"]) for axis in "xyzw")
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(
            path, f"{where}: position {{x, y, z}} and rotation {{_x, _y, _z, _w}} were expected ({error})"
        ) from error
    if not np.isfinite([*place, *quaternion]).all():
        raise FileError(path, f"{where}: position or rotation holds what is no finite number")
    return place, yaw_of(quaternion)  # type: ignore[return-value]


def _hypo3d(path: Path) -> Iterator[Sample]:
    content = _json(path)
    if not isinstance(content, dict):
        raise FileError(path, f"{{scene_id: [...]}} was expected, found {type(content).__name__}")
    for scan, changes in content.items():
        for c, change in enumerate(_listed(path, changes, f"scene {scan}")):
            told = str(_get(path, f"change {c} of {scan}", change, "context_change"))
            asked = _get(path, f"change {c} of {scan}", change, "questions_answers")
            for q, entry in enumerate(_listed(path, asked, f"change {c} of {scan}")):
                where = f"question {q} of change {c} of {scan}"
                yield Sample(
                    sample_id=f"{c}-{q}",
                    scan_id=scan,
                    situation=told,
                    question=str(_get(path, where, entry, "question")),
                    answers=_answers(path, where, [_get(path, where, entry, "answer")]),
                )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise FileError(path, f"JSON was expected ({error})") from error


def _listed(path: Path, value: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise FileError(path, f"{where}: a list of objects was expected, found {type(value).__name__}")
    return value


def _get(path: Path, where: str, entry: Mapping[str, Any], field: str) -> Any:
    if field not in entry:
        raise FileError(path, f"{where}: field {field!r} is missing; found are {', '.join(entry)}")
    return entry[field]


def _answers(path: Path, where: str, listed: Any) -> tuple[str, ...]:
    """Answers given as texts or as ``{"answer": text}``."""
    if not isinstance(listed, list):
        raise FileError(path, f"{where}: field 'answers': a list was expected, found {type(listed).__name__}")
    texts = [_get(path, where, one, "answer") if isinstance(one, dict) else one for one in listed]
    return tuple(dict.fromkeys(normalised(str(text)) for text in texts))
