"""Whether NVIDIA Warp is here, how to get it, and which of its devices renders; told before anything is built."""

from __future__ import annotations

import importlib
import os
from typing import Any

from poma3d.errors import MissingDependencyError, SettingError

WARP_INSTALL = "pip install 'pomagym[gpu]'"
"""The command that installs Warp."""

_started_by: int | None = None  # the process that started Warp; a process forked from it inherits this


def require_warp() -> Any:
    """Import and start Warp without its chatter on standard output; nothing of it is touched before this.

    Its log level is raised from the default alone, and stays as a person has set it. What its native library
    says on standard error, such as that there is no NVIDIA driver, cannot be turned off.

    Raises:
        MissingDependencyError: it is not installed or does not load; the message holds the command that
            installs it.
    """
    global _started_by
    try:
        warp = importlib.import_module("warp")
        if warp.config.log_level == warp.LOG_INFO:
            warp.config.log_level = warp.LOG_WARNING
        warp.init()
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        raise MissingDependencyError(
            f"the simulator 'warp' needs NVIDIA Warp 1.19 or newer, which is not installed here or does not"
            f" load ({error}); install it with: {WARP_INSTALL} (or use the simulator 'raycast', which needs"
            " no GPU)"
        ) from None
    if _started_by is None:
        _started_by = os.getpid()
    return warp


def choose_device(asked: str | None = None) -> str:
    """The name of the Warp device that renders: the one asked for, else ``cuda:0``, else ``cpu``.

    Args:
        asked: ``cpu``, ``cuda:0``, ``cuda:1``, ..., or ``cuda`` for the first; None decides.

    Raises:
        MissingDependencyError: Warp is not installed.
        SettingError: there is no such device here, or CUDA was started before this process was forked.
    """
    devices = [str(device) for device in require_warp().get_devices()]
    name = "cuda:0" if asked == "cuda" else asked
    if name is None:
        name = "cuda:0" if "cuda:0" in devices else devices[0]
    if name not in devices:
        raise SettingError(f"Warp has no device {asked!r} here; it has {', '.join(devices)}")
    refuse_forked(name, _started_by)
    return name


def refuse_forked(device: str, process: int | None) -> None:
    """Refuse a CUDA device in a process that was forked from the one that started it: CUDA does not survive that.

    Args:
        device: name of a Warp device.
        process: id of the process that started it.

    Raises:
        SettingError: it was another process, and the device is not the processor.
    """
    if device != "cpu" and process != os.getpid():
        raise SettingError(
            f"the simulator 'warp' cannot render on {device} in a process that was forked after Warp was started;"
            " start workers by spawn or forkserver, as in AsyncVectorEnv(..., context='spawn')"
        )
