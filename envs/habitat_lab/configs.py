"""Configuration nodes of the sensors, in Hydra's store beside habitat-lab's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from habitat.config import read_write
from habitat.config.default_structured_configs import LabSensorConfig
from hydra.core.config_store import ConfigStore

from poma3d.errors import SettingError
from poma3d.pointmap import Frame

_GROUP = "habitat/task/lab_sensors"


@dataclass
class PointMapSensorConfig(LabSensorConfig):
    """``point_map`` (H, W, 3) float32 metres."""

    type: str = "PomagymPointMapSensor"
    uuid: str = "point_map"
    """Key of the observation."""
    depth: str = "depth"
    """Key of the depth sensor that the points come from."""
    frame: str = "agent"
    """World, scene, episode, agent or camera."""
    size: list[int] = field(default_factory=list)
    """(H, W) to resize to, never mixing valid with invalid pixels; empty keeps the depth sensor's."""


@dataclass
class ValiditySensorConfig(LabSensorConfig):
    """``valid`` (H, W) bool."""

    type: str = "PomagymValiditySensor"
    uuid: str = "valid"
    """Key of the observation."""
    depth: str = "depth"
    """Key of the depth sensor."""
    size: list[int] = field(default_factory=list)
    """(H, W) to resize to; empty keeps the depth sensor's."""


@dataclass
class PoseSensorConfig(LabSensorConfig):
    """``pose`` (4, 4) float32: from the camera's or the agent's body axes to a frame."""

    type: str = "PomagymPoseSensor"
    uuid: str = "pose"
    """Key of the observation."""
    of: str = "camera"
    """Whose pose: camera or agent."""
    depth: str = "depth"
    """Key of the depth sensor whose camera is meant."""
    frame: str = "world"
    """World, scene or episode."""


def _register_nodes() -> None:
    store = ConfigStore.instance()
    for name, node in {
        "pomagym_point_map": PointMapSensorConfig,
        "pomagym_valid": ValiditySensorConfig,
        "pomagym_pose": PoseSensorConfig,
    }.items():
        store.store(package=f"habitat.task.lab_sensors.{name}", group=_GROUP, name=name, node=node)


_register_nodes()


def add_point_maps(
    config: Any,
    *,
    frame: str | Frame = Frame.AGENT,
    size: tuple[int, int] | None = None,
    depth: str = "depth",
    pose: bool = False,
) -> Any:
    """Add a point map and its validity to a habitat-lab configuration, in place.

    Args:
        config: what ``habitat.get_config`` returned.
        frame: of the point map.
        size: (H, W) to resize to; None keeps the depth sensor's.
        depth: key of the depth sensor.
        pose: also add the camera's pose in the world.

    Returns:
        The configuration.

    Raises:
        SettingError: an unknown frame, or a configuration without ``habitat.task``.
    """
    pixels = [] if size is None else [int(size[0]), int(size[1])]
    name = Frame.parse(frame).value
    inner = config.habitat if "habitat" in config else config
    if "task" not in inner:
        raise SettingError("the configuration has no habitat.task; make it with habitat.get_config")
    with read_write(config):
        sensors = inner.task.lab_sensors
        sensors["pomagym_point_map"] = PointMapSensorConfig(depth=depth, frame=name, size=pixels)
        sensors["pomagym_valid"] = ValiditySensorConfig(depth=depth, size=pixels)
        if pose:
            sensors["pomagym_pose"] = PoseSensorConfig(depth=depth)
    return config
