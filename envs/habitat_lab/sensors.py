"""habitat-lab sensors for point maps, their validity and poses, registered under their names.

They read the depth sensor that the configuration has anyway, through habitat-lab's public interface: its
observation, its configuration, and the sensor pose in the agent's state (so a tilted camera is right, too).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from habitat.core.registry import registry
from habitat.core.simulator import Sensor, SensorTypes, Simulator, spaces

from envs.habitat_lab.geometry import (
    body_pose,
    checked_size,
    fitted,
    metric_depth,
    point_map,
    reach,
)
from poma3d.errors import SettingError
from poma3d.pointmap import Camera, Frame, frame_from_world, world_from_pose

_ANYWHERE = float(np.finfo(np.float32).max)


class _DepthReader(Sensor):
    """What the sensors share: the depth sensor that they read."""

    def __init__(self, sim: Simulator, config: Any, *args: Any, **kwargs: Any) -> None:
        self._sim = sim
        self._depth = str(config.depth)
        sensors = sim.sensor_suite.sensors
        if self._depth not in sensors or "max_depth" not in sensors[self._depth].config:
            raise SettingError(
                f"there is no depth sensor {self._depth!r} among the simulator's sensors"
                f" ({', '.join(sensors) or 'none'}); add one, or name another as 'depth'"
            )
        settings = sensors[self._depth].config
        if "hfov" not in settings:
            raise SettingError(f"the depth sensor {self._depth!r} is no pinhole camera")
        self._camera = Camera(int(settings.height), int(settings.width), float(settings.hfov))
        self._range = float(settings.min_depth), float(settings.max_depth)
        self._normalised = bool(settings.normalize_depth)
        self._offset = float(np.linalg.norm(np.array(list(settings.position), np.float64)))
        super().__init__(*args, sim=sim, config=config, **kwargs)

    def _get_uuid(self, *args: Any, **kwargs: Any) -> str:
        return str(self.config.uuid)

    def _metres(self, observations: Any) -> np.ndarray:
        """Z-depth (H, W) that habitat-lab has just observed."""
        seen = observations[self._depth]
        seen = seen.cpu().numpy() if hasattr(seen, "cpu") else np.asarray(seen)
        return metric_depth(seen, *self._range, normalised=self._normalised)

    def _poses(self) -> tuple[np.ndarray, np.ndarray]:
        """World-from-agent and world-from-camera (4, 4) now."""
        state = self._sim.get_agent_state()
        camera = state.sensor_states[self._depth]
        return body_pose(state.position, state.rotation), body_pose(camera.position, camera.rotation)


@registry.register_sensor(name="PomagymPointMapSensor")
class PointMapSensor(_DepthReader):
    """Point map (H, W, 3) float32 metres in a frame; 0 where `ValiditySensor` says False."""

    def __init__(self, sim: Simulator, config: Any, *args: Any, **kwargs: Any) -> None:
        self._frame = Frame.parse(str(config.frame))
        self._size = checked_size(config.size)
        super().__init__(sim, config, *args, **kwargs)

    def _get_sensor_type(self, *args: Any, **kwargs: Any) -> SensorTypes:
        return SensorTypes.TENSOR

    def _get_observation_space(self, *args: Any, **kwargs: Any) -> Any:
        height, width = self._size or (self._camera.height, self._camera.width)
        bound = min(_ANYWHERE, reach(self._camera, self._range[1], self._offset, self._frame))
        return spaces.Box(low=-bound, high=bound, shape=(height, width, 3), dtype=np.float32)

    def get_observation(self, *args: Any, observations: Any, episode: Any, **kwargs: Any) -> np.ndarray:
        """The point map of the depth that was observed."""
        agent, camera = self._poses()
        points, valid = point_map(
            self._metres(observations), self._camera, self._frame, _start_pose(episode), agent, camera
        )
        return fitted(points, valid, self._size)[0]


@registry.register_sensor(name="PomagymValiditySensor")
class ValiditySensor(_DepthReader):
    """Validity (H, W) bool: a surface was hit within the depth sensor's range."""

    def __init__(self, sim: Simulator, config: Any, *args: Any, **kwargs: Any) -> None:
        self._size = checked_size(config.size)
        super().__init__(sim, config, *args, **kwargs)

    def _get_sensor_type(self, *args: Any, **kwargs: Any) -> SensorTypes:
        return SensorTypes.TENSOR

    def _get_observation_space(self, *args: Any, **kwargs: Any) -> Any:
        height, width = self._size or (self._camera.height, self._camera.width)
        return spaces.Box(low=0, high=1, shape=(height, width), dtype=np.bool_)

    def get_observation(self, *args: Any, observations: Any, **kwargs: Any) -> np.ndarray:
        """The validity of the depth that was observed."""
        depth = self._metres(observations)
        return fitted(np.zeros((*depth.shape, 3)), depth > 0, self._size)[1]


@registry.register_sensor(name="PomagymPoseSensor")
class PoseSensor(_DepthReader):
    """Pose (4, 4) float32 of the camera or the agent's base: from Habitat's body axes to a frame."""

    def __init__(self, sim: Simulator, config: Any, *args: Any, **kwargs: Any) -> None:
        self._frame = Frame.parse(str(config.frame))
        self._of = str(config.of)
        if self._of not in ("camera", "agent"):
            raise SettingError(f"'of' must be camera or agent, found {self._of!r}")
        if self._frame in (Frame.AGENT, Frame.CAMERA):
            raise SettingError(f"a pose is measured in world, scene or episode, found {self._frame.value!r}")
        super().__init__(sim, config, *args, **kwargs)

    def _get_sensor_type(self, *args: Any, **kwargs: Any) -> SensorTypes:
        return SensorTypes.POSITION

    def _get_observation_space(self, *args: Any, **kwargs: Any) -> Any:
        return spaces.Box(low=-_ANYWHERE, high=_ANYWHERE, shape=(4, 4), dtype=np.float32)

    def get_observation(self, *args: Any, episode: Any, **kwargs: Any) -> np.ndarray:
        """The pose now."""
        agent, camera = self._poses()
        to_frame = frame_from_world(self._frame, world_from_start=_start_pose(episode))
        return (to_frame @ (camera if self._of == "camera" else agent)).astype(np.float32)


def _start_pose(episode: Any) -> np.ndarray:
    """World-from-agent (4, 4) at an episode's start."""
    return world_from_pose(
        np.array(episode.start_position, np.float64), np.array(episode.start_rotation, np.float64)
    )
