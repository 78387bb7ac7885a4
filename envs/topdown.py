"""The map from above: where one can walk, the way walked, the shortest way, the goals and the agent.

World x runs to the right and world z down the picture, so a heading of 0 (along -z) points up and a positive
one turns to the left, as in Habitat's own maps. The colours are those of Okabe and Ito, told apart by every
kind of colour vision (https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from poma3d.errors import SettingError

GROUND = (22, 25, 31)
"""Where nothing is known."""
FLOOR = (226, 229, 233)
"""Where one can walk."""
BORDER = (120, 128, 140)
"""The edge of where one can walk."""
WALKED = (0, 114, 178)
"""The way walked."""
SHORTEST = (230, 159, 0)
"""The shortest way."""
GOAL = (213, 94, 0)
"""The goals."""
START = (0, 158, 115)
"""Where the episode began."""
AGENT = (18, 20, 24)
"""The agent."""

_SUPERSAMPLING = 2


@dataclass(frozen=True)
class Window:
    """The rectangle of the world that a map shows: x to the right, z down, metres."""

    x: float
    """Left edge."""
    z: float
    """Upper edge."""
    width: float
    """Extent along x."""
    height: float
    """Extent along z."""

    @classmethod
    def around(
        cls, points: np.ndarray, *, margin: float = 1.0, aspect: float = 1.0, least: float = 5.0
    ) -> Window:
        """The smallest window of ``aspect`` (width / height) around points (N, 3), world frame.

        Args:
            points: what must be seen; rows that are not finite are ignored.
            margin: metres kept free on every side.
            aspect: width over height of the picture.
            least: the shorter side is at least this many metres.

        Raises:
            SettingError: no finite point.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)  # any batch of points -> (N, 3)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points) == 0:
            raise SettingError("a map needs at least one finite point to show")
        low, high = points[:, [0, 2]].min(axis=0), points[:, [0, 2]].max(axis=0)
        width, height = np.maximum(high - low + 2 * margin, [least * max(aspect, 1), least / min(aspect, 1)])
        width, height = max(width, height * aspect), max(height, width / aspect)
        x, z = (low + high) / 2 - np.array([width, height]) / 2
        return cls(float(x), float(z), float(width), float(height))

    def pixels(self, points: np.ndarray, height: int, width: int) -> np.ndarray:
        """Where world points (..., 3) fall in a picture of that size: (..., 2) as (column, row)."""
        points = np.asarray(points, dtype=np.float64)
        u = (points[..., 0] - self.x) / self.width * width
        v = (points[..., 2] - self.z) / self.height * height
        return np.stack([u, v], axis=-1)


def topdown_picture(
    navigable: np.ndarray,
    bounds: np.ndarray,
    *,
    path: np.ndarray | None = None,
    goals: np.ndarray | None = None,
    shortest_path: np.ndarray | None = None,
    start: np.ndarray | None = None,
    position: np.ndarray | None = None,
    heading: float = 0.0,
    goal_radius: float = 0.0,
    window: Window | None = None,
    backdrop: np.ndarray | None = None,
    backdrop_window: Window | None = None,
    size: tuple[int, int] = (224, 224),
    marker_scale: float = 1.0,
) -> np.ndarray:
    """Draw the map of an episode.

    Args:
        navigable: (rows along z, columns along x) bool, as `Surface.topdown_map` gives it.
        bounds: (2, 3) lowest and highest corner of what ``navigable`` covers, metres, world frame.
        path: (N, 3) the way walked so far, world frame.
        goals: (G, 3) the goals.
        shortest_path: (M, 3) the shortest way from the start to the nearest goal.
        start: (3,) where the episode began, or (S, 3) several such places.
        position: (3,) where the agent is; None = no agent is drawn.
        heading: radians, 0 along -z, positive to the left.
        goal_radius: radius of success drawn around each goal, metres.
        window: the part of the world to show; by default all of ``bounds``.
        backdrop: (h, w, 3) uint8 picture of the scene from above (`envs.floor_plan`), shown instead of the
            plain map.
        backdrop_window: what ``backdrop`` shows.
        size: (height, width) of the picture.
        marker_scale: makes lines and markers larger or smaller, for maps of many episodes.

    Returns:
        (height, width, 3) uint8.

    Raises:
        SettingError: a map without cells, a size below 1, or a backdrop without its window.
    """
    navigable = np.asarray(navigable, dtype=bool)
    bounds = np.asarray(bounds, dtype=np.float64)
    height, width = size
    if navigable.ndim != 2 or navigable.size == 0 or bounds.shape != (2, 3):
        raise SettingError(
            f"a map needs cells (rows, columns) and bounds (2, 3), found {navigable.shape} and {bounds.shape}"
        )
    if height < 1 or width < 1:
        raise SettingError(f"a picture needs at least 1 x 1 pixels, found {height} x {width}")
    extent = Window(bounds[0, 0], bounds[0, 2], *(bounds[1] - bounds[0])[[0, 2]])
    window = window or Window.around(bounds, margin=0.3, aspect=width / height, least=1.0)
    rows, columns = height * _SUPERSAMPLING, width * _SUPERSAMPLING
    if backdrop is None:
        canvas = _crop(_plain_map(navigable), extent, window, rows, columns)
    elif backdrop_window is None:
        raise SettingError("a backdrop needs backdrop_window, the part of the world that it shows")
    else:
        canvas = _crop(backdrop, backdrop_window, window, rows, columns)
    draw = ImageDraw.Draw(canvas)
    pixel = min(rows, columns) / 224  # one display pixel of a map of 224 pixels
    stroke = max(1.0, 2.2 * pixel * marker_scale)

    def place(points: np.ndarray) -> list[tuple[float, float]]:
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)  # (3,) or (N, 3) -> (N, 3)
        points = points[np.isfinite(points).all(axis=1)]
        return [(float(u), float(v)) for u, v in window.pixels(points, rows, columns)]

    if shortest_path is not None:
        _dashes(draw, place(shortest_path), SHORTEST, stroke, 3.2 * stroke)
    if path is not None:
        _line(draw, place(path), (255, 255, 255), 1.9 * stroke)
        _line(draw, place(path), WALKED, 1.2 * stroke)
    if start is not None:
        for u, v in place(start):
            _disc(draw, u, v, 2.6 * stroke, (255, 255, 255))
            _disc(draw, u, v, 1.9 * stroke, START)
    if goals is not None:
        ring = goal_radius / window.width * columns
        for u, v in place(goals):
            if ring > 2.6 * stroke:
                draw.ellipse(
                    (u - ring, v - ring, u + ring, v + ring), outline=GOAL, width=round(stroke / 2) or 1
                )
            _star(draw, u, v, 4.6 * stroke, (255, 255, 255))
            _star(draw, u, v, 3.4 * stroke, GOAL)
    if position is not None:
        for u, v in place(position):
            _arrow(draw, u, v, heading, 4.6 * stroke, stroke)
    return np.asarray(canvas.reduce(_SUPERSAMPLING))


