"""The example of docs/encoder.md, run as it stands on the depth image of a room that a formula makes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from poma3d.checkpoints import load_encoder

PAGE = Path(__file__).parents[1] / "docs" / "encoder.md"
LOW, HIGH, EYE = np.array([-2.0, -2.5, 0.0]), np.array([4.0, 3.0, 2.6]), np.array([0.0, 0.0, 1.25])
"""A room in the agent's frame, metres, and the camera in it."""


def room() -> tuple[np.ndarray, np.ndarray]:
    """Depth (480, 640) and points (480, 640, 3) of the agent's frame, by a camera that looks down by 10 degrees."""
    right, down = np.meshgrid((np.arange(640) - 319.5) / 525, (np.arange(480) - 239.5) / 525)
    level = np.stack([np.ones_like(right), -right, -down], -1)  # (H, W, 3): 1 m along the optical axis
    angle = np.radians(10)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )  # about y, which points left: forward sinks
    rays = level @ turn.T
    depth = (np.where(rays > 0, HIGH - EYE, LOW - EYE) / rays).min(-1)
    return depth, EYE + rays * depth[..., None]


def test_a_depth_image_becomes_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    depth, expected = room()
    steps = np.rint(depth * 1000).astype(np.uint16)
    steps[:9, :9] = 0  # nothing measured
    Image.fromarray(steps).save(tmp_path / "depth.png")
    monkeypatch.chdir(tmp_path)
    (example,) = [
        block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "depth.png" in block
    ]
    made: dict[str, Any] = {}
    exec(compile(example, str(PAGE), "exec"), made)
    measured = steps > 0
    assert np.abs(made["points"] - expected)[measured].max() < 1e-3  # depth is rounded to millimetres
    assert (made["points"][~measured] == 0).all()
    size = made["size"]
    assert made["valid"].shape == (size, size)
    assert 0 < made["valid"].mean() < 1
    heights = made["point_map"][made["valid"]][:, 2]
    assert heights.min() == pytest.approx(0, abs=1e-3)  # the floor
    assert 0.1 < (heights < 1e-3).mean() < 0.9
    assert made["features"]["cls"].shape == (1, 256)
    assert made["features"]["patch_tokens"].shape == (1, 64, 192)
    with torch.no_grad():
        alone = load_encoder("poma3d-mini")(
            torch.from_numpy(made["point_map"][None]).float(), torch.from_numpy(made["valid"][None])
        )
    np.testing.assert_allclose(made["features"]["cls"], alone.cls, atol=2e-5)
