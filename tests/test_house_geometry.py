"""The geometry of procedural houses: closed parts of known volume, walls that nobody sees through or walks on."""

from __future__ import annotations

import numpy as np
import pytest
from house_examples import SHELL, val
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from envs.embodiment import AgentSpec
from envs.scenes.houses.dice import Dice
from envs.scenes.houses.shapes import (
    boxes,
    cylinder,
    lathe,
    mirrored,
    pitched,
    rolled,
    soft,
    tube,
    volume,
    yawed,
)
from envs.scenes.scene import Scene
from envs.simulators.raycast import RaycastSimulator
from poma3d.pointmap import Camera


def closed_parts(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Of all furniture: signed volume of every connected part, and how many of its edges have no opposite."""
    is_thing = np.array([i.category not in SHELL for i in scene.instances])
    triangles = scene.triangles[is_thing[scene.instance_ids]]
    owner = scene.instance_ids[is_thing[scene.instance_ids]]
    corners = np.concatenate([scene.vertices[triangles].reshape(-1, 3), np.repeat(owner, 3)[:, None]], axis=1)
    points, index = np.unique(corners, axis=0, return_inverse=True)
    t = index.reshape(-1, 3)
    n = len(points)
    edges = np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]])
    _, part = connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=(n, n)), directed=False)
    forth, back = edges[:, 0] * n + edges[:, 1], edges[:, 1] * n + edges[:, 0]
    keys, signed = np.concatenate([forth, back]), np.repeat([1, -1], len(forth))
    pair, slot = np.unique(keys, return_inverse=True)
    open_edges = np.bincount(slot, weights=signed) != 0
    holes = np.bincount(part[pair // n][open_edges], minlength=part.max() + 1)
    a, b, c = (points[t[:, k], :3] - points[t[0, 0], :3] for k in range(3))
    volumes = np.bincount(part[t[:, 0]], weights=np.einsum("ij,ij->i", a, np.cross(b, c)) / 6)
    return volumes, holes


@pytest.mark.parametrize("seed", range(6))
def test_things_are_closed_and_wind_outwards(seed):
    volumes, holes = closed_parts(val(seed))
    assert len(volumes) > 200
    assert not holes.any()
    assert (volumes > 0).all()


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_seen_through_walls(seed):
    """From every room, all around, a ray ends on a front face or goes out through a window."""
    scene = val(seed)
    eyes = []
    for room in scene.rooms:
        low, high = room.outline.min(axis=0), room.outline.max(axis=0)
        for t in ((0.5, 0.5), (0.12, 0.2), (0.85, 0.9)):
            x, z = low + (high - low) * t
            eyes.append((x, 2.25, z))
    turns = [np.eye(3)]
    for axis, angle in ((1, 90), (1, 180), (1, 270), (0, 90), (0, 270)):
        c, s = round(np.cos(np.radians(angle))), round(np.sin(np.radians(angle)))
        turns.append(
            np.array(
                [[c, 0, s], [0, 1, 0], [-s, 0, c]] if axis == 1 else [[1, 0, 0], [0, c, -s], [0, s, c]], float
            )
        )
    poses = np.tile(np.eye(4), (len(eyes), len(turns), 1, 1))
    poses[:, :, :3, 3] = np.array(eyes)[:, None]
    poses[:, :, :3, :3] = np.array(turns)
    camera = Camera(48, 48, 91.0)
    with RaycastSimulator(scene, AgentSpec()) as simulator:
        views = simulator.render(poses.reshape(-1, 4, 4), camera)
    u = (np.arange(48) + 0.5 - 24) / (24 / np.tan(np.radians(45.5)))
    ray = np.stack([*np.meshgrid(u, -u), -np.ones((48, 48))], axis=-1)
    lost = np.argwhere(~views.valid)
    assert len(lost) < 0.25 * views.valid.size
    windows = np.array(scene.metadata["windows"])  # (W, 6): x0, z0, x1, z1, low, high
    grow = 0.01
    low = windows[:, [0, 4, 1]] - grow
    high = windows[:, [2, 5, 3]] + grow
    flat = poses.reshape(-1, 4, 4)
    origins = flat[lost[:, 0], :3, 3]
    directions = np.einsum("nij,nj->ni", flat[lost[:, 0], :3, :3], ray[lost[:, 1], lost[:, 2]])
    with np.errstate(divide="ignore", invalid="ignore"):
        near = (low[None] - origins[:, None]) / directions[:, None]
        far = (high[None] - origins[:, None]) / directions[:, None]
    enter, leave = np.minimum(near, far).max(axis=2), np.maximum(near, far).min(axis=2)
    through = ((leave >= enter) & (leave > 0)).any(axis=1)
    # Embree, unless told to be robust, loses a ray in a million on the edges between triangles
    assert (~through).sum() <= 1e-5 * views.valid.size, (
        f"{(~through).sum()} rays leave elsewhere than by a window"
    )


@pytest.mark.parametrize("seed", [0, 1, 12])
def test_nobody_walks_on_the_walls(seed):
    """No wall or ceiling faces up at the height of the ceiling, and the surface has no place up there."""
    scene = val(seed)
    shell = np.array([i.category in ("wall", "ceiling") for i in scene.instances])[scene.instance_ids]
    a, b, c = (scene.vertices[scene.triangles[shell, k]].astype(np.float64) for k in range(3))
    upward = np.cross(b - a, c - a)[:, 1] > 0
    assert not (upward & (a[:, 1] > scene.metadata["ceiling_height"] - 0.05)).any()
    rng = np.random.default_rng(seed)
    with RaycastSimulator(scene, AgentSpec()) as simulator:
        heights = [simulator.surface.random_navigable_point(rng)[1] for _ in range(200)]
    assert max(heights) < 2.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.02, 3), st.floats(0.02, 3), st.floats(0.02, 3), st.integers(1, 3))
def test_rounded_boxes_fill_at_most_their_box(seed, w, h, d, steps):
    radius = Dice("test", seed).uniform(0.001, 0.4)
    mesh = soft(0.3, -0.2, 1.0, w, h, d, radius, steps)
    assert 0.4 * w * h * d < volume(mesh) <= w * h * d * (1 + 1e-9)
    np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), [w, h, d], rtol=1e-9)


def test_volumes_of_known_solids():
    assert volume(boxes((1, 2, 3, 0.5, 2, 3), (5, 0, 0, 1, 1, 1))) == pytest.approx(4.0)
    assert volume(cylinder(1, 0, 2, 0.5, 2.0, 400)) == pytest.approx(np.pi / 2, rel=1e-3)
    assert volume(tube([(0, 0, 0), (0, 3, 0)], 0.5, 400)) == pytest.approx(0.75 * np.pi, rel=1e-3)
    ball = [(np.sin(t), -np.cos(t)) for t in np.linspace(0, np.pi, 60)]
    assert volume(lathe(ball, 60)) == pytest.approx(4 / 3 * np.pi, rel=1e-2)
    brick = boxes((0.2, 0.1, 0.3, 1, 2, 3))
    for turned in (yawed(brick, 37), pitched(brick, 71), rolled(brick, 12), mirrored(brick)):
        assert volume(turned) == pytest.approx(6.0)
