"""The frozen backbone: the encoder's features, untouched weights, the same bits in any batch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_backbone import TINY, views

from agent.backbone import FrozenBackbone
from poma3d.checkpoints import save_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.encoder_config import EncoderConfig
from poma3d.errors import FileError, SceneWarning, SettingError


@pytest.fixture(scope="module")
def backbone() -> FrozenBackbone:
    return FrozenBackbone(PointMapEncoder(TINY), output="both", device="cpu")


def test_features_are_the_encoders(backbone: FrozenBackbone) -> None:
    points, valid = views(3)
    with torch.no_grad():
        expected = PointMapEncoder(TINY).eval()(torch.from_numpy(points), torch.from_numpy(valid))
    found = backbone.encode(points, valid)
    assert {name: values.shape[1:] for name, values in found.items()} == backbone.feature_shapes
    assert all(values.dtype == np.float32 for values in found.values())
    np.testing.assert_allclose(found["cls"], expected.cls, atol=1e-5)
    np.testing.assert_allclose(found["patch_tokens"], expected.patch_tokens, atol=1e-5)
    as_tensors = backbone.encode(torch.from_numpy(points), torch.from_numpy(valid))
    np.testing.assert_array_equal(as_tensors["cls"], found["cls"])


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(1, 11), min_size=1, max_size=6), seed=st.integers(0, 3))
def test_a_view_does_not_know_its_batch(backbone: FrozenBackbone, cuts: list[int], seed: int) -> None:
    points, valid = views(sum(cuts), seed=seed)
    whole = backbone.encode(points, valid)
    order = np.random.default_rng(seed).permutation(len(points))
    start = 0
    for cut in cuts:
        chosen = order[start : start + cut]
        part = backbone.encode(points[chosen], valid[chosen])
        for name, values in part.items():
            np.testing.assert_array_equal(values, whole[name][chosen])
        start += cut


def assert_parts_are_the_whole(
    backbone: FrozenBackbone, points: np.ndarray, valid: np.ndarray, parts: list[tuple[int, int]]
) -> None:
    """Views encoded in parts (start, count) have the bits that they have in one batch."""
    whole = backbone.encode(points, valid)
    for start, count in parts:
        part = backbone.encode(points[start : start + count], valid[start : start + count])
        for name, values in part.items():
            np.testing.assert_array_equal(values, whole[name][start : start + count])


def test_a_view_of_mini_does_not_know_its_batch() -> None:
    mini = FrozenBackbone(PointMapEncoder("mini"), output="both", device="cpu")
    assert_parts_are_the_whole(mini, *views(9, 112), [(0, 1), (8, 1), (2, 3), (3, 4)])


def test_a_batch_size_that_adds_otherwise_is_not_used(backbone: FrozenBackbone, monkeypatch) -> None:
    """Where the library's sums depend on the batch size, blocks are taken, and the answer stays."""
    other = FrozenBackbone(PointMapEncoder(TINY), output="both", device="cpu")
    honest = other._forward

    def sloppy(points: torch.Tensor, valid: torch.Tensor) -> dict[str, np.ndarray]:
        return {name: values * (1 + 1e-6 * len(points)) for name, values in honest(points, valid).items()}

    monkeypatch.setattr(other, "_forward", sloppy)
    points, valid = views(5)
    together = other.encode(points, valid)
    for number in range(5):
        alone = other.encode(points[number : number + 1], valid[number : number + 1])
        np.testing.assert_array_equal(alone["cls"][0], together["cls"][number])


def test_blocks_are_filled_up(backbone: FrozenBackbone) -> None:
    """What a GPU does with every batch."""
    blocks = FrozenBackbone(PointMapEncoder(TINY), output="both", device="cpu")
    blocks._block = blocks._largest = 4
    points, valid = views(10)
    whole = blocks.encode(points, valid)
    np.testing.assert_allclose(whole["cls"], backbone.encode(points, valid)["cls"], atol=1e-5)
    assert_parts_are_the_whole(blocks, points, valid, [(start, 3) for start in range(0, 10, 3)])


def test_what_is_not_valid_does_not_matter(backbone: FrozenBackbone) -> None:
    points, valid = views(2)
    spoiled = np.where(valid[..., None], points, np.nan).astype(np.float32)
    for name, values in backbone.encode(spoiled, valid).items():
        np.testing.assert_array_equal(values, backbone.encode(points, valid)[name])
        assert np.isfinite(values).all()
    assert backbone.encode(points[:0], valid[:0])["cls"].shape == (0, 40)


def test_the_encoder_given_is_left_alone() -> None:
    encoder = PointMapEncoder(TINY).train()
    frozen = FrozenBackbone(encoder, device="cpu")
    before = frozen.encode(*views(1))["cls"]
    assert encoder.training
    assert all(weight.requires_grad for weight in encoder.parameters())
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.mul_(1.5)
    np.testing.assert_array_equal(frozen.encode(*views(1))["cls"], before)
    assert frozen.weights_sha256 != encoder.weights_sha256()


def test_adapters_are_folded_in() -> None:
    encoder = PointMapEncoder(TINY).add_lora().eval()
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
        points, valid = views(2)
        expected = encoder(torch.from_numpy(points), torch.from_numpy(valid)).cls
    np.testing.assert_allclose(
        FrozenBackbone(encoder, device="cpu").encode(points, valid)["cls"], expected, atol=1e-4
    )


