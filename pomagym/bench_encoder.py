"""The part `encoder` of `pomagym bench`: ways of pretraining beside their controls, in one table."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Encoder:
    """Compare encoders by retrieval, probes, consistency of views, effective rank and transfer, beside controls.

    Chance and random weights are always among the rows. What is measured is kept in --out: the same command goes on
    where it was stopped, and rows can be added.

    For example:

        pomagym bench encoder --row mini=runs/mini --validation data/val --out results/encoder
        pomagym bench encoder --validation data/val --transfer small_house=data/small_house \\
            --row "alignment=runs/a0,runs/a1,runs/a2" --row "Chamfer JEPA=runs/c0,runs/c1,runs/c2"
    """

    row: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=RUN, or NAME=RUN,RUN,... for several seeds: folders of pretrainings, or what load_encoder takes. May be
    given several times; default: poma3d-mini."""
    validation: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """A ScenePoint folder that no encoder was trained on; may be given several times."""
    transfer: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=FOLDER: other scenes that the probes are scored on as well; may be given several times."""
    rooms: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """A ScenePoint folder of single rooms (pomagym scenes export --by-room), as most scans of ScanNet are: scenes are
    found by text there as well; may be given several times."""
    against: str | None = None
    """The row that the others are compared with scene by scene; default: the first."""
    views: int = 32
    """Views of a scene."""
    seed: int = 0
    """Of the first encoder with random weights."""
    random_seeds: int = 3
    """Encoders with random weights."""
    threads: int | None = None
    """Threads of torch; default: as many as it takes."""
    card: bool = False
    """Also write the model card of poma3d-mini into the package; a row must have measured it."""
    out: Path = Path("results/encoder")
    """Folder that gets table.md, table.json, rank.png and what was measured."""
    json: bool = False
    """Print the table as JSON, alone on standard output."""


def encoder(config: Encoder) -> int:
    """Measure, write and print the table."""
    import torch

    from benchmarks import encoder_ranks
    from benchmarks.machine import provenance
    from benchmarks.tables import markdown_parts, print_table
    from poma3d.errors import SettingError
    from poma3d.evaluation.table import Row, make_table, open_checkpoint
    from poma3d.evaluation.table_data import TableData
    from poma3d.evaluation.table_text import markdown
    from poma3d.files import check_folder, write_text
    from poma3d.pretrained import SHIPPED
    from poma3d.pretrained.card import write_card
    from pomagym.progress import Bar

    if not config.validation:
        raise SettingError(
            "there are no held-out scenes: --validation FOLDER (pomagym scenes export makes one)"
        )
    check_folder(config.out)
    if config.threads is not None:
        torch.set_num_threads(max(config.threads, 1))
    rows = [Row.parse(text) for text in config.row or SHIPPED[:1]]
    transfer = dict(_named(text) for text in config.transfer)
    size = open_checkpoint(rows[0].checkpoints[0])[0].config.image_size
    data = TableData(
        [str(folder) for folder in config.validation],
        transfer,
        size,
        views=config.views,
        rooms=[str(folder) for folder in config.rooms],
    )
    with Bar("measuring") as bar:

        def start(what: str, scenes: int) -> None:
            bar.start(scenes)
            if not sys.stderr.isatty():
                print(f"pomagym: measuring {what}", file=sys.stderr)

        table = make_table(
            rows,
            data,
            config.out / "measured",
            random_seeds=config.random_seeds,
            first_seed=config.seed,
            against=config.against,
            on_start=start,
            on_scene=bar.advance,
        )
    found = encoder_ranks.histories({row.name: row.checkpoints for row in rows})
    table |= {
        "rank_along_training": encoder_ranks.summaries(found),
        **provenance(),
    }
    text, encoded = markdown(table), json.dumps(table, indent=2, allow_nan=False)
    write_text(config.out / "table.json", encoded + "\n")
    write_text(config.out / "table.md", text)
    if found:
        encoder_ranks.draw(found, config.out / "rank.png")
    if config.card:
        print(f"card: {write_card(table)}", file=sys.stderr)
    if config.json or not sys.stdout.isatty():
        print(encoded if config.json else text)
    else:  # a terminal would fold the lines of a Markdown table
        for part in markdown_parts(text):
            print(part) if isinstance(part, str) else print_table(part)
    print(f"results: {config.out}", file=sys.stderr)
    return 0


def _named(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    return (name, folder) if equals else (Path(text).name, text)
