"""A 3D recording of episodes for the rerun viewer: scene, point maps, camera, path and measures over time.

``rerun FILE.rrd`` opens it, ``rerun FILE.rrd --web-viewer`` does so in a browser.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agent.video import VideoRecorder
from envs.floor_plan import category_colour, is_structure
from envs.locomotion import Action
from envs.pictures import first_person
from envs.scenes.scene import Scene
from envs.topdown import GOAL, SHORTEST, START, WALKED
from poma3d.errors import SettingError
from poma3d.files import write_bytes

__all__ = ["RerunRecorder", "VideoRecorder"]

_CUT = 2.1
"""Ceilings, roofs and what hangs more than this above the floor are left out, metres."""
_STONE = (206, 203, 197)


class RerunRecorder:
    """Writes episodes to one .rrd in the world frame (metres, y up). Implements `agent.observer.Observer`.

    Episodes follow one another on the timeline ``step``, told apart by the timeline ``episode``. The file
    appears whole when the recorder is closed, and not at all if nothing was recorded; until then it is held
    in memory. Its size is bounded: at most 80 kB a step and 9 MB a scene with the defaults.

    Args:
        path: the file, ending in ``.rrd``.
        max_points: points shown of each point map; of more, a random choice.
        max_triangles: triangles shown of each scene; of more, the largest.

    Raises:
        SettingError: another ending, or a bound below 1.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_points: int = 4000, max_triangles: int = 150_000
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != ".rrd":
            raise SettingError(f"a 3D recording must be named *.rrd, found {self.path.name!r}")
        if max_points < 1 or max_triangles < 1:
            raise SettingError("max_points and max_triangles must be at least 1")
        self.max_points, self.max_triangles = max_points, max_triangles
        self.steps = 0
        """Moments recorded so far."""
        self._episodes = 0
        self._env: Any = None
        self._scene_id: str | None = None
        self._bounds = np.zeros((2, 3))
        self._stream: Any = None
        self._bytes: Any = None

    def begin(self, env: Any, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        """Record the scene (where it is another one), the task and the first view of an episode."""
        rr = _rerun()
        self._env = env
        if self._stream is None:
            self._start()
        self._tick()
        if env.simulator.scene_id != self._scene_id:
            self._log_scene()
        goals = np.asarray(env.goal_positions, np.float32)
        position = np.asarray(env.position, np.float64)
        shortest = np.asarray(env.distance_field.path(position).points, np.float32)
        lift = np.array([0, 0.05, 0], np.float32)  # above the floor, where it is seen
        self._log("world/goals", rr.Points3D(goals + lift, radii=0.12, colors=[GOAL]))
        self._log("world/start", rr.Points3D(position[None] + lift, radii=0.10, colors=[START]))
        self._log("world/shortest_path", rr.LineStrips3D([shortest + lift], radii=0.02, colors=[SHORTEST]))
        self._log("world/path", rr.Clear(recursive=False))
        episode = env.episode
        self._log("log", rr.TextLog(f"episode {episode.episode_id} in {episode.scene_id} begins"))
        self._moment(info)

    def step(
        self, action: int, observation: Mapping[str, np.ndarray], reward: float, info: Mapping[str, Any]
    ) -> None:
        """Record one action and what came of it."""
        rr = _rerun()
        self._tick()
        self._log("log", rr.TextLog(Action(int(action)).name.lower()))
        self._log("measures/reward", rr.Scalars(float(reward)))
        self._moment(info)

    def end(self, measures: Mapping[str, Any]) -> None:
        """Record how the episode ended."""
        rr = _rerun()
        success = bool(measures.get("success"))
        text = f"{'success' if success else 'failure'}, spl {float(measures.get('spl') or 0):.3f}"
        self._log("log", rr.TextLog(text, level="INFO" if success else "WARN"))
        self._episodes += 1

    def close(self) -> None:
        """Write the file.

        Raises:
            FileError: it cannot be written, as on a full disk; nothing appears under `path`.
        """
        stream, self._stream = self._stream, None
        if stream is None:
            return
        data = self._bytes.read()
        stream.disconnect()
        write_bytes(self.path, data)

    def discard(self) -> None:
        """Throw away what was recorded; nothing appears under `path`."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.disconnect()

    def _start(self) -> None:
        rr = _rerun()
        self._stream = rr.RecordingStream("pomagym")
        # In memory until the end: rerun's own file writer waits for ever on a disk that has run full.
        self._bytes = self._stream.binary_stream()
        self._stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Y_UP, static=True)

    def _log(self, entity: str, what: Any) -> None:
        self._stream.log(entity, what)

    def _tick(self) -> None:
        self._stream.set_time("step", sequence=self.steps)
        self._stream.set_time("episode", sequence=self._episodes)
        self.steps += 1

    def _moment(self, info: Mapping[str, Any]) -> None:
        """Record the camera, the point map, the path so far and the measures."""
        rr = _rerun()
        env = self._env
        pose = np.asarray(env.world_from_camera, np.float64)
        # The observation may be in any frame; the recording is in the world's.
        views = env.simulator.render(pose[None], env.camera, depth_range=env.agent.depth_range)
        point_map, valid = views.point_map[0], views.valid[0]
        picture = first_person(point_map, valid, self._bounds)
        self._log("world/camera", rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        self._log("world/camera/image", _jpeg(picture))
        points, colours = point_map[valid], picture[valid]
        # A draw without pattern: every n-th pixel would show as stripes.
        thin = np.random.default_rng(0).permutation(len(points))[: self.max_points]
        self._log("world/point_map", rr.Points3D(points[thin], colors=colours[thin], radii=0.02))
        trajectory = np.asarray(env.trajectory, np.float32) + np.array([0, 0.08, 0], np.float32)
        if len(trajectory) > 1:
            self._log("world/path", rr.LineStrips3D([trajectory], radii=0.03, colors=[WALKED]))
        body = env.agent
        feet = np.asarray(env.position, np.float64)
        self._log(
            "world/agent",
            rr.Boxes3D(
                centers=[feet + np.array([0, body.height / 2, 0])],
                half_sizes=[[body.radius, body.height / 2, body.radius]],
                colors=[WALKED],
            ),
        )
        for name in ("distance_to_goal", "path_length", "soft_spl"):
            value = info.get(name)
            if isinstance(value, int | float) and np.isfinite(value):
                self._log(f"measures/{name}", rr.Scalars(float(value)))

    def _log_scene(self) -> None:
        """Record the scene's mesh with the ceilings left out, the camera's lens, and how the viewer opens."""
        rr = _rerun()
        env = self._env
        camera = env.camera
        self._scene_id = env.simulator.scene_id
        self._bounds = np.asarray(env.surface.bounds, np.float64) + np.array([[0, 0, 0], [0, 2.5, 0]])
        # A backend that shows no triangles (Habitat's) is recorded without its mesh.
        scene = getattr(env.simulator, "scene", None)
        if isinstance(scene, Scene):
            corners, colours = shaded_mesh(scene, float(env.position[1]) + _CUT, self.max_triangles)
            self._bounds = scene.bounds
            self._log("world/scene", rr.Mesh3D(vertex_positions=corners, vertex_colors=colours))
        lens = rr.Pinhole(
            image_from_camera=camera.intrinsics,
            resolution=[camera.width, camera.height],
            camera_xyz=rr.ViewCoordinates.RUB,
            image_plane_distance=0.5,
        )
        self._log("world/camera", lens)
        if self._episodes == 0:
            self._stream.send_blueprint(_blueprint(self._bounds))


def shaded_mesh(scene: Scene, cut: float, max_triangles: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles with their colours baked in, ready to be shown from above.

    Args:
        scene: what to show.
        cut: ceilings, roofs and what hangs above this world y are left out, metres.
        max_triangles: of more, the largest are shown.

    Returns:
        ``corners`` (3 K, 3) float32, three for each triangle, and ``colours`` (3 K, 3) uint8.
    """
    corners = scene.vertices[scene.triangles]  # (N, 3)[(M, 3)] -> (M, 3 corners, 3)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled = np.linalg.norm(normal, axis=1)
    normal = normal / np.maximum(doubled, 1e-12)[:, None]
    structure = np.array([is_structure(i.category) for i in scene.instances] + [True])[scene.instance_ids]
    flat = np.abs(normal[:, 1]) > 0.7
    hangs = (corners[:, :, 1].min(axis=1) > cut) & (flat | ~structure)
    shown = np.flatnonzero(~hangs & (doubled > 0))
    if len(shown) > max_triangles:
        shown = np.sort(shown[np.argpartition(-doubled[shown], max_triangles)[:max_triangles]])
    named = [_STONE if is_structure(i.category) else category_colour(i.category) for i in scene.instances]
    table = np.array([*named, _STONE], np.float32)  # the last row is that of NO_INSTANCE = -1
    base = table[scene.instance_ids[shown]]
    light = 0.72 + 0.20 * normal[shown, 1] + 0.08 * normal[shown, 0] + 0.05 * normal[shown, 2]
    colours = np.clip(base * light[:, None], 0, 255).astype(np.uint8)
    return corners[shown].reshape(-1, 3), np.repeat(colours, 3, axis=0)  # (K, 3, 3) -> (3 K, 3)


def _rerun() -> Any:
    """The rerun SDK, loaded only when something is recorded."""
    import rerun

    return rerun


def _jpeg(picture: np.ndarray) -> Any:
    """The picture as the camera's image."""
    rr = _rerun()
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=80)
    return rr.EncodedImage(contents=buffer.getvalue(), media_type="image/jpeg")


def _blueprint(bounds: np.ndarray) -> Any:
    """How the viewer opens: the world at the left, the agent's view, measures and log at the right."""
    import rerun.blueprint as rrb

    middle, extent = bounds.mean(axis=0), np.ptp(bounds, axis=0)
    eye: dict[str, Any] = {}
    if hasattr(rrb, "EyeControls3D"):  # rerun before 0.27 chooses its own
        reach = max(extent[0], extent[2])
        eye["eye_controls"] = rrb.EyeControls3D(
            position=middle + np.array([0.0, 0.9, 0.7]) * reach, look_target=middle, eye_up=[0, 1, 0]
        )
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Spatial3DView(origin="world", name="world", background=[24, 26, 31], **eye),
            rrb.Vertical(
                rrb.Spatial2DView(
                    origin="world/camera", name="what the agent sees", contents=["$origin/image"]
                ),
                rrb.TimeSeriesView(origin="measures", name="measures"),
                rrb.TextLogView(origin="log", name="actions"),
                row_shares=[5, 3, 3],
            ),
            column_shares=[3, 2],
        ),
        rrb.TimePanel(timeline="step", state="collapsed"),
        collapse_panels=True,
    )
