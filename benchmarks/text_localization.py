"""Zero-shot embodied localisation from text: which views of a scene show what an agent says of where it is.

The text of a situation is compared, by cosine, with the embedding of every view of the scene; the best views are the
answer. POMA-3D (arXiv 2511.16567) shows this as pictures of the top 3 and states no measure. Ours: a view is right
when its camera stands within 1 m of the situation's place, along the floor, and looks within 45 degrees of its
heading. The paper does not say which of the text tower's paths is taken either; the short one is the default here,
since it is what view captions were aligned by.

Shapes: N situations, V views, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.intervals import mean_over_scenes, median_over_scenes
from benchmarks.view_embeddings import (
    ViewSettings,
    check_channels,
    find_scenes,
    open_contestants,
    read_views,
)
from poma3d.errors import SettingError

if TYPE_CHECKING:
    from envs.msnn import MsnnSample
    from poma3d.towers import TextTower

TOPS = (1, 3, 5)
"""How many of the best views count as the answer."""
NEAR, TURNED = 1.0, 45.0
"""How far a right view may be from the situation: metres along the floor, degrees of heading."""


@dataclass(frozen=True)
class TextLocalizationRun(ViewSettings):
    """What decides the numbers; the files of its scenes say where the cameras stood."""

    samples: str = field(kw_only=True)
    """A file of situations in MSNN's schema (`envs.msnn.files`)."""
    split: str | None = None
    """A list of the scenes to ask in, a name a line; None = all."""
    long: bool = False
    """Send the text through the tower's path for long texts."""

    def as_config(self) -> dict[str, Any]:
        """The settings as JSON values, with the hash of the situations and of the list of scenes."""
        return self.config_with("samples", [self.samples, *filter(None, [self.split])])


@dataclass(frozen=True)
class Offsets:
    """How far the views of a scene are from the situations in it."""

    metres: np.ndarray
    """(N, V) along the floor."""
    degrees: np.ndarray
    """(N, V) between the headings, 0 to 180."""

    @property
    def right(self) -> np.ndarray:
        """(N, V) bool: near enough and turned little enough."""
        return (self.metres <= NEAR) & (self.degrees <= TURNED)


def offsets(scene_from_camera: np.ndarray, samples: Sequence[MsnnSample]) -> Offsets:
    """How far views are from situations.

    Args:
        scene_from_camera: (V, 4, 4) poses in the scene's frame (z up), OpenCV's camera axes.
        samples: N situations in that scene.
    """
    poses = np.asarray(scene_from_camera, np.float64)
    places = np.array([sample.location for sample in samples], np.float64).reshape(-1, 3)  # (N, 3)
    yaws = np.array([sample.yaw for sample in samples])
    metres = np.linalg.norm(poses[None, :, :2, 3] - places[:, None, :2], axis=-1)  # (N, V)
    forward = poses[:, :3, 2]  # where each camera looks
    turned = np.degrees(np.arctan2(forward[:, 1], forward[:, 0])[None] - yaws[:, None])  # (N, V)
    return Offsets(metres, np.abs((turned + 180.0) % 360.0 - 180.0))


def best_first(texts: np.ndarray, views: np.ndarray) -> np.ndarray:
    """The views (N, V) of a scene by cosine to each text, the best first; among equals the earlier view.

    Args:
        texts: (N, D).
        views: (V, D).

    Raises:
        SettingError: texts and views of other channels.
    """
    check_channels(texts.shape[1], views.shape[1])
    return np.argsort(-cosines(texts, views), axis=1, kind="stable")


def cosines(texts: np.ndarray, views: np.ndarray) -> np.ndarray:
    """(N, V) of texts (N, D) and views (V, D), in float64; a view that is no number gets -1."""
    texts, views = (np.asarray(some, np.float64) for some in (texts, views))
    unit = [some / np.maximum(np.linalg.norm(some, axis=-1, keepdims=True), 1e-12) for some in (texts, views)]
    return np.nan_to_num(unit[0] @ unit[1].T, nan=-1.0)


def chance_of_right(right: int, views: int, top: int) -> float:
    """The chance that ``top`` of ``views``, drawn blindly, hold one of those that are ``right``."""
    return 1.0 - math.comb(views - right, min(top, views)) / math.comb(views, min(top, views))