def test_files_and_identity(tmp_path) -> None:
    encoder = PointMapEncoder(TINY, seed=3)
    saved = save_encoder(encoder, tmp_path / "tiny.safetensors")
    loaded = FrozenBackbone(tmp_path / "tiny.safetensors", device="cpu")
    assert loaded.weights_sha256 == saved
    assert loaded.identity == FrozenBackbone(encoder, device="cpu", output="both").identity
    others = [
        FrozenBackbone(PointMapEncoder(TINY, seed=4), device="cpu"),
        FrozenBackbone(encoder, device="cpu", precision="bf16"),
        FrozenBackbone(
            PointMapEncoder.from_weights(
                EncoderConfig.from_dict({**TINY.as_dict(), "mask_invalid": True}), encoder.weights()
            ),
            device="cpu",
        ),
    ]
    assert len({loaded.identity, *(other.identity for other in others)}) == 4


def test_bf16_is_near() -> None:
    encoder = PointMapEncoder(TINY)
    points, valid = views(4)
    exact = FrozenBackbone(encoder, device="cpu").encode(points, valid)["cls"]
    rough = FrozenBackbone(encoder, device="cpu", precision="bf16").encode(points, valid)["cls"]
    cosine = (exact * rough).sum(-1) / np.linalg.norm(exact, axis=-1) / np.linalg.norm(rough, axis=-1)
    assert (cosine > 0.999).all()
    alone = FrozenBackbone(encoder, device="cpu", precision="bf16").encode(points[2:3], valid[2:3])["cls"]
    np.testing.assert_array_equal(alone[0], rough[2])
    assert not np.array_equal(exact, rough)


def test_no_feature_is_silently_no_number(backbone: FrozenBackbone) -> None:
    points, valid = views(2)
    points[1, 3, 4] = np.nan  # a point that is no number enters as one that was not seen
    expected = backbone.encode(points, valid)
    assert all(np.isfinite(values).all() for values in expected.values())
    points[1, 3, 4], valid[1, 3, 4] = 1e38, False
    for name, values in backbone.encode(points, valid).items():
        np.testing.assert_array_equal(values, expected[name])
    points[1] = 1e30 * views(1, seed=1)[0][0]
    with (
        pytest.warns(SceneWarning),
        pytest.raises(SettingError, match=r"as far away as .*e\+3\d; point maps are in metres"),
    ):
        backbone.encode(points, valid)


def test_millimetres_are_asked_about_once() -> None:
    backbone = FrozenBackbone(PointMapEncoder(TINY))
    points, valid = views(2)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        backbone.encode(points, valid)
        points[0, 0, 0], valid[0, 0, 0] = 1e6, False  # what is not valid may hold anything
        backbone.encode(points, valid)
        assert not told
        for _ in range(2):
            backbone.encode(1000 * points, valid)
    assert [one.category for one in told] == [SceneWarning]
    assert "divide millimetres by 1000" in str(told[0].message)


def test_mirrored_and_read_only_views_are_taken(backbone: FrozenBackbone) -> None:
    points, valid = views(2)
    turned = backbone.encode(points[:, :, ::-1], valid[:, :, ::-1])
    swapped = points[:, :, ::-1].astype(points.dtype.newbyteorder())
    np.testing.assert_array_equal(backbone.encode(swapped, valid[:, :, ::-1])["cls"], turned["cls"])
    mirrored, seen = points[:, :, ::-1].copy(), valid[:, :, ::-1].copy()
    for array in (mirrored, seen):
        array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, values in backbone.encode(mirrored, seen).items():
            np.testing.assert_array_equal(values, turned[name])


@pytest.mark.parametrize("wrong", [torch.nn.Linear(3, 4), None, 7, b"poma3d-mini"])
def test_what_is_no_encoder_is_named(wrong: object) -> None:
    said = rf"takes a name, a file or a folder .*or a PointMapEncoder.*, found an? {type(wrong).__name__}"
    with pytest.raises(SettingError, match=said):
        FrozenBackbone(wrong, device="cpu")  # pyright: ignore[reportArgumentType]


def test_bad_input_is_named(backbone: FrozenBackbone, tmp_path) -> None:
    points, valid = views(2)
    with pytest.raises(SettingError, match="size=32"):
        backbone.encode(points[:, :16], valid[:, :16])
    with pytest.raises(SettingError, match="validity must be bool"):
        backbone.encode(points, valid.astype(np.float32))
    with pytest.raises(SettingError, match="floats"):
        backbone.encode(points.astype(np.int64), valid)
    with pytest.raises(SettingError, match="output must be one of"):
        FrozenBackbone(PointMapEncoder(TINY), output="tokens")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="precision must be"):
        FrozenBackbone(PointMapEncoder(TINY), precision="half")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="device 'tpu9'"):
        FrozenBackbone(PointMapEncoder(TINY), device="tpu9")
    with pytest.raises(FileError):
        FrozenBackbone(tmp_path / "absent.safetensors")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_on_a_gpu_a_view_does_not_know_its_batch(precision: str) -> None:
    mini = FrozenBackbone(PointMapEncoder("mini"), output="both", precision=precision, device="cuda")  # type: ignore[arg-type]
    assert_parts_are_the_whole(mini, *views(70, 112), [(0, 1), (5, 7), (30, 32), (31, 33)])
