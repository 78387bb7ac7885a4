"""`pomagym scenes`: the scenes there are, procedural houses written as files, and ScenePoint data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pomagym.scenepoint import CheckScenePoint, ConvertScans, ExportScenes, check, convert, export

_MESH_ENDINGS = (".glb", ".gltf", ".obj", ".ply")


@dataclass(frozen=True)
class ListScenes:
    """List what scenes there are: procedural splits, public data sets, and the mesh files of a folder.

    For example:

        pomagym scenes list
        pomagym scenes list data/scene_datasets
    """

    folder: tyro.conf.Positional[Path | None] = None
    """A folder to look through, with all below it, for mesh files and composed scenes, such as
    data/scene_datasets."""
    json: bool = False
    """Print the list as JSON, alone on standard output."""


@dataclass(frozen=True)
class GenerateScenes:
    """Write procedural houses as .glb files, each with its semantics in a .semantics.json beside it.

    For example:

        pomagym scenes generate --split val --count 5 --out houses
    """

    out: Path
    """Folder to write into; made where it is absent."""
    split: str = "val"
    """Which houses: train, val or test. The splits share no house."""
    count: int = 5
    """How many."""
    first: int = 0
    """Number of the first one; a number is always the same house, from 0 in each split."""
    json: bool = False
    """Print the files written as JSON, alone on standard output."""


Config = (
    Annotated[ListScenes, tyro.conf.subcommand("list")]
    | Annotated[GenerateScenes, tyro.conf.subcommand("generate")]
    | Annotated[ExportScenes, tyro.conf.subcommand("export")]
    | Annotated[ConvertScans, tyro.conf.subcommand("convert")]
    | Annotated[CheckScenePoint, tyro.conf.subcommand("check")]
)


def execute(config: ListScenes | GenerateScenes | ExportScenes | ConvertScans | CheckScenePoint) -> int:
    """Do the part that was asked for."""
    match config:
        case ListScenes():
            return _list(config)
        case GenerateScenes():
            return _generate(config)
        case ExportScenes():
            return export(config)
        case ConvertScans():
            return convert(config)
        case CheckScenePoint():
            return check(config)


def _list(config: ListScenes) -> int:
    from envs.scenes.catalogue import CATALOGUE
    from envs.scenes.datasets.listing import find_scenes
    from poma3d.errors import FileError

    if config.folder is not None and not config.folder.is_dir():
        raise FileError(config.folder, "is no folder")
    files = [] if config.folder is None else find_scenes(config.folder)
    procedural = [f"procedural:{split}:N" for split in ("train", "val", "test")]
    if config.json:
        public = [asdict(scenes) for scenes in CATALOGUE]
        scenes = [
            {
                "file": str(file.path),
                "scene_id": file.scene_id,
                "data_set": file.data_set,
                "navmesh": None if file.navmesh is None else str(file.navmesh),
                "semantics": file.semantics,
            }
            for file in files
        ]
        listed = [str(file.path) for file in files]
        print(
            json.dumps(
                {"procedural": procedural, "public": public, "files": listed, "scenes": scenes}, indent=2
            )
        )
        return 0
    print("Procedural houses (nothing to download; N houses of a split):")
    print("  " + "  ".join(procedural))
    print("Published by others (fetch them from their makers, under their terms):")
    for scenes in CATALOGUE:
        print(f"  {scenes.name:<20} {scenes.what} ({scenes.terms})\n{'':23}{scenes.address}")
    if config.folder is not None:
        print(f"Scenes in {config.folder}:")
        for file in files:
            extras = [file.data_set or "", "navmesh" * (file.navmesh is not None), "objects" * file.semantics]
            size = f"{file.path.stat().st_size / 2**20:.1f} MiB"
            print(f"  {file.path}  {', '.join([size, *filter(None, extras)])}")
        if not files:
            print(f"  none ({', '.join(_MESH_ENDINGS)})")
    return 0


def _generate(config: GenerateScenes) -> int:
    from envs.scenes.houses import house
    from envs.scenes.mesh import save_scene
    from poma3d.errors import SettingError
    from pomagym.progress import Bar

    if config.count < 1:
        raise SettingError(f"at least 1 house is needed, found --count {config.count}")
    written = []
    with Bar("houses", config.count) as bar:
        for number in range(config.first, config.first + config.count):
            scene = house(f"procedural:{config.split}:{number}")
            path = config.out / f"{config.split}_{number:05d}.glb"
            save_scene(scene, path)
            written.append((path, scene))
            bar.advance(path.name)
    if config.json:
        facts = [
            {"file": str(path), "triangles": len(scene.triangles), "rooms": len(scene.rooms)}
            for path, scene in written
        ]
        print(json.dumps({"scenes": facts}, indent=2))
    else:
        for path, scene in written:
            things = len(scene.instances)
            print(f"{path}  {len(scene.rooms)} rooms, {things} things, {len(scene.triangles):,} triangles")
    return 0
