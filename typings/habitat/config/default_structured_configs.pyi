from dataclasses import dataclass

@dataclass
class LabSensorConfig:
    type: str
