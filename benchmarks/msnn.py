"""MSNN scored: the direction of the next step in four and in eight, beside every control and the published rows.

Intervals are over scenes (`benchmarks.intervals`). Besides accuracy: the share of answers that are none, the mean angle
between answer and truth, the confusion of directions, and what the answers are worth when they are walked
(`benchmarks.msnn_execution`). Shapes: N samples.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.intervals import mean_over_scenes
from benchmarks.machine import provenance
from benchmarks.msnn_execution import Executed
from benchmarks.published_msnn import SOURCE, published_msnn
from benchmarks.results import config_sha256
from envs.msnn import DIRECTIONS, MsnnSample, angular_error, label_angle
from envs.msnn.files import text_label
from poma3d.errors import FileError, SettingError

NO_ANSWER = -1
"""Stands for an answer that is none of the directions."""
CONTROLS = ("chance", "majority", "text_only", "pose_only", "oracle")
"""Rows that every table has."""
Labels = dict[int, np.ndarray]
"""By the number of directions, (N,) int64 answers, `NO_ANSWER` for none."""


@dataclass(frozen=True)
class Contestant:
    """Answers of one head, control or program to all samples."""

    name: str
    """What its rows are called."""
    labels: Labels
    """Its answers."""
    control: bool = False
    """Whether it is a control."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else its rows say: hash of the weights, what chose the epoch."""


def score(
    contestants: Sequence[Contestant],
    samples: Sequence[MsnnSample],
    executed: Mapping[int, Executed] | None = None,
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A row for each contestant and number of directions.

    Args:
        contestants: their answers.
        samples: N, in the order of the answers.
        executed: what walks from the samples are worth, by place.
        seed: of the resamples behind the intervals.

    Returns:
        Rows ``{"head", "control", "directions", "accuracy": {"mean", "ci95", "n"}, "invalid", "angular_error_deg",
        "moves_nearer", "progress_m", "confusion", ...}``; what is not known is None. ``confusion[t][p]`` counts
        samples of the true class t that were answered p; answers that are none are in no column.

    Raises:
        SettingError: no samples, or answers that are not one for each.
    """
    if not samples:
        raise SettingError("there are no samples to score")
    scenes = [sample.scan_id for sample in samples]
    rows = []
    for contestant in contestants:
        for directions in DIRECTIONS:
            labels = np.asarray(contestant.labels[directions])
            if labels.shape != (len(samples),):
                raise SettingError(
                    f"{contestant.name}: one answer for each of {len(samples)} samples was expected,"
                    f" found {labels.shape}"
                )
            truth = np.array([sample.label(directions) for sample in samples])
            valid = labels != NO_ANSWER
            # An answer that is none is as wrong as can be expected of one: a right angle.
            errors = np.array(
                [
                    angular_error(label_angle(int(label), directions), sample.angle)
                    if label != NO_ANSWER
                    else 90.0
                    for label, sample in zip(labels, samples, strict=True)
                ]
            )
            confusion = np.zeros((directions, directions), np.int64)
            np.add.at(confusion, (truth[valid], labels[valid]), 1)
            rows.append(
                {
                    "head": contestant.name,
                    "control": contestant.control,
                    "directions": directions,
                    "accuracy": mean_over_scenes((labels == truth).astype(float), scenes, seed=seed),
                    "invalid": float((~valid).mean()),
                    "angular_error_deg": mean_over_scenes(errors, scenes, seed=seed),
                    **_worth(labels, directions, scenes, executed or {}, seed),
                    "confusion": confusion.tolist(),
                    **contestant.facts,
                }
            )
    return rows


def _worth(
    labels: np.ndarray, directions: int, scenes: Sequence[str], executed: Mapping[int, Executed], seed: int
) -> dict[str, Any]:
    """The executable score: share of walks that lead nearer, and mean progress in metres; no answer, no walk."""
    places = sorted(executed)
    if not places:
        return {"moves_nearer": None, "progress_m": None}
    walked = [(executed[k], labels[k]) for k in places]
    progress = np.array([at.progress[directions][n] if n != NO_ANSWER else 0.0 for at, n in walked])
    nearer = np.array([n != NO_ANSWER and at.nearer[directions][n] for at, n in walked])
    where = [scenes[k] for k in places]
    return {
        "moves_nearer": mean_over_scenes(nearer.astype(float), where, seed=seed),
        "progress_m": mean_over_scenes(progress, where, seed=seed),
    }


def simple_controls(
    samples: Sequence[MsnnSample], train: Sequence[MsnnSample] | None, *, seed: int = 0
) -> list[Contestant]:
    """Chance, majority and oracle.

    Chance is drawn from the seed and the names of scene and sample; the majority is that of the training samples, or,
    where there are none, that of the samples themselves, which no head could know.
    """
    chance, majority = {}, {}
    for directions in DIRECTIONS:
        chance[directions] = np.array([_draw(sample, directions, seed) for sample in samples])
        counted = Counter(sample.label(directions) for sample in (train or samples))
        most = min(counted, key=lambda label: (-counted[label], label))
        majority[directions] = np.full(len(samples), most)
    truth = {n: np.array([sample.label(n) for sample in samples]) for n in DIRECTIONS}
    of = "training samples" if train else "these samples"
    return [
        Contestant("chance", chance, True),
        Contestant("majority", majority, True, {"majority_of": of}),
        Contestant("oracle", truth, True),
    ]


def _draw(sample: MsnnSample, directions: int, seed: int) -> int:
    name = f"{seed}\0{directions}\0{sample.scan_id}\0{sample.sample_id}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % directions


def read_answers(path: str | Path, samples: Sequence[MsnnSample]) -> Labels:
    """Answers that another program gave, such as a language model, scored by exact match as published.

    The file is JSON: ``{"four": {scan_id: {sample_id: answer}}, "eight": {...}}``, an answer being one of the
    authors' texts or a class number. What is neither, or missing, is no answer.

    Raises:
        FileError: another form.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        found = {n: content[name] for n, name in zip(DIRECTIONS, ("four", "eight"), strict=True)}
        if not all(isinstance(answers, dict) for scans in found.values() for answers in scans.values()):
            raise TypeError("answers of a scene are an object")
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise FileError(
            path, '{"four": {scan_id: {sample_id: answer}}, "eight": {...}} was expected, found another form'
        ) from error
    return {
        n: np.array([_label(scans.get(s.scan_id, {}).get(s.sample_id), n) for s in samples])
        for n, scans in found.items()
    }


def _label(answer: Any, directions: int) -> int:
    if isinstance(answer, str):
        label = text_label(answer.rstrip(" ."), directions)
        return NO_ANSWER if label is None else label
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer <= directions:
        return answer % directions
    return NO_ANSWER


def result(
    rows: Sequence[dict[str, Any]],
    samples: Sequence[MsnnSample],
    config: Mapping[str, Any],
    *,
    missing: Sequence[str] = (),
    problems: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What `summary.json` holds: rows, published rows, settings, versions, hardware and command."""
    digest = hashlib.sha256(
        json.dumps([asdict(sample) for sample in samples], sort_keys=True, default=str).encode()
    )
    return {
        "rows": list(rows),
        "published": published_msnn(),
        "published_source": SOURCE,
        "samples": len(samples),
        "scenes": len({sample.scan_id for sample in samples}),
        "samples_sha256": digest.hexdigest(),
        "not_trained": list(missing),
        "not_executed": dict(problems or {}),
        "config": dict(config),
        "config_sha256": config_sha256(config),
        **provenance(),
    }
