"""The kernel that traces views on a Warp device: one launch for a batch, a thread for every pixel.

It imports Warp when it is imported itself, so only `envs.simulators.warp_raycast` does, and not before a
simulator is made. No postponed annotations here: Warp reads them.
"""

import warp as wp

from envs.scenes.scene import NO_INSTANCE
from envs.simulators.pinhole import NEAR_PLANE

TILE_ROWS, TILE_COLUMNS = 4, 8
"""Pixels that lie together in the launch: the 32 threads that a GPU runs in step meet the same triangles."""

wp.set_module_options(
    {"fuse_fp": False}
)  # each product and sum rounded alone: a GPU's points are a processor's
_NEAR = wp.constant(wp.float32(NEAR_PLANE))
_NOTHING = wp.constant(wp.int32(NO_INSTANCE))
_ROWS = wp.constant(wp.int32(TILE_ROWS))
_COLUMNS = wp.constant(wp.int32(TILE_COLUMNS))


@wp.kernel(enable_backward=False)
def trace_views(
    bvh: wp.uint64,
    corners: wp.array2d[wp.vec3],
    instance_of: wp.array[wp.int32],
    cull_back_faces: wp.bool,
    world_from_camera: wp.array[wp.mat44],
    frame_from_camera: wp.array[wp.mat44],
    ray_x: wp.array[wp.float32],
    ray_y: wp.array[wp.float32],
    nearest: wp.float32,
    farthest: wp.float32,
    point_map: wp.array3d[wp.vec3],
    valid: wp.array3d[wp.bool],
    instance_ids: wp.array3d[wp.int32],
):
    """Trace one pixel; launched over (B, tiles of a view, pixels of a tile).

    ``bvh`` holds the boxes of the triangles ``corners`` (M, 3), a little larger than they are. Matrices start
    from cameras with OpenCV's axes; ``ray_x`` (W,) and ``ray_y`` (H,) are the rays at z = 1, so that the
    distance along one is the z-depth, bounded by ``nearest`` and ``farthest`` in metres. ``instance_ids`` of
    batch 0 is not filled.
    """
    view, tile, pixel = wp.tid()
    height = ray_y.shape[0]
    width = ray_x.shape[0]
    tiles_across = (width + _COLUMNS - 1) // _COLUMNS
    row = tile // tiles_across * _ROWS + pixel // _COLUMNS
    column = tile % tiles_across * _COLUMNS + pixel % _COLUMNS
    if row >= height or column >= width:
        return
    x, y = ray_x[column], ray_y[row]

    pose = world_from_camera[view]
    origin = wp.vec3(pose[0, 3], pose[1, 3], pose[2, 3])
    ray = wp.vec3(
        pose[0, 0] * x + pose[0, 1] * y + pose[0, 2],
        pose[1, 0] * x + pose[1, 1] * y + pose[1, 2],
        pose[2, 0] * x + pose[2, 1] * y + pose[2, 2],
    )

    # The nearest triangle that faces the ray. Those that face away are passed over here, not after a nearest
    # hit is known: the two sides of a wall are two triangles in one place. `depth` only shrinks, which lets the
    # query leave out what lies behind.
    depth = farthest
    found = wp.int32(-1)
    query = wp.bvh_query_ray(bvh, origin, ray)
    item = wp.int32(0)
    while wp.bvh_query_next(query, item, depth):
        a = corners[item, 0] - origin
        b = corners[item, 1] - origin
        c = corners[item, 2] - origin
        normal = wp.cross(b - a, c - a)
        towards = wp.dot(normal, ray)  # below 0 the ray meets the front: the corners wind counter-clockwise
        if towards < 0.0 or (towards > 0.0 and not cull_back_faces):
            # Which side of each edge the ray passes, as in Embree's watertight test (Plücker): a neighbour that
            # has the same edge the other way round gets exactly the negative, so no ray slips between them.
            u = wp.dot(wp.cross(c - a, c + a), ray)
            v = wp.dot(wp.cross(a - b, a + b), ray)
            w = wp.dot(wp.cross(b - c, b + c), ray)
            if wp.max(u, wp.max(v, w)) <= 0.0 or wp.min(u, wp.min(v, w)) >= 0.0:
                t = wp.dot(normal, a) / towards
                # Of triangles in one place the first in the scene counts, in whatever order they are met.
                if t >= _NEAR and (t < depth or (t == depth and (found < 0 or item < found))):
                    depth = t
                    found = item

    hit = found >= 0 and depth >= nearest
    point = wp.vec3(0.0, 0.0, 0.0)
    if hit:
        frame = frame_from_camera[view]
        across, down = x * depth, y * depth
        point = wp.vec3(
            frame[0, 0] * across + frame[0, 1] * down + frame[0, 2] * depth + frame[0, 3],
            frame[1, 0] * across + frame[1, 1] * down + frame[1, 2] * depth + frame[1, 3],
            frame[2, 0] * across + frame[2, 1] * down + frame[2, 2] * depth + frame[2, 3],
        )
    point_map[view, row, column] = point
    valid[view, row, column] = hit
    if instance_ids.shape[0] > 0:
        number = _NOTHING
        if hit:
            number = instance_of[found]
        instance_ids[view, row, column] = number
