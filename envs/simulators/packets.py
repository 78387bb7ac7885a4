"""Views traced by packets: the compiled loop from camera poses to point maps, on as many threads as call it.

A tile is as many neighbouring pixels as Embree traces at once (4 x 4 for packets of 16), so that a packet's rays
stay together. A job is a square block of tiles of one view, so that a thread meets the same triangles again and
again; threads draw jobs from one counter.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import njit, types

from envs.scenes.scene import NO_INSTANCE
from envs.simulators.embree import (
    DIRECTION,
    FAR,
    GEOMETRY,
    MASK,
    NEAR,
    NOTHING,
    ORIGIN,
    PRIMITIVE,
    ROWS,
    atomic_add,
    trace_packet,
)
from envs.simulators.pinhole import NEAR_PLANE

_TILES = {16: (4, 4), 8: (2, 4), 4: (2, 2)}  # packet size: rows, columns
_BLOCK = 8  # tiles along each side of a block
_F32, _UINT = np.float32, np.uint64
_SIGNATURE = types.void(
    *[types.intp] * 4,  # counter, scene, function, arguments
    *[types.float64[::1]] * 2,  # ray_x, ray_y
    *[types.float64[:, :, ::1]] * 2,  # world_from_camera, frame_from_camera
    *[types.float32] * 2,  # nearest, farthest
    types.Array(types.int32, 1, "C", readonly=True),  # instance_of
    types.float32[:, :, :, ::1],  # point_map
    types.boolean[:, :, ::1],  # valid
    types.int32[:, :, ::1],  # instance_ids
)


def jobs_per_view(packet_size: int, height: int, width: int) -> int:
    """How many jobs a view of ``height`` x ``width`` pixels is."""
    rows, columns = _TILES[packet_size]
    return -(-height // (_BLOCK * rows)) * -(-width // (_BLOCK * columns))


@functools.cache
def view_tracer(packet_size: int) -> Callable[..., None]:
    """The compiled ``trace_views`` for packets of 4, 8 or 16 rays.

    ``trace_views(counter, scene, function, arguments, ray_x, ray_y, world_from_camera, frame_from_camera,
    nearest, farthest, instance_of, point_map, valid, instance_ids)`` takes jobs from the int64 at address
    ``counter`` until none is left, and fills ``point_map`` (B, H, W, 3), ``valid`` (B, H, W) and, unless its
    batch is empty, ``instance_ids`` (B, H, W). ``scene``, ``function`` and ``arguments`` are the addresses of
    an `envs.simulators.embree.TriangleScene`; ``ray_x`` (W,) and ``ray_y`` (H,) the rays of the pixels at z =
    1; both stacks of matrices (B, 4, 4) start from the camera with OpenCV's axes; ``nearest`` and
    ``farthest`` bound the z-depth in metres. It runs without the interpreter lock, so any number of threads
    may share a counter.
    """
    rows, columns = _TILES[packet_size]
    block_height, block_width = _BLOCK * rows, _BLOCK * columns
    lanes = packet_size
    nothing, all_geometry = np.uint32(NOTHING), np.uint32(0xFFFFFFFF)
    near_plane = _F32(NEAR_PLANE)

    @njit(_SIGNATURE, nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
    def trace_views(
        counter,
        scene,
        function,
        arguments,
        ray_x,
        ray_y,
        world_from_camera,
        frame_from_camera,
        nearest,
        farthest,
        instance_of,
        point_map,
        valid,
        instance_ids,
    ):
        views, height, width = valid.shape
        blocks_across = (width + block_width - 1) // block_width
        jobs_of_view = blocks_across * ((height + block_height - 1) // block_height)
        with_instances = instance_ids.shape[0] > 0

        # Embree wants packets and masks at multiples of 64 bytes.
        packet_store = np.zeros(ROWS * lanes + 16, np.float32)
        skip = (-packet_store.ctypes.data % 64) // 4
        packet = packet_store[skip : skip + ROWS * lanes].reshape(ROWS, lanes)
        words = packet.view(np.uint32)
        active_store = np.zeros(lanes + 16, np.int32)
        skip = (-active_store.ctypes.data % 64) // 4
        active = active_store[skip : skip + lanes]

        direction_x, direction_y = packet[DIRECTION], packet[DIRECTION + 1]
        direction_z = packet[DIRECTION + 2]
        far, geometry, primitive = packet[FAR], words[GEOMETRY], words[PRIMITIVE]
        packet[NEAR] = near_plane
        words[MASK] = all_geometry
        x, y = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
        points, hits = np.empty((lanes, 3), np.float32), np.empty(lanes, np.bool_)
        flat_points = points.reshape(-1)  # (lanes, 3) -> (lanes * 3,)
        point_rows = point_map.reshape(views * height, 3 * width)  # (B, H, W, 3) -> (B * H, W * 3)
        valid_rows = valid.reshape(views * height, width)  # (B, H, W) -> (B * H, W)

        while True:
            job = atomic_add(counter, 1)
            if job >= views * jobs_of_view:
                break
            view = job // jobs_of_view
            block_top = job % jobs_of_view // blocks_across * block_height
            block_left = job % jobs_of_view % blocks_across * block_width
            world, frame = world_from_camera[view], frame_from_camera[view]
            w00, w01, w02 = _F32(world[0, 0]), _F32(world[0, 1]), _F32(world[0, 2])
            w10, w11, w12 = _F32(world[1, 0]), _F32(world[1, 1]), _F32(world[1, 2])
            w20, w21, w22 = _F32(world[2, 0]), _F32(world[2, 1]), _F32(world[2, 2])
            f00, f01, f02, f03 = _F32(frame[0, 0]), _F32(frame[0, 1]), _F32(frame[0, 2]), _F32(frame[0, 3])
            f10, f11, f12, f13 = _F32(frame[1, 0]), _F32(frame[1, 1]), _F32(frame[1, 2]), _F32(frame[1, 3])
            f20, f21, f22, f23 = _F32(frame[2, 0]), _F32(frame[2, 1]), _F32(frame[2, 2]), _F32(frame[2, 3])
            packet[ORIGIN] = _F32(world[0, 3])
            packet[ORIGIN + 1] = _F32(world[1, 3])
            packet[ORIGIN + 2] = _F32(world[2, 3])

            for tile in range(_BLOCK * _BLOCK):
                top = block_top + tile // _BLOCK * rows
                left = block_left + tile % _BLOCK * columns
                if top >= height or left >= width:
                    continue
                tile_height, tile_width = min(rows, height - top), min(columns, width - left)
                # Lanes beyond the image repeat its last pixel, so that none is uninitialised; they stay inactive.
                for i in range(rows):
                    for j in range(columns):
                        x[i * columns + j] = _F32(ray_x[_UINT(min(left + j, width - 1))])
                        y[i * columns + j] = _F32(ray_y[_UINT(min(top + i, height - 1))])
                for k in range(lanes):
                    active[k] = -1
                if tile_height < rows or tile_width < columns:
                    for i in range(rows):
                        for j in range(columns):
                            if i >= tile_height or j >= tile_width:
                                active[i * columns + j] = 0
                for k in range(lanes):
                    direction_x[k] = w00 * x[k] + w01 * y[k] + w02
                    direction_y[k] = w10 * x[k] + w11 * y[k] + w12
                    direction_z[k] = w20 * x[k] + w21 * y[k] + w22
                    far[k] = farthest
                    geometry[k] = nothing

                trace_packet(function, active.ctypes.data, scene, packet.ctypes.data, arguments)

                for k in range(lanes):
                    depth = far[k]  # rays have z = 1 in the camera, so the distance along them is the z-depth
                    hit = (geometry[k] != nothing) & (depth >= nearest)
                    hits[k] = hit
                    depth = depth if hit else _F32(0)
                    one = _F32(1) if hit else _F32(0)
                    across, down = x[k] * depth, y[k] * depth
                    points[k, 0] = f00 * across + f01 * down + f02 * depth + f03 * one
                    points[k, 1] = f10 * across + f11 * down + f12 * depth + f13 * one
                    points[k, 2] = f20 * across + f21 * down + f22 * depth + f23 * one

                for i in range(tile_height):
                    line = _UINT(view * height + top + i)
                    for n in range(3 * tile_width):
                        point_rows[line, _UINT(3 * left + n)] = flat_points[3 * i * columns + n]
                    for j in range(tile_width):
                        valid_rows[line, _UINT(left + j)] = hits[i * columns + j]
                if with_instances:
                    for i in range(tile_height):
                        for j in range(tile_width):
                            k = i * columns + j
                            found = instance_of[_UINT(primitive[k])] if hits[k] else np.int32(NO_INSTANCE)
                            instance_ids[_UINT(view), _UINT(top + i), _UINT(left + j)] = found

    return trace_views
