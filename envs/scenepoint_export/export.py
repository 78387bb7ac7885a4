"""Scenes to ScenePoint files: render, label, caption; many at once, in processes, going on where a run was stopped.

A scene is done when its file and its captions are there. Captions are kept one small file a scene while the export
runs and are joined to the authors' files at its end. What comes out depends on the scene and the settings alone.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from envs.embodiment import AgentSpec
from envs.episodes.locate import PROCEDURAL_PREFIX
from envs.scenepoint_export.caption_files import captioned_scans, join_captions, parts_folder
from envs.scenepoint_export.pictures import paint
from envs.scenepoint_export.scene_sentences import SceneFacts, retrieval_queries, scene_captions
from envs.scenepoint_export.sightings import Boxes, look
from envs.scenepoint_export.view_sentences import view_captions
from envs.scenepoint_export.views import choose_cameras
from envs.scenepoint_export.words import dice
from envs.scenes.room_scene import ROOM_MARK, room_scene, split_room
from envs.scenes.scene import Scene
from envs.simulators.open import open_scene
from envs.simulators.raycast import RaycastSimulator
from envs.simulators.walkable.build import build_navmesh
from envs.simulators.walkable.surface import NavmeshSurface
from envs.spawned_pool import spawned_pool
from poma3d.errors import FileError, SceneError, SettingError, UserError
from poma3d.files import write_text
from poma3d.pointmap import Camera, Frame, frame_from_world
from poma3d.scenepoint.folder import scene_path
from poma3d.scenepoint.scene_file import NO_ID, SceneFile, SceneWords, StoredViews, write_scene

SCENE_CAPTIONS = 10
"""Captions written for a whole scene."""
_CAPTION_PIXELS = 112
"""Views are looked at for captions, and painted, at about this size: it does not change what can be said of them."""
_BODY_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class ExportSettings:
    """How scenes become views.

    Raises:
        SettingError: a number out of its range.
    """

    views: int = 32
    """Views of a scene; the paper's number."""
    size: int = 224
    """Rows and columns of a point map, pixels; 112 fits the encoder ``mini``."""
    hfov: float = 90.0
    """Horizontal field of view, degrees."""
    candidates: int = 256
    """Views that the best are chosen from by how much of the scene they cover."""
    farthest: float = 10.0
    """Largest z-depth that is valid, metres."""
    half: bool = False
    """Store points as float16: half the size, each coordinate off by at most 4 mm below 16 m."""
    images: bool = True
    """Also paint pictures by category, which the authors' readers expect; False saves their room on the disk."""
    seed: int = 0
    """Of cameras and words."""

    def __post_init__(self) -> None:
        for name in ("views", "size", "candidates"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"{name} must be a whole number of at least 1, found {value!r}")
        if not 0 < self.farthest < float("inf"):
            raise SettingError(f"farthest must be above 0 m, found {self.farthest!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise SettingError(f"seed must be a whole number of at least 0, found {self.seed!r}")
        Camera(self.size, self.size, self.hfov)


@dataclass(frozen=True)
class ExportedScene:
    """What became of one scene."""

    scene_id: str
    """What the world calls it."""
    scan_id: str
    """What the data set calls it."""
    path: str
    """Its file."""
    size: int
    """Bytes of the file."""
    seconds: float
    """Time taken; 0 where it had been done before."""
    problem: str = ""
    """Why it could not be exported; empty where it was."""


def scan_id_of(scene_id: str) -> str:
    """The name of a scene as that of a file: ``procedural_val_0007``; a mesh file's without folder and ending."""
    whole, room = split_room(scene_id)
    name = whole if whole.startswith(PROCEDURAL_PREFIX) else Path(whole).stem
    return re.sub(r"[^\w.-]+", "_", name if room is None else f"{name}_{room}")


def rooms_of(spec: str) -> list[str]:
    """The rooms of a scene as things to export, ``SCENE#ROOM`` each.

    Raises:
        SceneError: it does not know its rooms.
        UserError: it cannot be opened.
    """
    rooms = open_scene(spec).rooms
    if not rooms:
        raise SceneError(
            f"{spec}: the scene does not know its rooms, and only those that do are exported by room: leave --by-room"
            " out, or name rooms in a NAME.semantics.json beside it"
        )
    return [f"{spec}{ROOM_MARK}{room.name}" for room in rooms]


def source_of(scene_id: str) -> str:
    """The source that scenes are filed under where none is asked for: ``procedural`` or ``scenes``."""
    return "procedural" if scene_id.startswith(PROCEDURAL_PREFIX) else "scenes"


def export_scene(
    scene: Scene,
    root: str | os.PathLike[str],
    settings: ExportSettings | None = None,
    *,
    source: str | None = None,
    threads: int | None = None,
) -> ExportedScene:
    """Render, label and caption one scene; its captions join the data set's with `join_captions`.

    Args:
        scene: geometry and semantics.
        root: the ScenePoint folder.
        settings: how.
        source: which source it is filed under; None: `source_of`.
        threads: most threads that render.

    Raises:
        SceneError: no floor to stand on, or nothing to see from it.
        FileError: it cannot be written.
    """
    settings = settings or ExportSettings()
    began = time.perf_counter()
    root, scan_id = Path(root), scan_id_of(scene.scene_id)
    path = scene_path(root, source or source_of(scene.scene_id), scan_id)
    views, words, captions = _render(scene, settings, threads)
    write_text(parts_folder(root) / f"{scan_id}.json", json.dumps(captions, ensure_ascii=False))
    write_scene(path, views, words, half=settings.half)
    return ExportedScene(scene.scene_id, scan_id, str(path), path.stat().st_size, time.perf_counter() - began)


def _render(
    scene: Scene, settings: ExportSettings, threads: int | None
) -> tuple[StoredViews, SceneWords, dict]:
    """Views, what their ids mean, and captions, of one scene."""
    agent = AgentSpec()
    # not through the disk cache: thousands of houses are seen once each
    navmesh = build_navmesh(scene.vertices, scene.triangles, agent.navmesh_settings)
    camera = Camera(settings.size, settings.size, settings.hfov)
    depth_range = (0.0, settings.farthest)
    seed = (settings.seed, scan_id_of(scene.scene_id))
    with RaycastSimulator(scene, agent, surface=NavmeshSurface(navmesh), threads=threads) as simulator:
        poses = choose_cameras(
            simulator, settings.views, settings.candidates, settings.hfov, depth_range, dice("cameras", *seed)
        )
        to_scene = frame_from_world(Frame.SCENE)
        seen = simulator.render(
            poses, camera, frame_from_world=to_scene, depth_range=depth_range, instances=True
        )
    assert seen.instance_ids is not None
    categories = scene.categories
    room_types = tuple(sorted({room.category for room in scene.rooms}))
    place = {name: index for index, name in enumerate(categories)}
    category_of = np.array([*(place[i.category] for i in scene.instances), NO_ID], dtype=np.int16)
    category_ids = category_of[np.where(seen.valid, seen.instance_ids, -1)]  # -1 takes the last one, NO_ID
    scene_from_camera = to_scene @ poses @ _BODY_FROM_OPENCV
    step = max(1, settings.size // _CAPTION_PIXELS)
    thin = (slice(None), slice(None, None, step), slice(None, None, step))
    points, valid = seen.point_map[thin], seen.valid[thin]
    facts = look(scene, points, valid, seen.instance_ids[thin], scene_from_camera[:, :3, 3])
    boxes = Boxes(scene)
    whole = SceneFacts(scene, facts, boxes)
    captions = {
        "views": [view_captions(fact, boxes, "view", *seed, view) for view, fact in enumerate(facts)],
        "scene": scene_captions(whole, SCENE_CAPTIONS, "scene", *seed),
        "queries": [
            [query.utterance, list(query.view_ground_truth)]
            for query in retrieval_queries(whole, seed[1], "queries", *seed)
        ],
    }
    rooms = [NO_ID if fact.room is None else room_types.index(fact.room) for fact in facts]
    views = StoredViews(
        seen.point_map,
        seen.valid,
        images=paint(points, valid, category_ids[thin], categories) if settings.images else None,
        category_ids=category_ids,
        room_type_ids=np.array(rooms, dtype=np.int16),
        scene_from_camera=scene_from_camera.astype(np.float32),
        intrinsics=np.tile(camera.intrinsics, (len(poses), 1, 1)).astype(np.float32),
    )
    facts_of_file = {"scene_id": scene.scene_id, "export": asdict(settings)}
    return views, SceneWords(categories, room_types, facts_of_file), captions


def export_scenes(
    specs: Sequence[str],
    root: str | os.PathLike[str],
    settings: ExportSettings | None = None,
    *,
    source: str | None = None,
    workers: int = 1,
    on_scene: Callable[[ExportedScene], None] = lambda scene: None,
) -> list[ExportedScene]:
    """Export many scenes; those that are done stay as they are.

    Args:
        specs: mesh files, ids such as ``procedural:train:0007``, and single rooms of both (`rooms_of`).
        root: the ScenePoint folder.
        settings: how.
        source: which source they are filed under; None: `source_of`.
        workers: processes.
        on_scene: told of every scene as it is done, or found done.

    Returns:
        What became of every scene; ``problem`` says why one could not be exported.

    Raises:
        SettingError: two scenes of one name, a scene that was exported with other settings, or one that the folder
            would hold twice, whole and in rooms.
        FileError: the folder cannot be written.
        UserError: a worker was killed. What is finished stays.
    """
    settings, root = settings or ExportSettings(), Path(root)
    if workers < 1:
        raise SettingError(f"workers must be at least 1, found {workers}")
    specs = [os.fspath(spec) for spec in specs]
    names = {}
    for spec in specs:
        other = names.setdefault(scan_id_of(spec), spec)
        if other != spec:
            raise SettingError(f"{other} and {spec} would both be called {scan_id_of(spec)}; rename one")
    _refuse_twice(specs, root, source)
    done, waiting = [], []
    captioned = captioned_scans(root, {source or source_of(spec) for spec in specs})
    for spec in dict.fromkeys(specs):
        finished = _found_done(spec, root, settings, source or source_of(spec), captioned)
        (waiting if finished is None else done).append(finished or spec)
    try:
        for scene in done:
            on_scene(scene)
        for scene in _export_waiting(waiting, root, settings, source, workers):
            done.append(scene)
            on_scene(scene)
    finally:
        join_captions(root, {source or source_of(spec) for spec in specs})
    order = {spec: place for place, spec in enumerate(specs)}
    return sorted(done, key=lambda scene: order[scene.scene_id])


def _refuse_twice(specs: Sequence[str], root: Path, source: str | None) -> None:
    """A house beside its own rooms is no data set: who asks for the bedroom could be given either."""
    folders = {scene_path(root, source or source_of(spec), "").parent for spec in specs}
    there = {path.stem: path for folder in folders for path in folder.glob("*.safetensors")}
    for spec in specs if there else ():
        whole, room = split_room(spec)
        name = scan_id_of(whole)
        rivals = [other for other in there if other.startswith(f"{name}_")] if room is None else [name]
        for path in (there[rival] for rival in rivals if rival in there):
            other = SceneFile(path).words.facts.get("scene_id", "")
            other_whole, other_room = split_room(other)
            if scan_id_of(other_whole) == name and (other_room is None) != (room is None):
                raise SettingError(
                    f"{root} holds {other} and would hold {spec}, one scene whole and by room: choose another folder"
                )


def _found_done(
    spec: str, root: Path, settings: ExportSettings, source: str, captioned: set[str]
) -> ExportedScene | None:
    """A scene that was exported before; None where it must be exported."""
    scan_id = scan_id_of(spec)
    path = scene_path(root, source, scan_id)
    if not path.is_file() or not (scan_id in captioned or (parts_folder(root) / f"{scan_id}.json").is_file()):
        return None
    made_with = SceneFile(path).words.facts.get("export")
    if made_with != asdict(settings):
        raise SettingError(
            f"{path} was exported with other settings ({made_with}); choose another folder or remove it"
        )
    return ExportedScene(spec, scan_id, str(path), path.stat().st_size, 0.0)


def _export_waiting(
    specs: Sequence[str], root: Path, settings: ExportSettings, source: str | None, workers: int
) -> Iterator[ExportedScene]:
    """Export scenes here, or in processes of one thread each."""
    if workers == 1 or len(specs) < 2:
        for spec in specs:
            yield _export_one(spec, root, settings, source, None)
        return
    remedy = "run the same command again with fewer --workers: what is finished is kept"
    with spawned_pool(min(workers, len(specs)), remedy=remedy) as pool:
        futures = [pool.submit(_export_one, spec, root, settings, source, 1) for spec in specs]
        for future in as_completed(futures):
            yield future.result()


@lru_cache(maxsize=1)
def _last_opened(spec: str) -> Scene:
    """A scene that is asked for once for each of its rooms, one after another."""
    return open_scene(spec)


def _export_one(
    spec: str, root: Path, settings: ExportSettings, source: str | None, threads: int | None
) -> ExportedScene:
    """Export one scene; one that cannot be used is reported, a folder that cannot be written stops all."""
    try:
        whole, room = split_room(spec)
        scene = open_scene(whole) if room is None else room_scene(_last_opened(whole), room)
        exported = export_scene(scene, root, settings, source=source, threads=threads)
    except FileError as error:
        if Path(error.path).is_relative_to(root):
            raise UserError(str(error)) from None  # the subclass would not survive the way between processes
        return ExportedScene(spec, scan_id_of(spec), "", 0, 0.0, str(error))
    except UserError as error:
        return ExportedScene(spec, scan_id_of(spec), "", 0, 0.0, str(error))
    return ExportedScene(spec, exported.scan_id, exported.path, exported.size, exported.seconds)
