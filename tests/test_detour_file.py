from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from walkable_examples import l_shape, navmesh_of, rectangle, square

from envs.embodiment import NavmeshSettings
from envs.simulators.walkable.detour_file import read_navmesh, write_navmesh
from envs.simulators.walkable.navmesh import Navmesh
from envs.simulators.walkable.surface import NavmeshSurface
from poma3d.errors import FileError

SET_HEADER, SETTINGS, TILE_PREFIX, TILE_HEADER, POLYGON = 40, 56, 8, 100, 32
TILE = SET_HEADER + SETTINGS + TILE_PREFIX
"""Where the first tile of a version 2 file begins."""


def written(navmesh: Navmesh, folder: Path) -> bytes:
    path = folder / "written.navmesh"
    write_navmesh(path, navmesh)
    return path.read_bytes()


def polygons_at(data: bytes) -> int:
    vertex_count = int(np.frombuffer(data, "<i4", 1, TILE + 28)[0])
    return TILE + TILE_HEADER + 12 * vertex_count


def with_portals(data: bytes, navmesh: Navmesh, side: int, axis: int, value: float) -> bytes:
    """The tile of a file, its border edges on the line ``axis = value`` marked as leading to a neighbour tile."""
    changed = bytearray(data)
    for p, count in enumerate(navmesh.corner_counts):
        for k in range(count):
            ends = navmesh.vertices[navmesh.polygons[p, [k, (k + 1) % count]], axis]
            if (ends == value).all() and navmesh.neighbours[p, k] < 0:
                at = polygons_at(data) + POLYGON * p + 4 + 12 + 2 * k
                changed[at : at + 2] = (0x8000 | side).to_bytes(2, "little")
    return bytes(changed[TILE - TILE_PREFIX :])


def two_tiles(first: Navmesh, second: Navmesh, axis: int, value: float, folder: Path) -> Navmesh:
    """What is read from a file of two tiles that meet at ``axis = value``, the first on the lower side."""
    towards = 0 if axis == 0 else 2
    data = written(first, folder)
    top = np.frombuffer(data[: TILE - TILE_PREFIX], "u1").copy()
    top[8:12] = (2, 0, 0, 0)
    tiles = with_portals(data, first, towards, axis, value)
    tiles += with_portals(written(second, folder), second, towards + 4, axis, value)
    path = folder / "two.navmesh"
    path.write_bytes(top.tobytes() + tiles)
    return read_navmesh(path)


@pytest.mark.golden
def test_habitats_files_are_read(golden_dir, real_scene):
    navmesh = read_navmesh(golden_dir / f"{real_scene}.navmesh")
    assert navmesh.settings == NavmeshSettings()
    assert navmesh.vertices.dtype == np.float32
    used = navmesh.polygons >= 0
    assert navmesh.polygons[used].max() < len(navmesh.vertices)
    polygon, edge = np.nonzero(navmesh.neighbours >= 0)
    across = navmesh.neighbours[polygon, edge]
    assert (navmesh.neighbours[across] == polygon[:, None]).any(axis=1).all()
    assert navmesh.bounds is not None
    assert (navmesh.vertices >= navmesh.bounds[0] - 1e-4).all()
    assert (navmesh.vertices <= navmesh.bounds[1] + 1e-4).all()


@pytest.mark.golden
def test_what_is_written_is_what_was_read(golden_dir, real_scene, tmp_path):
    source = golden_dir / f"{real_scene}.navmesh"
    navmesh = read_navmesh(source)
    data = written(navmesh, tmp_path)
    again = read_navmesh(tmp_path / "written.navmesh")
    for name, value in vars(navmesh).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(again, name), value, err_msg=name)
    assert again.settings == navmesh.settings
    # up to the links, which Detour fills in when it loads, the file is Habitat's byte for byte
    theirs = source.read_bytes()
    size = slice(SET_HEADER + SETTINGS + 4, TILE)
    counts = slice(TILE + 32, TILE + TILE_HEADER)  # links and tree nodes reserved
    ours, theirs = bytearray(data), bytearray(theirs)
    for part in (size, counts):
        ours[part] = theirs[part]
    end = polygons_at(data)
    assert ours[:end] == theirs[:end]
    polygons = slice(end, end + POLYGON * len(navmesh.polygons))
    np.testing.assert_array_equal(
        np.frombuffer(ours[polygons], "u1").reshape(-1, POLYGON)[:, 4:],
        np.frombuffer(theirs[polygons], "u1").reshape(-1, POLYGON)[:, 4:],
    )


