"""What of ray casting with NVIDIA Warp works here, down to one frame, on the device that would be taken."""

from __future__ import annotations

from pomagym.doctor_process import LookError, last_line, require_module

_FRAME = "from pomagym.doctor_warp import render_one_frame; render_one_frame()"


def warp_frame() -> str:
    """What rendering a frame of a room by the simulator ``warp`` gave."""
    require_module("warp")
    return last_line(_FRAME)


def render_one_frame() -> None:
    """Render a wall at 3 m with Warp and print what came of it; raises where it is not seen there."""
    import numpy as np

    from envs.simulators.warp_install import require_warp
    from envs.simulators.warp_raycast import WarpSimulator
    from poma3d.pointmap import Camera, world_from_pose
    from pomagym.doctor import room

    with WarpSimulator(room()) as simulator:
        pose = world_from_pose(np.array([[0.0, 1.25, 0.0]]), np.array([[0.0, 0.0, 0.0, 1.0]]))
        views = simulator.render(pose, Camera(64, 64, 90.0))
        warp, device = require_warp(), simulator.device
    depth = -float(views.point_map[0, 32, 32, 2])
    if not views.valid.all() or abs(depth - 3.0) > 1e-3:
        raise LookError(f"a wall at 3 m was seen at {depth:.3f} m")
    where = "the processor: no CUDA here, 'raycast' is faster" if device == "cpu" else device
    if device != "cpu":
        where += f" ({warp.get_device(device).name})"
    print(f"{warp.config.version}, a wall at 3 m seen at {depth:.3f} m, on {where}")
