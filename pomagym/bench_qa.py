"""The part `qa` of `pomagym bench`: questions about scenes, answered by the same heads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import tyro

from pomagym.head_options import check_data, file_facts, find_heads, scene_source
from pomagym.printing import print_result


@dataclass(frozen=True)
class Qa:
    """Score question answering, EM@1 and EM@10, beside the most frequent answers and the published rows.

    For example:

        pomagym bench qa --data ScanQA_v1.0_val.json --format scanqa --scenes scannet --heads results/scanqa
        pomagym bench qa --format sqa3d --data questions_test.json --data annotations_test.json --scenes scannet \\
            --heads results/sqa3d
    """

    data: tyro.conf.UseAppendAction[tuple[Path, ...]]
    """A file of questions; may be given several times (SQA3D: questions and annotations)."""
    format: Literal["scanqa", "sqa3d", "hypo3d"]
    """The files' format."""
    heads: Path
    """Folder of trained heads, NAME/head.safetensors each, as pomagym train-head --qa makes them."""
    scenes: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """A ScenePoint folder with the scenes; may be given several times."""
    encoder: str = "poma3d-mini"
    """The backbone: a name, a file or a folder that load_encoder takes (docs/encoder.md)."""
    cache: Path | None = None
    """Folder for the features of scenes; default: POMAGYM_CACHE or ~/.cache/pomagym."""
    workers: int = 1
    """Processes that ask the heads; no number depends on it."""
    seed: int = 0
    """Of the intervals."""
    out: Path | None = None
    """A JSON file to write as well."""
    json: bool = False
    """Print the rows as JSON, alone on standard output."""


def question_answering(config: Qa) -> int:
    """Ask, print the table or the JSON."""
    from benchmarks.head_answers import ask_head
    from benchmarks.machine import provenance
    from benchmarks.published_msnn import SOURCE, published_answers
    from benchmarks.question_answering import exact_match, majority_logits, read_questions
    from policies.situated.training import BLIND
    from poma3d.errors import SettingError
    from poma3d.files import check_folder
    from pomagym.progress import Bar

    check_data(config.data)
    if config.out is not None:
        check_folder(config.out.parent)
    samples = read_questions(config.data, config.format)
    paths = find_heads(config.heads)
    source = scene_source(config.scenes, config.encoder, config.cache)
    rows: list[dict[str, Any]] = []
    for name, path in paths.items():
        with Bar(name, len({sample.scan_id for sample in samples})) as bar:
            said = ask_head(path, samples, source, workers=config.workers, on_scene=bar.advance)
        answers = said.loaded.shape.answers
        if answers.are_directions:
            raise SettingError(f"{path} answers with directions; pomagym bench msnn scores it")
        if not rows:
            logits = majority_logits(answers, len(samples))
            frequent = exact_match(logits, answers, samples, seed=config.seed)
            rows.append({"head": "most frequent", "control": True, **frequent})
        (logits,) = said.logits.values()
        measures = exact_match(logits, answers, samples, seed=config.seed)
        blind = said.loaded.shape.settings.kind in BLIND
        facts = {
            "weights_sha256": said.loaded.weights_sha256,
            "selected_on": said.loaded.notes.get("selected_on"),
        }
        rows.append({"head": name, "control": blind, **measures, **facts})
    rows.sort(key=lambda row: row["control"])
    found = {
        "rows": rows,
        "published": published_answers(config.format),
        "published_source": SOURCE,
        "samples": len(samples),
        "data": file_facts(config.data),
        **provenance(),
    }
    print_result(found, partial(_table, name=config.format), as_json=config.json, out=config.out)
    return 0


def _table(found: dict[str, Any], name: str) -> Any:
    from benchmarks.tables import percent, rows_table

    rows = [
        [
            f"{row['head']} (control)" if row["control"] else row["head"],
            percent(row["EM@1"]),
            percent(row["EM@10"]),
        ]
        for row in found["rows"]
    ]
    for row in found["published"]:
        shares = ["-" if row[key] is None else f"{100 * row[key]:.1f}" for key in ("EM@1", "EM@10")]
        rows.append([f"published: {row['row']}", *shares])
    return rows_table(
        f"{name}, {found['samples']} questions, percent",
        ["head", "EM@1", "EM@10"],
        rows,
        note=f"95 % intervals over scenes; rows marked so are {found['published_source']}",
    )
