"""Intel Embree 4 by its C API: scenes of triangles that hand traced packets of rays to compiled code.

The library comes inside the ``embreex`` wheel. Set-up goes through `ctypes`; tracing is done by
`trace_packet`, which compiled (numba) code calls with the plain addresses of a `TriangleScene`, without the
interpreter lock. Layouts and constants are those of Embree 4's public headers (``rtcore_ray.h``,
``rtcore_scene.h``, ``rtcore_device.h``, ``rtcore_geometry.h``; RenderKit/embree, Apache-2.0).
"""

from __future__ import annotations

import ctypes
import functools
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from llvmlite import ir
from numba import cfunc, types
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

from envs.simulators.embree_library import library
from poma3d.errors import MissingDependencyError, SceneError
from poma3d.forks import hold_across_forks

ORIGIN, NEAR, DIRECTION, FAR, MASK, PRIMITIVE, GEOMETRY = 0, 3, 4, 8, 9, 17, 18
"""Rows of a packet: the first of three for vectors (x, y, z)."""
ROWS = 24
"""Rows of a packet ``RTCRayHit{4,8,16}``: one field of all its rays in each, then a little spare room."""
NOTHING = 0xFFFFFFFF
"""Geometry id of a ray that hit nothing."""

_FORMAT_FLOAT3, _FORMAT_UINT3 = 0x9003, 0x5003
_BUFFER_INDEX, _BUFFER_VERTEX = 0, 1
_GEOMETRY_TRIANGLE = 0
_QUERY_COHERENT = 1 << 16
_FEATURES_ALL = 0xFFFFFFFF
_NATIVE_PACKETS = ((16, 34), (8, 33), (4, 32))  # packet size, device property that says it is native


class _IntersectArguments(ctypes.Structure):
    """``RTCIntersectArguments``, with room for the fields that some builds append."""

    _fields_ = (
        ("flags", ctypes.c_uint),
        ("feature_mask", ctypes.c_uint),
        ("context", ctypes.c_void_p),
        ("filter", ctypes.c_void_p),
        ("spare", ctypes.c_void_p * 4),
    )


@intrinsic
def _as_int32_pointer(typingctx, address):
    """View an address as int32 values that compiled code can index."""

    def build(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.int32_t.as_pointer())

    return types.CPointer(types.int32)(types.intp), build


@intrinsic
def _as_float32_pointer(typingctx, address):
    """View an address as float32 values that compiled code can index."""

    def build(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], ir.FloatType().as_pointer())

    return types.CPointer(types.float32)(types.intp), build


@intrinsic
def atomic_add(typingctx, address, amount):
    """Add ``amount`` to the int64 at ``address``, indivisibly between threads; answers what it was before."""

    def build(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, arguments[1], "monotonic")

    return types.int64(types.intp, types.int64), build


@intrinsic
def trace_packet(typingctx, function, active, scene, packet, arguments):
    """Call ``rtcIntersectN(active, scene, packet, arguments)``; everything is an address (intp)."""

    def build(context, builder, signature, values):
        address = ir.IntType(8).as_pointer()
        callee = ir.FunctionType(ir.VoidType(), [address] * 4)
        pointer = builder.inttoptr(values[0], callee.as_pointer())
        builder.call(pointer, [builder.inttoptr(value, address) for value in values[1:]])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, types.intp, types.intp), build


