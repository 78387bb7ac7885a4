"""The benchmark of encoding: the same work outside and inside, caches that are cold and warm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from flat_room import room_env, room_episode
from tiny_backbone import TINY

from agent.backbone import FrozenBackbone
from agent.encoded_vec_env import VIEW_KEYS
from benchmarks.encoding import EncodingSettings, InsideExtractor, measure_encoding, repeats_of
from poma3d.checkpoints import save_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.errors import SettingError


def test_every_row_is_measured(tmp_path: Path) -> None:
    save_encoder(PointMapEncoder(TINY), tmp_path / "tiny.safetensors")
    settings = EncodingSettings(
        encoder=str(tmp_path / "tiny.safetensors"), envs=2, steps=8, epochs=1, batch=8, repeats=1
    )
    told: list[str] = []
    result = measure_encoding(settings, told.append)
    assert len(told) == repeats_of(settings)
    rows = {(row["what"], row["encoded"], row["cache"]): row for row in result["rows"]}
    assert len(rows) == 8
    assert all(row["per_second"] > 0 and row["cpu_ms"] > 0 for row in rows.values())
    for what in ("env+encode", "env+encode+learn"):
        assert rows[what, "outside", "none"]["hit_rate"] is None
        assert rows[what, "outside", "cold"]["hit_rate"] < 1
        assert rows[what, "outside", "warm"]["hit_rate"] == 1, "exact features lead the same way"
    outside, inside = (rows["env+encode+learn", where, "none"] for where in ("outside", "inside"))
    assert result["outside_over_inside"] == pytest.approx(
        outside["per_second"] / inside["per_second"], rel=0.01
    )


def test_inside_reads_what_outside_reads() -> None:
    encoder = PointMapEncoder(TINY).eval()
    env = room_env(room_episode(heading=0.4), size=32)
    extractor = InsideExtractor(env.observation_space, encoder)  # type: ignore[arg-type]
    observation = env.reset()[0]
    found = extractor({name: torch.as_tensor(value)[None].float() for name, value in observation.items()})
    views = [observation[name][None] for name in VIEW_KEYS]
    cls = FrozenBackbone(encoder, device="cpu").encode(*views)["cls"]
    assert found.shape == (1, extractor.features_dim)
    np.testing.assert_allclose(found[:, :40], cls, atol=1e-5)


def test_bad_settings_are_named() -> None:
    for bad in ({"envs": 0}, {"repeats": 0}, {"steps": 10, "envs": 4}):
        with pytest.raises(SettingError):
            EncodingSettings(**bad)
