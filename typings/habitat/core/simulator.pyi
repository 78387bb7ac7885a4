from enum import Enum
from typing import Any

spaces: Any

class SensorTypes(Enum):
    POSITION = 6
    TENSOR = 8

class Sensor:
    config: Any
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

class SensorSuite:
    sensors: dict[str, Sensor]

class SixDOFPose:
    position: Any
    rotation: Any

class AgentState:
    position: Any
    rotation: Any
    sensor_states: dict[str, SixDOFPose]

class Simulator:
    @property
    def sensor_suite(self) -> SensorSuite: ...
    def get_agent_state(self) -> AgentState: ...
