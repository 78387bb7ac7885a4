"""What a run ran on: versions, hardware, the command. No names of machines or people."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

PACKAGES = (
    "pomagym",
    "poma3d",
    "numpy",
    "scipy",
    "numba",
    "embreex",
    "trimesh",
    "gymnasium",
    "torch",
    "transformers",
    "stable-baselines3",
    "small_gicp",
    "warp-lang",
)
"""Distributions whose versions can change a number."""


def provenance() -> dict[str, Any]:
    """What results are written with: ``versions``, ``hardware`` and ``command`` of this process."""
    return {"versions": versions(), "hardware": hardware(), "command": command()}


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that can change a number; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        found[package] = None
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def cores() -> int:
    """Cores this process may use, which on a shared machine can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def hardware() -> dict[str, Any]:
    """Processor, cores this process may use, memory and system."""
    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def command() -> str:
    """The command line of this process, with the program's name alone in place of its path."""
    program = Path(sys.argv[0])
    # `python -m pomagym` runs the package's __main__.py.
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *sys.argv[1:]])


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
