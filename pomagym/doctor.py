"""`pomagym doctor`: what this machine can do, and the one command that mends what is missing."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pomagym.doctor_habitat import habitat_frame, habitat_lab, habitat_sim
from pomagym.doctor_warp import warp_frame


@dataclass(frozen=True)
class Config:
    """Look at this machine: what works, what is missing, and the one command that mends it.

    Exit code 0 when everything that is needed works, 1 otherwise.

    For example:

        pomagym doctor
        pomagym doctor --json
    """

    json: bool = False
    """Print the findings as JSON, alone on standard output."""


@dataclass(frozen=True)
class Finding:
    """What one look at the machine found."""

    name: str
    """What was looked at."""
    ok: bool
    """Whether it works."""
    needed: bool
    """Whether pomagym needs it; otherwise it adds something."""
    found: str
    """What was found, in words."""
    packages: tuple[str, ...] = ()
    """What pip must install to mend it."""
    mend: str = ""
    """The command that mends it where pip does not."""


class _BrokenError(Exception):
    """A look that found something wrong: its message says what."""


def execute(config: Config) -> int:
    """Look at everything, print the findings, and answer 0 if what is needed works."""
    from pomagym.progress import Bar

    findings = []
    with Bar("looking", len(_LOOKS)) as bar:
        for look in _LOOKS:
            findings.append(_look(*look))
            bar.advance(look[0])
    ready = all(finding.ok for finding in findings if finding.needed)
    command = mending_command(findings)
    if config.json:
        listed = [asdict(finding) for finding in findings]
        print(json.dumps({"ready": ready, "mend": command, "findings": listed}, indent=2))
    else:
        _print(findings, ready, command)
    return 0 if ready else 1


def mending_command(findings: list[Finding]) -> str | None:
    """The one command that mends all that is needed and missing; None where nothing is."""
    broken = [finding for finding in findings if finding.needed and not finding.ok]
    packages = sorted({package for finding in broken for package in finding.packages})
    commands = [finding.mend for finding in broken if finding.mend]
    if packages:
        quoted = " ".join(f"'{package}'" for package in packages)
        commands.insert(0, f"{Path(sys.executable).name} -m pip install {quoted}")
    return " && ".join(dict.fromkeys(commands)) or None


def _look(
    name: str, needed: bool, look: Callable[[], str], packages: tuple[str, ...] = (), mend: str = ""
) -> Finding:
    try:
        return Finding(name, True, needed, look())
    except Exception as error:  # a broken machine may raise anything; the finding says what
        return Finding(
            name, False, needed, " ".join(str(error).split()) or type(error).__name__, packages, mend
        )


def _python() -> str:
    if not (3, 10) <= sys.version_info[:2] <= (3, 14):
        raise _BrokenError(f"{sys.version.split()[0]}; 3.10 to 3.14 is needed")
    return sys.version.split()[0]


def _package(distribution: str, module: str | None = None) -> Callable[[], str]:
    """A look at whether a distribution is installed and its module can be found."""

    def look() -> str:
        try:
            version = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            raise _BrokenError("not installed") from None
        if importlib.util.find_spec(module or distribution) is None:
            raise _BrokenError(f"{version} is listed, but cannot be imported")
        return version

    return look


def _embree() -> str:
    from envs.simulators.embree import TriangleScene

    scene = room()
    triangles = TriangleScene(scene.vertices, scene.triangles)
    size = triangles.packet_size
    triangles.close()
    return f"Embree 4, {size} rays at once ({ {16: 'AVX-512', 8: 'AVX2', 4: 'SSE or NEON'}[size] })"


def _machine() -> str:
    from benchmarks.machine import hardware

    facts = hardware()
    return f"{facts['cores']} cores ({facts['cpu']}), {facts['memory_gb']} GiB of memory, {facts['system']}"


def _cache() -> str:
    from envs.embodiment import NavmeshSettings
    from envs.simulators.walkable.cache import cache_path
    from poma3d.files import write_text

    folder = cache_path("", NavmeshSettings()).parent.parent
    trial = folder / f"doctor-{os.getpid()}"
    write_text(trial, "writable\n")
    trial.unlink()
    return f"surfaces are kept in {folder}"


def _ffmpeg() -> str:
    import imageio_ffmpeg

    return f"ffmpeg {imageio_ffmpeg.get_ffmpeg_version()}"


def _torch() -> str:
    version = _package("torch")()
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        return f"{version}, without CUDA"
    return f"{version}, CUDA {torch.version.cuda} on {torch.cuda.get_device_name(0)}"


def _render() -> str:
    import numpy as np

    from envs.simulators.raycast import RaycastSimulator
    from poma3d.pointmap import Camera, world_from_pose

    with RaycastSimulator(room()) as simulator:
        pose = world_from_pose(np.array([[0.0, 1.25, 0.0]]), np.array([[0.0, 0.0, 0.0, 1.0]]))
        camera = Camera(64, 64, 90.0)
        simulator.render(pose, camera)  # compiles, the first time
        start = time.perf_counter()
        views = simulator.render(pose, camera)
        elapsed = time.perf_counter() - start
    depth = -float(views.point_map[0, 32, 32, 2])
    if not views.valid.all() or abs(depth - 3.0) > 1e-3:
        raise _BrokenError(f"a wall at 3 m was seen at {depth:.3f} m")
    return f"a 64 x 64 point map in {1000 * elapsed:.1f} ms, a wall at 3 m seen at {depth:.3f} m"


def _surface() -> str:
    import numpy as np

    from envs.simulators.raycast import RaycastSimulator

    start = time.perf_counter()
    with RaycastSimulator(room()) as simulator:
        ends = np.array([[-2.0, 0.0, -2.0], [2.0, 0.0, 2.0]])
        distance = float(simulator.surface.geodesic_distance(ends[:1], ends[1:])[0])
    if not abs(distance - 32**0.5) < 0.1:
        raise _BrokenError(f"a way of {32**0.5:.2f} m came out as {distance:.2f} m")
    return f"a room's walkable surface in {time.perf_counter() - start:.1f} s"


def room() -> Any:
    """A box of 6 x 3 x 6 m seen from inside."""
    import numpy as np

    from envs.scenes.scene import Scene

    corners = np.array([(x, y, z) for x in (-3, 3) for y in (0, 3) for z in (-3, 3)], np.float32)
    quads = ((0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5), (0, 2, 3, 1), (4, 5, 7, 6))
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    return Scene("doctor:room", corners, triangles, np.full(len(triangles), -1, np.int32))


def _print(findings: list[Finding], ready: bool, command: str | None) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark, style = (
            ("ok", "green") if finding.ok else ("missing", "red") if finding.needed else ("-", "dim")
        )
        console.print(Text.assemble((f"{mark:<8}", style), f"{finding.name:<{width}}  {finding.found}"))
    if ready:
        console.print("Everything that is needed works; what is marked - is optional.")
    else:
        console.print(Text(f"Mend it with:  {command or 'pip install pomagym'}"))


_CREATE_HABITAT = "conda env create -f environment.yml"
_REINSTALL_EMBREE = ("embreex>=4.4,<5",)
_LOOKS: tuple[tuple, ...] = (
    ("python", True, _python, (), "install Python 3.11 and make a new environment with it"),
    ("machine", True, _machine, ("psutil>=6",)),
    ("numpy", True, _package("numpy"), ("numpy>=2,<3",)),
    ("numba", True, _package("numba"), ("numba>=0.61",)),
    ("trimesh", True, _package("trimesh"), ("trimesh>=4.5",)),
    ("gymnasium", True, _package("gymnasium"), ("gymnasium>=1.0,<2",)),
    (
        "stable-baselines3",
        True,
        _package("stable-baselines3", "stable_baselines3"),
        ("stable-baselines3>=2.7,<3",),
    ),
    ("embree", True, _embree, _REINSTALL_EMBREE),
    ("render a point map", True, _render, _REINSTALL_EMBREE),
    ("build a walkable surface", True, _surface, ("numba>=0.61", "scipy>=1.14")),
    ("cache", False, _cache, (), "export POMAGYM_CACHE=FOLDER, a folder that can be written"),
    ("video", True, _ffmpeg, ("imageio-ffmpeg>=0.6",)),
    ("rerun", True, _package("rerun-sdk", "rerun"), ("rerun-sdk>=0.24",)),
    ("torch", False, _torch, ("torch>=2.4",)),
    ("warp", False, warp_frame, (), "pip install 'pomagym[gpu]'"),
    ("habitat-sim", False, habitat_sim, (), _CREATE_HABITAT),
    ("habitat-sim renders", False, habitat_frame, (), _CREATE_HABITAT),
    ("habitat-lab", False, habitat_lab, (), "pip install --no-deps habitat-lab"),
)
"""Name, whether it is needed, the look, what pip installs to mend it, the command where pip does not."""
