"""A scene from above with everything over a man's height cut away: a shaded floor plan with its furniture.

Triangles are drawn straight down into a height buffer at twice the resolution. Solid matter that the cut goes
through (walls, tall cupboards) is filled as draughtsmen fill it; surfaces without thickness show as lines.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np
from numba import njit
from PIL import Image, ImageDraw
from scipy import ndimage

from envs.scenes.scene import NO_INSTANCE, Scene
from envs.topdown import GROUND, Window
from poma3d.errors import SettingError

_SUPERSAMPLING = 2
_WALL = (66, 72, 84)
_FLOOR = (233, 227, 217)
_OBJECT = (176, 180, 188)
_PALETTE = (
    (141, 178, 207), (214, 158, 128), (150, 190, 156), (196, 168, 206), (222, 190, 122),
    (128, 188, 188), (207, 150, 160), (168, 176, 140), (158, 160, 204), (190, 164, 140),
)  # fmt: skip
_ROOM_TINTS = (
    (236, 226, 212), (222, 230, 236), (226, 234, 220), (238, 226, 228), (232, 228, 238), (238, 234, 214),
)  # fmt: skip
_STRUCTURE = {"wall", "walls", "floor", "ceiling", "room", "house", "building", "stage", "doorway", "window"}
_SUN = np.array([-0.45, 0.80, -0.40]) / np.linalg.norm([-0.45, 0.80, -0.40])


def scene_topdown_picture(
    scene: Scene,
    *,
    floor_height: float | None = None,
    cut: float = 1.8,
    window: Window | None = None,
    size: int = 1024,
) -> tuple[np.ndarray, Window]:
    """Draw a scene from above.

    Args:
        scene: what to draw.
        floor_height: world y of the floor, metres; by default `lowest_floor`.
        cut: what lies more than this above the floor is cut away, metres.
        window: the part of the world to show; by default all of the storey with a small margin.
        size: pixels of the longer side.

    Returns:
        ``picture`` (H, W, 3) uint8 with x to the right and z down, and the `Window` it shows.

    Raises:
        SettingError: a size below 1 or a cut that is not above the floor.
    """
    if size < 1 or not cut > 0:
        raise SettingError(f"size must be at least 1 pixel and cut above 0 m, found {size!r} and {cut!r}")
    floor = lowest_floor(scene) if floor_height is None else float(floor_height)
    vertices = scene.vertices
    storey = vertices[(vertices[:, 1] > floor - 0.5) & (vertices[:, 1] < floor + cut)]
    if window is None:
        extent = np.ptp(storey if len(storey) else vertices, axis=0)
        aspect = max(extent[0], 0.5) / max(extent[2], 0.5)
        window = Window.around(storey if len(storey) else vertices, margin=0.4, aspect=aspect, least=1.0)
    scale = size * _SUPERSAMPLING / max(window.width, window.height)
    rows = max(1, round(window.height * scale / _SUPERSAMPLING)) * _SUPERSAMPLING
    columns = max(1, round(window.width * scale / _SUPERSAMPLING)) * _SUPERSAMPLING

    corners = np.empty_like(vertices, dtype=np.float32)
    corners[:, [0, 2]] = window.pixels(vertices, rows, columns)
    corners[:, 1] = vertices[:, 1]
    height = np.full((rows, columns), -np.inf, np.float32)
    seen = np.full((rows, columns), -1, np.int32)
    lid_height = np.full((rows, columns), np.inf, np.float32)
    lid = np.full((rows, columns), -1, np.int32)
    winding = np.zeros((rows, columns), np.int16)
    _draw_down(corners, scene.triangles, floor - 0.5, floor + cut, height, seen, lid_height, lid, winding)

    known = seen >= 0
    solid = (winding > 0) & (lid >= 0)  # more of what lies above faces up than down: inside something closed
    structural = _structural(scene, np.ptp(storey[:, [0, 2]] if len(storey) else vertices[:, [0, 2]], axis=0))
    colours = _triangle_colours(scene, structural)
    base = np.full((rows, columns, 3), GROUND, np.float32)
    base[known] = colours[seen[known]]
    low = known & (height < floor + 0.12)
    ground = low & structural[np.where(known, seen, 0)]
    base[ground] = _FLOOR
    _tint_rooms(base, scene, window, floor, ground)
    base[low & ~ground] = 0.45 * base[low & ~ground] + 0.55 * np.array(_FLOOR, np.float32)  # rugs stay quiet
    base *= _light(scene, seen, np.clip(height, floor, floor + 1.3), known, scale)[..., None]
    base[solid] = colours[np.where(solid, lid, 0)][solid] * 0.72
    base[solid & structural[np.where(solid, lid, 0)]] = _WALL
    base[_section(scene, corners, floor + cut, structural, (rows, columns), scale)] = _WALL
    picture = Image.fromarray(np.clip(base, 0, 255).astype(np.uint8))
    return np.asarray(picture.reduce(_SUPERSAMPLING)), window


def lowest_floor(scene: Scene) -> float:
    """World y of the lowest floor: the lowest level with a good part of the area that faces up, metres."""
    a, b, c = (scene.vertices[scene.triangles[:, k]].astype(np.float64) for k in range(3))
    normal = np.cross(b - a, c - a)  # (M, 3), twice the area long
    flat = normal[:, 1] > 0.9 * np.linalg.norm(normal, axis=1)
    if not flat.any():
        return float(scene.bounds[0, 1])
    y, area = ((a + b + c) / 3)[flat, 1], normal[flat, 1] / 2
    bins = np.round((y - y.min()) / 0.1).astype(int)
    levels = np.bincount(bins, weights=area)
    lowest = int(np.argmax(levels >= 0.25 * levels.max()))
    return float(np.average(y[bins == lowest], weights=area[bins == lowest]))


@njit(cache=True, nogil=True)
def _draw_down(corners, triangles, bottom, cut, height, seen, lid_height, lid, winding):
    """Draw triangles straight down, the highest below ``cut`` winning.

    ``height`` and ``seen`` get the y and the triangle of the highest surface in [bottom, cut]; ``winding``
    how many more surfaces above the cut face up than down; ``lid_height`` and ``lid`` the y and the triangle
    of the lowest surface above the cut that faces up.
    """
    rows, columns = height.shape
    for t in range(len(triangles)):
        i, j, k = triangles[t]
        u0, y0, v0 = corners[i]
        u1, y1, v1 = corners[j]
        u2, y2, v2 = corners[k]
        if max(y0, y1, y2) < bottom:
            continue
        area = (u1 - u0) * (v2 - v0) - (u2 - u0) * (v1 - v0)
        if abs(area) < 1e-9:
            continue
        up = area < 0  # counter-clockwise seen from above, where v points down the picture
        first_row = max(0, int(np.ceil(min(v0, v1, v2) - 0.5)))
        last_row = min(rows - 1, int(np.floor(max(v0, v1, v2) - 0.5)))
        first_column = max(0, int(np.ceil(min(u0, u1, u2) - 0.5)))
        last_column = min(columns - 1, int(np.floor(max(u0, u1, u2) - 0.5)))
        for row in range(first_row, last_row + 1):
            v = row + 0.5
            for column in range(first_column, last_column + 1):
                u = column + 0.5
                w0 = ((u1 - u) * (v2 - v) - (u2 - u) * (v1 - v)) / area
                w1 = ((u2 - u) * (v0 - v) - (u0 - u) * (v2 - v)) / area
                w2 = 1.0 - w0 - w1
                if w0 < -1e-6 or w1 < -1e-6 or w2 < -1e-6:
                    continue
                y = w0 * y0 + w1 * y1 + w2 * y2
                if y > cut:
                    winding[row, column] += 1 if up else -1
                    if up and y < lid_height[row, column]:
                        lid_height[row, column] = y
                        lid[row, column] = t
                elif y >= bottom and y > height[row, column]:
                    height[row, column] = y
                    seen[row, column] = t


def category_colour(category: str) -> tuple[int, int, int]:
    """The colour of things of a category: the same colour for a category in every scene and run."""
    return _PALETTE[hashlib.sha256(category.encode()).digest()[0] % len(_PALETTE)]


def is_structure(category: str) -> bool:
    """Whether a category names a part of the building (wall, floor, window, ...), not a thing in it."""
    return not _STRUCTURE.isdisjoint(re.split(r"[^a-z]+", category))


def _structural(scene: Scene, storey: np.ndarray) -> np.ndarray:
    """(M,) bool: triangles of the building itself, not of a thing in it: by name, or as large as a storey."""
    count = len(scene.instances)
    ids = np.where(scene.instance_ids == NO_INSTANCE, count, scene.instance_ids)
    low, high = np.full((count + 1, 2), np.inf), np.full((count + 1, 2), -np.inf)
    for corner in range(3):
        places = scene.vertices[scene.triangles[:, corner]][:, [0, 2]].astype(np.float64)
        np.minimum.at(low, ids, places)
        np.maximum.at(high, ids, places)
    belongs = np.prod(np.maximum(high - low, 0), axis=1) > 0.4 * np.prod(storey)
    for number, instance in enumerate(scene.instances):
        belongs[number] |= is_structure(instance.category)
    belongs[count] = True
    return belongs[ids]


def _triangle_colours(scene: Scene, structural: np.ndarray) -> np.ndarray:
    """(M, 3) float32: the building plain, things by their category."""
    table = [category_colour(i.category) for i in scene.instances] + [_OBJECT]
    ids = np.where(structural, len(scene.instances), scene.instance_ids)
    return np.array(table, np.float32)[ids]


def _tint_rooms(base: np.ndarray, scene: Scene, window: Window, floor: float, ground: np.ndarray) -> None:
    """Give the floor of each room the tint of its category."""
    rows, columns = ground.shape
    mask = Image.new("L", (columns, rows), 0)
    draw = ImageDraw.Draw(mask)
    kinds = sorted({room.category for room in scene.rooms})
    for room in scene.rooms:
        if abs(room.floor_height - floor) < 0.6:
            outline = np.insert(np.asarray(room.outline, np.float64), 1, floor, axis=1)  # (N, 2) -> (N, 3)
            corners = [(float(u), float(v)) for u, v in window.pixels(outline, rows, columns)]
            draw.polygon(corners, fill=1 + kinds.index(room.category) % len(_ROOM_TINTS))
    rooms = np.asarray(mask)
    for number in range(1, int(rooms.max()) + 1):
        base[ground & (rooms == number)] = _ROOM_TINTS[number - 1]


def _light(scene: Scene, seen: np.ndarray, height: np.ndarray, known: np.ndarray, scale: float) -> np.ndarray:
    """Brightness (rows, columns): the sun's angle, its shadows, and less light in corners."""
    a, b, c = (scene.vertices[scene.triangles[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    normal *= np.where(normal[:, 1:2] < 0, -1, 1)
    sunny = np.clip(normal @ _SUN.astype(np.float32), 0, None)[np.where(known, seen, 0)] / _SUN[1]
    brightness = np.where(known, 0.52 + 0.48 * np.minimum(sunny, 1.15), 1.0).astype(np.float32)
    coarse = height[::_SUPERSAMPLING, ::_SUPERSAMPLING]
    scale /= _SUPERSAMPLING
    shadow = np.zeros(coarse.shape, np.float32)
    reach, count = 0.6, 16  # metres of shadow, samples along it
    for n in range(1, count + 1):
        distance = reach * n / count
        down, right = (round(-_SUN[axis] / _SUN[1] * distance * scale) for axis in (2, 0))
        # what stands towards the sun at this distance and is higher than the ray to it
        blocker = _shifted(coarse, down, right)
        np.maximum(shadow, np.clip((blocker - coarse - distance) / 0.08, 0, 1), out=shadow)
    soft = ndimage.uniform_filter(shadow, size=max(1, round(0.06 * scale)))
    around = ndimage.uniform_filter(coarse, size=max(1, round(0.5 * scale)))
    dim = (1 - 0.26 * soft) * (1 - np.clip((around - coarse) / 1.2, 0, 0.3))
    dim = dim.repeat(_SUPERSAMPLING, axis=0).repeat(_SUPERSAMPLING, axis=1)
    return np.where(known, brightness * dim, 1)


def _shifted(values: np.ndarray, down: int, right: int) -> np.ndarray:
    """``values`` moved by whole pixels; what comes in from outside is the lowest value."""
    rows, columns = values.shape
    moved = np.full_like(values, values.min())
    if abs(down) < rows and abs(right) < columns:
        to = (slice(max(down, 0), rows + min(down, 0)), slice(max(right, 0), columns + min(right, 0)))
        source = (slice(max(-down, 0), rows - max(down, 0)), slice(max(-right, 0), columns - max(right, 0)))
        moved[to] = values[source]
    return moved


def _section(
    scene: Scene,
    corners: np.ndarray,
    cut: float,
    structural: np.ndarray,
    shape: tuple[int, int],
    scale: float,
) -> np.ndarray:
    """Pixels (rows, columns) bool of the lines in which triangles cross the cut, thin walls filled."""
    tri = corners[scene.triangles]  # (N, 3)[(M, 3)] -> (M, 3 corners, 3)
    above = tri[..., 1] > cut
    inside = (tri[..., [0, 2]] > 0).any(axis=1) & (tri[..., [0, 2]] < shape[::-1]).any(axis=1)  # (M, 2)
    crossing = above.any(axis=1) & ~above.all(axis=1) & inside.all(axis=1)
    tri, of_building = tri[crossing], structural[crossing]
    following = np.roll(tri, -1, axis=1)
    crosses = (tri[..., 1] > cut) != (following[..., 1] > cut)  # two of three edges in every row
    share = (cut - tri[..., 1]) / np.where(crosses, following[..., 1] - tri[..., 1], 1)
    points = tri + share[..., None] * (following - tri)
    ends = points[crosses][:, [0, 2]].reshape(-1, 4)  # (2K, 2) -> (K, two ends of u and v)
    width = max(1, round(max(shape) / 900))
    masks = []
    for chosen in (of_building, ~of_building):
        image = Image.new("L", shape[::-1], 0)
        draw = ImageDraw.Draw(image)
        for line in ends[chosen].tolist():
            draw.line(line, fill=1, width=width)
        masks.append(np.asarray(image))
    # the two faces of a wall lie this close together
    thickness = max(1, round(0.22 * scale))
    filled = ndimage.minimum_filter(ndimage.maximum_filter(masks[0], thickness), thickness)
    return (filled > 0) | (masks[1] > 0)
