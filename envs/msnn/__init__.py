"""MSNN, situated next-step navigation: samples, the authors' files, and samples made from scenes."""

from envs.msnn.files import read_msnn, read_scan_list, write_msnn, write_scan_list
from envs.msnn.sample import (
    DIRECTION_TEXTS,
    DIRECTIONS,
    QUESTION,
    MsnnSample,
    angular_error,
    direction_code,
    direction_label,
    label_angle,
)

__all__ = [
    "DIRECTIONS",
    "DIRECTION_TEXTS",
    "QUESTION",
    "MsnnSample",
    "angular_error",
    "direction_code",
    "direction_label",
    "label_angle",
    "read_msnn",
    "read_scan_list",
    "write_msnn",
    "write_scan_list",
]
