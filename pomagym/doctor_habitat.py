"""What of real Habitat works here, down to rendering one frame; looked at in processes of their own.

habitat-sim ends its whole process where OpenGL or a CUDA device is not what it expects, so nothing of it is
tried in the doctor's.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

_PATIENCE = 180.0
_VERSION = "import habitat_sim; print(habitat_sim.__version__)"
_FRAME = "from pomagym.doctor_habitat import render_one_frame; render_one_frame()"
_LAB = "import envs.habitat_lab, habitat; print(habitat.__version__)"


class HabitatError(Exception):
    """Something of Habitat does not work: the message says what."""


def habitat_sim() -> str:
    """The version of habitat-sim, imported."""
    _installed("habitat_sim")
    return _last_line(_VERSION)


def habitat_frame() -> str:
    """What rendering a frame of a room by the simulator ``habitat`` gave."""
    _installed("habitat_sim")
    return _last_line(_FRAME)


def habitat_lab() -> str:
    """The version of habitat-lab, with our sensors registered."""
    _installed("habitat")
    return _last_line(_LAB)


def render_one_frame() -> None:
    """Render a wall at 3 m through habitat-sim and print what came of it; raises where it is not seen there."""
    import tempfile
    from pathlib import Path

    import numpy as np

    from envs.scenes.mesh import save_scene
    from envs.simulators.habitat import HabitatSimulator
    from poma3d.pointmap import Camera, world_from_pose
    from pomagym.doctor import room

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "room.glb"
        save_scene(room(), path)
        with HabitatSimulator(path) as simulator:
            pose = world_from_pose(np.array([[0.0, 1.25, 0.0]]), np.array([[0.0, 0.0, 0.0, 1.0]]))
            views = simulator.render(pose, Camera(64, 64, 90.0))
            ends = np.array([[-2.0, 0.0, -2.0], [2.0, 0.0, 2.0]])
            distance = float(simulator.surface.geodesic_distance(ends[:1], ends[1:])[0])
            device = simulator.gpu_device_id
    depth = -float(views.point_map[0, 32, 32, 2])
    if not views.valid.all() or abs(depth - 3.0) > 1e-2:
        raise HabitatError(f"a wall at 3 m was seen at {depth:.3f} m")
    if not abs(distance - 32**0.5) < 0.1:
        raise HabitatError(f"a way of {32**0.5:.2f} m came out as {distance:.2f} m")
    where = "on the processor" if device < 0 else f"on CUDA device {device}"
    print(f"rendered {where}: a wall at 3 m seen at {depth:.3f} m, a way of {distance:.2f} m found")


def _installed(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise HabitatError("not installed")


def _last_line(code: str) -> str:
    """What ``code`` prints last, run by this Python in another process."""
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise HabitatError(f"no answer within {_PATIENCE:.0f} s") from None
    said = [
        line for line in (answer.stdout, answer.stderr)[answer.returncode != 0].splitlines() if line.strip()
    ]
    if answer.returncode == 0 and said:
        return said[-1]
    how = (
        f"ended by signal {-answer.returncode}" if answer.returncode < 0 else f"exit code {answer.returncode}"
    )
    raise HabitatError(f"{how}: {said[-1].strip() if said else 'nothing was said'}")
