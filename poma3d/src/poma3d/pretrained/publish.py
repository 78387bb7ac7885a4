"""Put the weights of a finished pretraining into the package, and write their model card.

    python -m poma3d.pretrained.publish runs/mini --data "..." --hardware "..."   # weights and facts, float16
    pomagym bench encoder ... --row shipped=poma3d-mini --card                   # the table, and the card from it

The weights are stored as float16: half the file. `publish` refuses them where that changes the features by more than
`TOLERANCE`; weights that are refused leave those of before where they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from poma3d.checkpoint_layouts import ENCODER_FILE
from poma3d.checkpoints import load_encoder, save_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.errors import FileError, SettingError, UserError
from poma3d.files import atomic_path, write_text
from poma3d.pretrained import FOLDER, SHIPPED, encoder_file, facts_file, text_file
from poma3d.pretrained.golden import golden_features, golden_view
from poma3d.towers.mini_text import MiniText
from poma3d.training.checkpoint import checkpoints, read_state
from poma3d.training.log import read_log
from poma3d.training.settings import read_recipe

MOST_BYTES = 16_000_000
"""Of both files together."""
TOLERANCE = 0.01
"""Largest change of a feature of the golden view by float16, over the features' deviation."""


def publish(
    run: Path,
    *,
    data: str,
    hardware: str,
    command: str = "",
    name: str = SHIPPED[0],
    folder: Path = FOLDER,
) -> dict[str, Any]:
    """Store a run's encoder and text tower under a short name; returns the facts that are written beside them.

    Args:
        run: the folder of a finished pretraining.
        data: what it was trained on, in words or as the command that made it.
        hardware: what it was trained on, in words.
        command: the command that trained it.
        name: one of `SHIPPED`.
        folder: where to.

    Raises:
        FileError: the run is not finished, or the files would be larger than `MOST_BYTES`.
        SettingError: float16 changes the features too much.
    """
    encoder = load_encoder(run / ENCODER_FILE)
    text = MiniText.load(run / "text.safetensors")
    whole = read_recipe(run)
    recipe = {key: value for key, value in whole.items() if key not in ("data", "warm_up_data", "start")}
    stages = training_time(run, whole)
    notes = {"data": data, "command": command, "recipe": recipe}
    half = torch.float16
    with (
        atomic_path(encoder_file(name, folder)) as encoder_path,
        atomic_path(text_file(name, folder)) as text_path,
    ):
        hashes = {
            "weights_sha256": save_encoder(encoder, encoder_path, notes=notes, dtype=half),
            "text_sha256": text.save(text_path, notes={"data": data}, dtype=half),
        }
        stored, stored_text = load_encoder(encoder_path), MiniText.load(text_path)
        size = encoder_path.stat().st_size + text_path.stat().st_size
        if size > MOST_BYTES:
            raise FileError(
                encoder_file(name, folder), f"and its text tower take {size:,} bytes of {MOST_BYTES:,}"
            )
        change = _change(encoder, stored)
        if not change <= TOLERANCE:
            raise SettingError(
                f"float16 changes features by {change:.3f} of their deviation, more than {TOLERANCE}"
            )
    facts = {
        "name": name,
        **hashes,
        "bytes": size,
        "parameters": sum(weight.numel() for weight in stored.parameters()),
        "text_parameters": sum(weight.numel() for weight in stored_text.parameters()),
        "float16_change": round(change, 5),
        "data": data,
        "hardware": hardware,
        "command": command,
        "recipe": recipe,
        "stages": stages,
        "golden": golden_features(stored, stored_text),
    }
    write_text(facts_file(name, folder), json.dumps(facts, indent=2, sort_keys=True) + "\n")
    return facts


def training_time(run: Path, recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Steps, views and seconds of each stage of a run, from its logs."""
    rows = []
    for name, key in (("warm-up", "warm_up"), ("main", "main")):
        folder = run / name
        if not (folder / "log.jsonl").is_file():
            continue
        stage, last = recipe[key], checkpoints(folder)
        processes = read_state(last[-1])["processes"] if last else 1
        views = (
            stage["batch"]
            * stage["accumulate"]
            * (1 if stage["single_views"] else stage["views"])
            * processes
        )
        seconds, before = 0.0, 0
        for line in read_log(folder):
            if "time_images_per_second" in line:
                seconds += (line["step"] - before) * views / line["time_images_per_second"]
                before = line["step"]
        rows.append({"stage": name, "steps": before, "views": before * views, "seconds": round(seconds)})
    return rows + _settling_time(run / "settle")


def _settling_time(folder: Path) -> list[dict[str, Any]]:
    """The same of settling, whose views are encoded once; nothing where it was left out or its log has no times."""
    lines = read_log(folder) if (folder / "log.jsonl").is_file() else []
    if not lines or "time_seconds" not in lines[-1]:
        return []
    last = lines[-1]
    return [
        {
            "stage": "settle",
            "steps": last["step"],
            "views": last["encoded_views"],
            "seconds": round(last["time_seconds"]),
        }
    ]


@torch.no_grad()
def _change(encoder: PointMapEncoder, stored: PointMapEncoder) -> float:
    """Largest change of a patch feature of the golden view, over the features' deviation."""
    view = golden_view(encoder.config.image_size)
    before, after = encoder(*view).patch_tokens, stored(*view).patch_tokens
    return float((before - after).abs().max() / before.std())


def main() -> None:
    """Publish the run that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m poma3d.pretrained.publish", description="Put the weights of a run into the package."
    )
    parser.add_argument("run", type=Path, help="folder of a finished pomagym pretrain")
    parser.add_argument("--data", required=True, help="what it was trained on, in words")
    parser.add_argument("--hardware", required=True, help="what trained it, in words")
    parser.add_argument("--command", default="", help="the command that trained it; several with && between")
    parser.add_argument("--name", choices=SHIPPED, default=SHIPPED[0])
    options = parser.parse_args()
    try:
        facts = publish(
            options.run,
            data=options.data,
            hardware=options.hardware,
            command=options.command,
            name=options.name,
        )
    except UserError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(json.dumps({key: facts[key] for key in ("name", "weights_sha256", "bytes", "stages")}, indent=2))


if __name__ == "__main__":
    main()
