"""Localisation from text: right views by hand, chance, controls, the picture, the command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.text_localization import (
    TextLocalizationRun,
    best_first,
    chance_of_right,
    cosines,
    measure_text_localization,
    offsets,
)
from benchmarks.text_localization_picture import COLOURS, draw_situation
from envs.msnn import MsnnSample, write_msnn
from envs.msnn.sample import orientation_of
from poma3d.checkpoints import save_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.encoder_config import EncoderConfig
from poma3d.errors import SettingError
from poma3d.scenepoint.folder import scene_path
from poma3d.scenepoint.scene_file import StoredViews, write_scene
from poma3d.towers.mini_text import MiniText, MiniTextConfig
from poma3d.towers.vocabulary import Vocabulary
from pomagym.bench_text_localization import text_localization

SMALL = EncoderConfig(image_size=16, patch_size=8, width=16, depth=1, heads=2, mlp_width=32, embedding=8)


def situation(x: float, y: float, degrees: float, scan: str = "room0", name: str = "0") -> MsnnSample:
    turned = orientation_of(math.radians(degrees))
    return MsnnSample(scan, name, (x, y, 0.0), turned, "I stand before the wall.", "I want to sit.", 30.0)


def camera(x: float, y: float, degrees: float, pitch: float = -20.0) -> np.ndarray:
    """Scene from camera of a camera 1.5 m up that looks along a heading, with OpenCV's axes."""
    yaw, up = math.radians(degrees), math.radians(pitch)
    forward = np.array([math.cos(yaw) * math.cos(up), math.sin(yaw) * math.cos(up), math.sin(up)])
    right = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, np.cross(forward, right), forward
    pose[:3, 3] = (x, y, 1.5)
    return pose


def views_of(poses: list[np.ndarray], size: int = 16) -> StoredViews:
    """Every camera sees a wall 2 m before it."""
    v, u = np.mgrid[:size, :size]
    rays = np.stack(
        [(u + 0.5 - size / 2) / (size / 2), (v + 0.5 - size / 2) / (size / 2), np.ones((size, size))], -1
    )
    points = np.stack([2 * rays @ pose[:3, :3].T + pose[:3, 3] for pose in poses]).astype(np.float32)
    matrix = np.array([[size / 2, 0, size / 2], [0, size / 2, size / 2], [0, 0, 1]], np.float32)
    return StoredViews(
        points,
        np.ones(points.shape[:3], bool),
        scene_from_camera=np.stack(poses).astype(np.float32),
        intrinsics=np.tile(matrix, (len(poses), 1, 1)),
    )


def test_right_views_by_hand() -> None:
    poses = [camera(1, 1, 90), camera(1.9, 1, 130), camera(1, 2.2, 90), camera(1, 1, -100), camera(1, 1, 140)]
    away = offsets(np.stack(poses), [situation(1, 1, 90), situation(1, 1, -170)])
    assert away.metres[0] == pytest.approx([0, 0.9, 1.2, 0, 0], abs=1e-6)
    assert away.degrees[0] == pytest.approx([0, 40, 0, 170, 50], abs=1e-4)
    assert away.right[0].tolist() == [True, True, False, False, False]
    assert away.degrees[1] == pytest.approx([100, 60, 100, 70, 50], abs=1e-4)
    assert not away.right[1].any()


def test_order_is_by_cosine_and_no_number_comes_last() -> None:
    views = np.array([[0.0, 2.0], [3.0, 3.0], [np.nan, 0.0], [5.0, 0.0]])
    assert best_first(np.array([[1.0, 0.1], [0.0, 1.0]]), views).tolist() == [[3, 1, 0, 2], [0, 1, 3, 2]]
    assert cosines(np.array([[1.0, 1.0]]), views)[0] == pytest.approx([2**-0.5, 1, -1, 2**-0.5])
    with pytest.raises(SettingError, match="3 channels"):
        best_first(np.ones((1, 3)), views)


