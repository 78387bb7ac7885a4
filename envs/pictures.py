"""Pictures for people: a point map, its depth, the map from above, and the video frame that joins them.

Pure functions from arrays to (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.topdown import Window, topdown_picture
from poma3d.errors import SettingError

__all__ = ["Window", "compose_frame", "depth_picture", "first_person", "panel_height", "topdown_picture"]

NOTHING = (18, 20, 25)
"""Colour of pixels where no surface was hit."""
_BACKGROUND = (12, 14, 18)
_TEXT = (232, 235, 240)
_QUIET = (150, 158, 170)
_SUCCESS, _FAILURE = (0, 158, 115), (213, 94, 0)

_FOLD = 6.0
"""Metres over which a colour goes from dark to bright, at most."""
_LEAST_PANEL, _LARGEST_PANEL = 224, 480
_GAP = 8


def first_person(point_map: np.ndarray, valid: np.ndarray, bounds: np.ndarray | None = None) -> np.ndarray:
    """XYZ as colour (x red, y green, z blue), shaded by the surfaces' slant so that shapes can be recognised.

    Over more than `_FOLD` metres a colour runs to and fro, so that a room keeps its contrast in a large building.

    Args:
        point_map: (H, W, 3) metres, any frame.
        valid: (H, W) bool.
        bounds: (2, 3) the XYZ of the darkest and the brightest colour; give the scene's so that a place keeps
            its colour from frame to frame. By default the range of this point map.

    Returns:
        (H, W, 3) uint8; `NOTHING` where not valid.

    Raises:
        SettingError: shapes that do not fit.
    """
    points = np.asarray(point_map, dtype=np.float32)
    valid = np.asarray(valid, dtype=bool)
    if points.ndim != 3 or points.shape[2] != 3 or valid.shape != points.shape[:2] or valid.size == 0:
        raise SettingError(
            "a point map (H, W, 3) and its validity (H, W) are needed,"
            f" found {points.shape} and {valid.shape}"
        )
    if not valid.any():
        return np.full(points.shape, NOTHING, dtype=np.uint8)
    planes = np.ascontiguousarray(np.moveaxis(points, 2, 0))  # (H, W, 3) -> (3, H, W)
    if bounds is None:
        low, high = (np.array([edge(plane[valid]) for plane in planes]) for edge in (np.min, np.max))
    else:
        low, high = np.asarray(bounds, dtype=np.float32)
    shade = _shading(planes)
    picture = np.empty(points.shape, dtype=np.uint8)
    for axis in range(3):
        span = np.float32(min(max(high[axis] - low[axis], 1e-3), _FOLD))
        value = planes[axis] - np.float32(low[axis])
        if high[axis] - low[axis] > _FOLD:
            np.mod(value, 2 * span, out=value)
            np.subtract(span, np.abs(value - span), out=value)
        value *= 1 / span
        np.clip(value, 0, 1, out=value)
        planes[axis] = value
    # Full-range XYZ is neon: draw each colour a part of the way to grey and keep away from black.
    grey = planes.mean(axis=0)
    grey *= 0.18
    for axis in range(3):
        value = planes[axis]
        value *= 0.82
        value += grey
        value *= 156
        value += 68
        value *= shade
        np.clip(value, 0, 255, out=value)
        picture[..., axis] = value
    picture[~valid] = NOTHING
    return picture


def _shading(planes: np.ndarray) -> np.ndarray:
    """Brightness (H, W) about 1 of XYZ planes (3, H, W): by slant, dark where one surface hides another."""
    down, right = np.zeros_like(planes), np.zeros_like(planes)
    np.subtract(planes[:, 1:], planes[:, :-1], out=down[:, :-1])
    np.subtract(planes[:, :, 1:], planes[:, :, :-1], out=right[:, :, :-1])
    nx = right[1] * down[2] - right[2] * down[1]
    ny = right[2] * down[0] - right[0] * down[2]
    nz = right[0] * down[1] - right[1] * down[0]
    scale = np.sqrt(nx * nx + ny * ny + nz * nz)
    scale += 1e-12
    np.divide(0.14, scale, out=scale)
    # A light for every axis and sign: the four walls, the floor and the ceiling all come out different.
    shade = np.abs(ny) * 1.6 + ny * 0.5
    shade += np.abs(nx) * 0.6 + nx * 0.3
    shade += nz * 0.3 - np.abs(nz) * 0.5
    shade *= scale
    shade += 0.9
    np.abs(down, out=down)
    np.abs(right, out=right)
    step = down.max(axis=0)
    step += right.max(axis=0)
    # A jump is a step far above those of the pixels before it: a slanted floor far away is none.
    before = np.minimum(np.roll(step, 1, axis=0), np.roll(step, 1, axis=1))
    before *= -3
    before += step
    before -= 0.06
    before *= 3.3
    np.clip(before, 0, 0.55, out=before)
    shade *= 1 - before
    return shade


def depth_picture(
    depth: np.ndarray, valid: np.ndarray, depth_range: tuple[float, float] = (0.0, 10.0)
) -> np.ndarray:
    """Depth by the viridis colours, near bright and far dark; colours follow the square root of depth.

    Args:
        depth: (H, W) metres; whatever is not finite counts as not valid.
        valid: (H, W) bool.
        depth_range: the depths of the brightest and the darkest colour, metres.

    Returns:
        (H, W, 3) uint8; `NOTHING` where not valid.

    Raises:
        SettingError: shapes that do not fit, or an empty range.
    """
    depth = np.asarray(depth, dtype=np.float32)
    near, far = depth_range
    if depth.ndim != 2 or np.shape(valid) != depth.shape or depth.size == 0:
        raise SettingError(
            f"depth and its validity must both be (H, W), found {depth.shape} and {np.shape(valid)}"
        )
    if not near < far:
        raise SettingError(f"depth_range must be (near, far) with near < far, found {depth_range!r}")
    valid = np.asarray(valid, dtype=bool) & np.isfinite(depth)
    share = np.clip((np.where(valid, depth, far) - near) / (far - near), 0, 1)
    picture = _viridis()[255 - (np.sqrt(share) * 255).astype(np.uint8)]
    picture[~valid] = NOTHING
    return picture


@lru_cache(maxsize=1)
def _viridis() -> np.ndarray:
    """The colour map (256, 3) uint8; matplotlib is only loaded when a picture is asked for."""
    import matplotlib

    return matplotlib.colormaps["viridis"](np.arange(256), bytes=True)[:, :3].copy()


def compose_frame(
    point_map_picture: np.ndarray,
    depth_picture: np.ndarray,
    topdown_picture: np.ndarray,
    captions: Sequence[str] = (),
    *,
    outcome: bool | None = None,
) -> np.ndarray:
    """One frame of a video: point map, depth and map side by side, a line of captions below.

    The size depends on the panels' shapes alone, never on the captions, and is even both ways as video needs.

    Args:
        point_map_picture: (H, W, 3) uint8, from `first_person`.
        depth_picture: (H, W, 3) uint8, from `depth_picture`.
        topdown_picture: (h, w, 3) uint8, from `topdown_picture`.
        captions: short texts, set side by side; what does not fit is cut.
        outcome: once the episode is over: True = success (green bar), False = failure (orange bar).

    Returns:
        (rows, columns, 3) uint8.

    Raises:
        SettingError: a panel that is not (H, W, 3) uint8.
    """
    panels = [point_map_picture, depth_picture, topdown_picture]
    for panel in panels:
        if panel.ndim != 3 or panel.shape[2] != 3 or panel.dtype != np.uint8 or panel.size == 0:
            raise SettingError(f"a panel must be (H, W, 3) uint8, found {panel.shape} {panel.dtype}")
    height = panel_height(point_map_picture.shape[0])
    fitted = [_fit(panel, height) for panel in panels]
    text_size = max(12, round(height / 16))
    header, footer = round(1.7 * text_size), round(2.4 * text_size)
    width = sum(panel.width for panel in fitted) + _GAP * (len(fitted) + 1)
    rows = header + height + footer
    frame = Image.new("RGB", (width + width % 2, rows + rows % 2), _BACKGROUND)
    draw = ImageDraw.Draw(frame)
    small, large = _font(round(0.78 * text_size)), _font(text_size)
    left = _GAP
    for title, panel in zip(("point map (XYZ as colour)", "depth", "map"), fitted, strict=True):
        frame.paste(panel, (left, header))
        draw.text((left, header / 2), _cut(title, small, panel.width), _QUIET, small, anchor="lm")
        left += panel.width + _GAP
    middle = header + height + (frame.height - header - height) / 2
    left = _GAP
    if outcome is not None:
        bar = _SUCCESS if outcome else _FAILURE
        draw.rectangle((0, header + height + _GAP // 2, frame.width, frame.height), fill=bar)
    separator = "   ·   "
    text = _cut(separator.join(captions), large, frame.width - 2 * _GAP)
    draw.text((left, middle + _GAP // 4), text, _TEXT, large, anchor="lm")
    return np.asarray(frame)


def panel_height(rows: int) -> int:
    """The height in which `compose_frame` shows point maps of that many rows, pixels."""
    return min(max(rows, _LEAST_PANEL), _LARGEST_PANEL)


def _fit(picture: np.ndarray, height: int) -> Image.Image:
    """A panel of that height and of the picture's aspect, between a third and three times as wide as high."""
    aspect = min(max(picture.shape[1] / picture.shape[0], 1 / 3), 3.0)
    size = (max(1, round(height * aspect)), height)
    image = Image.fromarray(picture)
    if image.size == size:
        return image
    # Few pixels are shown as the squares they are; a large picture is shrunk smoothly.
    grows = picture.shape[0] < height
    return image.resize(size, Image.Resampling.NEAREST if grows else Image.Resampling.BOX)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The font that comes with Pillow, so that pictures look the same on every machine."""
    return ImageFont.load_default(max(size, 8))


def _cut(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: float) -> str:
    """``text``, shortened to ``width`` pixels with an ellipsis."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…" if text else ""