def _plain_map(navigable: np.ndarray) -> np.ndarray:
    """The cells as colours, (rows, columns, 3) uint8, with the border told apart."""
    inner = np.zeros_like(navigable)
    inner[1:-1, 1:-1] = (
        navigable[1:-1, 1:-1]
        & navigable[:-2, 1:-1]
        & navigable[2:, 1:-1]
        & navigable[1:-1, :-2]
        & navigable[1:-1, 2:]
    )
    colours = np.array([GROUND, BORDER, FLOOR], dtype=np.uint8)
    return colours[navigable.astype(np.uint8) + inner]


def _crop(picture: np.ndarray, shows: Window, wanted: Window, rows: int, columns: int) -> Image.Image:
    """The part ``wanted`` of a picture that shows ``shows``, as (rows, columns) pixels; `GROUND` outside."""
    scale_u, scale_v = picture.shape[1] / shows.width, picture.shape[0] / shows.height
    coefficients = (
        wanted.width / columns * scale_u,
        0.0,
        (wanted.x - shows.x) * scale_u,
        0.0,
        wanted.height / rows * scale_v,
        (wanted.z - shows.z) * scale_v,
    )
    shrink = int(min(coefficients[0], coefficients[4]))
    image = Image.fromarray(picture)
    if shrink > 1:  # PIL's transform only samples: shrink with averages first, so that thin walls stay
        image = image.reduce(shrink)
        coefficients = tuple(value / shrink for value in coefficients)
    return image.transform(
        (columns, rows), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=GROUND
    )


Points = list[tuple[float, float]]
"""(column, row) of corners."""


def _line(draw: ImageDraw.ImageDraw, points: Points, colour: tuple, width: float) -> None:
    if len(points) > 1:
        draw.line(points, fill=colour, width=max(1, round(width)), joint="curve")
    for u, v in points[:1] + points[-1:]:
        _disc(draw, u, v, width / 2, colour)


def _dashes(draw: ImageDraw.ImageDraw, points: Points, colour: tuple, width: float, dash: float) -> None:
    """A dashed line whose rhythm runs on around corners."""
    travelled = 0.0
    for (u0, v0), (u1, v1) in itertools.pairwise(points):
        length = math.hypot(u1 - u0, v1 - v0)
        at = 0.0
        while at < length:
            phase = (travelled + at) % (2 * dash)
            step = min((dash if phase < dash else 2 * dash) - phase + 1e-6, length - at)
            if phase < dash:
                a, b = at / length, (at + step) / length
                ends = [(u0 + (u1 - u0) * t, v0 + (v1 - v0) * t) for t in (a, b)]
                draw.line(ends, fill=colour, width=max(1, round(width)))
            at += step
        travelled += length


def _disc(draw: ImageDraw.ImageDraw, u: float, v: float, radius: float, colour: tuple) -> None:
    draw.ellipse((u - radius, v - radius, u + radius, v + radius), fill=colour)


def _star(draw: ImageDraw.ImageDraw, u: float, v: float, radius: float, colour: tuple) -> None:
    corners = []
    for k in range(10):
        reach = radius if k % 2 == 0 else 0.45 * radius
        angle = math.pi * k / 5
        corners.append((u + reach * math.sin(angle), v - reach * math.cos(angle)))
    draw.polygon(corners, fill=colour)


def _arrow(draw: ImageDraw.ImageDraw, u: float, v: float, heading: float, radius: float, edge: float) -> None:
    """A dart that points along ``heading``: up at 0, to the left at pi / 2."""
    corners = []
    for reach, turn in ((1.0, 0.0), (0.95, 2.4), (0.4, math.pi), (0.95, -2.4)):
        angle = heading + turn
        corners.append((u - radius * reach * math.sin(angle), v - radius * reach * math.cos(angle)))
    draw.polygon(corners, fill=AGENT)
    draw.line(
        [*corners, corners[0], corners[1]], fill=(255, 255, 255), width=max(1, round(edge)), joint="curve"
    )
