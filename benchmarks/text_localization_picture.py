"""A situation and the views that its text found: the plan with the cameras' fields of view, and the scene lit up.

Left, from above: surfaces below a man's height grey by height, every camera a faint wedge, the best ones coloured and
numbered, the situation a dart in its circle of 1 m. Right, at a slant: the points that the best views see in the same
colours, all others by the score of the best view that sees them.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.text_localization import NEAR, TextLocalizationRun, offsets
from benchmarks.view_embeddings import find_scenes, read_views
from poma3d.errors import SettingError
from poma3d.files import atomic_path
from poma3d.scenepoint.scene_file import StoredViews

if TYPE_CHECKING:
    from envs.msnn import MsnnSample

COLOURS = ((230, 159, 0), (0, 158, 115), (86, 180, 233))
"""Of the best view, the second and the third (Okabe and Ito's, told apart by every kind of colour vision)."""
_GROUND = np.array((22, 25, 31), np.uint8)
_TEXT, _QUIET, _FAINT = (232, 235, 240), (150, 158, 170), (88, 94, 106)
_CEILING = 2.1
"""Surfaces higher than this above the situation's floor are left out, metres."""
_REACH = 1.6
"""Length of a camera's wedge, metres."""
_MOST_POINTS = 400_000


def draw_situation(
    views: StoredViews,
    scores: np.ndarray,
    sample: MsnnSample,
    *,
    top: int = 3,
    side: int = 640,
    hfov: float = 90.0,
) -> np.ndarray:
    """Draw one situation.

    Args:
        views: the scene's views with their camera poses.
        scores: (V,) the score of each for the situation's text.
        sample: the situation.
        top: how many of the best views are coloured, at most three.
        side: of each of the two panels, pixels.
        hfov: of the cameras whose matrices the views do not hold, degrees.

    Returns:
        (rows, columns, 3) uint8.

    Raises:
        SettingError: views without cameras or valid points, or other numbers of scores.
    """
    poses = views.scene_from_camera
    if poses is None or not views.valid.any():
        raise SettingError("to draw a situation its scene needs camera poses and valid points")
    if len(scores) != len(poses) or not 1 <= top <= len(COLOURS):
        raise SettingError(
            f"{len(poses)} views need a score each and 1 to {len(COLOURS)} of them are coloured,"
            f" found {len(scores)} scores and {top}"
        )
    best = np.argsort(-np.asarray(scores), kind="stable")[:top]
    points, view_of = _points(views, sample.location[2] + _CEILING)
    colours = _lit(points, view_of, np.asarray(scores, np.float64), best)
    head, foot = 26, 84
    canvas = Image.new("RGB", (2 * side + 24, head + side + foot), tuple(map(int, _GROUND)))
    canvas.paste(_plan(points, views, sample, best, side, hfov), (8, head))
    canvas.paste(_slanted(points, colours, sample, side), (side + 16, head))
    draw = ImageDraw.Draw(canvas)
    small, large = ImageFont.load_default(13), ImageFont.load_default(15)
    draw.text((8, 6), f"{sample.scan_id}, from above", _QUIET, small)
    draw.text((side + 16, 6), "lit up: what the best views see", _QUIET, small)
    lines = textwrap.wrap(f"“{sample.situation_text}”", max(20, (2 * side) // 8))[:2]
    draw.multiline_text((8, head + side + 8), "\n".join(lines), _TEXT, large, spacing=4)
    away = offsets(poses, [sample])
    left = 8.0
    for rank, view in enumerate(best):
        verdict = "right" if away.right[0, view] else "wrong"
        said = (
            f"{rank + 1}: {scores[view]:.2f}, {away.metres[0, view]:.1f} m,"
            f" {away.degrees[0, view]:.0f}° off, {verdict}   "
        )
        draw.text((left, head + side + 56), said, COLOURS[rank], large)
        left += draw.textlength(said, large)
    return np.asarray(canvas)


def _points(views: StoredViews, highest: float) -> tuple[np.ndarray, np.ndarray]:
    """Some of the valid points (P, 3) not above ``highest``, and the view of each (P,)."""
    step = max(1, math.ceil(math.sqrt(views.valid.sum() / _MOST_POINTS)))
    valid = views.valid[:, ::step, ::step]
    points = views.point_map[:, ::step, ::step][valid]
    view_of = np.nonzero(valid)[0]
    low = points[:, 2] <= highest
    if not low.any():  # a floor of another height than the situation's: nothing is cut off
        low[:] = True
    return points[low], view_of[low]


def _lit(points: np.ndarray, view_of: np.ndarray, scores: np.ndarray, best: np.ndarray) -> np.ndarray:
    """The colour (P, 3) uint8 of each point: of the best view that shows its place, else by score in grey-blue."""
    span = max(float(scores.max() - scores.min()), 1e-9)
    share = (scores - scores.min()) / span  # (V,)
    # Places are cells of 10 cm: a point that a worse view sees as well takes the better view's colour.
    cell = np.floor(points / 0.1).astype(np.int64)
    cell -= cell.min(axis=0)
    size = cell.max(axis=0) + 1
    key = (cell[:, 0] * size[1] + cell[:, 1]) * size[2] + cell[:, 2]
    _, place = np.unique(key, return_inverse=True)
    highest = np.full(place.max() + 1, -np.inf)
    np.maximum.at(highest, place, scores[view_of])
    top_of_place = highest[place]
    grey = 45 + 75 * (top_of_place - scores.min()) / span
    colours = np.stack([grey, grey * 1.02, grey * 1.12], axis=-1)
    for rank in range(len(best) - 1, -1, -1):
        shown = top_of_place == scores[best[rank]]
        colours[shown] = np.array(COLOURS[rank]) * (0.85 + 0.15 * share[best[rank]])
    # Darker towards the floor, so that shapes can be told apart.
    colours *= 0.6 + 0.4 * np.clip((points[:, 2:] - points[:, 2].min()) / _CEILING, 0, 1)
    return np.clip(colours, 0, 255).astype(np.uint8)


def _splat(
    places: np.ndarray, nearness: np.ndarray, colours: np.ndarray, side: int, margin: float = 0.04
) -> tuple[np.ndarray, float, np.ndarray]:
    """Points as pixels, the nearest on top: the picture (side, side, 3), pixels a metre, and the lowest corner (2,).

    Args:
        places: (P, 2) metres, to the right and upwards.
        nearness: (P,) larger is nearer.
        colours: (P, 3) uint8.
        side: pixels.
        margin: share of the side left free all around.
    """
    low, high = np.quantile(places, [0.001, 0.999], axis=0)
    scale = side * (1 - 2 * margin) / max(float((high - low).max()), 1.0)
    corner = (low + high) / 2 - side / scale / 2
    column = ((places[:, 0] - corner[0]) * scale).astype(np.int64)
    row = side - 1 - ((places[:, 1] - corner[1]) * scale).astype(np.int64)
    picture = np.tile(_GROUND, (side, side, 1))
    order = np.argsort(nearness, kind="stable")
    thick = 2 if scale > 40 else 1
    for dy in range(thick):
        for dx in range(thick):
            u, v = column[order] + dx, row[order] + dy
            inside = (u >= 0) & (u < side) & (v >= 0) & (v < side)
            picture[v[inside], u[inside]] = colours[order][inside]
    return picture, scale, corner


def _plan(
    points: np.ndarray, views: StoredViews, sample: MsnnSample, best: np.ndarray, side: int, hfov: float
) -> Image.Image:
    heights = points[:, 2] - points[:, 2].min()
    grey = 62 + 110 * np.clip(heights / _CEILING, 0, 1)
    colours = np.repeat(grey[:, None], 3, axis=1).astype(np.uint8)
    picture, scale, corner = _splat(points[:, :2], points[:, 2], colours, side)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")

    def pixel(place: np.ndarray) -> tuple[float, float]:
        u, v = (np.asarray(place)[:2] - corner) * scale
        return float(u), float(side - 1 - v)

    poses = views.scene_from_camera
    assert poses is not None
    half = _half_angles(views, hfov)
    ranked = [view for view in range(len(poses)) if view not in best] + list(best[::-1])
    for view in ranked:
        rank = int(np.flatnonzero(best == view)[0]) if view in best else None
        colour = _FAINT if rank is None else COLOURS[rank]
        forward = poses[view, :3, 2]
        yaw = math.atan2(forward[1], forward[0])
        place = poses[view, :2, 3]
        sides = [
            place + _REACH * np.array([math.cos(yaw + turn), math.sin(yaw + turn)])
            for turn in (half[view], -half[view])
        ]
        corners = [pixel(place), *map(pixel, sides)]
        draw.polygon(corners, fill=(*colour, 22 if rank is None else 120), outline=(*colour, 255))
        if rank is not None:
            u, v = pixel(place)
            draw.ellipse((u - 9, v - 9, u + 9, v + 9), fill=colour, outline=(0, 0, 0))
            draw.text((u, v), str(rank + 1), (0, 0, 0), ImageFont.load_default(13), anchor="mm")
    u, v = pixel(np.array(sample.location))
    reach = NEAR * scale
    draw.ellipse((u - reach, v - reach, u + reach, v + reach), outline=_TEXT, width=2)
    _dart(draw, u, v, sample.yaw, 15.0)
    return image


def _half_angles(views: StoredViews, hfov: float) -> Sequence[float]:
    """Half the horizontal field of view of each camera, radians."""
    if views.intrinsics is None:
        return [math.radians(hfov) / 2] * len(views.valid)
    width = views.valid.shape[2]
    return [math.atan2(width / 2, float(matrix[0, 0])) for matrix in views.intrinsics]


def _slanted(points: np.ndarray, colours: np.ndarray, sample: MsnnSample, side: int) -> Image.Image:
    """The points seen from the south-west at a slant, without perspective."""
    turn, tilt = math.radians(30), math.radians(50)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2

    def project(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y, z = (np.asarray(places, np.float64) - centre).T
        across = math.cos(turn) * x - math.sin(turn) * y
        along = math.sin(turn) * x + math.cos(turn) * y
        up = math.sin(tilt) * along + math.cos(tilt) * z
        return np.stack([across, up], axis=-1), math.sin(tilt) * z - math.cos(tilt) * along

    places, nearness = project(points)
    picture, scale, corner = _splat(places, nearness, colours, side)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    base = np.array(sample.location, np.float64)
    ahead = base + 0.7 * np.array([math.cos(sample.yaw), math.sin(sample.yaw), 0.0])
    eye = np.array([0.0, 0.0, 1.5])
    spots, _ = project(np.stack([base, base + eye, ahead + eye]))
    feet, head, nose = (
        (float((u - corner[0]) * scale), float(side - 1 - (v - corner[1]) * scale)) for u, v in spots
    )
    draw.line([feet, head], fill=_TEXT, width=3)
    draw.line([head, nose], fill=_TEXT, width=3)
    draw.ellipse((head[0] - 5, head[1] - 5, head[0] + 5, head[1] + 5), fill=_TEXT)
    return image


def _dart(draw: ImageDraw.ImageDraw, u: float, v: float, yaw: float, radius: float) -> None:
    """A dart at a pixel that points along ``yaw``: to the right at 0, up at pi / 2."""
    corners = []
    for reach, turn in ((1.0, 0.0), (0.95, 2.4), (0.4, math.pi), (0.95, -2.4)):
        corners.append((u + radius * reach * math.cos(yaw + turn), v - radius * reach * math.sin(yaw + turn)))
    draw.polygon(corners, fill=_TEXT, outline=(0, 0, 0))


def write_pictures(
    run: TextLocalizationRun,
    answers: Sequence[Mapping[str, Any]],
    folder: Path,
    *,
    on_picture: Callable[[str], None] = lambda name: None,
) -> list[Path]:
    """Draw answers of `benchmarks.text_localization.measure_text_localization`, a PNG each.

    Args:
        run: what was measured.
        answers: some of its ``answers``.
        folder: gets ``SCAN_SAMPLE.png``.
        on_picture: told of each.

    Raises:
        FileError: a scene that cannot be read any more, or a folder that cannot be written.
    """
    from envs.msnn import read_msnn

    files = find_scenes(run.scenes)
    samples = {(sample.scan_id, sample.sample_id): sample for sample in read_msnn(run.samples)}
    written = []
    for answer in answers:
        sample = samples[answer["scan_id"], answer["sample_id"]]
        views = read_views(files[sample.scan_id], run.views, cameras=True)
        picture = draw_situation(views, np.array(answer["scores"]), sample)
        name = re.sub(r"[^\w.-]+", "_", f"{sample.scan_id}_{sample.sample_id}")
        with atomic_path(folder / f"{name}.png") as temporary:
            Image.fromarray(picture).save(temporary, "PNG")
        written.append(folder / f"{name}.png")
        on_picture(name)
    return written
