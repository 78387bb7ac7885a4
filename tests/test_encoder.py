"""The encoder: equal to CLIP on XYZ, views on their own, kept patches, invalid points, bfloat16, LoRA."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPVisionModelWithProjection
from transformers.activations import ACT2FN

from poma3d.benchmark import compare, forward_flops
from poma3d.encoder import Gelu, PointMapEncoder, QuickGelu, retrieval_embedding
from poma3d.encoder_config import PRESETS, EncoderConfig, LoraSettings, preset
from poma3d.errors import SettingError
from poma3d.lora import has_lora

TINY = EncoderConfig(
    image_size=32, patch_size=8, width=32, depth=2, heads=2, mlp_width=64, embedding=16, activation="gelu"
)


def points(*views: int, size: int = 32, seed: int = 0, spread: float = 3.0) -> Tensor:
    """Random point maps (*views, size, size, 3) of a few metres."""
    return torch.randn(*views, size, size, 3, generator=torch.Generator().manual_seed(seed)) * spread


def relative(a: Tensor, b: Tensor) -> float:
    """Largest relative distance between the rows of ``a`` and ``b``."""
    return float(((a.float() - b.float()).norm(dim=-1) / b.float().norm(dim=-1)).max())


@pytest.fixture(scope="module")
def tiny() -> PointMapEncoder:
    return PointMapEncoder(TINY).eval()


@pytest.fixture(scope="module")
def mini() -> PointMapEncoder:
    return PointMapEncoder("mini").eval()


@pytest.fixture(scope="module")
def base() -> PointMapEncoder:
    return PointMapEncoder("base").eval()


# Known answers


def test_patch_coordinates_are_what_they_say() -> None:
    """Each point relative to the middle of its patch, doubled, and that middle, quartered: as plain input."""
    encoder = PointMapEncoder("mini").eval()
    raw = PointMapEncoder.from_weights(replace(encoder.config, coordinates="raw"), encoder.weights()).eval()
    xyz = points(2, size=encoder.config.image_size)
    xyz[:, :9, 20:50] = 0.0
    grid, side = encoder.config.grid, encoder.config.patch_size
    cut = xyz.reshape(-1, grid, side, grid, side, 3)
    valid = (cut != 0).any(-1, keepdim=True)
    middle = cut.sum((2, 4), keepdim=True) / valid.sum((2, 4), keepdim=True).clamp(min=1)
    changed = torch.where(valid, 2.0 * (cut - middle), 0.0) + 0.25 * middle
    with torch.inference_mode():
        ours, theirs = encoder(xyz), raw(changed.reshape(xyz.shape))
    torch.testing.assert_close(ours.cls, theirs.cls, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.patch_tokens, theirs.patch_tokens, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["mini", "base"])
def test_equals_transformers_clip_on_xyz_as_if_it_were_rgb(name: str, request: pytest.FixtureRequest) -> None:
    encoder: PointMapEncoder = request.getfixturevalue(name)
    encoder = PointMapEncoder.from_weights(replace(encoder.config, coordinates="raw"), encoder.weights())
    clip = CLIPVisionModelWithProjection(encoder.clip.config).eval()
    clip.load_state_dict(encoder.weights())
    xyz = points(1, size=encoder.config.image_size)
    with torch.inference_mode():
        ours = encoder(xyz)
        theirs = clip(pixel_values=xyz.movedim(-1, 1))
    assert torch.allclose(ours.cls, theirs.image_embeds, atol=1e-4)
    assert torch.allclose(ours.patch_tokens, theirs.last_hidden_state[:, 1:], atol=1e-4)
    assert ours.scene is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quick_gelu_is_clips(dtype: torch.dtype) -> None:
    ours, theirs = (torch.linspace(-9, 9, 97).to(dtype).requires_grad_() for _ in range(2))
    a, b = QuickGelu()(ours), ACT2FN["quick_gelu"](theirs)
    (a.sum() + b.sum()).backward()
    assert torch.allclose(a, b, atol=1e-6, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-6 if dtype == torch.float32 else 2e-2)
    with torch.no_grad():
        assert torch.equal(QuickGelu()(ours), a)
    assert ours[0] == -9  # its input stays


def test_gelu_says_the_same_with_gradients_and_without() -> None:
    hidden = torch.randn(7, 33, generator=torch.Generator().manual_seed(0), requires_grad=True)
    expected = torch.nn.functional.gelu(hidden)
    with torch.no_grad():
        assert torch.equal(Gelu()(hidden.detach().clone()), expected)
    assert torch.equal(Gelu()(hidden), expected)
    found = torch.autograd.grad(Gelu()(hidden).sum(), hidden)[0]
    assert torch.equal(found, torch.autograd.grad(expected.sum(), hidden)[0])


def test_the_presets_have_the_sizes_that_are_promised(mini: PointMapEncoder, base: PointMapEncoder) -> None:
    assert PRESETS["base"] == EncoderConfig()  # ViT-B/16 at 224, 512
    assert PRESETS["base"].patches == 196
    assert sum(p.numel() for p in base.parameters()) == 86_192_640  # CLIP ViT-B/16's vision tower
    weights = sum(p.numel() for p in mini.parameters())
    assert 3_000_000 <= weights <= 6_000_000
    assert weights * 4 < 16e6


def test_lora_trains_exactly_the_papers_parameters(base: PointMapEncoder) -> None:
    adapted = copy.deepcopy(base).add_lora()
    trainable = {name: p.numel() for name, p in adapted.named_parameters() if p.requires_grad}
    assert sum(trainable.values()) == 4_718_592
    assert all(".lora_" in name for name in trainable)
    assert not any("out_proj" in name for name in trainable)


def test_grouped_views_are_encoded_as_flat_ones_are(tiny: PointMapEncoder) -> None:
    xyz = points(2, 3)
    grouped, flat = tiny(xyz), tiny(xyz.flatten(0, 1))
    assert grouped.cls.shape == (2, 3, 16)
    assert grouped.patch_tokens.shape == (2, 3, 16, 32)
    assert grouped.valid_patches.shape == (2, 3, 16)
    assert torch.equal(grouped.cls.flatten(0, 1), flat.cls)
    assert torch.equal(grouped.patch_tokens.flatten(0, 1), flat.patch_tokens)
    assert torch.allclose(grouped.scene, flat.cls.reshape(2, 3, 16).mean(1))


def test_a_view_says_the_same_in_any_company(tiny: PointMapEncoder) -> None:
    xyz = points(1, 4)
    order = torch.tensor([2, 0, 3, 1])
    together, turned = tiny(xyz), tiny(xyz[:, order])
    alone = torch.cat([tiny(xyz[:, [v]]).cls for v in range(4)], 1)
    assert torch.allclose(together.cls, alone, atol=1e-5)
    assert torch.allclose(together.cls[:, order], turned.cls, atol=1e-5)
    assert torch.allclose(together.scene, turned.scene, atol=1e-5)


def test_retrieval_pools_directions_and_not_lengths() -> None:
    cls = torch.tensor([[[3.0, 0.0], [0.0, 100.0]]])
    assert torch.allclose(retrieval_embedding(cls), torch.full((1, 2), 0.5**0.5))


# Kept patches (the context of a JEPA)


def test_keeping_all_patches_in_another_order_permutes_the_tokens(tiny: PointMapEncoder) -> None:
    xyz = points(2, 2)
    order = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(i)) for i in range(4)])
    order = order.reshape(2, 2, 16)
    whole, kept = tiny(xyz), tiny(xyz, keep=order)
    assert torch.allclose(kept.cls, whole.cls, atol=1e-5)
    expected = whole.patch_tokens.gather(2, order[..., None].expand(-1, -1, -1, 32))
    assert torch.allclose(kept.patch_tokens, expected, atol=1e-5)


def test_kept_patches_see_nothing_of_the_others(tiny: PointMapEncoder) -> None:
    xyz = points(1)
    keep = torch.tensor([[0, 1, 4, 5]])  # the upper left quarter
    other = xyz.clone()
    other[:, 16:] += 5.0
    other[:, :, 16:] -= 2.0
    assert torch.equal(tiny(xyz, keep=keep).patch_tokens, tiny(other, keep=keep).patch_tokens)
    assert not torch.allclose(tiny(xyz).patch_tokens[:, :2], tiny(other).patch_tokens[:, :2])


def test_keeping_gathers_after_position_and_first_norm_as_ijepa_does(tiny: PointMapEncoder) -> None:
    xyz = points(2)
    keep = torch.tensor([[3, 9, 1], [15, 0, 7]])
    tower = tiny.clip.vision_model
    hidden = tower.pre_layrnorm(tower.embeddings(xyz.movedim(-1, 1)))  # (2, 17, 32)
    rows = torch.cat([torch.zeros(2, 1, dtype=torch.int64), keep + 1], 1)
    hidden = hidden.gather(1, rows[..., None].expand(-1, -1, 32))
    expected = tower.encoder(inputs_embeds=hidden).last_hidden_state[:, 1:]
    assert torch.allclose(tiny(xyz, keep=keep).patch_tokens, expected, atol=1e-5)


# Points that are not valid


def test_what_is_not_valid_enters_as_zero_whatever_it_held(tiny: PointMapEncoder) -> None:
    xyz = points(1)
    valid = torch.ones(1, 32, 32, dtype=torch.bool)
    valid[:, 5:20, 3:9] = False
    zeroed = xyz.masked_fill(~valid[..., None], 0.0)
    dirty = xyz.masked_fill(~valid[..., None], 77.0)
    dirty[0, 5, 3] = torch.tensor([float("nan"), float("inf"), 1.0])
    assert torch.equal(tiny(dirty, valid).cls, tiny(zeroed, valid).cls)
    assert torch.equal(tiny(zeroed, valid).cls, tiny(zeroed).cls)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("mask_invalid", [False, True])
def test_no_number_that_is_none_reaches_the_features(poison: float, mask_invalid: bool) -> None:
    encoder = PointMapEncoder(EncoderConfig(**{**TINY.as_dict(), "mask_invalid": mask_invalid})).eval()
    xyz = points(2, 2)
    xyz[0, 1, 3, 4, 2] = poison
    xyz[1, 0] = poison  # a view without one valid point
    out = encoder(xyz, torch.ones(2, 2, 32, 32, dtype=torch.bool))
    assert all(tensor.isfinite().all() for tensor in (out.cls, out.patch_tokens, out.scene))
    assert not out.valid_patches[1, 0].any()
    assert out.valid_patches[0, 0].all()


def test_masked_patches_are_seen_by_none(tiny: PointMapEncoder) -> None:
    masking = PointMapEncoder.from_weights(
        EncoderConfig(**{**TINY.as_dict(), "mask_invalid": True}), tiny.weights()
    ).eval()
    xyz = points(1)
    assert torch.allclose(masking(xyz).cls, tiny(xyz).cls, atol=1e-5)  # nothing to hide, nothing changes
    xyz[:, :8] = 0.0  # patches 0 to 3 hold no valid point
    rest = torch.arange(4, 16)[None]
    out = masking(xyz)
    assert out.valid_patches.tolist() == [[False] * 4 + [True] * 12]
    without = tiny(xyz, keep=rest)
    assert torch.allclose(out.cls, without.cls, atol=1e-5)
    assert torch.allclose(out.patch_tokens[:, 4:], without.patch_tokens, atol=1e-5)
    assert not torch.allclose(tiny(xyz).cls, without.cls, atol=1e-3)  # the paper lets them take part


# Precision


@pytest.mark.parametrize("name", ["mini", "base"])
def test_bfloat16_agrees_with_float32(name: str, request: pytest.FixtureRequest) -> None:
    """Tolerance: 1 % of a view embedding's length under autocast, 2 % with bfloat16 weights (8 bits: 0.4 % a step)."""
    encoder: PointMapEncoder = request.getfixturevalue(name)
    xyz = points(1, size=encoder.config.image_size) + torch.tensor([4.0, -5.0, 1.0])
    half = PointMapEncoder.from_weights(
        encoder.config, {k: v.bfloat16() for k, v in encoder.weights().items()}
    ).eval()
    with torch.inference_mode():
        full = encoder(xyz)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = encoder(xyz)
        pure = half(xyz)
    assert pure.cls.dtype == torch.bfloat16
    assert 0 < relative(mixed.cls, full.cls) < 0.01
    assert 0 < relative(pure.cls, full.cls) < 0.02