@pytest.mark.golden
def test_boundary_flags_are_habitats(golden_dir, real_scene, tmp_path):
    def flags(data: bytes) -> np.ndarray:
        count = dict(zip("pvldwtbo", np.frombuffer(data, "<i4", 8, TILE + 24).tolist(), strict=True))
        at = polygons_at(data) + POLYGON * count["p"] + 12 * count["l"] + 12 * count["d"] + 12 * count["w"]
        return np.frombuffer(data, "u1", 4 * count["t"], at).reshape(-1, 4)

    source = golden_dir / f"{real_scene}.navmesh"
    np.testing.assert_array_equal(flags(written(read_navmesh(source), tmp_path)), flags(source.read_bytes()))


def test_a_round_trip_keeps_the_answers(tmp_path):
    written(l_shape(), tmp_path)
    surface = NavmeshSurface(read_navmesh(tmp_path / "written.navmesh"))
    assert surface.geodesic_distance(np.array([[1, 0, 5]]), np.array([[5, 0, 1]]))[0] == pytest.approx(
        2 * math.sqrt(10)
    )


def test_version_1_has_no_settings(tmp_path):
    data = bytearray(written(square(), tmp_path))
    data[4:8] = (1, 0, 0, 0)
    path = tmp_path / "old.navmesh"
    path.write_bytes(data[:SET_HEADER] + data[SET_HEADER + SETTINGS :])
    assert read_navmesh(path).settings == NavmeshSettings()


def test_polygons_that_are_not_walkable_are_left_out(tmp_path):
    data = bytearray(written(l_shape(), tmp_path))
    at = polygons_at(data) + POLYGON * 1 + 28
    data[at : at + 2] = (4, 0)  # habitat-sim's POLYFLAGS_DISABLED
    path = tmp_path / "disabled.navmesh"
    path.write_bytes(data)
    surface = NavmeshSurface(read_navmesh(path))
    assert surface.is_navigable(np.array([[1, 0, 5], [5, 0, 1]])).tolist() == [True, False]


def test_tiles_are_joined_where_their_borders_meet(tmp_path):
    """A room whose right wall meets two rooms, of which the lower begins 1 m before it."""
    left = navmesh_of([rectangle(0, 0, 4, 4)])
    right = navmesh_of([rectangle(4, -1, 8, 2), rectangle(4, 2, 8, 5)])
    surface = NavmeshSurface(two_tiles(left, right, 0, 4.0, tmp_path))
    assert len(surface.island_areas) == 1
    assert surface.island_areas[0] == pytest.approx(16 + 24)
    across = surface.geodesic_distance(np.array([[1, 0, 3.5]]), np.array([[7, 0, 4.5], [7, 0, 0.5]])[:1])
    assert across[0] == pytest.approx(math.hypot(3, 0.5) * 2)  # straight at the corner (4, 0, 4)
    around = surface.geodesic_distance(np.array([[6, 0, -0.9]]), np.array([[1, 0, 0.1]]))
    assert around[0] == pytest.approx(math.hypot(2, 0.9) + math.hypot(3, 0.1), rel=1e-5)
    np.testing.assert_allclose(
        surface.try_step(np.array([[4.2, 0, -0.5]]), np.array([[3.8, 0, -0.5]])), [[4, 0, -0.5]], atol=1e-5
    )
    np.testing.assert_allclose(
        surface.try_step(np.array([[4.2, 0, 0.5]]), np.array([[3.8, 0, 0.5]])), [[3.8, 0, 0.5]], atol=1e-5
    )


def test_a_wall_with_many_neighbours_is_cut_and_so_is_its_polygon(tmp_path):
    rooms = [rectangle(1.6 * k, 4, 1.6 * k + 1.2, 6) for k in range(7)]
    hall, alcoves = navmesh_of([rectangle(0, 0, 12, 4)]), navmesh_of(rooms)
    navmesh = two_tiles(hall, alcoves, 2, 4.0, tmp_path)
    surface = NavmeshSurface(navmesh)
    assert (navmesh.corner_counts <= 6).all()
    assert len(surface.island_areas) == 1
    rng = np.random.default_rng(0)
    hall_points = np.stack([rng.uniform(0.1, 11.9, 50), np.zeros(50), rng.uniform(0.1, 3.9, 50)], axis=1)
    assert surface.is_navigable(hall_points).all()
    for k in range(7):
        room = np.array([[1.6 * k + 0.6, 0, 5.0]])
        assert np.isfinite(surface.geodesic_distance(hall_points, room)).all()
        below = np.array([[1.6 * k + 0.6, 0, 1.0]])
        assert surface.geodesic_distance(below, room)[0] == pytest.approx(4.0, rel=0.02)
        pillar = np.array([[1.6 * k + 1.4, 0, 3.9]])
        stopped = surface.try_step(pillar, pillar + np.array([[0, 0, 0.3]]))
        assert stopped[0, 2] == pytest.approx(4.0, abs=1e-5)


