"""Whether habitat-sim is here, how to get it, and which device it may render on; decided before it is
imported."""

from __future__ import annotations

import ctypes.util
import importlib
import os
from collections.abc import Mapping
from pathlib import Path

from poma3d.errors import MissingDependencyError, SettingError

HABITAT_INSTALL = (
    "conda create -n habitat -c conda-forge -c aihabitat python=3.11 habitat-sim=0.3.4 withbullet headless"
)
"""The command that installs real Habitat."""
GPU_VARIABLE = "POMAGYM_HABITAT_GPU"
"""Environment variable with the CUDA device that habitat-sim renders on; -1 renders on the processor."""

_QUIET = {"MAGNUM_LOG": "quiet", "HABITAT_SIM_LOG": "quiet"}
_CPU = -1


def require_habitat_sim() -> None:
    """Import habitat-sim, without its chatter on standard output.

    Its log levels are read from the environment when it is imported, and stay as a person has set them.

    Raises:
        MissingDependencyError: it is not installed or does not load; the message holds the command that
            installs it.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        importlib.import_module("habitat_sim")
    except ImportError as error:
        raise MissingDependencyError(
            f"the simulator 'habitat' needs habitat-sim, which is not installed here ({error}); it comes by"
            f" conda alone: {HABITAT_INSTALL} (or use the simulator 'raycast', which needs nothing)"
        ) from None


def choose_gpu_device(
    asked: int | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    devices: Path = Path("/dev"),
    egl_driver: bool | None = None,
) -> int:
    """The ``gpu_device_id`` of habitat-sim's configuration: a CUDA device, or -1 for the processor.

    habitat-sim ends the whole process where the device that it is given is not there (Magnum:
    "unable to find CUDA device 0 among N EGL devices"), so nothing may be tried: the choice is made from
    what can be seen without a context. A device counts as there if the kernel shows it
    (``/dev/nvidia0``), NVIDIA's EGL driver is installed (containers often have the former alone), and
    ``CUDA_VISIBLE_DEVICES`` does not hide all.

    Args:
        asked: this device; None decides.
        environment: variables; by default those of the process.
        devices: folder of the device files.
        egl_driver: whether NVIDIA's EGL driver is installed; None looks.

    Raises:
        SettingError: `GPU_VARIABLE` or ``asked`` is no number of at least -1.
    """
    environment = os.environ if environment is None else environment
    named = environment.get(GPU_VARIABLE, "") if asked is None else str(asked)
    if named:
        try:
            device = int(named)
        except ValueError:
            device = _CPU - 1
        if device < _CPU:
            raise SettingError(
                f"{GPU_VARIABLE if asked is None else 'gpu_device_id'} must be the number of a CUDA device, or"
                f" -1 for the processor, found {named!r}"
            )
        return device
    if environment.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1", "NoDevFiles"):
        return _CPU
    if not any(device.name[len("nvidia") :].isdigit() for device in devices.glob("nvidia*")):
        return _CPU
    if egl_driver is None:
        egl_driver = ctypes.util.find_library("EGL_nvidia") is not None
    return 0 if egl_driver else _CPU
