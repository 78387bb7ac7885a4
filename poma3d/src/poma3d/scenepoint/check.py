"""`check_scenepoint`: looks a ScenePoint folder through and names every file that is not as it should be.

It is to data what Gymnasium's environment checker is to environments: run it on what you made or fetched before
you train for days on it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poma3d.errors import FileError
from poma3d.scenepoint.captions import read_retrieval
from poma3d.scenepoint.folder import SceneEntry, ScenePointFolder
from poma3d.scenepoint.scene_file import IMAGES, SceneFile

FAR = 1000.0
"""Points farther than this from the origin, metres, are taken for another unit."""


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be."""

    path: str
    """The file."""
    what: str
    """What was found and what was expected."""
    fatal: bool = True
    """Whether the scene cannot be used; False for what is merely missing, such as captions."""

    def __str__(self) -> str:
        """One line."""
        return f"{'bad    ' if self.fatal else 'warning'} {self.path}: {self.what}"


@dataclass(frozen=True)
class ScenePointReport:
    """What `check_scenepoint` found."""

    root: str
    """The folder."""
    scenes: dict[str, int]
    """Number of scenes of each source."""
    views: int
    """Views of all readable scenes."""
    view_captions: int
    """Views that have a caption that says anything."""
    scene_captions: int
    """Scenes that have captions."""
    valid_share: float
    """Share of valid pixels, 0 to 1; NaN where nothing could be read."""
    problems: tuple[Problem, ...]
    """What is wrong, by file."""

    @property
    def ok(self) -> bool:
        """Whether every scene can be used."""
        return not any(problem.fatal for problem in self.problems)

    def as_json(self) -> str:
        """The report as a JSON object."""
        facts = {**vars(self), "ok": self.ok, "problems": [vars(problem) for problem in self.problems]}
        facts["valid_share"] = None if np.isnan(self.valid_share) else self.valid_share
        return json.dumps(facts, indent=2)

    def __str__(self) -> str:
        """A few lines for people: the numbers, then every problem."""
        sources = ", ".join(f"{count} in {source}" for source, count in self.scenes.items())
        bad = sum(problem.fatal for problem in self.problems)
        lines = [
            f"{self.root}: {sum(self.scenes.values())} scenes ({sources}), {self.views} views,"
            f" {self.valid_share:.1%} of pixels valid",
            f"captions: {self.view_captions} of {self.views} views, {self.scene_captions} scenes",
            *map(str, self.problems),
            f"{'good' if self.ok else 'BAD'}: {bad} bad, {len(self.problems) - bad} warnings",
        ]
        return "\n".join(lines)


def check_scenepoint(
    root: str | os.PathLike[str], *, progress: Callable[[int, int], None] = lambda done, total: None
) -> ScenePointReport:
    """Read every scene and every caption below a folder and say what is wrong with which file.

    Args:
        root: the folder, as `ScenePointFolder` takes it.
        progress: told after each scene how many are done, and of how many.

    Returns:
        The report; its ``ok`` is False where a scene cannot be used.

    Raises:
        FileError: no folder, no scenes in it, or a caption file that cannot be read at all.
    """
    folder = ScenePointFolder(root)
    problems = [
        Problem(str(path), f"has captions of {scan!r}, but there is no file of that scene")
        for path, scan in folder.captions_without_scene()
    ]
    counts: dict[str, int] = {}
    views = captioned = valid = pixels = 0
    for number, scene in enumerate(folder.scenes, 1):
        counts[scene.source] = counts.get(scene.source, 0) + 1
        try:
            file = SceneFile(scene.path)
            problems += _check_words(scene, file)
            if scene.captions is not None:
                captioned += len(scene.captions.said(scene.scan_id))
            views += file.views
            for view in range(file.views):  # one by one: memory stays small whatever the number of views
                read = file.read([view], images=IMAGES in file.keys, labels=True)
                valid, pixels = valid + int(read.valid.sum()), pixels + read.valid.size
                problems += _check_view(scene, view, read.point_map, read.valid)
        except FileError as error:
            problems.append(Problem(str(scene.path), str(error).removeprefix(f"{scene.path}: ")))
        progress(number, len(folder.scenes))
    problems += _check_retrieval(folder)
    return ScenePointReport(
        str(folder.root),
        counts,
        views,
        captioned,
        sum(bool(scene.scene_captions) for scene in folder.scenes),
        valid / pixels if pixels else float("nan"),
        tuple(problems),
    )


def _check_words(scene: SceneEntry, file: SceneFile) -> list[Problem]:
    """Whether pictures and captions are there, as many as views."""
    problems = []
    if IMAGES not in file.keys:
        problems.append(
            Problem(str(scene.path), f"has no {IMAGES}, which the authors' readers expect", False)
        )
    if scene.captions is not None and scene.captions.views(scene.scan_id) != list(range(file.views)):
        lines = len(scene.captions.views(scene.scan_id))
        found = f"has {file.views} views, but {scene.captions.path} has {lines} lines for it"
        problems.append(Problem(str(scene.path), found))
    elif scene.captions is None or not scene.captions.said(scene.scan_id):
        problems.append(Problem(str(scene.path), "no captions of its views were found", False))
    if not scene.scene_captions:
        problems.append(Problem(str(scene.path), "no caption of the whole scene was found", False))
    return problems


def _check_view(scene: SceneEntry, view: int, points: np.ndarray, valid: np.ndarray) -> list[Problem]:
    """Whether a view shows anything, at a distance that metres can mean."""
    if not valid.any():
        return [Problem(str(scene.path), f"view {view} has no valid pixel")]
    farthest = float(np.abs(points).max())
    if farthest > FAR:
        return [Problem(str(scene.path), f"view {view} has points {farthest:.0f} away: metres are expected")]
    return []


def _check_retrieval(folder: ScenePointFolder) -> list[Problem]:
    """Whether retrieval queries can be read and speak of scenes that are there."""
    scans = {scene.scan_id for scene in folder.scenes}
    problems = []
    for path in sorted(Path(folder.root, "retrieval").glob("*.jsonl")):
        try:
            lost = sorted({query.scan_id for query in read_retrieval(path)} - scans)
        except FileError as error:
            problems.append(Problem(str(path), str(error).removeprefix(f"{path}: ")))
            continue
        problems += [
            Problem(str(path), f"asks for {scan!r}, but there is no file of that scene") for scan in lost
        ]
    return problems
