"""Scans to ScenePoint: the frames that cover most, their depth turned to points, one file a scan.

Single images for the warm-up are packed, many to a file, each a view that is a scene of its own
(``DataSettings(single_views=True)``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from poma3d.errors import FileError, SettingError, UserError
from poma3d.pointmap import resize, transform_points, unproject
from poma3d.scenepoint.captions import MOST, ViewCaption, write_view_captions
from poma3d.scenepoint.converters.layouts import layout_of
from poma3d.scenepoint.converters.scan import RgbdFrame, Scan
from poma3d.scenepoint.coverage import choose_views
from poma3d.scenepoint.folder import SUFFIX, scene_path, source_folder, view_captions_path
from poma3d.scenepoint.scene_file import SceneFile, SceneWords, StoredViews, write_scene

_PROBES = 32
"""Pixels along each side of a frame that its cover is judged by."""


@dataclass(frozen=True)
class ConvertSettings:
    """How scans become views.

    Raises:
        SettingError: a number out of its range.
    """

    views: int = 32
    """Most views of a scene; the paper's number."""
    size: int = 224
    """Rows and columns of a point map, pixels. The whole frame is sampled to a square, as the authors' loader does
    with its pictures; points stay where they were measured."""
    candidates: int = 300
    """Frames, evenly over the scan, that the views are chosen from."""
    farthest: float = 10.0
    """Largest depth that is valid, metres."""
    half: bool = False
    """Store points as float16: half the size, each coordinate off by at most 4 mm below 16 m."""
    median_depth: float | None = None
    """Scale each scan so that the median depth of its first view is this many metres; for depths whose unit is not
    the metre, such as VGGT's. None leaves them."""

    def __post_init__(self) -> None:
        for name in ("views", "size", "candidates"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"{name} must be a whole number of at least 1, found {value!r}")
        for name in ("farthest", "median_depth"):
            value = getattr(self, name)
            if not (name == "median_depth" and value is None) and not 0 < value < float("inf"):
                raise SettingError(f"{name} must be above 0 m, found {value!r}")


@dataclass(frozen=True)
class ConvertedScan:
    """What became of one scan."""

    scan_id: str
    """Its name."""
    path: str
    """Its file; empty where there is none. Of a single image, the file that it was read from."""
    views: int
    """Views written; 0 where it was converted before."""
    problem: str = ""
    """Why it could not be converted; empty where it was."""


def convert_scans(
    layout: str,
    scans: Sequence[str | os.PathLike[str]],
    root: str | os.PathLike[str],
    settings: ConvertSettings | None = None,
    *,
    source: str | None = None,
    on_scan: Callable[[ConvertedScan], None] = lambda scan: None,
) -> list[ConvertedScan]:
    """Convert scans; those that were converted with these settings stay, a bad one is reported and passed over.

    Args:
        layout: one of `LAYOUTS`.
        scans: their folders, such as `find_scans` finds.
        root: the ScenePoint folder.
        settings: how.
        source: which source they are filed under; None: the layout's name.
        on_scan: told of each as it is done.

    Raises:
        SettingError: no such layout, two scans of one name, or scans of this source that were converted with other
            settings.
        FileError: the ScenePoint folder cannot be written, or a scene that is there cannot be read.
    """
    read_scan, settings, root = layout_of(layout).read_scan, settings or ConvertSettings(), Path(root)
    names: dict[str, Path] = {}
    for folder in map(Path, scans):
        name = folder.stem if folder.suffix == ".npz" else folder.name
        if name in names:
            raise SettingError(
                f"{names[name]} and {folder} would both be called {name}: give them names of their own"
            )
        names[name] = folder
    _refuse_other_settings(scene_path(root, source or layout, "").parent, settings)
    results = []
    for name, folder in names.items():
        path = scene_path(root, source or layout, name)
        if path.is_file():
            results.append(ConvertedScan(name, str(path), 0))
        else:
            try:
                views = scan_views(read_scan(folder), settings)
                facts = {"source": layout, "convert": asdict(settings)}
                write_scene(path, views, SceneWords(facts=facts), half=settings.half)
                results.append(ConvertedScan(name, str(path), len(views.valid)))
            except UserError as error:
                if isinstance(error, FileError) and Path(error.path).is_relative_to(root):
                    raise
                results.append(ConvertedScan(name, "", 0, str(error)))
        on_scan(results[-1])
    return results