def measure_text_localization(
    run: TextLocalizationRun,
    *,
    device: str = "cpu",
    on_start: Callable[[int], None] = lambda total: None,
    on_scene: Callable[[str], None] = lambda scan: None,
) -> dict[str, Any]:
    """Measure an encoder and its controls on every situation.

    Controls: the same encoder with random weights; the same encoder asked with the text of a situation in another
    scene, which shows what the views' prior alone gives; views drawn blindly; the best view there is.

    Args:
        run: what to measure.
        device: where the encoder runs.
        on_start: told how many scenes will be encoded, controls included.
        on_scene: told of each.

    Returns:
        ``rows`` (``row``, ``kind`` = measured, control, chance or oracle; ``top-K`` with ``mean``, ``ci95``,
        ``n``; ``distance`` with ``median``, ``ci95``, ``n``, metres from the first view), ``answers`` (of the
        measured encoder: for each situation the score of every view, and its best five with distance, turn and
        verdict), counts, settings and hashes.

    Raises:
        UserError: scenes, situations, encoder or text that cannot be used or do not fit together.
    """
    from envs.msnn import read_msnn, read_scan_list

    config = run.as_config()
    samples = read_msnn(run.samples, None if run.split is None else read_scan_list(run.split))
    files = find_scenes(run.scenes)
    present = [sample for sample in samples if sample.scan_id in files]
    if not present:
        raise SettingError(
            f"{run.samples} holds {len(samples)} situations, and none of their scenes is in"
            f" {', '.join(run.scenes)}, which holds {len(files)}, such as {next(iter(files))}"
        )
    by_scene: dict[str, list[MsnnSample]] = {}
    for sample in present:
        by_scene.setdefault(sample.scan_id, []).append(sample)
    contestants = open_contestants(run.encoder, run.text, seed=run.seed, device=device)
    on_start(len(contestants.rows) * len(by_scene))
    told = _embed_texts(contestants.text, by_scene, run.long)
    elsewhere = _from_other_scenes(told)
    tables: dict[str, _Tally] = {}
    answers: list[dict[str, Any]] = []
    for name, (kind, encoder) in contestants.rows.items():
        for scan, situations in by_scene.items():
            views = read_views(files[scan], run.views, cameras=True)
            assert views.scene_from_camera is not None
            away = offsets(views.scene_from_camera, situations)
            embedded = encoder.embed(views)
            order = best_first(told[scan], embedded)
            tables.setdefault(name, _Tally(kind)).add(scan, away, order)
            if kind == "measured":
                other = best_first(elsewhere[scan], embedded)
                tables.setdefault("another scene's text", _Tally("control")).add(scan, away, other)
                answers += _answers(situations, away, order, cosines(told[scan], embedded))
                tables.setdefault("chance", _Tally("chance")).add_chance(scan, away)
                tables.setdefault("best view there is", _Tally("oracle")).add(scan, away, _nearest(away))
            on_scene(scan)
    order_of_kinds = ("measured", "control", "chance", "oracle")
    rows = [{"row": name, "kind": table.kind, **table.measures()} for name, table in tables.items()]
    return {
        "rows": sorted(rows, key=lambda row: order_of_kinds.index(row["kind"])),
        "answers": answers,
        "scenes": len(by_scene),
        "situations": len(present),
        "missing": sorted({sample.scan_id for sample in samples} - set(by_scene)),
        "near_m": NEAR,
        "turned_deg": TURNED,
        **contestants.facts(config),
    }


class _Tally:
    """What one row has reached so far."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._scans: list[str] = []
        self._found: dict[int, list[np.ndarray]] = {top: [] for top in TOPS}
        self._metres: list[np.ndarray] = []

    def add(self, scan: str, away: Offsets, order: np.ndarray) -> None:
        """Answers of one scene: views (N, V), the best first."""
        self._scans += [scan] * len(order)
        right = np.take_along_axis(away.right, order, axis=1)  # (N, V)
        for top in TOPS:
            self._found[top].append(right[:, :top].any(axis=1))
        self._metres.append(np.take_along_axis(away.metres, order[:, :1], axis=1)[:, 0])

    def add_chance(self, scan: str, away: Offsets) -> None:
        """Views of one scene drawn blindly."""
        self._scans += [scan] * len(away.metres)
        counts, views = away.right.sum(axis=1), away.right.shape[1]
        for top in TOPS:
            self._found[top].append(np.array([chance_of_right(int(count), views, top) for count in counts]))
        self._metres.append(np.median(away.metres, axis=1))

    def measures(self) -> dict[str, Any]:
        """Shares and median distance with intervals over scenes."""
        found = {f"top-{top}": np.concatenate(self._found[top]).astype(np.float64) for top in TOPS}
        measures = {name: mean_over_scenes(values, self._scans) for name, values in found.items()}
        return measures | {"distance": median_over_scenes(np.concatenate(self._metres), self._scans)}


def _nearest(away: Offsets) -> np.ndarray:
    """Views (N, V) as one who knows the situation would order them: right ones first, nearer ones first."""
    return np.lexsort((away.metres, ~away.right), axis=1)


def _embed_texts(text: TextTower, by_scene: dict[str, list[MsnnSample]], long: bool) -> dict[str, np.ndarray]:
    import torch

    said = [sample.situation_text for samples in by_scene.values() for sample in samples]
    with torch.no_grad():
        embedded = text.encode(said, long=long).float().cpu().numpy()
    starts = np.cumsum([0, *(len(samples) for samples in by_scene.values())])
    return {scan: embedded[a:b] for scan, a, b in zip(by_scene, starts, starts[1:], strict=False)}


def _from_other_scenes(told: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For every situation the text of one in the next scene, or, where there is one scene, of the next situation."""
    scans = list(told)
    if len(scans) == 1:
        return {scan: np.roll(texts, 1, axis=0) for scan, texts in told.items()}
    following = zip(scans, [*scans[1:], scans[0]], strict=True)
    return {
        scan: np.resize(told[other], (len(told[scan]), told[other].shape[1])) for scan, other in following
    }


def _answers(
    samples: Sequence[MsnnSample], away: Offsets, order: np.ndarray, scores: np.ndarray
) -> list[dict[str, Any]]:
    return [
        {
            "scan_id": sample.scan_id,
            "sample_id": sample.sample_id,
            "scores": [float(score) for score in scores[row]],
            "views": [
                {
                    "view": int(view),
                    "score": float(scores[row, view]),
                    "metres": float(away.metres[row, view]),
                    "degrees": float(away.degrees[row, view]),
                    "right": bool(away.right[row, view]),
                }
                for view in order[row, : max(TOPS)]
            ],
        }
        for row, sample in enumerate(samples)
    ]
