"""How two simulators agree is counted pixel by pixel: differences that were put in come out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from two_rooms import two_room_simulator

from envs.simulators.protocol import Views
from envs.simulators.render_agreement import CAMERAS, main, render_agreement
from poma3d.errors import SettingError

PIXELS = sum(camera.height * camera.width for camera in CAMERAS)


@pytest.fixture(scope="module")
def rooms():
    with two_room_simulator() as simulator:
        yield simulator


def changed(simulator, change):
    """The simulator with ``change(views)`` made to all it renders, and nothing else."""

    def render(*given, **more):
        views = simulator.render(*given, **more)
        change(views)
        return views

    return SimpleNamespace(render=render)


def test_a_simulator_agrees_with_itself(rooms):
    agreement = render_agreement(rooms, rooms, poses=3)
    assert agreement.pixels == 3 * PIXELS
    assert (agreement.validity_differs, agreement.apart, agreement.farthest) == (0, 0, 0.0)
    assert agreement.same_instance == 1.0


def test_differences_are_counted_once_each(rooms):
    def change(views: Views) -> None:
        assert views.instance_ids is not None
        for points, valid, ids in zip(views.point_map, views.valid, views.instance_ids, strict=True):
            unseen, far, near, other = np.argwhere(valid)[:4]
            valid[tuple(unseen)] = False
            points[tuple(far)] += (0.002, 0, 0)
            points[tuple(near)] += (0.00025, 0, 0)
            ids[tuple(other)] += 1

    agreement = render_agreement(rooms, changed(rooms, change), poses=2, seed=1)
    assert (agreement.validity_differs, agreement.apart) == (4, 4)
    assert agreement.farthest == pytest.approx(0.00025, abs=2e-6)
    seen = 4 / (1 - agreement.same_instance)  # four ids differ
    assert 0.5 * agreement.pixels < seen < agreement.pixels
    assert seen == pytest.approx(round(seen), abs=1e-3)
    assert "validity differs in 4, 4 are 1 mm or more apart, the others up to 0.250 mm" in str(agreement)


def test_the_command_compares_and_refuses(capsys):
    line = ["procedural:val:0000", "--simulator", "raycast", "--poses", "1"]
    assert main(line) == 0
    assert f"procedural:val:0000: {PIXELS} pixels: validity differs in 0, 0 are" in capsys.readouterr().out
    assert main(["absent.glb"]) == 2
    assert "absent.glb" in capsys.readouterr().err
    assert main([*line[:-1], "0"]) == 2
    assert "at least 1 pose, found 0" in capsys.readouterr().err


def test_no_poses_are_no_comparison(rooms):
    with pytest.raises(SettingError, match="at least 1 pose"):
        render_agreement(rooms, rooms, poses=0)