def test_chance_is_that_of_drawing() -> None:
    """Of 4 views 1 is right: 1/4, 3/4; 2 are right: three of four always hold one."""
    assert [chance_of_right(1, 4, top) for top in (1, 3, 5)] == pytest.approx([0.25, 0.75, 1.0])
    assert [chance_of_right(2, 4, top) for top in (1, 2, 3)] == pytest.approx([0.5, 5 / 6, 1.0])
    assert chance_of_right(0, 4, 3) == 0.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rooms of six cameras in a row, 2 m apart, that look ahead and back; situations at three of them."""
    folder = tmp_path_factory.mktemp("text")
    poses = [camera(2 * k, 0, 0 if k % 2 else 180) for k in range(6)]
    for room in ("room0", "room1"):
        write_scene(scene_path(folder / "data", "tiny", room), views_of(poses))
    samples = [
        situation(2.3, 0.4, 20, room, str(k)) for room in ("room0", "room1", "elsewhere") for k in range(3)
    ]
    samples += [situation(2, 0, 180, "room0", "nothing near looks back")]
    write_msnn(folder / "msnn.json", samples)
    save_encoder(PointMapEncoder(SMALL, seed=3), folder / "encoder.safetensors")
    config = MiniTextConfig(embedding=8, width=8, depth=1, heads=1, mlp_width=16)
    MiniText(Vocabulary.build(["I stand before the wall"] * 2), config).save(folder / "text.safetensors")
    return folder


def test_whole_run(folder: Path) -> None:
    run = TextLocalizationRun(
        (str(folder / "data"),), str(folder / "encoder.safetensors"), samples=str(folder / "msnn.json")
    )
    result = measure_text_localization(run)
    rows = {row["row"]: row for row in result["rows"]}
    assert [row["kind"] for row in result["rows"]] == ["measured", "control", "control", "chance", "oracle"]
    assert result["situations"] == 7
    assert result["missing"] == ["elsewhere"]
    # One of six views is right for six of the seven situations, none for the last.
    assert rows["chance"]["top-1"]["mean"] == pytest.approx(6 / 7 / 6)
    assert rows["chance"]["top-3"]["mean"] == pytest.approx(6 / 7 / 2)
    assert rows["best view there is"]["top-1"]["mean"] == pytest.approx(6 / 7)
    assert rows["best view there is"]["distance"]["median"] == pytest.approx(0.5, abs=1e-6)
    measured = rows[str(folder / "encoder.safetensors")]
    for top in (1, 3, 5):
        found = [any(view["right"] for view in answer["views"][:top]) for answer in result["answers"]]
        assert measured[f"top-{top}"]["mean"] == pytest.approx(np.mean(found))
    assert measure_text_localization(run)["rows"] == result["rows"]


def test_picture_lights_up_the_best_views() -> None:
    poses = [camera(0, 0, 0), camera(6, 0, 90), camera(6, 6, 180), camera(0, 6, -90)]
    scores = np.array([0.1, 0.9, 0.3, 0.2])
    picture = draw_situation(views_of(poses, 64), scores, situation(6, 0.5, 90), side=240)
    assert picture.shape[1] == 2 * 240 + 24
    plan, slanted = picture[26:266, 8:248], picture[26:266, 256:496]

    def share(panel: np.ndarray, colour: tuple[int, int, int]) -> float:
        return float((np.abs(panel.astype(int) - colour).sum(-1) < 12).mean())

    assert share(slanted, COLOURS[0]) > 0.01
    assert all(share(plan, colour) > 0.0005 for colour in COLOURS)
    other = draw_situation(views_of(poses, 64), scores[::-1].copy(), situation(6, 0.5, 90), side=240)
    assert not np.array_equal(picture, other)
    with pytest.raises(SettingError, match="a score each"):
        draw_situation(views_of(poses), scores[:2], situation(0, 0, 0))
    blind = StoredViews(np.zeros((1, 4, 4, 3), np.float32), np.zeros((1, 4, 4), bool))
    with pytest.raises(SettingError, match="camera poses"):
        draw_situation(blind, scores[:1], situation(0, 0, 0))


def test_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {
        "scenes": (str(folder / "data"),),
        "data": str(folder / "msnn.json"),
        "encoder": str(folder / "encoder.safetensors"),
    }
    assert text_localization(**given, out=tmp_path / "out", pictures=2, as_json=True) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["situations"] == 7
    assert "elsewhere" in said.err
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == json.loads(said.out)
    assert len((tmp_path / "out" / "answers.jsonl").read_text().splitlines()) == 7
    pictures = sorted((tmp_path / "out" / "pictures").glob("*.png"))
    assert len(pictures) == 2
    assert Image.open(pictures[0]).mode == "RGB"
    assert text_localization(**given) == 0
    shown = capsys.readouterr().out
    assert "top 3" in shown
    assert "random weights (control)" in shown
    (tmp_path / "one.txt").write_text("room1\n")
    assert text_localization(**given, split=tmp_path / "one.txt", as_json=True) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["situations"] == 3
    assert result["missing"] == []
    with pytest.raises(SettingError, match="--out"):
        text_localization(**given, pictures=1)
    with pytest.raises(SettingError, match="at least 0, found -1"):
        text_localization(**given, out=tmp_path / "out", pictures=-1)
    with pytest.raises(SettingError, match="--data"):
        text_localization(**{**given, "data": None})
