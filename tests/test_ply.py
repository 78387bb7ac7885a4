"""`.ply` files: polygons are cut into triangles that keep their ids, in text and binary; a cut file is named."""

from __future__ import annotations

import numpy as np
import pytest
from dataset_examples import write_ply

from envs.scenes.ply import read_ply
from poma3d.errors import FileError


@pytest.mark.parametrize("ascii_text", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_polygons_are_cut_and_keep_their_ids(tmp_path, ascii_text, mixed):
    vertices = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0]]
    faces = [[0, 1, 2, 3], [1, 4, 2]] if mixed else [[0, 1, 2, 3], [1, 4, 2, 0]]
    mesh = read_ply(write_ply(tmp_path / "a.ply", vertices, faces, [5, 9], ascii_text=ascii_text))
    np.testing.assert_array_equal(mesh.vertices, vertices)
    expected = [[0, 1, 2], [0, 2, 3], [1, 4, 2]] + ([] if mixed else [[1, 2, 0]])
    assert mesh.triangles.tolist() == expected
    assert mesh.face_values["object_id"][mesh.face_of].tolist() == [5, 5, 9] + ([] if mixed else [9])
    assert mesh.vertex_values["red"].tolist() == [7] * 5


@pytest.mark.parametrize("mixed", [False, True])
def test_truncated_polygons_are_named(tmp_path, mixed):
    faces = [[0, 1, 2], [0, 1, 2, 3]] if mixed else [[0, 1, 2], [1, 2, 3]]
    path = write_ply(tmp_path / "a.ply", np.eye(4)[:, :3], faces, [1, 2])
    data = path.read_bytes()
    for keep in range(len(data) - 1, 0, -7):
        path.write_bytes(data[:keep])
        with pytest.raises(FileError, match=r"a\.ply"):
            read_ply(path)