def _refuse_other_settings(folder: Path, settings: ConvertSettings) -> None:
    """Scans of one source have one size and scale: those that are there must have been converted likewise.

    Raises:
        SettingError: one was converted with other settings; the message names what differs.
    """
    wanted = asdict(settings)
    for path in sorted(folder.glob(f"[!.]*{SUFFIX}")):
        made_with = SceneFile(path).words.facts.get("convert")
        if not isinstance(made_with, dict):  # the authors' files do not say, and stay as they are
            continue
        differs = [
            f"{name} was {made_with.get(name)!r}, now {value!r}"
            for name, value in wanted.items()
            if made_with.get(name) != value
        ]
        if differs:
            raise SettingError(
                f"{path} was converted with other settings ({'; '.join(differs)}): give those again,"
                f" choose another folder, or remove {folder} to convert all anew"
            )


def scan_views(scan: Scan, settings: ConvertSettings) -> StoredViews:
    """The views of a scan that cover it best.

    Raises:
        FileError: a frame cannot be read, or none has a depth.
    """
    count = min(len(scan.frames), settings.candidates)
    if not count:
        raise FileError(scan.folder, "has no frame with a depth and a pose")
    candidates = [scan.frames[i] for i in np.linspace(0, len(scan.frames) - 1, count).round().astype(int)]
    seen = [_probe(frame, settings) for frame in candidates]
    if not any(len(points) for points in seen):
        raise FileError(scan.folder, f"no frame has a depth between 0 and {settings.farthest:g} m")
    chosen = [candidates[i] for i in choose_views(seen, settings.views)]
    return _scaled([_view(frame, settings) for frame in chosen], settings)


def _points(frame: RgbdFrame, settings: ConvertSettings) -> tuple[np.ndarray, np.ndarray]:
    """Points (H, W, 3) float32 in the scene's frame and their validity, at the depth's own size."""
    depth = frame.read_depth()
    if settings.median_depth is None:  # else metres are not known yet
        depth = np.where(depth <= settings.farthest, depth, 0)
    points, valid = unproject(depth.astype(np.float64), frame.intrinsics)
    return transform_points(frame.scene_from_camera, points, valid).astype(np.float32), valid


def _probe(frame: RgbdFrame, settings: ConvertSettings) -> np.ndarray:
    """A few hundred of the points (N, 3) that a frame sees."""
    points, valid = resize(*_points(frame, settings), _PROBES, _PROBES)
    return points[valid]


@dataclass(frozen=True)
class _View:
    """One view before it is stacked with others."""

    points: np.ndarray
    valid: np.ndarray
    image: np.ndarray
    pose: np.ndarray
    intrinsics: np.ndarray


def _view(frame: RgbdFrame, settings: ConvertSettings) -> _View:
    points, valid = _points(frame, settings)
    size, (height, width) = settings.size, valid.shape
    image = Image.fromarray(frame.read_image())
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    matrix = np.diag([size / width, size / height, 1.0]) @ frame.intrinsics
    points, valid = resize(points, valid, size, size)
    return _View(points, valid, np.asarray(image), frame.scene_from_camera, matrix)


def _scaled(views: Sequence[_View], settings: ConvertSettings) -> StoredViews:
    """Views stacked, and brought to scale where that is asked for."""
    points, valid = np.stack([view.points for view in views]), np.stack([view.valid for view in views])
    poses = np.stack([view.pose for view in views])
    if settings.median_depth is not None:
        first = (points[0][valid[0]] - poses[0, :3, 3]) @ poses[0, :3, 2]  # along the first camera's axis
        factor = settings.median_depth / float(np.median(first)) if len(first) else 1.0
        points, poses = points * np.float32(factor), poses.copy()
        poses[:, :3, 3] *= factor
        along = np.einsum("vhwc,vc->vhw", points - poses[:, None, None, :3, 3], poses[:, :3, 2])
        valid = valid & (along <= settings.farthest)
        points[~valid] = 0
    return StoredViews(
        points.astype(np.float32),
        valid,
        images=np.stack([view.image for view in views]),
        scene_from_camera=poses.astype(np.float32),
        intrinsics=np.stack([view.intrinsics for view in views]).astype(np.float32),
    )


