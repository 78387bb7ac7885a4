"""Point-map geometry, once for the whole project: camera, poses, frames, validity, resizing.

A point map is a grid (..., H, W, 3) of metric XYZ, float32, with a mask ``valid`` (..., H, W) that is False
where no surface was hit; there the XYZ are 0. Every function takes NumPy arrays or torch tensors, with any
leading batch shape, and answers in kind.
"""

from poma3d.pointmap.camera import Camera, depth_to_points, project, unproject
from poma3d.pointmap.frames import Frame, frame_from_world
from poma3d.pointmap.pose import (
    heading,
    invert,
    matrix_to_quaternion,
    quaternion_to_matrix,
    rotation_from_heading,
    transform_points,
    world_from_pose,
)
from poma3d.pointmap.resize import resize

__all__ = [
    "Camera",
    "Frame",
    "depth_to_points",
    "frame_from_world",
    "heading",
    "invert",
    "matrix_to_quaternion",
    "project",
    "quaternion_to_matrix",
    "resize",
    "rotation_from_heading",
    "transform_points",
    "unproject",
    "world_from_pose",
]