def test_two_centimetres_of_relief_eight_metres_away_survive_bfloat16(mini: PointMapEncoder) -> None:
    """Coordinates cast to bfloat16 step by 3 cm there, and the relief would be gone without a trace."""
    across = torch.linspace(-1, 1, 112)
    flat = torch.stack(
        [torch.full((112, 112), 11.0), 8 + 3 * across.expand(112, 112), 3 * across[:, None].expand(112, 112)],
        -1,
    )[None]
    wall = flat.clone()
    wall[..., 0] += 0.01 * torch.sin(40 * across) * torch.sin(40 * across[:, None])
    assert torch.equal(wall[..., 0].bfloat16(), flat[..., 0].bfloat16())
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(mini(wall).patch_tokens, mini(flat).patch_tokens)


def test_attention_is_torchs_fused_one(tiny: PointMapEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = functional.scaled_dot_product_attention
    monkeypatch.setattr(
        functional, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or real(*a, **k)
    )
    tiny(points(1))
    assert len(calls) == TINY.depth


# Training


def test_every_weight_gets_a_gradient_and_training_changes_the_embedding() -> None:
    encoder = PointMapEncoder(TINY).train()
    xyz = points(2, 2)
    before = encoder(xyz).scene.detach()
    out = encoder(xyz, keep=torch.tensor([[[0, 5], [1, 9]], [[3, 8], [2, 15]]]))
    (out.cls.square().mean() + out.patch_tokens.square().mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    assert all(p.grad.abs().sum() > 0 for n, p in encoder.named_parameters() if "k_proj.bias" not in n)
    with torch.no_grad():
        for p in encoder.parameters():
            p -= 0.1 * p.grad
    assert not torch.allclose(encoder(xyz).scene, before, atol=1e-4)


def test_lora_adds_nothing_at_first_and_folds_into_the_weights() -> None:
    encoder = PointMapEncoder(TINY).eval()
    xyz = points(2)
    before, sha = encoder(xyz).cls.detach(), encoder.weights_sha256()
    encoder.add_lora(LoraSettings(rank=4, alpha=8.0))
    assert torch.equal(encoder(xyz).cls, before)
    assert encoder.weights_sha256() == sha
    with torch.no_grad():
        for name, p in encoder.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    adapted = encoder(xyz).cls
    assert not torch.allclose(adapted, before, atol=1e-3)
    plain = PointMapEncoder.from_weights(TINY, encoder.weights()).eval()
    assert torch.allclose(plain(xyz).cls, adapted, atol=1e-5)
    assert has_lora(encoder)
    assert not has_lora(plain)


def test_random_weights_come_from_the_seed_and_leave_torchs_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, same, other = (PointMapEncoder(TINY, seed=s).weights_sha256() for s in (1, 1, 2))
    assert one == same != other
    assert torch.equal(torch.rand(3), expected)


# Bad input


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda e: e(points(1, size=16)), "poma3d.pointmap.resize"),
        (lambda e: e(points(1).movedim(-1, 1)), "found (1, 3, 32, 32)"),
        (lambda e: e(points()), "found (32, 32, 3)"),
        (lambda e: e(points(1, 0)), "found (1, 0, 32, 32, 3)"),
        (lambda e: e(points(1), torch.ones(1, 32, 32)), "validity must be bool"),
        (lambda e: e(points(1), torch.ones(1, 16, 32, dtype=torch.bool)), "(1, 16, 32)"),
        (lambda e: e(points(1), keep=torch.tensor([[16]])), "0 to 15"),
        (lambda e: e(points(1), keep=torch.tensor([[-1]])), "0 to 15"),
        (lambda e: e(points(1, 2), keep=torch.tensor([[1]])), "(1, 2, 'K')"),
        (lambda e: e(points(1), keep=torch.tensor([[1.0]])), "int64"),
        (lambda e: PointMapEncoder("huge"), "base, mini"),
        (lambda e: EncoderConfig(patch_size=15), "divides image_size"),
        (lambda e: EncoderConfig(heads=7), "7 heads"),
        (lambda e: EncoderConfig(depth=0), "at least 1"),
        (lambda e: EncoderConfig.from_dict({"colour": 1}), "colour"),
        (lambda e: LoraSettings(dropout=1.0), "[0, 1)"),
        (lambda e: PointMapEncoder(TINY).add_lora(LoraSettings(targets=("wings",))), "wings"),
        (lambda e: PointMapEncoder(TINY).add_lora().add_lora(), "already"),
        (lambda e: PointMapEncoder.from_weights(TINY, {}), "missing (40)"),
    ],
)
def test_bad_input_is_named(tiny: PointMapEncoder, make, says: str) -> None:
    with pytest.raises(SettingError) as error:
        make(tiny)
    assert says in str(error.value)


