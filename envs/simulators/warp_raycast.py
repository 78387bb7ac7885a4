"""Ray casting on an NVIDIA GPU with Warp: all views of a batch in one launch, as arrays or as torch tensors there.

The same kernel runs on the processor (Warp's device ``cpu``), which is for tests: `RaycastSimulator` is faster.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.embodiment import AgentSpec
from envs.scenes.scene import Scene
from envs.simulators.pinhole import ray_slopes
from envs.simulators.protocol import Surface, Views
from envs.simulators.scene_simulator import SceneSimulator, Shot, checked_shot
from envs.simulators.warp_install import choose_device, refuse_forked, require_warp
from poma3d.errors import SceneError, SettingError
from poma3d.pointmap import Camera

if TYPE_CHECKING:
    import torch

_PAD = 2e-6
"""How much larger than its triangle a box is on every side, as a share of the scene's farthest coordinate.

A ray's way through boxes is rounded, and along an axis it is 0 * infinity where a box ends just there. With room
to spare neither loses a box whose triangle is hit."""


@functools.cache
def _turn(process_id: int) -> threading.Lock:
    """Held by who builds or launches: Warp keeps its modules, streams and devices in globals without locks.

    A lock that another thread held at a fork stays locked, hence one for each process id.
    """
    return threading.Lock()


@dataclass(frozen=True)
class TensorViews:
    """A batch of rendered views as torch tensors on the device that rendered them."""

    point_map: torch.Tensor
    """(B, H, W, 3) float32 metres in the frame asked for; 0 where not valid."""
    valid: torch.Tensor
    """(B, H, W) bool: a surface was hit within the depth range."""
    instance_ids: torch.Tensor | None = None
    """(B, H, W) int32, where asked for, as in `envs.simulators.protocol.Views`."""


class WarpSimulator(SceneSimulator):
    """One scene, seen and walked in by one kind of agent. Implements `envs.simulators.protocol.Simulator`.

    It sees what `envs.simulators.raycast.RaycastSimulator` sees: surfaces from their front only. Any number of
    Python threads may ask; they take turns. CUDA does not survive a fork: workers must be spawned.

    Args:
        scene: geometry and semantics.
        agent: the body; the surface is made for its size.
        surface: where it can walk; None builds (or loads from the cache) the surface when it is first asked
            for.
        device: Warp's name of the device that renders, ``cuda:0`` or ``cpu``; None takes ``cuda:0`` where CUDA
            is there, else ``cpu``.
        cull_back_faces: surfaces are invisible from behind, as in Habitat; False shows both sides.

    Raises:
        MissingDependencyError: Warp is not installed; the message holds the command that installs it.
        SceneError: the triangles do not fit in the device's memory.
        SettingError: there is no such device.
    """

    def __init__(
        self,
        scene: Scene,
        agent: AgentSpec | None = None,
        *,
        surface: Surface | None = None,
        device: str | None = None,
        cull_back_faces: bool = True,
    ) -> None:
        super().__init__(scene, agent, surface, cull_back_faces)
        self.device = choose_device(device)
        self._process = os.getpid()
        self._geometry: _Geometry | None = None
        with _turn(self._process):
            try:
                self._geometry = _Geometry(scene, self.device)
            except RuntimeError as error:
                raise SceneError(
                    f"Warp could not take the {len(scene.triangles)} triangles of {scene.scene_id} on"
                    f" {self.device} ({error}); is there enough memory?"
                ) from error

    def render_tensors(
        self,
        world_from_camera: np.ndarray,
        camera: Camera,
        *,
        frame_from_world: np.ndarray | None = None,
        depth_range: tuple[float, float] = (0.0, float("inf")),
        instances: bool = False,
    ) -> TensorViews:
        """Render point maps that stay on the device, for who encodes them there.

        On CUDA the work is queued on torch's current stream: what torch does there next waits for it, this call
        does not.

        Arguments are those of `render`.

        Returns:
            New tensors, which belong to the caller.

        Raises:
            SettingError: as in `render`.
            SimulatorClosedError: the simulator has been closed.
        """
        import torch

        shot = checked_shot(world_from_camera, camera, frame_from_world, depth_range)
        if self.device != "cpu" and not torch.cuda.is_available():
            raise SettingError(
                f"render_tensors needs a torch that can use {self.device}, and torch {torch.__version__} here finds"
                " no CUDA; install torch with CUDA (pytorch.org), or use render, which gives NumPy arrays"
            )
        shape = (len(shot.world_from_camera), camera.height, camera.width)
        views = TensorViews(
            torch.empty((*shape, 3), dtype=torch.float32, device=self.device),
            torch.empty(shape, dtype=torch.bool, device=self.device),
            torch.empty(shape, dtype=torch.int32, device=self.device) if instances else None,
        )
        if not shape[0]:
            return views
        with self._held_open(), self._device_turn() as warp:

            def placed(values: np.ndarray, dtype: Any) -> Any:
                # In torch's memory, which is used again on this stream alone, so not before the kernel has ended.
                return warp.from_torch(torch.from_numpy(values).to(self.device), dtype=dtype)

            on_stream = contextlib.nullcontext()
            if self.device != "cpu":
                on_stream = warp.ScopedStream(warp.stream_from_torch(views.valid.device))
            with on_stream:
                ids = views.instance_ids
                self._launch(
                    shot,
                    placed,
                    warp.from_torch(views.point_map, dtype=warp.vec3),
                    warp.from_torch(views.valid, dtype=warp.bool),
                    None if ids is None else warp.from_torch(ids, dtype=warp.int32),
                )
        return views

    def _trace(self, shot: Shot, views: Views) -> None:
        wanted = [(views.point_map, "vec3"), (views.valid, "bool")]
        if views.instance_ids is not None:
            wanted.append((views.instance_ids, "int32"))
        with self._device_turn() as warp:

            def placed(values: np.ndarray, dtype: Any) -> Any:
                return warp.array(values, dtype=dtype, device=self.device)

            if self.device == "cpu":  # the kernel writes into the caller's arrays
                filled = [
                    warp.array(host, dtype=getattr(warp, dtype), device="cpu", copy=False)
                    for host, dtype in wanted
                ]
            else:
                filled = [
                    warp.empty(views.valid.shape, dtype=getattr(warp, dtype), device=self.device)
                    for _, dtype in wanted
                ]
            self._launch(shot, placed, *filled)
            if self.device != "cpu":
                for (host, _), array in zip(wanted, filled, strict=True):
                    np.copyto(host, array.numpy())  # waits for the kernel

    def _launch(
        self,
        shot: Shot,
        placed: Callable[[np.ndarray, Any], Any],
        point_map: Any,
        valid: Any,
        instance_ids: Any = None,
    ) -> None:
        """Start the kernel on the device's current stream; ``placed`` puts an array there as a Warp type."""
        warp = require_warp()
        from envs.simulators.warp_kernel import TILE_COLUMNS, TILE_ROWS, trace_views

        geometry = self._geometry
        assert geometry is not None  # whoever traces holds the simulator open
        camera = shot.camera
        ray_x, ray_y = (slopes.astype(np.float32) for slopes in ray_slopes(camera))
        if instance_ids is None:
            instance_ids = warp.empty((0, 1, 1), dtype=warp.int32, device=self.device)
        tiles = -(-camera.height // TILE_ROWS) * -(-camera.width // TILE_COLUMNS)
        warp.launch(
            trace_views,
            (len(shot.world_from_camera), tiles, TILE_ROWS * TILE_COLUMNS),
            inputs=[
                geometry.bvh.id,
                geometry.corners,
                geometry.instance_of,
                self.cull_back_faces,
                placed(shot.world_from_camera.astype(np.float32), warp.mat44),
                placed(shot.frame_from_camera.astype(np.float32), warp.mat44),
                placed(ray_x, warp.float32),
                placed(ray_y, warp.float32),
                *shot.depth_range,
                point_map,
                valid,
                instance_ids,
            ],
            device=self.device,
        )

    @contextlib.contextmanager
    def _device_turn(self) -> Iterator[Any]:
        """Warp, for one thread at a time; what the device refuses meanwhile is told as ours."""
        refuse_forked(self.device, self._process)
        with _turn(os.getpid()):
            try:
                yield require_warp()
            except RuntimeError as error:
                raise SettingError(
                    f"Warp could not render on {self.device} ({error}); if there is no memory left, render fewer"
                    " or smaller views at once"
                ) from error

    def _geometry_bytes(self) -> int:
        return 0 if self._geometry is None else self._geometry.nbytes

    def _release(self) -> None:
        with _turn(os.getpid()):
            if self._geometry is not None and self.device != "cpu" and os.getpid() == self._process:
                require_warp().synchronize_device(self.device)  # tensors may still be under way
            self._geometry = None


class _Geometry:
    """Triangles on a device, and the tree of their boxes."""

    def __init__(self, scene: Scene, device: str) -> None:
        warp = require_warp()
        corners = scene.vertices[scene.triangles].astype(np.float32)  # (M, 3, 3)
        pad = np.float32(_PAD * np.abs(scene.vertices).max(initial=1.0))
        self.corners = warp.array(corners, dtype=warp.vec3, device=device)  # (M, 3)
        self.instance_of = warp.array(scene.instance_ids, dtype=warp.int32, device=device)
        lowest = warp.array(corners.min(axis=1) - pad, dtype=warp.vec3, device=device)
        highest = warp.array(corners.max(axis=1) + pad, dtype=warp.vec3, device=device)
        # "sah" is built on the processor also for a GPU: it traces fastest, never grows deeper than the stack of
        # a query, and gives the same tree everywhere. A scene is built once.
        self.bvh = warp.Bvh(lowest, highest, constructor="sah")
        nodes = 2 * len(corners) - 1
        arrays = (self.corners, self.instance_of, lowest, highest)
        # Of a node: two bounds with an index each (16 bytes each) and its parent; of a triangle: its place.
        self.nbytes = sum(array.capacity for array in arrays) + nodes * (16 + 16 + 4) + 4 * len(corners)
