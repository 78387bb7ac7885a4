"""The part `msnn` of `pomagym bench`: the direction of the next step, all heads beside all controls."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from pomagym.head_options import check_data, find_heads, read_samples, scene_source, split_beside

if TYPE_CHECKING:
    from benchmarks.head_answers import HeadAnswers, SceneSource
    from benchmarks.msnn import Contestant, Labels
    from policies.situated.samples import Sample


@dataclass(frozen=True)
class Msnn:
    """Score MSNN: heads in four and eight directions, beside chance, majority, text only, pose only and the oracle.

    Heads that see the scene are asked a second time with another sample's text. Intervals are 95 % over scenes. The
    published rows stand below, marked as such. Where the samples tell scene and goal, the answers are walked as well:
    the share that leads nearer, and the metres it takes off the way.

    For example:

        pomagym bench msnn --data msnn_houses.json --scenes data/houses --heads results/msnn
        pomagym bench msnn --data msnn_scannet.json --split scannetv2_val.txt --scenes scannet --heads results/msnn
        pomagym bench msnn --data msnn_val.json --scenes data/val --predictions gpt=answers.json --json
    """

    data: tyro.conf.UseAppendAction[tuple[Path, ...]]
    """A file of samples in the schema of msnn_scannet.json; may be given several times."""
    scenes: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """A ScenePoint folder with the scenes; may be given several times."""
    heads: Path | None = None
    """Folder of trained heads, NAME/head.safetensors each, as pomagym train-head makes them; among them text_only and
    pose_only are the controls of these names."""
    predictions: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=FILE: answers of another program, JSON {"four": {scan_id: {sample_id: answer}}, "eight": {...}}."""
    train_data: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """The training samples, whose most frequent direction is the majority; default: those of the scenes in the one
    *_train.txt beside the data, else the samples scored."""
    encoder: str = "poma3d-mini"
    """The backbone: a name, a file or a folder that load_encoder takes (docs/encoder.md)."""
    split: Path | None = None
    """A list of scenes, a name a line, such as scannetv2_val.txt: only their samples count; default: the one
    *_val.txt beside the data, where there is one."""
    limit: int = 0
    """Only so many samples, the first of every scene in turn; 0 takes all."""
    walk: bool = True
    """Walk the answers where the samples tell scene and goal (--no-walk leaves it out)."""
    scene: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A mesh file in which the answers are walked; may be given several times. Houses are found without."""
    scenes_dir: Path | None = None
    """Folder below which the mesh files that samples name lie, for the walks."""
    cache: Path | None = None
    """Folder for the features of scenes; default: POMAGYM_CACHE or ~/.cache/pomagym."""
    workers: int = 1
    """Processes that ask the heads; no number depends on it."""
    seed: int = 0
    """Of chance and of the intervals."""
    out: Path | None = None
    """Folder that gets summary.json, predictions.json and the pictures of the confusions; default
    results/msnn-HASH."""
    json: bool = False
    """Print the rows as JSON, alone on standard output."""


def msnn(config: Msnn) -> int:
    """Score, write, print the table or the JSON."""
    from benchmarks.confusion import draw_confusion
    from benchmarks.msnn import result, score, simple_controls
    from benchmarks.msnn_execution import execute_directions
    from benchmarks.results import config_sha256
    from benchmarks.tables import print_table
    from envs.msnn import DIRECTIONS
    from poma3d.errors import SettingError
    from poma3d.files import check_folder, write_text
    from pomagym.progress import Bar

    check_data(config.data)
    check_folder(config.out or "results")
    split = config.split or split_beside(config.data, "val")
    samples = read_samples(config.data, split)
    if not samples:
        raise SettingError("there are no samples to score in " + ", ".join(map(str, config.data)))
    samples = _limited(samples, config.limit)
    train_split = split_beside(config.data, "train")
    train = read_samples(config.train_data, None) if config.train_data else None
    if train is None and split is not None and train_split is not None:
        train = read_samples(config.data, train_split)
    executed, problems = {}, {}
    contestants, missing, facts = _contestants(config, samples)
    if config.walk:
        with Bar("walks", len({sample.scan_id for sample in samples})) as bar:
            folder = None if config.scenes_dir is None else str(config.scenes_dir)
            executed, problems = execute_directions(
                samples, config.scene, scenes_dir=folder, on_scene=bar.advance
            )
    shown = [*contestants, *simple_controls(samples, train, seed=config.seed)]
    rows = score(shown, samples, executed, seed=config.seed)
    settings = {
        "data": [path.name for path in config.data],
        "split": None if split is None else split.name,
        "encoder": config.encoder,
        "heads": facts,
        "limit": config.limit,
        "seed": config.seed,
        "predictions": list(config.predictions),
    }
    found = result(rows, samples, settings, missing=missing, problems=problems)
    out = config.out or Path("results") / f"msnn-{config_sha256([settings, found['samples_sha256']])[:8]}"
    text = json.dumps(found, indent=2, allow_nan=False)
    write_text(out / "summary.json", text + "\n")
    write_text(out / "predictions.json", json.dumps(_answers(shown, samples)) + "\n")
    for directions in DIRECTIONS:
        draw_confusion(rows, directions, out / f"confusion_{directions}.png")
    if config.json:
        print(text)
    else:
        print_table(_table(found))
    for name in missing:
        print(
            f"{name}: not trained; pomagym train-head {name} --data TRAIN.json --out {config.heads or 'HEADS'}/{name}",
            file=sys.stderr,
        )
    for scene, problem in list(problems.items())[:3]:
        print(f"not walked: {scene}: {' '.join(problem.split())}", file=sys.stderr)
    if len(problems) > 3:
        print(f"not walked: {len(problems) - 3} more, see summary.json", file=sys.stderr)
    print(f"results: {out}", file=sys.stderr)
    return 0


def _contestants(config: Msnn, samples: list[Any]) -> tuple[list[Contestant], list[str], dict[str, str]]:
    """Heads and files of answers; which controls are not there; hashes of the heads."""
    from benchmarks.head_answers import with_other_texts
    from benchmarks.msnn import Contestant, read_answers
    from policies.situated.samples import Sample
    from policies.situated.training import BLIND
    from poma3d.errors import SettingError

    found = {} if config.heads is None else find_heads(config.heads)
    source = scene_source(config.scenes, config.encoder, config.cache)
    asked = [Sample.of_msnn(sample) for sample in samples]
    contestants, hashes = [], {}
    for name, path in found.items():
        said = _ask(name, path, asked, source, config.workers)
        if not said.loaded.shape.answers.are_directions:
            raise SettingError(f"{path} answers in words; pomagym bench qa scores it")
        notes = said.loaded.notes
        facts = {
            "weights_sha256": said.loaded.weights_sha256,
            "selected_on": notes.get("selected_on"),
            "epoch": notes.get("epoch"),
        }
        hashes[name] = said.loaded.weights_sha256
        blind = said.loaded.shape.settings.kind in BLIND
        contestants.append(Contestant(name, _labels(said), blind, facts))
        if not blind:
            other = f"{name}, another text"
            said = _ask(other, path, with_other_texts(asked), source, config.workers)
            contestants.append(Contestant(other, _labels(said), True, facts))
    contestants.sort(key=lambda contestant: contestant.control)
    for entry in config.predictions:
        name, _, file = entry.partition("=")
        if not name or not file:
            raise SettingError(f"--predictions takes NAME=FILE, found {entry!r}")
        contestants.insert(0, Contestant(name, read_answers(file, samples)))
    kinds = {contestant.name for contestant in contestants}
    return contestants, [name for name in BLIND if name not in kinds], hashes


def _ask(
    name: str, path: Path, samples: list[Sample], source: SceneSource | None, workers: int
) -> HeadAnswers:
    from benchmarks.head_answers import ask_head
    from pomagym.progress import Bar

    with Bar(name, len({sample.scan_id for sample in samples})) as bar:
        return ask_head(path, samples, source, workers=workers, on_scene=bar.advance)


def _labels(said: HeadAnswers) -> Labels:
    from policies.situated.samples import DIRECTIONS

    return {count: said.logits[output].argmax(1) for output, count in DIRECTIONS.items()}


def _limited(samples: list[Any], limit: int) -> list[Any]:
    """The first ``limit`` samples, taken from every scene in turn."""
    from poma3d.errors import SettingError

    if limit < 0:
        raise SettingError(f"limit must be at least 0, found {limit}")
    if not limit or limit >= len(samples):
        return samples
    rank: dict[str, int] = {}
    keyed = []
    for k, sample in enumerate(samples):
        rank[sample.scan_id] = rank.get(sample.scan_id, 0) + 1
        keyed.append((rank[sample.scan_id], k))
    return [samples[k] for k in sorted(k for _, k in sorted(keyed)[:limit])]


def _answers(contestants: list[Contestant], samples: list[Any]) -> dict[str, Any]:
    """Every answer, by contestant, number of directions, scene and sample."""
    names = {4: "four", 8: "eight"}
    answers: dict[str, Any] = {}
    for contestant in contestants:
        for count, labels in contestant.labels.items():
            for sample, label in zip(samples, labels.tolist(), strict=True):
                scans = answers.setdefault(contestant.name, {}).setdefault(names[count], {})
                scans.setdefault(sample.scan_id, {})[sample.sample_id] = label
    return answers


def _table(found: dict[str, Any]) -> Any:
    from benchmarks.tables import percent, rows_table

    rows = []
    names = list(dict.fromkeys(row["head"] for row in found["rows"]))
    by_name = {(row["head"], row["directions"]): row for row in found["rows"]}
    for name in names:
        four, eight = by_name[name, 4], by_name[name, 8]
        error, metres = eight["angular_error_deg"], eight["progress_m"]
        rows.append(
            [
                f"{name} (control)" if four["control"] else name,
                percent(four["accuracy"]),
                percent(eight["accuracy"]),
                f"{error['mean']:.1f}",
                f"{100 * eight['invalid']:.1f}",
                percent(eight["moves_nearer"]),
                "-" if metres is None else f"{metres['mean']:+.2f}",
            ]
        )
    rows += [[f"{name} (control)", *["not trained"] * 2, *["-"] * 4] for name in found["not_trained"]]
    published: dict[str, dict[int, float]] = {}
    for row in found["published"]:
        published.setdefault(row["row"], {})[row["directions"]] = row["accuracy"]
    rows += [
        [f"published: {name}", f"{100 * share[4]:.1f}", f"{100 * share[8]:.1f}", *["-"] * 4]
        for name, share in published.items()
    ]
    return rows_table(
        f"MSNN, {found['samples']} samples in {found['scenes']} scenes, percent",
        ["head", "four", "eight", "error, deg", "invalid", "moves nearer", "progress, m"],
        rows,
        note="95 % intervals over scenes; the last four columns are of eight directions; rows marked so are"
        f" {found['published_source']}, on ScanNet",
    )