@functools.cache
def _callbacks():
    """The two functions that Embree calls back, compiled: the back-face filter and the memory monitor."""

    @cfunc(types.void(types.CPointer(types.intp)), cache=True, error_model="numpy", fastmath={"contract"})
    def reject_back_faces(arguments):  # RTCFilterFunctionNArguments: valid, user, context, ray, hit, N
        active = _as_int32_pointer(arguments[0])
        ray = _as_float32_pointer(arguments[3])
        hit = _as_float32_pointer(arguments[4])
        n = arguments[5] & 0xFFFFFFFF
        for i in range(n):
            facing = hit[i] * ray[4 * n + i] + hit[n + i] * ray[5 * n + i] + hit[2 * n + i] * ray[6 * n + i]
            if facing >= 0:  # the normal points to where the corners wind counter-clockwise: the front
                active[i] = 0

    @cfunc(types.boolean(types.intp, types.intp, types.boolean), cache=True)
    def count_memory(counter, amount, after):
        atomic_add(counter, amount)
        return True

    return reject_back_faces, count_memory


class _Device:
    """An Embree device. A process has one (one for each configuration, and only tests ask for more), which builds on
    the calling thread alone and is never given back.

    Embree's own builder threads (TBB's) do not survive a fork, and one that holds a lock at that moment leaves
    it locked for ever in the child, which then waits without end in its first build: `AsyncVectorEnv` forks
    right after it has closed an environment. Releasing a device, or making another, lets such threads start
    even where a device was told to use none.
    """

    def __init__(self, config: str) -> None:
        self.embree = library()
        self.address = self.embree.rtcNewDevice(config.encode())
        if not self.address:
            raise MissingDependencyError(
                f"Embree cannot start on this machine (its error {self.embree.rtcGetDeviceError(None)},"
                f" configuration {config!r}); it needs a processor with SSE2 or NEON"
            )
        self.packet_size = next(
            (
                size
                for size, native in _NATIVE_PACKETS
                if self.embree.rtcGetDeviceProperty(self.address, native)
            ),
            4,
        )
        self._counter = np.zeros(1, np.int64)

    @contextmanager
    def counting(self, counter: np.ndarray) -> Iterator[None]:
        """Hold the device, and add the bytes that it takes (less those it gives back) to ``counter`` (1,) int64."""
        with _at_work:
            before = self._counter
            self._count_into(counter)
            try:
                yield
            finally:
                self._count_into(before)

    def _count_into(self, counter: np.ndarray) -> None:
        self._counter = counter  # kept alive while Embree has its address
        _, count_memory = _callbacks()
        self.embree.rtcSetDeviceMemoryMonitorFunction(self.address, count_memory.address, counter.ctypes.data)


_at_work = threading.RLock()
"""Held while a device works: by one thread at a time, and never across a fork."""

hold_across_forks(global_compiler_lock)  # another thread may compile: numba's first call of a function
hold_across_forks(_at_work)  # taken before numba's, as a build does


@functools.cache
def _known_device(config: str) -> _Device:
    return _Device(config)


def _device(config: str) -> _Device:
    with _at_work:  # so that two threads do not make two
        return _known_device(config)


