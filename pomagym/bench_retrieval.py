"""The part `retrieval` of `pomagym bench`: find a scene by what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from pomagym.printing import name_missing, print_result


@dataclass(frozen=True)
class Retrieval:
    """Zero-shot scene retrieval by text: R@M-N, the first M utterances of a scene against all scenes.

    Prints the encoder, the same encoder with random weights, what perfect labels find (where the scenes have labels),
    chance, and the published rows, marked as such; intervals are 95 % over scenes.

    For example:

        pomagym scenes export procedural:val:200 --size 112 --half --no-images --out data/val
        pomagym bench retrieval --scenes data/val --encoder poma3d-mini
        pomagym bench retrieval --scenes data/scannet --queries scanrefer_retrieval.jsonl --encoder poma3d
    """

    scenes: tyro.conf.UseAppendAction[tuple[Path, ...]]
    """A ScenePoint folder; may be given several times."""
    encoder: str = "poma3d-mini"
    """The weights: a name, a file or a folder that load_encoder takes (docs/encoder.md)."""
    queries: Path | None = None
    """What is asked: a retrieval .jsonl (scan_id, utterance), ScanRefer's .json, or Nr3D's or Sr3D's .csv;
    default: retrieval/*.jsonl of the folders."""
    text: str | None = None
    """The text tower: text.safetensors of a pretraining, a folder of FG-CLIP or of sentence-transformers;
    default: the one beside the encoder, else fg-clip-base."""
    every: bool = False
    """Ask with each run of M utterances of a scene, as the authors' later runner, not with the first M alone."""
    pictures: bool = False
    """Encode the pictures of the views with FG-CLIP instead of the point maps."""
    views: int = 32
    """Views of a scene, the first ones."""
    device: str = "auto"
    """Where the encoder runs: auto, cpu or cuda."""
    seed: int = 0
    """Of the random weights that serve as control."""
    out: Path | None = None
    """A JSON file to write as well."""
    json: bool = False
    """Print the rows as JSON, alone on standard output."""


def retrieval(config: Retrieval) -> int:
    """Measure, print the table or the JSON."""
    from benchmarks.retrieval import RetrievalRun, measure_retrieval
    from poma3d.errors import SettingError
    from poma3d.files import check_folder
    from pomagym.progress import Bar

    if not config.scenes:
        raise SettingError("scenes are searched in: name a ScenePoint folder, --scenes DIR")
    if config.out is not None:
        check_folder(config.out.parent)
    run = RetrievalRun(
        scenes=tuple(map(str, config.scenes)),
        encoder=config.encoder,
        queries=None if config.queries is None else str(config.queries),
        text=config.text,
        every=config.every,
        pictures=config.pictures,
        views=config.views,
        seed=config.seed,
    )
    with Bar("scenes") as bar:
        result = measure_retrieval(run, device=config.device, on_start=bar.start, on_scene=bar.advance)
    name_missing(result["missing"], "queries")
    print_result(result, _table, as_json=config.json, out=config.out)
    return 0


def _table(result: dict[str, Any]) -> Any:
    from benchmarks.published_retrieval import COLUMNS
    from benchmarks.tables import percent, rows_table

    rows = [
        [f"{row['row']} ({row['kind']})" if row["kind"] == "control" else row["row"]]
        + [percent(row[name]) for name in COLUMNS]
        for row in result["rows"]
    ]
    rows += [
        [f"published: {row['row']}, {row['dataset']}", *(f"{100 * row[name]:.2f}" for name in COLUMNS)]
        for row in result["published"]
    ]
    return rows_table(
        f"scene retrieval among {result['scenes']} scenes, percent",
        ["row", *COLUMNS],
        rows,
        note=f"95 % intervals over scenes; text: {result['text']}; rows marked so are"
        f" {result['published_source']}, on scenes of their own",
    )
