"""`pomagym view`: look at a scene, an episode file, a results folder or a training as a page in the browser."""

from __future__ import annotations

import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Config:
    """Write a page about a scene, an episode file, a results folder or a training, and print where it is.

    The page is one HTML file that needs no network.

    For example:

        pomagym view results/oracle --open
        pomagym view runs/mini
        pomagym view results/msnn
        pomagym view house.glb
        pomagym view house.navmesh
        pomagym view procedural:val:0003 --out house.html
        pomagym view val.json.gz --scenes-dir data/scene_datasets
    """

    what: tyro.conf.Positional[str]
    """A results folder, a benchmark's folder or its JSON file, the folder of a training (policy, head or backbone), a
    scene (.glb, .gltf, .obj, .ply, .scene_instance.json), procedural:SPLIT:000N for house N of train, val or test, an
    episode file (.json.gz), or a navmesh of Habitat's (.navmesh)."""
    out: Path | None = None
    """The page to write, ending in .html; default: index.html in a results folder, training.html in a training's,
    NAME.html beside a benchmark's JSON file, else here."""
    open: bool = False
    """Open the page in the browser."""
    seed: int = 0
    """Another seed looks at a scene from other places."""
    scenes_dir: Path | None = None
    """Folder below which the scenes named in an episode file lie, such as data/scene_datasets."""


def execute(config: Config) -> int:
    """Write the page that fits what was given."""
    page = _write(config)
    print(page)
    if config.open and not webbrowser.open(page.resolve().as_uri()):
        print("pomagym: there is no browser to open; the page is there all the same", file=sys.stderr)
    return 0


def _write(config: Config) -> Path:
    from poma3d.errors import FileError, SettingError

    what = config.what
    if config.out is not None and config.out.suffix.lower() not in (".html", ".htm"):
        raise SettingError(f"--out must name a page that ends in .html, found {config.out}")
    path = Path(what)
    if path.is_dir():
        return _folder_page(path, config.out)
    if what.startswith("procedural:"):
        from benchmarks.scene_page import scene_page
        from envs.scenes.houses import parse_procedural

        what, *more = parse_procedural(what)
        if more:
            raise SettingError(f"{config.what} are {1 + len(more)} houses; name one house: {what}")
        return scene_page(what, config.out or Path(what.replace(":", "-") + ".html"), seed=config.seed)
    if not path.exists():
        raise FileError(
            path,
            "is not there; a results folder, a training, a scene, procedural:SPLIT:000N, an episode file or a"
            " .navmesh is viewed",
        )
    if path.name.endswith((".json.gz", ".gz")):
        from benchmarks.episodes_page import episodes_page

        out = config.out or Path(path.name.split(".json")[0] + ".html")
        return episodes_page(path, out, scenes_dir=config.scenes_dir)
    if path.suffix.lower() == ".navmesh":
        from benchmarks.navmesh_page import navmesh_page

        return navmesh_page(path, config.out or Path(path.name + ".html"))
    if path.suffix.lower() == ".json" and not path.name.endswith(".scene_instance.json"):
        from benchmarks.rows_page import write_rows_page

        return write_rows_page(path, config.out)
    from benchmarks.scene_page import scene_page

    return scene_page(path, config.out or Path(path.stem + ".html"), seed=config.seed)


def _folder_page(folder: Path, out: Path | None) -> Path:
    """The page of a training, of a benchmark's table, or of episodes."""
    from benchmarks.report import write_report
    from benchmarks.report_runs import read_runs
    from benchmarks.rows_page import find_table, write_rows_page
    from benchmarks.training_page import holds_training, write_training_page

    if holds_training(folder):
        return write_training_page(folder, out)
    if not read_runs(folder) and find_table(folder):
        return write_rows_page(folder, out)
    return write_report(folder, out)
