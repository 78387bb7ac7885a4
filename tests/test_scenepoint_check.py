"""Bad ScenePoint data: each kind is named by its file, and refused or skipped as was set."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scenepoint_examples import make_folder, rewrite

from poma3d.errors import FileError, SettingError
from poma3d.scenepoint import (
    DataSettings,
    SceneLoader,
    ScenePointDataset,
    check_scenepoint,
)
from poma3d.scenepoint.captions import (
    RetrievalQuery,
    write_retrieval,
)
from poma3d.scenepoint.folder import (
    retrieval_path,
    scene_captions_path,
    scene_path,
    view_captions_path,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


def spoil(root: Path, how: str) -> Path:
    """Damage one scene or caption file and return which."""
    path = scene_path(root, "scannet", "scannet_1")
    stored = load_file(path)
    points = stored["point_map"].copy()
    if how == "missing key":
        rewrite(path, point_map=None)
    elif how == "wrong shape":
        rewrite(path, point_map=points[..., :2].copy())
    elif how == "NaN points":
        points[2, 3, 4, 1] = np.nan
        rewrite(path, point_map=points)
    elif how == "all-invalid view":
        rewrite(
            path,
            point_map=np.where(np.arange(4)[:, None, None, None] == 1, np.float32(0), points),
            valid=None,
        )
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "no safetensors":
        path.write_bytes(b"PK\x03\x04 this is a zip")
    elif how == "captions without scene":
        path.unlink()
        return view_captions_path(root, "scannet")
    elif how == "too few captions":
        captions = view_captions_path(root, "scannet")
        captions.write_text(
            "".join(line + "\n" for line in captions.read_text().splitlines() if "1 view 3" not in line)
        )
    elif how == "ids without names":
        rewrite(path, metadata=None)
    return path


WHAT = {
    "missing key": "'point_map' is missing",
    "wrong shape": "(views, rows, columns, 3) was expected",
    "NaN points": "view 2 has points that are not finite",
    "all-invalid view": "view 1 has no valid pixel",
    "truncated": "no whole safetensors file",
    "no safetensors": "no whole safetensors file",
    "captions without scene": "no file of that scene",
    "too few captions": "3 lines for it",
    "ids without names": "the metadata name 0",
}


def read_all(asked: DataSettings, root: Path) -> list:
    dataset = ScenePointDataset(root, asked)
    return [dataset[index] for index in range(len(dataset))]


@pytest.mark.parametrize("how", WHAT)
def test_bad_files_are_named_and_refused_or_skipped(root: Path, how: str) -> None:
    path = spoil(root, how)
    report = check_scenepoint(root)
    assert not report.ok
    fatal = [problem for problem in report.problems if problem.fatal]
    assert all(problem.path in (str(path), str(scene_captions_path(root))) for problem in fatal)
    assert any(problem.path == str(path) and WHAT[how] in problem.what for problem in fatal), str(report)
    assert str(path) in str(report)
    assert json.loads(report.as_json())["ok"] is False

    asked = {"views": 4, "labels": True}
    with pytest.raises(FileError) as caught:
        read_all(DataSettings(**asked), root)
    assert WHAT[how] in str(caught.value)
    assert str(path) in str(caught.value)

    lenient = ScenePointDataset(root, DataSettings(**asked, bad_scenes="skip"))
    seen = {sample.scan_id for sample in read_all(lenient.settings, root)}
    assert seen == {"scannet_0", "scannet_2", "houses_0", "houses_1"}
    assert all(batch.point_map.isfinite().all() for batch in itertools.islice(SceneLoader(lenient, 2), 6))


def test_a_good_folder_passes(root: Path) -> None:
    write_retrieval(retrieval_path(root, "scannet"), [RetrievalQuery("scannet_0", "a chair")])
    done = []
    report = check_scenepoint(root, progress=lambda *numbers: done.append(numbers))
    assert report.ok
    assert report.problems == ()
    assert report.scenes == {"light_houses": 2, "light_scannet": 3}
    assert (report.views, report.view_captions, report.scene_captions) == (20, 20, 5)
    assert 0.7 < report.valid_share < 0.8
    assert done[-1] == (5, 5)
    write_retrieval(retrieval_path(root, "scannet"), [RetrievalQuery("elsewhere", "a chair")])
    assert "elsewhere" in str(check_scenepoint(root))


def test_a_line_without_words_is_no_caption(root: Path) -> None:
    path = view_captions_path(root, "houses")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line, utterance in zip(lines[:5], ([], "", " ", [" "], []), strict=True):
        line["utterance"] = utterance  # all views of the first house, and one of the second
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = check_scenepoint(root)
    assert report.ok
    assert report.view_captions == 20 - 5
    (problem,) = report.problems
    assert problem.path.endswith("houses_0.safetensors")
    assert "no captions of its views" in problem.what


def test_captions_that_are_none_are_refused_by_line(root: Path) -> None:
    path = view_captions_path(root, "houses")
    good = path.read_text()
    for bad in ("{", "[]", '{"scan_id": "houses_0"}', '{"scan_id": "houses_0", "utterance": [3]}'):
        path.write_text(good + bad + "\n")
        with pytest.raises(FileError, match="line 9"):
            ScenePointDataset(root)
    path.write_text(good)
    scene_captions_path(root).write_text('{"houses_0": ["a house"]}')
    with pytest.raises(FileError, match="captions"):
        check_scenepoint(root)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no folder"):
        ScenePointDataset(tmp_path / "absent")
    with pytest.raises(FileError, match="no scenes"):
        check_scenepoint(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("views", 0), ("size", -1), ("bad_scenes", "maybe"), ("views", True)],
)
def test_settings_out_of_range(field: str, value: object) -> None:
    with pytest.raises(SettingError, match=field):
        DataSettings(**{field: value})
