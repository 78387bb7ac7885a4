"""A localisation episode from above: the remembered views, the way walked, the true pose and the declared one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from envs.floor_plan import scene_topdown_picture
from envs.scenes.scene import Scene
from envs.topdown import GOAL, SHORTEST, START, Window, topdown_picture
from poma3d.pointmap import Frame, frame_from_world, invert, transform_points

if TYPE_CHECKING:
    from envs.localization import LocalizationEnv

SIDE = 560
"""Rows and columns of the map, pixels."""
_CAPTION = 40
_INK = (24, 28, 34)


def draw_localization(env: LocalizationEnv) -> np.ndarray:
    """The running episode, or the last one, as a picture (rows, columns, 3) uint8.

    Wedges in green are the remembered views; the dark dart is the agent where it is, its way is blue; the orange
    dart is the declaration.
    """
    surface = env.simulator.surface
    bounds = np.asarray(surface.bounds)
    scene_from_agent = env.memory.scene_from_agent
    world_from_scene = invert(frame_from_world(Frame.SCENE))
    places = transform_points(world_from_scene, scene_from_agent[:, :3, 3])  # (V, 3)
    window = Window.around(np.concatenate([places, env.trajectory]), margin=2.0, least=8.0)
    floor = float(env.position[1])
    scene = getattr(env.simulator, "scene", None)
    plan = None
    if isinstance(scene, Scene):
        plan, _ = scene_topdown_picture(scene, floor_height=floor, cut=1.7, window=window, size=SIDE)
    picture = topdown_picture(
        surface.topdown_map(floor),
        bounds,
        path=env.trajectory,
        start=env.trajectory[0],
        position=env.position,
        heading=env.heading,
        window=window,
        backdrop=plan,
        backdrop_window=window,
        size=(SIDE, SIDE),
        marker_scale=0.8,
    )
    canvas = Image.new("RGB", (SIDE, SIDE + _CAPTION), (250, 250, 250))
    canvas.paste(Image.fromarray(picture), (0, 0))
    layer = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    radius = SIDE / 45
    for (u, v), yaw in zip(window.pixels(places, SIDE, SIDE), env.memory.poses[:, 2], strict=True):
        middle = -math.degrees(yaw)  # clockwise from the right, as PIL counts, the scene's y pointing up
        half = env.camera.hfov / 2
        box = (u - 1.6 * radius, v - 1.6 * radius, u + 1.6 * radius, v + 1.6 * radius)
        draw.pieslice(box, middle - half, middle + half, fill=(*START, 90), outline=(*START, 200))
    if env.declared is not None:
        x, y, yaw = (float(value) for value in env.declared)
        claimed = np.array([[x, floor, -y], env.position])
        (u, v), true = window.pixels(claimed, SIDE, SIDE)
        draw.line([(u, v), tuple(true)], fill=(*GOAL, 255), width=2)
        dart = [
            (u + reach * 1.3 * radius * math.cos(yaw + turn), v - reach * 1.3 * radius * math.sin(yaw + turn))
            for reach, turn in ((1.0, 0.0), (0.95, 2.4), (0.4, math.pi), (0.95, -2.4))
        ]
        draw.polygon(dart, fill=(*SHORTEST, 230), outline=(*GOAL, 255))
    canvas.paste(layer, (0, 0), layer)
    ImageDraw.Draw(canvas).text((8, SIDE + 6), _caption(env), fill=_INK)
    return np.asarray(canvas)


def _caption(env: LocalizationEnv) -> str:
    episode = f"episode {env.episode.episode_id} in {env.episode.scene_id.rsplit('/', 1)[-1]}"
    position, heading = env.errors()
    found = "nothing declared"
    if math.isfinite(position):
        found = f"{position:.2f} m and {heading:.1f} degrees off"
    return f"{episode}: {found}\ngreen: {len(env.memory)} remembered views   dark: true pose   orange: declared pose"
