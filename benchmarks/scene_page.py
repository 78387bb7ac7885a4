"""The page of a scene: floor plans, where one can walk, views from inside, what is in it."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.page import cell, facts, page, picture, section, table, tiles, warning
from envs.embodiment import AgentSpec
from envs.floor_plan import scene_topdown_picture
from envs.pictures import first_person
from envs.scenes.scene import Scene
from envs.simulators.open import SceneSpec, open_simulator
from envs.simulators.protocol import Simulator
from envs.topdown import topdown_picture
from poma3d.errors import SceneError
from poma3d.files import write_text
from poma3d.pointmap import Camera, rotation_from_heading, world_from_pose

_SAMPLES = 200
_MOST_STOREYS = 4
_STOREY = 1.8
"""Floors farther apart than this are different storeys, metres."""
_LEVEL = 0.25
"""Places within this height belong to one floor, metres."""


def scene_page(
    spec: SceneSpec,
    out: str | os.PathLike[str],
    *,
    agent: AgentSpec | None = None,
    seed: int = 0,
    views: int = 6,
    scenes_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Write the page of a scene.

    Args:
        spec: a mesh file, ``procedural:SPLIT:N``, or a scene.
        out: the file to write.
        agent: the body that walks; habitat-lab's by default.
        seed: of the places that are looked from.
        views: how many views from inside.
        scenes_dir: folder that relative paths are looked up in.

    Returns:
        The page.

    Raises:
        UserError: the scene cannot be used; the message says why.
    """
    simulator = open_simulator(spec, agent, scenes_dir=scenes_dir)
    try:
        scene: Scene = getattr(simulator, "scene")  # noqa: B009  (the built-in backend's own)
        parts = [_numbers(simulator, scene)]
        try:
            places = _places(simulator, np.random.default_rng(seed))
        except SceneError as error:
            parts.append(warning("Nobody can walk in this scene.", [str(error)]))
            parts.append(section("From above", _plan(scene, None)))
        else:
            parts.append(_storeys(simulator, scene, places))
            parts.append(_views(simulator, scene, places, views))
        parts += [_things(scene), _rooms(scene), _details(scene)]
    finally:
        simulator.close()
    extent = np.ptp(scene.bounds, axis=0)
    lead = f"{extent[0]:.1f} x {extent[2]:.1f} m, {extent[1]:.1f} m high"
    html = page(
        "scene", scene.scene_id, lead, [p for p in parts if p], command=f"pomagym view {scene.scene_id}"
    )
    write_text(out, html)
    return Path(out)


def storey_heights(points: np.ndarray) -> list[float]:
    """Heights of the floors that most of the places (N, 3) stand on, lowest first, metres.

    Stairs, tables and roofs of cupboards give single places at other heights; they make no storey.
    """
    bins = np.round(points[:, 1] / _LEVEL).astype(int)
    levels, counts = np.unique(bins, return_counts=True)
    floors: list[int] = []
    for level in levels[np.argsort(-counts, kind="stable")]:
        share = float(np.mean(bins == level))
        if share > 0.08 and all(abs(level - other) * _LEVEL > _STOREY for other in floors):
            floors.append(int(level))
    heights = [float(np.median(points[bins == level, 1])) for level in floors[:_MOST_STOREYS]]
    return sorted(heights)


def _places(simulator: Simulator, rng: np.random.Generator) -> np.ndarray:
    """Places (N, 3) spread over the surface by area."""
    return np.stack([simulator.surface.random_navigable_point(rng) for _ in range(_SAMPLES)])


def _numbers(simulator: Simulator, scene: Scene) -> str:
    things = sum(1 for i in scene.instances if i.category not in ("wall", "floor", "ceiling"))
    values = [
        (f"{len(scene.triangles):,}", "triangles", f"{simulator.memory_bytes() / 2**20:.0f} MiB in memory")
    ]
    try:
        areas = np.asarray(simulator.surface.island_areas)
        islands = "1 island" if len(areas) == 1 else f"{len(areas)} islands, the largest {areas[0]:.0f} m²"
        values.append((f"{areas.sum():.0f} m²", "to walk on", islands))
    except SceneError:
        values.append(("0 m²", "to walk on", "no floor to stand on"))
    if scene.instances:
        values.append((str(things), "objects", f"of {len(scene.categories)} categories"))
    if scene.rooms:
        values.append((str(len(scene.rooms)), "rooms", ", ".join(sorted({r.category for r in scene.rooms}))))
    return tiles(values)