class TriangleScene:
    """Triangles with a ray-tracing structure.

    It is built on the calling thread; several threads take turns.

    Args:
        vertices: (N, 3) metres.
        triangles: (M, 3) indices of vertices.
        cull_back_faces: rays pass through triangles whose corners wind clockwise as the ray sees them.
        device_config: Embree's device configuration, such as ``threads=1,isa=avx2`` (see ``rtcNewDevice``).

    Raises:
        MissingDependencyError: no usable Embree on this machine.
        SceneError: Embree refused the triangles (out of memory).
    """

    packet_size: int
    """Rays a packet: 16, 8 or 4, the largest that the machine traces natively."""
    trace_address: int
    """Address of the ``rtcIntersectN`` for packets of that size."""
    scene_address: int
    """The scene, for `trace_packet`; 0 once closed."""
    arguments_address: int
    """The intersection arguments, for `trace_packet`."""

    def __init__(
        self,
        vertices: np.ndarray,
        triangles: np.ndarray,
        *,
        cull_back_faces: bool = True,
        device_config: str = "threads=1",
    ) -> None:
        # Embree loads vertices 16 bytes at a time: a spare vertex keeps the last load inside the buffer.
        self._vertices = np.zeros((len(vertices) + 1, 3), np.float32)
        self._vertices[: len(vertices)] = vertices
        self._triangles = np.ascontiguousarray(triangles, np.int32)
        self._structure_bytes = np.zeros(1, np.int64)
        device = _device(device_config)
        embree = device.embree
        self.packet_size = device.packet_size
        function = getattr(embree, f"rtcIntersect{self.packet_size}")
        self.trace_address = ctypes.cast(function, ctypes.c_void_p).value or 0
        self._arguments = _IntersectArguments(flags=_QUERY_COHERENT, feature_mask=_FEATURES_ALL)
        self.arguments_address = ctypes.addressof(self._arguments)
        # The arrays ride along: Embree reads (and counts) in them until it is released.
        buffers = (self._vertices, self._triangles, self._structure_bytes)
        with device.counting(self._structure_bytes):
            embree.rtcGetDeviceError(device.address)  # forgets that of a build that was interrupted
            self.scene_address = embree.rtcNewScene(device.address)
            # before the long part, which Ctrl-C may end
            self._release = weakref.finalize(self, _release, device, self.scene_address, buffers)
            self._release.atexit = False
            self._build(embree, device.address, len(vertices), len(triangles), cull_back_faces)
            error = embree.rtcGetDeviceError(device.address)
            _give_back()  # what came meanwhile
        if error:
            self.close()
            raise SceneError(
                f"Embree could not take {len(triangles)} triangles (its error {error});"
                " is there enough memory?"
            )

    def _build(
        self, embree: ctypes.CDLL, device: int, points: int, triangles: int, cull_back_faces: bool
    ) -> None:
        """Put the triangles into the scene and make it ready to be traced."""
        geometry = embree.rtcNewGeometry(device, _GEOMETRY_TRIANGLE)
        for kind, layout, data, count in (
            (_BUFFER_VERTEX, _FORMAT_FLOAT3, self._vertices, points),
            (_BUFFER_INDEX, _FORMAT_UINT3, self._triangles, triangles),
        ):
            embree.rtcSetSharedGeometryBuffer(geometry, kind, 0, layout, data.ctypes.data, 0, 12, count)
        if cull_back_faces:
            reject_back_faces, _ = _callbacks()
            embree.rtcSetGeometryIntersectFilterFunction(geometry, reject_back_faces.address)
        embree.rtcCommitGeometry(geometry)
        embree.rtcAttachGeometry(self.scene_address, geometry)
        embree.rtcReleaseGeometry(geometry)  # the scene keeps its own reference
        embree.rtcCommitScene(self.scene_address)

    def memory_bytes(self) -> int:
        """Bytes of geometry and ray-tracing structure now held; 0 once closed."""
        return int(self._structure_bytes[0]) + self._vertices.nbytes + self._triangles.nbytes

    def close(self) -> None:
        """Give everything back. No trace may be running. May be called twice."""
        with _at_work:
            self._release()
        self.scene_address = 0
        self._structure_bytes = np.zeros(1, np.int64)
        self._vertices = np.zeros((0, 3), np.float32)
        self._triangles = np.zeros((0, 3), np.int32)


_released: deque[tuple[_Device, int, tuple[np.ndarray, ...]]] = deque()
"""Devices, scenes of theirs that nobody needs, and the arrays they read, of which the last counts their bytes."""


def _release(device: _Device, scene: int, buffers: tuple[np.ndarray, ...]) -> None:
    """Give a scene back, now or when the thread that is at work has done. The garbage collector calls this, on any
    thread and whatever that holds, so it does not wait.
    """
    _released.append((device, scene, buffers))
    if _at_work.acquire(blocking=False):
        try:
            _give_back()
        finally:
            _at_work.release()


def _give_back() -> None:
    while _released:
        device, scene, buffers = _released.popleft()
        with device.counting(buffers[-1]):
            device.embree.rtcReleaseScene(scene)
