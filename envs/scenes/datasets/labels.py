"""Which triangle belongs to which object, where another mesh (or list) beside a scan tells it.

Scans come with a second mesh whose faces carry the objects: Matterport3D's, Gibson's and Replica's
``*_semantic.ply`` by a number (``object_id``), HM3D's ``NAME.semantic.glb`` by a colour, in the vertices or in
a texture. A triangle of the mesh that is seen takes the object of the nearest place of that mesh.
Textures that are packed as PNG or JPEG are read; those that are Basis-compressed alone are not.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.scenes.datasets.annotations import Annotations
from envs.scenes.datasets.conventions import Z_UP
from envs.scenes.gltf import GltfFile, Part
from envs.scenes.ply import read_ply
from envs.scenes.scene import NO_INSTANCE
from envs.scenes.stage_config import world_from_file
from poma3d.errors import FileError

_SPACING = 0.2
"""Large triangles are told by places this far apart, metres."""
_REACH = 0.25
"""A triangle farther than this from all told places belongs to nothing, metres."""
_MOST_SAMPLES = 64
"""Places of one triangle at most, along each side."""
_INSIDE = np.array([[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4]]) / np.array([[3], [6], [6], [6]])
"""Where in a triangle its texture is looked at, barycentric: its middle and towards each corner."""


class UnreadableLabelsError(FileError):
    """The objects are there, but in a form that is not read here; the scene can be used without them."""


@dataclass(frozen=True)
class LabelledMesh:
    """Triangles that know their objects, in the axes of their file."""

    corners: np.ndarray
    """(M, 3, 3) float64."""
    ids: np.ndarray
    """(M,) int64 ids of the descriptor, -1 for none."""


def read_labels(path: Path, annotations: Annotations) -> LabelledMesh:
    """Read a semantic mesh.

    Raises:
        FileError: it is damaged.
        UnreadableLabelsError: it tells the objects in a way that is not read.
    """
    ending = path.suffix.lower()
    if ending not in (".ply", ".glb", ".gltf"):
        raise UnreadableLabelsError(path, "objects are read from .ply and .glb files; this is neither")
    found = _from_ply(path) if ending == ".ply" else _from_gltf(path, annotations)
    if not len(found.corners) or not np.isfinite(found.corners).all():
        raise FileError(path, "has no triangles, or vertices that are no numbers; it is damaged")
    return found


def face_ids(path: Path, count: int) -> np.ndarray:
    """The ids (count,) of a ``.ids`` file of Gibson's: one little-endian int16 for every face.

    Raises:
        UnreadableLabelsError: it has another number of entries than the mesh has triangles.
    """
    ids = np.frombuffer(path.read_bytes()[: path.stat().st_size // 2 * 2], "<i2")
    if len(ids) != count:
        raise UnreadableLabelsError(
            path,
            f"tells {len(ids)} faces, the mesh has {count}: it belongs to Gibson's mesh.obj; make"
            " NAME_semantic.ply of both (habitat-sim, tools/gen_gibson_semantics.sh)",
        )
    return ids.astype(np.int64)


def _from_ply(path: Path) -> LabelledMesh:
    mesh = read_ply(path)
    corners = mesh.vertices[mesh.triangles]  # (M, 3, 3)
    if "object_id" in mesh.face_values:
        return LabelledMesh(corners, mesh.face_values["object_id"][mesh.face_of].astype(np.int64))
    if "object_id" in mesh.vertex_values:
        ids = mesh.vertex_values["object_id"][mesh.triangles[:, 0]]
        return LabelledMesh(corners, ids.astype(np.int64))
    raise UnreadableLabelsError(
        path,
        "its faces have no 'object_id'; they have"
        f" {', '.join(sorted(mesh.face_values)) or 'no property but their corners'}",
    )


def _from_gltf(path: Path, annotations: Annotations) -> LabelledMesh:
    if not annotations.colours:
        raise FileError(path, "its colours mean nothing without a NAME.semantic.txt that names them")
    file = GltfFile(path)
    known = np.array(sorted(annotations.colours), np.int64)
    of_known = np.array([annotations.colours[int(colour)] for colour in known], np.int64)
    pictures: dict[bytes, np.ndarray] = {}
    corners, ids = [], []
    for part in file.parts():
        colours = _colours(file, part, pictures)  # (M, S) of each triangle's samples
        at = np.clip(np.searchsorted(known, colours), 0, len(known) - 1)
        found = np.where(known[at] == colours, of_known[at], -1)
        points = part.vertices @ part.matrix[:3, :3].T + part.matrix[:3, 3]
        corners.append(points[part.triangles])
        ids.append(_majority(found))
    if not corners:
        raise FileError(path, "has no triangles; it is damaged")
    return LabelledMesh(np.concatenate(corners), np.concatenate(ids))


def _colours(file: GltfFile, part: Part, pictures: dict[bytes, np.ndarray]) -> np.ndarray:
    """Colours (M, S) as 0xRRGGBB at some places of every triangle of a part."""
    painted = file.attribute(part, "COLOR_0")
    packed = file.picture(part)
    if packed is not None:
        uv = file.attribute(part, f"TEXCOORD_{packed[1]}")
        if uv is not None:
            if packed[0] not in pictures:
                pictures[packed[0]] = _picture(file.path, packed[0])
            return _texels(pictures[packed[0]], np.asarray(uv, np.float64)[part.triangles])
    if painted is None:
        raise UnreadableLabelsError(
            file.path,
            "its objects are told by neither vertex colours nor a PNG or JPEG texture; a Basis-compressed"
            " texture is not read: take HM3D's *.semantic.glb as downloaded, before any compression",
        )
    rgb = np.asarray(painted, np.float64)[:, :3]
    if painted.dtype.kind == "f":
        rgb = rgb * 255
    whole = np.rint(rgb).astype(np.int64)
    return ((whole[:, 0] << 16) | (whole[:, 1] << 8) | whole[:, 2])[part.triangles]


def _picture(path: Path, data: bytes) -> np.ndarray:
    """Colours (H, W) as 0xRRGGBB."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            rgb = np.asarray(image.convert("RGB"), np.int64)
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise FileError(path, f"a texture of it cannot be read ({error})") from error
    return (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]


