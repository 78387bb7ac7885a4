"""Objectives: closed forms, order that is no matter, what is no negative, masks, collapse monitors, two ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from poma3d.encoder_config import EncoderConfig
from poma3d.errors import SettingError
from poma3d.objectives.alignment import NOTHING, Alignment, AlignmentBatch, info_nce
from poma3d.objectives.chamfer import chamfer
from poma3d.objectives.collapse import effective_rank, feature_deviation
from poma3d.objectives.ema import ema_momentum, ema_update, target_copy
from poma3d.objectives.jepa import JepaBatch, PomaJepa, sine_cosine_positions
from poma3d.objectives.masks import multi_block_masks
from poma3d.objectives.settings import AlignmentSettings, JepaSettings, MaskSettings

TINY = EncoderConfig(image_size=32, patch_size=8, width=32, depth=2, heads=2, mlp_width=64, embedding=16)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def numbers(count: int) -> Tensor:
    return torch.arange(1, count + 1)[:, None]


# InfoNCE


def test_info_nce_of_orthogonal_pairs_is_the_closed_form() -> None:
    eye = torch.eye(4) * 3  # lengths are no matter
    loss = info_nce(eye, eye * 5, numbers(4), torch.tensor(2.0))
    assert loss.item() == pytest.approx(-math.log(math.exp(2) / (math.exp(2) + 3)), abs=1e-6)


def test_info_nce_is_cross_entropy_both_ways() -> None:
    a, b = normal(6, 8), normal(6, 8, seed=1)
    cosines = 10 * functional.normalize(a, dim=-1) @ functional.normalize(b, dim=-1).T
    target = torch.arange(6)
    expected = (functional.cross_entropy(cosines, target) + functional.cross_entropy(cosines.T, target)) / 2
    assert torch.allclose(info_nce(a, b, numbers(6), torch.tensor(10.0)), expected, atol=1e-6)


def test_rows_that_are_the_same_thing_are_no_negatives() -> None:
    a, b = normal(5, 8), normal(5, 8, seed=1)
    ids = torch.tensor([1, 2, 3, 4, 4])[:, None]
    loss = info_nce(a, b, ids, torch.tensor(10.0))
    cosines = 10 * functional.normalize(a, dim=-1) @ functional.normalize(b, dim=-1).T
    expected = 0.0
    for i in range(5):
        others = [j for j in range(5) if j == i or ids[j] != ids[i]]
        expected += float(torch.logsumexp(cosines[i, others], 0) + torch.logsumexp(cosines[others, i], 0)) / 2
        expected -= float(cosines[i, i])
    assert loss.item() == pytest.approx(expected / 5, abs=1e-5)


def test_a_row_without_words_changes_nothing() -> None:
    a, b = normal(5, 8), normal(5, 8, seed=1)
    ids = torch.tensor([1, 2, NOTHING, 3, 4])[:, None]
    rest = torch.tensor([0, 1, 3, 4])
    scale = torch.tensor(10.0)
    assert torch.allclose(info_nce(a, b, ids, scale), info_nce(a[rest], b[rest], ids[rest], scale), atol=1e-6)
    silent = info_nce(a.requires_grad_(), b, torch.zeros(5, 1, dtype=torch.int64), scale)
    silent.backward()
    assert silent == 0
    assert bool(a.grad.isfinite().all())


def alignment_batch(B: int = 3, V: int = 4, D: int = 8) -> AlignmentBatch:
    return AlignmentBatch(
        views=normal(B, V, D).requires_grad_(),
        view_ids=torch.arange(1, B * V + 1).reshape(B, V),
        scene_ids=torch.arange(1, B + 1),
        view_text=normal(B, V, D, seed=1),
        scene_text=normal(B, D, seed=2),
        view_image=normal(B, V, D, seed=3),
    )


def test_alignment_is_the_sum_of_four_terms_and_the_scale_learns() -> None:
    alignment, batch = Alignment(), alignment_batch()
    loss, metrics = alignment(batch)
    names = ("loss_view_text", "loss_view_image", "loss_scene_text", "loss_scene_image")
    assert loss.item() == pytest.approx(sum(metrics[name].item() for name in names), rel=1e-6)
    scenes = info_nce(
        batch.views.mean(1), batch.view_image.mean(1), batch.scene_ids[:, None], alignment.scale()
    )
    assert metrics["loss_scene_image"].item() == pytest.approx(scenes.item(), rel=1e-6)
    loss.backward()
    assert alignment.log_scale.grad.abs() > 0
    assert alignment.scale().item() == pytest.approx(1 / 0.07, rel=1e-5)


def test_alignment_leaves_out_what_it_is_told_to_and_refuses_nothing_at_all() -> None:
    batch = alignment_batch()
    _, metrics = Alignment(AlignmentSettings(scene_weight=0.0))(batch)
    assert "loss_scene_text" not in metrics
    assert "loss_view_text" in metrics
    bare = AlignmentBatch(batch.views, batch.view_ids, batch.scene_ids)
    with pytest.raises(SettingError, match="neither"):
        Alignment()(bare)
    with pytest.raises(SettingError):
        AlignmentSettings(view_weight=0.0, scene_weight=0.0)


def test_the_scale_is_bounded() -> None:
    alignment = Alignment()
    torch.nn.init.constant_(alignment.log_scale, 9.0)
    assert alignment.scale().item() == pytest.approx(100.0, rel=1e-5)


# Chamfer


def test_chamfer_by_hand() -> None:
    a = torch.tensor([[[0.0, 0.0], [2.0, 0.0]]])
    b = torch.tensor([[[0.0, 1.0], [2.0, 0.0], [5.0, 0.0]]])
    # forth: 1, 0 of 2 tokens; back: 1, 0, 9 of 3 tokens; over 2 channels, half each
    assert chamfer(a, b).item() == pytest.approx((1 / 2 + 10 / 3) / 2 / 2)
    counts = torch.tensor([[True, True, False]])
    assert chamfer(a, b, None, counts).item() == pytest.approx((1 / 2 + 1 / 2) / 2 / 2)
    assert chamfer(a, b, None, torch.zeros(1, 3, dtype=torch.bool)) == 0


@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 7))
def test_chamfer_equals_all_pairs_and_forgets_order(seed: int, n: int, m: int) -> None:
    a, b = normal(3, n, 5, seed=seed), normal(3, m, 5, seed=seed + 1)
    pairs = (a[:, :, None] - b[:, None]).square().mean(-1)
    expected = (pairs.min(2).values.mean() + pairs.min(1).values.mean()) / 2
    assert torch.allclose(chamfer(a, b), expected, atol=1e-5)
    assert torch.allclose(chamfer(a.flip(1), b), chamfer(a, b), atol=1e-6)
    assert chamfer(a, a) == 0


def test_chamfer_has_the_gradient_of_the_nearest_pairs() -> None:
    a, b = normal(2, 6, 4).requires_grad_(), normal(2, 5, 4, seed=1)
    chamfer(a, b).backward()
    found, a.grad = a.grad, None
    pairs = (a[:, :, None] - b[:, None]).square().mean(-1)
    ((pairs.min(2).values.mean() + pairs.min(1).values.mean()) / 2).backward()
    assert torch.allclose(found, a.grad, atol=1e-6)


# Masks


@given(st.integers(2, 14), st.floats(0.1, 0.9), st.integers(0, 1000))
def test_masks_part_every_view_in_fixed_numbers(grid: int, share: float, seed: int) -> None:
    settings = MaskSettings(share=share)
    keep, masked = multi_block_masks(grid, (2, 3), settings, np.random.default_rng(seed))
    assert masked.shape == (2, 3, settings.masked(grid * grid))
    assert torch.equal(torch.cat([keep, masked], -1).sort(-1).values[0, 0], torch.arange(grid * grid))
    again = multi_block_masks(grid, (2, 3), settings, np.random.default_rng(seed))
    assert torch.equal(masked, again[1])


def test_masks_are_blocks() -> None:
    _, masked = multi_block_masks(14, (1, 50), MaskSettings(), np.random.default_rng(0))
    cover = torch.zeros(50, 196, dtype=torch.bool).scatter_(1, masked[0], True).reshape(50, 14, 14)
    beside = (cover[:, 1:] & cover[:, :-1]).float().sum((1, 2)) / cover.float().sum((1, 2))
    assert beside.mean() > 0.75  # patches drawn alone would have half
    assert len({tuple(row.tolist()) for row in masked[0]}) == 50


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_masks_refuse_to_hide_all_or_nothing(share: float) -> None:
    with pytest.raises(SettingError):
        MaskSettings(share=share)


# POMA-JEPA


def jepa_batch(B: int = 2, V: int = 3) -> JepaBatch:
    keep, masked = multi_block_masks(TINY.grid, (B, V), MaskSettings(), np.random.default_rng(0))
    return JepaBatch(
        context_tokens=normal(B, V, keep.shape[-1], TINY.width),
        target_tokens=normal(B, V, TINY.patches, TINY.width, seed=1).requires_grad_(),
        valid_patches=torch.ones(B, V, TINY.patches, dtype=torch.bool),
        keep=keep,
        masked=masked,
    )


SMALL = JepaSettings(width=32, depth=1, heads=2)


def test_jepa_compares_prediction_and_normalised_targets() -> None:
    jepa, batch = PomaJepa(TINY, SMALL), jepa_batch()
    loss, metrics = jepa(batch)
    predicted = jepa.predictor(
        batch.context_tokens.flatten(0, 1), batch.keep.flatten(0, 1), batch.masked.flatten(0, 1)
    )
    tokens = batch.target_tokens
    target = (tokens - tokens.mean(-1, keepdim=True)) / tokens.std(-1, correction=0, keepdim=True)
    target = torch.stack(
        [
            torch.cat([target[b, v, batch.masked[b, v]] for v in range(batch.masked.shape[1])])
            for b in range(len(tokens))
        ]
    )
    expected = chamfer(predicted.reshape(target.shape), target)
    assert torch.allclose(loss, expected, rtol=1e-3)
    assert metrics["loss_jepa"] == loss
    loss.backward()
    assert batch.target_tokens.grad is None
    assert all(weight.grad is not None for weight in jepa.parameters())


def test_the_ablation_knows_the_order_and_chamfer_does_not() -> None:
    batch = jepa_batch(V=1)
    turned = batch.target_tokens.detach().clone()
    for b in range(len(turned)):
        places = batch.masked[b, 0]
        turned[b, 0, places] = turned[b, 0, places.flip(0)]
    other = JepaBatch(**{**vars(batch), "target_tokens": turned})
    free = PomaJepa(TINY, SMALL)
    ordered = PomaJepa(TINY, JepaSettings(width=32, depth=1, heads=2, loss="smooth_l1"))
    assert torch.allclose(free(batch)[0], free(other)[0], atol=1e-6)
    assert not torch.allclose(ordered(batch)[0], ordered(other)[0], atol=1e-4)


def test_a_scene_is_one_set_unless_views_are_asked_for() -> None:
    batch = jepa_batch()
    scene = PomaJepa(TINY, SMALL)
    view = PomaJepa(TINY, JepaSettings(width=32, depth=1, heads=2, sets="view"))
    assert scene(batch)[0] < view(batch)[0]  # more to be near to


def test_patches_without_a_point_take_no_part() -> None:
    batch = jepa_batch()
    valid = batch.valid_patches.clone()
    valid[0] = False
    wild = batch.target_tokens.detach().clone()
    wild[0] *= -1
    for loss in ("chamfer", "smooth_l1"):
        jepa = PomaJepa(TINY, JepaSettings(width=32, depth=1, heads=2, loss=loss))
        ours = jepa(JepaBatch(**{**vars(batch), "valid_patches": valid}))[0]
        theirs = jepa(JepaBatch(**{**vars(batch), "valid_patches": valid, "target_tokens": wild}))[0]
        assert torch.allclose(ours, theirs)


def test_jepa_learns_one_batch() -> None:
    jepa, batch = PomaJepa(TINY, SMALL), jepa_batch()
    optimiser = torch.optim.Adam(jepa.parameters(), 3e-3)
    first = jepa(batch)[0].item()
    for _ in range(150):
        optimiser.zero_grad()
        loss, _ = jepa(batch)
        loss.backward()
        optimiser.step()
    assert loss.item() < first / 2


def test_positions_tell_all_patches_apart() -> None:
    positions = sine_cosine_positions(14, 48)
    assert positions.shape == (196, 48)
    assert torch.pdist(positions).min() > 0.1


@pytest.mark.parametrize("wrong", [{"width": 30}, {"loss": "l2"}, {"weight": 0.0}, {"sets": "house"}])
def test_jepa_settings_are_checked(wrong: dict) -> None:
    with pytest.raises(SettingError):
        JepaSettings(**wrong)


# EMA and collapse


def test_ema_follows_the_closed_form() -> None:
    context = torch.nn.Linear(3, 2)
    target = target_copy(context)
    before, frozen = context.weight.detach().clone(), context.bias.detach().clone()
    context.bias.requires_grad_(False)
    with torch.no_grad():
        context.weight.add_(1.0)
    for _ in range(3):
        ema_update(target, context, 0.9)
    assert torch.allclose(target.weight, before + 1 - 0.9**3, atol=1e-6)
    assert torch.equal(target.bias, frozen)
    assert not target.weight.requires_grad
    assert [ema_momentum(step, 4) for step in (0, 2, 4, 9)] == pytest.approx([0.996, 0.998, 1.0, 1.0])


def test_effective_rank_of_known_spectra() -> None:
    assert effective_rank(torch.ones(50, 8)).item() == pytest.approx(1.0)
    line = normal(200, 1) * normal(1, 8, seed=1)
    assert effective_rank(line).item() == pytest.approx(1.0, abs=0.05)
    sides = torch.cat([torch.eye(8), -torch.eye(8)])
    assert effective_rank(sides).item() == pytest.approx(8.0, rel=1e-4)
    assert effective_rank(sides * torch.tensor([1.0] * 4 + [0.0] * 4)).item() == pytest.approx(4.0, rel=1e-4)


def test_feature_deviation_is_zero_for_one_point_and_one_for_noise() -> None:
    assert feature_deviation(torch.ones(2, 50, 8)).item() == pytest.approx(0.0, abs=1e-6)
    assert feature_deviation(normal(5000, 8) * 7).item() == pytest.approx(1.0, abs=0.02)
