"""The model card of weights in the package, from their facts and a table that measured them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poma3d.errors import FileError, SettingError
from poma3d.evaluation.table_text import markdown
from poma3d.files import write_text
from poma3d.pretrained import FOLDER, SHIPPED, card_file, encoder_file, facts_file, text_file

_LIMITS = """\
- Trained on procedural houses alone: boxes for walls, simple furniture, no clutter, no sensor noise, no missing depth
  but what lies beyond 10 m. The rows `transfer` of the table say what is left of it on two scenes made by others.
- It reads point maps of {size} x {size} pixels, metres, z up, floor near 0, as `poma3d.pointmap.Frame.SCENE` or
  `Frame.AGENT`; other units, axes or a floor far from 0 were not seen in training.
- Its text tower knows the sentences of `pomagym scenes export`; free language is spelled out in bytes and mostly not
  understood.
- Patches were aligned with the words for the categories they show, and rooms are named in the captions: the probes
  say what the features hold, not what arises without labels.
- These weights are one seed, and intervals are over scenes; what another training changes stands behind ± in rows of
  several seeds{untimed}.
- It is small and no substitute for POMA-3D's published weights; none of its numbers can be compared with the paper's.
{jepa}"""
_WEIGHT_ONE = """\
- POMA-JEPA's gradient on the encoder was about a hundredth of alignment's, at its weight of 1: read these weights as
  alignment's. `docs/pretraining.md` says what larger weights do.
"""


def write_card(table: Mapping[str, Any], *, name: str = SHIPPED[0], folder: Path = FOLDER) -> Path:
    """Write the card of a short name.

    Args:
        table: of `poma3d.evaluation.table.make_table`, with ``hardware`` and ``command`` where known; one of its rows
            must have measured these very weights.
        name: one of `SHIPPED`.
        folder: where the weights are.

    Raises:
        FileError: the facts are missing or damaged.
        SettingError: no row of the table measured these weights.
    """
    facts = read_facts(name, folder)
    rows = [
        row["row"]
        for row in table["rows"]
        if any(seed["weights_sha256"] == facts["weights_sha256"] for seed in row["checkpoints"])
    ]
    if not rows:
        raise SettingError(
            f"no row of the table measured the weights {name} ({facts['weights_sha256'][:12]}):"
            f" measure them as a row of their own, --row {name}={name}"
        )
    path = card_file(name, folder)
    write_text(path, card(facts, table, rows[0]))
    return path


def _commands(line: str) -> str:
    """Commands that are joined by ``&&``, one after the other."""
    return ", then ".join(f"`{command}`" for command in line.split(" && "))


def read_facts(name: str = SHIPPED[0], folder: Path = FOLDER) -> dict[str, Any]:
    """What `poma3d.pretrained.publish` wrote of the weights.

    Raises:
        FileError: it is missing or damaged.
    """
    path = facts_file(name, folder)
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FileError(path, f"holds no facts of the weights ({error})") from error


def card(facts: Mapping[str, Any], table: Mapping[str, Any], row: str) -> str:
    """The card's text; ``row`` is the row of the table that measured the weights."""
    name, encoder = facts["name"], facts["recipe"]["encoder"]
    stages = [
        f"| {stage['stage']} | {stage['steps']:,} | {stage['views']:,} | {stage['seconds'] / 3600:.2f} h |"
        for stage in facts["stages"]
    ]
    hours = sum(stage["seconds"] for stage in facts["stages"]) / 3600
    timed = {stage["stage"] for stage in facts["stages"]}
    settles = facts["recipe"].get("settle", {}).get("steps", 0) > 0
    untimed = "; the time above leaves out settling" if settles and "settle" not in timed else ""
    measured = [f"Command: `{table['command']}`.", ""] if table.get("command") else []
    return "\n".join(
        [
            f"# {name}",
            "",
            "A small point-map encoder after POMA-3D (arXiv 2511.16567) with the text tower that trained beside it.",
            f"Written by `pomagym bench encoder --card`; in the table its row is **{row}**.",
            "",
            "```python",
            f'encoder = poma3d.checkpoints.load_encoder("{name}")',
            f'text = poma3d.towers.loading.load_text("{name}")',
            "```",
            "",
            "| | |",
            "|---|---|",
            f"| encoder | {facts['parameters']:,} weights, {encoder['depth']} layers of {encoder['width']}, patches"
            f" of {encoder['patch_size']} in {encoder['image_size']} pixels, embedding {encoder['embedding']} |",
            f"| text tower | {facts['text_parameters']:,} weights |",
            f"| files | `{encoder_file(name).name}`, `{text_file(name).name}`, float16,"
            f" {facts['bytes'] / 1e6:.1f} MB together |",
            f"| weights_sha256 | `{facts['weights_sha256']}` |",
            f"| text weights_sha256 | `{facts['text_sha256']}` |",
            f"| float16 | changes a feature by at most {facts['float16_change']:.4f} of the features' deviation;"
            " the measures below are of the float16 weights |",
            "",
            "## Training",
            "",
            "| | |",
            "|---|---|",
            f"| data | {facts['data']} |",
            *([f"| command | {_commands(facts['command'])} |"] if facts["command"] else []),
            f"| seed | {facts['recipe']['seed']} |",
            f"| hardware | {facts['hardware']} |",
            f"| time | {hours:.2f} h |",
            "",
            "| stage | optimiser steps | views | time |",
            "|---|---:|---:|---:|",
            *stages,
            "",
            "The whole recipe is in the file's metadata (`notes`) and in"
            f" `{facts_file(name).name}`; how it is run: `docs/pretraining.md`.",
            "",
            "## Measures",
            "",
            *measured,
            markdown(table),
            "## Limits",
            "",
            _LIMITS.format(
                size=encoder["image_size"],
                untimed=untimed,
                jepa=_WEIGHT_ONE if facts["recipe"].get("jepa", {}).get("weight") == 1 else "",
            ),
            "## Licence",
            "",
            "MIT, as the project. No scene of others was trained on.",
            "",
        ]
    )