def convert_images(
    files: Sequence[str | os.PathLike[str]],
    root: str | os.PathLike[str],
    settings: ConvertSettings | None = None,
    *,
    layout: str = "vggt",
    source: str = "images",
    pack: int = 512,
    on_file: Callable[[ConvertedScan], None] = lambda scan: None,
) -> list[ConvertedScan]:
    """Convert single images with depth and camera for the warm-up: ``pack`` views to a file, each its own scene.

    Captions, one a line and up to five, are taken from ``NAME.txt`` beside ``NAME.npz``; of a folder ``NAME`` from the
    ``predictions.txt`` in it, else from ``NAME.txt`` beside it.

    Args:
        files: one each image; of several views in a file the first counts.
        root: the ScenePoint folder; its captions of this source are written anew.
        settings: how.
        layout: one of `LAYOUTS`.
        source: which source they are filed under.
        pack: images to a file.
        on_file: told of each image as it is done.

    Returns:
        What became of every image.

    Raises:
        SettingError: no such layout, or ``pack`` below 1.
        FileError: the ScenePoint folder cannot be written.
    """
    read_scan, settings, root = layout_of(layout).read_scan, settings or ConvertSettings(), Path(root)
    if pack < 1:
        raise SettingError(f"pack must be at least 1, found {pack}")
    results: list[ConvertedScan] = []
    lines: list[ViewCaption] = []  # of every view of a file where one has a caption, as readers count them
    for number, start in enumerate(range(0, len(files), pack)):
        name = f"{source}_{number:05d}"
        path = scene_path(root, source, name)
        packed: list[StoredViews] = []
        captions: list[tuple[str, ...]] = []
        for scan, views, texts in _images(map(Path, files[start : start + pack]), read_scan, settings):
            if views is not None:
                packed.append(views)
                captions.append(texts)
            results.append(scan)
            on_file(scan)
        if any(captions):
            relative = f"{source_folder(source)}/{path.name}"
            lines += [ViewCaption(name, relative, texts, view) for view, texts in enumerate(captions)]
        if packed:
            write_scene(path, _stacked(packed), SceneWords(facts={"source": layout}), half=settings.half)
    write_view_captions(view_captions_path(root, source), lines)
    return results


def _images(
    files: Iterator[Path], read_scan: Callable[[Path], Scan], settings: ConvertSettings
) -> Iterator[tuple[ConvertedScan, StoredViews | None, tuple[str, ...]]]:
    """Each image as a single view, with its captions; None for one that cannot be used."""
    for file in files:
        try:
            scan = read_scan(file)
            views = _scaled([_view(scan.frames[0], settings)], settings)
            if not views.valid.any():
                raise FileError(file, f"has no depth between 0 and {settings.farthest:g} m")
            captions = _captions_beside(file)
        except UserError as error:
            yield ConvertedScan(file.stem, str(file), 0, str(error)), None, ()
        else:
            yield ConvertedScan(scan.scan_id, str(file), 1), views, captions


def _captions_beside(file: Path) -> tuple[str, ...]:
    """Of an image's file, or of the folder of a scan; empty without.

    Raises:
        FileError: the text is there and cannot be read.
    """
    if file.is_dir():  # whose name may hold a dot, as no ending
        within = file / "predictions.txt"
        text = within if within.is_file() else file.with_name(f"{file.name}.txt")
    else:
        text = file.with_suffix(".txt")
    if not text.is_file():
        return ()
    try:
        lines = text.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(text, f"cannot be read as text ({error})") from error
    return tuple(line.strip() for line in lines if line.strip())[:MOST]


def _stacked(views: Sequence[StoredViews]) -> StoredViews:
    """Single views as one."""

    def stack(name: str) -> np.ndarray:
        return np.concatenate([getattr(view, name) for view in views])

    return StoredViews(
        stack("point_map"),
        stack("valid"),
        images=stack("images"),
        scene_from_camera=stack("scene_from_camera"),
        intrinsics=stack("intrinsics"),
    )