def test_a_pickled_encoder_says_the_same_in_a_new_process(tmp_path: Path) -> None:
    encoder, views = PointMapEncoder(TINY, seed=5).eval(), points(3)
    expected = encoder(views).cls.detach()
    (tmp_path / "encoder.pickle").write_bytes(pickle.dumps((encoder, views, expected)))
    code = (
        "import pickle, sys, torch; encoder, views, expected = pickle.load(open(sys.argv[1], 'rb'));"
        "print(torch.equal(encoder(views).cls.detach(), expected))"
    )
    line = [sys.executable, "-c", code, str(tmp_path / "encoder.pickle")]
    assert subprocess.run(line, capture_output=True, text=True, check=True).stdout == "True\n"


def test_geometry_and_settings_import_no_torch() -> None:
    code = (
        "import sys, poma3d.pointmap, poma3d.encoder_config; poma3d.encoder_config.preset('mini');"
        "print('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert preset("mini").patches == 64


# The benchmark


def test_the_benchmark_compares_both_directions_in_one_run() -> None:
    rows = compare("mini", batch=2, rounds=2, peak=True)
    assert [row.what for row in rows] == ["forward", "forward+backward"]
    assert all(
        row.ratio == pytest.approx(row.images_per_second / row.plain_images_per_second) for row in rows
    )
    assert all(row.images_per_second > 0 and row.model_flops_share > 0 for row in rows)
    assert forward_flops(PRESETS["base"]) == pytest.approx(
        35.1e9, rel=0.01
    )  # CLIP ViT-B/16: 17.6 G multiply-adds
    with pytest.raises(SettingError, match="at least 1"):
        compare("mini", batch=0)
