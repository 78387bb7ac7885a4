"""The page of a ``.navmesh`` file: where one can walk on each storey, its islands, and how it was made."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.page import cell, facts, page, picture, section, table, tiles
from benchmarks.scene_page import storey_heights
from envs.simulators.walkable.detour_file import read_navmesh
from envs.simulators.walkable.surface import NavmeshSurface
from envs.topdown import Window, topdown_picture
from poma3d.files import write_text

_SAMPLES = 200
_WIDTH = 1000
_MOST_ISLANDS = 50


def navmesh_page(path: str | os.PathLike[str], out: str | os.PathLike[str], *, seed: int = 0) -> Path:
    """Write the page of a navmesh file.

    Args:
        path: the ``.navmesh`` file.
        out: the page to write.
        seed: of the places that tell the storeys.

    Returns:
        The page.

    Raises:
        FileError: the navmesh is damaged, or the page cannot be written.
    """
    navmesh = read_navmesh(path)
    surface = NavmeshSurface(navmesh)
    rng = np.random.default_rng(seed)
    places = np.stack([surface.random_navigable_point(rng) for _ in range(_SAMPLES)])
    areas = np.asarray(surface.island_areas)
    islands = "1 island" if len(areas) == 1 else f"{len(areas)} islands, the largest {areas[0]:.0f} m²"
    storeys = storey_heights(places)
    numbers = [
        (f"{areas.sum():.0f} m²", "to walk on", islands),
        (f"{len(navmesh.polygons):,}", "polygons", f"{len(navmesh.vertices):,} corners"),
        (str(len(storeys)), "storeys" if len(storeys) > 1 else "storey", ""),
    ]
    bounds = np.asarray(surface.bounds)
    extent = bounds[1] - bounds[0]
    rows = [
        ("", [cell(str(number), number, number=True), cell(f"{area:.2f}", float(area), number=True)])
        for number, area in enumerate(areas[:_MOST_ISLANDS])
    ]
    details = {
        **asdict(navmesh.settings),
        "lowest corner": ", ".join(f"{v:.2f}" for v in bounds[0]) + " m (world frame, y up)",
        "highest corner": ", ".join(f"{v:.2f}" for v in bounds[1]) + " m",
    }
    figures = [_storey(surface, floor, bounds) for floor in storeys]
    note = "World x to the right, z down: a heading of 0 looks up the picture."
    parts = [
        tiles(numbers),
        section("From above", f"<div>{''.join(figures)}</div>", note),
        section("Islands", table([("island", True), ("area, m²", True)], rows, caption="islands", tall=True)),
        section("Made with", facts({name: str(value) for name, value in details.items()})),
    ]
    lead = f"{extent[0]:.1f} x {extent[2]:.1f} m"
    write_text(out, page("navmesh", Path(path).name, lead, parts, command=f"pomagym view {path}"))
    return Path(out)


def _storey(surface: NavmeshSurface, floor: float, bounds: np.ndarray) -> str:
    """The map of one storey."""
    window = Window.around(bounds, aspect=_aspect(bounds))
    size = (max(1, round(_WIDTH * window.height / window.width)), _WIDTH)
    image = topdown_picture(surface.topdown_map(floor + 0.1), bounds, window=window, size=size)
    return picture(image, "walkable map", caption=f"light: where one can walk, floor at y = {floor:.2f} m")


def _aspect(bounds: np.ndarray) -> float:
    extent = np.maximum((bounds[1] - bounds[0])[[0, 2]], 1.0)
    return float(np.clip(extent[0] / extent[1], 0.5, 3.0))
