"""Pictures of a room of known shape: every colour must be where geometry says it is."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import topdown
from envs.floor_plan import lowest_floor, scene_topdown_picture
from envs.pictures import NOTHING, compose_frame, depth_picture, first_person
from envs.scenes.scene import Instance, Scene
from envs.topdown import Window, topdown_picture
from poma3d.errors import SettingError
from poma3d.pointmap import Camera

BOUNDS = np.array([[0.0, 0.0, 0.0], [10.0, 3.0, 10.0]])
FREE = np.ones((200, 200), bool)


def room(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Point map in the world frame of a room of 4 x 3 x 6 m without ceiling, from its middle along -z."""
    rays = Camera(height, width, 90.0).rays() * [1, -1, -1]
    eye = np.array([2.0, 1.25, 3.0])
    low, high = np.array([0.0, 0.0, 0.0]), np.array([4.0, 3.0, 6.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(rays > 0, (high - eye) / rays, (low - eye) / rays)
    distance[rays == 0] = np.inf
    axis = distance.argmin(axis=-1)
    points = eye + rays * distance.min(axis=-1)[..., None]
    valid = ~((axis == 1) & (rays[..., 1] > 0))
    return np.where(valid[..., None], points, 0).astype(np.float32), valid


def centroid(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Mean (column, row) of the pixels of nearly that colour."""
    near = np.abs(picture.astype(int) - colour).max(axis=2) < 12
    assert near.any(), f"colour {colour} is not in the picture"
    rows, columns = np.nonzero(near)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def test_first_person_colours_follow_xyz() -> None:
    points, valid = room(60, 80)
    picture = first_person(points, valid, np.array([[0, 0, 0], [4, 3, 6]]))
    assert picture.shape == (60, 80, 3)
    assert picture.dtype == np.uint8
    assert (picture[~valid] == NOTHING).all()
    share = picture / picture.sum(axis=2, keepdims=True)
    assert share[40, 75, 0] > share[40, 4, 0] + 0.1, "x is red: the right wall must be redder than the left"
    assert share[30, 40, 1] > share[55, 40, 1] + 0.1, "y is green: the wall must be greener than the floor"
    assert share[58, 40, 2] > share[47, 40, 2], "z is blue: the near floor must be bluer than the far"


def test_first_person_shows_an_edge_that_depth_alone_hides() -> None:
    """A plane in front of another of the same colour range gets a dark outline."""
    rows, columns = np.mgrid[0:64, 0:64]
    points = np.stack([columns * 0.05, rows * 0.05, np.full((64, 64), -4.0)], axis=-1).astype(np.float32)
    points[20:44, 20:44, 2] = -3.0
    picture = first_person(points, np.ones((64, 64), bool), np.array([[0, 0, -4], [3.2, 3.2, -3]]))
    brightness = picture.astype(int).sum(axis=2)
    assert brightness[30, 19] < 0.75 * brightness[30, 15], "no outline on the left edge of the nearer plane"


def test_first_person_of_nothing_is_dark() -> None:
    picture = first_person(np.zeros((5, 7, 3)), np.zeros((5, 7), bool))
    assert (picture == NOTHING).all()


def test_depth_near_is_brighter_than_far_and_invalid_is_dark() -> None:
    depth = np.array([[0.5, 2.0, 9.5, np.nan, 3.0]])
    valid = np.array([[True, True, True, True, False]])
    picture = depth_picture(depth, valid, (0, 10))
    brightness = picture.astype(int).sum(axis=2)[0]
    assert brightness[0] > brightness[1] > brightness[2]
    assert (picture[0, 3:] == NOTHING).all()


def test_map_puts_agent_goal_and_start_where_they_are() -> None:
    window = Window(0, 0, 10, 10)
    picture = topdown_picture(
        FREE,
        BOUNDS,
        start=np.array([2.0, 0, 5.0]),
        goals=np.array([[8.0, 0, 5.0]]),
        position=np.array([5.0, 0, 2.0]),
        window=window,
        size=(200, 200),
    )
    np.testing.assert_allclose(centroid(picture, topdown.START), [40, 100], atol=2)
    np.testing.assert_allclose(centroid(picture, topdown.GOAL), [160, 100], atol=2)
    np.testing.assert_allclose(centroid(picture, topdown.AGENT), [100, 40], atol=4)


@pytest.mark.parametrize(
    ("heading", "direction"),
    [(0.0, (0, -1)), (math.pi / 2, (-1, 0)), (math.pi, (0, 1)), (-math.pi / 2, (1, 0))],
)
def test_arrow_points_along_the_heading(heading: float, direction: tuple[int, int]) -> None:
    """Heading 0 looks along -z, which is up; positive turns left."""
    middle = np.array([5.0, 0, 5.0])
    picture = topdown_picture(
        FREE, BOUNDS, position=middle, heading=heading, window=Window(4, 4, 2, 2), size=(896, 896)
    )
    dark = np.abs(picture.astype(int) - topdown.AGENT).max(axis=2) < 12
    rows, columns = np.nonzero(dark)
    along = (columns + 0.5 - 448) * direction[0] + (rows + 0.5 - 448) * direction[1]
    across = (columns + 0.5 - 448) * direction[1] + (rows + 0.5 - 448) * direction[0]
    tip, tail = along > along.max() - 8, along < along.min() + 8
    assert np.ptp(across[tip]) < 0.4 * np.ptp(across[tail]), "the narrow end must lie ahead"
    assert along.max() > 20


def test_map_keeps_walkable_cells_at_their_place() -> None:
    navigable = np.zeros((100, 200), bool)  # rows along z, columns along x
    navigable[:, 100:] = True
    bounds = np.array([[0.0, 0, 0], [20.0, 3, 10.0]])
    picture = topdown_picture(navigable, bounds, window=Window(0, 0, 20, 10), size=(100, 200))
    assert (picture[50, 150] == topdown.FLOOR).all()
    assert (picture[50, 50] == topdown.GROUND).all()


def test_path_is_drawn_over_the_map() -> None:
    path = np.array([[1.0, 0, 5.0], [9.0, 0, 5.0]])
    picture = topdown_picture(FREE, BOUNDS, path=path, window=Window(0, 0, 10, 10), size=(200, 200))
    assert (np.abs(picture[100, 30:170].astype(int) - topdown.WALKED).max(axis=1) < 12).mean() > 0.95


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70), st.text(max_size=300))
@settings(max_examples=30, deadline=None)
def test_frames_have_one_even_size_whatever_the_caption(
    height: int, width: int, side: int, caption: str
) -> None:
    view, square = np.zeros((height, width, 3), np.uint8), np.zeros((side, side, 3), np.uint8)
    frame = compose_frame(view, view, square, [caption, "step 3"], outcome=True)
    assert frame.shape == compose_frame(view, view, square).shape
    assert frame.shape[0] % 2 == 0
    assert frame.shape[1] % 2 == 0
    assert frame.dtype == np.uint8


def test_frame_of_a_large_camera_holds_all_panels() -> None:
    view = np.full((480, 640, 3), (200, 10, 10), np.uint8)
    depth = np.full((480, 640, 3), (10, 200, 10), np.uint8)
    plan = np.full((480, 480, 3), (10, 10, 200), np.uint8)
    frame = compose_frame(view, depth, plan, ["move_forward"])
    for colour, count in (((200, 10, 10), 480 * 640), ((10, 200, 10), 480 * 640), ((10, 10, 200), 480 * 480)):
        assert int((frame == colour).all(axis=2).sum()) == count
    success, failure = (compose_frame(view, depth, plan, [], outcome=o) for o in (True, False))
    assert (success[-2, -2] != failure[-2, -2]).any()


def test_a_frame_at_224_is_fast() -> None:
    points, valid = room(224, 224)
    bounds = np.array([[0, 0, 0], [4, 3, 6]])
    times = []
    for _ in range(20):
        begin = time.process_time()
        plan = topdown_picture(FREE, BOUNDS, position=np.ones(3), goals=np.ones((1, 3)), path=np.eye(3))
        depth = depth_picture(3 - points[..., 2], valid)
        compose_frame(first_person(points, valid, bounds), depth, plan, ["step 3", "turn_left"])
        times.append(time.process_time() - begin)
    assert min(times) < 0.03, "8 ms on an idle core; a busy one may take its time"


@pytest.mark.parametrize(
    "call",
    [
        lambda: first_person(np.zeros((4, 4)), np.zeros((4, 4))),
        lambda: first_person(np.zeros((4, 5, 3)), np.zeros((5, 4))),
        lambda: depth_picture(np.zeros((4, 5)), np.zeros((5, 4))),
        lambda: depth_picture(np.zeros((4, 5)), np.zeros((4, 5)), (3, 3)),
        lambda: topdown_picture(np.zeros((0, 4)), BOUNDS),
        lambda: topdown_picture(FREE, BOUNDS, size=(0, 5)),
        lambda: topdown_picture(FREE, BOUNDS, backdrop=np.zeros((5, 5, 3), np.uint8)),
        lambda: compose_frame(*[np.zeros((4, 5, 3))] * 3),
        lambda: Window.around(np.full((1, 3), np.nan)),
    ],
)
def test_bad_shapes_are_named(call) -> None:
    with pytest.raises(SettingError):
        call()


def box(low: tuple, high: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Corners and outward triangles of a box."""
    corners = np.array(
        [
            [(low, high)[i][0], (low, high)[j][1], (low, high)[k][2]]
            for i in (0, 1)
            for j in (0, 1)
            for k in (0, 1)
        ]
    )
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return corners, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


@pytest.fixture(scope="module")
def small_scene() -> Scene:
    """Floor, a wall of 0.3 m along z at x = 4, a table at (1.5, 2), and a ceiling."""
    parts = [
        ("floor", (0, -0.1, 0), (8, 0, 6)),
        ("wall", (4, 0, 0), (4.3, 2.6, 6)),
        ("table", (1, 0, 1.5), (2, 0.75, 2.5)),
        ("ceiling", (0, 2.6, 0), (8, 2.7, 6)),
    ]
    vertices, triangles, ids = [], [], []
    for number, (_, low, high) in enumerate(parts):
        corners, faces = box(low, high)
        triangles.append(faces + sum(len(v) for v in vertices))
        vertices.append(corners)
        ids.append(np.full(len(faces), number))
    return Scene(
        "parts",
        np.concatenate(vertices).astype(np.float32),
        np.concatenate(triangles).astype(np.int32),
        np.concatenate(ids).astype(np.int32),
        tuple(Instance(f"{name}.00", name) for name, _, _ in parts),
    )


def test_floor_plan_cuts_the_ceiling_away_and_keeps_furniture(small_scene: Scene) -> None:
    assert lowest_floor(small_scene) == pytest.approx(0.0, abs=1e-6)
    picture, window = scene_topdown_picture(small_scene, size=400)
    assert max(picture.shape) == 400

    def at(x: float, z: float) -> np.ndarray:
        u, v = window.pixels(np.array([x, 0, z]), *picture.shape[:2])
        return picture[int(v), int(u)].astype(int)

    floor, table, wall, outside = at(6.5, 3), at(1.5, 2), at(4.15, 3), at(-0.3, 3)
    assert floor.sum() > 550, "the floor is bright"
    assert wall.sum() < 300, "the cut wall is filled dark"
    assert np.abs(table - floor).max() > 30, "the table stands out"
    assert np.abs(outside - topdown.GROUND).max() < 3


def test_floor_plan_of_a_real_house(scenes_dir) -> None:
    pytest.importorskip("envs.scenes.mesh")
    from envs.scenes.mesh import load_scene

    picture, window = scene_topdown_picture(load_scene(scenes_dir / "small_house.glb"), size=300)
    assert picture.shape[1] == 300
    assert window.width == pytest.approx(20, abs=2)
    assert (picture != topdown.GROUND).any(axis=2).mean() > 0.5