def test_tiles_too_far_up_are_not_joined(tmp_path):
    low = navmesh_of([rectangle(0, 0, 4, 4)])
    high = navmesh_of([[(x, 1.0, z) for x, z in rectangle(4, 0, 8, 4)]])
    assert len(NavmeshSurface(two_tiles(low, high, 0, 4.0, tmp_path)).island_areas) == 2


def damage(at: int, value: bytes):
    return lambda data: data[:at] + value + data[at + len(value) :]


def infinite_vertex(data: bytes) -> bytes:
    return damage(TILE + TILE_HEADER, np.float32(np.inf).tobytes())(data)


def wild_vertex_index(data: bytes) -> bytes:
    return damage(polygons_at(data) + 4, b"\xff\x7f")(data)


def wild_neighbour(data: bytes) -> bytes:
    return damage(polygons_at(data) + 16, b"\xff\x7f")(data)


def too_many_corners(data: bytes) -> bytes:
    return damage(polygons_at(data) + 30, b"\x09")(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "ends inside its header"),
        (lambda data: data[:20], "ends inside its header"),
        (lambda data: data[: SET_HEADER + 10], "ends inside its settings"),
        (lambda data: data[: TILE + 50], "truncated"),
        (lambda data: data[:-1], "truncated"),
        (damage(0, b"glTF"), "begins with b'glTF'"),
        (damage(4, b"\x09\0\0\0"), "version 9"),
        (damage(8, b"\0\0\0\0"), "holds no tile"),
        (damage(TILE, b"ABCD"), "begins with b'ABCD'"),
        (damage(TILE + 4, b"\x06\0\0\0"), "version 6"),
        (damage(TILE + 24, b"\xff\xff\xff\xff"), "expected|damaged"),
        (damage(TILE + 24, b"\xff\xff\xff\x7f"), "ends inside its"),
        (damage(TILE + 32, b"\0\0\0\0"), "damaged"),
        (damage(SET_HEADER, b"\0\0\xc0\x7f"), "not numbers"),
        (damage(SET_HEADER, b"\0\0\0\0"), "impossible settings"),
        (damage(TILE - 4, b"\x01\0\0\0"), "damaged|truncated"),
        (damage(TILE - 4, b"\xff\xff\xff\xff"), "damaged|truncated"),
        (infinite_vertex, "not finite"),
        (wild_vertex_index, "name vertices"),
        (wild_neighbour, "name neighbours"),
        (too_many_corners, "more than 6 corners"),
    ],
)
def test_damaged_files_are_named(change, message, tmp_path):
    path = tmp_path / "damaged.navmesh"
    path.write_bytes(change(written(l_shape(), tmp_path)))
    with pytest.raises(FileError, match=message) as caught:
        read_navmesh(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match=r"absent\.navmesh"):
        read_navmesh(tmp_path / "absent.navmesh")
    with pytest.raises(FileError):
        read_navmesh(tmp_path)


def test_flipped_bytes_never_crash(tmp_path):
    """Whatever one byte becomes, the file is read or refused, and what is read can be asked."""
    data = written(l_shape(), tmp_path)
    path = tmp_path / "flipped.navmesh"
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.choice(len(data), 300, replace=False):
        path.write_bytes(damage(int(at), bytes([data[at] ^ int(rng.integers(1, 256))]))(data))
        try:
            navmesh = read_navmesh(path)
        except FileError:
            refused += 1
            continue
        assert navmesh.polygons.max() < len(navmesh.vertices)
        assert navmesh.neighbours.max() < len(navmesh.polygons)
        surface = NavmeshSurface(navmesh)
        here, there = np.array([[1, 0, 5.0]]), np.array([[5, 0, 1.0], [1, 0, 1]])
        assert not np.isnan(surface.geodesic_distance(here, there[:1])).any()
        assert not np.isnan(surface.geodesic_distance(here, there)).any()
        assert not np.isnan(surface.try_step(here, here + 0.3)).any()
    assert 0 < refused < 300
