"""What of real Habitat works here, down to rendering one frame; looked at in processes of their own.

habitat-sim ends its whole process where OpenGL or a CUDA device is not what it expects, so nothing of it is
tried in the doctor's.
"""

from __future__ import annotations

from pomagym.doctor_process import LookError, last_line, require_module

_VERSION = "import habitat_sim; print(habitat_sim.__version__)"
_FRAME = "from pomagym.doctor_habitat import render_one_frame; render_one_frame()"
_LAB = "import envs.habitat_lab, habitat; print(habitat.__version__)"


def habitat_sim() -> str:
    """The version of habitat-sim, imported."""
    require_module("habitat_sim")
    return last_line(_VERSION)


def habitat_frame() -> str:
    """What rendering a frame of a room by the simulator ``habitat`` gave."""
    require_module("habitat_sim")
    return last_line(_FRAME)


def habitat_lab() -> str:
    """The version of habitat-lab, with our sensors registered."""
    require_module("habitat")
    return last_line(_LAB)


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
        raise LookError(f"a wall at 3 m was seen at {depth:.3f} m")
    if not abs(distance - 32**0.5) < 0.1:
        raise LookError(f"a way of {32**0.5:.2f} m came out as {distance:.2f} m")
    where = "on the processor" if device < 0 else f"on CUDA device {device}"
    print(f"rendered {where}: a wall at 3 m seen at {depth:.3f} m, a way of {distance:.2f} m found")
