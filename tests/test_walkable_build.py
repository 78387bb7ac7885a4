"""The walkable surface built from triangles: known shapes, bad input, Habitat's own surfaces, and the cache."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from envs.embodiment import NavmeshSettings
from envs.scenes.mesh import load_scene
from envs.scenes.scene import Scene
from envs.simulators.walkable import cache
from envs.simulators.walkable.build import build_navmesh
from envs.simulators.walkable.detour_file import read_navmesh
from envs.simulators.walkable.heights import read_heights
from envs.simulators.walkable.navmesh import Navmesh
from envs.simulators.walkable.rasterise import walkable_triangles
from envs.simulators.walkable.voxels import open_spans
from poma3d.errors import SceneError, SettingError

ARRAYS = ("vertices", "polygons", "neighbours", "detail_vertices", "detail_triangles", "detail_offsets")
CELL = 0.05
_CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
_FACES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 7, 5], [4, 6, 7], [0, 5, 1], [0, 4, 5]),
        *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
    ]
)


class Blocks:
    """Boxes and quadrilaterals, collected into one mesh."""

    def __init__(self):
        self.vertices, self.triangles = [], []

    def add(self, vertices, triangles):
        offset = sum(len(v) for v in self.vertices)
        self.vertices.append(np.asarray(vertices, np.float32))
        self.triangles.append(np.asarray(triangles, np.int32) + offset)
        return self

    def box(self, low, high):
        return self.add(np.asarray(low) + _CUBE * (np.asarray(high) - np.asarray(low)), _FACES)

    def floor(self, x0, z0, x1, z1, y=0.0, y_end=None):
        end = y if y_end is None else y_end
        return self.add([[x0, y, z0], [x0, y, z1], [x1, end, z1], [x1, end, z0]], [[0, 1, 2], [0, 2, 3]])

    def mesh(self):
        return np.concatenate(self.vertices), np.concatenate(self.triangles)

    def build(self, **changes) -> Navmesh:
        return build_navmesh(*self.mesh(), replace(NavmeshSettings(), **changes))


def corners(mesh: Navmesh, p: int) -> np.ndarray:
    return mesh.vertices[mesh.polygons[p][mesh.polygons[p] >= 0]].astype(float)


def area(mesh: Navmesh, chosen=None) -> float:
    total = 0.0
    for p in range(len(mesh.polygons)) if chosen is None else chosen:
        x, z = corners(mesh, p)[:, [0, 2]].T
        total += 0.5 * abs(np.dot(x, np.roll(z, 1)) - np.dot(z, np.roll(x, 1)))
    return total


def islands(mesh: Navmesh) -> np.ndarray:
    p, k = np.nonzero(mesh.neighbours >= 0)
    links = coo_array((np.ones(len(p)), (p, mesh.neighbours[p, k])), shape=(len(mesh.polygons),) * 2)
    return connected_components(links, directed=False)[1]


def polygon_at(mesh: Navmesh, x: float, z: float, y: float = 0.0, tolerance: float = 0.5) -> int:
    """The polygon that covers (x, z) near height y, or -1."""
    for p in range(len(mesh.polygons)):
        ring = corners(mesh, p)
        along = np.roll(ring, -1, axis=0) - ring
        side = along[:, 0] * (z - ring[:, 2]) - along[:, 2] * (x - ring[:, 0])
        if ((side >= 0).all() or (side <= 0).all()) and abs(ring[:, 1].mean() - y) <= tolerance:
            return p
    return -1


def width_at(mesh: Navmesh, x: float) -> float:
    """Total length of the surface along z at one x."""
    total = 0.0
    for p in range(len(mesh.polygons)):
        ring = corners(mesh, p)
        crossings = []
        for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if (a[0] <= x) != (b[0] <= x):
                crossings.append(a[2] + (b[2] - a[2]) * (x - a[0]) / (b[0] - a[0]))
        if crossings:
            total += max(crossings) - min(crossings)
    return total


def check_sound(mesh: Navmesh) -> None:
    """Convex polygons, neighbours that agree, detail that covers each polygon, nothing that is not finite."""
    for p in range(len(mesh.polygons)):
        ring = corners(mesh, p)
        along = np.roll(ring, -1, axis=0) - ring
        after = np.roll(along, -1, axis=0)
        turns = along[:, 0] * after[:, 2] - along[:, 2] * after[:, 0]
        assert (turns <= 1e-6).all() or (turns >= -1e-6).all()
        count = mesh.corner_counts[p]
        for k in range(count):
            q = mesh.neighbours[p, k]
            if q >= 0:
                edge = {int(mesh.polygons[p, k]), int(mesh.polygons[p, (k + 1) % count])}
                back = [m for m in range(mesh.corner_counts[q]) if mesh.neighbours[q, m] == p]
                n = mesh.corner_counts[q]
                assert edge in [{int(mesh.polygons[q, m]), int(mesh.polygons[q, (m + 1) % n])} for m in back]
        triangles = mesh.detail_triangles[mesh.detail_offsets[p] : mesh.detail_offsets[p + 1]]
        a, b, c = mesh.detail_vertices[triangles][:, :, [0, 2]].astype(float).transpose(1, 0, 2)
        covered = 0.5 * np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).sum()
        assert covered == pytest.approx(area(mesh, [p]), abs=1e-4)
    assert np.isfinite(mesh.vertices).all()
    assert np.isfinite(mesh.detail_vertices).all()


@pytest.mark.parametrize(("side", "radius"), [(5.0, 0.1), (4.0, 0.4), (7.3, 0.18)])
def test_a_square_floor_loses_the_radius_on_every_side(side, radius):
    mesh = Blocks().floor(0, 0, side, side).build(agent_radius=radius)
    assert np.sqrt(area(mesh)) == pytest.approx(side - 2 * radius, abs=3 * CELL)
    assert len(set(islands(mesh))) == 1
    check_sound(mesh)


@pytest.mark.parametrize(("door", "open_"), [(1.0, True), (0.6, True), (0.15, False)])
def test_a_door_lets_the_agent_through_where_it_is_wide_enough(door, open_):
    room = Blocks().floor(0, 0, 6, 4)
    room.box([2.95, 0, 0], [3.05, 2.5, 2 - door / 2]).box([2.95, 0, 2 + door / 2], [3.05, 2.5, 4])
    mesh = room.build(agent_radius=0.1)
    ids = islands(mesh)
    left, right = polygon_at(mesh, 1, 2), polygon_at(mesh, 5, 2)
    assert left >= 0
    assert right >= 0
    assert (ids[left] == ids[right]) == open_
    assert width_at(mesh, 3.0) == pytest.approx(door - 0.2 if open_ else 0.0, abs=3 * CELL)
    assert width_at(mesh, 1.0) == pytest.approx(4 - 0.2, abs=3 * CELL)
    check_sound(mesh)


@pytest.mark.parametrize(("riser", "reached"), [(0.1, True), (0.18, True), (0.45, False)])
def test_stairs_are_climbed_up_to_max_climb(riser, reached):
    steps = 8
    stairs = Blocks().floor(0, 0, 4, 3)
    for n in range(steps):
        stairs.box([4 + 0.3 * n, 0, 0], [4 + 0.3 * (n + 1), riser * (n + 1), 3])
    top = riser * steps
    stairs.box([4 + 0.3 * steps, 0, 0], [10, top, 3])
    mesh = stairs.build(max_climb=0.2)
    ids = islands(mesh)
    bottom, landing = polygon_at(mesh, 1, 1.5, tolerance=2), polygon_at(mesh, 9, 1.5, top, tolerance=2)
    assert bottom >= 0
    assert landing >= 0
    assert (ids[bottom] == ids[landing]) == reached
    heights = mesh.vertices[:, 1]
    assert heights.max() == pytest.approx(top, abs=0.4)
    check_sound(mesh)


def test_storeys_are_separate_and_both_walked():
    mesh = Blocks().floor(0, 0, 5, 5).floor(0, 0, 5, 5, y=3.0).build()
    ids = islands(mesh)
    low, high = polygon_at(mesh, 2, 2, 0.0), polygon_at(mesh, 2, 2, 3.0)
    assert ids[low] != ids[high]
    assert area(mesh, np.flatnonzero(ids == ids[low])) == area(mesh, np.flatnonzero(ids == ids[high]))
    check_sound(mesh)


def test_a_ramp_is_walked_up_to_max_slope():
    def ramp(degrees):
        return Blocks().floor(0, 0, 4, 4, y=0.0, y_end=4 * np.tan(np.radians(degrees)))

    assert area(ramp(30).build()) > 10
    assert area(ramp(44).build()) > 10
    with pytest.raises(SceneError, match="face up at 45 degrees"):
        ramp(46).build()
    with pytest.raises(SceneError, match="no floor to stand on"):
        ramp(30).build(max_slope=20.0)


def test_a_ramp_joins_two_heights():
    mesh = Blocks().floor(0, 0, 3, 3).floor(3, 0, 7, 3, y=0.0, y_end=2.0).floor(7, 0, 10, 3, y=2.0).build()
    ids = islands(mesh)
    assert ids[polygon_at(mesh, 1, 1.5, tolerance=2)] == ids[polygon_at(mesh, 9, 1.5, tolerance=3)]
    # one long polygon bends at both ends of the ramp; within the error Recast allows (a cell height) and two voxels
    expected = np.clip((mesh.detail_vertices[:, 0] - 3) / 2, 0, 2)
    assert np.abs(mesh.detail_vertices[:, 1] - expected).max() <= 0.6
    bends = mesh.detail_vertices[(mesh.detail_vertices[:, 0] > 0.5) & (mesh.detail_vertices[:, 0] < 9.5), 0]
    assert np.abs(bends[:, None] - [3, 7]).min(axis=0).max() < 0.5


def test_only_a_small_agent_walks_under_a_table():
    table = Blocks().floor(0, 0, 6, 6).box([2, 0.9, 2], [4, 1.0, 4])
    assert polygon_at(table.build(agent_height=1.5), 3, 3, 0.0, 0.3) == -1
    assert polygon_at(table.build(agent_height=0.5), 3, 3, 0.0, 0.3) >= 0


def test_a_threshold_is_stepped_over_and_a_chest_is_not():
    low = Blocks().floor(0, 0, 6, 3).box([2.9, 0, 0], [3.1, 0.1, 3]).build()
    high = Blocks().floor(0, 0, 6, 3).box([2.9, 0, 0], [3.1, 0.7, 3]).build()
    for mesh, joined in ((low, True), (high, False)):
        ids = islands(mesh)
        assert (ids[polygon_at(mesh, 1, 1.5)] == ids[polygon_at(mesh, 5, 1.5)]) == joined


# lower than the agent: Recast, like Habitat, walks inside hollow furniture that is as high as the agent
boxes = st.lists(
    st.tuples(
        st.floats(0, 4.5), st.floats(0, 4.5), st.floats(0.05, 2), st.floats(0.05, 2), st.floats(0.3, 1.4)
    ),
    max_size=6,
)


@settings(max_examples=30, deadline=None)
@given(boxes)
def test_any_furnished_room_gives_a_sound_surface_clear_of_the_furniture(pieces):
    room = Blocks().floor(0, 0, 5, 5)
    for x, z, width, depth, height in pieces:
        room.box([x, 0, z], [min(x + width, 5), height, min(z + depth, 5)])
    try:
        mesh = room.build()
    except SceneError as error:
        assert "no floor to stand on" in str(error)  # noqa: PT017
        return
    check_sound(mesh)
    ground = mesh.vertices[mesh.vertices[:, 1] < 0.3]
    for x, z, width, depth, _ in pieces:
        inside_x = (ground[:, 0] > x) & (ground[:, 0] < x + width)
        inside_z = (ground[:, 2] > z) & (ground[:, 2] < z + depth)
        assert not (inside_x & inside_z).any()


def test_the_same_triangles_give_the_same_bytes():
    room = Blocks().floor(0, 0, 5, 5).box([1, 0, 1], [2, 1, 3]).box([3, 0, 2], [3.4, 2, 5])
    first, second = room.build(), room.build()
    for name in ARRAYS:
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def test_triangles_without_area_change_nothing():
    vertices, triangles = Blocks().floor(0, 0, 5, 5).box([1, 0, 1], [2, 1, 3]).mesh()
    flat = np.array([[0, 0, 0], [0, 1, 1], [0, 2, 0], [5, 5, 5]], np.int32)
    plain = build_navmesh(vertices, triangles, NavmeshSettings())
    added = build_navmesh(vertices, np.concatenate([triangles, flat]), NavmeshSettings())
    for name in ARRAYS:
        assert np.array_equal(getattr(plain, name), getattr(added, name))


def test_scenes_without_a_floor_are_refused():
    with pytest.raises(SceneError, match="is the up axis y"):
        Blocks().add([[0, 0, 0], [5, 0, 0], [5, 5, 0.5], [0, 5, 0.5]], [[0, 1, 2], [0, 2, 3]]).build()
    with pytest.raises(SceneError, match="no floor to stand on"):
        Blocks().floor(0, 0, 0.5, 0.5).build()
    with pytest.raises(SceneError, match="no triangles"):
        build_navmesh(np.zeros((3, 3)), np.empty((0, 3), int), NavmeshSettings())
    with pytest.raises(SceneError, match="less than a cell"):
        build_navmesh(np.zeros((3, 3)), np.array([[0, 1, 2]]), NavmeshSettings())


def test_bad_arrays_and_settings_are_refused():
    vertices, triangles = Blocks().floor(0, 0, 5, 5).mesh()
    with pytest.raises(SceneError, match="not finite"):
        build_navmesh(np.where(vertices == 5, np.nan, vertices), triangles, NavmeshSettings())
    with pytest.raises(SceneError, match=r"outside 0\.\.3"):
        build_navmesh(vertices, triangles + 3, NavmeshSettings())
    with pytest.raises(SceneError, match=r"found \(12,\)"):
        build_navmesh(vertices.ravel(), triangles, NavmeshSettings())
    with pytest.raises(SettingError, match="verts_per_poly"):
        build_navmesh(vertices, triangles, NavmeshSettings(verts_per_poly=7))
    with pytest.raises(SettingError, match="agent_height must be a finite number"):
        build_navmesh(vertices, triangles, NavmeshSettings(agent_height=float("inf")))


@pytest.mark.parametrize("far", [1e6, -1e7])
def test_scenes_far_from_the_origin_are_refused_with_the_remedy(far):
    floor = np.array([[0, 0, 0], [0, 0, 10], [10, 0, 10], [10, 0, 0]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    moved = (floor + np.float32(far) * np.array([1, 0, 1], np.float32)).astype(np.float32)
    with pytest.raises(SceneError, match=r"m from the origin, .* move the scene to the origin"):
        build_navmesh(moved, triangles, NavmeshSettings())
    scene = Scene("far.glb", moved, triangles, np.full(2, -1, np.int32))
    with pytest.raises(SceneError, match=r"far\.glb: the scene lies"):
        cache.scene_navmesh(scene, NavmeshSettings())
    near = (floor + np.float32(1e5) * np.array([1, 0, 1], np.float32)).astype(np.float32)
    assert len(build_navmesh(near, triangles, NavmeshSettings()).polygons)


def test_scenes_too_large_for_their_cells_are_refused_before_memory_is_taken():
    with pytest.raises(SceneError, match=r"1000 x 0 x 1000 m: .* GiB"):
        Blocks().floor(0, 0, 1000, 1000).build()
    with pytest.raises(SceneError, match="of height can be walked"):
        Blocks().floor(0, 0, 5, 5).floor(0, 0, 5, 5, y=5000).build()
    assert area(Blocks().floor(0, 0, 1000, 1000).build(cell_size=2.0, agent_radius=2.0)) > 900_000


def test_heights_spread_from_the_middle_where_a_region_has_no_floor_of_its_own():
    vertices, triangles = Blocks().floor(0, 0, 3, 3).floor(0, 0, 3, 3, y=2.0).mesh()
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    flat = walkable_triangles(vertices, triangles, 45.0)
    cells = np.float32(0.1), np.float32(0.2)
    spans = open_spans(vertices, triangles, flat, (low, high), *cells, (30, 30), 5, 1, 1, 10_000)
    assert spans is not None
    outline = np.array([[5, 11, 5], [5, 11, 15], [15, 11, 15], [15, 11, 5]], np.int32)
    nowhere = np.zeros(len(spans.floor), np.int32)
    patch = read_heights(outline, 1, spans, nowhere, (4, 16), (4, 16))
    assert patch.shape == (12, 12)
    # the upper of the two storeys: its corners are nearer; a plane at 2 m fills the voxel above it
    assert (patch == 11).all()


@pytest.mark.parametrize("corners_", [3, 4, 6])
def test_polygons_have_no_more_corners_than_asked(corners_):
    mesh = Blocks().floor(0, 0, 5, 5).box([1, 0, 1], [2, 1, 3]).build(verts_per_poly=corners_)
    assert mesh.polygons.shape[1] == 6
    assert mesh.corner_counts.max() <= corners_
    check_sound(mesh)


@pytest.mark.golden
def test_the_surface_of_a_real_scene_is_habitats_own(real_scene, scenes_dir, golden_dir):
    scene = load_scene(scenes_dir / f"{real_scene}.glb")
    habitat = read_navmesh(golden_dir / f"{real_scene}.navmesh")
    built = build_navmesh(scene.vertices, scene.triangles, NavmeshSettings())
    for name in ARRAYS:
        assert np.array_equal(getattr(built, name), getattr(habitat, name)), name


def a_scene(name="a room") -> Scene:
    vertices, triangles = Blocks().floor(0, 0, 5, 5).box([1, 0, 1], [2, 1, 3]).mesh()
    return Scene(name, vertices, triangles, np.full(len(triangles), -1, np.int32))


def no_build(*_):
    raise AssertionError("built again")


def test_a_surface_is_built_once_and_read_back_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("POMAGYM_CACHE", str(tmp_path))
    scene = a_scene()
    first = cache.scene_navmesh(scene, NavmeshSettings())
    monkeypatch.setattr(cache, "build_navmesh", no_build)
    second = cache.scene_navmesh(a_scene("the same room by another name"), NavmeshSettings())
    for name in (*ARRAYS, "bounds"):
        assert getattr(first, name).dtype == getattr(second, name).dtype
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert second.settings == NavmeshSettings()
    with pytest.raises(AssertionError, match="built again"):
        cache.scene_navmesh(scene, NavmeshSettings(agent_radius=0.2))


def corrupt_shape(path):
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["polygons"] = arrays["polygons"] + 1000
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a file of arrays"),
        lambda path: np.savez(path, vertices=np.zeros(3)),
        lambda path: path.write_bytes(path.read_bytes()[:300] + b"\0" * 50 + path.read_bytes()[350:]),
        corrupt_shape,
    ],
)
def test_a_damaged_cache_file_is_built_again(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("POMAGYM_CACHE", str(tmp_path))
    scene = a_scene()
    first = cache.scene_navmesh(scene, NavmeshSettings())
    path = cache.cache_path(scene.geometry_hash, NavmeshSettings())
    whole = path.read_bytes()
    damage(path)
    assert cache.load_navmesh(scene.geometry_hash, NavmeshSettings()) is None
    second = cache.scene_navmesh(scene, NavmeshSettings())
    assert np.array_equal(first.vertices, second.vertices)
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_only_means_no_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("POMAGYM_CACHE", str(tmp_path / "file" / "below"))
    mesh = cache.scene_navmesh(a_scene(), NavmeshSettings())
    assert not cache.store_navmesh("hash", mesh)
    assert cache.load_navmesh("hash", NavmeshSettings()) is None


def test_an_error_names_the_scene(tmp_path, monkeypatch):
    monkeypatch.setenv("POMAGYM_CACHE", str(tmp_path))
    vertices, triangles = Blocks().floor(0, 0, 0.5, 0.5).mesh()
    with pytest.raises(SceneError, match="a closet: no floor to stand on"):
        cache.scene_navmesh(
            Scene("a closet", vertices, triangles, np.full(2, -1, np.int32)), NavmeshSettings()
        )
    assert not list(tmp_path.rglob("*.npz"))
