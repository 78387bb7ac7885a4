"""Region alignment: shares of a patch, the loss by hand, words that patches learn; agent frames; seen patches."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from poma3d.encoder import PointMapEncoder
from poma3d.encoder_config import PRESETS
from poma3d.errors import SettingError
from poma3d.objectives.alignment import Alignment, AlignmentBatch
from poma3d.objectives.masks import random_patches
from poma3d.objectives.regions import patch_shares, region_loss
from poma3d.objectives.settings import AlignmentSettings
from poma3d.scenepoint.augment import draw_change
from poma3d.scenepoint.settings import AugmentSettings

TINY = replace(
    PRESETS["mini"], image_size=32, patch_size=8, width=32, depth=2, heads=2, mlp_width=64, embedding=16
)


def test_shares_count_the_pixels_of_a_patch() -> None:
    semantics = torch.full((1, 4, 4), -1, dtype=torch.int16)
    semantics[0, :2, :2] = torch.tensor([[0, 0], [0, 2]])
    semantics[0, :2, 2:] = torch.tensor([[1, -1], [1, 1]])  # what is unknown does not count
    semantics[0, 2:, :2] = torch.tensor([[2, -1], [-1, -1]])  # too little is known
    shares = patch_shares(semantics, 2, 3)
    expected = torch.tensor([[[0.75, 0.0, 0.25], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    torch.testing.assert_close(shares, expected)


def test_the_loss_by_hand() -> None:
    words = torch.eye(2)
    patches = torch.tensor([[[3.0, 0.0], [0.0, 2.0], [0.0, 1.0]]])
    shares = torch.tensor(
        [[[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]]
    )  # the second is wrong, the third shows nothing
    right, wrong = -math.log(1 / (1 + math.exp(-2.0))), -math.log(1 / (1 + math.exp(2.0)))
    loss = region_loss(patches, shares, words, torch.tensor(2.0))
    assert loss.item() == pytest.approx((right + wrong) / 2, abs=1e-5)
    assert region_loss(patches, torch.zeros_like(shares), words, torch.tensor(2.0)).item() == 0.0


def test_a_rare_category_weighs_more_than_its_share() -> None:
    words, scale = torch.eye(2), torch.tensor(1.0)
    shares = torch.tensor([[[1.0, 0.0]] * 9 + [[0.0, 1.0]]])
    all_first = torch.tensor([[[1.0, 0.0]] * 10])
    plain = -(shares * (all_first @ words).log_softmax(-1)).sum(-1).mean()
    assert region_loss(all_first, shares, words, scale) > plain


def test_patches_learn_the_words_for_what_they_show() -> None:
    """Floor at 0 m, table at 0.8 m: after some steps each patch is nearest to its word."""
    generator = torch.Generator().manual_seed(0)
    point_map = torch.rand(8, 32, 32, 3, generator=generator) * 0.01
    columns = torch.arange(32).float() / 8
    point_map[..., 0] += columns[None, None, :]
    point_map[..., 1] += columns[None, :, None]
    high = torch.rand(8, 4, 4, generator=generator) < 0.5
    semantics = high.repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.int16)
    point_map[..., 2] += 0.8 * semantics
    encoder, words = PointMapEncoder(TINY), torch.nn.Parameter(torch.randn(2, 16, generator=generator))
    shares = patch_shares(semantics, 8, 2)
    optimiser = torch.optim.AdamW([*encoder.parameters(), words], lr=3e-3)
    for _ in range(60):
        patches = encoder.patch_embeddings(encoder(point_map).patch_tokens)
        loss = region_loss(patches, shares, words, torch.tensor(10.0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = (patches @ words.T).argmax(-1)
    assert (found == high.flatten(1).long()).float().mean() > 0.95


def test_regions_need_categories() -> None:
    alignment = Alignment(AlignmentSettings(region_weight=1.0))
    views = torch.randn(2, 1, 8)
    batch = AlignmentBatch(
        views=views, view_ids=torch.tensor([[1], [2]]), scene_ids=torch.tensor([1, 2]), view_text=views
    )
    with pytest.raises(SettingError, match="categories"):
        alignment(batch)


def test_patches_are_seen_at_random_and_each_once() -> None:
    seen = random_patches(64, (3, 5), 0.5, np.random.default_rng(0))
    assert seen.shape == (3, 5, 32)
    assert all(len(set(view.tolist())) == 32 for scene in seen for view in scene)
    counts = torch.bincount(random_patches(16, (40, 25), 0.25, np.random.default_rng(1)).flatten())
    assert counts.sum() == 4000
    assert counts.min() > 180  # 250 expected, 14 its deviation


def test_a_scene_is_seen_by_an_agent_from_one_of_its_cameras() -> None:
    """Just before a camera at (3, -2) that looks along +y, an agent has the point ahead of itself, at its height."""
    camera = np.array([[1.0, 0, 0, 3.0], [0, 0, 1.0, -2.0], [0, -1.0, 0, 1.2], [0, 0, 0, 1.0]])
    point = np.array([[[3.0, 0.0, 0.4]]], np.float32)  # 2 m ahead
    settings = AugmentSettings(scale=(1.0, 1.0), agent_share=1.0)
    valid = np.ones((1, 1), bool)
    found = np.stack(
        [
            draw_change(settings, point, valid, np.random.default_rng(seed), camera[None]).points(
                point, valid
            )[0, 0]
            for seed in range(200)
        ]
    )
    assert np.abs(found.mean(0) - [2.0, 0.0, 0.4]).max() < 0.15
    assert found[:, 2] == pytest.approx(0.4)
    assert 0.2 < found[:, 1].std() < 0.8  # 10 degrees of 2 m, and 0.2 m
    never = AugmentSettings(turns="none", scale=(1.0, 1.0), translation=0.0, lift=0.0)
    change = draw_change(never, point, valid, np.random.default_rng(0), camera[None])
    np.testing.assert_array_equal(change.points(point, valid), point)
