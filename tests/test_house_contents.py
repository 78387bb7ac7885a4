"""What is in procedural houses: rooms and furniture as people have them, everything reachable and in its place."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from house_examples import HOUSES, SHELL, extents, things, val
from scipy.ndimage import binary_erosion, label

from envs.scenes.scene import Scene

# --- rooms and what makes them


def test_rooms():
    counts = [len(val(seed).rooms) for seed in range(HOUSES)]
    assert set(counts) == {3, 4, 5, 6, 7, 8}
    kinds = {room.category for seed in range(HOUSES) for room in val(seed).rooms}
    assert kinds == {"living room", "kitchen", "dining room", "bedroom", "bathroom", "hallway", "study"}
    for seed in range(HOUSES):
        for room in val(seed).rooms:
            x, z = room.outline.T
            area = 0.5 * np.sum(x * -np.roll(z, -1) - np.roll(x, -1) * -z)
            assert area > 3.0, (
                "outlines run counter-clockwise seen from above, around at least 3 square metres"
            )


def test_categories():
    found: dict[str, int] = {}
    for seed in range(HOUSES):
        for category in set(val(seed).categories) - SHELL:
            found[category] = found.get(category, 0) + 1
    assert len([c for c, houses in found.items() if houses >= 3]) >= 25
    assert len(found) >= 50
    for common in (
        "bed",
        "sofa",
        "toilet",
        "refrigerator",
        "stove",
        "sink",
        "chair",
        "wardrobe",
        "tv",
        "plant",
    ):
        assert found[common] >= 0.6 * HOUSES, common


def test_rooms_hold_what_makes_them():
    needed = {
        "bedroom": ["bed"],
        "kitchen": ["stove", "sink", "refrigerator"],
        "bathroom": ["toilet", "washbasin"],
        "living room": ["sofa"],
        "study": ["desk"],
        "dining room": ["dining table"],
    }
    rooms, lacking = 0, []
    for seed in range(HOUSES):
        scene = val(seed)
        for room in scene.rooms:
            present = {i.category for i in scene.instances if i.room == room.name}
            rooms += 1
            lacking += [(seed, room.name, c) for c in needed.get(room.category, []) if c not in present]
    assert len(lacking) <= 0.02 * rooms, lacking


def test_size_and_semantics():
    for seed in range(HOUSES):
        scene = val(seed)
        assert 15_000 < len(scene.triangles) < 110_000
        assert scene.bounds[0, 1] == 0.0
        assert scene.bounds[1, 1] == pytest.approx(scene.metadata["ceiling_height"], abs=1e-3)
        names = [i.name for i in scene.instances]
        assert len(set(names)) == len(names)
        assert set(np.unique(scene.instance_ids)) == set(range(len(scene.instances)))
        rooms = {room.name for room in scene.rooms}
        for i in scene.instances:
            assert i.name.startswith(i.category + ".")
            assert i.room in rooms or (i.category == "wall" and i.room is None)


# --- where things stand


@lru_cache(maxsize=HOUSES)
def floor_and_obstacles(
    seed: int, cell: float = 0.05, height: float = 1.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of floor, cells with anything on it (from points sprinkled over its triangles), their corner."""
    scene = val(seed)
    corner = scene.bounds[0][[0, 2]] - 0.2
    size = np.ceil((scene.bounds[1][[0, 2]] + 0.2 - corner) / cell).astype(int)
    apart = np.array([i.category in ("wall", "floor", "ceiling", "rug") for i in scene.instances])
    corners = scene.vertices[scene.triangles[~apart[scene.instance_ids]]]  # (M, 3, 3)
    in_the_way = (corners[..., 1].max(axis=1) > 0.05) & (corners[..., 1].min(axis=1) < height)
    a, b, c = (corners[in_the_way, k] for k in range(3))
    taken = np.zeros(size, dtype=bool)
    longest = np.sqrt(np.maximum.reduce([((p - q) ** 2).sum(axis=1) for p, q in ((a, b), (b, c), (c, a))]))
    for steps in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
        these = (longest <= steps * cell * 0.7) & (longest > (steps / 2 if steps > 1 else 0) * cell * 0.7)
        i, j = (w.ravel() for w in np.meshgrid(np.arange(steps + 1), np.arange(steps + 1)))
        i, j = ((w[i + j <= steps] / steps).astype(np.float32)[:, None] for w in (i, j))
        for start in range(0, int(these.sum()), max(1, 2_000_000 // len(i))):
            part = slice(start, start + max(1, 2_000_000 // len(i)))
            p, q, r = a[these][part], b[these][part], c[these][part]
            points = p[:, None] + (q - p)[:, None] * i + (r - p)[:, None] * j
            points = points[(points[..., 1] > 0.05) & (points[..., 1] < height)]
            at = ((points[:, [0, 2]] - corner) / cell).astype(np.int32)
            taken.ravel()[at[:, 0] * size[1] + at[:, 1]] = True
    floors = np.zeros(size, dtype=bool)
    rects = [r.outline for r in scene.rooms] + [np.array(d).reshape(2, 2) for d in scene.metadata["doors"]]
    centre = [corner[k] + (np.arange(size[k]) + 0.5) * cell for k in (0, 1)]
    for rect in rects:
        low, high = rect.min(axis=0) - cell / 2, rect.max(axis=0) + cell / 2
        inside = [(centre[k] > low[k]) & (centre[k] < high[k]) for k in (0, 1)]
        floors |= inside[0][:, None] & inside[1][None]
    return floors, taken, corner


@pytest.mark.parametrize("radius", [0.1, 0.18])
def test_every_room_can_be_reached(radius):
    cell = 0.05
    reach = np.arange(-int(radius / cell) - 1, int(radius / cell) + 2) * cell
    disc = reach[:, None] ** 2 + reach[None] ** 2 <= (radius + 1e-9) ** 2
    for seed in range(HOUSES):
        scene = val(seed)
        floors, taken, corner = floor_and_obstacles(seed, cell)
        parts, _ = label(binary_erosion(floors & ~taken, disc))
        main = int(np.bincount(parts.ravel())[1:].argmax()) + 1
        for room in scene.rooms:
            (i0, j0), (i1, j1) = (
                np.floor((room.outline.min(axis=0) - corner) / cell).astype(int),
                np.ceil((room.outline.max(axis=0) - corner) / cell).astype(int),
            )
            own = parts[i0:i1, j0:j1]
            reached, walk = (own == main).sum() * cell**2, (own > 0).sum() * cell**2
            assert reached > 0.2, f"{scene.scene_id}: {room.name} cannot be reached"
            assert walk - reached < 1.0, (
                f"{scene.scene_id}: {walk - reached:.1f} m2 of {room.name} are cut off"
            )


def room_bounds(scene: Scene) -> dict[str, np.ndarray]:
    return {r.name: np.stack([r.outline.min(axis=0), r.outline.max(axis=0)]) for r in scene.rooms}


def test_things_are_inside_their_room():
    for seed in range(HOUSES):
        bounds = room_bounds(val(seed))
        for _, instance, box in things(seed):
            low, high = bounds[instance.room]
            assert (box[0][[0, 2]] > low - 2e-3).all(), (seed, instance)
            assert (box[1][[0, 2]] < high + 2e-3).all(), (seed, instance)
            assert box[0][1] > -2e-3, (seed, instance)
            assert box[1][1] < val(seed).metadata["ceiling_height"] + 2e-3, (seed, instance)


def test_doors_stay_clear():
    for seed in range(HOUSES):
        for x0, z0, x1, z1 in val(seed).metadata["doors"]:
            width, thick = (x1 - x0, z1 - z0) if x1 - x0 > z1 - z0 else (z1 - z0, x1 - x0)
            assert width >= 0.9 - 1e-6
            across = np.array([0.0, 0.6] if x1 - x0 == width else [0.6, 0.0])
            low, high = np.array([x0, z0]) - across, np.array([x1, z1]) + across
            for _, instance, box in things(seed):
                if instance.category == "rug" or box[0][1] > 1.6:
                    continue
                a, b = box[0][[0, 2]], box[1][[0, 2]]
                assert (b < low + 0.01).any() or (a > high - 0.01).any(), (seed, instance, thick)


NESTED = [
    {"chair", "dining table"},
    {"chair", "desk"},
    {"office chair", "desk"},
    {"stool", "kitchen island"},
    {"bench", "piano"},
    {"chair"},
]
"""What stands under or over one another by intent."""


def test_things_do_not_run_into_each_other():
    clashes = []
    pairs = 0
    for seed in range(HOUSES):
        standing = [(i, box) for _, i, box in things(seed) if box[0][1] < 0.05 and i.category != "rug"]
        for n, (first, a) in enumerate(standing):
            for second, b in standing[:n]:
                pairs += 1
                depth = np.minimum(a[1], b[1]) - np.maximum(a[0], b[0])
                nested = {first.category, second.category} in NESTED
                if (depth > 0.03).all() and not nested:
                    clashes.append((seed, first.name, second.name))
    assert pairs > 1000
    assert not clashes


def test_nothing_floats():
    for seed in range(HOUSES):
        scene = val(seed)
        bounds = room_bounds(scene)
        boxes_ = extents(seed)
        for k, instance, box in things(seed):
            low, high = bounds[instance.room]
            centre = box.mean(axis=0)
            on_wall = min((box[0][[0, 2]] - low).min(), (high - box[1][[0, 2]]).min()) < 0.03
            at_ceiling = box[1][1] > scene.metadata["ceiling_height"] - 0.02
            below = (boxes_[:, 0, [0, 2]] - 0.02 < centre[[0, 2]]).all(axis=1)
            below &= (boxes_[:, 1, [0, 2]] + 0.02 > centre[[0, 2]]).all(axis=1)
            below &= (boxes_[:, 1, 1] > box[0][1] - 0.02) & (boxes_[:, 0, 1] < box[0][1])
            below[k] = False
            assert box[0][1] < 0.02 or on_wall or at_ceiling or below.any(), (seed, instance)


def test_chairs_face_their_table():
    """The back of a chair (what rises above the seat) lies on the far side from the table."""
    seen = 0
    for seed in range(HOUSES):
        tables = [(i, box) for _, i, box in things(seed) if i.category == "dining table"]
        for k, instance, box in things(seed):
            near = [t for i, t in tables if i.room == instance.room]
            if instance.category != "chair" or not near:
                continue
            table = near[0].mean(axis=0)[[0, 2]]
            points = val(seed).instance_vertices(k)
            back, whole = points[points[:, 1] > 0.6].mean(axis=0)[[0, 2]], box.mean(axis=0)[[0, 2]]
            if np.abs(whole - table).max() < 1.4:
                seen += 1
                assert (back - whole) @ (whole - table) > 0, (seed, instance.name)
    assert seen > 40
