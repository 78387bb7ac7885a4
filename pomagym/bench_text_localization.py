"""`pomagym bench localization --query text`: find the views of a scene by what an agent says of where it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pomagym.head_options import split_beside
from pomagym.printing import name_missing, print_result


def text_localization(
    *,
    scenes: tuple[str, ...],
    data: str | None,
    encoder: str,
    split: Path | None = None,
    text: str | None = None,
    long: bool = False,
    views: int = 32,
    device: str = "auto",
    seed: int = 0,
    out: Path | None = None,
    pictures: int = 0,
    as_json: bool = False,
) -> int:
    """Measure, draw the first situations, print the table or the JSON.

    Args:
        scenes: ScenePoint folders.
        data: the file of situations (`--data`).
        encoder: the weights.
        split: a list of the scenes to ask in; None: the ``*_val.txt`` beside the data, else all.
        text: the text tower; None: the one the encoder is aligned with.
        long: take the tower's path for long texts.
        views: views of a scene, the first ones.
        device: auto, cpu or cuda.
        seed: of the random weights that serve as control.
        out: a folder that gets ``summary.json`` and ``pictures/``.
        pictures: of how many situations a picture is drawn, evenly over all; they need ``out``.
        as_json: print the JSON instead of the table.
    """
    from benchmarks.text_localization import TextLocalizationRun, measure_text_localization
    from poma3d.errors import SettingError
    from poma3d.files import check_folder, write_text
    from pomagym.progress import Bar

    if data is None:
        raise SettingError("a file of situations in MSNN's schema is needed: name it with --data")
    if pictures < 0:
        raise SettingError(f"the number of pictures must be at least 0, found {pictures}")
    if pictures and out is None:
        raise SettingError("pictures need a folder to be written to: name it with --out")
    if out is not None:
        check_folder(out)
    split = split or split_beside([Path(data)], "val")
    chosen = None if split is None else str(split)
    run = TextLocalizationRun(scenes, encoder, text, views, seed, samples=data, split=chosen, long=long)
    with Bar("scenes") as bar:
        result = measure_text_localization(run, device=device, on_start=bar.start, on_scene=bar.advance)
    answers = result.pop("answers")
    name_missing(result["missing"], "situations")
    print_result(result, _table, as_json=as_json, out=None if out is None else out / "summary.json")
    if out is not None:
        lines = (json.dumps(answer, allow_nan=False) + "\n" for answer in answers)
        write_text(out / "answers.jsonl", "".join(lines))
        _draw(run, answers, out / "pictures", pictures)
        print(f"results: {out}", file=sys.stderr)
    return 0


def _draw(run: Any, answers: list[dict[str, Any]], folder: Path, count: int) -> None:
    """Pictures of some answers."""
    from benchmarks.text_localization_picture import write_pictures
    from pomagym.progress import Bar

    chosen = answers[:: max(1, len(answers) // max(count, 1))][:count]
    with Bar("pictures", len(chosen)) as bar:
        write_pictures(run, chosen, folder, on_picture=bar.advance)


def _table(result: dict[str, Any]) -> Any:
    from benchmarks.tables import percent, rows_table
    from benchmarks.text_localization import TOPS

    rows = []
    for row in result["rows"]:
        metres = row["distance"]
        low, high = metres["ci95"]
        rows.append(
            [
                f"{row['row']} (control)" if row["kind"] == "control" else row["row"],
                *(percent(row[f"top-{top}"]) for top in TOPS),
                f"{metres['median']:.2f} [{low:.2f}, {high:.2f}]",
            ]
        )
    return rows_table(
        f"where am I, from text: {result['situations']} situations in {result['scenes']} scenes, percent",
        ["row", *(f"top {top}" for top in TOPS), "metres, median"],
        rows,
        note=f"right: a view within {result['near_m']:g} m and {result['turned_deg']:g} degrees of the situation is"
        f" among the best K; metres to the first; 95 % intervals over scenes; text: {result['text']}",
    )