def _texels(picture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Colours (M, 4) inside triangles whose corners have the texture coordinates uv (M, 3, 2)."""
    height, width = picture.shape
    inside = np.clip(np.nan_to_num(np.einsum("sc,mcx->msx", _INSIDE, uv)), -1e6, 1e6)
    places = inside % 1.0  # (M, S, 2); textures repeat
    column = np.minimum((places[..., 0] * width).astype(np.int64), width - 1)
    row = np.minimum((places[..., 1] * height).astype(np.int64), height - 1)
    return picture[row, column]


def _majority(samples: np.ndarray) -> np.ndarray:
    """The id (M,) that most samples (M, S) of each triangle show; of equals the first, -1 only alone."""
    votes = (samples[:, :, None] == samples[:, None, :]).sum(axis=2)
    votes = np.where(samples < 0, 0, votes)
    return samples[np.arange(len(samples)), votes.argmax(axis=1)]


def instances_of_triangles(
    corners: np.ndarray, labelled: LabelledMesh, bounds_hint: np.ndarray, frames: list[np.ndarray]
) -> np.ndarray:
    """The id (M,) of every triangle, taken from the nearest place of a labelled mesh.

    Args:
        corners: (M, 3, 3) triangles in the world.
        labelled: another mesh of the same place.
        bounds_hint: (2, 3) of the triangles.
        frames: transforms (4, 4) from the labelled mesh's file to the world that are thought possible; the
            one that makes the extents agree best is taken, the first of equals.
    """
    from scipy.spatial import KDTree

    def misfit(transform: np.ndarray) -> float:
        points = labelled.corners.reshape(-1, 3) @ transform[:3, :3].T + transform[:3, 3]
        own = np.stack([points.min(axis=0), points.max(axis=0)])
        return float(np.abs(own - bounds_hint).sum())

    best = min(frames, key=misfit)
    told = labelled.corners @ best[:3, :3].T + best[:3, 3]
    middles = corners.mean(axis=1)
    if len(told) == len(corners) and np.allclose(told.mean(axis=1), middles, atol=1e-3):
        return labelled.ids
    places, owners = _places(told)
    tree = KDTree(places, balanced_tree=False, compact_nodes=False)  # four times as quick to build
    distance, nearest = tree.query(middles, distance_upper_bound=_REACH, workers=-1)
    found = np.full(len(corners), -1, np.int64)
    near = np.isfinite(distance)
    found[near] = labelled.ids[owners[nearest[near]]]
    return found


def _places(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (P, 3) spread over triangles (M, 3, 3), and the triangle (P,) of each."""
    longest = np.linalg.norm(triangles - np.roll(triangles, 1, axis=1), axis=2).max(axis=1)
    steps = np.clip(np.ceil(longest / _SPACING), 1, _MOST_SAMPLES).astype(np.int64)
    places, owners = [], []
    for count in np.unique(steps):
        chosen = np.flatnonzero(steps == count)
        first, second = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
        inside = first + second < count
        a = (first[inside] + 1 / 3) / count
        b = (second[inside] + 1 / 3) / count
        weights = np.stack([1 - a - b, a, b], axis=1)  # (S, 3)
        points = np.einsum("sc,mcx->msx", weights, triangles[chosen])
        places.append(points.reshape(-1, 3))  # (m, S, 3) -> (m * S, 3)
        owners.append(np.repeat(chosen, len(weights)))
    return np.concatenate(places), np.concatenate(owners)


def likely_frames(attributes: dict, render: np.ndarray) -> list[np.ndarray]:
    """Transforms (4, 4) that a semantic mesh may have to the world: as told, as the seen mesh, z-up, y-up.

    Habitat turns every semantic ``.ply`` from z-up to y-up before it looks at ``semantic_up``.
    """
    z_up, y_up = world_from_file(Z_UP, "convention"), np.eye(4)
    frames = [render, z_up, y_up]
    if "semantic_up" in attributes and "semantic_front" in attributes:
        told = {"up": attributes["semantic_up"], "front": attributes["semantic_front"]}
        frames.insert(0, world_from_file(told, "semantic_up"))
    return frames


def as_instance_ids(ids: np.ndarray, annotations: Annotations) -> np.ndarray:
    """Indices (M,) int32 into the annotated instances, in the order of their ids, for the descriptor's ids."""
    known = np.array(sorted(annotations.instances), np.int64)
    if not len(known):
        return np.full(len(ids), NO_INSTANCE, np.int32)
    at = np.clip(np.searchsorted(known, ids), 0, len(known) - 1)
    return np.where(known[at] == ids, at, NO_INSTANCE).astype(np.int32)
