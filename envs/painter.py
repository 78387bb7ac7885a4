"""Draws the running episode of a navigation environment for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from envs.episodes.episode import Episode
from envs.floor_plan import scene_topdown_picture
from envs.locomotion import Action
from envs.pictures import (
    Window,
    compose_frame,
    depth_picture,
    first_person,
    panel_height,
    topdown_picture,
)
from envs.scenes.scene import Scene
from poma3d.pointmap import invert

if TYPE_CHECKING:
    from envs.navigation import NavigationEnv


class EpisodePainter:
    """Joins point map, depth and the map from above; keeps what stays the same during an episode."""

    def __init__(self) -> None:
        self._episode: Episode | None = None

    def draw(self, env: NavigationEnv) -> np.ndarray:
        """One picture (rows, columns, 3) uint8 of the environment as it is now."""
        if env.episode is not self._episode:
            self._begin(env)
        world_from_camera = env.world_from_camera
        views = env.simulator.render(world_from_camera[None], env.camera, depth_range=env.agent.depth_range)
        points, valid = views.point_map[0], views.valid[0]
        into_camera = invert(world_from_camera)
        depth = -(points @ into_camera[2, :3] + into_camera[2, 3])  # the camera looks along -z
        near, far = env.agent.depth_range
        map_picture = topdown_picture(
            self._navigable,
            self._bounds,
            path=env.trajectory,
            goals=self._goals,
            shortest_path=self._shortest_path,
            start=env.start_position,
            position=env.position,
            heading=env.heading,
            goal_radius=env.success_distance,
            window=self._window,
            backdrop=self._plan,
            backdrop_window=self._window,
            size=(self._side, self._side),
        )
        return compose_frame(
            first_person(points, valid, self._colour_bounds),
            depth_picture(depth, valid, (near, far if np.isfinite(far) else 10.0)),
            map_picture,
            self._captions(env),
            outcome=bool(env.measures.success) if env.over else None,
        )

    def _begin(self, env: NavigationEnv) -> None:
        """Prepare the map of an episode's storey, the goals and the shortest path."""
        self._episode = env.episode
        surface = env.surface
        self._bounds = np.asarray(surface.bounds)
        self._navigable = surface.topdown_map(float(env.start_position[1]))
        self._goals = np.array([goal.position for goal in env.episode.goals])
        self._shortest_path = env.distance_field.path(env.start_position).points
        self._colour_bounds = self._bounds + np.array([[0.0, 0.0, 0.0], [0.0, 2.5, 0.0]])
        shown = np.concatenate([self._shortest_path, self._goals, env.start_position[None]])
        self._window = Window.around(shown, margin=2.0, least=8.0)
        self._side = panel_height(env.camera.height)
        # A backend that shows no triangles (Habitat's) is drawn by where one can walk.
        scene = getattr(env.simulator, "scene", None)
        self._plan = None
        if isinstance(scene, Scene):
            floor = float(env.start_position[1])
            self._plan, _ = scene_topdown_picture(
                scene, floor_height=floor, cut=1.7, window=self._window, size=min(2 * self._side, 600)
            )

    def _captions(self, env: NavigationEnv) -> list[str]:
        measures = env.measures
        action = (
            "start" if env.last_action is None else Action(env.last_action).name.lower().replace("_", " ")
        )
        captions = [
            f"step {measures.num_steps}: {action}",
            f"{measures.distance_to_goal:.2f} m to go",
            f"{measures.path_length:.2f} m walked",
        ]
        if env.episode.object_category is not None:
            captions.insert(0, f"find: {env.episode.object_category}")
        if measures.collision_count:
            captions.append(f"{measures.collision_count} collisions")
        return captions
