"""What an agent remembers of a scene: posed views from an earlier visit, few that together see most of it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from envs.covering_views import choose_covering
from envs.episodes.ground import draw_on_ground
from envs.setting_types import check_whole_number
from envs.simulators.protocol import Simulator
from poma3d.pointmap import (
    Camera,
    Frame,
    frame_from_world,
    invert,
    rotation_from_heading,
    transform_points,
    world_from_pose,
)

VIEWS = 32
"""Views of a memory where none are asked for: as many as POMA-3D has of a scene."""
CANDIDATES = 256
"""Views that a memory's are chosen from, and at least four for each of them."""


@dataclass(frozen=True, eq=False)
class SceneMemory:
    """V views of a scene, each a point map in its own agent's frame, and where that agent was.

    The arrays are shared and cannot be written to.
    """

    point_map: np.ndarray
    """(V, H, W, 3) float32 metres in `Frame.AGENT` of each view, which is what the backbone reads."""
    valid: np.ndarray
    """(V, H, W) bool."""
    scene_from_agent: np.ndarray
    """(V, 4, 4) float64: takes each view's points to `Frame.SCENE`."""
    camera: Camera
    """The camera of the views."""
    camera_height: float
    """Height of the camera above the agent's base, metres."""

    def __len__(self) -> int:
        """Number of views, V."""
        return len(self.point_map)

    @property
    def poses(self) -> np.ndarray:
        """(V, 3) float64: x and y in the scene's frame, metres, and yaw, radians (`scene_pose`)."""
        at = self.scene_from_agent
        return np.stack([at[:, 0, 3], at[:, 1, 3], np.arctan2(at[:, 1, 0], at[:, 0, 0])], -1)

    def scene_points(self) -> np.ndarray:
        """The point maps in `Frame.SCENE` (V, H, W, 3) float32; 0 where not valid."""
        return transform_points(self.scene_from_agent, self.point_map, self.valid)


def scene_pose(position: np.ndarray, heading: float) -> np.ndarray:
    """An agent's pose (3,) in the scene's frame: x and y, metres, and yaw, radians in [-pi, pi).

    Yaw is the angle of the look direction from the frame's x axis, positive to the left (as MSNN's: the view
    vector is (cos yaw, sin yaw, 0)); a heading of 0, along the world's -z, is a yaw of 90 degrees.

    Args:
        position: of the base (3,), world frame, metres.
        heading: radians, 0 along -z, positive to the left.
    """
    yaw = (heading + math.pi / 2 + math.pi) % (2 * math.pi) - math.pi
    return np.array([position[0], -position[2], yaw])


def remember_scene(
    simulator: Simulator, scene_id: str, camera: Camera, views: int = VIEWS, seed: int = 0
) -> SceneMemory:
    """Make the memory of a scene; it depends on the seed, the scene's name, the body and the scene's content alone.

    The folder that the scene lies in does not count: the same file gives the same memory on any machine.

    Candidates stand on floors, uniformly by area, and look anywhere; those that together see most are kept
    (`envs.covering_views`). The body and the camera are those that will look again.

    Args:
        simulator: the scene and the body.
        scene_id: what episodes call the scene.
        camera: of the views.
        views: how many, V; in a tiny scene some places may serve twice.
        seed: of the candidates.

    Raises:
        SceneError: no floor to stand on, or nothing to see from it.
        SettingError: a number of views below 1.
    """
    check_whole_number("memory_seed", seed)
    check_whole_number("memory_views", views, least=1)
    name = scene_id.replace("\\", "/").rsplit("/", 1)[-1]
    key = hashlib.sha256(f"pomagym memory {int(seed)} {name}".encode()).digest()
    rng = np.random.Generator(np.random.Philox(key=np.frombuffer(key[:16], dtype="<u8")))
    agent = simulator.agent
    world_from_agent = _candidates(simulator, scene_id, max(CANDIDATES, 4 * views), rng)
    world_from_camera = world_from_agent.copy()
    world_from_camera[:, 1, 3] += agent.camera_height
    chosen = choose_covering(
        simulator,
        world_from_camera,
        views,
        rng,
        scene_id=scene_id,
        hfov=camera.hfov,
        depth_range=agent.depth_range,
    )
    agent_from_world = frame_from_world(Frame.AGENT, world_from_agent=world_from_agent[chosen])
    seen = simulator.render(
        world_from_camera[chosen], camera, frame_from_world=agent_from_world, depth_range=agent.depth_range
    )
    scene_from_agent = frame_from_world(Frame.SCENE) @ invert(agent_from_world)
    arrays = np.asarray(seen.point_map), np.asarray(seen.valid), scene_from_agent
    for array in arrays:
        array.setflags(write=False)
    return SceneMemory(*arrays, camera=camera, camera_height=agent.camera_height)


def _candidates(simulator: Simulator, scene_id: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Poses (count, 4, 4) of the base on floors, by area, Habitat's body axes."""
    points = draw_on_ground(simulator.surface, count, rng, scene_id)
    return world_from_pose(points, rotation_from_heading(rng.uniform(-math.pi, math.pi, count)))