def _plan(scene: Scene, floor: float | None) -> str:
    image, _ = scene_topdown_picture(scene, floor_height=floor, size=1000)
    return picture(image, f"{scene.scene_id} from above")


def _storeys(simulator: Simulator, scene: Scene, places: np.ndarray) -> str:
    """The floor plan and the walkable map of each storey."""
    figures = []
    bounds = np.asarray(simulator.surface.bounds)
    for number, floor in enumerate(storey_heights(places)):
        name = "" if number == 0 else f", storey {number + 1}"
        plan, window = scene_topdown_picture(scene, floor_height=floor, size=1000)
        navigable = simulator.surface.topdown_map(floor + 0.1)
        size = (plan.shape[0], plan.shape[1])
        walkable = topdown_picture(navigable, bounds, window=window, size=size)
        above = f"floor at y = {floor:.2f} m{name}; what is more than 1.8 m above it is cut away"
        figures.append(picture(plan, f"floor plan{name}", caption=above))
        body = simulator.agent
        who = f"light: where an agent of radius {body.radius:g} m and height {body.height:g} m can be{name}"
        figures.append(picture(walkable, f"walkable map{name}", caption=who))
    wide = ' class="gallery wide"' if np.ptp(bounds[:, 0]) < 3 * np.ptp(bounds[:, 2]) else ""
    note = "World x to the right, z down: a heading of 0 looks up the picture."
    return section("From above", f"<div{wide}>{''.join(figures)}</div>", note)


def _views(simulator: Simulator, scene: Scene, places: np.ndarray, count: int) -> str:
    """Point maps from places in the scene, each in the direction that shows most."""
    camera = Camera(240, 320, 90.0)
    body = replace(simulator.agent, camera=camera)
    eye = np.array([0.0, body.camera_height, 0.0])
    headings = np.arange(8) * math.pi / 4
    figures = []
    for place in places[:: max(1, len(places) // max(count, 1))][:count]:
        around = world_from_pose(np.repeat((place + eye)[None], 8, axis=0), rotation_from_heading(headings))
        small = simulator.render(around, Camera(24, 32, 90.0), depth_range=body.depth_range)
        spread = [
            float(np.linalg.norm(p[v] - place, axis=-1).std()) * v.mean() if v.any() else 0.0
            for p, v in zip(small.point_map, small.valid, strict=True)
        ]
        best = int(np.argmax(spread))
        seen = simulator.render(around[best : best + 1], camera, depth_range=body.depth_range)
        image = first_person(seen.point_map[0], seen.valid[0], scene.bounds)
        x, y, z = place
        where = f"from ({x:.1f}, {y:.1f}, {z:.1f}) m, heading {math.degrees(headings[best]):.0f}°"
        figures.append(picture(image, f"point map {where}", caption=where))
    note = "Point maps, XYZ as colour, from places drawn at random on the walkable surface."
    return section("From inside", f'<div class="gallery">{"".join(figures)}</div>', note)


def _things(scene: Scene) -> str:
    counts = Counter(i.category for i in scene.instances)
    if not counts:
        return section("Objects", "<p>This scene has no semantics.</p>")
    rows = [("", [cell(name), cell(str(n), n, number=True)]) for name, n in sorted(counts.items())]
    columns = [("category", False), ("objects", True)]
    content = table(columns, rows, caption="categories", name="categories", sortable=True, tall=True)
    return section(f"Objects ({len(scene.instances)})", content)


def _rooms(scene: Scene) -> str:
    if not scene.rooms:
        return ""
    rows = []
    for room in scene.rooms:
        x, z = np.asarray(room.outline, np.float64).T
        area = abs(float(np.dot(x, np.roll(z, -1)) - np.dot(z, np.roll(x, -1)))) / 2
        inside = sum(1 for i in scene.instances if i.room == room.name)
        cells = [cell(room.name), cell(room.category), cell(f"{area:.1f}", area, number=True)]
        rows.append(("", [*cells, cell(str(inside), inside, number=True)]))
    columns = [("room", False), ("category", False), ("area, m²", True), ("objects", True)]
    return section("Rooms", table(columns, rows, caption="rooms", sortable=True))


def _details(scene: Scene) -> str:
    low, high = scene.bounds
    return section(
        "Details",
        facts(
            {
                "scene id": scene.scene_id,
                "lowest corner": ", ".join(f"{v:.2f}" for v in low) + " m (world frame, y up)",
                "highest corner": ", ".join(f"{v:.2f}" for v in high) + " m",
                "vertices": f"{len(scene.vertices):,}",
                "content sha256": scene.content_hash,
            }
        ),
    )
