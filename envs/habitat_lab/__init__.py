"""pomagym inside habitat-lab: importing this registers its point map, validity and pose sensors.

Two lines add point maps to an existing habitat-lab configuration::

    import envs.habitat_lab
    envs.habitat_lab.add_point_maps(config, frame="agent")

or, in YAML, behind ``import envs.habitat_lab``::

    defaults:
      - /habitat/task/lab_sensors: [pomagym_point_map, pomagym_valid, pomagym_pose]

`HabitatLabEnv` turns any habitat-lab navigation configuration into a Gymnasium 1.x environment.

Raises, on import:
    MissingDependencyError: habitat-sim or habitat-lab is not installed.
"""

from envs.habitat_lab.importing import import_habitat

import_habitat()

from envs.habitat_lab.configs import (  # noqa: E402  (habitat-lab must be there first)
    PointMapSensorConfig,
    PoseSensorConfig,
    ValiditySensorConfig,
    add_point_maps,
)
from envs.habitat_lab.environment import HabitatLabEnv  # noqa: E402
from envs.habitat_lab.sensors import PointMapSensor, PoseSensor, ValiditySensor  # noqa: E402

__all__ = [
    "HabitatLabEnv",
    "PointMapSensor",
    "PointMapSensorConfig",
    "PoseSensor",
    "PoseSensorConfig",
    "ValiditySensor",
    "ValiditySensorConfig",
    "add_point_maps",
]
