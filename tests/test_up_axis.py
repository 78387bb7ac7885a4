"""A bare mesh that stands on its side is walked on its walls; it is told, in one line, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flat_room import box, room_simulator

from envs.episodes.pointnav_generator import PointNavSettings, pointnav_episode
from envs.scenes.houses import house
from envs.scenes.mesh import load_scene, save_scene
from envs.scenes.scene import NO_INSTANCE, Scene
from envs.simulators.open import open_scene
from poma3d.errors import EpisodeError, SceneWarning

TOLD = r"\.glb is 12\.0 m tall and 10\.0 m by 3\.0 m wide; is its up axis y, and its unit metres\? .*stage_config\.json"


def hall(low: tuple[float, float, float], high: tuple[float, float, float]) -> Scene:
    """An empty box, seen from within."""
    vertices, triangles = box(low, high, inward=True)
    return Scene("hall", vertices, triangles, np.full(len(triangles), NO_INSTANCE, np.int32))


def write(path: Path, scene: Scene) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_scene(scene, path)
    return path


def z_up(scene: Scene) -> Scene:
    """The same, as a program writes it whose z points up."""
    x, y, z = scene.vertices.T
    return replace(scene, vertices=np.stack([x, -z, y], axis=1))


FLAT = hall((-5, 0, -6), (5, 3, 6))
"""10 m by 12 m, 3 m high."""


def test_a_bare_mesh_on_its_side_is_told(tmp_path: Path) -> None:
    with pytest.warns(SceneWarning, match=TOLD) as told:
        load_scene(write(tmp_path / "house.glb", z_up(FLAT)))
    assert len(told) == 1
    assert len(str(told[0].message).splitlines()) == 1
    with pytest.warns(SceneWarning, match="up axis y"):
        load_scene(write(tmp_path / "procedural.glb", z_up(house("procedural:val:0000"))))


def test_what_stands_upright_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = write(tmp_path / "side.glb", z_up(FLAT))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_scene(write(tmp_path / "flat.glb", FLAT))
        load_scene(write(tmp_path / "low.glb", hall((0, 0, 0), (4, 5.9, 5))))
        load_scene(write(tmp_path / "atrium.glb", hall((0, 0, 0), (30, 20, 25))))
        open_scene("procedural:val:0000")
        load_scene(write(tmp_path / "house.glb", house("procedural:val:0000")))
        turned = load_scene(side, stage_config={"up": [0, 0, 1], "front": [0, 1, 0]})
        assert np.ptp(turned.vertices[:, 1]) == pytest.approx(3.0)
        load_scene(write(tmp_path / "mp3d" / "scan" / "scan.glb", z_up(FLAT)))
        (tmp_path / "side.stage_config.json").write_text(json.dumps({"up": [0, 1, 0]}))
        assert np.ptp(load_scene(side).vertices[:, 1]) == pytest.approx(12.0)


def test_the_real_scenes_are_not_told(scenes_dir: Path, real_scene: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_scene(scenes_dir / f"{real_scene}.glb")


def test_a_scene_in_which_no_episode_fits_is_asked_for_its_axis() -> None:
    with pytest.raises(EpisodeError, match=r"none of 30 pairs .* up axis y, and the unit metres\?"):
        pointnav_episode(
            room_simulator(), 0, settings=PointNavSettings(min_distance=28, max_distance=30, max_goals=3)
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_the_command_line_tells_it_in_a_line_and_runs(tmp_path: Path, workers: int) -> None:
    scene = write(tmp_path / "house.glb", z_up(house("procedural:val:0000")))
    line = ["run", "--scene", str(scene), "--episodes", "1", "--size", "8", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "pomagym", *line, "--workers", str(workers)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if "up axis" in line]
    assert len(told) == 1, done.stderr
    assert told[0].startswith("pomagym: ")
    assert "warnings.warn" not in done.stderr
